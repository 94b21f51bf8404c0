--- Operators: every operator of libtorch is called, or recorded, by the code of this file.
local binding = require "luasight.ffi"

local C, ffi = binding.C, binding.ffi
local take, give = binding.stream.take, binding.stream.give
local settle, take_one, site = binding.settle, binding.take, binding.site
local ref_t = binding.ref_t
local TENSOR, NODE = 5, 9

local operators = {}

-- ---- finding operators -----------------------------------------------------------------------------------------------

-- Names of PyTorch's Python functions for which ATen has another name.
local alias = { cross_entropy = "cross_entropy_loss" }

local known = {} -- name -> const ls_op *, or false where there is no operator
local op_out = ffi.typeof "const ls_op *[1]"

---Returns the operator of a name, or nil.
---@param name string
---@return ffi.cdata*?
function operators.find(name)
  local op = known[name]
  if op == nil then
    local found = op_out()
    op = C.ls_op_find(alias[name] or name, found) == 0 and found[0] or false
    known[name] = op
  end
  return op or nil
end

---Returns the operator of a name; an unknown name raises an error with near misses.
---@param name string
---@return ffi.cdata*
function operators.get(name)
  local op = operators.find(name)
  if op then return op end
  local found = op_out()
  binding.check(C.ls_op_find(name, found))
  return found[0]
end

-- ---- calling operators -----------------------------------------------------------------------------------------------

---Returns the results in an encoder. All are made handles before the first step that may run the collector.
local function take_all(e, n)
  local taken = {}
  for i = 1, n do
    taken[i] = binding.new_ref()
    taken[i].v = e.results[i - 1]
  end
  give(e)
  for i = 1, n do taken[i] = settle(taken[i]) end
  return unpack(taken, 1, n)
end

---Returns the results of a call, and the encoder to its pool.
local function results_of(e)
  local n = e.count[0]
  if n == 1 then
    local r = ref_t(e.handles[0])
    give(e)
    return take_one(r)
  end
  if n == 0 then return give(e) end
  return take_all(e, n)
end

---Raises the error of a failed call. An operator that changed nothing and lacked memory is called again, after unused
---memory was freed.
local function failed(e, status, op, ...)
  give(e)
  if C.ls_error_again() ~= 0 then
    binding.free_memory()
    local again = take()
    local stream, n, has_node = again.encode_args(...)
    status = C.ls_op_call(op, stream, n, has_node and site() or 0, again.results, again.count)
    if status == 0 then return results_of(again) end
    give(again)
  end
  binding.check(status)
end

---Calls an operator, or records it where an argument is a node of an open graph.
---@param op ffi.cdata*  the result of `operators.get`
---@param ... any        positional arguments; a trailing table without a list part holds keyword arguments
---@return any ...       # one Lua value for each result
local function call(op, ...)
  local e = take()
  local stream, n, has_node = e.encode_args(...)
  local status = C.ls_op_call(op, stream, n, has_node and site() or 0, e.results, e.count)
  if status ~= 0 then return failed(e, status, op, ...) end
  return results_of(e)
end
operators.call = call

---Calls an operator of arithmetic, which has two arguments and no keyword arguments.
---@param op ffi.cdata*
---@param a any
---@param b any
---@return any ...
function operators.call_two(op, a, b)
  local e = take()
  local stream, n, has_node = e.encode_two(a, b)
  local status = C.ls_op_call(op, stream, n, has_node and site() or 0, e.results, e.count)
  if status ~= 0 then return failed(e, status, op, a, b) end
  return results_of(e)
end

-- ---- arguments in several forms --------------------------------------------------------------------------------------

-- Operators with a list as their last positional argument, whose elements may be separate arguments: x:view(2, 3),
-- torch.zeros(2, 3). The number is the position of the list among the arguments.
local list_at = {
  view = 2, reshape = 2, expand = 2, permute = 2, ["repeat"] = 2, tile = 2, flip = 2, broadcast_to = 2,
  new_zeros = 2, new_ones = 2, new_empty = 2, zeros = 1, ones = 1, rand = 1, randn = 1, empty = 1,
  einsum = 2, meshgrid = 1, block_diag = 1, broadcast_tensors = 1, cartesian_prod = 1,
}

local function is_element(v, alone)
  if type(v) == "number" then return true end
  if type(v) ~= "cdata" or not ffi.istype(ref_t, v) then return false end
  local kind = v._kind
  return kind == TENSOR or kind == NODE and not alone -- a node alone may be a whole shape
end

local function is_options(v) return type(v) == "table" and #v == 0 and next(v) ~= nil end

---Returns the arguments with the elements from position `at` on collected in a list.
local function collected(at, ...)
  local n = select("#", ...)
  local options
  if n > 0 and is_options((select(n, ...))) then
    options, n = select(n, ...), n - 1
  end
  if n < at then
    if at == 1 and n == 0 and options then return {}, options end
    return ...
  end
  for i = at, n do
    if not is_element((select(i, ...)), at == n) then return ... end
  end
  local list = {}
  for i = at, n do list[i - at + 1] = select(i, ...) end
  if at == 1 then return list, options end
  return (...), list, options
end

-- These functions, which make tensors, take the argument `requires_grad`, which no operator has.
local factories = {
  zeros = true, ones = true, rand = true, randn = true, empty = true, full = true, arange = true, linspace = true,
  logspace = true, eye = true, randint = true, randperm = true, zeros_like = true, ones_like = true, full_like = true,
  rand_like = true, randn_like = true, empty_like = true, randint_like = true,
}

local function without_requires_grad(...)
  local n = select("#", ...)
  local options = select(n > 0 and n or 1, ...)
  if n == 0 or not is_options(options) or options.requires_grad == nil then return nil, ... end
  local rest = {}
  for k, v in pairs(options) do
    if k ~= "requires_grad" then rest[k] = v end
  end
  local args = { ... }
  args[n] = next(rest) and rest or nil
  return options.requires_grad, unpack(args, 1, n)
end

local function make(op, wanted, ...)
  local t = call(op, ...)
  if wanted ~= nil then binding.check(C.ls_tensor_require_grad(t.v, wanted and 1 or 0)) end
  return t
end

local functions = {}

local came_later = { scaled_dot_product_attention = "scale" } -- arguments that libtorch added to operators later (in 2.1)

local function is_whole(op, name)
  local argument = came_later[name]
  return not argument or ffi.string(C.ls_op_schemas(op)):find(" " .. argument .. "=", 1, true) ~= nil
end

---Returns an operator as a Lua function, or nil where there is none.
---@param name string
---@return (fun(...): any)?
function operators.get_function(name)
  local f = functions[name]
  if f ~= nil then return f or nil end
  local op, at = operators.find(name), list_at[name]
  if not (op and is_whole(op, name)) then
    f = require "luasight.tensor.compat".functions[name] or false
  elseif factories[name] then
    f = function(...)
      if at then return make(op, without_requires_grad(collected(at, ...))) end
      return make(op, without_requires_grad(...))
    end
  elseif at then
    f = function(...) return call(op, collected(at, ...)) end
  else
    f = function(...) return call(op, ...) end
  end
  functions[name] = f
  return f or nil
end

---Returns the names of the operators that begin with `prefix`.
---@param prefix string?
---@return string[]
function operators.names(prefix)
  local list = {}
  for name in ffi.string(C.ls_op_names(prefix or "")):gmatch "[^\n]+" do list[#list + 1] = name end
  return list
end

operators.list_at = list_at
return operators
