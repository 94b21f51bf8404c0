--- Traces of the core: opens them, records them in invokes, runs and releases them. The collector releases a trace that
--- nothing holds.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local nodes = require "luasight.ffi.nodes"

local C, ffi = binding.C, binding.ffi
local release_trace = binding.finalizer "ls_trace_release"
local check, check_open, new_ref = binding.check, binding.check_open, binding.new_ref
local site, stream = binding.site, binding.stream
local NONE, TUPLE, NODE = constants.LS_EVENT_NONE, constants.LS_TUPLE, constants.LS_NODE

local traces = {
  ---PASS, STEP and HOST are the events at which a run pauses and asks Lua to act. WHOLE, ROWS and ALL are
  ---the kinds of invokes: with a pass of its own, with some rows of a pass, or with no input and all rows of a pass.
  PASS = constants.LS_EVENT_PASS, STEP = constants.LS_EVENT_STEP, HOST = constants.LS_EVENT_HOST,
  WHOLE = constants.LS_INVOKE_WHOLE, ROWS = constants.LS_INVOKE_ROWS, ALL = constants.LS_INVOKE_ALL,
}

-- Memory into which C functions write results, kept from call to call. The variable of such memory is nil while a call uses
-- the memory, so that a finalizer that opens a trace meanwhile makes other memory.
local address_t, trace_pointer_t = ffi.typeof "uintptr_t", ffi.typeof "ls_trace *"
local trace_t, index_t, event_t = ffi.typeof "ls_trace *[1]", ffi.typeof "int32_t[1]", ffi.typeof "ls_event"
local trace_out, index_out, idle_event = trace_t(), index_t(), event_t()

-- ---- opening and ending ----------------------------------------------------------------------------------------------

---@return ffi.cdata*
function traces.open()
  check_open()
  local out = trace_out or trace_t()
  trace_out = nil
  check(C.ls_trace_open(out))
  local t = ffi.gc(out[0], release_trace)
  trace_out = out
  return t
end

---Returns the address of a trace, for use as a key of a table; it equals `nodes.owner` of the trace's nodes.
---@param t ffi.cdata*
---@return number
function traces.address(t) return tonumber(ffi.cast(address_t, t)) end

---Closes a trace without running it.
---@param t ffi.cdata*
function traces.abandon(t) C.ls_trace_abandon(t) end

---Closes a trace whose recording is only copied into others: no node can be added to it any more.
---@param t ffi.cdata*
function traces.close_recording(t)
  C.ls_trace_keep(t)
  C.ls_trace_abandon(t)
end

---Releases a trace that has run; the bytes of its saved values are counted as new memory.
---@param t ffi.cdata*
function traces.release(t)
  check_open()
  binding.owe(tonumber(C.ls_trace_bytes(t)))
  C.ls_trace_release(ffi.gc(t, nil))
end

---Returns whether nodes can still be added to a trace: it has not run to its end, nor been abandoned, nor failed.
---@param t ffi.cdata*
---@return boolean
function traces.is_open(t)
  local node = ffi.new "ls_value"
  node.kind, node.as.p = NODE, t
  return C.ls_node_is_open(node) == nodes.TRACE
end

---Returns whether a node belongs to a trace.
---@param t ffi.cdata*
---@param node ffi.cdata*
---@return boolean
function traces.has(t, node) return node._kind == NODE and node.v.as.p == t end

-- ---- recording -------------------------------------------------------------------------------------------------------

---Adds an invoke to a trace and returns the number of the invoke; nodes that are recorded from now on belong to it.
---@param t ffi.cdata*
---@param kind integer  traces.WHOLE, .ROWS or .ALL
---@param program ffi.cdata*
---@param arguments ffi.cdata*?  a stream of `n` values
---@param n integer
---@return integer
function traces.invoke(t, kind, program, arguments, n)
  local out = index_out or index_t()
  index_out = nil
  check(C.ls_trace_invoke(t, kind, program, arguments, n, out))
  local index = out[0]
  index_out = out
  return index
end

---Makes later invokes run in new passes, and not in the passes of the invokes recorded so far.
---@param t ffi.cdata*
function traces.new_pass(t) C.ls_trace_new_pass(t) end

---Makes a trace a scan, which uses only the shapes and dtypes of tensors and computes nothing.
---@param t ffi.cdata*
function traces.scan(t) check(C.ls_trace_scan(t)) end

---Sets the largest number of steps of a generation for the invokes that are recorded from now on.
---@param t ffi.cdata*
---@param steps integer
function traces.generate(t, steps) check(C.ls_trace_generate(t, steps)) end

---Records a read of the value at a point; returns its node.
---@param t ffi.cdata*
---@param invoke integer
---@param step integer
---@param point integer
---@return ffi.cdata*
function traces.read(t, invoke, step, point)
  local out = new_ref()
  local status = C.ls_trace_read(t, invoke, step, point, site(), out.v)
  if status ~= 0 then check(status) end
  return out
end

---Records an edit that replaces the value at a point.
---@param t ffi.cdata*
---@param invoke integer
---@param step integer
---@param point integer
---@param value any
---@param skips boolean  true: the module does not run
function traces.write(t, invoke, step, point, value, skips)
  local e = stream.take()
  local status = C.ls_trace_write(t, invoke, step, point, (e.encode_one(value)), skips and 1 or 0, site())
  binding.hold(value)
  stream.put_back(e)
  if status ~= 0 then check(status) end
end

---Announces a call with points of its own; returns its number. `traces.inside(number)` stands for an invoke in `read` and
---`write`.
---@param t ffi.cdata*
---@param program ffi.cdata*
---@return integer
function traces.hook(t, program)
  local out = index_t()
  check(C.ls_trace_hook(t, program, out))
  return out[0]
end

---Returns what names, in place of an invoke, the points of a call.
---@param hook integer
---@return integer
function traces.inside(hook) return -2 - hook end

---Records a call of a program in the trace to which `node`, one of the arguments, belongs.
---@param node ffi.cdata*
---@param program ffi.cdata*
---@param arguments ffi.cdata*
---@param n integer
---@param held any  refers to the handles in the stream, so that they are not collected before the call
---@return ffi.cdata*
function traces.call(node, program, arguments, n, held)
  local out = new_ref()
  local status = C.ls_trace_call(ffi.cast(trace_pointer_t, node.v.as.p), program, arguments, n, -1, site(), out.v)
  binding.hold(held)
  check(status)
  return out
end

---Records the call with points of its own that `traces.hook` has announced.
---@param t ffi.cdata*
---@param program ffi.cdata*
---@param arguments ffi.cdata*
---@param n integer
---@param hook integer
---@param held any  refers to the handles in the stream, so that they are not collected before the call
---@return ffi.cdata*
function traces.call_with_points(t, program, arguments, n, hook, held)
  local out = new_ref()
  local status = C.ls_trace_call(t, program, arguments, n, hook, site(), out.v)
  binding.hold(held)
  check(status)
  return out
end

---Records a call of a Lua function: the run will pause there with the event HOST until `supply` passes the result.
---@param t ffi.cdata*
---@param invoke integer?
---@param ... any  the arguments of the function
---@return ffi.cdata* result, integer node
function traces.host(t, invoke, ...)
  local out, e = new_ref(), stream.take()
  local arguments, n = e.encode_sequence(TUPLE, ...)
  local status = C.ls_trace_host(t, invoke or -1, arguments, n, site(), out.v)
  stream.put_back(e)
  check(status)
  return out, out.v.aux
end

---Records a read of the gradient of a parameter; returns its node.
---@param t ffi.cdata*
---@param parameter ffi.cdata*
---@param invoke integer?
---@return ffi.cdata*
function traces.parameter_grad(t, parameter, invoke)
  local out = new_ref()
  check(C.ls_trace_grad_of(t, parameter.v, invoke or -1, site(), out.v))
  return out
end

---Returns, as a node, the token ids that an invoke generates.
---@param t ffi.cdata*
---@param invoke integer
---@return ffi.cdata*
function traces.text(t, invoke)
  local out = new_ref()
  check(C.ls_trace_text(t, invoke, site(), out.v))
  return out
end

---Records a stop: the run ends after the last point that the invoke has named so far.
---@param t ffi.cdata*
---@param invoke integer
function traces.stop(t, invoke) check(C.ls_trace_stop(t, invoke)) end

---Saves a value if it is a node of the trace.
---@param t ffi.cdata*
---@param v ffi.cdata*
function traces.save(t, v)
  if traces.has(t, v) then check(C.ls_trace_save(v.v)) end
end

local map_t = ffi.typeof "int32_t[?]"

---Copies the nodes of a stored edit to an invoke of the trace `t`. `edits` is the trace in which the stored edit was recorded.
---@param t ffi.cdata*
---@param edits ffi.cdata*
---@param invoke integer
---@param step integer  the step at which the copies act; -1: the steps that the nodes name
---@return ffi.cdata*  # the numbers of the copies, indexed by the numbers of the nodes
function traces.include(t, edits, invoke, step)
  local map = map_t(C.ls_trace_count(edits) + 1)
  check(C.ls_trace_include(t, edits, invoke, step, map))
  return map
end

---Returns the program that a node calls; nil where it calls none.
---@param t ffi.cdata*
---@param node integer
---@return ffi.cdata*
function traces.program_of(t, node) return C.ls_trace_program(t, node) end

-- ---- running ---------------------------------------------------------------------------------------------------------

---Runs a trace until a node has its value. With nil instead of a node, runs the trace as far as saves and edits need, and
---closes it.
---@param t ffi.cdata*
---@param node ffi.cdata*?
---@param act table<integer, fun(extra: any, pass: integer, step: integer, value: any, node: integer)>  handlers by event
---@param extra any  the first argument of the functions in `act`
---@param last integer?  a kind of event: this function returns after the first event of this kind
function traces.run(t, node, act, extra, last)
  local event = idle_event or event_t()
  idle_event = nil
  local demanded = node and node.v
  repeat
    if binding.modes.shared then binding.modes.set() end
    check(C.ls_trace_run(t, demanded, node and site() or 0, event))
    local kind = event.kind
    if kind ~= NONE then
      local pass, step, at = event.pass, event.step, event.node
      act[kind](extra, pass, step, binding.wrap(event.value), at)
    end
  until kind == NONE or kind == last
  idle_event = event
end

---Returns the pass in which an invoke runs.
---@param t ffi.cdata*
---@param invoke integer
---@return integer
function traces.pass(t, invoke) return C.ls_trace_pass(t, invoke) end

---Sets which rows of the pass belong to an invoke.
---@param t ffi.cdata*
---@param invoke integer
---@param first integer  the invoke's first row, from 0
---@param rows integer  how many rows the invoke has; 0 between two steps: its texts have ended, and no further step is its own
---@param pad integer?  how many columns of padding the pass puts in front of the invoke's own columns (0)
function traces.rows(t, invoke, first, rows, pad) check(C.ls_trace_rows(t, invoke, first, rows, pad or 0)) end

---Begins a pass of a trace, or the next step of a pass.
---@param t ffi.cdata*
---@param pass integer
---@param step integer
---@param program ffi.cdata*
---@param arguments ffi.cdata*
---@param n integer
---@param rows integer
function traces.begin(t, pass, step, program, arguments, n, rows)
  check(C.ls_trace_begin(t, pass, step, program, arguments, n, rows))
end

---Ends the running pass: no further step of it will run. After a generation, `text` has the token ids of all rows; otherwise
---`text` is nil.
---@param t ffi.cdata*
---@param text ffi.cdata*?
function traces.end_steps(t, text)
  local ids = text or new_ref()
  check(C.ls_trace_end(t, ids.v))
end

---Hands the result of a Lua function to a run that is paused at the event HOST and waits for this result.
---@param t ffi.cdata*
---@param node integer
---@param value any
function traces.supply(t, node, value)
  local e = stream.take()
  local status = C.ls_trace_supply(t, node, (e.encode_one(value)))
  binding.hold(value)
  stream.put_back(e)
  check(status)
end

-- ---- as text ---------------------------------------------------------------------------------------------------------

local function describe(t)
  local text = ffi.new "const char *[1]"
  check(C.ls_trace_describe(t, text))
  return ffi.string(text[0])
end

---Returns the recording of a trace as text, one node on each line.
---@param t ffi.cdata*
---@return string
function traces.describe(t) return binding.undisturbed(describe, t) end

local function json(t, numbers)
  local text = ffi.new "const char *[1]"
  check(C.ls_trace_json(t, numbers and 1 or 0, text))
  return ffi.string(text[0])
end

---Returns the recording of a trace as JSON: with the numbers of its tensors, for files, or with the points and the lines of
---the script, for display.
---@param t ffi.cdata*
---@param numbers boolean
---@return string
function traces.json(t, numbers) return binding.undisturbed(json, t, numbers) end

---Returns the JSON, for display, of the trace to which a node belongs, and the node's number in it.
---@param node ffi.cdata*
---@return string json, integer number
function traces.json_of_node(node) return traces.json(ffi.cast("ls_trace *", node.v.as.p), false), node.v.aux end

return traces
