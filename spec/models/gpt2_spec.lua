-- GPT-2 against transformers (spec/reference/gpt2.py made the numbers) and against what nano-sort's authors published.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local activations = require "luasight.models.activations"
local gpt2 = require "luasight.models.gpt2"
local loader = require "luasight.lm.loader"
local torch = ls.torch

local reference = "spec/reference/gpt2/"
local data = os.getenv "LUASIGHT_DATA" or "../shared/data"
local cases = { "new", "old", "inverse", "unscaled", "shared-names" }


local function text_of(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---Points whose value is a tuple: blocks and attentions.
local function hidden(path, value)
  if path:find "%.h%.%d+$" or path:find "%.attn$" then return value[0] end
  return value
end

for _, case in ipairs(cases) do
  describe("a GPT-2 as transformers has it: " .. case, function()
    local expected
    local function network() return loader.network(reference .. case) end

    setup(function() expected = ls.safetensors.load(reference .. case .. "/reference.safetensors") end)
    teardown(function() expected = nil end)

    it("prints as there", function()
      assert.equal(text_of(reference .. case .. "/print.txt"), tostring(ls.LanguageModel(network())) .. "\n")
    end)

    it("gives the same logits and the same output at every module", function()
      local net, seen, count = network(), {}, 0
      local model = ls.LanguageModel(net)
      model:trace(expected.ids, function()
        for name in pairs(expected) do
          local path = name:match "^out%.(.*)"
          if path and not path:find "attn_dropout" then seen[path] = hidden(path, model:get(path).output):save() end
        end
        seen.logits = model.output.logits:save()
      end)
      near(expected.logits, seen.logits, "logits", "whole_model")
      seen.logits = nil
      for path, value in pairs(seen) do
        near(expected["out." .. path], value, path, "whole_model")
        count = count + 1
      end
      assert.equal(4 + 1 + 12 * net.config.n_layer, count) -- wte wpe drop ln_f, lm_head; twelve in a block
    end)

    it("has the same attention patterns", function()
      local patterns, model = {}, ls.LanguageModel(network())
      model:trace(expected.ids, function()
        for i, block in model.transformer.h:each() do patterns[i] = block.attn.pattern:save() end
      end)
      for i = 0, #model.transformer.h - 1 do near(expected["pattern." .. i], patterns[i], "pattern " .. i, "whole_model") end
    end)

    it("gives the same gradients to every parameter", function()
      local net = network()
      net:requires_grad_(true)
      local logits = net(expected.ids).logits
      local loss = torch.cross_entropy_loss(logits[":, :-1"]:flatten(0, 1), expected.ids[":, 1:"]:flatten())
      near(expected.loss, loss:detach(), "loss", "whole_model")
      loss:backward()
      local wanted = {}
      for name in pairs(expected) do
        if name:find "^grad%." then wanted[name] = true end
      end
      for name, p in net:named_parameters() do
        near(expected["grad." .. name], p.grad, name, "gradient")
        wanted["grad." .. name] = nil
      end
      assert.is_nil(next(wanted))
    end)

    it("takes embeddings in the place of ids, and gives them gradients", function()
      local embeds = expected.embeds:clone():requires_grad_()
      local logits = network() { inputs_embeds = embeds }.logits
      near(expected["embeds.logits"], logits:detach(), "logits", "whole_model")
      torch.cross_entropy_loss(logits[":, :-1"]:flatten(0, 1), expected.ids[":, 1:"]:flatten()):backward()
      near(expected["embeds.grad"], embeds.grad, "gradient", "gradient")
    end)

    it("counts positions from the first real token of a padded row", function()
      local mask, model = expected["padded.mask"], ls.LanguageModel(network())
      local logits = model { input_ids = expected["padded.ids"], attention_mask = mask }.logits
      local real = mask:ne(0)
      near(expected["padded.logits"][real], logits[real], "logits", "whole_model")
    end)
  end)
end

describe("activation functions", function()
  it("are those of transformers, with its classes", function()
    local expected = ls.safetensors.load(reference .. "activations.safetensors")
    local count = 0
    for name, class in text_of(reference .. "activations.txt"):gmatch "(%S+) (%S[^\n]*)" do
      local module = activations.new(name)
      assert.equal(class, tostring(module))
      near(expected[name], module(expected.x), name)
      count = count + 1
    end
    assert.equal(#activations.names(), count)
  end)
end)

describe("nano-sort, a trained GPT-2", function()
  local folder = data .. "/models/nano-sort"
  local file = io.open(folder .. "/config.json")
  if not file then
    pending("has its published activations and sorts (no " .. folder .. ")")
    return
  end
  file:close()

  it("has the 25 published activations at its points", function()
    local golden = ls.safetensors.load(folder .. "/golden_activations.safetensors")
    local model = ls.LanguageModel(folder)
    local got = {}
    model:trace(golden.idx:to "int64", function()
      local t = model.transformer
      local block = t.h[0]
      got.idx = t.input[0][0]
      got.tok_emb, got.pos_emb, got.x = t.wte.output, t.wpe.output, t.drop.output
      got.ln1, got.qkv = block.ln_1.output, block.attn.c_attn.output
      got.q, got.k, got.v, got.att, got.attSm = block.attn.q, block.attn.k, block.attn.v, block.attn.scores,
        block.attn.pattern
      got.y, got.yProj = block.attn.c_proj.input[0][0], block.attn.output[0]
      got.attnResid, got.ln2 = block.ln_2.input[0][0], block.ln_2.output
      got.fc, got.gelu, got.mlp = block.mlp.c_fc.output, block.mlp.act.output, block.mlp.output
      got.mlpResid = block.output[0]
      got.block0, got.block1, got.block2 = t.h[0].output[0], t.h[1].output[0], t.h[2].output[0]
      got.ln_f, got.lm_head = t.ln_f.output, model.lm_head.output
      got.probs = model.output.logits:softmax(-1)
      for _, proxy in pairs(got) do proxy:save() end
    end)
    local count = 0
    for name, expected in pairs(golden) do
      near(expected, got[name]:to "float32", name, "order")
      count = count + 1
    end
    assert.equal(25, count)
  end)

  it("sorts all 729 inputs", function()
    local model = ls.LanguageModel(folder)
    local digits = torch.arange(3)
    local ids = torch.cartesian_prod(digits, digits, digits, digits, digits, digits)
    local sorted = ids:sort(1)
    assert.equal(729, ids.shape[0])
    for _ = 1, 6 do
      local nextid = model(ids).logits[":, -1"]:argmax(-1)
      ids = torch.cat({ ids, nextid:unsqueeze(1) }, 1)
    end
    assert.is_true(torch.equal(sorted, ids[":, 6:"]))
  end)
end)

describe("padding", function()
  local function open() return ls.LanguageModel(reference .. "new") end
  local rows = { { 3, 1, 4, 1, 5, 9, 2 }, { 6, 5 }, { 18 }, { 8, 9, 7, 9 } }

  it("gives each row the numbers that it has alone", function()
    local model = open()
    local together = model(rows).logits
    for i, row in ipairs(rows) do
      near(model(row).logits[0], together[{ i - 1, { 7 - #row } }], "row " .. i, "whole_model")
    end
  end)

  it("never influences a real token", function()
    local model = open()
    local ids, mask = model:trace(rows, function() return model.input[1].input_ids, model.input[1].attention_mask end)
    local other = torch.where(mask:ne(0), ids, ids + 7)
    assert.is_false(torch.equal(ids, other))
    local real = mask:ne(0)
    local a = model { input_ids = ids, attention_mask = mask }.logits
    local b = model { input_ids = other, attention_mask = mask }.logits
    assert.is_true(torch.equal(a[real], b[real]))
    assert.is_true(a:isfinite():all():item())
  end)

  it("is looked at by itself only, and its patterns are numbers too", function()
    local model = open()
    local pattern = model:trace({ rows[1], rows[2] }, function() return model.transformer.h[1].attn.pattern end)
    near(torch.ones(2, 4, 7), pattern:sum(-1), "rows of the pattern", "whole_model")
    near(torch.eye(7)[":5"]:expand(4, 5, 7), pattern["1, :, :5"], "padding", "whole_model")
    assert.equal(0, pattern["1, :, 5:, :5"]:abs():max():item())
  end)

  it("counts positions from the first real token", function()
    local model = open()
    local positions = model:trace(rows, function() return model.transformer.wpe.input[0][0] end)
    assert.same({ 0, 0, 0, 0, 0, 0, 1 }, positions[1]:tolist())
    assert.same({ 0, 1, 2, 3, 4, 5, 6 }, positions[0]:tolist())
  end)

  it("makes no mask where there is none", function()
    local model = open()
    local options = model:trace({ 1, 2, 3 }, function() return model.transformer.h[0].input[1] end)
    assert.equal(0, #options)
  end)
end)

describe("one recording", function()
  it("serves every batch and length", function()
    local model = ls.LanguageModel(reference .. "new")
    local long = torch.randint(0, 19, { 3, 12 })
    local whole = model(long).logits
    for length = 1, 12 do
      near(whole[{ {}, { 0, length } }], model(long[{ {}, { 0, length } }]).logits, "length " .. length, "whole_model")
    end
    near(whole[{ { 1, 2 } }], model(long[1]).logits, "one row", "whole_model")
  end)
end)

describe("the taps of an attention", function()
  local ids, D = { 3, 1, 4, 1, 5, 9 }, 8
  local function open()
    local model = ls.LanguageModel(reference .. "inverse")
    return model, model.transformer.h[1].attn
  end

  it("equal their formulas", function()
    local model, attn = open()
    local qkv, q, k, v, scores, pattern, z, y = model:trace(ids, function()
      return attn.c_attn.output, attn.q, attn.k, attn.v, attn.scores, attn.pattern, attn.z, attn.c_proj.input[0][0]
    end)
    for i, tap in ipairs { q, k, v } do
      near(qkv[{ {}, {}, { 16 * (i - 1), 16 * i } }]:view(1, 6, 2, D):transpose(1, 2), tap, "q, k or v " .. i, "whole_model")
    end
    local later = torch.ones(6, 6, { dtype = "bool" }):triu(1)
    local scale = D ^ -0.5 / 2 -- 2: it is layer 1
    near((q:matmul(k:transpose(2, 3)) * scale):masked_fill(later, -math.huge), scores, "scores", "whole_model")
    near(scores:softmax(-1), pattern, "pattern", "whole_model")
    near(pattern:matmul(v), z, "z", "whole_model")
    near(z:transpose(1, 2):flatten(2), y, "what c_proj reads", "whole_model")
  end)

  it("can be set, and the model goes on from what was set", function()
    local model, attn = open()
    local q, k, v, scores = model:trace(ids, function() return attn.q, attn.k, attn.v, attn.scores end)
    local function z_with(tap, value)
      local z, logits
      model:trace(ids, function()
        attn[tap] = value
        z = attn.z:save()
        logits = model.output.logits:save()
      end)
      return z, logits
    end
    local clean = model(ids).logits
    local function check(tap, value, expected)
      local z, logits = z_with(tap, value)
      near(expected, z, tap, "whole_model")
      assert.is_true((logits - clean):abs():max():item() > 1e-3, tap .. " changes the answer")
    end
    local later = torch.ones(6, 6, { dtype = "bool" }):triu(1)
    local function attend(a, b, c)
      return (a:matmul(b:transpose(2, 3)) * D ^ -0.5 / 2):masked_fill(later, -math.huge):softmax(-1):matmul(c)
    end
    check("q", q:flip(2), attend(q:flip(2), k, v))
    check("k", k * 2, attend(q, k * 2, v))
    check("v", v + 1, attend(q, k, v + 1))
    check("scores", scores * 3, (scores * 3):softmax(-1):matmul(v))
    local looks_at_itself = torch.eye(6):expand(1, 2, 6, 6):clone()
    check("pattern", looks_at_itself, v)
    check("z", v * 0, v * 0)
  end)

  it("can be edited in place, one head and one position alone", function()
    local model, attn = open()
    local before = model:trace(ids, function() return attn.z end)
    local after = model:trace(ids, function()
      attn.pattern[":, 1, -1, 0"] = 0
      return attn.z
    end)
    local changed = (before - after):abs():sum(-1):gt(1e-4)[0] -- else only the unfused form was rounded otherwise
    assert.same({ { false, false, false, false, false, false }, { false, false, false, false, false, true } },
      changed:tolist())
  end)
end)

describe("a GPT-2 of one's own", function()
  local config = { vocab_size = 11, n_positions = 8, n_embd = 8, n_layer = 2, n_head = 2, resid_pdrop = 0.5,
    embd_pdrop = 0.5, attn_pdrop = 0.5 }

  it("begins as transformers begins", function()
    torch.manual_seed(3)
    local net = gpt2.new { vocab_size = 500, n_positions = 64, n_embd = 64, n_layer = 8, n_head = 2 }
    local function std(t) return t:std():item() end
    assert.near(0.02, std(net.transformer.wte.weight), 1e-3)
    assert.near(0.02, std(net.transformer.h[3].mlp.c_fc.weight), 1e-3)
    assert.near(0.02 / 4, std(net.transformer.h[3].mlp.c_proj.weight), 3e-4)
    assert.near(0.02 / 4, std(net.transformer.h[3].attn.c_proj.weight), 3e-4)
    assert.equal(0, net.transformer.h[3].attn.c_attn.bias:abs():max():item())
    assert.equal(1, net.transformer.ln_f.weight:min():item())
    assert.is_nil(tostring(net.config.n_inner):match "%d")
  end)

  it("shares the tensor of the embedding with the head where it is tied", function()
    local function parameters(net)
      local count = 0
      for _ in net:named_parameters() do count = count + 1 end
      return count
    end
    local tied = gpt2.new(config)
    local own = gpt2.new { vocab_size = 11, n_positions = 8, n_embd = 8, n_layer = 2, n_head = 2,
      tie_word_embeddings = false }
    assert.equal(4 + 2 * 12, parameters(tied))
    assert.equal(parameters(tied) + 1, parameters(own))
    torch.no_grad(function() tied.transformer.wte.weight:fill_(0.25) end)
    assert.equal(0.25, tied.lm_head.weight["0, 0"]:item())
  end)

  it("drops out while it trains and not else", function()
    torch.manual_seed(5)
    local net = gpt2.new(config)
    local ids = torch.tensor({ { 1, 2, 3, 4 } }, { dtype = "int64" })
    net:eval()
    local calm = net(ids).logits:detach()
    assert.is_true(torch.equal(calm, net(ids).logits:detach()))
    net:train()
    local first, second = net(ids).logits:detach(), net(ids).logits:detach()
    assert.is_false(torch.equal(first, second))
    net:eval()
    assert.is_true(torch.equal(calm, net(ids).logits:detach()))
  end)

  it("drops out attention patterns too", function()
    local net = gpt2.new { vocab_size = 11, n_positions = 8, n_embd = 8, n_layer = 1, n_head = 2, resid_pdrop = 0,
      embd_pdrop = 0, attn_pdrop = 0.5, initializer_range = 1 }
    local ids = torch.tensor({ { 1, 2, 3, 4 } }, { dtype = "int64" })
    net:train()
    assert.is_false(torch.equal(net(ids).logits:detach(), net(ids).logits:detach()))
  end)

  it("fails at the line that called it, whichever line recorded it", function()
    local net = gpt2.new(config)
    local good, bad = torch.tensor({ { 1, 2 } }, { dtype = "int64" }), torch.tensor({ { 1, 99 } }, { dtype = "int64" })
    net(good)
    local ok, err = pcall(function() return net(bad) end)
    assert.is_false(ok)
    assert.equal(debug.getinfo(1, "l").currentline - 2, err.line)
    assert.matches("^transformer.wte", err.point)
    ok, err = pcall(ls.LanguageModel(net).trace, ls.LanguageModel(net), bad, function() end)
    assert.is_false(ok)
    assert.equal("index", err.code)
  end)

  it("says what it cannot take", function()
    local net = gpt2.new(config)
    local ids = torch.tensor({ { 1, 2 } }, { dtype = "int64" })
    for message, f in pairs {
      ['no argument "attention_maks" (did you mean "attention_mask"?)'] = function() net(ids, { attention_maks = ids }) end,
      ["input_ids or inputs_embeds, not both"] = function() net(ids, { inputs_embeds = torch.zeros(1, 2, 8) }) end,
      ["this model needs the argument input_ids"] = function() net { attention_mask = ids } end,
    } do
      local ok, err = pcall(f)
      assert.is_false(ok)
      assert.matches(message, tostring(err), 1, true)
      assert.matches("gpt2_spec.lua", err.file)
    end
  end)
end)
