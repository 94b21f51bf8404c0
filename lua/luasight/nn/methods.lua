--- Methods that every module has: for the modules below it, its training mode, its dtype and device, and its state.
local binding = require "luasight.ffi"
local near = require "luasight.base.near"
local options_of = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local record = require "luasight.nn.record"
local tensors_of = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"

local identity = tensors_of.identity
local Module = {}

-- ---- the tree of modules ---------------------------------------------------------------------------------------------

local function join(path, name) return path == "" and name or path .. "." .. name end

---Calls visit(path, module) once for a module and for each module below it; where `once` is false, for each of its paths.
local function walk(self, path, seen, visit, once)
  if seen[self] then return end
  seen[self] = true
  visit(path, self)
  for name, child in self:_children() do walk(child, join(path, name), seen, visit, once) end
  if once == false then seen[self] = nil end
end

---Returns an iterator over a list of names and a list of values at the same positions.
local function pairs_of(names, values)
  local i = 0
  return function()
    i = i + 1
    if names[i] ~= nil then return names[i], values[i] end
  end
end

---Returns the paths and the objects of this module and of all modules below it.
local function modules(self)
  local names, values = {}, {}
  walk(self, "", {}, function(path, m) names[#names + 1], values[#values + 1] = path, m end)
  return names, values
end

---Returns the paths and the tensors of this module and of all modules below it: the parameters, or the buffers where
---`parameters` is false. A tensor that several modules share is there once, with the first of its paths.
local function tensors(self, parameters, what, given)
  given = options_of.read(what, given, { recurse = "boolean", prefix = "string", remove_duplicate = "boolean" })
  local names, values, seen = {}, {}, {}
  local function visit(path, m)
    local kinds = m._tensor_kinds
    for name, t in m:_tensors() do
      local key = identity(t)
      if (kinds[name] == "parameter") == parameters and not seen[key] then
        seen[key] = given.remove_duplicate ~= false
        names[#names + 1], values[#values + 1] = join(path, name), t
      end
    end
  end
  local prefix = given.prefix or ""
  if given.recurse == false then visit(prefix, self) else walk(self, prefix, {}, visit, given.remove_duplicate) end
  return names, values
end

---Raises an error where a method without options is given one.
local function no_options(what, given) options_of.read(what, given, {}) end

---Returns all parameters of this module and of the modules below it; a shared parameter is there once.
---@param given? { recurse: boolean? }  recurse = false: those of this module alone
---@return ffi.cdata*[]
function Module:parameters(given) return (select(2, tensors(self, true, "net:parameters", given))) end

---Iterates over paths and parameters of this module and of all below it; a shared parameter has the first of its paths.
---@param given? { recurse: boolean?, prefix: string?, remove_duplicate: boolean? }  remove_duplicate = false: a shared
---  parameter is there under each of its paths
---@return fun(): string?, ffi.cdata*?
function Module:named_parameters(given) return pairs_of(tensors(self, true, "net:named_parameters", given)) end

---Returns all buffers of this module and of the modules below it.
---@param given? { recurse: boolean? }
---@return ffi.cdata*[]
function Module:buffers(given) return (select(2, tensors(self, false, "net:buffers", given))) end

---Iterates over paths and buffers of this module and of the modules below it.
---@param given? { recurse: boolean?, prefix: string?, remove_duplicate: boolean? }
---@return fun(): string?, ffi.cdata*?
function Module:named_buffers(given) return pairs_of(tensors(self, false, "net:named_buffers", given)) end

---Returns this module and all modules below it.
---@return luasight.nn.Module[]
function Module:modules(given)
  no_options("net:modules", given)
  return (select(2, modules(self)))
end

---Iterates over paths and modules: this module, whose path is "", and all modules below it.
---@return fun(): string?, luasight.nn.Module?
function Module:named_modules(given)
  no_options("net:named_modules", given)
  return pairs_of(modules(self))
end

---Returns the children of this module without repetitions: their names, and the modules.
local function children(self)
  local names, list, seen = {}, {}, {}
  for name, child in self:_children() do
    if not seen[child] then names[#names + 1], list[#list + 1], seen[child] = name, child, true end
  end
  return names, list
end

---Returns the modules directly below this one; a module that is there under two names is returned once.
---@return luasight.nn.Module[]
function Module:children(given)
  no_options("net:children", given)
  return (select(2, children(self)))
end

---Iterates over name and module of the modules directly below this one; a module with two names has the first of them.
---@return fun(): string?, luasight.nn.Module?
function Module:named_children(given)
  no_options("net:named_children", given)
  return pairs_of(children(self))
end

---Returns the module at a path: net:get_submodule "layers.3".
---@param path string
---@return luasight.nn.Module
function Module:get_submodule(path)
  local at = self
  for name in path:gmatch "[^.]+" do
    local below = at:_child(name)
    if not below then
      binding.raise("name", ("there is no module %q in %s%s"):format(name, at._class_name, near.text(name, at._child_names)))
    end
    at = below
  end
  return at
end

---Calls f with every module below this one and then with this one.
---@param f fun(module: luasight.nn.Module)
---@return luasight.nn.Module  # the module itself
function Module:apply(f)
  options_of.value("module:apply", "its argument", f, "function")
  for _, child in ipairs(self:children()) do child:apply(f) end
  f(self)
  return self
end

-- ---- training --------------------------------------------------------------------------------------------------------

---Switches the training mode of this module and of all below it on or off; dropout acts in training mode only.
---@param on boolean?  true by default
---@return luasight.nn.Module  # the module itself
function Module:train(on)
  on = options_of.value("net:train", "on", on == nil or on, "boolean")
  for _, m in ipairs(self:modules()) do m._values.training = on end
  record.mode_changed()
  return self
end

---Switches the training mode of this module and of all below it off.
---@return luasight.nn.Module  # the module itself
function Module:eval() return self:train(false) end

---Sets whether autograd records what is computed with the parameters.
---@param on boolean?  true by default
---@return luasight.nn.Module  # the module itself
function Module:requires_grad_(on)
  options_of.value("net:requires_grad_", "on", on == nil or on, "boolean")
  for _, p in ipairs(self:parameters()) do p:requires_grad_(on ~= false) end
  return self
end

---Sets the gradients of all parameters of this module and of the modules below it to nil.
---@param given? { set_to_none: boolean? }  set_to_none = false: the gradients are filled with 0 instead
function Module:zero_grad(given)
  given = options_of.read("net:zero_grad", given, { set_to_none = "boolean" })
  parameter.zero_grad(self:parameters(), given.set_to_none)
end

-- ---- dtype and device ------------------------------------------------------------------------------------------------

local kinds = { dtype = "string", device = "string" }
local floats = { float16 = true, bfloat16 = true, float32 = true, float64 = true }

local function read_target(...)
  local target = {}
  local function set(name, value)
    if target[name] and target[name] ~= value then
      binding.raise("argument", ("a module's method `to` takes one %s, not %q and %q"):format(name, target[name], value))
    end
    target[name] = value
  end
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if type(v) == "string" then
      set((v:match "^cpu" or v:match "^cuda" or v:match "^mps" or v:match "^meta") and "device" or "dtype", v)
    elseif type(v) == "table" and getmetatable(v) == nil then
      for name, value in pairs(options_of.read("module:to", v, kinds)) do set(name, value) end
    elseif v ~= nil then
      binding.raise("argument", ("a module's method `to` takes names of a dtype and a device, not a %s"):format(type(v)))
    end
  end
  if target.dtype and not floats[target.dtype] then
    binding.raise("argument", ("a module's method `to` converts to floating-point dtypes, not to %q%s"):format(
      tostring(target.dtype), near.text(tostring(target.dtype), { "float16", "bfloat16", "float32", "float64" })))
  end
  return target
end

---Converts a tensor and its gradient in place, so that optimizers and other modules that hold the tensor see the change.
local function convert(t, target)
  local dtype = t.dtype
  local wanted = { device = target.device ~= t.device and target.device or nil,
    dtype = floats[dtype] and target.dtype ~= dtype and target.dtype or nil }
  if not next(wanted) then return end
  local moved = t:detach():to(wanted)
  local grad = t.grad
  tensors_of.set_data(t, moved)
  if type(grad) ~= "nil" then t.grad = grad:detach():to(wanted) end
end

---Converts all parameters and buffers in place: net:to "float64", net:to("cuda", "float16"), net:to { device = "cpu" }. A
---dtype applies to the floating-point tensors only.
---@param ... string|table
---@return luasight.nn.Module  # the module itself
function Module:to(...)
  local target = read_target(...)
  local all = self:parameters()
  for _, b in ipairs(self:buffers()) do all[#all + 1] = b end
  if target.device ~= "meta" then
    for _, t in ipairs(all) do
      if target.device and t.device == "meta" then
        binding.raise("state", "a parameter on the meta device has no numbers to move",
          { hint = "load numbers first: load_state_dict(state, { assign = true })" })
      end
    end
  end
  torch.no_grad(function()
    for _, t in ipairs(all) do convert(t, target) end
  end)
  for _, m in ipairs(self:modules()) do record.changed(m, true) end
  return self
end

for name, dtype in pairs { float = "float32", double = "float64", half = "float16", bfloat16 = "bfloat16" } do
  Module[name] = function(self) return self:to(dtype) end
end

---Moves all parameters and buffers to the CPU, in place.
---@return luasight.nn.Module  # the module itself
function Module:cpu() return self:to "cpu" end

---Moves all parameters and buffers, in place, to GPU number `i`, or to the current GPU.
---@param i integer?
---@return luasight.nn.Module  # the module itself
function Module:cuda(i) return self:to(i and ("cuda:%d"):format(i) or "cuda") end

-- ---- state -----------------------------------------------------------------------------------------------------------

---Returns all parameters and persistent buffers by name; a shared tensor is there under each of its names.
---@param options? { prefix: string?, keep_vars: boolean? }  keep_vars: the tensors themselves instead of detached ones
---@return table<string, ffi.cdata*>
function Module:state_dict(options)
  local state = {}
  for name, t in self:named_state(options) do state[name] = t end
  return state
end

---Iterates over names and tensors of `state_dict` in PyTorch's order.
---@param options? { prefix: string?, keep_vars: boolean? }
---@return fun(): string?, ffi.cdata*?
function Module:named_state(options) return pairs_of(require "luasight.nn.state".read(self, options)) end

---Copies the numbers of tensors, given by name, into the parameters and buffers of this module. Where names or shapes do not
---fit, nothing is changed and an error is raised.
---@param state table<string, ffi.cdata*>
---@param options? { strict: boolean?, assign: boolean? }  strict (true by default): all names must match; assign: the
---  given tensors themselves become the parameters, without a copy
---@return { missing_keys: string[], unexpected_keys: string[] }
function Module:load_state_dict(state, options) return require "luasight.nn.state".write(self, state, options) end

return Module
