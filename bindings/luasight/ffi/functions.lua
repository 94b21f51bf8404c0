--- Modules, functions and programs of the core: a forward is recorded as a function, and a program runs it. The collector
--- releases the objects that are made here.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi = binding.C, binding.ffi
local KEY = constants.LS_KEY
local INPUT, OUTPUT, TAP = constants.LS_POINT_INPUT, constants.LS_POINT_OUTPUT, constants.LS_POINT_TAP

local functions = {}

-- ---- modules ---------------------------------------------------------------------------------------------------------

---Makes a module without tensors and children.
---@param class_name string
---@return ffi.cdata*
function functions.new_module(class_name)
  local out = ffi.new "ls_module *[1]"
  binding.check(C.ls_module_new(class_name, out))
  return ffi.gc(out[0], C.ls_module_release)
end

---@param module ffi.cdata*
---@param name string
---@param t ffi.cdata*  a parameter or a buffer
function functions.set_tensor(module, name, t) binding.check(C.ls_module_set_tensor(module, name, t.v)) end

---@param module ffi.cdata*
---@param name string
---@param child ffi.cdata*
function functions.set_child(module, name, child) binding.check(C.ls_module_set_child(module, name, child)) end

---Sets the axis of a batch's rows in the value at a point; false where the value has none.
---@param module ffi.cdata*
---@param point string
---@param axis integer|false
function functions.set_batch_axis(module, point, axis) binding.check(C.ls_module_set_axis(module, point, axis or -1)) end

---Sets the axis of the tokens in the value at a point; false where the value has none.
---@param module ffi.cdata*
---@param point string
---@param axis integer|false
function functions.set_token_axis(module, point, axis)
  binding.check(C.ls_module_set_axis(module, "tokens of " .. point, axis or -1))
end

-- ---- argument streams of calls ---------------------------------------------------------------------------------------

local stream_t = ffi.typeof "ls_value[?]"

---Makes the argument stream of a call whose arguments are all handles: the positional ones, then the keyword arguments, as
---pairs of a name and a handle. The caller has to hold the handles until the call.
---@param positional ffi.cdata*[]
---@param named table[]
---@return ffi.cdata* stream, integer n
function functions.arguments(positional, named)
  local n = #positional + 2 * #named
  local stream = stream_t(n > 0 and n or 1)
  for i, v in ipairs(positional) do stream[i - 1] = v.v end
  for i, pair in ipairs(named) do
    local at = #positional + 2 * (i - 1)
    stream[at].kind = KEY
    stream[at].as.s = pair[1]
    stream[at + 1] = pair[2].v
  end
  return stream, n
end

-- ---- functions -------------------------------------------------------------------------------------------------------

---Makes a function of a module and begins its recording; without a module, the function is one form of a part of a forward.
---@param module ffi.cdata*?
---@return ffi.cdata*
function functions.new(module)
  local out = ffi.new "ls_function *[1]"
  binding.check(C.ls_function_new(module, out))
  return ffi.gc(out[0], C.ls_function_release)
end

---Adds an input to a function: the next positional one, or one with a name.
---@param f ffi.cdata*
---@param name string?
---@return ffi.cdata*
function functions.input(f, name)
  local out = binding.new_ref()
  binding.check(C.ls_function_input(f, name, out.v))
  return out
end

---Gives the inputs of a function values, so that it computes while it is recorded.
---@param f ffi.cdata*
---@param stream ffi.cdata*
---@param n integer
---@param copies boolean  whether the function will run again later, on copies of these values
function functions.record_with_values(f, stream, n, copies)
  binding.check(C.ls_function_eager(f, stream, n, copies and 1 or 0))
end

---Ends the recording with the function's result, which is a single value.
---@param f ffi.cdata*
---@param result any
---@return boolean  # false where the result is a list
function functions.finish(f, result)
  local e = binding.stream.take()
  local scratch, n = e.encode_one(result)
  local status = n == 1 and C.ls_function_finish(f, scratch) or 0
  binding.stream.put_back(e)
  if n == 1 then binding.check(status) end
  return n == 1
end

---Returns the result that a function computed while it was recorded; it can be asked for once.
---@param f ffi.cdata*
---@return any
function functions.result(f)
  local out = binding.new_ref()
  binding.check(C.ls_function_result(f, out.v))
  return binding.settle(out)
end

---Records a call of the function of a child module in the open function to which a node belongs.
---@param node ffi.cdata*
---@param child ffi.cdata*   the child module
---@param callee ffi.cdata*  the function of the child
---@param stream ffi.cdata*
---@param n integer
---@param _arguments any  what holds the handles in the stream until the call
---@return ffi.cdata*
function functions.call(node, child, callee, stream, n, _arguments)
  local out = binding.new_ref()
  local caller = ffi.cast("ls_function *", node.v.as.p)
  binding.check(C.ls_function_call(caller, child, callee, stream, n, binding.site(), out.v))
  return out
end

---Names a value of a function that is being recorded.
---@param f ffi.cdata*
---@param name string
---@param value ffi.cdata*
---@return ffi.cdata*
function functions.tap(f, name, value)
  local out = binding.new_ref()
  binding.check(C.ls_function_tap(f, name, value.v, binding.site(), out.v))
  return out
end

---Records a call of one of two functions with the same inputs and result: `fused` unless a point inside `plain` is watched.
---@param f ffi.cdata*
---@param plain ffi.cdata*
---@param fused ffi.cdata*
---@param inputs ffi.cdata*[]
---@return ffi.cdata*
function functions.two_forms(f, plain, fused, inputs)
  local out, stream = binding.new_ref(), stream_t(#inputs)
  for i, v in ipairs(inputs) do stream[i - 1] = v.v end
  binding.check(C.ls_function_two_forms(f, plain, fused, stream, #inputs, binding.site(), out.v))
  return out
end

-- ---- programs --------------------------------------------------------------------------------------------------------

---Makes the program of a function.
---@param f ffi.cdata*
---@return ffi.cdata*
function functions.program(f)
  local out = ffi.new "ls_program *[1]"
  binding.check(C.ls_program_new(f, out))
  return ffi.gc(out[0], C.ls_program_release)
end

---Runs a program.
---@param program ffi.cdata*
---@param stream ffi.cdata*
---@param n integer
---@param autograd boolean  true: autograd is in the mode of the running coroutine; false: it is off
---@param _arguments any  what holds the handles in the stream until the call
---@return any
function functions.run(program, stream, n, autograd, _arguments)
  local out = binding.new_ref()
  if autograd and binding.modes.shared then binding.modes.set() end
  binding.check(C.ls_program_run(program, stream, n, autograd and 1 or 0, out.v))
  return binding.settle(out)
end

---Returns how often one run calls a module.
---@param program ffi.cdata*
---@param module ffi.cdata*
---@return integer
function functions.calls(program, module) return C.ls_program_calls(program, module) end

local kinds = { input = INPUT, output = OUTPUT }

---Returns the number of a point, or false where there is none: `name` is "input", "output" or a tap, `call` counts the
---module's calls from 0.
---@param program ffi.cdata*
---@param module ffi.cdata*
---@param name string
---@param call integer
---@return integer|false
function functions.point(program, module, name, call)
  local kind = kinds[name]
  local point = C.ls_program_point(program, module, kind or TAP, not kind and name or nil, call)
  return point >= 0 and point
end

---Returns the points of a module in the order in which a run reaches them, each with its path and number.
---@param program ffi.cdata*
---@param module ffi.cdata*
---@return { path: string, number: integer }[]
function functions.points(program, module)
  local list = {}
  for i = 0, C.ls_program_points(program) - 1 do
    if C.ls_program_point_module(program, i) == module then
      list[#list + 1] = { path = ffi.string(C.ls_program_point_name(program, i)), number = i }
    end
  end
  return list
end

return functions
