--- What a body can ask of its tracer: invokes, steps, stops, functions of its own, caches, the recorded graph.
local attached = require "luasight.trace.hooked"
local batch = require "luasight.trace.batch"
local binding = require "luasight.ffi"
local colon = require "luasight.base.colon"
local inputs = require "luasight.trace.inputs"
local steps = require "luasight.trace.steps"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"

local methods = colon("tracer", function(v) return type(v) == "table" and v._recording ~= nil end)

---The recording of an open trace.
local function open(tracer)
  local recording = tracer._recording
  if not recording.graph then binding.raise("state", "this trace has already ended") end
  return recording
end

-- ---- invokes -----------------------------------------------------------------------------------------------------------

---A body begins at the step of the outer body and leaves that as it was.
local function run_body(tracer, body)
  local step, moved = tracer._step, tracer._moved
  tracer._moved, tracer._attached = nil, nil
  local function over(ok, ...)
    if ok then attached.check(tracer) end
    tracer._invoke, tracer._step, tracer._moved = nil, step, moved
    if not ok then error((...), 0) end
    return trace.save_all(tracer._recording.graph, ...)
  end
  return over(pcall(body, tracer))
end

local function check_invoke(tracer, call)
  if not tracer._takes_invokes then
    binding.raise("state", "this trace has an input, so it takes no invokes",
      { hint = "model:trace(function(tracer) tracer:invoke(input, body) end)" })
  end
  if tracer._invoke then binding.raise("state", "an invoke cannot stand inside another") end
  if not call.body then binding.raise("argument", "an invoke needs a body: tracer:invoke(input, function() ... end)") end
end

---Adds an input with its own body; it sees and edits its own rows. Without an input it sees all rows of a pass.
---@param ... any  input?, options?, body
---@return any ...  # what the body returns, saved
---@overload fun(self: luasight.Tracer, input: any, body: luasight.Body): ...
---@overload fun(self: luasight.Tracer, input: any, options: table, body: luasight.Body): ...
---@overload fun(self: luasight.Tracer, body: luasight.Body): ...
function methods:invoke(...)
  local recording, network = open(self), self._network
  local call = inputs.sort(network, "invoke", network.invoke_options, ...)
  check_invoke(self, call)
  if call.input == nil then
    local program = self._named_by
    if not program then
      binding.raise("argument", "an invoke without input sees the rows of others: give one an input first")
    end
    self._program, self._invoke = program, traces.invoke(recording.graph, traces.ALL, program, nil, 0)
  else
    self:_add_input(traces.ROWS, call)
  end
  return run_body(self, call.body)
end

---Adds the invoke of an input, so that a pass can make one batch of several.
---@param kind integer
---@param call luasight.Call
---@return luasight.Input
function methods:_add_input(kind, call)
  local network = self._network
  local function add(...)
    local input = { network = network, kind = kind, args = { n = select("#", ...), ... }, settings = self._settings }
    input.index = trace.invoke(self, kind, ...)
    input.rows = batch.rows(input.args)
    input.lengths, input.width = network.lengths(input.args)
    self._recording.invokes[input.index] = input
    self._first = self._first or input
    self._named_by = self._named_by or self._program
    return input
  end
  return add(network.prepare(call.input, call.options))
end

-- ---- more of a trace ---------------------------------------------------------------------------------------------------

local function invoke_of(tracer)
  if tracer._invoke then return tracer._invoke end
  binding.raise("state", "this belongs into the body of an invoke")
end

---Nothing of the model behind the last point named above runs; what lies beyond stays unset.
function methods:stop() traces.stop(open(self).graph, invoke_of(self)) end

---Calls a Lua function with real values while the model runs: `local y = tracer:apply(function(t) ... end, h)`.
---@param f fun(...): any
---@param ... any  proxies, tensors, numbers
---@return ffi.cdata*  # a proxy of what it returns
function methods:apply(f, ...)
  local recording = open(self)
  if type(f) ~= "function" then binding.raise("argument", "apply takes a function first, not a " .. type(f)) end
  local result, node = traces.host(recording.graph, self._invoke, ...)
  recording.functions[node] = f
  return result
end

---Keeps the outputs of many modules: tracer:cache { modules = { "transformer.h.*" }, inputs = false, device = "cpu" }.
---@param options? { modules: string[]?, inputs: boolean?, device: string? }  without modules: all that run
---@return luasight.Cache  # to be read after the trace
function methods:cache(options)
  open(self)
  invoke_of(self)
  return require "luasight.model.cache".new(self, self._network.locate, options)
end

-- ---- steps of a generation ---------------------------------------------------------------------------------------------

---Moves on to the next step; `n` steps where given.
---@param n integer?
function methods:next(n) steps.next(self, n) end

---Makes a step the current one.
---@param k integer
function methods:step(k) steps.set(self, k) end

---for step in tracer:iter(0, 20) do: 20 excluded; iter(5): from 5 on; iter{ 0, 5, 7 }. The body is recorded for each step.
---@param from integer|integer[]
---@param to integer?
---@return fun(): integer?
function methods:iter(from, to) return steps.iter(self, from, to) end

---for step in tracer:all() do: every step.
---@return fun(): integer?
function methods:all() return steps.iter(self, 0) end

-- ---- traces that stay open ---------------------------------------------------------------------------------------------

local function check_stands(tracer, what)
  open(tracer)
  if not tracer._stands then
    binding.raise("state", ("the trace of a body cannot be %s: it runs when the body ends"):format(what),
      { hint = "model:tracer(input) opens a trace that stays open until its :run()" })
  end
end

---Runs and closes a trace that was left open.
function methods:run()
  check_stands(self, "run")
  trace.close(self)
end

---Closes a trace that was left open without running it.
function methods:abandon()
  if not self._recording.graph then return end
  check_stands(self, "abandoned")
  trace.abandon(self)
end

-- ---- the recorded graph ------------------------------------------------------------------------------------------------

---@class luasight.GraphText  prints one node a line
local Graph = {}
Graph.__index = Graph
Graph.__tostring = function(g) return g.text end

---@return string  the graph as JSON text
function Graph:json() return self.text_json end

---@return string  the graph in the language of graphviz; ls.plot.graph(g) draws it
function Graph:dot() return require "luasight.view.plot.graph".new(self):dot() end

---The recorded graph: prints one node a line; `:json()` for sending, `:dot()` for pictures.
---@return luasight.GraphText
function methods:graph()
  local graph = open(self).graph
  return setmetatable({ text = traces.describe(graph), text_json = traces.json(graph, true),
    places = traces.json(graph, false) }, Graph)
end

---@return string  the recorded graph in the language of graphviz
function methods:dot() return self:graph():dot() end

-- ---- the tracer itself -------------------------------------------------------------------------------------------------

local Tracer = {}

local function steps_that_came(tracer)
  if tracer._first then return tracer._first.steps end
  return not tracer._recording.graph and 1 or nil
end

function Tracer.__index(self, key)
  local method = methods[key]
  if method then return method end
  if type(key) == "string" and key:sub(1, 1) == "_" then return nil end -- a field of its own that is not set
  if key == "steps" then return steps_that_came(self) end
  return self._network.root[key]
end

function Tracer.__newindex(self, key, value)
  if type(key) == "string" and key:sub(1, 1) == "_" then return rawset(self, key, value) end
  self._network.root[key] = value
end

Tracer.__tostring = function(self) return self._recording.graph and "trace (open)" or "trace (ended)" end

trace.Tracer = Tracer

return methods
