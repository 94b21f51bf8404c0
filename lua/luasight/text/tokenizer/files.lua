--- Reads the settings of a tokenizer that are not in tokenizer.json: special tokens, the largest number of tokens in a text,
--- the sides of padding and truncation, the chat template.
---
--- tokenizer_config.json takes precedence over special_tokens_map.json, which only older folders need. In both files a
--- token is a text, or an object with the text as "content".
local binding = require "luasight.ffi"
local checkpoint = require "luasight.files.checkpoint"
local quoted = require("luasight.files.safetensors").quoted

local exists, null = checkpoint.exists, checkpoint.null

local files = {}

local JSON, CONFIG, MAP = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"

---The roles of special tokens; the token of the role bos, for example, is the tokenizer's field bos_token.
files.roles = { "bos", "eos", "unk", "pad", "sep", "cls", "mask" }

-- The text of the special tokens that the configuration does not name, for those classes of transformers' tokenizers that
-- `classes` lists. There "" is a configuration without a class, as in the oldest folders of GPT-2.
local END_OF_TEXT = "<|endoftext|>"
local classes = {
  [""] = true, GPT2Tokenizer = true, GPT2TokenizerFast = true, GPTNeoXTokenizer = true, GPTNeoXTokenizerFast = true,
}

local function object(folder, name)
  local path = folder .. "/" .. name
  return exists(path) and checkpoint.object(path) or {}
end

local function bad(folder, file, key, what)
  binding.raise("format", ("%s/%s: the field %s %s"):format(folder, file, quoted(key), what))
end

---Returns the text of the special token in the field `key` of a file; false where the field is null, nil where it is absent.
local function token_text(folder, file, key, value)
  if value == nil then return nil end
  if value == null or value == false then return false end
  if type(value) == "table" then value = value.content end
  if type(value) ~= "string" or value == "" or value:find("%z") then
    bad(folder, file, key, "is neither a token nor null")
  end
  return value
end

local function special_tokens(folder, config, has)
  local map = object(folder, MAP)
  local class = config.tokenizer_class
  local default = classes[type(class) == "string" and class or ""] and has(END_OF_TEXT) and END_OF_TEXT or nil
  local tokens = {}
  for _, role in ipairs(files.roles) do
    local key = role .. "_token"
    local token = token_text(folder, CONFIG, key, config[key])
    if token == nil then token = token_text(folder, MAP, key, map[key]) end
    if token == nil and (role == "bos" or role == "eos" or role == "unk") then token = default end
    tokens[role] = token or nil
  end
  return tokens
end

---Returns the largest number of tokens in a text, which is the field model_max_length of the configuration; nil where the
---field is absent, or so large that it means no limit.
local function longest(folder, value)
  if value == nil or value == null then return nil end
  if type(value) ~= "number" or value < 1 then bad(folder, CONFIG, "model_max_length", "is not a number from 1 on") end
  return value < 1e15 and math.floor(value) or nil
end

local function side(folder, config, key)
  local value = config[key]
  if value == nil or value == null then return nil end
  if value ~= "left" and value ~= "right" then bad(folder, CONFIG, key, 'is neither "left" nor "right"') end
  return value
end

---Returns the names of the files that a tokenizer reads; `has` says whether a file exists. Where there is a tokenizer.json,
---the files of older tokenizers are not read.
---@param has fun(name: string): boolean
---@return string[]
function files.needed(has)
  local names = { CONFIG, MAP, "chat_template.jinja" }
  local older = { "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "added_tokens.json" }
  for _, name in ipairs(has(JSON) and { JSON } or older) do names[#names + 1] = name end
  return names
end

---Returns whether a folder has the files of a tokenizer.
---@param folder string
---@return boolean
function files.exists(folder)
  local function has(name) return exists(folder .. "/" .. name) end
  return has(JSON) or has "vocab.json" and has "merges.txt" or has "vocab.txt" or has "tokenizer.model" or has "spiece.model"
end

---Returns the text of the folder's tokenizer.json, or such a text made of older files, and the path of the file that was
---read.
---@param folder string
---@return string text, string path
function files.text(folder)
  checkpoint.check_folder(folder)
  local path = folder .. "/" .. JSON
  if exists(path) then return checkpoint.text(path), path end
  local config, named = object(folder, CONFIG), {}
  local tokens = special_tokens(folder, config, function() return false end)
  for _, role in ipairs(files.roles) do named[#named + 1] = tokens[role] end
  local text, from = require("luasight.text.tokenizer.older").text(folder, config, named)
  if text then return text, from end
  binding.raise("io", ("%s: there is no %s in this folder, nor are there the files of an older tokenizer"):format(folder, JSON),
    { hint = "pass the folder of a model or tokenizer as Hugging Face stores it" })
end

---Raises an error where tokenizer_config.json has an added token with another id than tokenizer.json, because it is not known
---then which id the model was trained with.
local function check_added(folder, added, token_of)
  if added == nil or added == null then return end
  if type(added) ~= "table" then bad(folder, CONFIG, "added_tokens_decoder", "is not an object of tokens by id") end
  for id, entry in pairs(added) do
    local text = token_text(folder, CONFIG, "added_tokens_decoder", entry)
    if not tonumber(id) or token_of(tonumber(id)) ~= text then
      bad(folder, CONFIG, "added_tokens_decoder",
        ("gives the id %s to %s, which %s does not"):format(tostring(id), quoted(text), JSON))
    end
  end
end

---Returns the chat template: the file chat_template.jinja of newer folders, else the configuration's field chat_template; of
---several templates with names, the one called "default". Returns nil where there is none.
local function chat_template(folder, config)
  local path, value = folder .. "/chat_template.jinja", config.chat_template
  if exists(path) then return checkpoint.text(path) end
  for _, entry in ipairs(type(value) == "table" and value or {}) do
    if type(entry) == "table" and entry.name == "default" then value = entry.template end
  end
  return type(value) == "string" and value or nil
end

---@class luasight.TokenizerSettings  the settings of a tokenizer that are not in tokenizer.json
---@field tokens table<string, string>   the special tokens by role, such as bos and pad
---@field model_max_length integer?     the largest number of tokens in a text; nil: there is no limit
---@field padding_side "left"|"right"?  the side at which short rows are filled
---@field truncation_side "left"|"right"?  the side from which long texts are cut
---@field add_prefix_space boolean?      whether a space is put in front of a text
---@field clean boolean                 whether decode removes spaces before punctuation
---@field chat_template string?

---Reads the settings of the tokenizer in a folder.
---@param folder string
---@param has fun(token: string): boolean        returns whether tokenizer.json has a token
---@param token_of fun(id: integer): string?     returns the token of an id
---@return luasight.TokenizerSettings
function files.settings(folder, has, token_of)
  local config = object(folder, CONFIG)
  check_added(folder, config.added_tokens_decoder, token_of)
  local prefix = config.add_prefix_space
  if type(prefix) ~= "boolean" then prefix = nil end
  return {
    tokens = special_tokens(folder, config, has),
    model_max_length = longest(folder, config.model_max_length),
    padding_side = side(folder, config, "padding_side"),
    truncation_side = side(folder, config, "truncation_side"),
    add_prefix_space = prefix,
    clean = config.clean_up_tokenization_spaces == true,
    chat_template = chat_template(folder, config),
  }
end

return files
