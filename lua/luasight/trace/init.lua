--- Traces: a body is recorded as a graph beside the model's program, and the core runs both together.
---
---     model:trace(input, body)   the body runs once, at once:
---       model.layer1.output      a handle to a node; nothing of the model has run
---       h * 2                    another node
---       h.shape                  a demand: the model runs up to there and pauses
---     the body ends              what is saved or edited decides how far the model runs
---
--- A trace is recorded in invokes, each an input with its body. Here is what all traces share: opening, running, ending, and
--- reading and writing points; tracer.lua has what a body can ask of its tracer, batch.lua how inputs become one batch.
local attached = require "luasight.trace.hooked"
local batch = require "luasight.trace.batch"
local binding = require "luasight.ffi"
local extent = require "luasight.ffi.extent"
local nodes = require "luasight.ffi.nodes"
local record = require "luasight.nn.record"
local traces = require "luasight.ffi.traces"
local values = require "luasight.tensor.values"

local trace = {}

---@class luasight.Recording  a graph of the core with what the script has to add while it runs
---@field graph ffi.cdata*?
---@field invokes table<integer, luasight.Input>  by the core's number
---@field functions table<integer, fun(...): any>  of tracer:apply, by node
---@field pass luasight.Pass?  the one under way
---@field failed any  what ended it
---@field is_session boolean?
---@field stands_in luasight.Tracer?  of a session: the body that it stands in

---@class luasight.Tracer: luasight.Model  an open trace; `output`, `input` are those of the whole model
---@field _recording luasight.Recording
---@field _network luasight.Network  the model it runs beside
---@field _program ffi.cdata*?  of the invoke being recorded, which names the points
---@field _invoke integer?      being recorded; nil outside of all
---@field _step integer         of a generation
---@field _entry table?        among the open bodies

local recordings = setmetatable({}, { __mode = "v" }) -- by the address of the graph

-- The tracers whose bodies are being recorded, or which were left open; one that nobody has any more is over. And the
-- recordings of ls.session. Both belong to coroutines, so that two that take turns can each have their own.
local bodies, sessions = extent(), extent()

---The tracer of a model whose body is being recorded, the innermost.
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

---Opens a trace without an input.
---@param network luasight.Network
---@param apart boolean?  it is no part of the session around it
---@return luasight.Tracer
function trace.open(network, apart)
  local recording = not apart and sessions:current()
  if recording and recording.stands_in == bodies:current() then
    traces.fence(recording.graph)
  else
    recording = trace.new_recording()
  end
  -- with room for all of these at once
  local tracer = { _recording = recording, _network = network, _step = 0, _program = nil, _invoke = nil, _entry = nil }
  return setmetatable(tracer, trace.Tracer)
end

---Adds an invoke to a trace; what is recorded next belongs to it.
---@param tracer luasight.Tracer
---@param kind integer  traces.WHOLE, .ROWS or .ALL
---@param ... any  the arguments of one call of the model
---@return integer
function trace.invoke(tracer, kind, ...)
  local recording = tracer._recording
  local module = tracer._network.module
  local program, stream, n = record.prepare(tracer._twins and tracer._twins[module] or module, ...)
  local index = traces.invoke(recording.graph, kind, program, stream, n)
  tracer._program, tracer._invoke = program, index
  if #tracer._network.edits > 0 and not recording.stored then
    require "luasight.trace.edits".include(tracer, index)
  end
  return index
end

-- ---- running -----------------------------------------------------------------------------------------------------------

local act = {
  [traces.PASS] = function(recording, pass) batch.begin(recording, pass) end,
  [traces.STEP] = function(recording, _, _, result) batch.take(recording.pass, result) end,
  [traces.HOST] = function(recording, _, _, arguments, node)
    local list = {}
    for i = 0, #arguments - 1 do list[i + 1] = arguments[i] end
    local result = record.one_result(recording.functions[node](unpack(list, 1, #arguments)))
    if type(result) == "table" then
      binding.raise("argument", "a function given to apply returns tensors, numbers or ls.tuple(...), not a table")
    end
    traces.supply(recording.graph, node, result)
  end,
}

---Runs to what `node` needs, or (nil) to the end; acts where the core asks for it, and returns early behind an act of the
---kind `last`.
local function run(recording, node, last) traces.run(recording.graph, node, act, recording, last) end

local function give_up(recording, problem)
  local first = recording.failed
  if first and type(problem) == "table" and problem.code == "state" then problem = first end -- of a trace that had failed
  recording.failed = first or problem
  if recording.graph then traces.abandon(recording.graph) end
  error(problem, 0)
end

local function run_or_give_up(recording, node, last)
  if recording.failed then error(recording.failed, 0) end
  local ok, problem = pcall(run, recording, node, last)
  if not ok then give_up(recording, problem) end
end

---The recording that a node belongs to, and the invoke whose body is being recorded (-1: none).
---@param node ffi.cdata*
---@return luasight.Recording, integer
function trace.recording_of(node)
  local recording, tracer = recordings[nodes.owner(node)], bodies:current()
  return recording, tracer and tracer._recording == recording and tracer._invoke or -1
end

---The model runs up to where a node's value exists.
---@param node ffi.cdata*
function values.hooks.demand(node)
  local recording = recordings[nodes.owner(node)]
  if not recording then
    binding.raise("state", "the trace of this value was left open and is gone, with its model",
      { hint = "keep what model:tracer gives, and call its :run()" })
  end
  if recording.stored then
    binding.raise("state", "a stored edit is only recorded, so it has no values to ask for",
      { hint = "compute with it, or do this in the body of a trace" })
  end
  run_or_give_up(recording, node)
end

---Of a dynamic module called in a body: it is recorded with the values of its arguments.
function record.demand(v)
  if nodes.is_open(v) then values.hooks.demand(v) end
end

-- ---- ending ------------------------------------------------------------------------------------------------------------

---Saves every proxy of this graph inside a value that a body returns.
local function save_returned(graph, v, seen)
  if binding.is_handle(v) then
    traces.save(graph, v)
  elseif type(v) == "table" and not seen[v] then
    seen[v] = true
    for _, inner in pairs(v) do save_returned(graph, inner, seen) end
  end
end

---Saves what a body returned; gives it back.
---@param graph ffi.cdata*
---@param ... any
---@return any ...
function trace.save_all(graph, ...)
  for i = 1, select("#", ...) do save_returned(graph, (select(i, ...)), {}) end
  return ...
end

---The tracer of the innermost body.
---@return luasight.Tracer?
function trace.innermost() return bodies:current() end

local function enter(tracer) tracer._entry = bodies:open(tracer) end

local function leave(tracer)
  bodies:close(tracer._entry)
  tracer._entry = nil
end

---Runs a recording to the end of need, which closes it.
---@param recording luasight.Recording
function trace.run_to_end(recording) run_or_give_up(recording, nil) end

---Runs a recording until the script has acted on an event of this kind.
---@param recording luasight.Recording
---@param kind integer  traces.PASS or .STEP
function trace.run_until(recording, kind) run_or_give_up(recording, nil, kind) end

---Runs a recording to the end of need and lets it go.
---@param recording luasight.Recording
function trace.finish(recording)
  trace.run_to_end(recording)
  traces.release(recording.graph)
  recording.graph = nil
end

local function check_body(tracer)
  attached.check(tracer)
  if not tracer._takes_invokes or tracer._named_by then return end
  binding.raise("argument", "a trace needs an input, or invokes that have one",
    { hint = "model:trace(input, body), or tracer:invoke(input, body) in the body" })
end

---After the body: `ok` false carries what it raised.
local function ended(tracer, ok, ...)
  local recording = tracer._recording
  leave(tracer)
  if not ok then give_up(recording, (...)) end
  if tracer._takes_invokes or tracer._attached then
    local is_whole, problem = pcall(check_body, tracer)
    if not is_whole then give_up(recording, problem) end
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
  return ended(tracer, pcall(body, tracer))
end

---Records a body that never runs itself: a stored edit.
---@param tracer luasight.Tracer
---@param body fun(tracer: luasight.Tracer)
function trace.record_only(tracer, body)
  enter(tracer)
  local ok, problem = pcall(body, tracer)
  leave(tracer)
  tracer._invoke = nil
  if not ok then give_up(tracer._recording, problem) end
end

---Leaves a trace open between lines, for the shell.
---@param tracer luasight.Tracer
---@return luasight.Tracer
function trace.leave_open(tracer)
  enter(tracer)
  tracer._stands = true
  local network = tracer._network
  network.standing = network.standing or {}
  network.standing[tracer] = true
  return tracer
end

---Runs and closes a trace that was left open.
---@param tracer luasight.Tracer
function trace.close(tracer)
  leave(tracer)
  tracer._network.standing[tracer] = nil
  trace.finish(tracer._recording)
end

---Closes a trace that was left open without running it.
---@param tracer luasight.Tracer
function trace.abandon(tracer)
  local recording = tracer._recording
  if not recording.graph then return end
  leave(tracer)
  tracer._network.standing[tracer] = nil
  traces.abandon(recording.graph)
  recording.graph = nil
end

-- ---- sessions ----------------------------------------------------------------------------------------------------------

---ls.session(body): the traces of the body run one after the other when it ends, and values pass from one to the next
---without being saved. A session is of its coroutine: what others trace while that has yielded is no part of it.
---@param body fun(): ...
---@return any ...  # what the body returns, saved
function trace.session(body)
  if type(body) ~= "function" then
    binding.raise("argument", "ls.session takes a function, not a " .. type(body))
  end
  local recording = trace.new_recording()
  recording.is_session, recording.stands_in = true, bodies:current()
  local entry = sessions:open(recording)
  local function over(ok, ...)
    sessions:close(entry)
    if not ok then give_up(recording, (...)) end
    trace.save_all(recording.graph, ...)
    trace.finish(recording)
    return ...
  end
  return over(pcall(body))
end

-- ---- points ------------------------------------------------------------------------------------------------------------

---Reads a point: a proxy of the value there after the edits written so far.
---@param tracer luasight.Tracer
---@param step integer
---@param point integer
---@return ffi.cdata*
function trace.read(tracer, step, point)
  return traces.read(tracer._recording.graph, tracer._invoke, step, point)
end

---Replaces the value at a point.
---@param tracer luasight.Tracer
---@param step integer
---@param point integer
---@param value any
---@param skips boolean  and the module does not run
function trace.write(tracer, step, point, value, skips)
  if type(value) == "table" then
    binding.raise("argument", "a point takes a tensor or a tuple, not a list; give ls.tuple(...) for several values")
  end
  traces.write(tracer._recording.graph, tracer._invoke, step, point, value, skips)
end

return trace
