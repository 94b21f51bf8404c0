-- Every architecture against transformers: spec/reference/families.py made tiny checkpoints and the numbers.
local ls = require "luasight"
local loader = require "luasight.loader"
local torch = ls.torch

local cjson = require "cjson"
local reference = "spec/reference/families/"
local data = os.getenv "LUASIGHT_DATA" or "../shared/data"
local outputs, gradients = 2e-5, 1e-4 -- largest difference, as share of the largest number

local function text_of(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---`floor`: numbers that small are zeros with rounding errors.
local function near(expected, got, tolerance, name, floor)
  assert.equal(tostring(expected.shape), tostring(got.shape), name)
  local scale = math.max(expected:abs():max():item(), floor or 0)
  local difference = (expected - got):abs():max():item()
  if difference ~= difference or difference > tolerance * scale then
    error(("%s: off by %.3g of %.3g, tolerance %.3g"):format(name, difference, scale, tolerance * scale), 2)
  end
end

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
      near(expected.logits, seen.logits, outputs, "logits")
      seen.logits = nil
      for path, value in pairs(seen) do
        local want, got = expected["out." .. path], hidden(value)
        if #got.shape == #want.shape + 1 then got = got:flatten(0, 1) end -- some join rows and positions there
        near(want, got, outputs, path)
        count = count + 1
      end
      assert.is_true(count > 10)
    end)

    it("have the same attention patterns", function()
      local model, count = ls.LanguageModel(network()), 0
      local patterns, keys = {}, {}
      model:trace(inputs(expected.ids), function()
        for _, module in model:named_modules() do
          local has, pattern = pcall(function() return module.pattern end)
          if has then
            patterns[#patterns + 1], keys[#keys + 1] = pattern:save(), module.k:save()
          end
        end
      end)
      for name, value in pairs(expected) do
        local i = name:match "^pattern%.(%d+)$"
        if i then
          near(value, patterns[i + 1], outputs, name)
          assert.equal(model.config.num_key_value_heads or value.shape[1], keys[i + 1].shape[1])
          count = count + 1
        end
      end
      assert.is_true(count == #patterns or count == 0)
    end)

    it("give the same gradients", function()
      local net, count = network(), 0
      net:requires_grad_(true)
      local logits = net(inputs(expected.ids)).logits
      local targets = expected.targets
      local loss = torch.cross_entropy_loss(logits:narrow(1, 0, targets.shape[1]):flatten(0, 1), targets:flatten())
      near(expected.loss, loss:detach(), outputs, "loss")
      loss:backward()
      local state = {}
      for name, p in net:named_parameters() do state[name] = p end
      for name, value in pairs(expected) do
        local path = name:match "^grad%.(.*)"
        if path then
          near(value, assert(state[path], path).grad, gradients, path, 1e-3)
          count = count + 1
        end
      end
      assert.is_true(count > 3)
    end)

    it("give each row of a padded batch the numbers that it has alone", function()
      local model, mask = ls.LanguageModel(network()), expected["padded.mask"]
      local logits = model(inputs(expected["padded.ids"], mask)).logits
      assert.is_true(logits:isfinite():all():item())
      local real = expected.decoder_ids and mask.t[0]:ne(2) or mask:ne(0)
      near(expected["padded.logits"][real], logits[real], outputs, "logits")
    end)
  end)
end

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
      assert.near(row.resid_norm, residuals[row.layer]:norm():item(), 1e-4)
      local values = lens[row.layer]:tolist()
      for i, entry in ipairs(row.top3) do assert.near(entry[2], values[i], 1e-3) end
    end
  end)
end)
