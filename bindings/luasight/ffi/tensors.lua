--- Tensors in the core: their properties, numbers and gradients, and tensors made of Lua numbers.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local sequences = require "luasight.ffi.sequences"

local C, ffi = binding.C, binding.ffi
local istype, ref_t = ffi.istype, binding.ref_t
local TENSOR = constants.LS_TENSOR

local tensors = {}
local address_number_t = ffi.typeof "intptr_t"

-- ---- properties ------------------------------------------------------------------------------------------------------

local info_t = ffi.typeof "ls_tensor_info"
local idle = info_t() -- memory for `ask`; nil while in use, so that a finalizer that calls `ask` makes its own

---Asks the core for the description of a tensor (an ls_tensor_info) and returns what `read` reads from it.
local function ask(t, read, argument)
  local info = idle or info_t()
  idle = nil
  binding.check(C.ls_tensor_describe(t.v, info))
  local answer = read(info, argument)
  idle = info
  return answer
end

local read_shape = sequences.of_sizes
local function read_sizes(info)
  local sizes = {}
  for i = 0, info.dims - 1 do sizes[i + 1] = tonumber(info.shape[i]) end
  return sizes
end

local function read_dims(info) return info.dims end
local function read_dtype(info) return ffi.string(info.dtype) end
local function read_device(info) return ffi.string(info.device) end
local function read_elements(info) return tonumber(info.elements) end
local function read_version(info) return tonumber(info.version) end
local function read_requires_grad(info) return info.requires_grad ~= 0 end
local function read_leaf(info) return info.is_leaf ~= 0 end
local function read_contiguous(info) return info.is_contiguous ~= 0 end

local function read_size(info, axis)
  local at = axis < 0 and axis + info.dims or axis
  return at >= 0 and at < info.dims and tonumber(info.shape[at])
end

---Functions that read a description (an ls_tensor_info) that `nodes.known` has returned.
tensors.known = { dims = read_dims, dtype = read_dtype, device = read_device, elements = read_elements }

---Returns whether a value is a handle of a tensor.
---@param v any
---@return boolean
function tensors.is_tensor(v) return istype(ref_t, v) and v._kind == TENSOR end

---Returns the sizes of a tensor's axes as a sequence that counts from 0.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.shape(t) return ask(t, read_shape) end

---Returns the sizes of a tensor's axes as a Lua list, from 1.
---@param t ffi.cdata*
---@return integer[]
function tensors.sizes(t) return ask(t, read_sizes) end

---Returns the size of one axis of a tensor, or false where there is no such axis; negative axes count from the end.
---@param t ffi.cdata*
---@param axis integer
---@return integer|false
function tensors.size(t, axis) return ask(t, read_size, axis) end

---@param t ffi.cdata*
---@return integer
function tensors.dims(t) return ask(t, read_dims) end

---Returns the dtype of a tensor, such as "float32".
---@param t ffi.cdata*
---@return string
function tensors.dtype(t) return ask(t, read_dtype) end

---Returns the device on which a tensor is, such as "cpu".
---@param t ffi.cdata*
---@return string
function tensors.device(t) return ask(t, read_device) end

---Returns the number of elements of a tensor.
---@param t ffi.cdata*
---@return integer
function tensors.elements(t) return ask(t, read_elements) end

---Returns a number that grows with each change of the tensor in place.
---@param t ffi.cdata*
---@return integer
function tensors.version(t) return ask(t, read_version) end

---@param t ffi.cdata*
---@return boolean
function tensors.requires_grad(t) return ask(t, read_requires_grad) end

---Returns whether autograd recorded no operator that made a tensor.
---@param t ffi.cdata*
---@return boolean
function tensors.is_leaf(t) return ask(t, read_leaf) end

---@param t ffi.cdata*
---@return boolean
function tensors.is_contiguous(t) return ask(t, read_contiguous) end

---Returns the name of the autograd function that made a tensor, such as "AddBackward0", or nil.
---@param t ffi.cdata*
---@return string?
function tensors.grad_fn(t)
  local name = C.ls_tensor_grad_fn(t.v)
  return name ~= nil and ffi.string(name) or nil
end

---Returns whether two handles refer to the same tensor.
---@param a ffi.cdata*
---@param b ffi.cdata*
---@return boolean
function tensors.same(a, b) return a._kind == TENSOR and b._kind == TENSOR and C.ls_tensor_same(a.v, b.v) ~= 0 end

---Returns whether two tensors have the same sizes.
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

---Returns a number that is the same for all handles of one tensor.
---@param t ffi.cdata*
---@return number
function tensors.identity(t) return tonumber(ffi.cast(address_number_t, t.v.as.p)) end

---Returns how many bytes of memory a tensor, or all tensors in a sequence, take.
---@param v ffi.cdata*
---@return integer
function tensors.bytes(v) return tonumber(C.ls_value_bytes(v.v)) end

-- ---- numbers ---------------------------------------------------------------------------------------------------------

local pointers = {
  float32 = ffi.typeof "float *", float64 = ffi.typeof "double *", int64 = ffi.typeof "int64_t *",
  int32 = ffi.typeof "int32_t *", int16 = ffi.typeof "int16_t *", int8 = ffi.typeof "int8_t *",
  uint64 = ffi.typeof "uint64_t *", uint32 = ffi.typeof "uint32_t *", uint16 = ffi.typeof "uint16_t *",
  uint8 = ffi.typeof "uint8_t *", bool = ffi.typeof "bool *",
}

-- Dtypes for whose numbers Lua has no type: pairs of numbers, or the bits of a number.
local bits = {
  complex128 = ffi.typeof "complex double *", complex64 = ffi.typeof "complex float *", complex32 = ffi.typeof "uint32_t *",
  float16 = ffi.typeof "uint16_t *", bfloat16 = ffi.typeof "uint16_t *",
}

---Returns whether Lua has a number type for a dtype, so that it can read tensors of this dtype in memory.
---@param dtype string
---@return boolean
function tensors.is_readable(dtype) return pointers[dtype] ~= nil end

---@class luasight.Strided  the layout of a tensor in memory
---@field shape integer[]
---@field strides integer[]  for each axis, how many elements lie between two neighbours on the axis
---@field elements integer
---@field dtype string
---@field device string
---@field is_lazy boolean  whether libtorch has still to conjugate or negate the numbers that are in memory
---@field layout string?   the name of another layout than rows of numbers in memory: "sparse_coo"

-- The layouts of libtorch by number, but for number 0, which is that of rows in memory.
local layouts = { "sparse_coo", "sparse_csr", "_mkldnn", "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged" }

local function read_layout(info)
  local shape, strides = {}, {}
  for i = 0, info.dims - 1 do
    shape[i + 1], strides[i + 1] = tonumber(info.shape[i]), tonumber(info.strides[i])
  end
  return { shape = shape, strides = strides, elements = tonumber(info.elements), dtype = ffi.string(info.dtype),
    device = ffi.string(info.device), is_lazy = info.is_lazy == 1, layout = layouts[info.is_lazy - 1] }
end

---@param t ffi.cdata*
---@return luasight.Strided
function tensors.layout(t) return ask(t, read_layout) end

---Returns the tensor itself, or, where libtorch has still to conjugate or negate the tensor's numbers in memory, a copy with
---the final numbers.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.plain(t)
  local out = binding.new_ref()
  binding.check(C.ls_tensor_plain(t.v, out.v))
  return out
end

local address_t = ffi.typeof "void *[1]"

---Returns the address of a tensor's memory on the CPU, which is valid while the tensor lives.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.address(t)
  local out = address_t()
  binding.check(C.ls_tensor_pointer(t.v, out))
  return out[0]
end

---Returns the address of a tensor's memory as a pointer to numbers of the dtype, or to the bits of each number where Lua has no
---such type: 8 for float8, 16 for float16, 32 for complex32.
---@param t ffi.cdata*
---@param dtype string
---@return ffi.cdata*
function tensors.pointer(t, dtype)
  local out = address_t()
  binding.check(C.ls_tensor_pointer(t.v, out))
  return ffi.cast(pointers[dtype] or bits[dtype] or "uint8_t *", out[0])
end

local NAN, LOW, HIGH = tonumber "nan", ffi.abi "le" and 0 or 1, ffi.abi "le" and 1 or 0
local halves_t = ffi.typeof "uint32_t *"

local function read_plain(pointer, place) return pointer[place] end

local readers = {
  float32 = function(pointer, place)
    if ffi.cast(halves_t, pointer)[place] % 0x80000000 > 0x7f800000 then return NAN end
    return pointer[place]
  end,
  float64 = function(pointer, place)
    local halves = ffi.cast(halves_t, pointer)
    local high = halves[2 * place + HIGH] % 0x80000000
    if high > 0x7ff00000 or high == 0x7ff00000 and halves[2 * place + LOW] ~= 0 then return NAN end
    return pointer[place]
  end,
}

---Returns a function that reads the number at a place behind a pointer of `tensors.pointer`. For every NaN in memory it returns
---the same NaN: LuaJIT keeps the types of other values in the bits of NaNs, and would take some NaNs for such values.
---@param dtype string
---@return fun(pointer: ffi.cdata*, place: integer): any
function tensors.reader(dtype) return readers[dtype] or read_plain end

---Returns a pointer to a tensor's numbers that keeps the tensor alive; pointers computed from this pointer do not.
---@param t ffi.cdata*
---@param dtype string
---@return ffi.cdata*
function tensors.owning_pointer(t, dtype)
  return ffi.gc(tensors.pointer(t, dtype), function() return t end)
end

---Returns the number of a tensor that has one element.
---@param t ffi.cdata*
---@return number|boolean
function tensors.item(t)
  local out = binding.new_ref()
  local status = C.ls_tensor_item(t.v, out.v)
  if status == 0 then return binding.settle(out) end
  if tensors.elements(t) == 1 and tensors.dtype(t) == "uint64" and tensors.device(t) == "cpu" then
    return tensors.pointer(t, "uint64")[0] -- a number above 2^63 - 1
  end
  binding.check(status)
end

-- ---- making tensors --------------------------------------------------------------------------------------------------

local int64_t, uint64_t, int64_array_t = ffi.typeof "int64_t", ffi.typeof "uint64_t", ffi.typeof "int64_t[?]"

---Returns whether a cdata is a signed 64-bit integer.
---@param v any
---@return boolean
function tensors.is_int64(v) return istype(int64_t, v) end

---Returns whether a cdata is an unsigned 64-bit integer.
---@param v any
---@return boolean
function tensors.is_uint64(v) return istype(uint64_t, v) end

---Returns whether a cdata is a 64-bit integer, signed or unsigned.
---@param v any
---@return boolean
function tensors.is_whole(v) return istype(int64_t, v) or istype(uint64_t, v) end

local storage = {
  float64 = ffi.typeof "double[?]",
  int64 = int64_array_t,
  bool = ffi.typeof "bool[?]",
}

---Makes an array of n int64, with at least one element.
---@param n integer
---@return ffi.cdata*
function tensors.int64_array(n) return int64_array_t(math.max(n, 1)) end

---Makes a tensor from a flat list of its numbers, in which the index along the last axis changes fastest.
---@param numbers any[]
---@param from "float64"|"int64"|"bool"  the type of the numbers in the list
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

---Returns another handle of a tensor; operators on this handle may not change the tensor in place.
---@param t ffi.cdata*
---@return ffi.cdata*
function tensors.read_only(t)
  local r = binding.new_ref()
  C.ls_value_retain(t.v)
  r.v = t.v
  r._aux = constants.LS_READ_ONLY
  return r
end

---Returns whether a handle was made by `read_only`.
---@param t ffi.cdata*  a handle of a tensor
---@return boolean
function tensors.is_read_only(t) return t._aux == constants.LS_READ_ONLY end

---Replaces the numbers of a tensor, also their dtype and device; all handles of the tensor then have the new numbers.
---@param t ffi.cdata*
---@param data ffi.cdata*
function tensors.set_data(t, data) binding.check(C.ls_tensor_set_data(t.v, data.v)) end

-- ---- autograd --------------------------------------------------------------------------------------------------------

---Sets whether autograd records computations with a tensor.
---@param t ffi.cdata*
---@param on boolean
function tensors.require_grad(t, on) binding.check(C.ls_tensor_require_grad(t.v, on and 1 or 0)) end

---Returns the gradient of a tensor, nil where there is none.
---@param t ffi.cdata*
---@return ffi.cdata*?
function tensors.grad(t)
  local out = binding.new_ref()
  binding.check(C.ls_tensor_grad(t.v, out.v))
  return binding.settle(out)
end

---Sets the gradient of a tensor.
---@param t ffi.cdata*
---@param grad ffi.cdata*?  the gradient; nil removes the present one
function tensors.set_grad(t, grad)
  local given = grad or binding.new_ref()
  binding.check(C.ls_tensor_set_grad(t.v, given.v))
end

---Runs the backward pass from a tensor.
---@param t ffi.cdata*
---@param grad ffi.cdata*?  the gradient of the tensor; nil means 1
---@param retain_graph boolean
function tensors.backward(t, grad, retain_graph)
  local given = grad or binding.new_ref()
  binding.check(C.ls_tensor_backward(t.v, given.v, retain_graph and 1 or 0))
end

return tensors
