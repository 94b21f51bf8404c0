--- Sequences (tuples, lists, structs): makes and reads them, and has the indexing that tensors, sequences and nodes share.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local length_of = require "luasight.ffi.list".length

local C, ffi = binding.C, binding.ffi
local ref_t, site = binding.ref_t, binding.site
local take, put_back, hold = binding.stream.take, binding.stream.put_back, binding.hold
local OPEN, TUPLE, LIST, STRUCT = constants.LS_OPEN, constants.LS_TUPLE, constants.LS_LIST, constants.LS_STRUCT
local NODE = constants.LS_NODE

local sequences = {}

-- ---- reading sequences -----------------------------------------------------------------------------------------------

---Returns the number of elements of a sequence; -1 where the value is no sequence.
---@param v ffi.cdata*
---@return integer
function sequences.length(v) return C.ls_seq_length(v.v) end

---Returns element i of a sequence, counted from 0.
---@param v ffi.cdata*
---@param i integer
---@return any
function sequences.element(v, i)
  local out = binding.new_ref()
  binding.check(C.ls_seq_get(v.v, i, out.v))
  return binding.settle(out)
end

---Returns all elements of a sequence as a Lua list, from 1.
---@param v ffi.cdata*
---@return any[]
function sequences.elements(v)
  local all = {}
  for i = 0, C.ls_seq_length(v.v) - 1 do all[i + 1] = sequences.element(v, i) end
  return all
end

---Returns the name of element i of a struct.
---@param v ffi.cdata*
---@param i integer
---@return string
function sequences.name(v, i) return ffi.string(C.ls_seq_key(v.v, i)) end

---Returns whether a struct has an element of this name.
---@param v ffi.cdata*
---@param name string
---@return boolean
function sequences.has(v, name) return C.ls_seq_find(v.v, name) >= 0 end

-- ---- making sequences ------------------------------------------------------------------------------------------------

---Makes a tuple of values; Lua lists among them become tuples.
---@param ... any
---@return ffi.cdata*
function sequences.tuple(...)
  local out, e = binding.new_ref(), take()
  local scratch, n, has_node = e.encode_sequence(TUPLE, ...)
  local status = C.ls_seq_build(scratch, n, has_node and site() or 0, out.v)
  put_back(e)
  if status ~= 0 then binding.check(status) end
  return binding.settle(out)
end

---Makes a struct from pairs of name and value, in order.
---@param pairs_in_order table[]  { { "logits", x }, ... }
---@return ffi.cdata*
function sequences.struct(pairs_in_order)
  if type(pairs_in_order) ~= "table" then
    binding.raise("argument", ("ls.struct takes a list of pairs, { { name, value }, ... }, not a %s"):format(
      type(pairs_in_order)))
  end
  local known, length, wrong = {}, length_of(pairs_in_order)
  if wrong then binding.raise("argument", "ls.struct: " .. wrong) end
  for i = 1, length do
    local pair = pairs_in_order[i]
    if type(pair) ~= "table" or type(pair[1]) ~= "string" or pair[1]:find("\0", 1, true) then
      binding.raise("argument", ("ls.struct: element %d of the list is no pair of a name and a value"):format(i))
    elseif known[pair[1]] then
      binding.raise("name", ("ls.struct: two values are called %q"):format(pair[1]))
    end
    known[pair[1]] = true
  end
  local out, e = binding.new_ref(), take()
  e.restart()
  local n = e.put_item(0, OPEN, STRUCT, length)
  for i = 1, length do n = e.put_key(n, pairs_in_order[i][1], pairs_in_order[i][2]) end
  local status = C.ls_seq_build(e.scratch(), n, e.has_node() and site() or 0, out.v)
  put_back(e)
  if status ~= 0 then binding.check(status) end
  return binding.settle(out)
end

---Returns a value with each tensor in it exchanged for what `f` makes of it; a tuple stays a tuple, a struct a struct.
---@param v any
---@param f fun(tensor: ffi.cdata*): any
---@return any
function sequences.map(v, f)
  local kind = binding.is_handle(v) and v._kind
  if kind == TUPLE or kind == STRUCT then
    local parts, n = {}, sequences.length(v)
    for i = 0, n - 1 do
      local made = sequences.map(sequences.element(v, i), f)
      if kind == STRUCT then made = { sequences.name(v, i), made } end
      parts[i + 1] = made
    end
    if kind == STRUCT then return sequences.struct(parts) end
    return sequences.tuple(unpack(parts, 1, n))
  end
  return kind == constants.LS_TENSOR and f(v) or v
end

---Makes a list of values.
---@param ... any
---@return ffi.cdata*
function sequences.list(...)
  local out, e = binding.new_ref(), take()
  local scratch, n, has_node = e.encode_sequence(LIST, ...)
  local status = C.ls_seq_build(scratch, n, has_node and site() or 0, out.v)
  put_back(e)
  if status ~= 0 then binding.check(status) end
  return binding.settle(out)
end

---Makes a list of the sizes that a description of a tensor holds.
---@param described ffi.cdata*  an ls_tensor_info or an ls_weights_entry
---@return ffi.cdata*
function sequences.of_sizes(described)
  local out, e = binding.new_ref(), take()
  local n = described.dims
  local count = e.put_item(0, OPEN, LIST, n)
  for i = 0, n - 1 do count = e.put(count, tonumber(described.shape[i])) end
  binding.check(C.ls_value_build(e.scratch(), count, out.v))
  put_back(e)
  return out
end

-- ---- indices ---------------------------------------------------------------------------------------------------------

---Returns v[...] for the index whose `n` items are in the stream of the encoder `e`; frees the encoder for the next call.
---@param v ffi.cdata*  a tensor, a sequence or a node
---@param e luasight.Encoder
---@param n integer
---@param key any  the index: a parameter only so that the handles in the index are not collected before the call
---@return any
function sequences.get_item(v, e, n, key)
  local status = C.ls_getitem(v.v, e.scratch(), n, (e.has_node() or v._kind == NODE) and site() or 0, e.results)
  hold(v, key)
  if status ~= 0 then
    put_back(e)
    binding.check(status)
  end
  local r = ref_t(e.handles[0])
  put_back(e)
  return binding.take(r)
end

---Assigns v[...] = value, where the stream of the encoder `e` has the `n` items of the index, followed by the value. `key`
---and `value` are parameters only so that the handles in them are not collected before the call.
---@param v ffi.cdata*
---@param e luasight.Encoder
---@param n integer
---@param key any
---@param value any
function sequences.set_item(v, e, n, key, value)
  local has_node = e.has_node() or v._kind == NODE
  local status = C.ls_setitem(v.v, e.scratch(), n, e.scratch() + n, has_node and site() or 0)
  hold(v, key, value)
  put_back(e)
  if status ~= 0 then binding.check(status) end
end

---Returns a field of a struct; where `v` is a node, records the reading of the field.
---@param v ffi.cdata*
---@param name string
---@return any
function sequences.get_field(v, name)
  local out, e = binding.new_ref(), take()
  local scratch, n = e.encode_one(name)
  local status = C.ls_getitem(v.v, scratch, n, v._kind == NODE and site() or 0, out.v)
  put_back(e)
  if status ~= 0 then binding.check(status) end
  return binding.settle(out)
end

return sequences
