--- Sequences (tuples, lists, structs) in the core: made, asked, and the indexing that tensors, sequences and nodes share.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi = binding.C, binding.ffi
local ref_t, site = binding.ref_t, binding.site
local take, give = binding.stream.take, binding.stream.give
local OPEN, TUPLE, LIST, STRUCT = constants.LS_OPEN, constants.LS_TUPLE, constants.LS_LIST, constants.LS_STRUCT
local NODE = constants.LS_NODE

local sequences = {}

-- ---- asking ----------------------------------------------------------------------------------------------------------

---The number of elements; -1 of what is no sequence.
---@param v ffi.cdata*
---@return integer
function sequences.length(v) return C.ls_seq_length(v.v) end

---Element i, from 0.
---@param v ffi.cdata*
---@param i integer
---@return any
function sequences.element(v, i)
  local out = binding.new_ref()
  binding.check(C.ls_seq_get(v.v, i, out.v))
  return binding.settle(out)
end

---All elements in a Lua list, from 1.
---@param v ffi.cdata*
---@return any[]
function sequences.elements(v)
  local list = {}
  for i = 0, C.ls_seq_length(v.v) - 1 do list[i + 1] = sequences.element(v, i) end
  return list
end

---The name of element i of a struct.
---@param v ffi.cdata*
---@param i integer
---@return string
function sequences.name(v, i) return ffi.string(C.ls_seq_key(v.v, i)) end

---Whether a struct has an element of a name.
---@param v ffi.cdata*
---@param name string
---@return boolean
function sequences.has(v, name) return C.ls_seq_find(v.v, name) >= 0 end

-- ---- making ----------------------------------------------------------------------------------------------------------

---A tuple of values; Lua lists inside become tuples.
---@param ... any
---@return ffi.cdata*
function sequences.tuple(...)
  local out, e = binding.new_ref(), take()
  local scratch, n, has_node = e.encode_sequence(TUPLE, ...)
  local status = C.ls_seq_build(scratch, n, has_node and site() or 0, out.v)
  give(e)
  if status ~= 0 then binding.check(status) end
  return binding.settle(out)
end

---A struct: pairs of name and value, in order.
---@param pairs_in_order table[]  { { "logits", x }, ... }
---@return ffi.cdata*
function sequences.struct(pairs_in_order)
  local out, e = binding.new_ref(), take()
  e.restart()
  local n = e.put_item(0, OPEN, STRUCT, #pairs_in_order)
  for _, pair in ipairs(pairs_in_order) do n = e.put_key(n, pair[1], pair[2]) end
  local status = C.ls_seq_build(e.scratch(), n, e.has_node() and site() or 0, out.v)
  give(e)
  if status ~= 0 then binding.check(status) end
  return binding.settle(out)
end

---The list of the sizes that a description of a tensor holds.
---@param described ffi.cdata*  an ls_tensor_info or an ls_weights_entry
---@return ffi.cdata*
function sequences.of_sizes(described)
  local out, e = binding.new_ref(), take()
  local n = described.dims
  local count = e.put_item(0, OPEN, LIST, n)
  for i = 0, n - 1 do count = e.put(count, tonumber(described.shape[i])) end
  binding.check(C.ls_value_build(e.scratch(), count, out.v))
  give(e)
  return out
end

-- ---- indices ---------------------------------------------------------------------------------------------------------

---v[...] by the `n` items of an index that are in an encoder, which goes back.
---@param v ffi.cdata*  a tensor, a sequence or a node
---@param e luasight.Encoder
---@param n integer
---@param _key any  the index; here since it holds the handles in the encoder until the call
---@return any
function sequences.get_item(v, e, n, _key)
  local status = C.ls_getitem(v.v, e.scratch(), n, (e.has_node() or v._kind == NODE) and site() or 0, e.results)
  if status ~= 0 then
    give(e)
    binding.check(status)
  end
  local r = ref_t(e.handles[0])
  give(e)
  return binding.take(r)
end

---v[...] = value by an encoder with the `n` items of the index and the value behind them, as `get_item`.
---@param v ffi.cdata*
---@param e luasight.Encoder
---@param n integer
---@param _key any
---@param _value any
function sequences.set_item(v, e, n, _key, _value)
  local has_node = e.has_node() or v._kind == NODE
  local status = C.ls_setitem(v.v, e.scratch(), n, e.scratch() + n, has_node and site() or 0)
  give(e)
  if status ~= 0 then binding.check(status) end
end

---A field of a struct, or of a node that may be one.
---@param v ffi.cdata*
---@param name string
---@return any
function sequences.get_field(v, name)
  local out, e = binding.new_ref(), take()
  local scratch, n = e.encode_one(name)
  local status = C.ls_getitem(v.v, scratch, n, v._kind == NODE and site() or 0, out.v)
  give(e)
  if status ~= 0 then binding.check(status) end
  return binding.settle(out)
end

return sequences
