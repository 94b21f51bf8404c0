--- Tensors, sequences and proxies: the methods and operators of the one handle type.
---
--- The kind of a handle decides what a key means. On a tensor, a name is a field (`shape`), a method or an operator; on a
--- struct, the struct's own names come first; all other keys (numbers, slice texts, tables, tensors) are indices.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local index = require "luasight.tensor.index"
local operators = require "luasight.tensor.operators"
local methods = require "luasight.tensor.methods"
local nodes = require "luasight.ffi.nodes"
local sequences = require "luasight.ffi.sequences"
local values = require "luasight.tensor.values"

local stream, is_handle, get_field = binding.stream, binding.is_handle, sequences.get_field
local call, call_two, get_function = operators.call, operators.call_two, operators.get_function
local resolve, fields = values.resolve, values.fields
local TENSOR, TUPLE, LIST = constants.LS_TENSOR, constants.LS_TUPLE, constants.LS_LIST
local STRUCT, NODE, INT = constants.LS_STRUCT, constants.LS_NODE, constants.LS_INT

---@class luasight.Tensor: ffi.cdata*  a tensor, or a proxy of one inside a body; every operator of libtorch is a method
---@field value any                 the value of a proxy, after the trace
---@field shape luasight.Sequence   a list of the sizes of the axes
---@field dtype string              such as "float32"
---@field device string             such as "cpu"
---@field requires_grad boolean
---@field grad luasight.Tensor?    the gradient, inside a body that of any value on which a loss depends; it can be set
---@field t luasight.Tensor        `x.t[i]` is token i of an input, without its padding; `x:t()` transposes
---@field float fun(self: luasight.Tensor): luasight.Tensor     converts to float32
---@field double fun(self: luasight.Tensor): luasight.Tensor    converts to float64
---@field half fun(self: luasight.Tensor): luasight.Tensor      converts to float16
---@field bfloat16 fun(self: luasight.Tensor): luasight.Tensor
---@field long fun(self: luasight.Tensor): luasight.Tensor      converts to int64
---@field int fun(self: luasight.Tensor): luasight.Tensor       converts to int32
---@field short fun(self: luasight.Tensor): luasight.Tensor     converts to int16
---@field bool fun(self: luasight.Tensor): luasight.Tensor
---@field byte fun(self: luasight.Tensor): luasight.Tensor      converts to uint8
---@field char fun(self: luasight.Tensor): luasight.Tensor      converts to int8
---@field [integer] luasight.Tensor
---@field [string] luasight.Tensor  a slice, x[":, 0"], or a field of an output
---@field [table] luasight.Tensor   a slice, x[{ {}, 0 }]
---@field [luasight.Tensor] luasight.Tensor  the elements that a mask or a tensor of positions selects
---@operator add(any): luasight.Tensor
---@operator sub(any): luasight.Tensor
---@operator mul(any): luasight.Tensor
---@operator div(any): luasight.Tensor
---@operator mod(any): luasight.Tensor
---@operator pow(any): luasight.Tensor
---@operator unm: luasight.Tensor
---@operator len: integer

---@class luasight.Sequence: ffi.cdata*  a tuple, a list or a struct; positions count from 0, `#` is the length
---@field [integer] any
---@field [string] any
---@operator len: integer

local tensor = { hooks = values.hooks }

-- ---- indexing --------------------------------------------------------------------------------------------------------

---Writes a key as an index stream; returns the number of places that the stream takes.
local function put_key(e, key)
  e.restart()
  local kind = type(key)
  if kind == "number" and key == math.floor(key) then return e.put(0, key + 0) end -- -0.0 + 0 is 0.0
  if kind == "cdata" then return e.put(0, key) end
  local items = index.compile(key)
  local kinds, held, n = items.kinds, items.values, 0
  for i = 1, items.n do
    local k = kinds[i]
    if k == index.SLICE or k == index.ELLIPSIS then n = e.put_item(n, k, 0, 0)
    elseif k == index.OPEN then n = e.put_item(n, k, LIST, held[i])
    elseif k == index.BOOL then n = e.put(n, held[i] == 1)
    else n = e.put(n, held[i]) end
  end
  return n
end

local function get_item(self, key)
  local e = stream.take()
  local n = put_key(e, key)
  return sequences.get_item(self, e, n, key)
end

---Assigns to an element or a field of a handle; with `names`, the key is the name of a field.
local function set_item(self, key, value, names)
  if type(value) == "table" then
    binding.raise("argument", "a Lua list cannot be assigned to an element of a tensor",
      { hint = "assign torch.tensor{...} or ls.tuple(...)" })
  end
  local e = stream.take()
  local n
  if names then
    e.restart()
    n = e.put(0, key)
  else
    n = put_key(e, key)
  end
  e.put(n, value) -- the value follows the index in the stream
  return sequences.set_item(self, e, n, key, value)
end

-- ---- names -----------------------------------------------------------------------------------------------------------

local function released() binding.raise("state", "this value has been released, so it cannot be used any more") end

local function name_of_node(self, name)
  local method = methods[name]
  if method then return method end
  local field = fields[name]
  if field then return field(self) end
  if nodes.state(self) == nodes.CLOSED then
    local value = resolve(self)
    if type(value) ~= "cdata" then
      binding.raise("name", ("a value that is a %s has no field %q"):format(type(value), name))
    end
    return value[name]
  end
  if nodes.kind(self) == STRUCT then return get_field(self, name) end
  return get_function(name) or get_field(self, name)
end

local function name_of_sequence(self, name)
  if self._kind == STRUCT and sequences.has(self, name) then return get_field(self, name) end
  local method = methods[name]
  if method then return method end
  if name == "value" then return self end
  if self._kind == STRUCT then return get_field(self, name) end
  binding.raise("name", ("a value that is a %s has no field %q"):format(self._kind == TUPLE and "tuple" or "list", name),
    { hint = "use the operator on an element: x[0]:" .. name .. "(...)" })
end

local function name_of_tensor(self, name)
  local method = methods[name]
  if method then return method end
  local field = fields[name]
  if field then return field(self) end
  local f = get_function(name)
  if f then return f end
  operators.get(name) -- there is no such operator: raises an error that suggests similar names
end

local by_kind = { [TENSOR] = name_of_tensor, [TUPLE] = name_of_sequence, [LIST] = name_of_sequence,
  [STRUCT] = name_of_sequence, [NODE] = name_of_node }

local function get(self, key)
  local kind = self._kind
  if kind < TENSOR then
    if key == "release" then return methods.release end
    released()
  end
  if type(key) == "string" and index.is_name(key) then return by_kind[kind](self, key) end
  return get_item(self, key)
end

local function set(self, key, value)
  local kind = self._kind
  if kind < TENSOR then released() end
  if type(key) ~= "string" or not index.is_name(key) then return set_item(self, key, value) end
  if kind == TENSOR or kind == NODE then
    local setter = values.setters[key]
    if setter then return setter(self, value) end
    if fields[key] then binding.raise("argument", ("the field %s of a tensor cannot be set"):format(key)) end
  end
  if kind == TENSOR then
    binding.raise("name", ("a tensor has no field %q that can be set"):format(key))
  end
  set_item(self, key, value, true)
end

-- ---- arithmetic ------------------------------------------------------------------------------------------------------

local function operator(name)
  local op
  return function(a, b)
    op = op or operators.get(name)
    return call_two(op, a, b)
  end
end

local add, sub, mul, div = operator "add", operator "sub", operator "mul", operator "div"
local rsub = operator "rsub"

local function reciprocal(a) return call(operators.get "reciprocal", a) end

local function is_number(v) return type(v) == "number" end

local meta = {
  __index = get,
  __newindex = set,
  __add = function(a, b) if is_number(a) then return add(b, a) end return add(a, b) end,
  __mul = function(a, b) if is_number(a) then return mul(b, a) end return mul(a, b) end,
  __sub = function(a, b) if is_number(a) then return rsub(b, a) end return sub(a, b) end,
  __div = function(a, b)
    if not is_number(a) or b._kind == NODE and nodes.kind(b) == INT then return div(a, b) end -- a size of a forward is a number
    return mul(reciprocal(b), a)
  end,
  __mod = operator "remainder",
  __pow = operator "pow",
  __unm = function(a) return call(operators.get "neg", a) end,
}

local function no_comparison(sign, method)
  return function()
    binding.raise("argument", ("%s cannot compare tensors in Lua"):format(sign),
      { hint = ("x:%s(y) compares element by element, x:item() %s 0 compares a number"):format(method, sign) })
  end
end

local refuse_equal = no_comparison("==", "eq")

local function is_sequence(v) return is_handle(v) and v._kind > TENSOR and v._kind < NODE end

meta.__eq = function(a, b)
  if type(a) == "nil" or type(b) == "nil" then return false end
  if is_sequence(a) or is_sequence(b) then
    binding.raise("argument", "== cannot compare tuples, lists and structs, such as shapes",
      { hint = "tostring(x.shape) == tostring(y.shape) compares sizes, x:is_same_size(y) those of two tensors" })
  end
  refuse_equal()
end
local function no_pairs()
  binding.raise("argument", "tensors, tuples and shapes are not walked with pairs or ipairs: they count from 0",
    { hint = "for i, v in x:each() do walks their elements" })
end

meta.__pairs, meta.__ipairs = no_pairs, no_pairs
meta.__lt, meta.__le = no_comparison("<", "lt"), no_comparison("<=", "le")
meta.__len = values.length
meta.__tostring = values.text
meta.__concat = function(a, b) return tostring(a) .. tostring(b) end
meta.__call = function()
  binding.raise("argument", "a tensor cannot be called", { hint = "write an index in brackets: x[0]" })
end

binding.metatype(meta)

-- ---- sequences and scopes --------------------------------------------------------------------------------------------

---Makes a tuple of values; Lua lists among them become tuples.
---@param ... any
---@return ffi.cdata*
function tensor.tuple(...) return sequences.tuple(...) end

---Makes a struct from pairs of name and value, in order.
---@param pairs_in_order table[]  { { "logits", x }, ... }
---@return ffi.cdata*
function tensor.struct(pairs_in_order) return sequences.struct(pairs_in_order) end

local function keep(kept, v, seen)
  if type(v) == "cdata" then
    if is_handle(v) then kept[v] = true end
  elseif type(v) == "table" and not seen[v] then
    seen[v] = true
    for _, inner in pairs(v) do keep(kept, inner, seen) end
  end
end

local function leave_scope(entry, ok, ...)
  local made, around = binding.close_scope(entry)
  local kept = {}
  if ok then
    for i = 1, select("#", ...) do keep(kept, (select(i, ...)), {}) end
  end
  for _, r in ipairs(made) do
    if not kept[r] then
      if not binding.is_kept(r) then binding.release(r) end
    elseif around then
      around[#around + 1] = r
    end
  end
  if not ok then error((...), 0) end
  return ...
end

---Calls a function and then releases all handles that were made during the call, except those that the function returns (also
---inside tables) and those that a module or an optimizer owns: its parameters, its buffers, its state. Handles that coroutines
---make while the function resumes them are released too; handles that other code makes while the function's own coroutine has
---yielded are not.
---@param f fun(...): ...
---@param ... any  the arguments of f
---@return any ...
function tensor.scope(f, ...)
  local entry = binding.open_scope()
  return leave_scope(entry, pcall(f, ...))
end

---Returns whether a value is a handle of luasight.
---@type fun(v: any): boolean
tensor.is_handle = is_handle

return tensor
