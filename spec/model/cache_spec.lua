-- tracer:cache: values at many modules, by pattern and by standard names.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch = ls.torch

local small = support.small_model

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

  it("case 6.12: moves values to a device in the shape that they have", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local cache
    model:trace("Mary", function(tracer)
      cache = tracer:cache { modules = { "layers.1", "lm_head" }, inputs = true, device = "cpu" }
    end)
    assert.equal("[1, 1, 128]", tostring(cache["layers.1"].input[0][0].shape))
    assert.equal("[1, 1, 128]", tostring(cache["lm_head"].input[0][0].shape))
    local Fields = ls.nn.Module "Fields"
    function Fields:forward(x) return ls.struct { { "a", x + 1 }, { "b", ls.tuple(x, x * 2) } } end
    ls.Model(Fields()):trace(torch.ones(1, 2), function(tracer) cache = tracer:cache { inputs = true, device = "cpu" } end)
    assert.same({ { 2, 2 } }, cache[""].output.a:tolist())
    assert.same({ { 2, 2 } }, cache[""].output.b[1]:tolist())
    assert.same({ { 1, 1 } }, cache[""].input[0][0]:tolist())
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
