--- Traces: a body is recorded as a graph beside the model's program, and the core runs both together.
---
---     model:trace(input, body)   the body runs once, immediately:
---       model.layer1.output      a handle to a node; the model has not run yet
---       h * 2                    another node
---       h.shape                  a demand: the model runs up to this value and pauses
---     the body ends              the saves and edits decide how far the model runs
---
--- A trace is recorded in invokes, each an input with its body. This file has what all traces share: opening, running and
--- ending them, and reading and writing points. tracer.lua has the methods of a tracer, batch.lua joins inputs into one
--- batch.
local binding = require "luasight.ffi"
local extent = require "luasight.ffi.extent"
local nodes = require "luasight.ffi.nodes"
local record = require "luasight.nn.record"
local unrecorded = require "luasight.ffi.recording".outside -- what is recorded around a body has no part in it
local recorded = binding.recordings
local traces = require "luasight.ffi.traces"
local values = require "luasight.tensor.values"

local trace = {}

---@class luasight.Recording  a trace of the core with the data that Lua adds while the trace runs
---@field graph ffi.cdata*?  the trace of the core, nil once it is released
---@field invokes table<integer, luasight.Input>  the inputs by the number of their invoke
---@field functions table<integer, fun(...): any>  the functions of tracer:apply, by their node
---@field pass luasight.Pass?  the pass that runs
---@field failed any  the error that ended the recording
---@field is_session boolean?
---@field stands_in luasight.Tracer?  for a session: the tracer of the body in which the session was opened
---@field waits integer?  the node of the function of tracer:apply that is running

---@class luasight.Tracer: luasight.Model  an open trace; `output` and `input` are those of the whole model
---@field _recording luasight.Recording
---@field _network luasight.Network  the model beside which the trace runs
---@field _program ffi.cdata*?  the program of the invoke being recorded, in which points are looked up
---@field _invoke integer?      the number of the invoke being recorded; nil outside of all invokes
---@field _step integer         the current step of a generation
---@field _entry table?        the tracer's entry in the extent of open bodies

local recordings = setmetatable({}, { __mode = "v" }) -- the address of a trace of the core -> its luasight.Recording

binding.at_end[#binding.at_end + 1] = function()
  for _, recording in pairs(recordings) do recording.graph = nil end
end

-- `bodies` has the tracers whose bodies are being recorded or which were left open; `sessions` has the recordings of
-- ls.session. Both are extents, so that two coroutines that take turns can each have their own. A tracer that nothing
-- refers to is collected.
local bodies, sessions = extent(), extent()

---Returns the tracer of the innermost body that is being recorded beside the model of `network`, nil where there is none.
---@param network luasight.Network
---@return luasight.Tracer?
function trace.of(network) return bodies:current("_network", network) end

-- ---- opening -----------------------------------------------------------------------------------------------------------

---@return luasight.Recording
function trace.new_recording()
  local recording = { graph = traces.open(), invokes = {}, functions = {} }
  recordings[traces.address(recording.graph)] = recording
  return recording
end

---Returns the tracer of the innermost body that is being recorded, where traces that were left open do not count.
local function innermost_body() return bodies:current("_stands", nil) end

---Opens a trace, which has no invoke yet. A trace whose body is written in an open session, outside of other bodies, becomes
---a part of the session.
---@param network luasight.Network
---@param apart boolean?  true: the trace does not join a session, because it runs by itself, or never (a scan, a stored edit)
---@return luasight.Tracer
function trace.open(network, apart)
  local recording = not apart and sessions:current()
  if recording and not recording.waits and recording.stands_in == innermost_body() then
    if recording.failed then error(recording.failed, 0) end
    traces.new_pass(recording.graph)
  else
    recording = trace.new_recording()
  end
  -- all fields are set at once, so that the table is made with room for them, and a field without a value is found at once
  local tracer = { _recording = recording, _network = network, _step = 0, _program = nil, _invoke = nil, _entry = nil,
    _takes_invokes = false, _hooked = false, _moved = false, _meta_copies = false }
  return setmetatable(tracer, trace.Tracer)
end

---Adds an invoke to a trace; nodes that are recorded from now on belong to it.
---@param tracer luasight.Tracer
---@param kind integer  traces.WHOLE, .ROWS or .ALL
---@param ... any  the arguments of one call of the model
---@return integer
function trace.invoke(tracer, kind, ...)
  local recording = tracer._recording
  local module = tracer._network.module
  local program, stream, n = record.prepare(tracer._meta_copies and tracer._meta_copies[module] or module, ...)
  local index = traces.invoke(recording.graph, kind, program, stream, n)
  tracer._program, tracer._invoke = program, index
  if #tracer._network.edits > 0 and not recording.stored then
    require "luasight.trace.edits".include(tracer, index)
  end
  return index
end

-- ---- running -----------------------------------------------------------------------------------------------------------

local act = {
  [traces.PASS] = function(recording, pass) require "luasight.trace.batch".begin(recording, pass) end,
  [traces.STEP] = function(recording, _, _, result) require "luasight.trace.batch".take(recording.pass, result) end,
  [traces.HOST] = function(recording, _, _, arguments, node)
    if recording.waits then
      binding.raise("state", "a function given to tracer:apply uses a value that its own trace computes only later",
        { hint = "pass the value to the function: tracer:apply(f, value)" })
    end
    local list = {}
    for i = 0, #arguments - 1 do list[i + 1] = arguments[i] end
    recording.waits = node
    local result = record.one_result(recording.functions[node](unpack(list, 1, #arguments)))
    if type(result) == "table" then
      binding.raise("argument", "a function given to tracer:apply has to return tensors, numbers or ls.tuple(...), not a table")
    end
    if nodes.is_node(result) then result = values.resolve(result) end
    recording.waits = nil
    traces.supply(recording.graph, node, result)
  end,
}

---Runs the model until `node` has its value, or to the end where `node` is nil. At each event of the run, the function for this
---event in `act` is called. With `last`, a kind of event, the run returns early: after the first event of that kind.
local function run(recording, node, last) traces.run(recording.graph, node, act, recording, last) end

local function abandon_recording(recording, problem)
  local first = recording.failed
  if first and type(problem) == "table" and problem.code == "state" then problem = first end -- an earlier error is the cause
  recording.failed = first or problem
  if recording.graph then traces.abandon(recording.graph) end
  error(problem, 0)
end

local function run_or_abandon(recording, node, last)
  if recording.failed then error(recording.failed, 0) end
  local ok, problem = pcall(run, recording, node, last)
  if not ok then abandon_recording(recording, problem) end
end

---Returns the recording to which a node belongs, and the number of the invoke being recorded in it (-1 where there is
---none).
---@param node ffi.cdata*
---@return luasight.Recording, integer
function trace.recording_of(node)
  local recording = recordings[nodes.owner(node)]
  local tracer = bodies:current("_recording", recording)
  return recording, tracer and tracer._invoke or -1
end

---Runs the model until the value of a node exists.
---@param node ffi.cdata*
function values.hooks.demand(node)
  local recording = recordings[nodes.owner(node)]
  if not recording then
    binding.raise("state", "the trace of this value no longer exists, because nothing kept its tracer",
      { hint = "keep the tracer that model:tracer returns, and call its :run()" })
  end
  if recording.stored then
    binding.raise("state", "a stored edit is only recorded, so its values have no numbers to ask for",
      { hint = "use operators on the value, or ask for numbers in the body of a trace" })
  end
  recording.awaits_backward = nil
  run_or_abandon(recording, node)
end

---Runs the model until the value of `v` exists, if `v` is a node of a trace. A body that calls a dynamic module needs this for
---the arguments of the call, because a dynamic module is recorded with real values.
function record.demand(v)
  if nodes.is_open(v) then values.hooks.demand(v) end
end

-- token_index.lua sets these two functions when a script first uses x.t[i].
for _, name in ipairs { "token_index", "set_token_index" } do
  values.hooks[name] = function(...)
    require "luasight.trace.token_index"
    return values.hooks[name](...)
  end
end

-- ---- ending ------------------------------------------------------------------------------------------------------------

---Saves every proxy of the trace `graph` in `v`, a value that a body returned; `seen` has the tables already searched.
local function save_returned(graph, v, seen)
  if binding.is_handle(v) then
    traces.save(graph, v)
  elseif type(v) == "table" and not seen[v] then
    seen[v] = true
    for _, inner in pairs(v) do save_returned(graph, inner, seen) end
  end
end

---Saves the proxies of the trace `graph` in the values that a body returned; returns these values.
---@param graph ffi.cdata*
---@param ... any
---@return any ...
function trace.save_all(graph, ...)
  for i = 1, select("#", ...) do save_returned(graph, (select(i, ...)), {}) end
  return ...
end

---Returns the tracer of the innermost body that is being recorded, nil where there is none.
---@return luasight.Tracer?
function trace.innermost() return bodies:current() end

local function enter(tracer) tracer._entry = bodies:open(tracer) end

local function leave(tracer)
  bodies:close(tracer._entry)
  tracer._entry = nil
end

---Runs a recording as far as saves and edits need, and closes the core's trace: no node can be added to it any more.
---@param recording luasight.Recording
function trace.run_to_end(recording) run_or_abandon(recording, nil) end

---Runs a recording until an event of this kind has been handled.
---@param recording luasight.Recording
---@param kind integer  traces.PASS or .STEP
function trace.run_until(recording, kind) run_or_abandon(recording, nil, kind) end

---Runs a recording as far as saves and edits need, and releases the core's trace, in which the nodes were recorded.
---@param recording luasight.Recording
function trace.finish(recording)
  trace.run_to_end(recording)
  traces.release(recording.graph)
  recording.graph = nil
end

---Raises an error where a point of an added module was named and no call with { hook = true } followed.
---@param tracer luasight.Tracer
function trace.check_hooked(tracer)
  if tracer._hooked then require "luasight.trace.hooked".check(tracer) end
end

local function check_body(tracer)
  trace.check_hooked(tracer)
  if not tracer._takes_invokes or tracer._named_by then return end
  binding.raise("argument", "a trace needs an input, or a body that adds invokes with inputs",
    { hint = "call model:trace(input, body), or tracer:invoke(input, body) in the body" })
end

---Ends a trace with the results of `pcall(body)`: `ok`, then the values that the body returned or the error that it raised.
local function ended(tracer, ok, ...)
  local recording = tracer._recording
  leave(tracer)
  if not ok then abandon_recording(recording, (...)) end
  if tracer._takes_invokes or tracer._hooked then
    local is_whole, problem = pcall(check_body, tracer)
    if not is_whole then abandon_recording(recording, problem) end
  end
  if select("#", ...) > 0 and recording.graph then trace.save_all(recording.graph, ...) end
  if not recording.is_session then trace.finish(recording) end
  tracer._invoke = nil
  return ...
end

---Records a body and runs it; in a session the run waits for the session's end.
---@param tracer luasight.Tracer
---@param body fun(tracer: luasight.Tracer): ...
---@return any ...
function trace.run(tracer, body)
  enter(tracer)
  if recorded:is_empty() then return ended(tracer, pcall(body, tracer)) end
  return ended(tracer, pcall(unrecorded, body, tracer))
end

---Records a body that does not run by itself: a stored edit.
---@param tracer luasight.Tracer
---@param body fun(tracer: luasight.Tracer)
function trace.record_only(tracer, body)
  enter(tracer)
  local ok, problem = pcall(unrecorded, body, tracer)
  leave(tracer)
  tracer._invoke = nil
  if not ok then abandon_recording(tracer._recording, problem) end
end

---Leaves a trace open, so that several lines of the shell can add to it. The script has to hold the tracer: one that nothing
---holds is collected with its trace.
---@param tracer luasight.Tracer
---@return luasight.Tracer
function trace.leave_open(tracer)
  tracer._stands = true
  enter(tracer)
  return tracer
end

---Runs and closes a trace that was left open.
---@param tracer luasight.Tracer
function trace.close(tracer)
  leave(tracer)
  trace.finish(tracer._recording)
end

---Closes, without running it, a trace that was left open.
---@param tracer luasight.Tracer
function trace.abandon(tracer)
  local recording = tracer._recording
  if not recording.graph then return end
  leave(tracer)
  traces.abandon(recording.graph)
  recording.graph = nil
end

-- ---- sessions ----------------------------------------------------------------------------------------------------------

---Runs the traces of a body one after the other when the body ends; values pass from one trace to the next without being
---saved: ls.session(body). A session belongs to its coroutine: the traces of other coroutines, while this one has yielded,
---are not part of it.
---@param body fun(): ...
---@return any ...  # the values that the body returned, saved
function trace.session(body)
  if type(body) ~= "function" then
    binding.raise("argument", "ls.session takes a function, not a " .. type(body))
  end
  local recording = trace.new_recording()
  recording.is_session, recording.stands_in = true, innermost_body()
  local entry = sessions:open(recording)
  local function over(ok, ...)
    sessions:close(entry)
    if not ok then abandon_recording(recording, (...)) end
    trace.save_all(recording.graph, ...)
    trace.finish(recording)
    return ...
  end
  return over(pcall(body))
end

-- ---- points ------------------------------------------------------------------------------------------------------------

---Reads a point: returns a proxy of the value at the point, which includes the edits that were written before.
---@param tracer luasight.Tracer
---@param step integer
---@param point integer
---@return ffi.cdata*
function trace.read(tracer, step, point)
  return traces.read(tracer._recording.graph, tracer._invoke, step, point)
end

---Records an edit that replaces the value at a point.
---@param tracer luasight.Tracer
---@param step integer
---@param point integer
---@param value any
---@param skips boolean  true: the module does not run
function trace.write(tracer, step, point, value, skips)
  if type(value) == "table" then
    binding.raise("argument", "a point can be set to a tensor or a tuple, not to a list; use ls.tuple(...) for several values")
  end
  tracer._recording.sets = true
  return traces.write(tracer._recording.graph, tracer._invoke, step, point, value, skips)
end

return trace
