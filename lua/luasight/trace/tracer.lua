--- The methods of a tracer: invokes, steps, stops, Lua functions, caches, and the recorded graph.
local binding = require "luasight.ffi"
local colon = require "luasight.base.colon"
local in_mode = require "luasight.ffi.recording".in_mode
local inputs = require "luasight.trace.inputs"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"

local methods = colon("tracer", function(v) return type(v) == "table" and v._recording ~= nil end)

---Returns the handle of the model as seen from this trace, whichever other traces are open.
local function view(tracer)
  local known = rawget(tracer, "_view")
  if not known then
    known = tracer._network.root_of(tracer)
    rawset(tracer, "_view", known)
  end
  return known
end

---Returns the recording of a trace; raises an error where the trace has ended.
local function open(tracer)
  local recording = tracer._recording
  if not recording.graph then binding.raise("state", "this trace has already ended") end
  return recording
end

-- ---- invokes -----------------------------------------------------------------------------------------------------------

---Runs the body of an invoke. This body begins at the current step of the outer body, whose step is restored afterwards.
local function run_body(tracer, body)
  local step, moved = tracer._step, tracer._moved
  tracer._moved = nil
  local function over(ok, ...)
    if ok then trace.check_hooked(tracer) end
    tracer._invoke, tracer._step, tracer._moved = nil, step, moved
    if not ok then error((...), 0) end
    return trace.save_all(tracer._recording.graph, ...)
  end
  return over(pcall(body, tracer))
end

local function check_invoke(tracer, call)
  if not tracer._takes_invokes then
    binding.raise("state", "this trace has an input, so it takes no invokes",
      { hint = "open it without one: model:trace(function(tracer) tracer:invoke(input, body) end)" })
  end
  if tracer._invoke then binding.raise("state", "an invoke cannot be inside the body of another invoke") end
  if not call.body then binding.raise("argument", "an invoke needs a body: tracer:invoke(input, function() ... end)") end
end

---Adds an input with its own body, which reads and edits the rows of this input. Without an input, the body reads and edits
---all rows of a pass.
---@param ... any  input?, options?, body
---@return any ...  # the values that the body returned, saved
---@overload fun(self: luasight.Tracer, input: any, body: luasight.Body): ...
---@overload fun(self: luasight.Tracer, input: any, options: table, body: luasight.Body): ...
---@overload fun(self: luasight.Tracer, body: luasight.Body): ...
function methods:invoke(...)
  local recording, network = open(self), self._network
  local call = inputs.sort(network, "invoke", network.invoke_options, ...)
  check_invoke(self, call)
  self._hooked = nil
  if call.input == nil then
    local program = self._named_by
    if not program then
      binding.raise("argument", "an invoke without an input reads the rows of other invokes: add an invoke with an input first")
    end
    self._program, self._invoke = program, traces.invoke(recording.graph, traces.ALL, program, nil, 0)
  else
    self:_add_input(traces.ROWS, call)
  end
  return run_body(self, call.body)
end

---Adds an input as an invoke, so that a pass can join several inputs into one batch.
---@param kind integer
---@param call luasight.Call
---@return luasight.Input
function methods:_add_input(kind, call)
  local network = self._network
  local function add(...)
    local input = { network = network, kind = kind, args = { n = select("#", ...), ... }, settings = self._settings }
    input.index = trace.invoke(self, kind, ...)
    input.rows = require "luasight.trace.batch".rows(input.args)
    self._recording.invokes[input.index] = input
    self._first = self._first or input
    self._named_by = self._named_by or self._program
    return input
  end
  return add(network.prepare(call.input, call.options))
end

-- ---- other methods of a trace ------------------------------------------------------------------------------------------

local function invoke_of(tracer)
  if tracer._invoke then return tracer._invoke end
  binding.raise("state", "this method of a tracer can only be called in the body of an invoke")
end

---Stops the model after the last point that the script has named so far; values of later points stay unset.
function methods:stop()
  local recording = open(self)
  if recording.stored then
    binding.raise("state", "a stored edit cannot stop the model", { hint = "call tracer:stop() in the body of the trace" })
  end
  traces.stop(recording.graph, invoke_of(self))
end

---Calls a Lua function with real values while the model runs: `local y = tracer:apply(function(t) ... end, h)`.
---@param f fun(...): any
---@param ... any  proxies, tensors, numbers
---@return ffi.cdata*  # a proxy of the result of f
function methods:apply(f, ...)
  local recording = open(self)
  if type(f) ~= "function" then binding.raise("argument", "tracer:apply takes a function first, not a " .. type(f)) end
  local result, node = traces.host(recording.graph, self._invoke, ...)
  recording.functions[node] = in_mode(f)
  return result
end

---Saves the outputs of many modules: tracer:cache { modules = { "transformer.h.*" }, inputs = false, device = "cpu" }.
---@param options? { modules: string[]?, inputs: boolean?, device: string? }  modules: by default all that run
---@return luasight.Cache  # it can be read after the trace
function methods:cache(options)
  open(self)
  invoke_of(self)
  return require "luasight.model.cache".new(self, view(self), options)
end

-- ---- steps of a generation ---------------------------------------------------------------------------------------------

---Makes the next step of a generation the current step, or the step `n` steps later.
---@param n integer?
function methods:next(n) require "luasight.trace.steps".next(self, n) end

---Makes step `k` of a generation the current step, to which the points in the body belong.
---@param k integer
function methods:step(k) require "luasight.trace.steps".set(self, k) end

---Iterates over steps of a generation; the body of the loop is recorded for each step: for step in tracer:iter(0, 20) do has
---the steps 0 to 19; tracer:iter(5) has all steps from 5 on; tracer:iter{ 0, 5, 7 } has the listed steps.
---@param from integer|integer[]
---@param to integer?
---@return fun(): integer?
function methods:iter(from, to) return require "luasight.trace.steps".iter(self, from, to) end

---Iterates over all steps of a generation: for step in tracer:all() do.
---@return fun(): integer?
function methods:all() return require "luasight.trace.steps".iter(self, 0) end

-- ---- traces that stay open ---------------------------------------------------------------------------------------------

local function check_stands(tracer, what)
  open(tracer)
  if not tracer._stands then
    binding.raise("state", ("a trace with a body cannot be %s here: it runs when its body ends"):format(what),
      { hint = "model:tracer(input) opens a trace that stays open until its :run()" })
  end
end

---Runs and closes a trace that was left open.
function methods:run()
  check_stands(self, "run")
  trace.close(self)
end

---Closes, without running it, a trace that was left open.
function methods:abandon()
  if not self._recording.graph then return end
  check_stands(self, "abandoned")
  trace.abandon(self)
end

-- ---- the recorded graph ------------------------------------------------------------------------------------------------

---@class luasight.GraphText  a recorded graph as text, with one line for each node
local Graph = {}
Graph.__index = Graph
Graph.__tostring = function(g) return g.text end

---Returns the graph as JSON.
---@return string
function Graph:json() return self.text_json end

---Returns the graph in the language of graphviz; ls.plot.graph(g) draws it.
---@return string
function Graph:dot() return require "luasight.view.plot.graph".new(self):dot() end

---Returns the recorded graph, which prints one line for each node; `:json()` returns it as data, `:dot()` as a drawing.
---@return luasight.GraphText
function methods:graph()
  local graph = open(self).graph
  return setmetatable({ text = traces.describe(graph), text_json = traces.json(graph, true),
    places = traces.json(graph, false) }, Graph)
end

---Returns the recorded graph in the language of graphviz.
---@return string
function methods:dot() return self:graph():dot() end

-- ---- the tracer itself -------------------------------------------------------------------------------------------------

local Tracer = {}
local byte, UNDERSCORE = string.byte, ("_"):byte()

-- Of a generation of several inputs, the steps of the longest.
local function steps_that_came(tracer)
  local own = tracer._first
  if not own then return not tracer._recording.graph and 1 or nil end
  local most = own.steps
  for _, input in pairs(tracer._recording.invokes) do
    if input.settings == own.settings and (input.steps or 0) > (most or 0) then most = input.steps end
  end
  return most
end

function Tracer.__index(self, key)
  local method = methods[key]
  if method then return method end
  if type(key) == "string" and byte(key) == UNDERSCORE then return nil end -- one of the tracer's own fields, without a value
  if key == "steps" then return steps_that_came(self) end
  return view(self)[key]
end

function Tracer.__newindex(self, key, value)
  if type(key) == "string" and byte(key) == UNDERSCORE then return rawset(self, key, value) end
  view(self)[key] = value
end

Tracer.__tostring = function(self) return self._recording.graph and "trace (open)" or "trace (ended)" end

trace.Tracer = Tracer

return methods
