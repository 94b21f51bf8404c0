--- Handles: the objects that scripts have for a model and for each of its modules. Every handle has `output`, `input`,
--- taps, children and parameters; calling a handle inside a body adds the call to the trace.
local aliases = require "luasight.model.aliases"
local binding = require "luasight.ffi"
local colon = require "luasight.base.colon"
local inputs = require "luasight.trace.inputs"
local is_module = require "luasight.nn.module".is_module
local near = require "luasight.base.near"
local place_of = require "luasight.model.place"
local nodes = require "luasight.ffi.nodes"
local record = require "luasight.nn.record"
local tensors = require "luasight.ffi.tensors"
local trace = require "luasight.trace"

local getfenv = debug.getfenv
local call_of, meta, join = place_of.call_of, place_of.meta, place_of.join
local tracer_of, meta_copy_of, find_point = place_of.tracer_of, place_of.meta_copy_of, place_of.find_point
local locate, is_added, reach, trace_at = place_of.locate, place_of.is_added, place_of.reach, place_of.trace_at
local read, child, count = place_of.read, place_of.child, place_of.count
local index_child, each_child, slice_children = place_of.index_child, place_of.each_child, place_of.slice_children
local children_of = place_of.children_of

local handle = {
  ---Methods that only the root of a model has; filled by model/init.lua.
  root_methods = colon("model", place_of.is_handle),
}
local root_methods = handle.root_methods

---@class luasight.Module  a module of a model; a child is reached by its name, `model.transformer.h[3].attn`
---@field output luasight.Tensor   the module's output, inside a body; it can be set
---@field input luasight.Tensor    the module's input, the pair of positional and keyword arguments; it can be set
---@field q luasight.Tensor        B H T D: the queries, in an attention
---@field k luasight.Tensor        B H S D: the keys; H is the number of key/value heads
---@field v luasight.Tensor        B H S D: the values; H is the number of key/value heads
---@field scores luasight.Tensor   B H T S: the scores, masked and scaled, before the softmax
---@field pattern luasight.Tensor  B H T S: how much each position takes from each other position
---@field z luasight.Tensor        B H T D: the output of each head
---@field weight luasight.Tensor   a parameter; it can be read
---@field bias luasight.Tensor
---@field [integer] luasight.Module  the modules of a list, from 0; negative positions count from the end
---@field [string] luasight.Module
---@operator len: integer
---@overload fun(...): luasight.Tensor

---@alias luasight.Body fun(tracer: luasight.Tracer): ...

---@class luasight.Model: luasight.Module  a whole model; `model(input)` runs it without a body
---@overload fun(input: any, options?: table): luasight.Tensor

-- ---- methods of every handle -------------------------------------------------------------------------------------------

local methods = colon("module", place_of.is_handle)

local function names_below(place)
  local names = {}
  for name in place.module:_children() do names[#names + 1] = name end
  return names
end

---Returns the child that a module has under a name, or the module for which the name is an alias.
local function named(at, name)
  local place = getfenv(at)
  local below = child(place, name)
  if below or aliases.kind(place.module, name) ~= "module" then return below end
  local from, last = aliases.walk(at, aliases.of(place.module, name))
  return from[last]
end

---Returns the module at a path: model:get("transformer.h.3"), model:get("layers.3").
---@param path string
---@return userdata
function methods:get(path)
  local at = self
  for name in tostring(path):gmatch "[^.]+" do
    local place = getfenv(at)
    local below = named(at, name)
    if not below then
      local names = names_below(place)
      aliases.add_names(place.module, names, "module")
      binding.raise("name", ("there is no module %q in %s%s"):format(name, place.path == "" and "the model" or place.path,
        near.text(name, names)))
    end
    at = below
  end
  return at
end

---Iterates over position (from 0) and handle of a list of modules: for i, block in model.transformer.h:each() do.
---@return fun(): integer?, userdata?
function methods:each() return each_child(getfenv(self)) end

---Moves the module on to its next call (in a generation, the call in the next step): the values of the module and of all
---modules below it that the body names from now on are those of that call.
---@return userdata  # the module
function methods:next()
  local place = getfenv(self)
  local tracer = tracer_of(place, "next", 3)
  if place.call then return call_of(self, place.call + 1) end
  tracer._moved = tracer._moved or {}
  tracer._moved[place.path] = (tracer._moved[place.path] or 0) + 1
  return self
end

---Returns one call of a module that runs several times, counted from 0: model.block:call(1).output. The modules below it are
---those inside this call: model.block:call(1).linear.output.
---@param k integer
---@return userdata
function methods:call(k)
  if type(k) ~= "number" or k % 1 ~= 0 or k < 0 then
    binding.raise("argument", ("the number of a call is a whole number from 0, not %s"):format(tostring(k)))
  end
  return call_of(self, k)
end

---Skips the module: `value` becomes the module's output, and neither the module nor any module below it runs.
---@param value any  the value for the output; ls.tuple(x) where the module returns a tuple
function methods:skip(value)
  local place = getfenv(self)
  local tracer = tracer_of(place, "output", 3)
  local point, step = reach(place, tracer, "output", 3)
  trace.write(tracer, step, point, value, true)
end

---Lists the points of this module with their shapes: the shapes for the given input, without an argument the shapes for the
---input of the body, and outside of a body the shapes for examples that a language model makes itself.
---@param ... any  input?
---@return luasight.Points  # a list of { name, shape, dtype } that prints itself
function methods:points(...)
  local place = getfenv(self)
  local network, tracer, points = place.network, trace_at(place), require "luasight.model.points"
  local invoke = tracer and tracer._recording.invokes[tracer._invoke]
  if select("#", ...) > 0 then
    return points.of(network, self, place.module, place.path, network.prepare((...), {}))
  elseif invoke then
    return points.of(network, self, place.module, place.path, unpack(invoke.args, 1, invoke.args.n))
  elseif not network.makes_examples then
    binding.raise("argument", "the shapes of this model's points depend on an input, so pass one: module:points(input)")
  end
  return points.of(network, self, place.module, place.path)
end

---Iterates over path and handle of this module and of all modules below it.
---@return fun(): string?, userdata?
function methods:named_modules()
  local found = {}
  local function walk(at)
    local place = getfenv(at)
    found[#found + 1] = { place.path, at }
    for name in place.module:_children() do walk(child(place, name)) end
  end
  walk(self)
  local i = 0
  return function()
    i = i + 1
    if found[i] then return found[i][1], found[i][2] end
  end
end

---Iterates over path and tensor of the parameters of this module and of all modules below it; inside a body no operator may
---change these tensors in place.
---@param given? { recurse: boolean?, prefix: string?, remove_duplicate: boolean? }  as those of nn.Module
---@return fun(): string?, luasight.Tensor?
function methods:named_parameters(given)
  local place = getfenv(self)
  local following, inside = place.module:named_parameters(given), trace_at(place) ~= nil
  return function()
    local path, t = following()
    return path, path and inside and tensors.read_only(t) or t
  end
end

---Returns all parameters of this module and of those below it.
---@param given? { recurse: boolean? }  recurse = false: those of this module alone
---@return luasight.Tensor[]
function methods:parameters(given)
  local list = {}
  for _, t in self:named_parameters(given) do list[#list + 1] = t end
  return list
end

-- ---- the metatable -----------------------------------------------------------------------------------------------------

---Returns a text that lists the modules below a module; nil where there are none or more than 12.
local function modules_below(place)
  local names = names_below(place)
  if #names == 0 or #names > 12 then return nil end
  return "its modules are " .. table.concat(names, ", ")
end

local function unknown(place, key)
  place_of.forget_point(place, key)
  local names = names_below(place)
  names[#names + 1], names[#names + 2] = "output", "input"
  for name in place.module:_tensors() do names[#names + 1] = name end
  for name in pairs(methods) do names[#names + 1] = name end
  aliases.add_names(place.module, names)
  if place.path == "" then
    for name in pairs(root_methods) do names[#names + 1] = name end
    for name in pairs(place.network.public) do names[#names + 1] = name end
  end
  local owner = place.path == "" and "the model" or "this module"
  local guess = near.text(tostring(key), names)
  binding.raise("name", ("%s has no %q%s"):format(owner, tostring(key), guess),
    { point = place.path ~= "" and place.path or nil, hint = guess == "" and modules_below(place) or nil })
end

---Returns the number and the step of the point of a tap, or nil where the module has no tap of that name.
local function tap(place, tracer, name)
  if not tracer._program or not find_point(place, tracer, name) then return nil end
  return locate(place, tracer, name)
end

---Resolves an alias of this module. Returns an object and a key, so that object[key] is what the alias stands for; nil where
---the name is not an alias.
---@return any at, string|integer? step
local function follow(self, place, key)
  local alias = aliases.of(place.module, key)
  if not alias then return nil end
  if type(alias) == "table" then
    binding.raise("name", ("this module has no %s: %s"):format(key, alias[1]), { point = place.path })
  end
  local tracer = alias:find(":", 1, true) and tracer_of(place, key)
  if alias == ":" .. key then reach(place, tracer, key) end -- the tap that the alias needs is missing: raises an error
  return aliases.walk(self, alias)
end

function meta.__index(self, key)
  local place = getfenv(self)
  if key == "output" or key == "input" then return read(place, key, 3) end
  if type(key) == "number" then return index_child(place, key, 3) end
  if type(key) ~= "string" then unknown(place, key) end
  if methods[key] then return methods[key] end
  if key == "children" then return children_of(place) end
  if place.path == "" and root_methods[key] then return root_methods[key] end
  if place.path == "" and place.network.public[key] then return place.network.public[key](place) end
  local tracer = trace_at(place)
  if tracer then
    local point, step = tap(place, tracer, key)
    if point then return trace.read(tracer, step, point) end
    local value = is_added(place) and require "luasight.trace.hooked".read(tracer, place, key, meta_copy_of)
    if value then return value end
  end
  local below = child(place, key) or slice_children(place, key, 3)
  if below then return below end
  local at, last = follow(self, place, key)
  if at then return at[last] end
  local value = place.module[key]
  if value == nil or type(value) == "function" then unknown(place, key) end
  return tracer and binding.is_handle(value) and tensors.read_only(value) or value
end

---Returns whether a name is a method or a field that every handle of a module has.
function handle.is_word(name)
  return name == "output" or name == "input" or name == "children" or methods[name] ~= nil or root_methods[name] ~= nil
end

---Adds a module, which the script has made, to the model, as a child of the module to which `place` belongs.
local function add(place, key, module)
  local path = join(place.path, tostring(key))
  if trace_at(place) then
    binding.raise("state", "a module can only be added before a trace, not inside its body", { point = path })
  end
  if type(key) ~= "string" or handle.is_word(key) or aliases.of(place.module, key) then
    binding.raise("name", ("no module can be called %q, which has another meaning"):format(tostring(key)), { point = path })
  end
  place.module[key] = module
  local added = place.network.added
  added[path], added[#added + 1] = true, path
end

function meta.__newindex(self, key, value)
  local place = getfenv(self)
  if is_module(value) and not child(place, key) then return add(place, key, value) end
  local tracer = trace_at(place)
  if tracer and is_added(place) and not child(place, key) then
    return require "luasight.trace.hooked".write(tracer, place, key, value, meta_copy_of)
  end
  if key == "output" or key == "input" then
    local open = tracer_of(place, key, 3)
    local point, step = reach(place, open, key, 3)
    return trace.write(open, step, point, value, false)
  end
  if tracer and type(key) == "string" then
    local point, step = tap(place, tracer, key)
    if point then return trace.write(tracer, step, point, value, false) end
  end
  if child(place, key) then
    binding.raise("argument", "a module of the model cannot be set; set its output", { point = join(place.path, key) })
  end
  local at, last = follow(self, place, key)
  if at then
    at[last] = value
    return
  end
  for name in place.module:_tensors() do
    if name == key then
      binding.raise("state", "a parameter can be read in a trace, but not set", { point = join(place.path, key) })
    end
  end
  unknown(place, key)
end

local function has_open(...)
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if binding.is_handle(v) and nodes.is_open(v) then return true end
  end
  return false
end

---Returns whether the arguments of a call had the option `hook`, and the arguments without it.
local function without_hook(...)
  local n = select("#", ...)
  local options = select(n, ...)
  if n == 0 or not inputs.is_options(options) or options.hook == nil then return false, ... end
  local rest, args = {}, { ... }
  for name, v in pairs(options) do
    if name ~= "hook" then rest[name] = v end
  end
  args[n] = next(rest) and rest or nil
  return options.hook, unpack(args, 1, next(rest) and n or n - 1)
end

local function call_added(place, hook, ...)
  if not hook then return record.call(meta_copy_of(place, trace_at(place)), ...) end
  local tracer = tracer_of(place, "a call with a hook", 4)
  return require "luasight.trace.hooked".call(tracer, place.path, meta_copy_of(place, tracer), ...)
end

function meta.__call(self, ...)
  local place = getfenv(self)
  if is_added(place) then return call_added(place, without_hook(...)) end
  if place.path ~= "" or has_open(...) then return record.call(meta_copy_of(place, trace_at(place)), ...) end
  return handle.run(place.network, ...)
end

function meta.__len(self) return count(getfenv(self)) end

function meta.__tostring(self) return tostring(getfenv(self).module) end

return handle
