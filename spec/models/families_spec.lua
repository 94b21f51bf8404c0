-- Every architecture against transformers: spec/reference/families.py made tiny checkpoints and the numbers.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local loader = require "luasight.lm.loader"
local models = require "luasight.models"
local torch = ls.torch

local cjson = require "cjson"
local reference = "spec/reference/families/"
local data = os.getenv "LUASIGHT_DATA" or "../shared/data"

local function text_of(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---`floor`: numbers that small are zeros with rounding errors.
---Of a tuple the first element, as in the reference.
local function hidden(value)
  value = value.value
  return tostring(value):find "^%(" and value[0] or value
end

-- So small a model is slower with several threads.
local threads
setup(function()
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
end)
teardown(function() torch.set_num_threads(threads) end)

for case in text_of(reference .. "cases.txt"):gmatch "%S+" do
  describe("transformers and a tiny " .. case, function()
    local expected
    local function network() return loader.network(reference .. case, { dtype = "float32" }) end
    local function inputs(ids, mask)
      return { input_ids = ids, attention_mask = mask, decoder_input_ids = expected.decoder_ids
        and expected.decoder_ids:expand(ids.shape[0], -1) }
    end

    setup(function() expected = ls.safetensors.load(reference .. case .. "/reference.safetensors") end)
    teardown(function() expected = nil end)

    it("print the same", function()
      assert.equal(text_of(reference .. case .. "/print.txt"), tostring(ls.LanguageModel(network())) .. "\n")
    end)

    it("give the same logits and the same output at every module", function()
      local model, seen, count = ls.LanguageModel(network()), {}, 0
      model:trace(inputs(expected.ids), function()
        for name in pairs(expected) do
          local path = name:match "^out%.(.*)"
          if path then seen[path] = model:get(path).output:save() end
        end
        seen.logits = model.output.logits:save()
      end)
      near(expected.logits, seen.logits, "logits", "whole_model")
      seen.logits = nil
      for path, value in pairs(seen) do
        local want, got = expected["out." .. path], hidden(value)
        if #got.shape == #want.shape + 1 then got = got:flatten(0, 1) end -- some join rows and positions there
        near(want, got, path, "whole_model")
        count = count + 1
      end
      assert.is_true(count > 10)
    end)

    it("have the same attention patterns", function()
      local model, count = ls.LanguageModel(network()), 0
      local patterns, by_path, keys = {}, {}, {}
      model:trace(inputs(expected.ids), function()
        for path, module in model:named_modules() do
          local has, pattern = pcall(function() return module.pattern end)
          local is_layer = pcall(function() return module.resid_pre end) -- which has its attention's too
          if has and not is_layer then
            patterns[#patterns + 1] = pattern:save()
            by_path[path:gsub("%.layer.*[.](%w+)$", ".%1")] = pattern
            keys[#patterns] = module.k:save()
          end
        end
      end)
      for name, value in pairs(expected) do
        local stack, i = name:match "^(%w*_?)pattern%.(%d+)$"
        if stack == "" then
          near(value, patterns[i + 1], name, "whole_model")
          assert.equal(model.config.num_key_value_heads or value.shape[1], keys[i + 1].shape[1])
        elseif stack then
          local path = ("%s.block.%d.%s"):format(stack == "encoder_" and "encoder" or "decoder", i,
            stack == "cross_" and "EncDecAttention" or "SelfAttention")
          near(value, by_path[path], name, "whole_model")
        end
        count = count + (stack and 1 or 0)
      end
      assert.is_true(count == #patterns or count == 0 and not expected["pattern.0"])
    end)

    it("give the same gradients", function()
      local net, count = network(), 0
      net:requires_grad_(true)
      local logits = net(inputs(expected.ids)).logits
      local targets = expected.targets
      local loss = torch.cross_entropy_loss(logits:narrow(1, 0, targets.shape[1]):flatten(0, 1), targets:flatten())
      near(expected.loss, loss:detach(), "loss", "whole_model")
      loss:backward()
      local state = {}
      for name, p in net:named_parameters() do state[name] = p end
      for name, value in pairs(expected) do
        local path = name:match "^grad%.(.*)"
        if path then
          near(value, assert(state[path], path).grad, path, "gradient", 1e-3)
          count = count + 1
        end
      end
      assert.is_true(count > 3)
    end)

    local causal = not case:find "bert" and not case:find "^t5"
    local any_length = not case:find "dynamic" and not case:find "^phi3" -- else angles depend on the length
    if causal and any_length then
      it("serve every length and batch with one recording", function()
        local model = ls.LanguageModel(network())
        near(expected.logits, model(expected.ids).logits, "the whole", "whole_model")
        near(expected.logits[":, :3"], model(expected.ids[":, :3"]).logits, "three positions", "whole_model")
        local twice = torch.cat({ expected.ids, expected.ids }, 0)
        near(torch.cat({ expected.logits, expected.logits }, 0), model(twice).logits, "two rows", "whole_model")
      end)
    end

    it("give each row of a padded batch the numbers that it has alone", function()
      local model, mask = ls.LanguageModel(network()), expected["padded.mask"]
      local logits = model(inputs(expected["padded.ids"], mask)).logits
      assert.is_true(logits:isfinite():all():item())
      if expected.decoder_ids then
        near(expected["padded.logits"], logits, "logits", "whole_model")
        return
      end
      local real = mask:ne(0)
      near(expected["padded.logits"][real], logits[real], "logits", "whole_model")
    end)
  end)
end

-- Every field that some architecture has; each takes its own.
local function small_config(name)
  local config = { vocab_size = 19, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2, head_dim = 8,
    num_key_value_heads = 1, intermediate_size = 12, max_position_embeddings = 32, pad_token_id = 0, rotary_dim = 4,
    partial_rotary_factor = 1, d_kv = 8, d_ff = 12, num_experts = 3, num_experts_per_tok = 2, moe_intermediate_size = 12 }
  if name == "mamba2" then config.num_heads, config.n_groups = 4, 2 end
  return config
end

local dropouts = { "attention_dropout", "attn_pdrop", "attention_probs_dropout_prob", "dropout_rate", "resid_pdrop",
  "embd_pdrop", "hidden_dropout", "hidden_dropout_prob", "dropout", "embed_dropout", "resid_dropout", "residual_dropout",
  "embedding_dropout" }

for _, name in ipairs(models.names()) do
  describe("a " .. name .. " of one's own", function()
    local ids = { { 1, 2, 3, 4, 5, 6 } }

    it("begins with numbers that can be trained", function()
      torch.manual_seed(1)
      local net = models.find(name).new(small_config(name))
      local logits = net(torch.tensor(ids, { dtype = "int64" })).logits
      assert.is_true(logits:isfinite():all():item())
      torch.cross_entropy_loss(logits:flatten(0, 1), torch.tensor(ids, { dtype = "int64" }):flatten()
        :narrow(0, 0, logits.shape[1])):backward()
      local largest = 0
      for path, p in net:named_parameters() do
        if type(p.grad) ~= "nil" then
          local size = p.grad:abs():max():item()
          assert.is_true(size == size and size < math.huge, path)
          largest = math.max(largest, size)
        end
      end
      assert.is_true(largest > 0)
    end)

    it("drops out while it trains and not else", function()
      local config, any = small_config(name), false
      local known = models.find(name).new(config).config
      for _, dropout in ipairs(dropouts) do
        if known[dropout] then
          config[dropout], any = 0.5, true
        end
      end
      if not any then return assert.matches("^mamba", name) end
      local net, tokens = models.find(name).new(config), torch.tensor(ids, { dtype = "int64" })
      local function logits() return net(tokens).logits:detach() end
      assert.is_false(torch.equal(logits(), logits()))
      net:eval()
      assert.is_true(torch.equal(logits(), logits()))
    end)
  end)
end

describe("weights of experts that a file holds one by one", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder) == 0)
    assert(os.execute(("cp %smixtral/config.json %s"):format(reference, folder)) == 0)
  end)
  after_each(function() os.execute("rm -r " .. folder) end)

  local first = "model.layers.0.block_sparse_moe.experts."

  ---Loading fails with this message after these changes; false removes a tensor.
  local function refuses(message, changes)
    local tensors = ls.safetensors.load(reference .. "mixtral/model.safetensors")
    for name, t in pairs(changes) do tensors[name] = t or nil end
    ls.safetensors.save(folder .. "/model.safetensors", tensors)
    local ok, err = pcall(loader.network, folder)
    assert.is_false(ok)
    assert.equal("format", err.code)
    assert.matches(message, err.message, 1, true)
  end

  it("are put together only where all are there and fit", function()
    refuses("are not all there: number 1 of expert 2 is missing", { [first .. "2.w3.weight"] = false })
    refuses("differ in shape or dtype", { [first .. "2.w2.weight"] = torch.zeros(16, 25, { dtype = "bfloat16" }) })
    refuses("[6, 48, 16] in the file, [5, 48, 16] asked for",
      { [first .. "5.w1.weight"] = torch.zeros(24, 16, { dtype = "bfloat16" }),
        [first .. "5.w3.weight"] = torch.zeros(24, 16, { dtype = "bfloat16" }) })
    refuses("are the same parameter", { ["model.layers.0.mlp.experts.down_proj"] = torch.zeros(5, 16, 24) })
  end)
end)

describe("a folder with a model without its head", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder) == 0)
  end)
  after_each(function() os.execute("rm -r " .. folder) end)

  local prefixes = { mistral = "model.", ["gpt_neox-old"] = "gpt_neox.", gptj = "transformer.", ["bloom-old"] = "transformer.",
    mixtral = "model.", ["mamba-old"] = "backbone." }

  ---Writes the folder: the tiny model of a case without the head, its parts named as without one.
  local function write(case, class, with)
    local config = cjson.decode(text_of(reference .. case .. "/config.json"))
    config.architectures = { class }
    local file = assert(io.open(folder .. "/config.json", "wb"))
    file:write(cjson.encode(config))
    file:close()
    local prefix, tensors = prefixes[case], {}
    for name, t in pairs(ls.safetensors.load(reference .. case .. "/model.safetensors")) do
      if not name:find "^lm_head" and not name:find "^embed_out" then
        tensors[name:sub(1, #prefix) == prefix and name:sub(#prefix + 1) or name] = t
      end
    end
    for name, t in pairs(with or {}) do tensors[name] = t end
    ls.safetensors.save(folder .. "/model.safetensors", tensors)
  end

  local norms = { mistral = "norm", ["gpt_neox-old"] = "final_layer_norm", gptj = "ln_f", ["bloom-old"] = "ln_f",
    mixtral = "norm", ["mamba-old"] = "norm_f" }

  for case, class in pairs { mistral = "MistralModel", ["gpt_neox-old"] = "GPTNeoXModel", gptj = "GPTJModel",
    ["bloom-old"] = "BloomModel", mixtral = "MixtralModel", ["mamba-old"] = "MambaModel" } do
    it("gives what transformers' model gives to its head: " .. class, function()
      write(case, class)
      local model = ls.LanguageModel(folder, { dtype = "float32" })
      assert.matches("^" .. class .. "%(", tostring(model))
      local expected = ls.safetensors.load(reference .. case .. "/reference.safetensors")
      local output, norm, pre, embed = model:trace(expected.ids, function()
        return model.output.last_hidden_state, model.norm.output, model.layers[0].resid_pre, model.embed.output
      end)
      local last = expected["out." .. prefixes[case] .. norms[case] ]
      near(last, output, "last_hidden_state", "whole_model")
      near(last, norm, "norm", "whole_model")
      if case == "mistral" then assert.is_true(torch.equal(embed.value, pre.value)) end
      local ok, err = pcall(function() return model.head end)
      assert.is_false(ok)
      assert.matches("no head: its folder has the model without a head", err.message)
      ok, err = pcall(function() return model:generate({ 3, 4 }, { max_new_tokens = 2 }) end)
      assert.is_false(ok)
      assert.matches("the model without a head, which would give logits", err.message)
    end)
  end

  it("is one only where the configuration says so, and then leaves the weights of a head", function()
    write("mistral", "MistralForCausalLM")
    local ok, err = pcall(loader.network, folder)
    assert.is_false(ok)
    assert.matches("missing keys: lm_head.weight", err.message, 1, true)
    write("mistral", "MistralModel", { ["lm_head.weight"] = torch.zeros(19, 16, { dtype = "bfloat16" }) })
    assert.equal("MistralModel", loader.network(folder)._class_name)
  end)

  it("is shown as what it is", function()
    write("mistral", "MistralModel")
    local pipe = io.popen("bin/luasight inspect --json " .. folder)
    local shown = cjson.decode(pipe:read "*a")
    pipe:close()
    assert.equal("MistralModel", shown.class)
    for _, t in ipairs(shown.tensors) do assert.is_nil(t.path:find "^model%." or t.path:find "^lm_head") end
  end)
end)

describe("a configuration", function()
  local function refused(name, changes, message)
    local config = small_config(name)
    for key, v in pairs(changes) do config[key] = v end
    local ok, err = pcall(models.find(name).new, config)
    assert.is_false(ok, message)
    assert.matches(message, err.message, 1, true)
  end

  it("that means what is not there is refused by name", function()
    refused("llama", { rope_scaling = { type = "ntk" } }, 'no rotary embeddings of the type "ntk"')
    refused("llama", { rope_scaling = { type = "linear" } }, "rope_type linear needs factor, a number")
    refused("phi3", { rope_scaling = { type = "su", short_factor = { 1 }, long_factor = 2 } },
      "rope_type longrope needs long_factor, a list of numbers")
    refused("llama", { num_attention_heads = 3, num_key_value_heads = 2 }, "no multiple of num_key_value_heads")
    refused("qwen2", { layer_types = { "full_attention" } }, "layer_types must be a list of num_hidden_layers (2) names")
    refused("qwen2", { layer_types = { "full_attention", "chunked_attention" } }, 'layer_types has "chunked_attention"')
    refused("gemma3_text", { use_bidirectional_attention = true }, "use_bidirectional_attention = true is not implemented")
    refused("phi", { partial_rotary_factor = 0.4 }, "rotary embeddings turn pairs")
    refused("gptj", { rotary_dim = 10 }, "rotary_dim is 10")
    refused("gpt_neo", { attention_types = { { { "global" }, 3 } } }, "attention_types is for 3 layers, there are 2")
    refused("gpt_neo", { attention_types = { { { "far" }, 2 } } }, 'attention_types has "far"')
    refused("opt", { layerdrop = 0.1 }, "layerdrop = 0.1 is not implemented")
    refused("bloom", { slow_but_exact = true, pretraining_tp = 2 }, "slow_but_exact")
    refused("falcon", { new_decoder_architecture = true, parallel_attn = false }, "new_decoder_architecture")
    refused("mixtral", { num_experts_per_tok = 9 }, "num_experts_per_tok is 9, but there are 3 experts")
    refused("bert", { position_embedding_type = "relative_key" }, 'position_embedding_type = "relative_key"')
    refused("bert", { is_decoder = true }, "is_decoder = true is not implemented")
    refused("mamba", { time_step_rank = "big" }, "time_step_rank is big")
    refused("mamba2", { num_heads = 3 }, "num_heads times head_dim is 24")
    refused("t5", { feed_forward_proj = "gated-gelu-x" }, "feed_forward_proj is")
  end)
end)

describe("stories260K, a trained Llama", function()
  local folder = data .. "/models/stories260K"
  local file = io.open(folder .. "/golden.json")
  if not file then
    pending("tells the published story and sees it coming as computed (no " .. folder .. ")")
    return
  end
  local golden = cjson.decode(file:read "*a").computed_here
  file:close()

  it("tells the published story, token by token", function()
    local model, ids = ls.LanguageModel(folder), golden.greedy_ids_200
    local read = { 1, unpack(ids, 1, #ids - 1) }
    assert.same(ids, model(read).logits[0]:argmax(-1):tolist())
  end)

  it("has the computed logit lens", function()
    local model, residuals, lens = ls.LanguageModel(folder), {}, {}
    model:trace(golden.prompt_ids, function()
      local function look(layer, x)
        residuals[layer] = x["0, -1"]:save()
        lens[layer] = model.lm_head(model.model.norm(x))["0, -1"]:log_softmax(-1):topk(3):save()
      end
      look(-1, model.model.embed_tokens.output)
      for i, block in model.model.layers:each() do look(i, block.output[0]) end
    end)
    for _, row in ipairs(golden["logit_lens_float64_layer_-1_is_embedding"]) do
      near(row.resid_norm, residuals[row.layer]:norm():item())
      local values = lens[row.layer]:tolist()
      for i, entry in ipairs(row.top3) do near(entry[2], values[i], nil, "order", 1) end
    end
  end)
end)
