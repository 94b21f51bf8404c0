--- Stored edits: a body is recorded once and becomes part of every later run of the model.
---
--- A stored edit is a recorded graph that does not run by itself; each new trace begins with a copy of its nodes. A file of
--- edits holds the JSON of such graphs, which is loaded as data.
local binding = require "luasight.ffi"
local record = require "luasight.nn.record"
local trace = require "luasight.trace"

local C, ffi = binding.C, binding.ffi

local edits = {}

---@class luasight.Edit
---@field recording luasight.Recording
---@field functions table<integer, fun(...): any>
---@field steps boolean  whether the body names the steps of a generation at which it acts

-- ---- recording ---------------------------------------------------------------------------------------------------------

---Opens a recording in which the points of the model are those of a run on the arguments of `network.example`.
local function open(network)
  local tracer = trace.open(network)
  tracer._recording.stored = true
  tracer._steps = math.huge -- an edit may name any step of a generation
  binding.check(C.ls_trace_generate(tracer._recording.graph, 2 ^ 20))
  trace.invoke(tracer, C.LS_INVOKE_WHOLE, network.example())
  return tracer
end

---Records a body as a stored edit.
---@param network luasight.Network
---@param body fun(tracer: luasight.Tracer)
---@return luasight.Edit
function edits.record(network, body)
  local tracer = open(network)
  trace.record_only(tracer, body)
  return { recording = tracer._recording, functions = tracer._recording.functions, steps = tracer._named_step }
end

---Copies the nodes of all stored edits of the model to the beginning of an invoke.
---@param tracer luasight.Tracer
---@param index integer  the number of the invoke
function edits.include(tracer, index)
  local recording = tracer._recording
  for _, edit in ipairs(tracer._network.edits) do
    local graph = edit.recording.graph
    local map = ffi.new("int32_t[?]", C.ls_trace_count(graph) + 1)
    local first, last = 0, (tracer._steps or 1) - 1
    if edit.steps then first, last = -1, -1 end
    for step = first, last do
      binding.check(C.ls_trace_include(recording.graph, graph, index, step, map))
      for node, f in pairs(edit.functions) do recording.functions[map[node]] = f end
    end
  end
end

-- ---- files -------------------------------------------------------------------------------------------------------------

local text_out, reader_out, call = ffi.new "const char *[1]", ffi.new "ls_reader *[1]", ffi.new "ls_reader_call_info"

---Reads and checks the JSON of edits; `name` is the file's name in errors.
---@param text string
---@param name string
---@return ffi.cdata*
local function read(text, name)
  binding.check(C.ls_edits_read(text, #text, name, reader_out))
  return ffi.gc(reader_out[0], C.ls_reader_release)
end

---Calls visit(call, handle, program) for each call of a module in a text of edits; the handle is nil where the model has no
---such module.
local function each_program(network, reader, visit)
  for i = 0, C.ls_reader_calls(reader) - 1 do
    binding.check(C.ls_reader_call(reader, i, call))
    local handle, keywords = network.find(ffi.string(call.path)), {}
    for k = 0, call.keywords - 1 do keywords[k + 1] = ffi.string(C.ls_reader_call_keyword(reader, i, k)) end
    visit(i, handle, handle and record.program(debug.getfenv(handle).module, call.positional, keywords))
  end
end

---Returns the edits as one JSON text. Each edit is the JSON object of a trace, with an additional field `steps` where the
---edit names steps.
local function text_of(network)
  local parts = {}
  for i, edit in ipairs(network.edits) do
    binding.check(C.ls_trace_json(edit.recording.graph, 1, text_out))
    local text = ffi.string(text_out[0])
    parts[i] = edit.steps and text:sub(1, -2) .. ',"steps":true}' or text
  end
  return ('{"luasight_edits":1,"edits":[%s]}'):format(table.concat(parts, ","))
end

---Raises an error where `load` would refuse the text, or where an edit calls a module that a file cannot name.
local function check(network, text)
  local ok, reader = pcall(read, text, "these edits")
  if not ok then
    if type(reader) == "table" and reader.code ~= "memory" then binding.raise("state", reader.message) end
    error(reader, 0)
  end
  each_program(network, reader, function(_, handle, program)
    local path = ffi.string(call.path)
    local recorded = C.ls_trace_program(network.edits[call.edit + 1].recording.graph, call.node)
    if not handle then
      binding.raise("state", ("the edit calls a %s that is no part of the model, so it cannot be saved as data"):format(path))
    elseif program ~= recorded then
      binding.raise("state", ("the edit calls %s with an argument that is no tensor, so it cannot be saved"):format(path))
    end
  end)
end

---@param network luasight.Network
---@param path string
function edits.save(network, path)
  local text = text_of(network)
  check(network, text)
  binding.check(C.ls_file_write(path, text, #text))
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
  local reader = read(text, path)
  each_program(network, reader, function(i, handle, program)
    if not handle then
      binding.raise("name", ("%s calls the module %s, which this model does not have"):format(path, ffi.string(call.path)))
    end
    binding.check(C.ls_reader_set_program(reader, i, program))
  end)
  local list = {}
  for i = 0, C.ls_reader_edits(reader) - 1 do
    local tracer = open(network)
    local recording = tracer._recording
    binding.check(C.ls_reader_record(reader, i, recording.graph, tracer._invoke))
    tracer._invoke = nil
    list[i + 1] = { recording = recording, functions = {}, steps = C.ls_reader_edit_steps(reader, i) == 1 or nil }
  end
  C.ls_reader_release(ffi.gc(reader, nil))
  return list
end

return edits
