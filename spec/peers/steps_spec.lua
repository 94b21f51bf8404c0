-- What people ask of tools like this one, fifth part: loops over the steps of a generation, on
-- the model in the box.
local ls = require "luasight"
local torch = ls.torch

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

describe("a loop over the steps of a generation", function()
  local options = { max_new_tokens = 4, eos_token_id = false }

  ---The new tokens of a text, generated alone.
  local function text_of(prompt, n)
    return last(model:generate(prompt, { max_new_tokens = n, eos_token_id = false }):tolist()[1], n)
  end

  it("has other ranges in each invoke, which do not touch each other", function()
    local wants = { text_of(john, 4), text_of(mary, 4), text_of(short, 4) }
    local got, steps = { {}, {}, {} }, { {}, {}, {} }
    model:generate(options, function(tracer)
      local function token() return model.lm_head.output["0, -1"]:argmax():save() end
      tracer:invoke(john, function()
        for step in tracer:iter(1, 3) do
          steps[1][#steps[1] + 1] = step
          got[1][step] = token()
        end
      end)
      tracer:invoke(mary, function()
        for step in tracer:iter { 3, 0 } do
          steps[2][#steps[2] + 1] = step
          got[2][step] = token()
        end
      end)
      tracer:invoke(short, function()
        for step in tracer:all() do
          steps[3][#steps[3] + 1] = step
          got[3][step] = token()
        end
      end)
    end)
    assert.same({ { 1, 2 }, { 3, 0 }, { 0, 1, 2, 3 } }, steps)
    for i, tokens in ipairs(got) do
      for step, token in pairs(tokens) do
        assert.equal(wants[i][step + 1], token:item(), ("invoke %d, step %d"):format(i, step))
      end
    end
  end)

  it("edits the rows of its invoke at its own steps only", function()
    local plain, edited = {}, {}
    local function each(tracer, kept)
      for step in tracer:all() do kept[step] = blocks[2].output[0][":, -1"]:save() end
    end
    model:generate(options, function(tracer)
      tracer:invoke(john, function()
        for _ in tracer:iter(1, 3) do blocks[2].output[0][":"] = 0 end
        each(tracer, edited)
      end)
      tracer:invoke(john, function() each(tracer, plain) end)
    end)
    for step = 0, 3 do
      assert.equal(step == 1 or step == 2, edited[step]:abs():sum():item() == 0, "step " .. step)
      assert.is_true(plain[step]:abs():sum():item() > 0)
    end
    near(edited[0], plain[0], nil, "order")
  end)

  it("begins at the prompt in every invoke, whatever the one before moved to", function()
    local shapes = {}
    model:generate(options, function(tracer)
      for i = 1, 3 do
        tracer:invoke(john, function()
          shapes[#shapes + 1] = { i, model.lm_head.output.shape[1] }
          tracer:next()
          shapes[#shapes + 1] = { i, model.lm_head.output.shape[1] }
          if i == 1 then
            tracer:next()
            blocks[0]:next()
          end
        end)
      end
    end)
    local n = #tokenizer:encode(john)
    assert.same({ { 1, n }, { 1, 1 }, { 2, n }, { 2, 1 }, { 3, n }, { 3, 1 } }, shapes)
  end)

  it("is the same as one loop for each step, with the step choosing the layer", function()
    local apart, together = {}, {}
    model:generate(john, options, function(tracer)
      for step in tracer:iter(0, 3) do together[step] = blocks[step].output[0]:save() end
      for k = 0, 2 do
        for _ in tracer:iter { k } do apart[k] = blocks[k].output[0]:save() end
      end
    end)
    for k = 0, 2 do assert.is_true(torch.equal(apart[k], together[k])) end
  end)

  it("may stand in another, be left, and be followed by reads of any step", function() -- elsewhere errors about the order
    local seen, after, prompt, second = {}, nil, nil, nil
    model:generate(john, options, function(tracer)
      for a in tracer:iter(0, 2) do
        for b in tracer:iter(a, a + 2) do seen[#seen + 1] = { a, b, model.lm_head.output["0, -1"]:argmax():save() } end
        seen[#seen + 1] = { a, a, model.lm_head.output["0, -1"]:argmax():save() }
      end
      after = model.lm_head.output:save() -- step 0 again
      for step in tracer:all() do
        if step == 2 then break end
      end
      second = model.lm_head.output["0, -1"]:argmax():save() -- stayed at step 2
      tracer:step(0)
      prompt = model.transformer.wte.output:save()
    end)
    local want = text_of(john, 4)
    for _, entry in ipairs(seen) do assert.equal(want[entry[2] + 1], entry[3]:item()) end
    assert.equal(6, #seen)
    assert.equal(#tokenizer:encode(john), after.shape[1])
    assert.equal(#tokenizer:encode(john), prompt.shape[1])
    assert.equal(want[3], second:item())
  end)

  it("decides at each step what to do: skip a block, or not", function()
    local outs = {}
    model:generate(john, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      for step in tracer:all() do
        if step == 1 then blocks[1]:skip(ls.tuple(torch.zeros_like(blocks[0].output[0]))) end
        outs[step] = blocks[1].output[0]:save()
      end
    end)
    assert.same({ false, true, false }, { outs[0]:abs():sum():item() == 0, outs[1]:abs():sum():item() == 0,
      outs[2]:abs():sum():item() == 0 })
  end)

  it("ends at a stop, and what came before it is kept", function()
    local saved, after = {}, nil
    model:generate(john, options, function(tracer)
      for step in tracer:all() do
        saved[step] = model.lm_head.output["0, -1"]:argmax():save()
        if step == 1 then tracer:stop() end
      end
      after = true
    end)
    local want = text_of(john, 4)
    assert.is_true(after)
    for step = 0, 3 do
      assert.equal(step < 2, saved[step]:is_set(), "step " .. step)
      if step < 2 then assert.equal(want[step + 1], saved[step]:item()) end
    end
  end)

  it("is part of a stored edit at the steps that it names", function()
    local edited = model:edit(function(tracer)
      for _ in tracer:iter(1, 3) do blocks[1].output[0][":"] = 0 end
    end)
    local zero = {}
    edited:generate(john, options, function(tracer)
      for step in tracer:all() do zero[step] = edited.transformer.h[1].output[0]:abs():sum():save() end
    end)
    for step = 0, 3 do assert.equal(step == 1 or step == 2, zero[step]:item() == 0, "step " .. step) end
  end)

  it("goes on for each input until its own text ends, where those of a batch end at different steps", function()
    local inputs = { john, short, mary }
    local texts, ends = {}, {}
    for i, text in ipairs(inputs) do texts[i] = text_of(text, 5) end
    -- A token that one text has early and another late or never is the end of text.
    local stop
    for _, text in ipairs(texts) do
      for _, token in ipairs(text) do
        local function place(list)
          for k, t in ipairs(list) do if t == token then return k end end
          return 6
        end
        local a, b, c = place(texts[1]), place(texts[2]), place(texts[3])
        if not stop and not (a == b and b == c) and math.min(a, b, c) < 5 then stop, ends = token, { a, b, c } end
      end
    end
    assert.truthy(stop)
    local came = math.min(5, math.max(unpack(ends)))
    local logits, shapes, outs, t = { {}, {}, {} }, {}, {}, nil
    model:generate({ max_new_tokens = 5, eos_token_id = stop, pad_token_id = 3 }, function(tracer)
      t = tracer
      for i, text in ipairs(inputs) do
        tracer:invoke(text, function()
          for step in tracer:all() do
            logits[i][step] = model.lm_head.output["0, -1"]:save()
            if i == 2 then shapes[step] = model.lm_head.output[":, -1"]:save() end
          end
          outs[i] = model.generator.output:save()
        end)
      end
    end)
    assert.equal(came, t.steps)
    for i in ipairs(inputs) do
      local row = last(outs[i]:tolist()[1], came)
      for k = 1, came do
        assert.equal(k <= ends[i] and texts[i][k] or 3, row[k], ("text %d, token %d"):format(i, k))
        assert.equal(k <= ends[i], logits[i][k - 1]:is_set())
        if k <= ends[i] then assert.equal(texts[i][k], logits[i][k - 1]:argmax():item()) end
        if k <= ends[2] then assert.same({ 1, model.config.vocab_size }, shapes[k - 1]:size():tolist()) end
      end
      for step = came, 4 do assert.is_false(logits[i][step]:is_set()) end
    end
    assert.equal("unset", failure(function() return came < 5 and logits[1][4].value or error { code = "unset" } end).code)
  end)
end)
