-- More of a trace: stop, skip, apply, cache, sessions, modules that are called several times.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential {
    { "layer1", nn.Linear(5, 10) },
    { "act", nn.GELU() },
    { "layer2", nn.Linear(10, 2) },
  }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.randn(1, 5)
end

local support = require "spec.support"
local failure, near = support.failure, support.near


describe("tracer:stop", function()
  it("ends the model behind the last point named above; what lies beyond stays unset", function()
    local Fail = nn.Module "Fail"
    function Fail:forward(x) return torch.linalg_cholesky(x - 1e3) end
    local net = nn.Sequential { { "first", nn.Identity() }, { "fail", Fail() } }
    local model, early, late = ls.Model(net), nil, nil
    local went_on
    model:trace(torch.eye(2), function(tracer)
      early = model.first.output:save()
      tracer:stop()
      late = (model.fail.output * 2):save()
      went_on = true
    end)
    assert.is_true(went_on)
    assert.equal(2, early:sum():item())
    assert.is_false(late:is_set())
    assert.equal("unset", failure(function() return late.value end).code)
  end)
end)

describe("module:skip", function()
  it("gives the output without running the module", function()
    local Fail = nn.Module "Fail"
    function Fail:init() self.inner = nn.Identity() end
    function Fail:forward(x) return torch.linalg_cholesky(self.inner(x) - 1e3) end
    local net = nn.Sequential { { "first", nn.Identity() }, { "fail", Fail() }, { "last", nn.Identity() } }
    local model = ls.Model(net)
    local out = model:trace(torch.eye(2), function()
      model.fail:skip(model.first.output * 3)
      return model.last.output
    end)
    assert.equal(6, out:sum():item())
    local err = failure(function()
      model:trace(torch.eye(2), function()
        model.fail:skip(model.first.output * 3)
        return model.fail.inner.output
      end)
    end)
    assert.equal("unreached", err.code)
    assert.matches("skipped", err.message, 1, true)
    assert.equal("fail.inner.output", err.point)
  end)

  it("covers the rows of its invoke", function()
    local model, net, x = small()
    local y, a, b = torch.randn(2, 5), nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.act:skip(model.layer1.output * 2)
        a = model.output:save()
      end)
      tracer:invoke(y, function() b = model.output:save() end)
    end)
    near(net.layer2(net.layer1(x) * 2), a)
    near(net(y), b)
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.act:skip(model.layer1.output * 2)
        a = model.output:save()
      end)
      tracer:invoke(y, function()
        model.act:skip(model.layer1.output * 3)
        b = model.output:save()
      end)
    end)
    near(net.layer2(net.layer1(x) * 2), a)
    near(net.layer2(net.layer1(y) * 3), b)
  end)
end)

describe("tracer:apply", function()
  it("calls a Lua function with real values while the model runs", function()
    local model, net, x = small()
    local seen, out
    model:trace(x, function(tracer)
      local y = tracer:apply(function(h, k)
        seen = h:sum():item()
        return h * k
      end, model.act.output, 3)
      model.layer2.input = y
      out = model.output:save()
    end)
    near(net.act(net.layer1(x)):sum():item(), seen)
    near(net.layer2(net.act(net.layer1(x)) * 3), out)
  end)

  it("passes on what the function raises, and leaves nothing behind", function()
    local model, _, x = small()
    local mine = {}
    assert.equal(mine, failure(function()
      model:trace(x, function(tracer) tracer:apply(function() error(mine) end, model.output) end)
    end))
    assert.same({ 1, 2 }, model(x):size():tolist())
  end)

  it("lets the function trace models of its own", function()
    local model, net, x = small()
    local out
    model:trace(x, function(tracer)
      out = tracer:apply(function(h)
        return model:trace(h["..., :5"], function() return model.output end).value
      end, model.layer1.output):save()
    end)
    near(net(net.layer1(x)["..., :5"]), out)
  end)
end)

describe("tracer:cache", function()
  it("keeps the outputs of modules by pattern, in the order reached", function()
    local model, net, x = small()
    local cache
    model:trace(x, function(tracer) cache = tracer:cache { modules = { "layer*", "act" }, inputs = true } end)
    assert.same({ "layer1", "act", "layer2" }, cache:keys())
    near(net.act(net.layer1(x)), cache["act"].output)
    near(net.act(net.layer1(x)), cache["layer2"].input[0][0])
    assert.matches('did you mean "layer', failure(function() return cache["layer3"] end).message)
  end)

  it("knows the standard names of a language model", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local cache
    model:trace("Mary", function(tracer) cache = tracer:cache { modules = { "layers.*.mlp", "norm" } } end)
    assert.same({ "transformer.h.0.mlp", "transformer.h.1.mlp", "transformer.h.2.mlp", "transformer.h.3.mlp",
      "transformer.ln_f" }, cache:keys())
    assert.is_true(torch.equal(cache["layers.2.mlp"].output, cache["transformer.h.2.mlp"].output))
    assert.equal("[1, 1, 128]", tostring(cache["norm"].output.shape))
    assert.equal("name", failure(function() return cache["layers.9.mlp"] end).code)
  end)

  it("takes values at modules too, by standard names and taps", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local cache, kept
    model:trace("Mary and", function(tracer)
      cache = tracer:cache { modules = { "layers.*.resid_post", "transformer.h.2.attn.pattern" }, inputs = true }
      kept = model.layers[1].resid_post:save()
    end)
    assert.same({ "transformer.h.0.resid_post", "transformer.h.1.resid_post", "transformer.h.2.attn.pattern",
      "transformer.h.2.resid_post", "transformer.h.3.resid_post" }, cache:keys())
    assert.is_true(torch.equal(kept, cache["layers.1.resid_post"]))
    assert.equal("[1, 4, 2, 2]", tostring(cache["layers.2.attn.pattern"].shape))
    model:generate("Mary and", { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      cache = tracer:cache { modules = { "layers.0.resid_post" } }
    end)
    assert.equal(3, #cache["layers.0.resid_post"])
    assert.equal("[1, 1, 128]", tostring(cache["transformer.h.0.resid_post"][2].shape))
    for _, wrong in ipairs { "layers.*.residpost", "layers.0.resid_pos" } do
      assert.equal("name", failure(function()
        model:trace("Mary", function(tracer) tracer:cache { modules = { wrong } } end)
      end).code)
    end
  end)

  it("of all modules that run, and loud about what cannot be cached", function()
    local model, net, x = small()
    local cache
    model:trace(x, function(tracer) cache = tracer:cache() end)
    near(net(x), cache[""].output)
    assert.equal("state", failure(function() return cache["act"].input end).code)
    assert.equal("name", failure(function()
      model:trace(x, function(tracer) tracer:cache { modules = { "nothing*" } } end)
    end).code)
    assert.equal("passed", failure(function()
      model:trace(x, function(tracer)
        local _ = model.act.output.shape
        tracer:cache { modules = { "layer1" } }
      end)
    end).code)
  end)
end)

describe("ls.session", function()
  it("carries values from trace to trace without save", function()
    local model, net, x = small()
    local y = torch.randn(1, 5)
    local h, out
    ls.session(function()
      model:trace(x, function() h = model.layer1.output end)
      model:trace(y, function()
        model.layer1.output = model.layer1.output + h
        out = model.output:save()
      end)
    end)
    near(net.layer2(net.act(net.layer1(y) + net.layer1(x))), out)
  end)

  it("carries them between models, through invokes and gradients", function()
    local one, net1, x = small()
    local two, net2 = small()
    local out, grad
    ls.session(function()
      local h
      one:trace(function(tracer)
        tracer:invoke(x, function() h = one.act.output end)
        tracer:invoke(x, function() one.act.output[":"] = 0 end)
      end)
      two:trace(x, function()
        two.layer2.input = h * 2
        out = two.output:save()
        grad = two.act.input[0][0].grad:save()
        two.layer2(two.act.output):sum():backward()
      end)
    end)
    near(net2.layer2(net1.act(net1.layer1(x)) * 2), out)
    assert.same({ 1, 10 }, grad:size():tolist())
  end)

  it("gives a demanded value where it is asked for", function()
    local model, net, x = small()
    ls.session(function()
      local h
      model:trace(x, function() h = model.layer1.output:save() end)
      model:trace(x, function()
        near(net.layer1(x):sum():item(), h:sum():item())
      end)
    end)
  end)

  it("passes on an error and leaves nothing behind", function()
    local model, net, x = small()
    local mine = {}
    assert.equal(mine, failure(function()
      ls.session(function()
        model:trace(x, function() model.layer1.output[":"] = 0 end)
        error(mine)
      end)
    end))
    assert.is_true(torch.equal(model(x), net(x)))
  end)
end)

describe("modules that are called several times in one forward", function()
  it("are named by the number of the call", function()
    local Twice = nn.Module "Twice"
    function Twice:init() self.step = nn.Linear(4, 4) end
    function Twice:forward(x) return self.step(self.step(x):relu()) end
    local net = Twice()
    net:requires_grad_(false)
    local model, x = ls.Model(net), torch.randn(1, 4)
    local first, second, out, plain
    model:trace(x, function()
      first, second = model.step:call(0).output:save(), model.step:call(1).output:save()
      plain = model.step.output:save()
    end)
    near(net.step(x), first)
    near(first, plain)
    near(net(x), second)
    model:trace(x, function()
      model.step:call(1).input = torch.zeros(1, 4)
      model.step:next()
      out = model.step.output:save()
    end)
    near(net.step(torch.zeros(1, 4)), out)
    local err = failure(function() model:trace(x, function() return model.step:call(2).output end) end)
    assert.equal("unreached", err.code)
    assert.matches("2 times", err.message, 1, true)
  end)
end)

describe("a demand", function()
  it("that fails inside pcall is what the trace ends with", function()
    local model, _, x = small()
    local err = failure(function()
      model:trace(x, function()
        pcall(function() return model.layer1.output[":, 99"]:item() end)
        return model.output
      end)
    end)
    assert.equal("index", err.code)
  end)
end)

describe("stored edits", function()
  it("are part of every later run of a new handle, and not of the old one", function()
    local model, net, x = small()
    local y = torch.randn(3, 5)
    local runs = 0
    local edited = model:edit(function()
      runs = runs + 1
      model.act.output[":, 0"] = 0
      model.layer2.input = model.layer2.input[0][0] * 2
    end)
    local function want(v)
      local h = net.act(net.layer1(v))
      h[":, 0"] = 0
      return net.layer2(h * 2)
    end
    near(want(x), edited(x))
    near(want(y), edited:trace(y, function() return edited.output end))
    near(net(x), model(x))
    local a, b
    edited:trace(function(tracer)
      a = tracer:invoke(x, function() return edited.output end)
      b = tracer:invoke(y, function() return edited.output end)
    end)
    near(want(x), a)
    near(want(y), b)
    assert.equal(1, runs)
    local twice = edited:edit(function() edited.output = edited.output + 1 end)
    near(want(x) + 1, twice(x))
    near(want(x), edited(x))
  end)

  it("can be in place and be cleared", function()
    local model, net, x = small()
    model:edit({ inplace = true }, function() model.output = model.output * 3 end)
    near(net(x) * 3, model(x))
    near(net(x) * 3, model:trace(x, { trace = false }))
    model:clear_edits()
    near(net(x), model(x))
  end)

  it("take their tensors as they are when a trace runs", function()
    local model, net, x = small()
    local shift = torch.zeros(10)
    local edited = model:edit(function() model.act.output = model.act.output + shift end)
    shift:add_(1)
    near(net.layer2(net.act(net.layer1(x)) + 1), edited(x))
  end)

  it("call modules, added ones too", function()
    local model, net, x = small()
    local added = nn.Linear(10, 10)
    local edited = model:edit(function() model.act.output = added(model.act.output) end)
    near(net.layer2(added(net.act(net.layer1(x)))), edited(x))
    assert.matches("no part of the model", failure(function() edited:save_edits("/nowhere/edits") end).message, 1, true)
  end)

  it("are saved and loaded as data", function()
    local model, net, x = small()
    local path = os.tmpname()
    local edited = model:edit(function()
      local h = model.act.output
      h[":, 1:4"] = h["..., 0:3"] * torch.tensor { 1, 2.5, -3 }
      model.layer2.input = torch.clamp(model.layer2.input[0][0], { min = 0.1 })
      model.output = model.layer2(model.act.input[0][0]) + torch.cat({ model.output, model.output }, -1)[":, 1:3"]
    end)
    edited:save_edits(path)
    model:load_edits(path)
    assert.is_true(torch.equal(model(x), edited(x)))
    assert.is_false(support.is_near(net(x), model(x)))
    local file = io.open(path, "w")
    file:write '{"luasight_edits":1,"edits":[{"nodes":[{"node":0,"do":"read","name":"layer9.output"}]}]}'
    file:close()
    assert.equal("unreached", failure(function() model:load_edits(path) end).code)
    file = io.open(path, "w")
    file:write "nothing"
    file:close()
    assert.equal("format", failure(function() model:load_edits(path) end).code)
    os.remove(path)
    assert.equal("io", failure(function() model:load_edits(path) end).code)
  end)

  it("have no values to ask for, and no Lua functions in files", function()
    local model = small()
    assert.matches("only recorded", failure(function()
      model:edit(function() return model.act.output:sum():item() end)
    end).message, 1, true)
    local edited = model:edit(function(tracer)
      model.act.output = tracer:apply(function(h) return h * 2 end, model.act.output)
    end)
    local x = torch.randn(1, 5)
    assert.is_false(support.is_near(model(x), edited(x)))
    assert.matches("Lua function", failure(function() edited:save_edits("/nowhere/edits") end).message, 1, true)
  end)
end)

describe("model:scan", function()
  it("gives shapes and dtypes through every module, and computes nothing", function()
    local model, _, x = small()
    local shapes, other = {}, torch.randn(2, 10)
    local out = model:scan(x, function()
      for path, m in model:named_modules() do shapes[path] = tostring(m.output.shape) end
      local y = model.layer2(model.act.output * 2 + other)
      assert.same({ 2, 2 }, y:size():tolist())
      assert.equal("float32", y.dtype)
      return y
    end)
    assert.same({ [""] = "[1, 2]", layer1 = "[1, 10]", act = "[1, 10]", layer2 = "[1, 2]" }, shapes)
    assert.same({ 2, 2 }, out:size():tolist())
    assert.equal("meta", out.device)
    assert.is_false(pcall(function() model:scan(x, function() return model.output:sum():item() end) end))
    local err = failure(function() model:scan(x, function() return model.act.output:matmul(torch.ones(3, 3)) end) end)
    assert.equal("act.output", err.point)
  end)

  it("of a language model", function()
    local model = ls.LanguageModel("models/pretrained/ioi")
    model:scan("Mary and John", function()
      local T = model.transformer.h[0].output[0].shape[1]
      assert.equal(T, model.output.logits.shape[1])
      assert.equal(model.config.vocab_size, model.output.logits.shape[2])
      assert.same({ 1, model.config.n_head, T, T }, model.transformer.h[2].attn.pattern:size():tolist())
    end)
  end)
end)
