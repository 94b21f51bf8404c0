--- Tokenizers: convert text to token ids and back, as the files of a model's folder say.
---
--- `tokenizer:encode(text)` returns a list of ids; `tokenizer(text)` a table with `input_ids`, and with an attention mask
--- where rows may have padding; `tokenizer:decode(ids)` returns text. The C core computes the ids and the text.
local binding = require "luasight.ffi"
local check_list = require "luasight.base.list".check
local batch = require "luasight.text.tokenizer.batch"
local files = require "luasight.text.tokenizer.files"
local near = require "luasight.base.near"
local options_of = require "luasight.base.options"
local token_ids = require "luasight.text.tokenizer.ids"
local tokenizers = require "luasight.ffi.tokenizers"
local quoted = require("luasight.files.safetensors").quoted

local getfenv, setfenv = debug.getfenv, debug.setfenv

local prototype = newproxy(true)
local meta = getmetatable(prototype)

---@class luasight.Tokenizer  converts text to token ids and back
---@field vocab_size integer            the number of tokens, with the added ones; the same as `#tokenizer`
---@field model_max_length integer?     the largest number of tokens that the model reads, nil where there is no limit
---@field padding_side "left"|"right"
---@field truncation_side "left"|"right"
---@field bos_token string?             the token that begins a text; eos_token, unk_token, pad_token, sep_token, cls_token
---  and mask_token likewise. bos_token_id and so on are the tokens' ids. All these fields can be set.
---@field folder string
---@operator len: integer
---@overload fun(text: string|string[], options?: luasight.TokenizerOptions): { input_ids: any, attention_mask: any? }
local methods = {}

-- ---- state -----------------------------------------------------------------------------------------------------------

local roles = {} -- "eos_token" -> "eos", "eos_token_id" -> "eos"
for _, role in ipairs(files.roles) do roles[role .. "_token"], roles[role .. "_token_id"] = role, role end

local settable = { model_max_length = true, padding_side = true, truncation_side = true }

---Returns the state of the tokenizer that is behind a handle; raises an error where the tokenizer has been released.
local function state_of(self)
  if type(self) ~= "userdata" or getmetatable(self) ~= meta then
    binding.raise("argument", "the tokenizer is missing: call a tokenizer's methods with a colon, tokenizer:encode(text)")
  end
  local state = getfenv(self)
  if not state.core then binding.raise("state", state.folder .. ": the tokenizer has been released") end
  return state
end

local function size_of(state) return tokenizers.size(state.core) end

local function id_of(state, token)
  if type(token) ~= "string" or token:find("%z") then return nil end
  return tokenizers.id(state.core, token)
end

local function token_of(state, id) return tokenizers.token(state.core, id) end

local function names()
  local list = { "vocab_size", "folder" }
  for name in pairs(methods) do list[#list + 1] = name end
  for name in pairs(settable) do list[#list + 1] = name end
  for name in pairs(roles) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local function unknown(name, what)
  binding.raise("name", ("a tokenizer has no %s %s%s"):format(what, quoted(name), near.text(tostring(name), names())))
end

function meta.__index(self, name)
  if methods[name] then return methods[name] end
  local state = state_of(self)
  local role = roles[name]
  if role then
    local token = state.tokens[role]
    if name:sub(-3) ~= "_id" then return token end
    return token and id_of(state, token)
  end
  if settable[name] or name == "folder" then return state[name] end
  if name == "vocab_size" then return size_of(state) end
  unknown(name, "field")
end

local function set_token(state, name, role, value)
  if value == nil then
    state.tokens[role] = nil
    return
  end
  local token = value
  if name:sub(-3) == "_id" then token = type(value) == "number" and token_of(state, value) or nil end
  if not id_of(state, token) then
    binding.raise("name", ("the tokenizer's %s cannot be set: %s is not in its vocabulary"):format(name, quoted(value)))
  end
  state.tokens[role] = token
end

function meta.__newindex(self, name, value)
  local state = state_of(self)
  if roles[name] then return set_token(state, name, roles[name], value) end
  if not settable[name] then
    if name == "vocab_size" or name == "folder" or methods[name] then
      binding.raise("argument", "the field " .. name .. " of a tokenizer cannot be set")
    end
    unknown(name, "field")
  end
  if name == "model_max_length" then
    if value ~= nil and (type(value) ~= "number" or value < 1) then
      binding.raise("argument", "the field model_max_length of a tokenizer is a number from 1 on, or nil")
    end
  elseif value ~= "left" and value ~= "right" then
    binding.raise("argument", ("the field %s of a tokenizer is \"left\" or \"right\", not %s"):format(name, quoted(value)))
  end
  state[name] = value
end

function meta.__len(self) return size_of(state_of(self)) end

function meta.__tostring(self)
  local state = getfenv(self)
  if not state.core then return ("Tokenizer(%s, released)"):format(state.folder) end
  local parts = { ("%d tokens"):format(size_of(state)) }
  for _, role in ipairs(files.roles) do
    if state.tokens[role] then parts[#parts + 1] = role .. " " .. quoted(state.tokens[role]) end
  end
  if state.model_max_length then parts[#parts + 1] = ("at most %d in a text"):format(state.model_max_length) end
  return ("Tokenizer(%s: %s)"):format(state.folder, table.concat(parts, ", "))
end

-- ---- text to ids -----------------------------------------------------------------------------------------------------

local plainly = { special = false, cut = 0 }

---Returns the token ids of one text as a list.
---@param text string
---@param options? luasight.TokenizerOptions  add_special_tokens, text_pair, truncation, max_length
---@return integer[]
function methods:encode(text, options)
  local state = state_of(self)
  if type(text) ~= "string" then
    binding.raise("argument", "the text to encode is a string, not a " .. type(text),
      { hint = type(text) == "table" and "tokenizer(list) takes several texts" or nil })
  end
  return batch.encode(state, text, batch.options(state, options, "encode"))
end

---Calling a tokenizer returns a table with the token ids of one text, or of each of several texts.
---@param text string|string[]
---@param options? luasight.TokenizerOptions
---@return { input_ids: any, attention_mask: any? }  # lists, or int64 tensors [B, T]
function meta.__call(self, text, options)
  local state = state_of(self)
  return batch.call(state, text, batch.options(state, options, "call"))
end

-- ---- ids to text -----------------------------------------------------------------------------------------------------

local decode_kinds = { skip_special_tokens = "boolean", clean_up_tokenization_spaces = "boolean" }

local spaces = { { " %.", "." }, { " %?", "?" }, { " !", "!" }, { " ,", "," }, { " ' ", "'" }, { " n't", "n't" },
  { " 'm", "'m" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" } }

---Removes the spaces that English does not have before punctuation and endings such as 's, in the same order as
---transformers.
local function clean_up(text)
  for _, pair in ipairs(spaces) do text = text:gsub(pair[1], pair[2]) end
  return text
end

---Removes from an array of ids the special tokens that have a role, such as bos or pad, and returns how many ids are left.
---(The core leaves out the tokens that tokenizer.json calls special.)
local function without_roles(state, array, n)
  local special, kept = {}, 0
  for _, token in pairs(state.tokens) do special[id_of(state, token) or -1] = true end
  for i = 0, n - 1 do
    if not special[tonumber(array[i])] then
      array[kept] = array[i]
      kept = kept + 1
    end
  end
  return kept
end

---Returns the text of token ids. Bytes that are not UTF-8 become the character U+FFFD.
---@param ids integer|integer[]|luasight.Tensor  a tensor has at most one axis
---@param options? { skip_special_tokens: boolean?, clean_up_tokenization_spaces: boolean? }  the default of
---  clean_up_tokenization_spaces is in tokenizer_config.json, else false
---@return string
function methods:decode(ids, options)
  local state = state_of(self)
  options = options_of.read("decode", options, decode_kinds)
  local skip, clean = options.skip_special_tokens, options.clean_up_tokenization_spaces
  local array, n = token_ids.array(ids)
  if skip then n = without_roles(state, array, n) end
  local text = tokenizers.decode(state.core, array, n, skip)
  if clean == nil then clean = state.clean end
  return clean and clean_up(text) or text
end

---Returns the text of each of several lists of token ids, or of each row of a tensor.
---@param rows integer[][]|luasight.Tensor
---@param options? { skip_special_tokens: boolean?, clean_up_tokenization_spaces: boolean? }
---@return string[]
function methods:batch_decode(rows, options)
  local list, n = {}, type(rows) == "table" and #rows or rows.shape[0]
  for i = 1, n do list[i] = self:decode(type(rows) == "table" and rows[i] or rows[i - 1], options) end
  return list
end

---Returns the tokens with the given ids, as the vocabulary writes them: { "John", "Ġand" }; for a single id, one string.
---@param ids integer|integer[]|luasight.Tensor
---@return string|string[]
function methods:convert_ids_to_tokens(ids)
  local state = state_of(self)
  local array, n = token_ids.array(ids)
  local tokens = {}
  for i = 1, n do
    tokens[i] = token_of(state, array[i - 1])
    if not tokens[i] then
      binding.raise("index", ("token id %s is out of range: the vocabulary has the ids 0 to %d"):format(
        tostring(array[i - 1]):gsub("LL$", ""), size_of(state) - 1))
    end
  end
  return token_ids.is_single(ids) and tokens[1] or tokens
end

local function no_token(state, token)
  if type(token) ~= "string" then
    binding.raise("argument", "a token to convert to its id is a string, not a " .. type(token))
  end
  local ids, hint = batch.encode(state, token, plainly), nil
  if #ids == 1 then hint = ("encoded as a text, it is the token %s"):format(quoted(token_of(state, ids[1])))
  elseif #ids > 1 then hint = ("encoded as a text, it is %d tokens (see encode)"):format(#ids) end
  binding.raise("name", ("there is no token %s in the vocabulary of this tokenizer"):format(quoted(token)), { hint = hint })
end

---Returns the ids of tokens that are given as the vocabulary writes them; a token that does not exist raises an error.
---@param tokens string|string[]
---@return integer|integer[]
function methods:convert_tokens_to_ids(tokens)
  local state = state_of(self)
  if type(tokens) ~= "table" then return id_of(state, tokens) or no_token(state, tokens) end
  local ids = {}
  check_list("convert_tokens_to_ids", tokens)
  for i, token in ipairs(tokens) do ids[i] = id_of(state, token) or no_token(state, token) end
  return ids
end

-- ---- conversations -----------------------------------------------------------------------------------------------------

---Returns a conversation as the text that the model's chat template makes of it; by default encoded as token ids.
---@param messages { role: string, content: any }[]
---@param options? { tokenize: boolean?, add_generation_prompt: boolean?, tools: table?, chat_template: string? }  any
---  other option is a variable of the template
---@return integer[]|string
function methods:apply_chat_template(messages, options)
  local state = state_of(self)
  if type(messages) ~= "table" or options ~= nil and type(options) ~= "table" then
    binding.raise("argument", "apply_chat_template takes a list of messages, and a table of options",
      { hint = 'for example { { role = "user", content = "Hello" } }' })
  end
  local template = options and options.chat_template or state.chat_template
  if type(template) ~= "string" then
    binding.raise("state", state.folder .. ": this tokenizer has no chat_template",
      { hint = "pass one: { chat_template = text }" })
  end
  local of = template == state.chat_template and "own" or "given" -- of the templates that callers give the last one is kept
  local kept = state.templates[of]
  if not kept or kept.text ~= template then
    kept = { text = template, render = require("luasight.text.jinja").compile(template, "chat_template") }
    state.templates[of] = kept
  end
  local variables = { messages = messages, add_generation_prompt = false }
  for _, role in ipairs(files.roles) do variables[role .. "_token"] = state.tokens[role] end
  for name, value in pairs(options or {}) do variables[name] = value end
  variables.tokenize, variables.chat_template = nil, nil
  local text = kept.render(variables)
  if options and options.tokenize == false then return text end
  return batch.encode(state, text, plainly)
end

---Frees the tokenizer's vocabulary at once; any later use of the tokenizer raises an error.
function methods:release()
  local state = getfenv(self)
  if not state.core then return end
  tokenizers.release(state.core)
  state.core = nil
end

-- ---- loading ---------------------------------------------------------------------------------------------------------

---Raises an error where tokenizer_config.json (`wanted`) and tokenizer.json differ in whether a space is put in front of a
---text, since the two settings make different ids of the same text. Only tokenizers that write bytes as printable characters
---(byte-level BPE) have this setting.
local function check_prefix(state, wanted)
  if not id_of(state, "\196\160") then return end
  local a, b = batch.encode(state, "a", plainly), batch.encode(state, " a", plainly)
  local prefixed = #a == #b
  for i = 1, #a do prefixed = prefixed and a[i] == b[i] end
  if wanted ~= prefixed then
    binding.raise("format", ("%s/tokenizer_config.json: \"add_prefix_space\" is %s, but in tokenizer.json it is %s"):format(
      state.folder, tostring(wanted), tostring(prefixed)), { hint = "make both files say the same" })
  end
end

local function open(folder)
  local text, path = files.text(folder)
  local state = { core = tokenizers.load(text, path), folder = folder }
  local settings = files.settings(folder, function(token) return id_of(state, token) ~= nil end,
    function(id) return token_of(state, id) end)
  state.tokens, state.model_max_length = settings.tokens, settings.model_max_length
  state.padding_side = settings.padding_side or "left"
  state.truncation_side = settings.truncation_side or "right"
  state.id_of, state.clean, state.chat_template = id_of, settings.clean, settings.chat_template
  state.templates = {}
  if settings.add_prefix_space ~= nil then check_prefix(state, settings.add_prefix_space) end
  return state
end

---Loads the tokenizer of a folder from tokenizer.json and tokenizer_config.json.
---@param folder string  a folder, or "owner/name" of a repository on the hub
---@param revision string?  a branch, a tag or a commit of that repository; "main" by default
---@return luasight.Tokenizer
local function Tokenizer(folder, revision)
  local state = open(require("luasight.lm.hub").locate(folder, { tokenizer = true }, revision))
  local handle = newproxy(prototype)
  setfenv(handle, state)
  return handle
end

return { Tokenizer = Tokenizer }
