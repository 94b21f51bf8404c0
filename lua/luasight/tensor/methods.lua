--- The methods of handles in addition to operators: `x:tolist()`, `x:save()`, `x:to("float64")`, ...
local binding = require "luasight.ffi"
local colon = require "luasight.base.colon"
local constants = require "luasight.ffi.constants"
local nodes = require "luasight.ffi.nodes"
local operators = require "luasight.tensor.operators"
local options_of = require "luasight.base.options"
local recording = require "luasight.ffi.recording"
local sequences = require "luasight.ffi.sequences"
local tensors = require "luasight.ffi.tensors"
local values = require "luasight.tensor.values"

local is_handle = binding.is_handle
local TENSOR, NODE = constants.LS_TENSOR, constants.LS_NODE
local tensor_of, resolve, fields = values.tensor_of, values.resolve, values.fields

local methods = colon("x", is_handle)

local function op(name, ...) return operators.call(operators.get(name), ...) end
local function converted(self, ...) return operators.itself(self, op("to", self, ...)) end

-- ---- proxies ---------------------------------------------------------------------------------------------------------

---Keeps the value of a proxy beyond the trace; returns the proxy.
---@return ffi.cdata*
function methods.save(self)
  if self._kind == NODE then nodes.save(self) end
  return self
end

---Returns whether a saved proxy has a value.
---@return boolean
function methods.is_set(self) return self._kind ~= NODE or nodes.is_set(self) end

---Releases the value of a handle at once, without waiting for the collector; a second release has no effect.
function methods.release(self) binding.release(self) end

-- ---- sizes -----------------------------------------------------------------------------------------------------------

---Returns the shape of a tensor, or the size of one axis.
---@param axis integer?
---@return any  # a list that counts from 0, or an integer
function methods.size(self, axis)
  if type(axis) == "nil" then return fields.shape(self) end
  if type(axis) ~= "number" or axis % 1 ~= 0 then
    binding.raise("argument", ("x:size takes the number of an axis, not %s"):format(options_of.text(axis)))
  end
  if nodes.is_forward(self) then return fields.shape(self)[axis] end
  local t = tensor_of(self, "size")
  local size = tensors.size(t, axis)
  if size then return size end
  binding.raise("index", ("axis %s is out of range for a tensor of %d dimensions"):format(tostring(axis), tensors.dims(t)))
end

---Returns the number of dimensions of a tensor.
---@return integer
function methods.dim(self) return values.described(self, "dimensions", tensors.known.dims, tensors.dims) end

---Returns whether the elements of a tensor are adjacent in memory, in the order of the axes.
---@return boolean
function methods.is_contiguous(self) return tensors.is_contiguous(tensor_of(self, "memory")) end

---Returns the number of elements of a tensor.
---@return integer
function methods.numel(self) return values.described(self, "elements", tensors.known.elements, tensors.elements) end

-- ---- numbers ---------------------------------------------------------------------------------------------------------

---Raises an error for a tensor that has no numbers.
local function check_numbers(t)
  if tensors.device(t) ~= "meta" then return end
  binding.raise("state", "this tensor has a shape and a dtype, but no numbers (its device is \"meta\")",
    { hint = "a scan computes shapes only; model:trace(input, body) computes numbers" })
end

---Returns the number of a tensor that has one element.
---@return number|boolean
function methods.item(self)
  local v = resolve(self)
  if not is_handle(v) then return v end
  local t = tensor_of(v, "single number")
  recording.refuse "the number of a tensor cannot be asked for"
  check_numbers(t)
  return tensors.item(t)
end

local function plain(x)
  if type(x) ~= "cdata" then return x end
  local number = tonumber(x)
  return number > -2 ^ 53 and number < 2 ^ 53 and number or x
end

local function nested(view, axis, offset)
  local list, stride, last = {}, view.strides[axis], axis == #view.shape
  for i = 0, view.shape[axis] - 1 do
    local at = offset + i * stride
    if last then list[i + 1] = plain(view.read(view.data, at)) else list[i + 1] = nested(view, axis + 1, at) end
  end
  return list
end

---Returns a tensor's numbers as nested Lua lists (from 1), or as one number where the tensor has no dimensions. Integers
---beyond 2^53 stay 64-bit cdata.
---@return any
function methods.tolist(self)
  local v = resolve(self)
  if not is_handle(v) then return v end
  if v._kind ~= TENSOR then return sequences.elements(v) end
  recording.refuse "the numbers of a tensor cannot be asked for"
  local view = recording.outside(values.view, v, true)
  if view.opaque or view.is_complex then
    check_numbers(v)
    local layout = tensors.layout(v).layout
    binding.raise("argument", ("Lua cannot read the numbers of a tensor of %s %s"):format(layout and "layout" or "dtype",
      layout or v.dtype), { hint = layout and "x:to_dense() has them one behind the other"
      or view.is_complex and "torch.view_as_real(x) has the real and imaginary parts" or nil })
  end
  if #view.shape == 0 then return plain(view.read(view.data, 0)) end
  return nested(view, 1, 0)
end

---Returns a typed pointer to a tensor's first element, for FFI loops over a contiguous tensor on the CPU (`x:contiguous()`).
---The pointer keeps the tensor alive; other pointers computed from it do not.
---@return any
function methods.data_ptr(self)
  recording.refuse "the memory of a tensor cannot be asked for"
  local t = tensor_of(self, "memory")
  return tensors.owning_pointer(t, t.dtype)
end

---Iterates over the elements of a sequence or the rows of a tensor, counted from 0: `for i, row in x:each() do`.
---@return fun(): integer?, any
function methods.each(self)
  local v = resolve(self)
  if not is_handle(v) then binding.raise("argument", ("a %s has no elements to iterate over"):format(type(v))) end
  local n, i = values.length(v), -1
  return function()
    i = i + 1
    if i < n then return i, v[i] end
  end
end

-- ---- autograd --------------------------------------------------------------------------------------------------------

---Runs the backward pass from a tensor.
---@param grad ffi.cdata*?
---@param options { retain_graph: boolean?, gradient: ffi.cdata*? }?  gradient: `grad`, given by name
function methods.backward(self, grad, options)
  if type(grad) == "table" then grad, options = nil, grad end
  options = options_of.read("backward", options, { retain_graph = "boolean", gradient = true })
  if type(options.gradient) ~= "nil" then grad = options.gradient end
  if nodes.is_open(self) then
    local hook = values.hooks.backward
    if hook then return hook(self, grad, options.retain_graph) end
    binding.raise("state", "backward cannot be called on a value inside a body or a forward",
      { hint = "save the value and call backward after the trace" })
  end
  local given = type(grad) ~= "nil" and tensor_of(grad, "numbers") or nil
  tensors.backward(tensor_of(self, "gradient"), given, options.retain_graph)
end

---Sets whether autograd records computations with this tensor.
---@param on boolean?
---@return ffi.cdata*
function methods.requires_grad_(self, on)
  values.setters.requires_grad(self, on ~= false) -- if `self` is a proxy, it becomes a handle of its value
  return self
end

-- ---- conversions -----------------------------------------------------------------------------------------------------

local function is_device(text) return text:match "^cpu" or text:match "^cuda" or text:match "^meta" or text:match "^mps" end

local function set_target(options, name, value)
  if options[name] ~= nil and options[name] ~= value then
    binding.raise("argument", ("x:to takes one %s, not %s and %s"):format(name, options_of.text(options[name]),
      options_of.text(value)))
  end
  options[name] = value
end

---Converts a tensor to another dtype or device: x:to("float64"), x:to("cuda", "float16"), x:to(y), x:to{ dtype = "int64" }.
---@param ... any
---@return ffi.cdata*
function methods.to(self, ...)
  local options, rest = {}, {}
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if type(v) == "string" then
      set_target(options, is_device(v) and "device" or "dtype", v)
    elseif type(v) == "table" then
      for name, value in pairs(v) do set_target(options, name, value) end
    else
      rest[#rest + 1] = v
    end
  end
  local refused = next(options) and #rest > 0 or type(rest[1]) == "number"
  if not refused and not next(options) then return converted(self, unpack(rest)) end
  if refused then binding.raise("argument", "x:to takes names of a dtype and a device, or a tensor") end
  return converted(self, options)
end

for name, dtype in pairs {
  float = "float32", double = "float64", half = "float16", bfloat16 = "bfloat16", long = "int64", int = "int32",
  short = "int16", bool = "bool", byte = "uint8", char = "int8",
} do
  methods[name] = function(self) return converted(self, { dtype = dtype }) end
end

---@return ffi.cdata*
function methods.cpu(self) return converted(self, { device = "cpu" }) end

---@param i integer?
---@return ffi.cdata*
function methods.cuda(self, i)
  if i ~= nil then options_of.value("x:cuda", "the number of a GPU", i, options_of.size) end
  return converted(self, { device = i and ("cuda:%d"):format(i) or "cuda" })
end

return methods
