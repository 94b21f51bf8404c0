--- Tables of options: checks the names that a function takes, and the values of the options.
---
---     local kinds = { bias = "boolean", groups = options.count, mask = true }
---     given = options.read("nn.Thing", given, kinds)
---
--- An unknown name raises an error with the code `name` and the nearest names; a wrong value raises one with the code
--- `argument`.
local failure = require "luasight.base.error"
local near = require "luasight.base.near"

local options = {}

---@class luasight.OptionRange  a condition that the value of an option has to meet
---@field [1] string                the condition in words: "a whole number above 0"
---@field [2] fun(v: any): boolean  returns whether a value meets the condition

---The kind of an option's value: a type of Lua, a condition, or true for any value.
---@alias luasight.OptionKind "boolean"|"number"|"string"|"table"|"function"|true|luasight.OptionRange

local function is_whole(v, from) return type(v) == "number" and v % 1 == 0 and v >= from and v < 2 ^ 53 end

options.count = { "a whole number above 0", function(v) return is_whole(v, 1) end }
options.size = { "a whole number from 0 on", function(v) return is_whole(v, 0) end }
options.axis = { "a whole number", function(v) return type(v) == "number" and v % 1 == 0 and math.abs(v) < 2 ^ 53 end }
options.positive = { "a number from 0 on", function(v) return type(v) == "number" and v >= 0 end }
options.share = { "a number from 0 to 1", function(v) return type(v) == "number" and v >= 0 and v <= 1 end }

local words = { boolean = "true or false", number = "a number", string = "a text", table = "a table",
  ["function"] = "a function" }

---Returns a value as text for an error.
---@param v any
---@return string
function options.text(v)
  if type(v) == "string" then return failure.quoted(v) end
  if type(v) == "number" or type(v) == "boolean" or type(v) == "nil" then return tostring(v) end
  return "a " .. type(v)
end

---Returns the value of an option where it is of the wanted kind, and raises an error otherwise.
---@param what string               the name of the function, for errors
---@param name string
---@param value any
---@param kind luasight.OptionKind
---@return any
function options.value(what, name, value, kind)
  local fits, wanted = true, kind
  if type(kind) == "table" then
    wanted, fits = kind[1], kind[2](value)
  elseif kind ~= true then
    wanted, fits = words[kind], type(value) == kind
  end
  if fits then return value end
  failure.raise("argument", ("%s: %s is %s, not %s"):format(what, name, wanted, options.text(value)))
end

local function sorted_names(kinds)
  local names = {}
  for known in pairs(kinds) do names[#names + 1] = known end
  table.sort(names)
  return names
end

local function unknown(what, name, kinds, form)
  local names, noun = sorted_names(kinds), form and form.noun or "option"
  local guess = near.text(tostring(name), names)
  local hint = #names > 1 and ("its %ss are %s"):format(noun, table.concat(names, ", ")) or "it has " .. (names[1] or "none")
  failure.raise("name", ("%s has no %s %s%s"):format(what, noun, options.text(name), guess),
    { hint = guess == "" and (form and form.hint or hint) or nil })
end

---Checks the names and values in a table of options, and returns the table; returns an empty table where `given` is nil.
---@param what string   the name of the function in errors, such as "nn.Linear"
---@param given table?
---@param kinds table<string, luasight.OptionKind>
---@param form? { noun: string?, hint: string? }  noun: what errors call an entry, "option" by default; hint: the advice
---  in the error for an unknown name, where no known name is similar
---@return table
function options.read(what, given, kinds, form)
  if given == nil then return {} end
  if type(given) ~= "table" then
    failure.raise("argument", ("the %ss of %s are a table, not a %s"):format(form and form.noun or "option", what,
      type(given)), { hint = ("they have names: { %s = ... }"):format(table.concat(sorted_names(kinds), " = ..., ")) })
  end
  for name, value in pairs(given) do
    local kind = kinds[name]
    if not kind then unknown(what, name, kinds, form) end
    if kind ~= true then options.value(what, name, value, kind) end
  end
  return given
end

return options
