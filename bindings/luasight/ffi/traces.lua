--- Traces of the core: opened, recorded in invokes, run, and let go. The collector lets a trace go where nobody does.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"
local nodes = require "luasight.ffi.nodes"

local C, ffi = binding.C, binding.ffi
local check, new_ref, site, stream = binding.check, binding.new_ref, binding.site, binding.stream
local NONE, TUPLE, NODE = constants.LS_EVENT_NONE, constants.LS_TUPLE, constants.LS_NODE

local traces = {
  ---What a trace asks of the script while it runs; and what an invoke is.
  PASS = constants.LS_EVENT_PASS, STEP = constants.LS_EVENT_STEP, HOST = constants.LS_EVENT_HOST,
  WHOLE = constants.LS_INVOKE_WHOLE, ROWS = constants.LS_INVOKE_ROWS, ALL = constants.LS_INVOKE_ALL,
}

-- Where results arrive: taken for one call, so that a finalizer that opens a trace meanwhile has its own.
local trace_t, index_t, event_t = ffi.typeof "ls_trace *[1]", ffi.typeof "int32_t[1]", ffi.typeof "ls_event"
local trace_out, index_out, idle_event = trace_t(), index_t(), event_t()

-- ---- opening and ending ----------------------------------------------------------------------------------------------

---@return ffi.cdata*
function traces.open()
  local out = trace_out or trace_t()
  trace_out = nil
  check(C.ls_trace_open(out))
  local t = ffi.gc(out[0], C.ls_trace_release)
  trace_out = out
  return t
end

---The address of a trace, as a key of a table: `nodes.owner` of its nodes.
---@param t ffi.cdata*
---@return number
function traces.address(t) return tonumber(ffi.cast("uintptr_t", t)) end

---Closes a trace without running it.
---@param t ffi.cdata*
function traces.abandon(t) C.ls_trace_abandon(t) end

---Lets a trace that has run go; what it keeps counts as new from now on.
---@param t ffi.cdata*
function traces.release(t)
  binding.owe(tonumber(C.ls_trace_bytes(t)))
  C.ls_trace_release(ffi.gc(t, nil))
end

---Whether a trace is still being recorded: one that failed is not, though nobody let go of it.
---@param t ffi.cdata*
---@return boolean
function traces.is_open(t)
  local node = ffi.new "ls_value"
  node.kind, node.as.p = NODE, t
  return C.ls_node_is_open(node) == nodes.TRACE
end

---Whether a node is one of a trace.
---@param t ffi.cdata*
---@param node ffi.cdata*
---@return boolean
function traces.has(t, node) return node._kind == NODE and node.v.as.p == t end

-- ---- recording -------------------------------------------------------------------------------------------------------

---Adds an invoke: what is recorded next belongs to it.
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

---What follows joins no pass of what is recorded so far.
---@param t ffi.cdata*
function traces.fence(t) C.ls_trace_fence(t) end

---Tensors named in the trace count by shape and dtype only.
---@param t ffi.cdata*
function traces.scan(t) check(C.ls_trace_scan(t)) end

---The passes of the invokes that follow have up to so many steps.
---@param t ffi.cdata*
---@param steps integer
function traces.generate(t, steps) check(C.ls_trace_generate(t, steps)) end

---Reads a point.
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

---Replaces the value at a point.
---@param t ffi.cdata*
---@param invoke integer
---@param step integer
---@param point integer
---@param value any
---@param skips boolean  and the module does not run
function traces.write(t, invoke, step, point, value, skips)
  local e = stream.take()
  local status = C.ls_trace_write(t, invoke, step, point, (e.encode_one(value)), skips and 1 or 0, site())
  stream.give(e)
  if status ~= 0 then check(status) end
end

---Adds a call of a program to the trace of a node.
---@param node ffi.cdata*
---@param program ffi.cdata*
---@param arguments ffi.cdata*
---@param n integer
---@param _held any  what holds the handles in the stream until the call
---@return ffi.cdata*
function traces.call(node, program, arguments, n, _held)
  local out = new_ref()
  check(C.ls_trace_call(ffi.cast("ls_trace *", node.v.as.p), program, arguments, n, site(), out.v))
  return out
end

---Adds a call of a function of the script, which the run will ask for.
---@param t ffi.cdata*
---@param invoke integer?
---@param ... any  arguments
---@return ffi.cdata* result, integer node
function traces.host(t, invoke, ...)
  local out, e = new_ref(), stream.take()
  local arguments, n = e.encode_sequence(TUPLE, ...)
  local status = C.ls_trace_host(t, invoke or -1, arguments, n, site(), out.v)
  stream.give(e)
  check(status)
  return out, out.v.aux
end

---The gradient of a parameter, as a node.
---@param t ffi.cdata*
---@param parameter ffi.cdata*
---@param invoke integer?
---@return ffi.cdata*
function traces.parameter_grad(t, parameter, invoke)
  local out = new_ref()
  check(C.ls_trace_grad_of(t, parameter.v, invoke or -1, site(), out.v))
  return out
end

---The ids that the generation of an invoke gives, as a node.
---@param t ffi.cdata*
---@param invoke integer
---@return ffi.cdata*
function traces.text(t, invoke)
  local out = new_ref()
  check(C.ls_trace_text(t, invoke, site(), out.v))
  return out
end

---Nothing runs behind the last point that the invoke names so far.
---@param t ffi.cdata*
---@param invoke integer
function traces.stop(t, invoke) check(C.ls_trace_stop(t, invoke)) end

---Saves a value where it is a node of a trace.
---@param t ffi.cdata*
---@param v ffi.cdata*
function traces.save(t, v)
  if traces.has(t, v) then check(C.ls_trace_save(v.v)) end
end

local map_t = ffi.typeof "int32_t[?]"

---Copies the nodes of a trace that never runs to an invoke of another.
---@param t ffi.cdata*
---@param edits ffi.cdata*
---@param invoke integer
---@param step integer  -1: those that the nodes name
---@return ffi.cdata*  # the copies' numbers, by those of the nodes
function traces.include(t, edits, invoke, step)
  local map = map_t(C.ls_trace_count(edits) + 1)
  check(C.ls_trace_include(t, edits, invoke, step, map))
  return map
end

---The program that a node calls; nil where it calls none.
---@param t ffi.cdata*
---@param node integer
---@return ffi.cdata*
function traces.program_of(t, node) return C.ls_trace_program(t, node) end

-- ---- running ---------------------------------------------------------------------------------------------------------

---Runs to what a node needs, or (nil) to the end of need, which closes the trace.
---@param t ffi.cdata*
---@param node ffi.cdata*?
---@param act table<integer, fun(extra: any, pass: integer, step: integer, value: any, node: integer)>  by PASS, STEP, HOST
---@param extra any  for those
---@param last integer?  a kind of event: returns behind the first one
function traces.run(t, node, act, extra, last)
  local event = idle_event or event_t()
  idle_event = nil
  local demanded = node and node.v
  repeat
    check(C.ls_trace_run(t, demanded, node and site() or 0, event))
    local kind = event.kind
    if kind ~= NONE then
      local pass, step, at = event.pass, event.step, event.node
      act[kind](extra, pass, step, binding.wrap(event.value), at)
    end
  until kind == NONE or kind == last
  idle_event = event
end

---The pass in which an invoke runs.
---@param t ffi.cdata*
---@param invoke integer
---@return integer
function traces.pass(t, invoke) return C.ls_trace_pass(t, invoke) end

---Which rows of the pass are those of an invoke.
---@param t ffi.cdata*
---@param invoke integer
---@param first integer
---@param rows integer
---@param pad integer?  columns that the pass puts before its own
function traces.rows(t, invoke, first, rows, pad) check(C.ls_trace_rows(t, invoke, first, rows, pad or 0)) end

---Begins a pass, or its next step.
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

---After the last step: the ids of all rows, or nil.
---@param t ffi.cdata*
---@param text ffi.cdata*?
function traces.end_steps(t, text)
  local ids = text or new_ref()
  check(C.ls_trace_end(t, ids.v))
end

---What a function of the script gave.
---@param t ffi.cdata*
---@param node integer
---@param value any
function traces.supply(t, node, value)
  local e = stream.take()
  local status = C.ls_trace_supply(t, node, (e.encode_one(value)))
  stream.give(e)
  check(status)
end

-- ---- as text ---------------------------------------------------------------------------------------------------------

---The recording, one node a line.
---@param t ffi.cdata*
---@return string
function traces.describe(t)
  local text = ffi.new "const char *[1]"
  check(C.ls_trace_describe(t, text))
  return ffi.string(text[0])
end

---The recording as JSON: with the numbers of tensors, for storing and sending, or with places and lines, for looking.
---@param t ffi.cdata*
---@param numbers boolean
---@return string
function traces.json(t, numbers)
  local text = ffi.new "const char *[1]"
  check(C.ls_trace_json(t, numbers and 1 or 0, text))
  return ffi.string(text[0])
end

---The JSON of the trace that a node is of, for looking, and the number of the node in it.
---@param node ffi.cdata*
---@return string json, integer number
function traces.json_of_node(node) return traces.json(ffi.cast("ls_trace *", node.v.as.p), false), node.v.aux end

return traces
