-- What people ask of tools like this one, sixth part: generation, on the model in the box.
local ls = require "luasight"

local support = require "spec.support"
local near, failure, john, mary, short = support.near, support.failure, support.john, support.mary, support.short


local function last(list, n) return { unpack(list, #list - n + 1) } end

local model, blocks, tokenizer

setup(function()
  model = support.generating_box()
  blocks, tokenizer = model.transformer.h, model.tokenizer
end)


teardown(function()
  model, blocks, tokenizer = nil, nil, nil
  collectgarbage()
  collectgarbage()
end)

describe("a generation", function()
  it("takes the embeddings of one invoke in the others", function() -- elsewhere it needs a barrier
    local outs = {}
    model:generate({ max_new_tokens = 3, eos_token_id = false }, function(tracer)
      local embedded
      tracer:invoke(john, function()
        embedded = model.transformer.wte.output
        outs[1] = model.generator.output:save()
      end)
      for i = 2, 3 do
        tracer:invoke(mary, function()
          model.transformer.wte.output = embedded
          outs[i] = model.generator.output:save()
        end)
      end
    end)
    local want = last(model:generate(john, { max_new_tokens = 3, eos_token_id = false }):tolist()[1], 3)
    for i = 1, 3 do
      local row = outs[i]:tolist()[1]
      assert.same(want, last(row, 3))
      local prompt = tokenizer:encode(i == 1 and john or mary)
      assert.same(prompt, { unpack(row, 1, #prompt) })
    end
  end)

  it("changes with its embeddings, from another trace too, and with a block replaced at the prompt", function()
    local want = last(model:generate(mary, { max_new_tokens = 2, eos_token_id = false }):tolist()[1], 2)
    local embedded = model:trace(mary, function() return model.transformer.wte.output end)
    local text, zero, one = nil, nil, nil
    model:generate(john, { max_new_tokens = 2, eos_token_id = false }, function(tracer)
      model.transformer.wte.output = embedded
      text = tracer.generator.output:save()
    end)
    assert.same(want, last(text:tolist()[1], 2))
    model:generate(john, { max_new_tokens = 2, eos_token_id = false }, function(tracer)
      blocks[-1].output = ls.tuple(blocks[-1].output[0] * 0)
      zero, one = blocks[-1].output[0]:save(), nil
      tracer:next()
      one = blocks[-1].output[0]:save()
    end)
    assert.equal(0, zero:abs():sum():item())
    assert.is_true(one:abs():sum():item() > 0)
  end)

  it("stands in a session, and a trace after it takes its text and its values", function()
    local want = model:generate(john, { max_new_tokens = 3, eos_token_id = false }):tolist()
    local text, patched
    ls.session(function()
      local h
      model:generate(john, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
        text = tracer.generator.output:save()
        tracer:next(2)
        h = blocks[2].output[0]
      end)
      model:trace(mary, function()
        blocks[2].output[0][":, -1:"] = h
        patched = blocks[2].output[0][":, -1"]:save()
      end)
    end)
    assert.same(want, text:tolist())
    local _, h = nil, nil
    model:generate(john, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      tracer:next(2)
      h = blocks[2].output[0]:save()
    end)
    near(h[":, 0"], patched, nil, "order")
  end)

  it("tells its own steps, also where a session has two and a trace", function()
    local first, second, never
    ls.session(function()
      local stop = last(model:generate(john, { max_new_tokens = 2, eos_token_id = false }):tolist()[1], 1)[1]
      model:generate(john, { max_new_tokens = 4, eos_token_id = stop }, function(tracer)
        first = tracer
        tracer:step(3)
        never = model.lm_head.output:save()
        return tracer.generator.output
      end)
      model:generate(mary, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
        second = tracer
        return tracer.generator.output
      end)
      model:trace(john, function() return model.output end)
    end)
    assert.is_true(first.steps <= 2)
    assert.equal(3, second.steps)
    assert.matches(("step 3 never came, the text ended after %d"):format(first.steps), failure(function()
      return never.value
    end).message, 1, true)
  end)

  it("gives each invoke its own texts of a search with beams, and its values on demand", function()
    local options = { max_new_tokens = 3, num_beams = 2, eos_token_id = false }
    local out, rows = {}, nil
    model:generate(options, function(tracer)
      for i, text in ipairs { john, short } do
        tracer:invoke(text, function()
          out[i] = tracer.generator.output:save()
          rows = model.lm_head.output:save()
        end)
      end
    end)
    assert.equal(2, #rows)
    for i, text in ipairs { john, short } do
      assert.same(last(model:generate(text, options):tolist()[1], 3), last(out[i]:tolist()[1], 3))
    end
    local tokens = { {}, {} }
    model:generate({ max_new_tokens = 3, eos_token_id = false }, function(tracer)
      for i, text in ipairs { john, short } do
        tracer:invoke(text, function()
          for step in tracer:all() do tokens[i][step + 1] = model.lm_head.output["0, -1"]:argmax():item() end
        end)
      end
    end)
    for i, text in ipairs { john, short } do
      assert.same(last(model:generate(text, { max_new_tokens = 3, eos_token_id = false }):tolist()[1], 3), tokens[i])
    end
  end)

  it("stands in the body of a trace, and a trace in its own", function()
    local new = { max_new_tokens = 3, eos_token_id = false }
    local want, other = model:generate(john, new):tolist(), model:generate(mary, new):tolist()
    local n, inner, next_token = #want[1], nil, nil
    model:trace(john, function()
      inner = model:generate(mary, new)
      next_token = model.output.logits["0, -1"]:argmax():save()
    end)
    assert.same(other, inner:tolist())
    assert.equal(want[1][n - 2], next_token:item())
    local order = {}
    local text = model:generate(john, new, function(tracer)
      for step in tracer:all() do
        tracer:apply(function(token) order[#order + 1] = { step, token:item() } end, model.lm_head.output["0, -1"]:argmax())
        if step == 1 then next_token = model:trace(mary, function() return model.output.logits["0, -1"]:argmax() end) end
      end
      return tracer.generator.output
    end)
    assert.same(want, text:tolist())
    assert.same({ { 0, want[1][n - 2] }, { 1, want[1][n - 1] }, { 2, want[1][n] } }, order)
    assert.equal(other[1][n - 2], next_token:item())
  end)
end)
