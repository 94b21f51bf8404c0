--- Stored edits: a body recorded once and made part of every later run of the model.
---
--- A stored edit is a recorded graph that never runs itself; opening a trace copies its nodes to the front. Its text form is
--- the JSON of the graph, so that an edit can be kept in a file and loaded as data.
local binding = require "luasight.ffi"
local json = require "cjson.safe"
local torch = require "luasight.tensor.torch"
local trace = require "luasight.trace"

local C, ffi = binding.C, binding.ffi

local edits = {}

---@class luasight.Edit
---@field recording luasight.Recording
---@field functions table<integer, fun(...): any>
---@field steps boolean  it names its steps itself

-- ---- recording ---------------------------------------------------------------------------------------------------------

---Opens a recording that names the points of the model as `network.example` runs it.
local function open(network)
  local tracer = trace.open(network)
  tracer._recording.stored = true
  tracer._steps = math.huge -- an edit may name any step of a generation
  binding.check(C.ls_trace_generate(tracer._recording.graph, 2 ^ 20))
  trace.invoke(tracer, C.LS_INVOKE_WHOLE, network.example())
  return tracer
end

---Records a body as an edit.
---@param network luasight.Network
---@param body fun(tracer: luasight.Tracer)
---@return luasight.Edit
function edits.record(network, body)
  local tracer = open(network)
  trace.record_only(tracer, body)
  return { recording = tracer._recording, functions = tracer._recording.functions, steps = tracer._named_step }
end

---Copies the edits of the model to the front of an invoke.
---@param tracer luasight.Tracer
---@param index integer  of the invoke
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

local refused = { ["function"] = "a Lua function (tracer:apply)", gradient = "a gradient", ["set gradient"] = "a gradient",
  backward = "a backward" }

---@param network luasight.Network
---@param path string
function edits.save(network, path)
  local list = {}
  for i, edit in ipairs(network.edits) do
    local graph = json.decode(ffi.string(C.ls_trace_json(edit.recording.graph, 1)))
    for _, node in ipairs(graph.nodes) do
      if refused[node["do"]] then
        binding.raise("state", ("%s cannot be saved as data"):format(refused[node["do"]]),
          { hint = "edits in files are operators only" })
      end
      if node["do"] == "call" and not network.find(node.name) then
        binding.raise("state", ("the edit calls a %s that is no part of the model, so it cannot be saved as data"):format(
          node.name))
      end
    end
    list[i] = { nodes = graph.nodes, steps = edit.steps or nil }
  end
  local file, why = io.open(path .. ".part", "wb")
  if not file then binding.raise("io", ("cannot write %s: %s"):format(path, why)) end
  local ok, problem = file:write(json.encode { luasight_edits = 1, edits = list })
  if ok then ok, problem = file:close() else file:close() end
  if ok then ok, problem = os.rename(path .. ".part", path) end
  if not ok then
    os.remove(path .. ".part")
    binding.raise("io", ("cannot write %s: %s"):format(path, tostring(problem)))
  end
end

-- ---- loading -----------------------------------------------------------------------------------------------------------

local digits = {}
for i = 0, 63 do
  digits[("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):byte(i + 1)] = i
end

local function from_base64(text)
  local out, n, bits, have = {}, 0, 0, 0
  for i = 1, #text do
    local digit = digits[text:byte(i)]
    if not digit then break end
    bits, have = bits * 64 + digit, have + 6
    if have >= 8 then
      have = have - 8
      n = n + 1
      out[n] = string.char(math.floor(bits / 2 ^ have) % 256)
      bits = bits % 2 ^ have
    end
  end
  return table.concat(out)
end

local function tensor_of(t, where)
  local ok, made = pcall(torch.empty, t.shape, { dtype = t.dtype })
  local bytes = ok and type(t.data) == "string" and from_base64(t.data)
  if not bytes or #bytes ~= tonumber(C.ls_value_bytes(made.v)) then
    binding.raise("format", where .. ": a tensor has not the numbers that its shape says")
  end
  local out = ffi.new "void *[1]"
  binding.check(C.ls_tensor_pointer(made.v, out))
  ffi.copy(out[0], bytes, #bytes)
  return made
end

local take, give = binding.stream.take, binding.stream.give
local put_value

local function put_sequence(e, n, list, kind, kept)
  n = e.put_item(n, 10, kind, #list)
  for _, v in ipairs(list) do n = put_value(e, n, v, kept) end
  return n
end

---Makes the tensors of an argument.
local function with_tensors(v, kept)
  if type(v) ~= "table" then return v end
  if v.tensor then return { handle = tensor_of(v.tensor, kept.where) } end
  if v.parameter then return { handle = kept.network.module[v.parameter] } end
  local out = {}
  for key, inner in pairs(v) do out[key] = with_tensors(inner, kept) end
  return out
end

---Writes one argument of a node; `kept` has the nodes made so far.
put_value = function(e, n, v, kept)
  if type(v) ~= "table" then
    if v == json.null then v = nil end
    return e.put(n, v)
  end
  if v.node then
    if not kept.nodes[v.node] then binding.raise("format", kept.where .. ": a node uses one that comes later") end
    return e.put(n, kept.nodes[v.node])
  end
  if v.name then
    n = e.put_key(n, v.name, 0) - 1
    return put_value(e, n, v.value, kept)
  end
  if v.handle then return e.put(n, v.handle) end
  if v.float then return e.put(n, v.float == "nan" and 0 / 0 or v.float == "inf" and math.huge or -math.huge) end
  if v.index then return e.put_item(n, 13, 0, 0) end
  if v.slice then
    n = e.put_item(n, 12, 0, 0)
    for i = 1, 3 do n = put_value(e, n, v.slice[i], kept) end
    return n
  end
  if v.struct then return put_sequence(e, n, v.struct, C.LS_STRUCT, kept) end
  return put_sequence(e, n, v.tuple or v, v.tuple and C.LS_TUPLE or C.LS_LIST, kept)
end

local function arguments(e, node, kept, from, to)
  local n = 0
  local list = node.arguments or {}
  for i = from or 1, to or #list do n = put_value(e, n, list[i], kept) end
  return e.scratch(), n
end

---A Lua argument of a module that the edit calls.
local function plain(v, kept)
  if type(v) == "table" and v.node then return kept.nodes[v.node] end
  if type(v) == "table" and v.handle then return v.handle end
  return v
end

local function point_of(tracer, name, where)
  local number = tonumber(name:match " %(call (%d+)%)$") or 0
  local path, kind = name:gsub(" %(call %d+%)$", ""):match "^(.-)%.?([^.]+)$"
  local handle = tracer._network.find(path)
  local point = handle and tracer._network.locate(handle, kind, number)
  if not point then
    binding.raise("unreached", ("%s names the point %s, which this model does not have"):format(where, name))
  end
  return point
end

local replay = {}

function replay.read(tracer, node, kept)
  return trace.read(tracer, node.step or 0, point_of(tracer, node.name, kept.where))
end

function replay.write(tracer, node, kept)
  local point = point_of(tracer, node.name, kept.where)
  local e = take()
  local s = arguments(e, node, kept)
  binding.check(C.ls_trace_write(tracer._recording.graph, tracer._invoke, node.step or 0, point, s, node.skips and 1 or 0, 0))
  give(e)
end

function replay.operator(_, node, kept)
  local op = ffi.new "const ls_op *[1]"
  binding.check(C.ls_op_find(node.name, op))
  local e = take()
  local s, n = arguments(e, node, kept)
  binding.check(C.ls_op_call(op[0], s, n, 0, e.results, e.count))
  local results = {}
  for i = 0, e.count[0] - 1 do results[i + 1] = binding.wrap(e.results[i]) end
  give(e)
  return unpack(results)
end

function replay.get(_, node, kept)
  local out, e = binding.new_ref(), take()
  local self = kept.nodes[node.arguments[1].node]
  local s, n = arguments(e, node, kept, 2)
  binding.check(C.ls_getitem(self.v, s, n, 0, out.v))
  give(e)
  return out
end

function replay.set(_, node, kept)
  local self, value, e = kept.nodes[node.arguments[1].node], take(), take()
  local given, places = arguments(value, node, kept, 2, 2)
  if places ~= 1 then binding.raise("format", kept.where .. ": a list is set in place of a value") end
  local s, n = arguments(e, node, kept, 3)
  binding.check(C.ls_setitem(self.v, s, n, given, 0))
  give(value)
  give(e)
end

function replay.tuple(_, node, kept)
  local out, e = binding.new_ref(), take()
  local s, n = arguments(e, node, kept)
  binding.check(C.ls_seq_build(s, n, 0, out.v))
  give(e)
  return out
end

function replay.call(tracer, node, kept)
  local handle = tracer._network.find(node.name)
  if not handle then
    binding.raise("name", ("%s calls the module %s, which this model does not have"):format(kept.where, node.name))
  end
  local positional, named = {}, nil
  for _, v in ipairs(node.arguments or {}) do
    if type(v) == "table" and v.name then
      named = named or {}
      named[v.name] = plain(v.value, kept)
    else
      positional[#positional + 1] = plain(v, kept)
    end
  end
  if named then positional[#positional + 1] = named end
  return handle(unpack(positional))
end

local function load_one(network, nodes, where)
  local tracer = open(network)
  trace.record_only(tracer, function()
    local kept = { nodes = {}, where = where, network = network }
    for _, node in ipairs(nodes) do
      node.arguments = with_tensors(node.arguments, kept)
      local make = replay[node["do"]]
      if not make then
        binding.raise("format", ("%s holds a node of the unknown kind %q"):format(where, tostring(node["do"])))
      end
      kept.nodes[node.node] = make(tracer, node, kept)
    end
  end)
  return tracer._recording
end

---@param network luasight.Network
---@param path string
---@return luasight.Edit[]
function edits.load(network, path)
  local file, why = io.open(path, "rb")
  if not file then binding.raise("io", ("cannot read %s: %s"):format(path, why)) end
  local data, problem = json.decode(file:read "*a")
  file:close()
  if type(data) ~= "table" or data.luasight_edits ~= 1 or type(data.edits) ~= "table" then
    binding.raise("format", ("%s holds no edits%s"):format(path, problem and ": " .. problem or ""))
  end
  local list = {}
  for i, one in ipairs(data.edits) do
    list[i] = { recording = load_one(network, one.nodes, path), functions = {}, steps = one.steps }
  end
  return list
end

return edits
