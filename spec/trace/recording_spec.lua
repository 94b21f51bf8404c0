-- A recording outlives its runs: planned and run three times it gives the same bits, and its JSON stays the same bytes.
local ls = require "luasight"
local binding = require "luasight.ffi"
local trace = require "luasight.trace"
local torch, nn = ls.torch, ls.nn

local C, ffi = binding.C, binding.ffi
local support = require "spec.support"

local function json_of(recording)
  local out = ffi.new "const char *[1]"
  binding.check(C.ls_trace_json(recording.graph, 1, out))
  return ffi.string(out[0])
end

---The tensors behind handles to nodes, which stay handles to nodes.
local function values_of(handles)
  local list = {}
  for i, handle in ipairs(handles) do
    local out = binding.new_ref()
    binding.check(C.ls_trace_value(handle.v, out.v))
    list[i] = binding.settle(out)
  end
  return list
end

---Takes the place of the end of a trace: runs the recording three times. `saved` is filled by the body before that.
local function three_runs(recording, saved, runs)
  local graph = recording.graph
  C.ls_trace_keep(graph)
  runs.json = {}
  for run = 1, 3 do
    if run > 1 then
      binding.check(C.ls_trace_rewind(graph))
      runs.json[#runs.json + 1] = json_of(recording)
    elseif not runs.paused then
      runs.json[1] = json_of(recording)
    end
    trace.run_to_end(recording)
    runs[run] = values_of(saved)
    runs.json[#runs.json + 1] = json_of(recording)
  end
  C.ls_trace_release(ffi.gc(graph, nil))
  recording.graph = nil
end

---Runs `body` once as usual and three times from one recording. `body(...)` returns a list of what it saved. `paused`: it
---asks for values in between, so that its first run is under way when it ends.
local function check(open, body, paused)
  local usual
  open(function(...) usual = body(...) end)
  local finish, saved, runs = trace.finish, nil, { paused = paused }
  trace.finish = function(recording) three_runs(recording, saved, runs) end
  local ok, problem = pcall(open, function(...) saved = body(...) end)
  trace.finish = finish
  if not ok then error(problem, 0) end
  assert.is_true(#saved > 0)
  for i, value in ipairs(usual) do
    for run = 1, 3 do
      assert.is_true(torch.equal(value, runs[run][i]), ("value %d of run %d is another"):format(i, run))
      assert.equal(value.dtype, runs[run][i].dtype)
    end
  end
  assert.equal(paused and 5 or 6, #runs.json)
  for i = 2, #runs.json do assert.equal(runs.json[1], runs.json[i]) end
  return runs
end

local function small()
  local net = nn.Sequential { { "a", nn.Linear(5, 8) }, { "b", nn.Linear(8, 8) }, { "c", nn.Linear(8, 3) } }
  net:requires_grad_(false)
  return ls.Model(net), net
end

describe("a recording", function()
  it("of reads and operators runs three times", function()
    local model = small()
    local x = torch.rand(2, 5)
    check(function(body) model:trace(x, body) end, function()
      local h = model.a.output
      return { (h * 2 + model.b.input[0][0]):save(), h["0"]:save(), model.output:softmax(-1):save(), h:topk(2)["1"]:save() }
    end)
  end)

  it("of edits in place runs three times, with lines above that wait for later values", function()
    local model = small()
    local x = torch.rand(2, 5)
    local runs = check(function(body) model:trace(x, body) end, function()
      local h = model.a.output * 2
      local above = (h + model.c.output:sum()):save()
      h[":"] = model.b.output:sum()
      local below = (h + 1):save()
      h:add_(model.c.output:sum())
      return { above, below, h["0"]:clone():save(), model.output:save() }
    end)
    assert.is_false(torch.equal(runs[1][1], runs[1][2]))
  end)

  it("of edits of the caller's memory and of views runs three times, and the memory stays", function()
    local model = small()
    local x = torch.rand(2, 5)
    local before = x:clone()
    check(function(body) model:trace(x, body) end, function()
      local piece = model.a.input[0][0][":, 1:3"]
      local view = model.a.output["0"]:save()
      piece["0"][":"] = 0
      model.a.output[":, 2"] = 7
      model.b.output = model.b.output * 0.5
      return { view, piece:clone():save(), model.output:save() }
    end)
    assert.is_true(torch.equal(before, x))
  end)

  it("of a view at a place that is computed runs three times, though what it looks into is copied later", function()
    local model = ls.Model(nn.Sequential { { "a", nn.Identity() }, { "b", nn.Identity() } })
    local x = torch.rand(4, 3)
    check(function(body) model:trace(x, body) end, function()
      local at = model.a.output:sum(-1):argmax()
      local row = model.a.output[at]:save()
      model.a.output[":"] = model.a.output * 3
      return { row, model.output:save() }
    end)
  end)

  it("of replaced pieces and a skipped module runs three times", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local blocks = model.transformer.h
    check(function(body) model:trace(support.john, body) end, function()
      local h = blocks[1].output[0]
      blocks[1].output[0] = h * 1.5
      blocks[2]:skip(ls.tuple(blocks[1].output[0]))
      blocks[3].attn.output[0][":, -1"] = 0
      return { blocks[3].output[0]:save(), model.output.logits:save() }
    end)
  end)

  it("of invokes runs three times, in one pass and in two", function()
    local model = small()
    local one, two = torch.rand(1, 5), torch.rand(2, 5)
    local function body(tracer)
      local saved, hidden = {}, nil
      tracer:invoke(one, function()
        hidden = model.b.output
        saved[1] = hidden:save()
        saved[2] = model.output:save()
      end)
      tracer:invoke(two, function()
        model.a.output["0"] = hidden[0]
        saved[3] = model.output:save()
      end)
      tracer:invoke(two, function()
        model.a.output[":, 0"] = 0
        model.b.output["0"] = 1
        saved[4] = model.output:save()
      end)
      return saved
    end
    local runs = check(function(f) model:trace(f) end, body)
    assert.is_truthy(runs.json[1]:find('"pass":1', 1, true))
  end)

  it("of gradients that are read, set and asked of parameters runs three times", function()
    local model, net = small()
    local x = torch.rand(2, 5)
    check(function(body) model:trace(x, body) end, function()
      local a, b = model.a.output, model.b.output
      local loss = model.output:pow(2):sum()
      local at_b = b.grad:save()
      b.grad = b.grad * 2
      local at_a, weight = a.grad:save(), model.c.weight.grad:save()
      loss:backward()
      return { at_b, at_a, weight, loss:save() }
    end)
    assert.is_false(net.c.weight.requires_grad)
  end)

  it("of heads that run at some positions only runs three times", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local head, norm = model.lm_head, model.transformer.ln_f
    check(function(body) model:trace(support.john, body) end, function()
      local saved = {}
      for i, block in model.transformer.h:each() do saved[i + 1] = head(norm(block.output[0]))["0, -1"]:softmax(-1):save() end
      saved[#saved + 1] = head.output["0, -2:"]:save()
      return saved
    end)
    check(function(body) model:trace(body) end, function(tracer)
      local saved = {}
      for i, prompt in ipairs { support.john, support.mary } do
        tracer:invoke(prompt, function() saved[i] = head.output["0, -1"]:save() end)
      end
      return saved
    end)
  end)

  it("of a generation with edits in each step runs three times", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local options = { max_new_tokens = 3, eos_token_id = false, do_sample = false }
    check(function(body) model:generate(support.john, options, body) end, function(tracer)
      local saved = {}
      for _ in tracer:all() do
        model.transformer.h[1].output[0][":, -1, :8"] = 0
        saved[#saved + 1] = model.lm_head.output[":, -1"]:save()
      end
      saved[#saved + 1] = model.generator.output:save()
      return saved
    end)
  end)

  it("that was paused for values in its body runs three times", function()
    local model = small()
    local x = torch.rand(2, 5)
    check(function(body) model:trace(x, body) end, function()
      local h = model.a.output
      local largest = h:max():item()
      local scaled = (h / largest):save()
      model.c.output[":, 0"] = model.b.output.shape[0]
      return { scaled, h:clone():save(), model.output:save() }
    end, true)
  end)

  it("with a function of the script runs three times and calls it each time", function()
    local model = small()
    local x, calls = torch.rand(2, 5), 0
    check(function(body) model:trace(x, body) end, function(tracer)
      local doubled = tracer:apply(function(h)
        calls = calls + 1
        return h * 2
      end, model.a.output)
      return { doubled:save(), model.output:save() }
    end)
    assert.equal(4, calls)
  end)

  it("that was stopped runs three times", function()
    local model = small()
    local x = torch.rand(2, 5)
    check(function(body) model:trace(x, body) end, function(tracer)
      local h = model.b.output:save()
      tracer:stop()
      return { h }
    end)
  end)
end)

describe("ls_trace_rewind", function()
  it("refuses a trace whose recording is gone", function()
    local model = small()
    local handle
    model:trace(torch.rand(1, 5), function() handle = model.output:save() end)
    local graph = ffi.cast("ls_trace *", handle.v.as.p)
    assert.equal(C.LS_ERROR_STATE, C.ls_trace_rewind(graph))
    assert.equal("this trace has ended and has not kept its recording; call ls_trace_keep before it ends",
      ffi.string(C.ls_error_message()))
  end)

  it("lets a paused trace begin anew, with lines that come too late otherwise", function()
    local model, net = small()
    local x = torch.rand(1, 5)
    local tracer = model:tracer(x)
    local sum = model.output:sum():item()
    support.near(net(x):sum():item(), sum)
    assert.equal("passed", support.failure(function() return model.a.output end).code)
    binding.check(C.ls_trace_rewind(tracer._recording.graph))
    local h = model.a.output:save()
    tracer:run()
    assert.is_true(torch.equal(net.a(x), h))
  end)
end)

describe("ls_function_json", function()
  it("has the inputs, nodes and result of a function", function()
    local out, value, module = ffi.new "ls_function *[1]", ffi.new "ls_value[3]", ffi.new "ls_module *[1]"
    binding.check(C.ls_module_new("Net", module))
    binding.check(C.ls_function_new(module[0], out))
    C.ls_module_release(module[0])
    local f = ffi.gc(out[0], C.ls_function_release)
    binding.check(C.ls_function_input(f, nil, value))
    binding.check(C.ls_function_input(f, "mask", value + 1))
    local op, n = ffi.new "const ls_op *[1]", ffi.new "int32_t[1]"
    binding.check(C.ls_op_find("mul", op))
    binding.check(C.ls_op_call(op[0], value, 2, 0, value + 2, n))
    local text = ffi.new "const char *[1]"
    assert.equal(C.LS_ERROR_STATE, tonumber(C.ls_function_json(f, nil, 0, text)))
    binding.check(C.ls_function_finish(f, value + 2))
    for i = 0, 2 do C.ls_value_release(value + i) end
    binding.check(C.ls_function_json(f, nil, 0, text))
    assert.equal('{"luasight_function":1,"tensors":[],"modules":[{"class":"Net"}],"functions":[{"module":0,"nodes":[' ..
      '{"node":0,"do":"input"},{"node":1,"do":"input","name":"mask"},' ..
      '{"node":2,"do":"operator","name":"mul","arguments":[{"node":0},{"node":1}]}],"result":{"node":2}}]}',
      ffi.string(text[0]))
  end)
end)
