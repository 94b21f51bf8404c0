--- Sorts the arguments (input, options, body) of trace, invoke and generate; some of them may be left out.
local binding = require "luasight.ffi"
local near = require "luasight.base.near"

local inputs = {}

---@param v any
---@return boolean  # a plain table with names only, and at least one
function inputs.is_options(v)
  return type(v) == "table" and getmetatable(v) == nil and v[1] == nil and next(v) ~= nil
end

local function is_empty(v) return type(v) == "table" and getmetatable(v) == nil and next(v) == nil end

---@class luasight.Call
---@field input any       nil where the call has no input
---@field options table
---@field body function?

---@param network luasight.Network
---@param what string                  the name of the method in errors, such as "trace"
---@param known table<string, boolean> the options of the method
---@param ... any
---@return luasight.Call
function inputs.sort(network, what, known, ...)
  local n, first, second = select("#", ...), ...
  if n == 2 and type(second) == "function" and type(first) == "cdata" then -- a tensor and a body need no sorting
    return { input = first, options = {}, body = second }
  end
  local given, body = { ... }, nil
  if n > 0 and type(given[n]) == "function" then body, n = given[n], n - 1 end
  local options, last = {}, given[n]
  if n > 1 and (inputs.is_options(last) or is_empty(last)) or
    n == 1 and inputs.is_options(last) and not network.is_input(last) then
    options, n = last, n - 1
  end
  for name in pairs(options) do
    if not known[name] then
      local names = {}
      for option in pairs(known) do names[#names + 1] = option end
      table.sort(names)
      local guess = near.text(tostring(name), names)
      binding.raise("name", ("%s has no option %q%s"):format(what, tostring(name), guess),
        { hint = guess == "" and (#names == 1 and "it has " or "its options are ") .. table.concat(names, ", ") or nil })
    end
  end
  if n > 1 or n == 1 and given[1] == nil then
    binding.raise("argument", n == 1 and "the input of the model is nil" or
      ("%s takes one input; pass several as ls.args(a, b)"):format(what))
  end
  local input
  if n == 1 then input = given[1] end
  return { input = input, options = options, body = body }
end

return inputs
