--- The call that a module's name says, where the module stands under several names and is called several times: the second
--- place of a module in a Sequential is its second call. Elsewhere the names do not tell its calls apart, which is an error.
local Sequential = require "luasight.nn.container".Sequential
local binding = require "luasight.ffi"
local functions = require "luasight.ffi.functions"

local getfenv = debug.getfenv

local call_names = {}

local function join(path, name) return path == "" and name or path .. "." .. name end

---Appends to `found` the paths on which a module stands below another one, through modules that the program does not call.
local function paths_below(program, above, path, module, found)
  for name, below in above:_children() do
    local own = join(path, name)
    if below == module then found[#found + 1] = own
    elseif functions.calls(program, own) < 1 then paths_below(program, below, own, module, found) end
  end
end

---Returns the path of a place in a program, with the number of the call that its last name says.
---@param place luasight.Place
---@param program ffi.cdata*
---@param path string  the path, in which modules around the place may have numbers of calls already
---@param host string?  the path of the program's module in the model; nil: the model itself
---@return string
function call_names.last(place, program, path, host)
  local calls = functions.calls(program, path)
  if calls < 2 then return path end
  local function inside(p) return host and p:sub(#host + 2) or p end
  local around, names, at = getfenv(place.parent), {}, nil
  while around.parent and around.path ~= host and functions.calls(program, inside(around.path)) < 1 do
    around = getfenv(around.parent)
  end
  paths_below(program, around.module, inside(around.path), place.module, names)
  for i, name in ipairs(names) do at = name == inside(place.path) and i or at end
  if #names < 2 or not at then return path end
  local in_order = around.handle == place.parent and around.module.forward == Sequential.forward
  if in_order and calls % #names == 0 then return ("%s (call %d)"):format(path, at - 1) end
  binding.raise("name", ("this module has several names (%s) and is called %d times, so that its name does not say which " ..
    "call is meant"):format(table.concat(names, ", "), calls),
    { point = place.path, hint = "name the call, counted from 0: module:call(1).output" })
end

---Returns the path of a place in the program of the model, with the numbers of the calls that its names say.
---@param place luasight.Place
---@param program ffi.cdata*
---@return string
function call_names.path(place, program)
  if not place.parent then return place.path end
  return call_names.last(place, program, join(call_names.path(getfenv(place.parent), program), place.name))
end

return call_names
