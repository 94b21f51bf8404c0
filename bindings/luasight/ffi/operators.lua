--- Operators of libtorch: finds them by name, and calls them, or records them where an argument is a node.
local binding = require "luasight.ffi"

local C, ffi = binding.C, binding.ffi
local take, put_back = binding.stream.take, binding.stream.put_back
local settle, take_one, site = binding.settle, binding.take, binding.site
local ref_t = binding.ref_t

local operators = {}

-- ---- finding operators -----------------------------------------------------------------------------------------------

local op_out = ffi.typeof "const ls_op *[1]"

---Returns the operator of a name, or nil where there is none.
---@param name string
---@return ffi.cdata*?
function operators.find(name)
  local found = op_out()
  return C.ls_op_find(name, found) == 0 and found[0] or nil
end

---Returns the operator of a name; an unknown name raises an error with similar names.
---@param name string
---@return ffi.cdata*
function operators.get(name)
  local found = op_out()
  binding.check(C.ls_op_find(name, found))
  return found[0]
end

---Returns the schemas of an operator's overloads, one on each line.
---@param op ffi.cdata*
---@return string
function operators.schemas(op)
  return binding.undisturbed(function() return ffi.string(C.ls_op_schemas(op)) end)
end

---Returns the names of the operators that begin with `prefix`.
---@param prefix string
---@return string[]
function operators.names(prefix)
  local list = {}
  local text = binding.undisturbed(function() return ffi.string(C.ls_op_names(prefix)) end)
  for name in text:gmatch "[^\n]+" do list[#list + 1] = name end
  return list
end

-- ---- calling operators -----------------------------------------------------------------------------------------------

---Returns the `n` results of a call as Lua values. All results are copied from the encoder `e` into handles first: making a
---Lua value of a handle may run the collector, whose finalizers may use the encoder for other calls.
local function take_all(e, n)
  local taken = {}
  for i = 1, n do
    taken[i] = binding.new_ref()
    taken[i].v = e.results[i - 1]
  end
  put_back(e)
  for i = 1, n do taken[i] = settle(taken[i]) end
  return unpack(taken, 1, n)
end

---Returns the results of a call as Lua values, and frees the encoder `e`, whose arrays have the call's arguments and results,
---for the next call.
local function results_of(e)
  local n = e.count[0]
  if n == 1 then
    local r = ref_t(e.handles[0])
    put_back(e)
    return take_one(r)
  end
  if n == 0 then return put_back(e) end
  return take_all(e, n)
end

---Raises the error of a failed call of an operator. Where the operator lacked memory and has changed no tensor, first frees
---unused memory and calls the operator once more; if this call succeeds, its results are returned and no error is raised.
local function failed(e, status, op, ...)
  put_back(e)
  if C.ls_error_again() ~= 0 then
    binding.free_memory()
    local again = take()
    local stream, n, has_node = again.encode_args(...)
    status = C.ls_op_call(op, stream, n, has_node and site() or 0, again.results, again.count)
    if status == 0 then return results_of(again) end
    put_back(again)
  end
  binding.check(status)
end

---Calls an operator, or records it where an argument is a node of a forward or a trace that is being recorded.
---@param op ffi.cdata*  the result of `operators.get`
---@param ... any        positional arguments; a trailing table without a list part holds keyword arguments
---@return any ...       # one Lua value for each result
function operators.call(op, ...)
  local e = take()
  local stream, n, has_node = e.encode_args(...)
  local status = C.ls_op_call(op, stream, n, has_node and site() or 0, e.results, e.count)
  if status ~= 0 then return failed(e, status, op, ...) end
  return results_of(e)
end

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

---Calls an operator that returns a view of its argument. The bytes of the view are not counted as new memory, since the view
---lies in the memory of the argument.
---@param op ffi.cdata*
---@param ... any
---@return ffi.cdata*
function operators.call_view(op, ...)
  local out, e = binding.new_ref(), take()
  local stream, n = e.encode_args(...)
  local status = C.ls_op_call(op, stream, n, 0, e.results, e.count)
  if status ~= 0 then
    put_back(e)
    binding.check(status)
  end
  out.v = e.results[0]
  put_back(e)
  return out
end

return operators
