-- Folders that cannot be loaded, each with one line that says what, where and what next; and those that can.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local checkpoint = require "luasight.files.checkpoint"
local cjson = require "cjson"
local loader = require "luasight.lm.loader"
local torch = ls.torch
local weights = require "luasight.ffi.weights"

local reference = "spec/reference/gpt2/new"
local folder

local read = support.read

local function write(name, text) support.write(folder .. "/" .. name, text) end

---The config of the reference with changes; cjson.null removes.
local function configure(changes)
  local config = cjson.decode(read(reference .. "/config.json"))
  for name, v in pairs(changes) do
    config[name] = v
    if v == "" then config[name] = nil end
  end
  write("config.json", cjson.encode(config))
end

---The weights of the reference with changes; false removes.
local function reweight(changes)
  local tensors = ls.safetensors.load(reference .. "/model.safetensors")
  for name, t in pairs(changes) do tensors[name] = t or nil end
  ls.safetensors.save(folder .. "/model.safetensors", tensors)
end

local function failure(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_nil(err.message:find("\n", 1, true))
  assert.matches("loader_spec.lua", err.file)
  return err
end

---Opening the folder fails with these words and this hint.
local function refuses(code, message, hint)
  local err = failure(ls.LanguageModel, folder)
  assert.equal(code, err.code, tostring(err))
  assert.matches(message, err.message, 1, true)
  if hint then assert.matches(hint, err.hint, 1, true) end
end

describe("a folder that is no model", function()
  before_each(function()
    folder = support.folder()
    write("config.json", read(reference .. "/config.json"))
    write("model.safetensors", read(reference .. "/model.safetensors"))
  end)
  after_each(function() support.remove(folder) end)

  it("does not exist", function()
    local err = failure(ls.LanguageModel, folder .. "/nowhere")
    assert.equal("io", err.code)
    assert.matches(folder .. "/nowhere: there is no such folder", err.message, 1, true)
    assert.matches("config.json", err.hint, 1, true)
  end)

  it("has no configuration, or a broken one", function()
    os.remove(folder .. "/config.json")
    refuses("io", "there is no config.json in this folder", "as Hugging Face stores it")
    write("config.json", '{ "model_type": "gpt2", ')
    refuses("format", folder .. "/config.json: the JSON cannot be read: not valid JSON", "download the file again")
    write("config.json", "[1, 2]")
    refuses("format", "does not hold a JSON object")
  end)

  it("is of an unknown kind", function()
    configure { model_type = "gpt3" }
    refuses("name", folder .. '/config.json: luasight has no model of the type "gpt3" (did you mean "gpt2"', "gpt2")
    configure { model_type = "" }
    refuses("format", "/config.json: the setting model_type is missing", "luasight has ")
    configure { model_type = 7 }
    refuses("format", "the setting model_type is missing")
  end)

  it("has settings that mean nothing, or what is not implemented", function()
    for message, changes in pairs {
      ['luasight has no activation function "gelu_neww" (did you mean "gelu_new"'] = { activation_function = "gelu_neww" },
      ["n_embd is 16, which 3 heads (n_head) cannot share evenly"] = { n_head = 3 },
      ["n_layer is -1, but it must be a whole number above 0"] = { n_layer = -1 },
      ["n_layer is 1.5, but it must be"] = { n_layer = 1.5 },
      ['n_embd is "16", but it must be a whole number'] = { n_embd = "16" },
      ["attn_pdrop is 2, but it must be a number from 0 to 1"] = { attn_pdrop = 2 },
      ["scale_attn_weights is 1, but it must be true or false"] = { scale_attn_weights = 1 },
      ["n_embd is 16, but hidden_size, another name for it, is 32"] = { hidden_size = 32 },
      ["add_cross_attention = true is not implemented"] = { add_cross_attention = true },
      ["quantization_config is not implemented"] = { quantization_config = { bits = 4 } },
      ["pruned_heads is not implemented"] = { pruned_heads = { ["0"] = { 1 } } },
    } do
      configure(changes)
      local err = failure(ls.LanguageModel, folder)
      assert.matches(folder .. "/config.json: ", err.message, 1, true)
      assert.matches(message, err.message, 1, true)
    end
  end)

  it("has no weights, or weights that are not what they say", function()
    write("model.safetensors", read(reference .. "/model.safetensors"):sub(1, -100))
    refuses("format", folder .. "/model.safetensors: ")
    write("model.safetensors", "")
    refuses("format", folder .. "/model.safetensors: ")
    os.remove(folder .. "/model.safetensors")
    refuses("io", "there is no model.safetensors in this folder")
  end)

  it("has weights of another shape", function()
    configure { n_embd = 32 }
    refuses("format", folder .. ": the weights do not fit config.json: size mismatch for transformer.h.0.attn.c_attn.bias: " ..
      "[48] in the file, [96] asked for by config.json; the same is true of 39 more", "from the same place")
    configure {}
    reweight { ["transformer.ln_f.bias"] = torch.zeros(17) }
    refuses("format", "size mismatch for transformer.ln_f.bias: [17] in the file, [16] asked for by config.json")
    assert.same({ "transformer.ln_f.bias" }, failure(ls.LanguageModel, folder).mismatched_keys)
  end)

  it("lacks weights, or has those of another model", function()
    configure { n_layer = 4 }
    refuses("format", "missing keys: transformer.h.3.attn.c_attn.bias, transformer.h.3.attn.c_attn.weight, " ..
      "transformer.h.3.attn.c_proj.bias, ... (12 of 53)")
    configure { n_layer = 2 }
    refuses("format", "unexpected keys: transformer.h.2.attn.c_attn.bias, ")
    configure { tie_word_embeddings = false }
    refuses("format", "missing keys: lm_head.weight")
    configure {}
    reweight { ["transformer.wte.weight"] = false, ["score.weight"] = torch.zeros(2, 16) }
    refuses("format", "missing keys: transformer.wte.weight; unexpected keys: score.weight")
    local err = failure(ls.LanguageModel, folder)
    assert.same({ "transformer.wte.weight" }, err.missing_keys)
    assert.same({ "score.weight" }, err.unexpected_keys)
  end)

  it("holds a parameter twice, or as whole numbers", function()
    reweight { ["ln_f.bias"] = torch.zeros(16) }
    refuses("format", "two tensors for one parameter")
    reweight { ["transformer.ln_f.bias"] = torch.zeros(16, { dtype = "int8" }) }
    refuses("format", "transformer.ln_f.bias holds int8, not floating-point numbers")
  end)
end)

describe("the head's weights", function()
  local ids = { 3, 1, 4 }
  local wte

  before_each(function()
    folder = support.folder()
    configure {}
    wte = ls.safetensors.load(reference .. "/model.safetensors")["transformer.wte.weight"]
  end)
  after_each(function()
    wte = nil
    support.remove(folder)
  end)

  local function is_tied(net) return rawequal(net.lm_head.weight, net.transformer.wte.weight) end

  it("are the embedding where the file has one of the two", function()
    local expected = ls.LanguageModel(reference)(ids).logits
    reweight { ["transformer.wte.weight"] = false, ["lm_head.weight"] = wte }
    local net = loader.network(folder)
    assert.is_true(is_tied(net))
    assert.is_true(torch.equal(expected, ls.LanguageModel(net)(ids).logits))
  end)

  it("are the embedding where both are there and equal", function()
    reweight { ["lm_head.weight"] = wte:clone() }
    assert.is_true(is_tied(loader.network(folder)))
  end)

  it("are their own where the two differ", function()
    reweight { ["lm_head.weight"] = wte * 2 }
    local net = loader.network(folder)
    assert.is_false(is_tied(net))
    assert.is_false(net.config.tie_word_embeddings)
    local expected = ls.LanguageModel(reference)(ids).logits * 2
    near(ls.LanguageModel(net)(ids).logits, expected, nil, "whole_model")
  end)
end)

describe("a parameter that the file holds in pieces", function()
  local old = "spec/reference/families/mixtral-old"
  local experts = "model.layers.0.block_sparse_moe.experts."
  local gate, down = experts .. "0.w1.weight", experts .. "1.w2.weight"

  ---The weights in one file, with changes; false removes.
  local function opened(changes)
    local shards, tensors = checkpoint.read(old), {}
    for _, name in ipairs(shards:keys()) do tensors[name] = shards:get(name) end
    for name, change in pairs(changes) do tensors[name] = change and change(tensors[name]) or nil end
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute(("mkdir %s && cp %s/config.json %s"):format(folder, old, folder)) == 0)
    finally(function() os.execute("rm -r " .. folder) end)
    ls.safetensors.save(folder .. "/model.safetensors", tensors)
    return loader.network(folder)
  end

  it("is put together", function()
    local input = torch.tensor({ { 3, 4, 5 } }, { dtype = "int64" })
    local got, want = opened({}), loader.network(old)
    assert.is_true(torch.equal(want(input).logits, got(input).logits))
  end)

  it("is refused where the pieces differ, where one is missing, and where the whole has another shape", function()
    local function narrow(t) return t:narrow(1, 0, t:size(1) - 1):clone() end
    for message, changes in pairs {
      ["experts.0.w1.weight and others) differ in shape or dtype"] = { [gate] = narrow },
      ["experts.0.w2.weight and others) differ in shape or dtype"] = { [down] = function(t) return t:half() end },
      ["are not all there: number 0 of expert 1 is missing"] = { [down] = false },
    } do
      local err = failure(opened, changes)
      assert.equal("format", err.code)
      assert.matches(message, err.message, 1, true)
    end
    local changes = {}
    for _, name in ipairs(checkpoint.read(old):keys()) do
      if name:find "layers%.0%..*w2" then changes[name] = narrow end
    end
    local err = failure(opened, changes)
    assert.matches("size mismatch for model.layers.0.block_sparse_moe.experts.0.w2.weight: [", err.message, 1, true)
    assert.matches("%[(%d+), (%d+), (%d+)%] in the file, %[%1, %2, %d+%] asked for by config.json", err.message)
  end)
end)

describe("what is loaded", function()
  it("asks the file about each tensor once", function()
    local describe_tensor, count = weights.describe, {}
    function weights.describe(file, i)
      count[i] = (count[i] or 0) + 1
      return describe_tensor(file, i)
    end
    finally(function() weights.describe = describe_tensor end)
    loader.network(reference)
    local names = checkpoint.read(reference):keys()
    for i = 0, #names - 1 do assert.equal(2, count[i]) end -- one for this list of names
  end)

  it("is the file's memory, in evaluation mode and not for training", function()
    local net = loader.network(reference)
    assert.is_false(net.training)
    for name, p in net:named_parameters() do assert.is_false(p.requires_grad, name) end
  end)

  it("keeps the file's dtype unless told", function()
    assert.equal("float32", loader.network(reference).lm_head.weight.dtype)
    local net = loader.network(reference, { dtype = "bfloat16" })
    for name, p in net:named_parameters() do assert.equal("bfloat16", p.dtype, name) end
    assert.equal("bfloat16", ls.LanguageModel(net) { 1, 2 }.logits.dtype)
  end)

  it("refuses devices, dtypes and options that do not exist", function()
    for message, options in pairs {
      ['there is no device "gpu"'] = { device = "gpu" },
      ['cannot have the dtype "bfloat61" (did you mean "bfloat16"'] = { dtype = "bfloat61" },
      ['ls.LanguageModel has no option "tokeniser" (did you mean "tokenizer"?)'] = { tokeniser = 1 },
    } do
      assert.matches(message, failure(ls.LanguageModel, reference, options).message, 1, true)
    end
    if torch.device_count "cuda" == 0 then
      local err = failure(ls.LanguageModel, reference, { device = "cuda" })
      assert.matches('there is no device "cuda"', err.message, 1, true)
      assert.equal("cpu", ls.LanguageModel(reference, { device = "auto" }).lm_head.weight.device)
    end
    assert.matches("not a number", failure(ls.LanguageModel, 5).message, 1, true)
  end)
end)
