--- Files of weights in the core: safetensors, and what torch.save writes. Tensors are numbered from 0.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi, alive = binding.C, binding.ffi, binding.alive
local release_weights = binding.finalizer "ls_weights_release"
local OPEN, STRUCT, TENSOR = constants.LS_OPEN, constants.LS_STRUCT, constants.LS_TENSOR

local weights = {}

---Opens a file of weights; the collector releases it.
---@param path string
---@return ffi.cdata*
function weights.open(path)
  binding.check_open()
  local out = ffi.new "ls_weights *[1]"
  binding.check(C.ls_weights_open(path, out))
  return ffi.gc(out[0], release_weights)
end

---Releases a file; tensors taken from it stay valid.
---@param file ffi.cdata*
function weights.release(file) C.ls_weights_release(ffi.gc(alive(file), nil)) end

---Returns the number of named tensors in a file.
---@param file ffi.cdata*
---@return integer
function weights.count(file) return C.ls_weights_count(alive(file)) end

---Returns the number of the tensor called `name`, nil where the file has no such tensor.
---@param file ffi.cdata*
---@param name string
---@return integer?
function weights.find(file, name)
  local i = not name:find("%z") and C.ls_weights_find(alive(file), name) or -1
  return i >= 0 and i or nil
end

local entry_t = ffi.typeof "ls_weights_entry"

---@class luasight.WeightsEntry  what a file says about a tensor
---@field number integer   the tensor's number in the file, from 0
---@field name string
---@field dtype string
---@field shape integer[]
---@field bytes integer    how many bytes the tensor's numbers take

---Returns what the file says about tensor number i.
---@param file ffi.cdata*
---@param i integer
---@return luasight.WeightsEntry
function weights.describe(file, i)
  local entry, shape = entry_t(), {}
  binding.check(C.ls_weights_describe(alive(file), i, entry))
  for axis = 1, entry.dims do shape[axis] = tonumber(entry.shape[axis - 1]) end
  return { number = i, name = ffi.string(entry.name), dtype = ffi.string(entry.dtype), shape = shape,
    bytes = tonumber(entry.bytes) }
end

---Returns tensor number i as a view of the file. The bytes of the view do not count for the collector, since the operating
---system can take back mapped memory.
---@param file ffi.cdata*
---@param i integer
---@return luasight.Tensor
function weights.tensor(file, i)
  local out = binding.new_ref()
  binding.check(C.ls_weights_tensor(alive(file), i, out.v))
  return out
end

---Frees the memory into which tensor number i was read, once nothing uses the tensor any more.
---@param file ffi.cdata*
---@param i integer
function weights.forget(file, i) C.ls_weights_forget(alive(file), i) end

---Returns the texts that were stored beside the tensors, as JSON.
---@param file ffi.cdata*
---@return string
function weights.metadata(file) return ffi.string(C.ls_weights_metadata(alive(file))) end

---@class luasight.ContentVisitor  functions that convert the content of a file, the elements of a list before the list itself
---@field tensor fun(number: integer): any       gets the number of a tensor, for `weights.tensor`
---@field list fun(elements: any[], n: integer): any
---@field dict fun(keys_and_values: any[], n: integer): any  gets keys and values by turns; `n` counts both

local function content_at(stream, i, visitor)
  local v = stream[i]
  local kind = tonumber(v.kind)
  if kind == OPEN then
    local elements, n = {}, tonumber(v.as.i)
    local is_dict = v.aux == STRUCT
    i = i + 1
    for k = 1, n do elements[k], i = content_at(stream, i, visitor) end
    return (is_dict and visitor.dict or visitor.list)(elements, n), i
  end
  if kind == TENSOR then return visitor.tensor(tonumber(v.as.i)), i + 1 end
  local plain = binding.new_ref()
  plain.v = v
  return binding.settle(plain), i + 1
end

---Returns the content of a file of torch.save, converted by the functions of `visitor`; nil for a file of safetensors.
---@param file ffi.cdata*
---@param visitor luasight.ContentVisitor
---@return any
function weights.content(file, visitor)
  local stream = ffi.new "const ls_value *[1]"
  if C.ls_weights_content(alive(file), stream) == 0 then return nil end
  local whole = content_at(stream[0], 0, visitor)
  return whole
end

---Writes tensors under the given names to a file of safetensors. The tensors have to be on the CPU, contiguous, and without a
---conjugation or negation that libtorch has still to apply.
---@param path string
---@param names string[]
---@param tensors ffi.cdata*[]
---@param metadata string?  a JSON object of texts
function weights.write(path, names, tensors, metadata)
  local n = #names
  local list, values = ffi.new("const char *[?]", n + 1), ffi.new("ls_value[?]", n + 1)
  for i = 1, n do
    list[i - 1] = names[i]
    values[i - 1] = tensors[i].v
  end
  local status = C.ls_weights_write(path, list, values, n, metadata)
  if status ~= 0 then binding.check(status) end
  assert(names[n] and tensors[n] or n == 0) -- this use keeps both tables alive during the call
end

return weights
