--- Modules, functions and programs of the core: a forward is recorded as a function, and a program runs the function. Lua's
--- garbage collector releases the objects that are made here.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi = binding.C, binding.ffi
local release_module, release_function, release_program =
  binding.finalizer "ls_module_release", binding.finalizer "ls_function_release", binding.finalizer "ls_program_release"
local KEY = constants.LS_KEY

local functions = {}

-- ---- modules ---------------------------------------------------------------------------------------------------------

---Makes a module of the core that has no tensors and no children yet.
---@param class_name string
---@return ffi.cdata*
function functions.new_module(class_name)
  binding.check_open()
  local out = ffi.new "ls_module *[1]"
  binding.check(C.ls_module_new(class_name, out))
  return ffi.gc(out[0], release_module)
end

---Sets a parameter or a buffer of a module of the core.
---@param module ffi.cdata*
---@param name string
---@param t ffi.cdata*
function functions.set_tensor(module, name, t) binding.check(C.ls_module_set_tensor(module, name, t.v)) end

---@param module ffi.cdata*
---@param name string
---@param child ffi.cdata*
function functions.set_child(module, name, child) binding.check(C.ls_module_set_child(module, name, child)) end

---Sets which axis of the value at a point counts the rows of a batch; `axis` is false where the value has no such axis.
---@param module ffi.cdata*
---@param point string
---@param axis integer|false
function functions.set_batch_axis(module, point, axis) binding.check(C.ls_module_set_axis(module, point, axis or -1)) end

---Sets which axis of the value at a point counts the tokens; `axis` is false where the value has no such axis.
---@param module ffi.cdata*
---@param point string
---@param axis integer|false
function functions.set_token_axis(module, point, axis)
  binding.check(C.ls_module_set_axis(module, "tokens of " .. point, axis or -1))
end

---Sets that the tokens of the value at a point are those of the decoder (1) or the encoder (0), where a model has both.
---@param module ffi.cdata*
---@param point string    "" stands for all points of the module
---@param sequence integer
function functions.set_sequence(module, point, sequence)
  binding.check(C.ls_module_set_axis(module, point == "" and "sequence" or "sequence of " .. point, sequence))
end

-- ---- argument streams of calls ---------------------------------------------------------------------------------------

local stream_t = ffi.typeof "ls_value[?]"

---Makes the argument stream of a call whose arguments are all handles: the positional ones, then the keyword arguments, as
---pairs of a name and a handle. The caller has to keep the handles from being collected until the core has used the stream.
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

---Makes a function of the core, which has no nodes yet. With `module`, it will hold the forward of this module; without, it
---is one of the two functions that `functions.two_forms` takes.
---@param module ffi.cdata*?
---@return ffi.cdata*
function functions.new(module)
  binding.check_open()
  local out = ffi.new "ls_function *[1]"
  binding.check(C.ls_function_new(module, out))
  return ffi.gc(out[0], release_function)
end

---Adds an input to a function that is being recorded, and returns it as a node: the next positional input, or, with `name`,
---a keyword argument.
---@param f ffi.cdata*
---@param name string?
---@return ffi.cdata*
function functions.input(f, name)
  local out = binding.new_ref()
  binding.check(C.ls_function_input(f, name, out.v))
  return out
end

---Sets the values of a function's inputs, so that each operator is computed when it is recorded.
---@param f ffi.cdata*
---@param stream ffi.cdata*
---@param n integer
---@param copies boolean  whether the recording computes with copies of the values, because the function will run on them later
function functions.record_with_values(f, stream, n, copies)
  if binding.recordings.shared then binding.recordings.set() end -- the core asks for the forward around this one
  binding.check(C.ls_function_eager(f, stream, n, copies and 1 or 0))
end

---Ends the recording of a function; `result` is the value that the function returns.
---@param f ffi.cdata*
---@param result any
---@return boolean  # false where the result is a Lua list, which a function cannot return
function functions.finish(f, result)
  local e = binding.stream.take()
  local scratch, n = e.encode_one(result)
  local status = n == 1 and C.ls_function_finish(f, scratch) or 0
  binding.hold(result)
  binding.stream.put_back(e)
  if n == 1 then binding.check(status) end
  return n == 1
end

---Returns the result that a function computed while it was recorded; the result can be read only once.
---@param f ffi.cdata*
---@return any
function functions.result(f)
  local out = binding.new_ref()
  binding.check(C.ls_function_result(f, out.v))
  return binding.settle(out)
end

---Records a call of a child module in the function `caller`.
---@param caller ffi.cdata*
---@param child ffi.cdata*   the child module
---@param callee ffi.cdata*  the function of the child
---@param stream ffi.cdata*
---@param n integer
---@param arguments any  refers to the handles in the stream, so that they are not collected before the call
---@return ffi.cdata*
function functions.call(caller, child, callee, stream, n, arguments)
  local out = binding.new_ref()
  local status = C.ls_function_call(caller, child, callee, stream, n, binding.site(), out.v)
  binding.hold(arguments)
  binding.check(status)
  return out
end

---Makes a tap in a function that is being recorded; returns the node of the value behind the tap.
---@param f ffi.cdata*
---@param name string
---@param value ffi.cdata*
---@return ffi.cdata*
function functions.tap(f, name, value)
  local out = binding.new_ref()
  binding.check(C.ls_function_tap(f, name, value.v, binding.site(), out.v))
  return out
end

---Records a computation for which there are two functions with the same inputs and result: a run calls `fused`, except where
---a trace reads or sets a point inside `plain`; there the run calls `plain`.
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

---Makes the program that runs a function.
---@param f ffi.cdata*
---@return ffi.cdata*
function functions.program(f)
  binding.check_open()
  local out = ffi.new "ls_program *[1]"
  binding.check(C.ls_program_new(f, out))
  return ffi.gc(out[0], release_program)
end

---Runs a program.
---@param program ffi.cdata*
---@param stream ffi.cdata*
---@param n integer
---@param autograd boolean  true: autograd records if the running coroutine has it switched on; false: autograd is off
---@param arguments any  refers to the handles in the stream, so that they are not collected before the call
---@return any
function functions.run(program, stream, n, autograd, arguments)
  local out = binding.new_ref()
  if autograd and binding.modes.shared then binding.modes.set() end
  local status = C.ls_program_run(program, stream, n, autograd and 1 or 0, out.v)
  binding.hold(arguments)
  binding.check(status)
  return binding.settle(out)
end

---Returns how often one run of a program calls the module at a path; "block (call 1).linear" counts inside one call of "block".
---@param program ffi.cdata*
---@param path string
---@return integer
function functions.calls(program, path) return C.ls_program_calls(program, path) end

---Returns the number of a point in a program by its name, such as "block.output (call 1)", or false where it has no such point.
---@param program ffi.cdata*
---@param name string
---@return integer|false
function functions.find(program, name)
  local point = C.ls_program_find(program, name)
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
