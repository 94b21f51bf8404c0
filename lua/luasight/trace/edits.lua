--- Stored edits: a body is recorded once and becomes part of every later run of the model.
---
--- A stored edit is a recorded graph that does not run by itself; each new trace begins with a copy of its nodes. A file of
--- edits holds the JSON of such graphs, which is loaded as data.
local binding = require "luasight.ffi"
local cjson = require("cjson").new()
local graph_files = require "luasight.ffi.graph_files"
local hooked = require "luasight.trace.hooked"
local record = require "luasight.nn.record"
local trace = require "luasight.trace"
local traces = require "luasight.ffi.traces"

local edits = {}

---@class luasight.Edit  a stored edit
---@field recording luasight.Recording
---@field functions table<integer, fun(...): any>  the functions that the body gave to tracer:apply, by their node
---@field hooked table<string, luasight.HookedCall[]>?  the calls of added modules with points
---@field steps boolean  whether the body names the steps of a generation at which it acts

-- ---- recording ---------------------------------------------------------------------------------------------------------

---Opens a trace for recording a stored edit. Its points are those of a run of the model on the arguments that
---`network.example` returns or, where a model has no examples, on as many tensors as its forward takes.
local function open(network)
  local tracer = trace.open(network, true)
  tracer._recording.stored = true
  tracer._steps = math.huge -- no limit: a stored edit may name any step of a generation
  traces.generate(tracer._recording.graph, 2 ^ 20)
  local program = not network.makes_examples and record.likely_program(network.module)
  if program then
    tracer._program, tracer._invoke = program, traces.invoke(tracer._recording.graph, traces.WHOLE, program, nil, 0)
  else
    trace.invoke(tracer, traces.WHOLE, network.example())
  end
  return tracer
end

---Records a body as a stored edit.
---@param network luasight.Network
---@param body fun(tracer: luasight.Tracer)
---@return luasight.Edit
function edits.record(network, body)
  local tracer = open(network)
  trace.record_only(tracer, function(...)
    body(...)
    hooked.check(tracer)
  end)
  traces.close_recording(tracer._recording.graph)
  return { recording = tracer._recording, functions = tracer._recording.functions, steps = tracer._named_step,
    hooked = rawget(tracer, "_hooked") }
end

---Copies the nodes of all stored edits of the model to the beginning of an invoke.
---@param tracer luasight.Tracer
---@param index integer  the number of the invoke
function edits.include(tracer, index)
  local recording = tracer._recording
  for _, edit in ipairs(tracer._network.edits) do
    local first, last = 0, (tracer._steps or 1) - 1
    if edit.steps then first, last = -1, -1 end
    for step = first, last do
      recording.sets = true
      local map = traces.include(recording.graph, edit.recording.graph, index, step)
      if edit.hooked then hooked.include(tracer, edit.hooked, not edit.steps and step or nil) end
      -- the number of a node that was left out is negative
      for node, f in pairs(edit.functions) do recording.functions[map[node]] = f end
    end
  end
end

-- ---- files -------------------------------------------------------------------------------------------------------------

---Calls visit(call, handle, program, number) for each call of a module in the edits that `reader`, the reader of a JSON text,
---contains; the calls are numbered from 1. `handle` and `program` are nil where the model has no such module.
local function each_program(network, reader, visit)
  for i, call in ipairs(graph_files.calls(reader)) do
    local handle = network.find(call.path)
    visit(call, handle, handle and record.program(debug.getfenv(handle).module, call.positional, call.keywords), i)
  end
end

---Returns the edits as one JSON text. Each edit is the JSON object of a trace, with an additional field `steps` where the
---edit names steps, and `hooks`, the steps of its calls with points of their own, where it has such calls.
local function text_of(network)
  local parts = {}
  for i, edit in ipairs(network.edits) do
    local text = traces.json(edit.recording.graph, true)
    if edit.steps then text = text:sub(1, -2) .. ',"steps":true}' end
    if edit.hooked then text = ('%s,"hooks":[%s]}'):format(text:sub(1, -2), table.concat(hooked.steps(edit.hooked), ",")) end
    parts[i] = text
  end
  return ('{"luasight_edits":1,"edits":[%s]}'):format(table.concat(parts, ","))
end

---Raises an error where `edits.load` would refuse the text, or where an edit calls a module in a way that JSON cannot hold.
local function check(network, text)
  local ok, reader = pcall(graph_files.read_edits, text, "these edits")
  if not ok then
    if type(reader) == "table" and reader.code ~= "memory" then binding.raise("state", reader.message) end
    error(reader, 0)
  end
  each_program(network, reader, function(call, handle, program)
    local path = call.path
    local recorded = traces.program_of(network.edits[call.edit + 1].recording.graph, call.node)
    if not handle then
      binding.raise("state", ("an edit calls %s, which is no part of the model, so the edit cannot be saved"):format(path))
    elseif program ~= recorded then
      binding.raise("state", ("an edit calls %s with an argument that is no tensor, so the edit cannot be saved"):format(path))
    end
  end)
end

---@param network luasight.Network
---@param path string
function edits.save(network, path)
  local text = text_of(network)
  check(network, text)
  graph_files.write(path, text)
end

---@param network luasight.Network
---@param path string
---@return luasight.Edit[]
function edits.load(network, path)
  local file, why = io.open(path, "rb")
  local text, problem
  if file then
    text, problem = file:read "*a"
    file:close()
  end
  if not text then binding.raise("io", ("cannot read the edits in %s: %s"):format(path, why or problem)) end
  local reader = graph_files.read_edits(text, path)
  -- the reader has checked the text
  local written = text:find('"hook"', 1, true) and cjson.decode(text).edits
  local calls = {} ---@type table<integer, luasight.HookedCall[]>  by the number of the edit
  each_program(network, reader, function(call, handle, program, number)
    if not handle then
      binding.raise("name", ("an edit in %s calls the module %s, which this model does not have"):format(path, call.path))
    end
    graph_files.set_program(reader, number, program)
    local edit = written and written[call.edit + 1]
    local hook = edit and edit.nodes[call.node + 1].hook
    if hook then
      calls[call.edit] = calls[call.edit] or {}
      calls[call.edit][hook + 1] = { path = call.path, hook = hook, program = program, step = edit.hooks[hook + 1],
        called = true }
    end
  end)
  local list = {}
  for i = 0, graph_files.edits(reader) - 1 do
    local tracer = open(network)
    local recording = tracer._recording
    graph_files.record(reader, i, recording.graph, tracer._invoke)
    tracer._invoke = nil
    list[i + 1] = { recording = recording, functions = {}, steps = graph_files.names_steps(reader, i) or nil,
      hooked = calls[i] and hooked.by_path(calls[i]) }
  end
  graph_files.release(reader)
  return list
end

return edits
