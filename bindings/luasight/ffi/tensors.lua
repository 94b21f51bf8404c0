--- Tensors in the core: what they are like, their numbers, their gradients, and tensors made of Lua numbers.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local sequences = require "luasight.ffi.sequences"

local C, ffi = binding.C, binding.ffi
local istype, ref_t = ffi.istype, binding.ref_t
local TENSOR = constants.LS_TENSOR

local tensors = {}

-- ---- what a tensor is like -------------------------------------------------------------------------------------------

local info_t = ffi.typeof "ls_tensor_info"
local idle = info_t() -- of `ask`; nil while one runs, so that a finalizer that asks has another

---What `read` takes from what the core says about a tensor.
local function ask(t, read, argument)
  local info = idle or info_t()
  idle = nil
  binding.check(C.ls_tensor_describe(t.v, info))
  local answer = read(info, argument)
  idle = info
  return answer
end

local read_shape = sequences.of_sizes
local function read_dims(info) return info.dims end
local function read_dtype(info) return ffi.string(info.dtype) end
local function read_device(info) return ffi.string(info.device) end
local function read_elements(info) return tonumber(info.elements) end
local function read_version(info) return tonumber(info.version) end
local function read_requires_grad(info) return info.requires_grad ~= 0 end
local function read_contiguous(info) return info.is_contiguous ~= 0 end

local function read_size(info, axis)
  local at = axis < 0 and axis + info.dims or axis
  return at >= 0 and at < info.dims and tonumber(info.shape[at])
end

---Whether a value is a handle of a tensor.
---@param v any
---@return boolean
function tensors.is_tensor(v) return istype(ref_t, v) and v._kind == TENSOR end

---A list of sizes that counts from 0.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.shape(t) return ask(t, read_shape) end

---The size of one axis, negative ones from the end; false where there is no such axis.
---@param t ffi.cdata*
---@param axis integer
---@return integer|false
function tensors.size(t, axis) return ask(t, read_size, axis) end

---@param t ffi.cdata*
---@return integer
function tensors.dims(t) return ask(t, read_dims) end

---@param t ffi.cdata*
---@return string  # "float32"
function tensors.dtype(t) return ask(t, read_dtype) end

---@param t ffi.cdata*
---@return string  # "cpu"
function tensors.device(t) return ask(t, read_device) end

---The number of elements.
---@param t ffi.cdata*
---@return integer
function tensors.elements(t) return ask(t, read_elements) end

---A number that grows with each change in place.
---@param t ffi.cdata*
---@return integer
function tensors.version(t) return ask(t, read_version) end

---@param t ffi.cdata*
---@return boolean
function tensors.requires_grad(t) return ask(t, read_requires_grad) end

---@param t ffi.cdata*
---@return boolean
function tensors.is_contiguous(t) return ask(t, read_contiguous) end

---The name of the function that made a tensor, "AddBackward0"; nil without one.
---@param t ffi.cdata*
---@return string?
function tensors.grad_fn(t)
  local name = C.ls_tensor_grad_fn(t.v)
  return name ~= nil and ffi.string(name) or nil
end

---Whether two handles are one tensor.
---@param a ffi.cdata*
---@param b ffi.cdata*
---@return boolean
function tensors.same(a, b) return a._kind == TENSOR and b._kind == TENSOR and C.ls_tensor_same(a.v, b.v) ~= 0 end

---Whether two tensors have the same sizes.
---@param a ffi.cdata*
---@param b ffi.cdata*
---@return boolean
function tensors.same_shape(a, b)
  local one, other = info_t(), info_t()
  binding.check(C.ls_tensor_describe(a.v, one))
  binding.check(C.ls_tensor_describe(b.v, other))
  if one.dims ~= other.dims then return false end
  for i = 0, one.dims - 1 do
    if one.shape[i] ~= other.shape[i] then return false end
  end
  return true
end

---One number for each tensor, whatever handle holds it.
---@param t ffi.cdata*
---@return number
function tensors.identity(t) return tonumber(ffi.cast("intptr_t", t.v.as.p)) end

---The bytes of a tensor, or of those in a sequence.
---@param v ffi.cdata*
---@return integer
function tensors.bytes(v) return tonumber(C.ls_value_bytes(v.v)) end

-- ---- numbers ---------------------------------------------------------------------------------------------------------

local pointers = {
  float32 = ffi.typeof "float *", float64 = ffi.typeof "double *", int64 = ffi.typeof "int64_t *",
  int32 = ffi.typeof "int32_t *", int16 = ffi.typeof "int16_t *", int8 = ffi.typeof "int8_t *",
  uint8 = ffi.typeof "uint8_t *", bool = ffi.typeof "bool *",
}

---Whether Lua can read numbers of a dtype where they are.
---@param dtype string
---@return boolean
function tensors.is_readable(dtype) return pointers[dtype] ~= nil end

---@class luasight.Strided  how a tensor lies in memory
---@field shape integer[]
---@field strides integer[]
---@field elements integer
---@field dtype string
---@field device string
---@field is_lazy boolean  its numbers are not those in memory

local function read_layout(info)
  local shape, strides = {}, {}
  for i = 0, info.dims - 1 do
    shape[i + 1], strides[i + 1] = tonumber(info.shape[i]), tonumber(info.strides[i])
  end
  return { shape = shape, strides = strides, elements = tonumber(info.elements), dtype = ffi.string(info.dtype),
    device = ffi.string(info.device), is_lazy = info.is_lazy ~= 0 }
end

---@param t ffi.cdata*
---@return luasight.Strided
function tensors.layout(t) return ask(t, read_layout) end

---The same tensor, or a copy where it is lazy.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.plain(t)
  local out = binding.new_ref()
  binding.check(C.ls_tensor_plain(t.v, out.v))
  return out
end

local address_t = ffi.typeof "void *[1]"

---The address of a tensor's memory on the CPU, valid while the tensor lives.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.address(t)
  local out = address_t()
  binding.check(C.ls_tensor_pointer(t.v, out))
  return out[0]
end

---The same with the type of a dtype; of one that Lua cannot read, the 16 bits of each number.
---@param t ffi.cdata*
---@param dtype string
---@return ffi.cdata*
function tensors.pointer(t, dtype)
  local out = address_t()
  binding.check(C.ls_tensor_pointer(t.v, out))
  return ffi.cast(pointers[dtype] or "uint16_t *", out[0])
end

---The same as a pointer that keeps the tensor alive; pointers computed from it do not.
---@param t ffi.cdata*
---@param dtype string
---@return ffi.cdata*
function tensors.owning_pointer(t, dtype)
  return ffi.gc(tensors.pointer(t, dtype), function() return t end)
end

---The one number of a tensor of one element.
---@param t ffi.cdata*
---@return number|boolean
function tensors.item(t)
  local out = binding.new_ref()
  binding.check(C.ls_tensor_item(t.v, out.v))
  return binding.settle(out)
end

-- ---- making ----------------------------------------------------------------------------------------------------------

local int64_t, uint64_t, int64_array_t = ffi.typeof "int64_t", ffi.typeof "uint64_t", ffi.typeof "int64_t[?]"

---Whether a cdata is a signed whole number of 64 bits.
---@param v any
---@return boolean
function tensors.is_int64(v) return istype(int64_t, v) end

---Whether a cdata is a whole number of 64 bits, signed or not.
---@param v any
---@return boolean
function tensors.is_whole(v) return istype(int64_t, v) or istype(uint64_t, v) end

local storage = {
  float64 = ffi.typeof "double[?]",
  int64 = int64_array_t,
  bool = ffi.typeof "bool[?]",
}

---An array of whole numbers, at least of one.
---@param n integer
---@return ffi.cdata*
function tensors.int64_array(n) return int64_array_t(math.max(n, 1)) end

---A new tensor of numbers in the order of the axes.
---@param numbers any[]
---@param from "float64"|"int64"|"bool"  what the numbers are
---@param shape integer[]
---@param dtype string
---@param device string
---@return ffi.cdata*
function tensors.of_numbers(numbers, from, shape, dtype, device)
  local data, dims = storage[from](math.max(#numbers, 1)), int64_array_t(#shape + 1)
  for i = 1, #numbers do data[i - 1] = numbers[i] end
  for i = 1, #shape do dims[i - 1] = shape[i] end
  local out = binding.new_ref()
  binding.check(C.ls_tensor_from(data, from, dims, #shape, dtype, device, out.v))
  return binding.settle(out)
end

---A handle of the same tensor that no operator may change in place.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.read_only(t)
  local r = binding.new_ref()
  C.ls_value_retain(t.v)
  r.v = t.v
  r._aux = constants.LS_READ_ONLY
  return r
end

---Whether a handle is such a one.
---@param t ffi.cdata*  of a tensor
---@return boolean
function tensors.is_read_only(t) return t._aux == constants.LS_READ_ONLY end

---The same tensor object shows other data.
---@param t ffi.cdata*
---@param data ffi.cdata*
function tensors.set_data(t, data) binding.check(C.ls_tensor_set_data(t.v, data.v)) end

-- ---- autograd --------------------------------------------------------------------------------------------------------

---Autograd records what is computed with a tensor, or no longer does.
---@param t ffi.cdata*
---@param on boolean
function tensors.require_grad(t, on) binding.check(C.ls_tensor_require_grad(t.v, on and 1 or 0)) end

---The gradient of a tensor, nil where there is none.
---@param t ffi.cdata*
---@return ffi.cdata*?
function tensors.grad(t)
  local out = binding.new_ref()
  binding.check(C.ls_tensor_grad(t.v, out.v))
  return binding.settle(out)
end

---@param t ffi.cdata*
---@param grad ffi.cdata*?  nil takes it away
function tensors.set_grad(t, grad)
  local given = grad or binding.new_ref()
  binding.check(C.ls_tensor_set_grad(t.v, given.v))
end

---Runs the backward pass from a tensor.
---@param t ffi.cdata*
---@param grad ffi.cdata*?  nil: 1
---@param retain_graph boolean
function tensors.backward(t, grad, retain_graph)
  local given = grad or binding.new_ref()
  binding.check(C.ls_tensor_backward(t.v, given.v, retain_graph and 1 or 0))
end

return tensors
