-- Graphs in files: functions with all that they call, stored edits, and what strangers may write into them.
-- luacheck: ignore 631
local binding = require "luasight.ffi"
local cjson = require "cjson"
local ls = require "luasight"
local loader = require "luasight.lm.loader"
local record = require "luasight.nn.record"
local failure = require "spec.support".failure
local mutations = require "spec.trace.mutations"
local torch, nn = ls.torch, ls.nn
local C, ffi = binding.C, binding.ffi

local path
before_each(function() path = os.tmpname() end)
after_each(function() os.remove(path) end)

---What record.prepare gives for a call of a module; the stream keeps its arguments from being collected.
local function prepared(module, ...)
  local program, stream, n, arguments = record.prepare(module, ...)
  return program, ffi.gc(stream, function() return arguments end), n
end

local function text_of(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- ---- through the C interface alone ---------------------------------------------------------------------------------------

---A text read, or nil and the error.
local function read(text, is_edits)
  local out = ffi.new "ls_reader *[1]"
  local status = (is_edits and C.ls_edits_read or C.ls_function_read)(text, #text, "file", out)
  if status ~= 0 then return nil, ffi.string(C.ls_error_message()), tonumber(status) end
  return ffi.gc(out[0], C.ls_reader_release)
end

local check = binding.check

local function module_of(model) return debug.getfenv(model).module end

---The program of a function that was read, with the weights of `module`; nil and the error where it cannot be made.
local function program_of(reader, module)
  for name, t in module:named_state() do C.ls_reader_set_tensor(reader, name, t.v) end
  local f, p = ffi.new "ls_function *[1]", ffi.new "ls_program *[1]"
  if C.ls_reader_function(reader, f) ~= 0 then return nil, ffi.string(C.ls_error_message()) end
  check(C.ls_program_new(f[0], p))
  C.ls_function_release(f[0])
  return ffi.gc(p[0], C.ls_program_release)
end

local function run(program, stream, n)
  local out = binding.new_ref()
  local status = C.ls_program_run(program, stream, n, 0, out.v)
  if status ~= 0 then return nil, ffi.string(C.ls_error_message()) end
  return binding.settle(out)
end

local function same(a, b, at)
  if ffi.istype(binding.ref_t, a) and a._kind == C.LS_TENSOR then
    assert.is_true(torch.equal(a, b), at)
    return 1
  elseif ffi.istype(binding.ref_t, a) then
    local n = 0
    assert.equal(C.ls_seq_length(a.v), C.ls_seq_length(b.v), at)
    for i = 0, C.ls_seq_length(a.v) - 1 do n = n + same(a[i], b[i], at) end
    return n
  end
  assert.equal(a, b, at)
  return 0
end

---Saves the graph of a model, reads it through C, runs it: the same bits. Gives the program and the text.
local function round(model, input, at)
  model:save_graph(path, input)
  local network, text = debug.getfenv(model).network, text_of(path)
  local reader = assert(read(text))
  local program = assert(program_of(reader, network.module))
  local _, stream, n = prepared(network.module, network.prepare(input, {}))
  local expected, got = model(input), assert(run(program, stream, n))
  assert.is_true(same(expected, got, at) > 0, at)
  return program, text, stream, n
end

local Net = nn.Module "Net"
function Net:init()
  self.first, self.act, self.second = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)
  self.scale = nn.Parameter(torch.rand(2))
end
function Net:forward(x, named)
  local h = nn.tap("h", self.act(self.first(x)))
  local y = self.second(h)
  if named and named.bias then y = y + named.bias end
  return ls.struct { { "y", y * self.scale * (1 / 3) }, { "shape", ls.tuple(h, x:reshape { x.shape[0], -1 }) } }
end

local function small() return ls.Model(Net()) end

describe("model:save_graph", function()
  it("5.1 writes what ls_function_read reads: the same bits from a small net", function()
    local model, x = small(), torch.randn(2, 3)
    local program, text = round(model, x)
    local _, stream, n = prepared(module_of(model), torch.ones(5, 3))
    same(model(torch.ones(5, 3)), run(program, stream, n)) -- sizes are values of the graph
    local data = cjson.decode(text)
    assert.equal(1, data.luasight_function)
    local names = {}
    for _, t in ipairs(data.tensors) do names[#names + 1] = t.names[1] end
    table.sort(names)
    assert.same({ "first.bias", "first.weight", "scale", "second.bias", "second.weight" }, names)
  end)

  it("5.1 writes keyword inputs, and constants of a forward with their numbers", function()
    local Constant = nn.Module "Constant"
    function Constant:init() self.channels = nn.Buffer(torch.arange(3):float(), { persistent = false }) end
    function Constant:forward(x, o) return x * self.channels + torch.tensor { 1 / 3, -3.4028234663852886e38, 0 / 0 } + o.shift end
    local model, input = ls.Model(Constant()), ls.args(torch.randn(2, 3), { shift = torch.randn(3) })
    local text
    model:save_graph(path, input)
    text = text_of(path)
    assert.is_nil(text:find '"names"')
    local program = assert(program_of(assert(read(text)), module_of(model)))
    local _, stream, n = prepared(module_of(model), unpack(input))
    local got, expected = run(program, stream, n), model(input)
    assert.equal(tostring(expected), tostring(got)) -- nan differs from itself
    assert.is_true(torch.equal(got[":, :2"], expected[":, :2"]))
  end)

  it("5.1 writes modules that branch on numbers, with what they branched on", function()
    local Branch = nn.Module "Branch"
    Branch.dynamic = true
    function Branch:init() self.lin = nn.Linear(2, 2) end
    function Branch:forward(x) return x:sum():item() > 0 and self.lin(x) or x end
    local model = ls.Model(Branch())
    local program = round(model, torch.ones(1, 2))
    local _, stream, n = prepared(module_of(model), torch.ones(1, 2) * -1)
    local got, problem = run(program, stream, n)
    assert.is_nil(got)
    assert.matches("on which this dynamic module branches", problem, 1, true)
  end)

  for name, input in pairs { llama = {}, mixtral = {}, qwen3_moe = {}, mamba = {}, gemma2 = {}, ["t5"] = { 1, 2 }, bert = {} } do
    it("5.1 writes a whole " .. name, function()
      local model = ls.LanguageModel(loader.network("spec/reference/families/" .. name, { dtype = "float32" }))
      local ids = torch.tensor({ { 3, 1, 4, 1, 5 }, { 9, 2, 6, 5, 3 } }, { dtype = "int64" })
      round(model, { input_ids = ids, decoder_input_ids = input[1] and ids[":, :2"] or nil }, name)
    end)
  end

  it("5.1 writes the model in the box: a C program binds its file of weights, runs and traces it", function()
    local model, text = ls.LanguageModel "models/pretrained/ioi", "When Mary and John went to the store"
    model:save_graph(path, text)
    local network, reader, w = debug.getfenv(model).network, assert(read(text_of(path))), ffi.new "ls_weights *[1]"
    check(C.ls_weights_open("models/pretrained/ioi/model.safetensors", w))
    for i = 0, C.ls_reader_tensors(reader) - 1 do
      local name, tensor = C.ls_reader_tensor_name(reader, i, 0), binding.new_ref()
      local at = name ~= nil and C.ls_weights_find(w[0], name) or -1
      if at >= 0 then
        check(C.ls_weights_tensor(w[0], at, tensor.v))
        check(C.ls_reader_set_tensor(reader, name, tensor.v))
      end
    end
    C.ls_weights_release(w[0])
    local program = assert(program_of(reader, nn.Module "Nothing"()))
    local _, stream, n = prepared(network.module, network.prepare(text, {}))
    assert.is_true(torch.equal(model(text).logits, run(program, stream, n).logits))

    local graph, invoke, event = ffi.new "ls_trace *[1]", ffi.new "int32_t[1]", ffi.new "ls_event"
    local pattern, logits = binding.new_ref(), binding.new_ref()
    check(C.ls_trace_open(graph))
    check(C.ls_trace_invoke(graph[0], C.LS_INVOKE_WHOLE, program, stream, n, invoke))
    check(C.ls_trace_read(graph[0], invoke[0], 0, C.ls_program_find(program, "transformer.h.1.attn.pattern"), 0, pattern.v))
    local zero, at = ffi.new("ls_value[1]"), C.ls_program_find(program, "transformer.h.2.mlp.output")
    check(C.ls_tensor_from(ffi.new("double[1]", 0), "float64", nil, 0, "float32", "cpu", zero))
    check(C.ls_trace_write(graph[0], invoke[0], 0, at, zero, 0, 0))
    check(C.ls_trace_read(graph[0], invoke[0], 0, C.ls_program_find(program, "lm_head.output"), 0, logits.v))
    check(C.ls_trace_save(pattern.v))
    check(C.ls_trace_save(logits.v))
    repeat
      check(C.ls_trace_run(graph[0], nil, 0, event))
      if event.kind == C.LS_EVENT_PASS then
        check(C.ls_trace_rows(graph[0], invoke[0], 0, 1, 0))
        check(C.ls_trace_begin(graph[0], event.pass, 0, program, stream, n, 1))
      end
    until event.kind == C.LS_EVENT_NONE
    C.ls_trace_release(graph[0])
    C.ls_value_release(zero)
    local h, head = model.transformer.h, model.lm_head
    local p, l = model:trace(text, function()
      h[2].mlp.output = torch.tensor(0)
      return h[1].attn.pattern, head.output
    end)
    assert.is_true(torch.equal(p.value, pattern.value))
    assert.is_true(torch.equal(l.value, logits.value))
    assert.equal(-1, C.ls_program_find(program, "transformer.h.9.output"))
    assert.equal(-1, C.ls_program_find(program, "transformer.h.1.output (call 1)"))
  end)

  it("5.1 names each weight once, by all its places, and says which is missing or of another shape", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    model:save_graph(path, "a b")
    local reader = assert(read(text_of(path)))
    local entry, tied, count = ffi.new "ls_weights_entry", nil, C.ls_reader_tensors(reader)
    for i = 0, count - 1 do
      check(C.ls_reader_tensor(reader, i, entry))
      if ffi.string(entry.name) == "transformer.wte.weight" then tied = ffi.string(C.ls_reader_tensor_name(reader, i, 1)) end
    end
    assert.equal("lm_head.weight", tied)
    local f = ffi.new "ls_function *[1]"
    assert.equal(C.LS_ERROR_NAME, tonumber(C.ls_reader_function(reader, f)))
    assert.matches("was not set", ffi.string(C.ls_error_message()), 1, true)
    assert.equal(C.LS_ERROR_SHAPE, tonumber(C.ls_reader_set_tensor(reader, "lm_head.weight", torch.ones(2, 2).v)))
    assert.equal(C.LS_ERROR_NAME, tonumber(C.ls_reader_set_tensor(reader, "nothing", torch.ones(2, 2).v)))
  end)

  it("5.1 refuses operators that a file may not call, and leaves what was at the path", function()
    local Strided = nn.Module "Strided"
    function Strided:forward(x) return x:as_strided({ 8 }, { 1 }, 0) end
    write "what was there"
    local err = failure(function() ls.Model(Strided()):save_graph(path, torch.ones(2, 4)) end)
    assert.matches("operator as_strided is not on the list", err.message, 1, true)
    assert.equal("what was there", text_of(path))
    assert.matches("needs an input", failure(function() small():save_graph(path) end).message, 1, true)
    assert.equal("argument", failure(function() small():save_graph(3, torch.ones(1, 3)) end).code)
  end)
end)

-- ---- files of edits ------------------------------------------------------------------------------------------------------

local function edited_small(f)
  local model = small()
  return model, model:edit(f(model))
end

describe("files of edits", function()
  it("5.9 keep every bit of their numbers", function()
    local numbers = { -3.4028234663852886e38, 1 / 3, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0 }
    local model, edited = edited_small(function(m)
      return function()
        for _, x in ipairs(numbers) do m.first.output = m.first.output + x end
        m.first.output = m.first.output:clamp { min = -1 / 0, max = 1 / 0 } + 0 / 0
        m.second.output = torch.add(m.second.output, 9007199254740993LL) + -9223372036854775807LL
      end
    end)
    edited:save_edits(path)
    local text = text_of(path)
    assert.truthy(text:find("9007199254740993", 1, true))
    assert.truthy(text:find("-9223372036854775807", 1, true))
    assert.truthy(text:find('{"float":"nan"}', 1, true))
    local found = {}
    for number in text:gmatch "[-%d%.e+]+" do found[tonumber(number) or ""] = true end
    for _, x in ipairs(numbers) do assert.is_true(found[x], tostring(x)) end
    model:load_edits(path)
    model:save_edits(path)
    assert.equal(text, text_of(path))
  end)

  it("5.9 keep the results of operators that give several, tuples, lists and empty lists apart", function()
    local model, edited = edited_small(function(m)
      return function()
        local values, where = m.first.output:max { dim = 1 }
        local a, b = m.first.output:sum():reshape({}), m.first.output:mean { 0, 1 }
        m.first.output = m.first.output + values:unsqueeze(1) + where:unsqueeze(1) + a + b
        m.second.input = ls.tuple(ls.tuple(m.second.input[0][0] * 2), ls.struct {})
      end
    end)
    edited:save_edits(path)
    local text, x = text_of(path), torch.randn(2, 3)
    model:load_edits(path)
    assert.is_true(torch.equal(edited(x).y, model(x).y))
    model:save_edits(path)
    assert.equal(text, text_of(path))
  end)

  it("load as older versions wrote them, with {} for empty lists", function()
    write('{"edits":[{"nodes":[{"node":0,"name":"first.output","do":"read"},{"node":1,"name":"mul","do":"operator","arguments":[{"node":0},'
      .. '{"tensor":{"shape":{},"dtype":"float32","data":"AAAAQA=="}}]},{"node":2,"name":"sum","do":"operator","arguments":[{"node":1}]},'
      .. '{"node":3,"name":"reshape","do":"operator","arguments":[{"node":2},{}]},'
      .. '{"node":4,"name":"add","do":"operator","arguments":[{"node":1},{"node":3}]},'
      .. '{"node":5,"name":"first.output","do":"write","arguments":[{"node":4}]}]}],"luasight_edits":1}')
    local model, x = small(), torch.randn(2, 3)
    local edited = model:edit(function()
      local h = model.first.output * 2
      model.first.output = h + h:sum():reshape({})
    end)
    model:load_edits(path)
    assert.is_true(torch.equal(edited(x).y, model(x).y))
  end)

  it("5.1 call modules with the same arguments, or are not written", function()
    local model, edited = edited_small(function(m) return function() m.second.output = m.second(m.second.input[0][0] * 2) end end)
    edited:save_edits(path)
    local x = torch.randn(2, 3)
    model:load_edits(path)
    assert.is_true(torch.equal(edited(x).y, model(x).y))
    local Power = nn.Module "Power"
    function Power:forward(v, n) return v ^ (n or 1) end
    local other = ls.Model(nn.Sequential { { "a", Power() }, { "b", Power() } })
    local squared = other:edit(function() other.b.output = other.a(other.b.input[0][0], 2) end)
    assert.matches("an argument that is no tensor", failure(function() squared:save_edits(path) end).message, 1, true)
    write '{"luasight_edits":1,"edits":[{"nodes":[{"node":0,"do":"read","name":"first.output"},{"node":1,"do":"call","name":"third","arguments":[{"node":0}]}]}]}'
    assert.matches("calls the module third, which this model does not have", failure(function() model:load_edits(path) end).message, 1, true)
  end)

  it("5.1 cannot call operators that are not on the list, and are not written with such", function()
    local victim = os.tmpname()
    local file = io.open(victim, "w")
    file:write "precious"
    file:close()
    write('{"luasight_edits":1,"edits":[{"nodes":[{"node":0,"do":"read","name":"first.output"},{"node":1,"do":"operator","name":"from_file",'
      .. '"arguments":["' .. victim .. '",true,8,{"node":0}]}]}]}')
    local model = small()
    local err = failure(function() model:load_edits(path) end)
    assert.equal("name", err.code)
    assert.matches("node 1 of edit 0 (operator \"from_file\"): the operator from_file is not on the list of operators that a file may call",
      err.message, 1, true)
    assert.equal("precious", text_of(victim))
    os.remove(victim)
    for name, f in pairs {
      as_strided = function(h) return h:as_strided({ 4 }, { 1 }, 0) end,
      resize_ = function(h) return (h * 1):resize_ { 1 } end,
      slice_inverse = pcall(function() return torch.slice_inverse end) and function(h) return torch.slice_inverse(h["0:1"], h) end or nil,
      batch_norm = function(h)
        return torch.batch_norm(h, nil, nil, torch.zeros(4), torch.ones(4), false, .1, 1e-5, false)
      end,
      _print = function(h) return h:_cast_Float() end,
    } do
      local _, edited = edited_small(function(m) return function() m.first.output = m.first.output + f(m.first.output) end end)
      local refused = failure(function() edited:save_edits(path) end)
      assert.equal("state", refused.code, name)
      assert.matches("is not on the list", refused.message, 1, true)
    end
  end)

  it("5.12 are written beside and renamed: whoever has the old file keeps it, and links are replaced", function()
    local _, edited = edited_small(function(m) return function() m.first.output = m.first.output * 2 end end)
    local target, link = os.tmpname(), os.tmpname()
    os.remove(link)
    assert(require "luasight.ffi.system".link(target, link))
    edited:save_edits(link)
    assert.equal("", text_of(target))
    assert.matches("luasight_edits", text_of(link), 1, true)
    os.remove(target)
    os.remove(link)
    assert.equal("io", failure(function() edited:save_edits "/nowhere/edits" end).code)
  end)
end)

-- ---- texts of strangers --------------------------------------------------------------------------------------------------

local function edits_of(nodes) return '{"luasight_edits":1,"edits":[{"nodes":[' .. nodes .. ']}]}' end
local function function_of(nodes, result, rest)
  return '{"luasight_function":1,"tensors":[],"modules":[{"class":"M"}],"functions":[' .. (rest or "") .. '{"module":0,"nodes":['
    .. nodes .. '],"result":' .. (result or '{"node":0}') .. "}]}"
end

local READ = '{"node":0,"do":"read","name":"first.output"}'
local INPUT = '{"node":0,"do":"input"}'

local hostile_edits = {
  ['{"node":0,"do":"operator"}'] = "the node has no name",
  ['{"node":0,"do":"write","name":"first.output","arguments":[["a"]]}'] = "takes a tensor or a tuple, not a list",
  ['{"node":0,"do":"write","arguments":[["a"]]}'] = "the node has no name",
  ['{"node":0,"do":"operator","name":"add","arguments":[{"node":0},1]}'] = "the node uses node 0, but it can use earlier nodes only",
  ['{"node":0,"do":"operator","name":"add","arguments":[{"node":-1},1]}'] = "a reference to a node is not a whole number",
  ['{"node":0,"do":"operator","name":"add","arguments":[{"node":99999999999},1]}'] = "a reference to a node is not a whole number",
  ['{"node":0,"do":"operator","name":"zeros","arguments":[[1099511627776]]}'] = "no argument of the node is a node",
  [READ .. ',{"node":1,"do":"set","arguments":[{"node":0}]}'] = "the node has 1 argument, but its kind takes at least 3",
  [READ .. ',{"node":1,"do":"set","arguments":[{"node":0},1,0]},{"node":2,"do":"operator","name":"add","arguments":[{"node":1},1]}'] =
    "the node uses node 1, which has no value",
  [READ .. ',{"node":1,"do":"operator","name":"no_such_operator","arguments":[{"node":0}]}'] = "there is no operator",
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},1,{"name":"alfa","value":1}]}'] = 'no argument "alfa"',
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},1,{"name":"out","value":{"node":0}}]}'] =
    'the operator would write into its argument "out"',
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"name":"other","value":1},{"node":0}]}'] = "a positional argument follows a named one",
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},{"slice":[0,1,2]}]}'] = 'the unknown field "slice"',
  [READ .. ',{"node":1,"do":"get","arguments":[{"node":0},{"slice":[0,1]}]}'] = "a slice must have three parts",
  [READ .. ',{"node":1,"do":"get","arguments":[{"node":0},{"slice":[0,"a",1]}]}'] = "a part of a slice",
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},{"tensor":{"dtype":"float32","shape":[4611686018427387904,8],"data":""}}]}'] =
    "larger than any memory",
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},{"tensor":{"dtype":"float32","shape":[1000000],"data":"AAAA"}}]}'] =
    "is not the base64 text of the 4000000 bytes",
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},{"tensor":{"dtype":"float32","shape":[-1],"data":""}}]}'] =
    "not a whole number from 0 on",
  [READ .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},{"tensor":{"dtype":"qint8","shape":[1],"data":"AA=="}}]}'] = "dtype",
  [READ .. ',{"node":1,"do":"tuple","arguments":[{"struct":[{"name":"a","value":{"node":0}},{"name":"a","value":1}]}]}'] = "is twice among the arguments",
  [READ .. ',{"node":1,"do":"tuple","arguments":[{"node":0}]}'] = "is not a sequence",
  [READ .. ',{"node":1,"do":"function","arguments":[{"node":0}]}'] = "a Lua function",
  [READ .. ',{"node":1,"do":"gradient","arguments":[{"node":0}]}'] = "a gradient",
  [READ .. ',{"node":1,"do":"pad","arguments":[0]}'] = "is not allowed here",
  [READ .. ',{"node":1,"do":"input"}'] = "is not allowed here",
  [READ .. ',{"node":1,"do":"run"}'] = 'the kind of node "run" is not known',
  ['{"node":0,"do":"read","name":"first.output","step":1048576}'] = "`step` is not",
  ['{"node":7,"do":"read","name":"first.output"}'] = "is not its place in the list",
  ['{"node":0,"do":"read","name":"first.output","wat":1}'] = 'the field "wat", which is not known',
  ['{"node":0,"do":"read","name":"first.output","name":"x"}'] = "duplicate",
}

local hostile_functions = {
  [function_of '{"node":0,"do":"read","name":"output"}'] = "is not allowed here",
  [function_of(INPUT .. ',{"node":1,"do":"call","function":0,"arguments":[{"node":0}]}')] = "is not the number of an earlier function",
  [function_of(INPUT .. ',{"node":1,"do":"call","function":5,"arguments":[{"node":0}]}')] = "is not the number of an earlier function",
  [function_of(INPUT .. ',{"node":1,"do":"two_forms","plain":0,"fused":0,"arguments":[{"node":0}]}')] = "is not the number of an earlier function",
  [function_of(INPUT .. ',{"node":1,"do":"shape","arguments":[3]}')] = "no argument of the node is a node",
  [function_of(INPUT .. ',{"node":1,"do":"tap","arguments":[{"node":0}]}')] = "the node has no name",
  [function_of(INPUT .. ',{"node":1,"do":"operator","name":"add","arguments":[{"node":0},{"tensor":0}]}')] = "must be the number of one of the 0 tensors",
  [function_of(INPUT, '{"node":1}')] = "the node uses node 1",
  [function_of(INPUT, "[1]")] = "the result is a list",
  [function_of(INPUT, '{"tuple":[{"node":0}]}')] = "a sequence with a node inside",
  [function_of('{"node":0,"do":"input","name":"a"},{"node":1,"do":"input"}')] = "positional inputs must come before",
  [function_of('{"node":0,"do":"input","name":"a"},{"node":1,"do":"input","name":"a"}')] = 'two inputs have the name "a"',
  [function_of(INPUT .. ',{"node":1,"do":"shape","arguments":[{"node":0}]},{"node":2,"do":"input"}')] = "must be its first nodes",
  ['{"luasight_function":1,"tensors":[],"modules":[{"class":"M","children":{"a":0}}],"functions":[]}'] = "the file has no function",
  [function_of(INPUT):gsub('{"class":"M"}', '{"class":"M","children":{"a":0}}')] = "it must be the number of an earlier entry",
  [function_of(INPUT):gsub('{"class":"M"}', '{"class":"M","tensors":{"a":0}}')] = "in the field `tensors` of module 0",
  [function_of(INPUT):gsub('{"class":"M"}', '{"class":"M","axes":{"a":64}}')] = "in the field `axes` of module 0",
  [function_of(INPUT):gsub('"module":0,', "")] = "belongs to no module",
  ['{"luasight_function":2,"tensors":[],"modules":[],"functions":[]}'] = "is not 1",
  ["[" .. ("["):rep(100000)] = "brackets",
  [("["):rep(20) .. ("]"):rep(20)] = "holds no function",
  ["{}"] = "holds no function",
  [""] = "is not JSON",
  ["{"] = "is not JSON",
  ['{"luasight_function":1e999}'] = "overflow",
  ['{"luasight_function":123456789012345678901234567890}'] = "big integer",
  ["[" .. ("0,"):rep(2 ^ 22 + 1) .. "0]"] = "more than 4194304 values",
}

describe("texts of strangers", function()
  it("5.1 give an error that names the node: edits", function()
    local model, n = small(), 0
    for nodes, expected in pairs(hostile_edits) do
      write(edits_of(nodes))
      local err = failure(function() model:load_edits(path) end)
      assert.matches(expected, err.message, 1, true)
      n = n + 1
    end
    assert.is_true(n >= 30)
  end)

  it("5.1 give an error that names the node: functions", function()
    for text, expected in pairs(hostile_functions) do
      local reader, problem = read(text)
      assert.is_nil(reader, text:sub(1, 300))
      assert.matches(expected, problem, 1, true)
    end
  end)

  it("5.1 cannot make many calls out of few functions, nor many paths out of few modules", function()
    local functions = { '{"module":0,"nodes":[' .. INPUT .. '],"result":{"node":0}}' }
    local call = ',{"node":%d,"do":"call","function":%d,"arguments":[{"node":0}]}'
    for i = 1, 40 do
      functions[i + 1] = '{"module":0,"nodes":[' .. INPUT .. call:format(1, i - 1) .. call:format(2, i - 1) .. '],"result":{"node":2}}'
    end
    local text = '{"luasight_function":1,"tensors":[],"modules":[{"class":"M"}],"functions":[' .. table.concat(functions, ",") .. "]}"
    local _, problem = read(text)
    assert.matches("more than 65536 calls", problem, 1, true)
    local modules = { '{"class":"M"}' }
    for i = 1, 40 do modules[i + 1] = ('{"class":"M","children":{"a":%d,"b":%d}}'):format(i - 1, i - 1) end
    _, problem = read((function_of(INPUT):gsub('{"class":"M"}', function() return table.concat(modules, ",") end)))
    assert.matches("more than 65536 modules", problem, 1, true)
    modules = { '{"class":"M"}' }
    for i = 1, 1000 do modules[i + 1] = ('{"class":"M","children":{"a":%d}}'):format(i - 1) end
    _, problem = read((function_of(INPUT):gsub('{"class":"M"}', function() return table.concat(modules, ",") end)))
    assert.matches("nested ones", problem, 1, true)
  end)

  it("5.1 give an error for each part of a file that is changed: edits", function()
    local model, edited = edited_small(function(m)
      return function()
        local h, values = m.first.output, m.first.output:max { dim = 1 }
        h[":, 1:3"] = h["..., 0:2"] * torch.tensor { 1, 2.5 }
        m.first.output = torch.cat({ h, h }, -1)[":, 0:4"] + values:unsqueeze(1) + 0 / 0 + m.scale:sum()
        m.second:skip(m.second(m.second.input[0][0]))
      end
    end)
    edited:save_edits(path)
    local valid, refused, passed = text_of(path), 0, 0
    model:load_edits(path)
    for text, what in mutations.of(valid) do
      write(text)
      local ok, err = pcall(function() model:load_edits(path) end)
      if ok then passed = passed + 1 else refused = refused + 1 end
      if not ok and type(err) ~= "table" then error(("%s: %s"):format(what, tostring(err))) end
      if ok then pcall(model, torch.ones(2, 3)) end
      model:clear_edits()
    end
    assert.is_true(refused > 1000, tostring(refused))
    assert.is_true(passed < refused / 4, tostring(passed))
  end)

  it("5.1 give an error for each part of a file that is changed: functions", function()
    local model, x = small(), torch.ones(2, 3)
    local network = debug.getfenv(model).network
    model:save_graph(path, ls.args(x, { bias = torch.ones(2) }))
    local _, stream, n = prepared(network.module, x, { bias = torch.ones(2) })
    local refused, passed = 0, 0
    local function look(text)
      local reader = read(text)
      local program = reader and program_of(reader, network.module)
      if program then run(program, stream, n) end
      if program then passed = passed + 1 else refused = refused + 1 end
    end
    local valid = text_of(path)
    look(valid)
    assert.equal(1, passed)
    for text in mutations.of(valid) do look(text) end
    assert.is_true(refused > 1000, tostring(refused))
    assert.is_true(passed < refused / 4, tostring(passed))
  end)
end)
