-- model:scan: shapes and dtypes through every module, without numbers.
local ls = require "luasight"
local support = require "spec.support"
local failure = support.failure
local torch = ls.torch

local small = support.small_model

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
    support.refused("state", "no numbers", function()
      model:scan(x, function() return model.output:sum():item() end)
    end)
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
