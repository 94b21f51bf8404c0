--- Parameters and buffers: tensors that a module owns. The table `kinds` keeps for the handle of a tensor whether the tensor
--- becomes a parameter or a buffer where it is set as a field of a module; a tensor that is set in two places is shared.
local binding = require "luasight.ffi"
local extent = require "luasight.ffi.extent"
local options = require "luasight.base.options"
local nodes = require "luasight.ffi.nodes"
local recording = require "luasight.ffi.recording"
local tensors = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"
local values = require "luasight.tensor.values"

local is_handle = binding.is_handle

local parameter = {}

---@alias luasight.TensorKind "parameter"|"buffer"|"transient"  transient: a buffer that is not part of the state

local kinds = setmetatable({}, { __mode = "k" }) ---@type table<ffi.cdata*, luasight.TensorKind>

---Returns the kind of a handle, "parameter", "buffer" or "transient"; nil for a plain tensor.
---@param handle ffi.cdata*
---@return luasight.TensorKind?
function parameter.kind(handle) return kinds[handle] end

---@type fun(v: any): boolean
parameter.is_handle = is_handle

---Returns whether two handles refer to the same tensor.
---@param a ffi.cdata*
---@param b ffi.cdata*
---@return boolean
function parameter.same(a, b) return tensors.same(a, b) end

---Returns the tensor of a handle that is to be a parameter or a buffer; raises an error for any other value.
---@param name string  what the tensor is to be, for the error
---@param t any
---@return ffi.cdata*
function parameter.tensor_of(name, t)
  if is_handle(t) and nodes.is_forward(t) then
    binding.raise("state", name .. " cannot be made of a value of a forward, which is recorded once and runs later",
      { hint = "make it in init, and fill it in forward: self.mean:copy_(x)" })
  end
  if is_handle(t) then t = t.value end
  if tensors.is_tensor(t) then return t end
  binding.raise("argument", ("%s takes a tensor, not a %s"):format(name, is_handle(t) and "tuple" or type(t)))
end

---Returns a new tensor that shares the memory of `t` but not its history in autograd (`t:detach()`).
local function alias(name, t)
  t = parameter.tensor_of(name, t)
  local other = recording.outside(t.detach, t)
  binding.owe(-tensors.bytes(other)) -- `detach` counted these bytes, but `other` uses no new memory
  return other
end

---Makes a parameter of a tensor: `self.weight = nn.Parameter(torch.randn(3, 4))`. The parameter shares the tensor's memory.
---@param t ffi.cdata*
---@param given? { requires_grad: boolean? }  true by default
---@return ffi.cdata*
function parameter.Parameter(t, given)
  local wanted = options.read("nn.Parameter", given, { requires_grad = "boolean" }).requires_grad
  local p = alias("nn.Parameter", t)
  if wanted ~= false then tensors.require_grad(p, true) end
  kinds[p] = "parameter"
  return p
end

---Makes a buffer of a tensor: a tensor that is part of a module's state and is converted by `to`, but not trained.
---@param t ffi.cdata*
---@param given? { persistent: boolean? }  false: the buffer is not part of the state
---@return ffi.cdata*
function parameter.Buffer(t, given)
  local persistent = options.read("nn.Buffer", given, { persistent = "boolean" }).persistent
  local b = alias("nn.Buffer", t)
  kinds[b] = persistent == false and "transient" or "buffer"
  return b
end

---Removes the gradients of parameters, or fills them with 0 where `set_to_none` is false.
---@param list ffi.cdata*[]
---@param set_to_none boolean?
function parameter.zero_grad(list, set_to_none)
  for _, p in ipairs(list) do
    if set_to_none ~= false then
      p.grad = nil
    elseif type(p.grad) ~= "nil" then
      torch.no_grad(function() p.grad:detach_():zero_() end)
    end
  end
end

---Raises an error in a body whose backward has not run yet: the parameters still have the gradients of before.
---@param what string  what would use the gradients
function parameter.check_gradients(what)
  local awaits = values.hooks.awaits_backward
  if not (awaits and awaits()) then return end
  binding.raise("state", what .. ": the backward that this body records has not run yet, so its gradients are not there",
    { hint = "call it after the trace; in the body, loss:item() before it makes the model run up to there" })
end

-- ---- making weights --------------------------------------------------------------------------------------------------

local skipping = extent()

---Calls a function and returns its results; layers made inside it get no memory and no random numbers: their parameters are on
---the meta device until `load_state_dict(state, { assign = true })` replaces them.
---@param f fun(...): ...
---@return any ...
function parameter.skip_init(f, ...) return skipping:during(true, f, ...) end

---@return boolean
function parameter.is_skipping() return skipping:current() == true end

---Makes a parameter of the given shape, whose numbers are not set yet.
---@param shape integer[]
---@param given { dtype: string?, device: string? }
---@return ffi.cdata*
function parameter.empty(shape, given)
  local device = parameter.is_skipping() and "meta" or given.device or "cpu"
  local p = torch.empty(shape, { dtype = given.dtype or "float32", device = device })
  tensors.require_grad(p, true)
  kinds[p] = "parameter"
  return p
end

return parameter
