--- What a tokenizer's options do to the ids of texts: special tokens, truncation, padding, tensors.
local binding = require "luasight.ffi"
local near = require "luasight.near"
local token_ids = require "luasight.tokenizer_ids"
local quoted = require("luasight.safetensors").quoted

local batch = {}

---@class luasight.TokenizerOptions
---@field add_special_tokens boolean?  those of the tokenizer's own post-processor; true unless said
---@field truncation boolean?          cut to max_length, or to the model's longest text
---@field max_length integer?          tokens, special ones included; only truncation looks at it
---@field return_tensors boolean?      int64 tensors [B, T] instead of lists
---@field padding boolean|"left"|"right"?  fill short rows; true: on the tokenizer's padding_side

-- ---- options ---------------------------------------------------------------------------------------------------------

local known = {
  encode = { "add_special_tokens", "truncation", "max_length" },
  call = { "add_special_tokens", "truncation", "max_length", "return_tensors", "padding" },
}

local function check_flag(options, name)
  local value = options[name]
  if value ~= nil and type(value) ~= "boolean" then
    binding.raise("argument", ("%s is true or false, not %s"):format(name, quoted(value)))
  end
end

local function check_padding(options)
  local padding = options.padding
  if type(padding) ~= "string" then return check_flag(options, "padding") end
  if padding ~= "left" and padding ~= "right" then
    binding.raise("argument", ('padding is true, "left" or "right", not %s'):format(quoted(padding)))
  end
end

---The number of tokens at which to cut, nil where nothing is cut.
local function limit_of(state, options)
  local limit = options.max_length
  if limit ~= nil and (type(limit) ~= "number" or limit < 1 or limit ~= math.floor(limit)) then
    binding.raise("argument", "max_length is a whole number of tokens from 1 on, not " .. quoted(limit))
  end
  if not options.truncation then return nil end
  limit = limit or state.model_max_length
  if not limit then
    binding.raise("argument", "truncation needs max_length: this tokenizer knows no longest text", 2,
      { hint = "{ truncation = true, max_length = 8 }" })
  end
  return limit
end

---Checked options; `form` is "encode" or "call".
---@param state table
---@param options table?
---@param form string
---@return table
function batch.options(state, options, form)
  if options == nil then options = {} end
  if type(options) ~= "table" then
    binding.raise("argument", "the options of a tokenizer are a table, not a " .. type(options))
  end
  for name in pairs(options) do
    local found = false
    for _, other in ipairs(known[form]) do found = found or name == other end
    if not found then
      binding.raise("name", ("%s has no option %s%s"):format(form == "encode" and "encode" or "a tokenizer", quoted(name),
        near.text(tostring(name), known[form])))
    end
  end
  check_flag(options, "add_special_tokens")
  check_flag(options, "truncation")
  if options.return_tensors ~= "pt" then check_flag(options, "return_tensors") end
  check_padding(options)
  return {
    special = options.add_special_tokens ~= false,
    limit = limit_of(state, options),
    tensors = options.return_tensors and true or false,
    padding = options.padding == true and state.padding_side or options.padding or nil,
  }
end

-- ---- one text --------------------------------------------------------------------------------------------------------

---How many special tokens the post-processor puts in front and behind: looked up once, around a text that has none.
local function around(state)
  if not state.before then
    local plain, all = state.encode(state, "a", false), state.encode(state, "a", true)
    local before = 0
    while before + #plain < #all and all[before + 1] ~= plain[1] do before = before + 1 end
    state.before, state.after = before, #all - #plain - before
  end
  return state.before, state.after
end

---The ids of one text, cut as the options say: special tokens stay, the text gives way.
---@param state table
---@param text string
---@param o table  from batch.options
---@return integer[]
function batch.encode(state, text, o)
  local ids = state.encode(state, text, o.special)
  if not o.limit or #ids <= o.limit then return ids end
  local before, after = 0, 0
  if o.special then before, after = around(state) end
  if before + after > o.limit then
    binding.raise("argument", ("max_length %d is too short: the special tokens alone are %d"):format(o.limit, before + after))
  end
  local cut, from = {}, before
  local kept = o.limit - before - after
  if state.truncation_side == "left" then from = #ids - after - kept end
  for i = 1, before do cut[i] = ids[i] end
  for i = 1, kept do cut[before + i] = ids[from + i] end
  for i = 1, after do cut[before + kept + i] = ids[#ids - after + i] end
  return cut
end

-- ---- several ---------------------------------------------------------------------------------------------------------

---What fills short rows; the mask tells the model not to look, so the end of text will do.
local function filler(state)
  local token = state.tokens.pad or state.tokens.eos
  local id = token and state.id_of(state, token)
  if id then return id end
  binding.raise("state", "padding needs a token to fill with, and this tokenizer has neither pad_token nor eos_token", 2,
    { hint = 'tokenizer.pad_token = "..." names one' })
end

local function pad(rows, masks, longest, side, fill)
  for i, row in ipairs(rows) do
    local missing = longest - #row
    local new, mask, shift = {}, {}, side == "left" and missing or 0
    for k = 1, longest do
      local id = row[k - shift]
      new[k], mask[k] = id or fill, id and 1 or 0
    end
    rows[i], masks[i] = new, mask
  end
end

local function check_texts(text)
  if type(text) == "string" then return { text } end
  if type(text) ~= "table" then
    binding.raise("argument", "a tokenizer takes a text or a list of texts, not a " .. type(text))
  end
  if #text == 0 then binding.raise("argument", "a tokenizer takes a text or a list of texts; this list is empty") end
  for i, one in ipairs(text) do
    if type(one) ~= "string" then
      binding.raise("argument", ("a tokenizer takes texts; there is a %s at [%d]"):format(type(one), i), 2,
        { hint = type(one) == "number" and "decode takes ids" or nil })
    end
  end
  return text
end

---The ids of a text or of several, with a mask that is 1 where there is text. Without tensors a single text gives a plain
---list and no mask.
---@param state table
---@param text string|string[]
---@param o table  from batch.options
---@return { input_ids: any, attention_mask: any? }
function batch.call(state, text, o)
  local rows, masks = {}, {}
  local shortest, longest = math.huge, 0
  for i, one in ipairs(check_texts(text)) do
    rows[i] = batch.encode(state, one, o)
    shortest, longest = math.min(shortest, #rows[i]), math.max(longest, #rows[i])
    masks[i] = {}
    for k = 1, #rows[i] do masks[i][k] = 1 end
  end
  if shortest ~= longest then
    if o.padding then
      pad(rows, masks, longest, o.padding, filler(state))
    elseif o.tensors then
      binding.raise("shape", ("the texts have %d to %d tokens, and the rows of a tensor are equally long"):format(shortest,
        longest), 2, { hint = '{ return_tensors = true, padding = "left" }' })
    end
  end
  if o.tensors then return { input_ids = token_ids.tensor(rows), attention_mask = token_ids.tensor(masks) } end
  if type(text) == "string" then return { input_ids = rows[1] } end
  return { input_ids = rows, attention_mask = masks }
end

return batch
