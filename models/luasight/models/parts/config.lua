--- Reads the configuration of a model: the fields that its architecture knows, with their defaults and other names. A setting
--- that is not implemented raises an error with the field's name.
local helpers = require "luasight.family"

local config = {}

local function refuse(message, hint) helpers.raise("format", message, { hint = hint }) end

local function text(v) return type(v) == "string" and ("%q"):format(v) or tostring(v) end

-- For each kind of field: the values that such a field may have, as a text for error messages, and a function that checks a
-- value.
local kinds = {
  boolean = { "true or false", function(v) return type(v) == "boolean" end },
  string = { "a text", function(v) return type(v) == "string" end },
  number = { "a number", function(v) return type(v) == "number" and v == v end },
  cap = { "a number above 0", function(v) return v == false or type(v) == "number" and v > 0 end }, -- false: unlimited
  window = { "a whole number above 0", function(v) return v == false or type(v) == "number" and v >= 1 and v % 1 == 0 end },
  token = { "a token id", function(v) return v == false or type(v) == "number" and v % 1 == 0 end }, -- false: none
  size = { "a whole number above 0", function(v) return type(v) == "number" and v >= 1 and v < 2 ^ 31 and v % 1 == 0 end },
  count = { "a whole number from 0 on", function(v) return type(v) == "number" and v >= 0 and v < 2 ^ 31 and v % 1 == 0 end },
  share = { "a number from 0 to 1", function(v) return type(v) == "number" and v >= 0 and v <= 1 end },
}

---@class luasight.ConfigField  describes a field of a configuration
---@field [1] any      the default of the field; nil: the field has no default and may be absent
---@field kind string  "size" (from 1), "count" (from 0), "share", "number", "boolean", "string"; "cap" (a number above 0),
---  "window" (a size) and "token", which can be false

---Returns a copy of a configuration in which every field has the name that the architecture uses, and a value.
---@param given table                                  the content of config.json
---@param fields table<string, luasight.ConfigField>
---@param aliases table<string, string>                the field's name for each other name of a field
---@return table
function config.read(given, fields, aliases)
  if type(given) ~= "table" then refuse("the configuration of a model is a table, not a " .. type(given)) end
  local result = {}
  for name, v in pairs(given) do result[name] = v end
  for other, name in pairs(aliases) do
    if given[other] ~= nil then
      if given[name] ~= nil and given[name] ~= given[other] then
        refuse(("the setting %s is %s, but %s, another name for it, is %s"):format(name, text(given[name]), other,
          text(given[other])))
      end
      result[name] = given[other]
    end
  end
  for name, field in pairs(fields) do
    local v = result[name]
    if v == nil then v = field[1] end
    if v ~= nil then
      local kind = kinds[field.kind]
      if not kind[2](v) then refuse(("the setting %s is %s, but it must be %s"):format(name, text(v), kind[1])) end
    end
    result[name] = v
  end
  result.pad_token_id = result.pad_token_id or nil -- null in the file: there is none
  return result
end

---Reads is_causal, which embedding models made from decoders have: where it is false (or 0 or empty), each position reads all
---others. It becomes a boolean where the file has it.
---@param given table
function config.direction(given)
  local v = given.is_causal
  if v ~= nil then given.is_causal = v ~= false and v ~= 0 and v ~= "" end
end

---Raises an error for settings that ask for something that this architecture does not implement.
---@param given table
---@param names string[]  the settings that must be absent, false or empty
function config.refuse(given, names)
  for _, name in ipairs(names) do
    local v = given[name]
    if v and not (type(v) == "table" and next(v) == nil) then
      refuse(("the setting %s%s is not implemented"):format(name, type(v) == "table" and "" or " = " .. text(v)))
    end
  end
end

return config
