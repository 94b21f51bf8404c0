--- Checks of the arguments of constructors: names and types of options, sizes, shares.
local binding = require "luasight.ffi"
local near = require "luasight.base.near"

local options = {}

---Checks and returns the options of a call; returns an empty table where there are none.
---@param name string                  the name of the function in error messages
---@param given table?
---@param kinds table<string, string>  the type of each option's value, by the option's name
---@return table
function options.read(name, given, kinds)
  if given == nil then return {} end
  if type(given) ~= "table" then
    binding.raise("argument", ("%s: the options are a table, not a %s"):format(name, type(given)))
  end
  for key, value in pairs(given) do
    local kind = kinds[key]
    if not kind then
      local names = {}
      for known in pairs(kinds) do names[#names + 1] = known end
      table.sort(names)
      binding.raise("argument", ("%s has no option %q%s"):format(name, tostring(key), near.text(tostring(key), names)),
        { hint = "options are " .. table.concat(names, ", ") })
    end
    if kind ~= "any" and type(value) ~= kind then
      binding.raise("argument", ("%s: the option %s is a %s, not a %s"):format(name, key, kind, type(value)))
    end
  end
  return given
end

---Returns a whole number of at least 0, or raises an error.
---@param name string
---@param what string
---@param v any
---@return integer
function options.size(name, what, v)
  if type(v) ~= "number" or v < 0 or v % 1 ~= 0 then
    binding.raise("argument", ("%s: the setting %s is a whole number from 0 on, not %s"):format(name, what,
      type(v) == "number" and tostring(v) or "a " .. type(v)))
  end
  return v
end

---Returns a number from 0 to 1, or raises an error.
---@param name string
---@param what string
---@param v any
---@return number
function options.share(name, what, v)
  if type(v) ~= "number" or not (v >= 0 and v <= 1) then
    binding.raise("argument", ("%s: the setting %s is a number from 0 to 1, not %s"):format(name, what,
      type(v) == "number" and tostring(v) or "a " .. type(v)))
  end
  return v
end

return options
