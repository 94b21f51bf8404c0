-- Numbers that transformers 5.23 gives for inputs and settings beyond those of families_spec.lua, on the same tiny checkpoints.
local ls = require "luasight"
local loader = require "luasight.lm.loader"
local support = require "spec.support"
local torch = ls.torch

local reference = "spec/reference/families/"
local function ids(list) return torch.tensor(list, { dtype = "int64" }) end

describe("a hole in the mask of an encoder", function()
  for name, expected in pairs {
    bert = { 0.4483781, -1.380866, -0.963619, -0.6785289 },
    roberta = { 1.761452, -3.959349, 1.307182, -0.5276057 },
    distilbert = { 0.8978277, -0.2533189, 1.21028, -0.001749709 },
  } do
    it("case 1.7: does not move the positions behind it: " .. name, function()
      local model = ls.LanguageModel(loader.network(reference .. name, { dtype = "float32" }))
      local logits = model { input_ids = { { 5, 7, 9, 4, 11, 6 } }, attention_mask = { { 1, 1, 0, 0, 1, 1 } } }.logits
      support.near(expected, logits["0, -1, :4"], nil, "whole_model")
    end)
  end
end)

describe("a hole in the mask of a Mamba-2", function()
  it("has no influence by its token, and lets the state fade as in transformers", function()
    local model = ls.LanguageModel(loader.network(reference .. "mamba2-old", { dtype = "float32" }))
    for _, hidden in ipairs { 9, 14 } do
      local logits = model { input_ids = { { 5, 7, hidden, 4, 11, 6 } }, attention_mask = { { 1, 1, 0, 0, 1, 1 } } }.logits
      support.near({ -1.0996436, -0.7934743, -0.1223982, -0.0343426 }, logits["0, -1, :4"], nil, "whole_model")
    end
  end)
end)

describe("a T5 in float16", function()
  it("case 1.12: keeps the weights of wo in float32, whose products would be infinite", function()
    local net = loader.network(reference .. "t5", { dtype = "float16" })
    torch.no_grad(function()
      for path, p in net:named_parameters() do
        if path:find "%.wi%.weight$" or path:find "%.wi_0%.weight$" or path:find "%.wo%.weight$" then p:mul_(1000) end
      end
    end)
    local block = net.encoder.block[0]
    assert.equal("float32", block.layer[1].DenseReluDense.wo.weight.dtype)
    assert.equal("float16", block.layer[1].DenseReluDense.wi.weight.dtype)
    local half = torch.ones(1, 1, { dtype = "float16" })
    if not pcall(torch.matmul, half, half) then return pending "this libtorch has no products in float16 on the CPU" end
    local logits = ls.LanguageModel(net) { input_ids = { { 5, 7, 9, 4, 11, 6 } }, decoder_input_ids = { { 4, 6, 8 } } }.logits
    assert.equal("float16", logits.dtype)
    local expected = { 0.05636597, 0.4287109, -0.1925049, -0.03555298, -0.279541, -0.5639648 }
    for i, wanted in ipairs(expected) do assert.is_true(math.abs(logits[0][-1][i - 1]:item() - wanted) < 4e-3) end
  end)

  it("case 1.12: does so too where the file is in float16, and in no other dtype", function()
    local folder = support.folder()
    support.output(("cp -r %st5/* %s"):format(reference, folder))
    local tensors = ls.safetensors.load(folder .. "/model.safetensors")
    for name, t in pairs(tensors) do tensors[name] = t:to "float16" end
    ls.safetensors.save(folder .. "/model.safetensors", tensors)
    local function dtype_of(options)
      return loader.network(folder, options).decoder.block[0].layer[2].DenseReluDense.wo.weight.dtype
    end
    local own, brain = dtype_of(), dtype_of { dtype = "bfloat16" }
    support.remove(folder)
    assert.same({ "float32", "bfloat16" }, { own, brain })
  end)
end)

describe("the first token of a decoder beside an encoder", function()
  -- What transformers generates greedily with such a generation_config.json.
  for file, expected in pairs {
    ['{"decoder_start_token_id": 5, "bos_token_id": 7, "max_new_tokens": 6}'] = { { 5, 0, 0, 0, 0, 0, 0 } },
    ['{"bos_token_id": 7, "max_new_tokens": 6}'] = { { 7, 7, 7, 7, 7, 7, 7 } },
  } do
    it("case 1.13: is that of generation_config.json: " .. file, function()
      local folder = support.folder()
      support.output(("cp -r %st5/* %s"):format(reference, folder))
      support.write(folder .. "/generation_config.json", file)
      local model = ls.LanguageModel(loader.network(folder, { dtype = "float32" }))
      support.remove(folder)
      assert.same(expected, model:generate(ids { { 5, 7, 9, 4, 11, 6 } }):tolist())
    end)
  end
end)

describe("the cache of a generation", function()
  it("case 4.6: takes its sizes from the attention modules, not from the configuration", function()
    local prompt = { 3, 7, 11, 5 }
    for _, name in ipairs { "llama", "gpt_neox", "gpt_neo", "opt", "bloom", "falcon", "mixtral" } do
      local model = ls.LanguageModel(loader.network(reference .. name, { dtype = "float32" }))
      local expected = model:generate(prompt, { max_new_tokens = 5 }):tolist()
      local config = model.config
      config.num_key_value_heads, config.num_attention_heads, config.num_hidden_layers, config.head_dim = 1, 1, 9, 3
      assert.same(expected, model:generate(prompt, { max_new_tokens = 5 }):tolist(), name)
    end
  end)

  it("case 4.6: is left out where the layers differ in their heads", function()
    local net = loader.network(reference .. "llama", { dtype = "float32" })
    local attention = net.model.layers[1].self_attn
    -- two heads of the double width have the same number of weights as four
    attention.num_heads, attention.num_key_value_heads, attention.head_dim, attention.rotary_dim = 2, 1, 8, 4
    local model = ls.LanguageModel(net)
    local read = model:generate({ 3, 7, 11, 5 }, { max_new_tokens = 5, use_cache = false }):tolist()
    assert.same(read, model:generate({ 3, 7, 11, 5 }, { max_new_tokens = 5 }):tolist())
    support.refused("argument", "use_cache: the layers differ in the heads of their attentions", function()
      model:generate({ 3, 7, 11, 5 }, { max_new_tokens = 5, use_cache = true })
    end)
  end)
end)
