-- Folders whose weights are in files of PyTorch, and models without a head, against transformers (spec/reference/bins.py).
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local loader = require "luasight.lm.loader"
local torch = ls.torch

local reference = "spec/reference/bins/"

describe("a folder with files of PyTorch", function()
  for _, case in ipairs { "bert", "roberta", "distilbert", "llama", "gpt2" } do
    it("gives the model that transformers gives: " .. case, function()
      local expected = ls.safetensors.load(reference .. case .. "/reference.safetensors")
      local model = ls.LanguageModel(reference .. case, { dtype = "float32" })
      local out = model { input_ids = expected.ids, attention_mask = expected.mask }
      local seen = 0
      for name, want in pairs(expected) do
        if name ~= "ids" and name ~= "mask" then
          local got = out[name]
          assert.equal(tostring(want.shape), tostring(got.shape))
          local real = name == "pooler_output" and 1 or expected.mask:unsqueeze(-1)
          near(want * real, got * real, name, "order")
          seen = seen + 1
        end
      end
      assert.is_true(seen > 0)
    end)
  end

  it("keeps the file's dtype unless told", function()
    for _, dtype in ipairs { "auto", "float16" } do
      for _, p in loader.network(reference .. "roberta", { dtype = dtype }):named_parameters() do
        assert.equal("float16", p.dtype)
      end
    end
    assert.equal("bfloat16", loader.network(reference .. "bert", { dtype = "bfloat16" }).pooler.dense.weight.dtype)
  end)

  it("shares what the file shares", function()
    local net = loader.network(reference .. "gpt2")
    assert.is_true(rawequal(net.lm_head.weight, net.transformer.wte.weight))
  end)
end)

describe("a model without head", function()
  it("is traced as any other", function()
    local model = ls.LanguageModel(reference .. "bert", { dtype = "float32" })
    local expected = ls.safetensors.load(reference .. "bert/reference.safetensors")
    local last, pooled = model:trace({ input_ids = expected.ids, attention_mask = expected.mask }, function()
      return model.encoder.layer[-1].output[0], model.pooler.output
    end)
    near(expected.last_hidden_state[0], last[0])
    near(expected.pooler_output, pooled)
    local counted = expected.mask * torch.arange(1, expected.mask.shape[1] + 1)
    for _, mask in ipairs { expected.mask:to "bool", expected.mask:to "float32", counted } do -- only 0 or not counts
      near(pooled, model { input_ids = expected.ids, attention_mask = mask }.pooler_output)
    end
  end)
end)

describe("a model on the meta device", function()
  it("has shapes from config.json alone", function()
    local folder = support.folder()
    support.output("cp " .. reference .. "gpt2/config.json " .. folder)
    local model = ls.LanguageModel(folder, { device = "meta" })
    assert.equal("meta", model.lm_head.weight.device)
    for _, run in ipairs { function() return model { 1, 2 } end, function() return model:generate { 1, 2 } end,
      function() return (model:trace({ 1, 2 }, function() return model.output end)) end } do
      local ok, e = pcall(run)
      assert.is_false(ok)
      assert.equal("state", e.code)
      assert.matches("model:scan", e.hint)
    end
    local shape
    model:scan({ 1, 2, 3 }, function() shape = tostring(model.output.logits.shape) end)
    assert.equal("[1, 3, 19]", shape)
    local wide = ls.LanguageModel(folder, { device = "meta", dtype = "bfloat16" })
    assert.equal("bfloat16", wide.lm_head.weight.dtype)
    local net = ls.Model(loader.network(folder, { device = "meta" }))
    net:scan(torch.zeros(2, 4, { dtype = "int64" }), function()
      shape = tostring(net.transformer.output.last_hidden_state.shape)
    end)
    assert.equal("[2, 4, 16]", shape)
    support.remove(folder)
  end)
end)
