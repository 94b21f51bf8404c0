--- Converts token ids between Lua and the C core: lists, tensors and single numbers become an array of C, and rows of ids
--- become a tensor.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local length_of = require "luasight.base.list".length
local sequences = require "luasight.ffi.sequences"
local tensors = require "luasight.ffi.tensors"
local values = require "luasight.tensor.values"

local is_handle, new_array = binding.is_handle, tensors.int64_array
local LIST, TUPLE = constants.LS_LIST, constants.LS_TUPLE

local ids = {}

local whole = { int64 = true, int32 = true, int16 = true, int8 = true, uint8 = true }

local function refuse(what, hint)
  binding.raise("argument", "token ids are whole numbers, a list of them or a tensor, not " .. what, { hint = hint })
end

---Returns whether a value is a whole number: a Lua number, or a 64-bit integer of LuaJIT's FFI.
local function is_id(v)
  if type(v) == "number" then return v == math.floor(v) and v > -2 ^ 53 and v < 2 ^ 53 end
  return type(v) == "cdata" and tensors.is_whole(v)
end

local function from_list(list)
  local n, wrong, name = length_of(list)
  if name then refuse("a table of names", "pass the field input_ids of a tokenizer's result") end
  if wrong then refuse("a list with a hole: " .. wrong) end
  local array = new_array(n)
  for i = 1, n do
    local id = list[i]
    if type(id) == "table" then refuse("a list of lists", "decode one row at a time") end
    if is_handle(id) then id = id:item() end
    if not is_id(id) then refuse(("%s, which is element %d"):format(tostring(id), i)) end
    array[i - 1] = id
  end
  return array, n
end

local function from_tensor(t)
  local view = values.view(t, true)
  local dims = #view.shape
  if dims > 1 then
    refuse("a tensor of " .. dims .. " axes", view.shape[1] == 1 and "take its row: ids[0]" or "take one row: ids[0]")
  end
  local n, stride = view.shape[1] or 1, view.strides[1] or 1
  local array = new_array(n)
  for i = 0, n - 1 do array[i] = view.data[i * stride] end
  return array, n
end

local function of_one(id)
  local array = new_array(1)
  array[0] = id
  return array, 1
end

local function from_handle(handle)
  local v = values.resolve(handle)
  if is_id(v) then return of_one(v) end
  if not is_handle(v) then refuse("a " .. type(v)) end
  if v._kind == LIST or v._kind == TUPLE then
    return from_list(sequences.elements(v))
  end
  local dtype = values.tensor_of(v, "token ids").dtype
  if not whole[dtype] then refuse("a tensor of " .. dtype) end
  return from_tensor(v)
end

---Returns an array of token ids, and the number of ids; a single id becomes an array with one element.
---@param v any  a number, a list, a tensor of at most one axis
---@return ffi.cdata* array, integer n
function ids.array(v)
  if is_id(v) then return of_one(v) end
  if type(v) == "table" then return from_list(v) end
  if is_handle(v) then return from_handle(v) end
  refuse(type(v) == "number" and tostring(v) or "a " .. type(v), type(v) == "string" and "encode turns text into ids" or nil)
end

---Returns whether a value is a single token id and not a list, so that a function of ids returns a single result for it.
---@param v any
---@return boolean
function ids.is_single(v)
  if is_id(v) then return true end
  if not is_handle(v) then return false end
  v = values.resolve(v)
  return is_id(v) or tensors.is_tensor(v) and #v.shape == 0
end

---Returns rows of token ids, which all have the same length, as an int64 tensor.
---@param rows integer[][]
---@return ffi.cdata* tensor  [B, T]
function ids.tensor(rows)
  local width, numbers = #rows[1], {}
  for i, row in ipairs(rows) do
    for k = 1, width do numbers[(i - 1) * width + k] = row[k] end
  end
  return tensors.of_numbers(numbers, "int64", { #rows, width }, "int64", "cpu")
end

return ids
