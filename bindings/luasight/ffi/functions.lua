--- Modules, functions and programs of the core: what a forward is recorded into, and what runs. All that is made here is let
--- go of by the collector.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi = binding.C, binding.ffi
local KEY = constants.LS_KEY
local INPUT, OUTPUT, TAP = constants.LS_POINT_INPUT, constants.LS_POINT_OUTPUT, constants.LS_POINT_TAP

local functions = {}

-- ---- modules ---------------------------------------------------------------------------------------------------------

---A module without tensors and children.
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

---Where the rows of a batch are at a point; false: nowhere.
---@param module ffi.cdata*
---@param point string
---@param axis integer|false
function functions.set_batch_axis(module, point, axis) binding.check(C.ls_module_set_axis(module, point, axis or -1)) end

---Where the tokens are at a point; false: nowhere.
---@param module ffi.cdata*
---@param point string
---@param axis integer|false
function functions.set_token_axis(module, point, axis)
  binding.check(C.ls_module_set_axis(module, "tokens of " .. point, axis or -1))
end

-- ---- argument streams of calls ---------------------------------------------------------------------------------------

local stream_t = ffi.typeof "ls_value[?]"

---The argument stream of a call with handles alone, which the caller holds until the call: the positional ones, then the
---keyword ones, pairs of a name and a handle.
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

---A function that is recorded from now on, of a module; of no module where it is a form of a part of one.
---@param module ffi.cdata*?
---@return ffi.cdata*
function functions.new(module)
  local out = ffi.new "ls_function *[1]"
  binding.check(C.ls_function_new(module, out))
  return ffi.gc(out[0], C.ls_function_release)
end

---The next positional input, or the one of a name.
---@param f ffi.cdata*
---@param name string?
---@return ffi.cdata*
function functions.input(f, name)
  local out = binding.new_ref()
  binding.check(C.ls_function_input(f, name, out.v))
  return out
end

---The function is recorded with these values of its inputs.
---@param f ffi.cdata*
---@param stream ffi.cdata*
---@param n integer
---@param copies boolean  it runs once more later, with the values as they are now
function functions.record_with_values(f, stream, n, copies)
  binding.check(C.ls_function_eager(f, stream, n, copies and 1 or 0))
end

---Ends the recording with its result, a single value.
---@param f ffi.cdata*
---@param result any
---@return boolean  # false: the result is a list
function functions.finish(f, result)
  local e = binding.stream.take()
  local scratch, n = e.encode_one(result)
  local status = n == 1 and C.ls_function_finish(f, scratch) or 0
  binding.stream.give(e)
  if n == 1 then binding.check(status) end
  return n == 1
end

---What a function gave that was recorded with values, once.
---@param f ffi.cdata*
---@return any
function functions.result(f)
  local out = binding.new_ref()
  binding.check(C.ls_function_result(f, out.v))
  return binding.settle(out)
end

---Records a call of a child's function where a node is that of an open function.
---@param node ffi.cdata*
---@param child ffi.cdata*   the module
---@param callee ffi.cdata*  its function
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
function functions.either(f, plain, fused, inputs)
  local out, stream = binding.new_ref(), stream_t(#inputs)
  for i, v in ipairs(inputs) do stream[i - 1] = v.v end
  binding.check(C.ls_function_either(f, plain, fused, stream, #inputs, binding.site(), out.v))
  return out
end

-- ---- programs --------------------------------------------------------------------------------------------------------

---The program of a function.
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
---@param autograd boolean  as it is set where this runs; else none
---@param _arguments any  what holds the handles in the stream until the call
---@return any
function functions.run(program, stream, n, autograd, _arguments)
  local out = binding.new_ref()
  if autograd and binding.modes.shared then binding.modes.set() end
  binding.check(C.ls_program_run(program, stream, n, autograd and 1 or 0, out.v))
  return binding.settle(out)
end

---How often one run calls a module.
---@param program ffi.cdata*
---@param module ffi.cdata*
---@return integer
function functions.calls(program, module) return C.ls_program_calls(program, module) end

local kinds = { input = INPUT, output = OUTPUT }

---The number of a point: "input" or "output" of a call of a module, from 0, or one of its taps; false where there is none.
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

---The points of a module in the order of the run: the path and the number of each.
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
