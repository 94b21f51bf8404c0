--- Sorts the arguments (input, options, body) of model:trace, tracer:invoke and model:generate, which may be left out.
local binding = require "luasight.ffi"
local near = require "luasight.base.near"
local options_of = require "luasight.base.options"

local inputs = {}

---Returns whether a value can be a table of options: a table that is not empty, has no list part and no metatable.
---@param v any
---@return boolean
function inputs.is_options(v)
  return type(v) == "table" and getmetatable(v) == nil and v[1] == nil and next(v) ~= nil
end

local function is_empty(v) return type(v) == "table" and getmetatable(v) == nil and next(v) == nil end

---@class luasight.Call  the arguments of a method such as model:trace, sorted
---@field input any       nil where the call has no input
---@field options table
---@field body function?

---Raises an error for a name that is no option, where it is like the name of an argument of the model.
local function check_names(network, what, given, known)
  for name in pairs(given) do
    local guess = known[name] == nil and near.text(tostring(name), network.arguments) or ""
    if guess ~= "" then
      binding.raise("name", ("%s takes no %q, neither as an argument of the model nor as an option%s"):format(what,
        tostring(name), guess))
    end
  end
end

---Returns the input, the options and the body among the arguments of a method.
---@param network luasight.Network
---@param what string                  the name of the method in errors, such as "trace"
---@param known table<string, boolean> the options of the method
---@param ... any
---@return luasight.Call
function inputs.sort(network, what, known, ...)
  local n, first, second = select("#", ...), ...
  if n == 2 and type(second) == "function" and type(first) == "cdata" then -- the most frequent form: a tensor and a body
    return { input = first, options = {}, body = second }
  end
  local given, body = { ... }, nil
  if n > 0 and type(given[n]) == "function" then body, n = given[n], n - 1 end
  local options, last = {}, given[n]
  if n > 1 and (inputs.is_options(last) or is_empty(last)) or
    n == 1 and inputs.is_options(last) and not network.is_input(last) then
    options, n = last, n - 1
    if n == 0 and network.arguments then check_names(network, what, options, known) end
  end
  options_of.read(what, options, known)
  if n > 1 or n == 1 and given[1] == nil then
    binding.raise("argument", n == 1 and "the input of the model is nil" or
      ("%s takes one input of the model; pass several as ls.args(a, b)"):format(what))
  end
  local input
  if n == 1 then input = given[1] end
  return { input = input, options = options, body = body }
end

return inputs
