-- What people ask of tools like this one, fourth part: batches of texts, on the model in the box.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local torch = ls.torch


local john = "When Mary and John went to the store, John gave a drink to"
local mary = "When Mary and John went to the store, Mary gave a drink to"
local short = "hot : cold , big :"

local model, blocks, tokenizer

setup(function()
  model = ls.LanguageModel "models/pretrained/ioi"
  blocks, tokenizer = model.transformer.h, model.tokenizer
  for _, input in ipairs { john, { john, mary }, { john, short } } do -- what is recorded for the model stays
    model(input)
    model:generate(input, { max_new_tokens = 2, eos_token_id = false }, function() return model.generator.output end)
  end
end)

teardown(function()
  model, blocks, tokenizer = nil, nil, nil
  collectgarbage()
  collectgarbage()
end)

---The token that a text is followed by, and the logits there.
local function alone(text)
  local logits = model:trace(text, function() return model.output.logits["0, -1"] end)
  return logits:argmax():item(), logits
end

describe("batches of texts", function()
  it("join a text, a list of two, one of ids, a tensor and invokes without input, in the order written", function()
    local rows, whole, again = {}, nil, nil
    local ids = torch.tensor({ tokenizer:encode(mary) }, { dtype = "int64" })
    local inputs = { john, { mary, john }, tokenizer:encode(short), ids }
    model:trace(function(tracer)
      for i, input in ipairs(inputs) do
        tracer:invoke(input, function() rows[i] = model.lm_head.output[":, -1"]:save() end)
        if i == 2 then tracer:invoke(function() whole = model.lm_head.output[":, -1"]:save() end) end
      end
      tracer:invoke(function() again = model.lm_head.output[":, -1"]:save() end)
    end)
    local sizes = {}
    for i, row in ipairs(rows) do sizes[i] = #row end
    assert.same({ 1, 2, 1, 1 }, sizes)
    assert.is_true(torch.equal(torch.cat(rows, 0), whole))
    assert.is_true(torch.equal(whole, again))
    near(rows[2][1], rows[1][0], nil, "order")
    near(rows[4][0], rows[2][0], nil, "order")
    local _, want = alone(short)
    near(want, rows[3][0], nil, "order")
  end)

  it("give the same, one list or several invokes", function()
    local listed = model:trace({ short, john, mary }, function() return model.lm_head.output[":, -1"] end)
    local invoked
    model:trace(function(tracer)
      tracer:invoke(short, function() end)
      tracer:invoke({ john, mary }, function() end)
      tracer:invoke(function() invoked = model.lm_head.output[":, -1"]:save() end)
    end)
    near(invoked, listed, nil, "order")
  end)

  it("truncate the text of one invoke by its own options", function()
    local cut, whole
    model:trace(function(tracer)
      tracer:invoke(john, { truncation = true, max_length = 4 }, function()
        cut = model.transformer.h[0].output[0].t["0:4"]:save()
        assert.is_false(pcall(function() return model.transformer.h[0].output[0].t[4] end))
      end)
      tracer:invoke(mary, function() whole = model.output.logits["0, -1"]:save() end)
    end)
    local ids = { unpack(tokenizer:encode(john), 1, 4) }
    near(model:trace(ids, function() return blocks[0].output[0] end), cut, nil, "order")
    local _, want = alone(mary)
    near(want, whole, nil, "order")
  end)

  it("keep a block's output that one invoke replaces by zeros from the other", function()
    local token, hidden, zeroed
    model:trace(function(tracer)
      tracer:invoke(john, function()
        blocks[-1].output = ls.tuple(torch.zeros_like(blocks[-1].output[0]))
        zeroed = blocks[-1].output[0]:save()
      end)
      tracer:invoke(john, function()
        hidden = blocks[-1].output:save()
        token = model.lm_head.output["0, -1"]:argmax { dim = -1 }:save()
      end)
    end)
    assert.equal(0, zeroed:abs():sum():item())
    assert.is_true(hidden[0]:ne(0):all():item())
    assert.equal(alone(john), token:item())
  end)

  it("skip a block for each invoke with its own value, and read the points of all layers backwards", function()
    local inputs, outs = { john, short }, {}
    model:trace(function(tracer)
      for i, text in ipairs(inputs) do
        tracer:invoke(text, function()
          outs[i] = {}
          blocks[1]:skip(blocks[0].output)
          for layer = 3, 0, -1 do outs[i][layer] = blocks[layer].output[0].t[-1]:save() end
        end)
      end
    end)
    for i, text in ipairs(inputs) do
      near(outs[i][0], outs[i][1], nil, "order")
      local want = model:trace(text, function()
        blocks[1]:skip(blocks[0].output)
        return blocks[3].output[0][":, -1"]
      end)
      near(want, outs[i][3], nil, "order")
    end
  end)

  it("set a tap of one layer to that of another, and leave nothing of it for the next run", function()
    local before = model(john).logits
    local q, pattern, changed
    model:trace(john, function()
      q = blocks[0].attn.q:save()
      blocks[1].attn.q = q
      pattern = blocks[1].attn.pattern:save()
      changed = model.output.logits:save()
    end)
    local k = model:trace(john, function() return blocks[1].attn.k end)
    local scores = q:matmul(k:transpose(-1, -2)) / math.sqrt(32)
    local n = #tokenizer:encode(john)
    scores = scores:masked_fill(torch.ones(n, n, { dtype = "bool" }):triu { diagonal = 1 }, -math.huge)
    near(scores:softmax(-1), pattern, nil, "order")
    assert.is_false(support.is_near(before, changed))
    assert.is_true(torch.equal(model(john).logits, before))
  end)

  it("take the input of a block from another trace of a session", function()
    local plain, patched
    ls.session(function()
      local input
      model:trace(mary, function()
        input = blocks[2].input
        plain = model.lm_head.output["0, -1"]:save()
      end)
      model:trace(john, function()
        blocks[2].input = input[0][0]
        patched = model.lm_head.output["0, -1"]:save()
      end)
    end)
    near(patched, plain, nil, "order")
  end)
end)
