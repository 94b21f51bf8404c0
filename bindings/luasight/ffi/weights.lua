--- Files of weights in the core: safetensors, and what torch.save writes. Tensors are counted from 0.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local sequences = require "luasight.ffi.sequences"

local C, ffi = binding.C, binding.ffi
local OPEN, STRUCT, TENSOR = constants.LS_OPEN, constants.LS_STRUCT, constants.LS_TENSOR

local weights = {}

---Opens a file; the collector lets it go where nobody does.
---@param path string
---@return ffi.cdata*
function weights.open(path)
  local out = ffi.new "ls_weights *[1]"
  binding.check(C.ls_weights_open(path, out))
  return ffi.gc(out[0], C.ls_weights_release)
end

---Lets a file go; tensors taken from it stay valid.
---@param file ffi.cdata*
function weights.release(file) C.ls_weights_release(ffi.gc(file, nil)) end

---The number of tensors that have names.
---@param file ffi.cdata*
---@return integer
function weights.count(file) return C.ls_weights_count(file) end

---The number of the tensor of a name, nil where there is none.
---@param file ffi.cdata*
---@param name string
---@return integer?
function weights.find(file, name)
  local i = not name:find("%z") and C.ls_weights_find(file, name) or -1
  return i >= 0 and i or nil
end

local entry_t = ffi.typeof "ls_weights_entry"

local function describe(file, i)
  local entry = entry_t()
  binding.check(C.ls_weights_describe(file, i, entry))
  return entry
end

---@param file ffi.cdata*
---@param i integer
---@return string
function weights.name(file, i) return ffi.string(describe(file, i).name) end

---What the file says of a tensor.
---@param file ffi.cdata*
---@param i integer
---@return { dtype: string, shape: luasight.Sequence, bytes: integer }
function weights.describe(file, i)
  local entry = describe(file, i)
  return { dtype = ffi.string(entry.dtype), shape = sequences.of_sizes(entry),
    bytes = tonumber(entry.bytes) }
end

---A tensor as a view of the file, behind which no bytes are counted: what is mapped is no debt to the collector.
---@param file ffi.cdata*
---@param i integer
---@return luasight.Tensor
function weights.tensor(file, i)
  local out = binding.new_ref()
  binding.check(C.ls_weights_tensor(file, i, out.v))
  return out
end

---Gives back the memory of a view that nobody uses any more.
---@param file ffi.cdata*
---@param i integer
function weights.forget(file, i) C.ls_weights_forget(file, i) end

---The texts that were stored beside the tensors, as JSON.
---@param file ffi.cdata*
---@return string
function weights.metadata(file) return ffi.string(C.ls_weights_metadata(file)) end

---@class luasight.ContentVisitor  makes something of all that is in a file, of parts before the whole
---@field tensor fun(number: integer): any       of `weights.tensor`
---@field list fun(elements: any[], n: integer): any
---@field dict fun(keys_and_values: any[], n: integer): any  in turn; `n` counts both

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

---What a visitor makes of all that is in a file of PyTorch; nil for safetensors.
---@param file ffi.cdata*
---@param visitor luasight.ContentVisitor
---@return any
function weights.content(file, visitor)
  local stream = ffi.new "const ls_value *[1]"
  if C.ls_weights_content(file, stream) == 0 then return nil end
  local whole = content_at(stream[0], 0, visitor)
  return whole
end

---Writes tensors on the CPU, contiguous and not lazy, under these names.
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
  assert(names[n] and tensors[n] or n == 0) -- a use behind the call: neither is collected before it
end

return weights
