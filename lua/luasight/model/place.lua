--- Places: a place is the state behind the handle of a module of a model. It knows the points of the module and the modules
--- below it.
local binding = require "luasight.ffi"
local call_names = require "luasight.trace.call_names"
local functions = require "luasight.ffi.functions"
local near = require "luasight.base.near"
local trace = require "luasight.trace"

local getfenv, setfenv = debug.getfenv, debug.setfenv

---@class luasight.Network  the data that all handles of one model share
---@field module table            the root nn.Module
---@field root userdata           the handle of the root
---@field prepare fun(input: any, options: table): ...  returns the arguments of the root module for an input
---@field options table<string, boolean>         the options of trace
---@field invoke_options table<string, boolean>  the options of an invoke
---@field merge fun(members: luasight.Input[]): table  joins the inputs of several invokes into the arguments of one call
---@field generation? fun(options: table): luasight.GenerationSettings  makes settings from options
---@field edits luasight.Edit[]  the stored edits, which are part of every run
---@field example fun(rows: integer?, length: integer?): ...  returns arguments of a call, for finding the model's points
---@field makes_examples boolean?  whether the model can run on the arguments that `example` returns
---@field only_shapes boolean?     whether the tensors have no numbers, so that the model can only be scanned
---@field renamed table<table, table<string, string>>?  for each module, paths below it by their additional names
---@field find fun(path: string): userdata?
---@field tokens fun(args: table, of_decoder: boolean?): integer[][]?, integer?  returns the columns of the tokens of each row,
---  and the number of columns; nil where the input has no tokens

---@class luasight.Place  the state of one handle
---@field network luasight.Network
---@field handle userdata
---@field module table
---@field path string
---@field children table<any, userdata>
---@field points table<ffi.cdata*, table<string, integer|false>>  for each program the numbers of the module's points
---@field ways table<string, table>  the same for points on a way that names calls, such as "block (call 1).linear"
---@field parent userdata?  the handle of the module around it
---@field name string?      its name there
---@field call integer?     the number of the call that the handle names: module:call(k)
---@field fixed boolean?    whether this handle or one above it names a call
---@field tracer luasight.Tracer?  the trace whose tracer the handle comes from; nil: that of the innermost body

local prototype = newproxy(true)
local meta = getmetatable(prototype)

local by_program = { __mode = "k" }

local function new_handle(network, module, path)
  local handle = newproxy(prototype)
  local numbers = setmetatable({}, by_program) -- for each program: name of a point -> its number
  setfenv(handle, { handle = handle, network = network, module = module, path = path, children = {}, points = numbers,
    ways = {}, fixed = false, parent = nil, name = nil, call = nil, tracer = nil })
  return handle
end

---Returns a handle of the whole model whose points, and those of all handles below it, are those of one trace.
local function root_of(tracer)
  local network = tracer._network
  local handle = new_handle(network, network.module, "")
  getfenv(handle).tracer = tracer
  return handle
end

---Returns a handle of the same module that names one of its calls.
local function call_of(handle, k)
  local place = getfenv(handle)
  local other = new_handle(place.network, place.module, place.path)
  local of = getfenv(other)
  of.parent, of.name, of.tracer, of.call, of.fixed = place.parent, place.name, place.tracer, k, true
  return other
end

local function is_handle(v) return type(v) == "userdata" and getmetatable(v) == meta end

-- ---- points ------------------------------------------------------------------------------------------------------------

local function join(path, name) return path == "" and tostring(name) or path .. "." .. name end

---Returns the trace to which the points of a place belong: that of the tracer from which the script has the handle, else
---that of the innermost body; nil outside of a trace.
local function trace_at(place)
  local tracer = place.tracer
  if not tracer then return trace.of(place.network) end
  return tracer._recording.graph and tracer or nil
end

local function tracer_of(place, what)
  local tracer = trace_at(place)
  if tracer then return tracer end
  binding.raise("state", place.tracer and "this value is one of a trace that has ended" or
    "this value exists only inside the body of a trace", { point = join(place.path, what) })
end

---Returns the module of a place. In a scan, returns the copy of the module that the scan has made, on the meta device.
local function meta_copy_of(place, tracer)
  local copies = tracer and tracer._meta_copies
  return copies and copies[place.module] or place.module
end

local function no_call(tracer, path, calls, call, inside)
  local often = calls == 1 and "once" or calls .. " times"
  local text
  if inside then
    text = ("%s in this call of the module around it, so there is no call %d inside it"):format(often, call)
  elseif tracer._steps then
    text = ("%s in each of at most %d steps, so there is no call %d"):format(often, tracer._steps, call)
  else
    text = ("%s, so there is no call %d"):format(often, call)
  end
  binding.raise("unreached", "the model calls this module " .. text, { point = path })
end

---Returns the path that names the calls of a place in the program of a trace, such as "block (call 1).linear", and the step of
---a generation that the script has chosen with `call` or `next`, at the module or at one around it; nil where it has chosen
---none. With `is_fixed`, moves by `next` do not count.
local function way_to(place, tracer, is_fixed)
  if not place.parent then return "", nil end
  local path, step = way_to(getfenv(place.parent), tracer, is_fixed)
  path = join(path, place.name)
  local call, inside = place.call, is_fixed and step
  local by = not is_fixed and tracer._moved and tracer._moved[place.path]
  if not call and not by then return call_names.last(place, tracer._program, path), step end
  local calls = math.max(1, functions.calls(tracer._program, path))
  local total = call or (step or tracer._step) * calls + by
  local number = total % calls
  if inside then number = call
  else step = math.floor(total / calls) end
  if total < 0 or inside and call >= calls or not inside and step > 0 and step >= (tracer._steps or 1) then
    no_call(tracer, path, calls, total, inside)
  end
  return calls > 1 and ("%s (call %d)"):format(path, number) or path, step
end

---Returns the number of a point in the program of a trace, or false where the module has no such point. `way` names the calls
---meant, where not all on the module's path are.
local function find_point(place, tracer, name, way)
  local program, numbers = tracer._program, place.points
  if way and way ~= place.path then
    place.ways[way] = place.ways[way] or setmetatable({}, by_program)
    numbers = place.ways[way]
  end
  local known = numbers[program]
  if not known then
    known = {}
    numbers[program] = known
  end
  local point = known[name]
  if point == nil then
    point = functions.find(program, join(way or place.path, name))
    if point and not way and functions.calls(program, place.path) > 1 then
      point = functions.find(program, join(call_names.path(place, program), name))
    end
    known[name] = point
  end
  return point
end

---Forgets that a module has no point of a name. This is for names that turn out to mean nothing: a script can ask for any
---number of them.
local function forget_point(place, name)
  for _, known in pairs(place.points) do known[name] = nil end
end

---Returns the number of a module's point by its name ("output"), and the step of a generation to which the point belongs: the
---tracer's current step, or the step that the script has chosen with `next` or `call`.
---@return integer|false point, integer step
local function locate(place, tracer, name)
  if not tracer._invoke then
    binding.raise("state", "a point can only be read or set inside the body of an invoke", { point = join(place.path, name) })
  end
  if not place.fixed and not tracer._moved then return find_point(place, tracer, name), tracer._step end
  local way, step = way_to(place, tracer, place.fixed)
  return find_point(place, tracer, name, way), step or tracer._step
end

---Returns whether a place belongs to a module that a script has added to the model, or to a module below an added one.
local function is_added(place)
  local added = place.network.added
  for i = 1, #added do
    local path = added[i]
    if place.path == path or place.path:sub(1, #path + 1) == path .. "." then return true end
  end
  return false
end

local function reach(place, tracer, name)
  local point, step = locate(place, tracer, name)
  if point then return point, step end
  binding.raise("unreached", "the model never calls this module", {
    point = join(place.path, name),
    hint = is_added(place) and "an added module has points below its call with { hook = true }" or
      "modules that only hold others (lists) have no output of their own; read those of their children",
  })
end

local function read(place, name)
  local tracer = tracer_of(place, name)
  if is_added(place) then
    local value = require "luasight.trace.hooked".read(tracer, place, name, meta_copy_of)
    if type(value) ~= "nil" then return value end
  end
  local point, step = reach(place, tracer, name)
  return trace.read(tracer, step, point)
end

-- ---- children ----------------------------------------------------------------------------------------------------------

local find_module -- find_module(handle, path) is defined below

local function child(place, name)
  local known = place.children[name]
  if known then return known end
  local module = place.module:_child(name)
  if not module then
    local renamed = place.network.renamed
    local path = renamed and renamed[place.module] and renamed[place.module][name]
    if not path then return nil end
    -- below this module the way from it is followed, so that the handle keeps its calls and its trace
    local below = place.path == "" and path or path:sub(1, #place.path + 1) == place.path .. "." and path:sub(#place.path + 2)
    return find_module(below and place.handle or place.network.root, below or path)
  end
  known = new_handle(place.network, module, join(place.path, name))
  local of = getfenv(known)
  of.parent, of.name, of.fixed, of.tracer = place.handle, name, place.fixed, place.tracer
  place.children[name] = known
  return known
end

local function count(place)
  local n = 0
  while place.module:_child(tostring(n)) do n = n + 1 end
  return n
end

local function index_child(place, i)
  local n = count(place)
  local at = i < 0 and i + n or i
  local found = at % 1 == 0 and at >= 0 and at < n and child(place, tostring(at))
  if found then return found end
  local name = place.path == "" and "the model" or place.path
  binding.raise("index", n == 0 and name .. " has no numbered modules" or
    ("%s[%s]: there are %d modules, 0 to %d"):format(name, tostring(i), n, n - 1))
end

local function each_child(place)
  local i, n = -1, count(place)
  return function()
    i = i + 1
    if i < n then return i, child(place, tostring(i)) end
  end
end

---Returns the children of a list of modules at the positions of a range such as "2:5"; nil where the text is no range.
local function slice_children(place, text)
  local from, to = text:match "^%s*(%-?%d*)%s*:%s*(%-?%d*)%s*$"
  if not from then return nil end
  local n = count(place)
  local function bound(s, default)
    local v = tonumber(s) or default
    return math.max(0, math.min(n, v < 0 and v + n or v))
  end
  if n == 0 then index_child(place, 0) end
  local list = {}
  for i = bound(from, 0), bound(to, n) - 1 do list[#list + 1] = child(place, tostring(i)) end
  return list
end

local Children = {}
function Children.__index(list, key)
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  binding.raise("name", ("the module has no child %q%s"):format(tostring(key), near.text(tostring(key), names)))
end

---Returns the children of a module by name. A script needs this table where a point or a method has the same name as a child.
local function children_of(place)
  local list = {}
  for name in place.module:_children() do list[name] = child(place, name) end
  return setmetatable(list, Children)
end

---Returns the module at a path below a handle, or nil where there is none.
find_module = function(handle, path)
  for name in tostring(path):gmatch "[^.]+" do
    handle = handle and child(getfenv(handle), name)
  end
  return handle
end

---@param handle userdata
---@return string
local function path(handle) return getfenv(handle).path end

---Returns the nn.Module behind a handle.
---@param handle userdata
---@return table
local function module(handle) return getfenv(handle).module end

return {
  path = path, module = module, new_handle = new_handle, is_handle = is_handle, meta = meta, join = join, tracer_of = tracer_of,
  meta_copy_of = meta_copy_of, find_point = find_point, forget_point = forget_point, locate = locate, is_added = is_added,
  reach = reach, read = read, root_of = root_of, call_of = call_of, trace_at = trace_at,
  child = child, count = count, index_child = index_child, each_child = each_child, slice_children = slice_children,
  children_of = children_of, find_module = find_module,
}
