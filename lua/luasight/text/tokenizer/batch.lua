--- Encodes texts as a tokenizer's options say: with special tokens, truncation and padding, as lists or as tensors.
local binding = require "luasight.ffi"
local check_list = require "luasight.base.list".check
local options_of = require "luasight.base.options"
local token_ids = require "luasight.text.tokenizer.ids"
local tokenizers = require "luasight.ffi.tokenizers"

local batch = {}

---@class luasight.TokenizerOptions  the options of a call that encodes texts
---@field add_special_tokens boolean?  whether the tokenizer's post-processor adds its special tokens (true)
---@field text_pair string|string[]?   a second text, or one for each text
---@field truncation boolean|"longest_first"|"only_first"|"only_second"?  cut the text to max_length tokens, by default to
---  the tokenizer's model_max_length; true is "longest_first": of two texts the longer one is cut
---@field max_length integer?          the number of tokens, special ones included, to which truncation cuts a text and
---  padding = "max_length" fills a row
---@field return_tensors boolean?      return int64 tensors [B, T] instead of lists
---@field padding boolean|"left"|"right"|"max_length"?  fill short rows; true: on the tokenizer's padding_side, up to the
---  longest row; "max_length": up to max_length
---@field return_offsets_mapping boolean?      return each token's place in the text as { from, to }, in characters counted
---  from 0; `to` is not included
---@field return_word_ids boolean?             return for each token the number of its word, from 0; false for special
---  tokens
---@field return_special_tokens_mask boolean?  return 1 for padding and for special tokens around the texts, else 0
---@field return_token_type_ids boolean?       return a type for each token: mostly 0 in the first text, 1 in the second

-- ---- options ---------------------------------------------------------------------------------------------------------

local cuts = tokenizers.cuts
local paddings = { left = true, right = true, max_length = true }

local function flag_or(words, is_word)
  return { "true or false" .. words, function(v) return type(v) == "boolean" or is_word(v) end }
end

local kinds = { encode = {
  add_special_tokens = "boolean", text_pair = true,
  truncation = flag_or(', "longest_first", "only_first" or "only_second"', function(v) return cuts[v] ~= nil end),
  max_length = { "a whole number of tokens from 1 on", function(v)
    return type(v) == "number" and v >= 1 and v == math.floor(v) and v <= 2 ^ 31 - 1
  end },
}, call = {
  return_tensors = flag_or("", function(v) return v == "pt" end),
  padding = flag_or(', "left", "right" or "max_length"', function(v) return paddings[v] end),
  return_offsets_mapping = "boolean", return_word_ids = "boolean", return_special_tokens_mask = "boolean",
  return_token_type_ids = "boolean",
} }
for name, kind in pairs(kinds.encode) do kinds.call[name] = kind end

---Returns the number of tokens to which texts are cut or filled: max_length, else the tokenizer's own limit. Returns nil
---where `wanted` is false. `what` is the option that needs the number, for the error where there is none.
local function limit_of(state, options, wanted, what)
  if not wanted then return nil end
  local limit = options.max_length or state.model_max_length
  if not limit then
    binding.raise("argument", what .. " needs the option max_length, because this tokenizer sets no limit itself",
      { hint = "for example { truncation = true, max_length = 8 }" })
  end
  return limit
end

---Checks the options of a tokenizer and returns them with their defaults. `form` is "encode" for tokenizer:encode(text), or
---"call" for tokenizer(text), which has more options.
---@param state table
---@param options table?
---@param form string
---@return table
function batch.options(state, options, form)
  options = options_of.read(form == "encode" and "encode" or "a tokenizer", options, kinds[form])
  local padding = options.padding
  return {
    special = options.add_special_tokens ~= false,
    pair = options.text_pair,
    limit = limit_of(state, options, options.truncation, "truncation"),
    cut = cuts[options.truncation] or cuts.longest_first,
    tensors = options.return_tensors and true or false,
    padding = (padding == "left" or padding == "right") and padding or padding and state.padding_side or nil,
    fill_to = limit_of(state, options, padding == "max_length", 'padding "max_length"'),
    places = options.return_offsets_mapping,
    words = options.return_word_ids,
    special_mask = options.return_special_tokens_mask,
    types = options.return_token_type_ids,
  }
end

-- ---- one text --------------------------------------------------------------------------------------------------------

---Encodes a text, or a pair of texts, in the core. Returns an array of tokens, and the number of tokens.
local function tokens_of(state, text, pair, o)
  return tokenizers.encode(state.core, text, pair, o, state.truncation_side == "left")
end

---Returns the token ids of one text. Where the options limit the number of tokens, the text is cut, but its special tokens
---are kept.
---@param state table
---@param text string
---@param o table  the result of batch.options
---@return integer[]
function batch.encode(state, text, o)
  if o.pair ~= nil and type(o.pair) ~= "string" then
    binding.raise("argument", "the option text_pair is one string where the text is one string, not a " .. type(o.pair))
  end
  local list, tokens, n = {}, tokens_of(state, text, o.pair, o)
  for i = 1, n do list[i] = tonumber(tokens[i - 1].id) end
  return list
end

-- ---- several ---------------------------------------------------------------------------------------------------------

---The lists that a tokenizer can return, each with its name, the option that asks for it (nil: it is always returned), a
---function that returns a token's entry in the list, and the entry for padding.
local columns = {
  { "input_ids", nil, function(token) return tonumber(token.id) end },
  { "attention_mask", nil, function() return 1 end, 0 },
  { "token_type_ids", "types", function(token) return token.type end, 0 },
  { "special_tokens_mask", "special_mask", function(token) return token.text < 0 and 1 or 0 end, 1 },
  { "offset_mapping", "places", function(token) return { token.from, token.to } end, { 0, 0 } },
  { "word_ids", "words", function(token) return token.word >= 0 and token.word end, false },
}

---Returns the id that fills short rows: that of the pad token, else of the end-of-text token, which may be used because the
---attention mask hides padding from the model.
local function filler(state)
  local token = state.tokens.pad or state.tokens.eos
  local id = token and state.id_of(state, token)
  if id then return id end
  binding.raise("state", "padding needs a token to fill with, and this tokenizer has neither pad_token nor eos_token",
    { hint = 'set one: tokenizer.pad_token = "..."' })
end

local function pad(rows, longest, side, fill)
  for i, row in ipairs(rows) do
    local new, shift = {}, side == "left" and longest - #row or 0
    for k = 1, longest do
      new[k] = row[k - shift]
      if new[k] == nil then new[k] = type(fill) == "table" and { fill[1], fill[2] } or fill end
    end
    rows[i] = new
  end
end

local function check_texts(text, what)
  if type(text) == "string" then return { text } end
  if type(text) ~= "table" then
    binding.raise("argument", ("%s takes a text or a list of texts, not a %s"):format(what, type(text)))
  end
  check_list(what, text)
  if #text == 0 then binding.raise("argument", what .. " takes a text or a list of texts; this list is empty") end
  for i, one in ipairs(text) do
    if type(one) ~= "string" then
      binding.raise("argument", ("%s takes a list of texts, but there is a %s at [%d]"):format(what, type(one), i),
        { hint = type(one) == "number" and "decode makes text of token ids" or nil })
    end
  end
  return text
end

local function pairs_of(texts, text, pair)
  if pair == nil then return {} end
  local list = check_texts(pair, "text_pair")
  if #list ~= #texts or type(pair) ~= type(text) then
    binding.raise("argument", ("the option text_pair has %d texts for %d texts to encode"):format(#list, #texts),
      { hint = "pass one second text for each text, and a list where the texts are a list" })
  end
  return list
end

local function wanted(column, o) return not column[2] or o[column[2]] end

---Returns the token ids of one or several texts, an attention mask that is 0 at padding, and the other lists that the options
---ask for. For a single text these are lists of numbers, without a mask unless there is padding; else lists of lists, or
---tensors where the options ask for tensors.
---@param state table
---@param text string|string[]
---@param o table  the result of batch.options
---@return { input_ids: any, attention_mask: any? }
function batch.call(state, text, o)
  local texts = check_texts(text, "a tokenizer")
  local seconds = pairs_of(texts, text, o.pair)
  local out, shortest, longest = {}, math.huge, o.fill_to or 0
  for _, column in ipairs(columns) do out[column[1]] = wanted(column, o) and {} or nil end
  for i, one in ipairs(texts) do
    local tokens, n = tokens_of(state, one, seconds[i], o)
    shortest, longest = math.min(shortest, n), math.max(longest, n)
    for _, column in ipairs(columns) do
      local row, value = {}, column[3]
      if wanted(column, o) then out[column[1]][i] = row end
      for k = 1, wanted(column, o) and n or 0 do row[k] = value(tokens[k - 1]) end
    end
  end
  if shortest ~= longest and o.padding then
    local fill = filler(state)
    for _, column in ipairs(columns) do
      if out[column[1]] then pad(out[column[1]], longest, o.padding, column[1] == "input_ids" and fill or column[4]) end
    end
  elseif shortest ~= longest and o.tensors then
    binding.raise("shape", ("the texts have %d to %d tokens, but the rows of a tensor need the same length"):format(shortest,
      longest), { hint = 'fill them: { return_tensors = true, padding = "left" }' })
  end
  for name, rows in pairs(out) do
    if o.tensors and name ~= "offset_mapping" and name ~= "word_ids" then out[name] = token_ids.tensor(rows)
    elseif type(text) == "string" and not o.tensors then out[name] = rows[1] end
  end
  if type(text) == "string" and not o.tensors and not o.padding then out.attention_mask = nil end
  return out
end

return batch
