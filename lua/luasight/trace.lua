--- Traces: a body is recorded as a graph beside the model's program, and the core runs both together.
---
---     model:trace(input, body)   the body runs once, at once:
---       model.layer1.output      a handle to a node; nothing of the model has run
---       h * 2                    another node
---       h.shape                  a demand: the model runs up to there and pauses
---     the body ends              what is saved or edited decides how far the model runs
local binding = require "luasight.ffi"
local record = require "luasight.record"

local C, ffi = binding.C, binding.ffi
local ref_t = binding.ref_t
local NODE = C.LS_NODE

local trace = {}

---@class luasight.Tracer  an open trace; `output`, `input` are those of the whole model
---@field _graph ffi.cdata*  the graph in the core
---@field _program ffi.cdata*
---@field _network table  the model it runs beside
local Tracer = {}

---Saves every proxy of this graph inside a value that a body returns.
local function save_returned(graph, v, seen)
  if ffi.istype(ref_t, v) then
    if v.v.kind == NODE and v.v.as.p == graph then binding.check(C.ls_trace_save(v.v), 4) end
  elseif type(v) == "table" and not seen[v] then
    seen[v] = true
    for _, inner in pairs(v) do save_returned(graph, inner, seen) end
  end
end

local function save_all(graph, ...)
  for i = 1, select("#", ...) do save_returned(graph, (select(i, ...)), {}) end
end

---Opens a trace of `network` for the arguments of one call of its module.
---@param network luasight.Network
---@param level integer
---@param ... any
---@return luasight.Tracer
function trace.open(network, level, ...)
  local program, stream, n = record.prepare(level + 1, network.module, ...)
  local out = ffi.new("ls_graph *[1]")
  binding.check(C.ls_trace_open(program, stream, n, out), level + 1)
  local tracer = setmetatable({ _graph = ffi.gc(out[0], C.ls_graph_release), _program = program, _network = network }, Tracer)
  return tracer
end

local function enter(tracer)
  local network = tracer._network
  tracer._outer = network.tracer
  network.tracer = tracer
end

local function leave(tracer)
  local network = tracer._network
  local t = network.tracer
  if t == tracer then
    network.tracer = tracer._outer
  else
    while t and t._outer ~= tracer do t = t._outer end
    if t then t._outer = tracer._outer end
  end
  tracer._outer = nil
end

---Runs to the end of need and closes; raises what went wrong at the script's line.
local function finish(tracer, level)
  leave(tracer)
  local graph = tracer._graph
  local status = C.ls_trace_finish(graph)
  if status ~= 0 then binding.check(status, level + 1) end
  binding.owe(tonumber(C.ls_trace_bytes(graph)))
end

---After the body: `ok` false carries what it raised.
local function ended(tracer, level, ok, ...)
  local graph = tracer._graph
  if not ok then
    leave(tracer)
    C.ls_trace_abandon(graph)
    error((...), 0)
  end
  if select("#", ...) > 0 then save_all(graph, ...) end
  finish(tracer, level + 2)
  C.ls_graph_release(ffi.gc(graph, nil))
  tracer._graph = nil
  return ...
end

---Records a body and runs it.
---@param tracer luasight.Tracer
---@param level integer
---@param body fun(tracer: luasight.Tracer): ...
---@return any ...
function trace.run(tracer, level, body)
  enter(tracer)
  return ended(tracer, level, pcall(body, tracer))
end

---Leaves a trace open between lines, for the shell.
---@param tracer luasight.Tracer
---@return luasight.Tracer
function trace.leave_open(tracer)
  enter(tracer)
  tracer._stands = true
  return tracer
end

-- ---- points ------------------------------------------------------------------------------------------------------------

---Reads a point: a proxy of the value there after the edits written so far.
---@param tracer luasight.Tracer
---@param point integer
---@param level integer
---@return ffi.cdata*
function trace.read(tracer, point, level)
  local out = binding.new_ref()
  local status = C.ls_trace_read(tracer._graph, point, binding.site(level + 1), out.v)
  if status ~= 0 then binding.check(status, level + 1) end
  return out
end

---Replaces the value at a point.
---@param tracer luasight.Tracer
---@param point integer
---@param value any
---@param level integer
function trace.write(tracer, point, value, level)
  if type(value) == "table" then
    binding.raise("argument", "a point takes a tensor or a tuple, not a list; give ls.tuple(...) for several values", level + 1)
  end
  local stream = binding.encode_one(value)
  local status = C.ls_trace_write(tracer._graph, point, stream, binding.site(level + 1))
  if status ~= 0 then binding.check(status, level + 1) end
end

-- ---- what a body can ask of its tracer ---------------------------------------------------------------------------------

local methods = {}

---A trace that was left open; one of a body ends with the body.
local function check_stands(tracer, what)
  if not tracer._graph then binding.raise("state", "this trace has already ended", 4) end
  if not tracer._stands then
    binding.raise("state", ("the trace of a body cannot be %s: it runs when the body ends"):format(what), 4,
      { hint = "model:tracer(input) opens a trace that stays open until its :run()" })
  end
end

---Runs and closes a trace that was left open.
function methods:run()
  check_stands(self, "run")
  finish(self, 3)
  C.ls_graph_release(ffi.gc(self._graph, nil))
  self._graph = nil
end

---Closes a trace that was left open without running it.
function methods:abandon()
  if not self._graph then return end
  check_stands(self, "abandoned")
  leave(self)
  C.ls_trace_abandon(self._graph)
  C.ls_graph_release(ffi.gc(self._graph, nil))
  self._graph = nil
end

local Graph = {}
Graph.__index = Graph
Graph.__tostring = function(g) return g.text end

---@return string  the graph as JSON text
function Graph:json() return self.text_json end

---The recorded graph: prints one node a line; `:json()` for sending.
---@return table  # prints itself; `json`
function methods:graph()
  if not self._graph then binding.raise("state", "this trace has already ended", 3) end
  return setmetatable({ text = ffi.string(C.ls_graph_text(self._graph)), text_json = ffi.string(C.ls_graph_json(self._graph)) },
    Graph)
end

function Tracer.__index(self, key)
  local method = methods[key]
  if method then return method end
  if type(key) == "string" and key:sub(1, 1) == "_" then return nil end -- a field of its own that is not set
  return self._network.root[key]
end

function Tracer.__newindex(self, key, value)
  if type(key) == "string" and key:sub(1, 1) == "_" then return rawset(self, key, value) end
  self._network.root[key] = value
end

Tracer.__tostring = function(self) return self._graph and "trace (open)" or "trace (ended)" end

return trace
