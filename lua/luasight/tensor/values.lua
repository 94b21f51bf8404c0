--- The values behind handles: computes the value of a proxy where a script needs it, and returns fields, length and text of
--- values.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local nodes = require "luasight.ffi.nodes"
local operators = require "luasight.tensor.operators"
local recording = require "luasight.ffi.recording"
local sequences = require "luasight.ffi.sequences"
local tensors = require "luasight.ffi.tensors"

local is_handle = binding.is_handle
local is_forward, is_trace, is_open = nodes.is_forward, nodes.is_trace, nodes.is_open
local TENSOR, TUPLE, LIST = constants.LS_TENSOR, constants.LS_TUPLE, constants.LS_LIST
local STRUCT, NODE = constants.LS_STRUCT, constants.LS_NODE
local FUNCTION, CLOSED = nodes.FUNCTION, nodes.CLOSED

local values = {
  ---The operations that need a trace. The files of lua/luasight/trace set these functions: demand(node), grad(node),
  ---token_index(node, i), set_token_index(node, i, v), set_grad(node, v), parameter_grad(tensor), backward(node, ...).
  hooks = {},
}

local words = { [TENSOR] = "tensor", [TUPLE] = "tuple", [LIST] = "list", [STRUCT] = "struct" }

-- ---- values of nodes -------------------------------------------------------------------------------------------------

---Returns the value of a node. While the trace is open, the model runs up to the node; after the trace, the node must have been
---saved, and the handle becomes a handle of the value, so that the handle no longer keeps the trace in memory.
---@param self ffi.cdata*
---@return any
function values.resolve(self)
  if self._kind ~= NODE then return self end
  local state = nodes.state(self)
  if state == CLOSED then return nodes.become_value(self) end
  if state == FUNCTION then
    if not nodes.is_eager(self) then
      binding.raise("state", "a value inside forward has no number yet: forward is recorded once and runs later",
        { hint = "use operators on it, or x.shape and x:size(d), which are values too; a module whose forward branches on " ..
          "numbers declares itself: dynamic = true" })
    end
    return nodes.demand(self)
  end
  values.hooks.demand(self)
  return nodes.value(self)
end

local resolve = values.resolve

---Returns the tensor behind a handle. For a value that is no tensor, raises an error that says that it has no `what`.
---@param self ffi.cdata*
---@param what string
---@return ffi.cdata*
function values.tensor_of(self, what)
  local v = resolve(self)
  if is_handle(v) then
    if v._kind == TENSOR then return v end
    if v._kind < TENSOR then binding.raise("state", "this value has been released, so it cannot be used any more") end
    binding.raise("argument", ("a value that is a %s has no %s"):format(words[v._kind], what),
      { hint = v._kind == STRUCT and "take one of its fields" or "take an element: x[0]" })
  end
  binding.raise("argument", ("a value that is a %s has no %s"):format(type(v), what))
end

local tensor_of = values.tensor_of

---Returns a field of the description of a tensor: of what is known of a value of a forward, or of the tensor behind a handle.
local function described(self, what, of_known, of_tensor)
  local known = is_forward(self) and not nodes.is_eager(self) and nodes.known(self)
  if known then return of_known(known) end
  return of_tensor(tensor_of(self, what))
end

values.described = described

-- ---- fields ----------------------------------------------------------------------------------------------------------

local fields, setters = {}, {}
values.fields, values.setters = fields, setters

---Returns the value of a proxy; a handle that is no proxy is returned itself.
---@return any
function fields.value(self) return resolve(self) end

---Returns the sizes of a tensor's axes as a sequence that counts from 0.
---@return ffi.cdata*
function fields.shape(self)
  if is_forward(self) then
    local known = nodes.known(self)
    return known and sequences.of_sizes(known) or nodes.shape(self)
  end
  return tensors.shape(tensor_of(self, "shape"))
end

---Returns the dtype of a tensor, such as "float32".
---@return string
function fields.dtype(self) return described(self, "dtype", tensors.known.dtype, tensors.dtype) end

---Returns the device on which a tensor is, such as "cpu".
---@return string
function fields.device(self) return described(self, "device", tensors.known.device, tensors.device) end

---@return boolean
function fields.requires_grad(self)
  recording.refuse "requires_grad cannot be asked"
  return tensors.requires_grad(tensor_of(self, "requires_grad"))
end

---@param on boolean
function setters.requires_grad(self, on)
  recording.refuse "requires_grad cannot be set"
  tensors.require_grad(tensor_of(self, "requires_grad"), on)
end

---Returns the gradient of a tensor, or nil.
---@return ffi.cdata*?
function fields.grad(self)
  if is_open(self) then
    local hook = values.hooks.grad
    if hook then return hook(self) end
    binding.raise("state", "a value that is being recorded has no gradient to read yet",
      { hint = "call backward after the trace, on real tensors" })
  end
  recording.refuse "a gradient cannot be read"
  local t = tensor_of(self, "grad")
  local proxy = tensors.is_read_only(t) and values.hooks.parameter_grad and values.hooks.parameter_grad(t)
  return proxy or tensors.grad(t)
end

---@param v ffi.cdata*?
function setters.grad(self, v)
  if is_open(self) then
    local hook = values.hooks.set_grad
    if hook then return hook(self, v) end
    binding.raise("state", "a value that is being recorded has no gradient to set yet")
  end
  recording.refuse "a gradient cannot be set"
  local t = tensor_of(self, "grad")
  if tensors.is_read_only(t) then
    binding.raise("state", "the gradient of a parameter can be read in a trace, but not set",
      { hint = "set the gradient of a value: model.layer1.output.grad = g" })
  end
  if type(v) == "nil" then return tensors.set_grad(t, nil) end
  if not is_handle(v) then binding.raise("argument", "the field grad of a tensor can only be set to a tensor or nil") end
  tensors.set_grad(t, tensor_of(v, "numbers"))
end

local function no_tokens()
  binding.raise("state", "x.t[i] counts the tokens of a language model's input, but this value has no tokens",
    { hint = "x:t() transposes, and x[i] takes a row" })
end

-- The methods of the object x.t: x:t() transposes a tensor, and x.t[i] takes token i of an input.
local Tokens = {
  __call = function(_, t, ...) return operators.call(operators.get "t", t, ...) end,
  __index = function(tokens, i)
    if is_trace(tokens.tensor) then return values.hooks.token_index(tokens.tensor, i) end
    no_tokens()
  end,
  __newindex = function(tokens, i, value)
    if is_trace(tokens.tensor) then return values.hooks.set_token_index(tokens.tensor, i, value) end
    no_tokens()
  end,
}

---Returns an object for which x:t() transposes the tensor and x.t[i] takes token i, where the value has tokens.
---@return table
function fields.t(self) return setmetatable({ tensor = self }, Tokens) end

-- ---- sequences -------------------------------------------------------------------------------------------------------

---Returns #x: the size of axis 0, or the length of a sequence.
---@return integer
function values.length(self)
  if is_forward(self) then return fields.shape(self)[0] end
  local v = resolve(self)
  if not is_handle(v) then return #v end
  if v._kind ~= TENSOR then
    if v._kind < TENSOR then binding.raise("state", "this value has been released, so it cannot be used any more") end
    return sequences.length(v)
  end
  return tensors.size(v, 0) or binding.raise("shape", "a tensor without dimensions has no length")
end

-- ---- text and numbers ------------------------------------------------------------------------------------------------

---Returns a tensor as PyTorch prints it, and a sequence as (a, b), [1, 10] or {name = value}.
---@return string
function values.text(self) return require "luasight.tensor.text".of(self) end

---Returns a view of a tensor through which Lua can read its numbers; where necessary the numbers are copied to the CPU. The
---view's field `keep` has the tensor that owns the memory.
---@param t ffi.cdata*
---@param whole boolean?  true: all numbers are needed, and not only those that the text of the tensor shows
---@return luasight.TensorView
function values.view(t, whole) return require "luasight.tensor.text".view(t, whole) end

return values
