--- Operators of libtorch by name, as Lua functions that take their arguments in all forms that PyTorch's functions take.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local core = require "luasight.ffi.operators"
local nodes = require "luasight.ffi.nodes"
local recording = require "luasight.ffi.recording"
local tensors = require "luasight.ffi.tensors"

local call, is_handle = core.call, binding.is_handle
local TENSOR, NODE, INT = constants.LS_TENSOR, constants.LS_NODE, constants.LS_INT

local operators = { call = call, call_two = core.call_two, call_view = core.call_view, schemas = core.schemas }

-- ---- finding operators -----------------------------------------------------------------------------------------------

-- Names of PyTorch's Python functions for which libtorch has another name.
local alias = { cross_entropy = "cross_entropy_loss", nll_loss = "nll_loss_nd" }

-- Functions that forms.lua has, because PyTorch's Python gives them another meaning than libtorch.
local python_forms = { unique = true, unique_consecutive = true, stft = true, tensordot = true, cdist = true, norm = true,
  atleast_1d = true, atleast_2d = true, atleast_3d = true,
  binary_cross_entropy = true, binary_cross_entropy_with_logits = true }

local known = {}     -- name -> const ls_op *, or false where there is no operator
local functions = {} -- name -> function, or false where there is none
local wrong, MOST_WRONG = 0, 100 -- the number of names without an operator in the two tables, and the most of them

---Notes in one of the tables that there is nothing of a name. Where these names become many, all of them are forgotten: a
---script can ask for any number of names.
local function note_wrong(list, name)
  list[name] = false
  wrong = wrong + 1
  if wrong <= MOST_WRONG then return end
  wrong = 0
  for _, each in ipairs { known, functions } do
    for key, found in pairs(each) do
      if not found then each[key] = nil end
    end
  end
end

---Returns the operator of a name, or nil where libtorch has none.
---@param name string
---@return ffi.cdata*?
function operators.find(name)
  local op = known[name]
  if op == nil then
    op = core.find(alias[name] or name)
    if op then known[name] = op else note_wrong(known, name) end
  end
  return op or nil
end

---Returns the operator of a name; an unknown name raises an error with similar names.
---@param name string
---@return ffi.cdata*
function operators.get(name)
  return operators.find(name) or core.get(name)
end

-- ---- arguments in several forms --------------------------------------------------------------------------------------

-- Operators that take a list, but can also be called with the elements of the list as arguments: x:view(2, 3) is
-- x:view({ 2, 3 }). The list is the last positional argument; the number is its position among the arguments.
local list_at = {
  view = 2, reshape = 2, expand = 2, permute = 2, ["repeat"] = 2, tile = 2, flip = 2, broadcast_to = 2,
  new_zeros = 2, new_ones = 2, new_empty = 2, zeros = 1, ones = 1, rand = 1, randn = 1, empty = 1,
  einsum = 2, meshgrid = 1, chain_matmul = 1, block_diag = 1, broadcast_tensors = 1, cartesian_prod = 1,
}

-- Kinds of a node that is one element of a list; any other node that stands alone may be the whole list, such as a shape.
local single = { [INT] = true, [TENSOR] = true }

local function is_element(v, alone)
  if type(v) == "number" then return true end
  if not is_handle(v) then return false end
  local kind = v._kind
  return kind == TENSOR or kind == NODE and (not alone or single[nodes.kind(v)])
end

local function is_options(v) return type(v) == "table" and #v == 0 and next(v) ~= nil end

---Returns the arguments of a call with those from position `at` on as one list, where all of these can be elements; otherwise
---returns the arguments unchanged.
local function collected(at, ...)
  local n, first = select("#", ...), ... -- `first` is taken here, since LuaJIT may compile a later `...` to the last `select`
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
  return first, list, options
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
  if wanted and recording.current() then
    binding.raise("argument", "a tensor that a forward makes cannot require a gradient", { hint = "make it a field of the " ..
      "module: self.weight = nn.Parameter(t) in init" })
  end
  local t = call(op, ...)
  if recording.current() then return t end
  if wanted ~= nil then tensors.require_grad(t, wanted) end
  return t
end

---Returns the results of a call; a result that is the tensor `first` itself becomes the handle `first`, as it is one object in
---PyTorch: nn.Parameter(t):zero_() is the parameter.
---@param first any
---@param result any
---@return any ...
function operators.itself(first, result, ...)
  if is_handle(first) and is_handle(result) and tensors.same(first, result) then return first, ... end
  return result, ...
end

local itself = operators.itself

local came_later = { scaled_dot_product_attention = "scale" } -- arguments that libtorch added to operators later (in 2.1)

local function is_whole(op, name)
  local argument = came_later[name]
  return not argument or core.schemas(op):find(" " .. argument .. "=", 1, true) ~= nil
end

---Returns an operator as a Lua function, or nil where there is none.
---@param name string
---@return (fun(...): any)?
function operators.get_function(name)
  local f = functions[name]
  if f ~= nil then return f or nil end
  local op, at = operators.find(name), list_at[name]
  if python_forms[name] then
    f = require "luasight.tensor.forms".functions[name]
  elseif not (op and is_whole(op, name)) then
    f = require "luasight.tensor.compat".functions[name]
  elseif factories[name] then
    f = function(...)
      if at then return make(op, without_requires_grad(collected(at, ...))) end
      return make(op, without_requires_grad(...))
    end
  elseif at then
    f = function(...) return call(op, collected(at, ...)) end
  elseif name:find "[^_]_$" or name == "contiguous" then
    f = function(first, ...) return itself(first, call(op, first, ...)) end
  else
    f = function(...) return call(op, ...) end
  end
  if f then functions[name] = f else note_wrong(functions, name) end
  return f
end

---Returns the names of the operators that begin with `prefix`.
---@param prefix string?
---@return string[]
function operators.names(prefix) return core.names(prefix or "") end

operators.list_at = list_at
return operators
