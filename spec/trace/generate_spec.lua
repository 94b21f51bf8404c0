-- Rule S9: generation beside a body.
local ls = require "luasight"
local torch = ls.torch

local support = require "spec.support"
local failure, near = support.failure, support.near


describe("generation (S9)", function()
  local model = ls.LanguageModel("models/pretrained/ioi")
  local prompt, other = "When Mary and John went to the store, John gave a drink to", "hot : cold , big :"
  local blocks = model.transformer.h

  ---The ids of greedy text, one whole forward for each token.
  local function by_hand(text, n, edit)
    local ids = model.tokenizer:encode(text)
    local logits = {}
    for step = 0, n - 1 do
      local out
      model:trace(torch.tensor({ ids }, { dtype = "int64" }), function()
        if edit then edit(step) end
        out = model.output.logits["0, -1"]:save()
      end)
      logits[step] = out.value
      ids[#ids + 1] = out:argmax():item()
    end
    return ids, logits
  end

  setup(function() -- what is recorded for the model stays
    for _, input in ipairs { prompt, { prompt, other } } do
      for _, use_cache in ipairs { true, false } do
        local options = { max_new_tokens = 2, eos_token_id = false, use_cache = use_cache }
        model:generate(input, options)
        model:generate(input, options, function() return model.generator.output end)
      end
    end
    model(other)
  end)

  it("just generates without a body, with and without cache", function()
    local want = by_hand(prompt, 6)
    assert.same({ want }, model:generate(prompt, { max_new_tokens = 6, eos_token_id = false }):tolist())
    assert.same({ want }, model:generate(prompt, { max_new_tokens = 6, eos_token_id = false, use_cache = false }):tolist())
  end)

  it("moves on with next, and gives the text at the end", function()
    local want, logits = by_hand(prompt, 3)
    local h1, h2, h3, out
    model:generate(prompt, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      h1 = model.output.logits["0, -1"]:save()
      tracer:next()
      h2 = model.output.logits["0, -1"]:save()
      tracer:next()
      h3 = model.output.logits["0, -1"]:save()
      out = model.generator.output:save()
    end)
    assert.same({ want }, out:tolist())
    for i, h in ipairs { h1, h2, h3 } do near(logits[i - 1], h, nil, "order") end
  end)

  it("records loops once per step and puts the step back", function()
    local hidden, last, out = {}, nil, nil
    local n = #model.tokenizer:encode(prompt)
    local want = by_hand(prompt, 5, function(step)
      for k = 0, math.min(step, 2) do blocks[2].output[0][{ {}, n - 1 + k }] = 0 end
    end)
    model:generate(prompt, { max_new_tokens = 5, eos_token_id = false }, function(tracer)
      for step in tracer:iter(0, 3) do
        blocks[2].output[0][":, -1"] = 0
        hidden[step] = blocks[3].output[0]:save()
      end
      assert.equal(0, tracer._step)
      for _ in tracer:iter { 4 } do last = model.lm_head.output:save() end
      out = tracer.generator.output:save()
    end)
    assert.same({ want }, out:tolist())
    assert.equal(#model.tokenizer:encode(prompt), hidden[0].shape[1])
    assert.equal(1, hidden[2].shape[1])
    assert.equal(1, last.shape[1])
  end)

  it("names a module's own next call", function()
    local first, second
    model:generate(prompt, { max_new_tokens = 3, eos_token_id = false }, function()
      first = model.lm_head.output:save()
      second = model.lm_head:next().output:save()
    end)
    assert.equal(#model.tokenizer:encode(prompt), first.shape[1])
    assert.equal(1, second.shape[1])
  end)

  it("ends where the text ends: what never came is unset and says which step", function()
    local ids = model:generate(prompt, { max_new_tokens = 6, eos_token_id = false }):tolist()[1]
    local stop = ids[#ids - 3] -- the third new token
    local saved, after, steps, text = {}, false, nil, nil
    model:generate(prompt, { max_new_tokens = 6, eos_token_id = stop }, function(tracer)
      for step in tracer:all() do saved[step] = model.lm_head.output["0, -1"]:save() end
      after = true
      text = model.generator.output:save()
      steps = tracer
    end)
    assert.is_true(after)
    local came = steps.steps
    assert.is_true(came <= 3 and came >= 1)
    assert.equal(came, text.shape[1] - #model.tokenizer:encode(prompt))
    for step = 0, 5 do assert.equal(step < came, saved[step]:is_set()) end
    local err = failure(function() return saved[5].value end)
    assert.equal("unset", err.code)
    assert.matches("step 5", err.message, 1, true)
  end)

  it("runs no further than something needs", function()
    local first
    model:generate(prompt, { max_new_tokens = 40 }, function(tracer)
      first = blocks[0].output[0]:save()
      local _ = tracer
    end)
    assert.equal(#model.tokenizer:encode(prompt), first.shape[1])
  end)

  it("batches prompts of different lengths, as invokes or as one input", function()
    local wants = { (by_hand(prompt, 4)), (by_hand(other, 4)) }
    local outs, hs = {}, {}
    model:generate({ max_new_tokens = 4, eos_token_id = false }, function(tracer)
      for i, text in ipairs { prompt, other } do
        tracer:invoke(text, function()
          outs[i] = model.generator.output:save()
          tracer:next()
          hs[i] = model.output.logits:save()
        end)
      end
    end)
    for i, want in ipairs(wants) do
      local row = outs[i]:tolist()[1]
      assert.same({ unpack(want, #want - 3) }, { unpack(row, #row - 3) })
      assert.same({ 1, 1, model.config.vocab_size }, hs[i]:size():tolist())
    end
    local both
    model:generate({ prompt, other }, { max_new_tokens = 4, eos_token_id = false }, function()
      both = model.generator.output:save()
    end)
    for i, want in ipairs(wants) do
      local row = both:tolist()[i]
      assert.same({ unpack(want, #want - 3) }, { unpack(row, #row - 3) })
    end
  end)

  it("edits each invoke's rows at each step", function()
    local want = by_hand(other, 4, function() blocks[1].output[0][":, -1"] = 0 end)
    local plain = by_hand(prompt, 4)
    local a, b
    model:generate({ max_new_tokens = 4, eos_token_id = false }, function(tracer)
      tracer:invoke(prompt, function() a = model.generator.output:save() end)
      tracer:invoke(other, function()
        for _ in tracer:all() do blocks[1].output[0].t[-1] = 0 end
        b = model.generator.output:save()
      end)
    end)
    local rows = { a:tolist()[1], b:tolist()[1] }
    assert.same({ unpack(plain, #plain - 3) }, { unpack(rows[1], #rows[1] - 3) })
    local alone = model:generate(other, { max_new_tokens = 4, eos_token_id = false }, function(tracer)
      for _ in tracer:all() do blocks[1].output[0][":, -1"] = 0 end
      return model.generator.output
    end):tolist()[1]
    assert.same({ unpack(alone, #alone - 3) }, { unpack(rows[2], #rows[2] - 3) })
    assert.equal(#want, #alone)
  end)

  it("demands values in the middle of it", function()
    local seen = {}
    model:generate(prompt, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      for step in tracer:all() do seen[step] = model.lm_head.output["0, -1"]:argmax():item() end
    end)
    local want = by_hand(prompt, 3)
    assert.equal(want[#want - 2], seen[0])
    assert.equal(want[#want], seen[2])
  end)

  it("samples with a seed, several texts of a prompt", function()
    local options = { do_sample = true, seed = 7, num_return_sequences = 3, max_new_tokens = 5, temperature = 1.5,
      eos_token_id = false }
    local a, h = nil, nil
    model:generate(prompt, options, function()
      a = model.generator.output:save()
      h = model.lm_head.output:save()
    end)
    assert.equal(3, #a)
    assert.equal(3, #h)
    assert.is_true(torch.equal(a, model:generate(prompt, options)))
  end)

  it("keeps a cache of every step", function()
    local cache
    model:generate(prompt, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      cache = tracer:cache { modules = { "transformer.h.*" } }
    end)
    assert.equal(3, #cache["transformer.h.1"].output)
    assert.equal(1, cache["transformer.h.1"].output[2][0].shape[1])
  end)

  it("acts with stored edits at every step", function()
    local edited = model:edit(function() blocks[1].output[0][":, -1"] = 0 end)
    local want = model:generate(prompt, { max_new_tokens = 4, eos_token_id = false }, function(tracer)
      for _ in tracer:all() do blocks[1].output[0][":, -1"] = 0 end
      return model.generator.output
    end)
    assert.is_true(torch.equal(edited:generate(prompt, { max_new_tokens = 4, eos_token_id = false }), want))
  end)

  it("refuses steps that cannot be, options nobody knows, gradients, and other models", function()
    local cases = {
      ["there is no step 3"] = function(tracer) tracer:step(3) end,
      ["there is no step %-1"] = function(tracer) tracer:step(-1) end,
      ["there is no step 9"] = function(tracer) for _ in tracer:iter(0, 10) do end end, -- luacheck: ignore
      ["gradient"] = function() return model.lm_head.output.grad end,
    }
    for message, body in pairs(cases) do
      local err = failure(function() model:generate(prompt, { max_new_tokens = 3 }, body) end)
      assert.matches(message, err.message)
    end
    assert.matches('did you mean "max_new_tokens"', failure(function()
      model:generate(prompt, { max_new_token = 3 })
    end).message)
    assert.matches("a trace has one step", failure(function()
      model:trace(prompt, function(tracer) tracer:next() end)
    end).message, 1, true)
    local net = ls.nn.Linear(2, 2)
    assert.equal("state", failure(function() ls.Model(net):generate(torch.ones(1, 2)) end).code)
  end)

  it("streams tokens with their text", function()
    local ids, text = {}, ""
    for id, piece in model:stream(prompt, { max_new_tokens = 4, eos_token_id = false }) do
      ids[#ids + 1] = id
      text = text .. piece
    end
    local want = by_hand(prompt, 4)
    assert.same({ unpack(want, #want - 3) }, ids)
    assert.equal(model.tokenizer:decode(ids, { skip_special_tokens = true }), text)
  end)

  local function streamed(of, options)
    local ids = {}
    for id in of:stream(prompt, options) do ids[#ids + 1] = id end
    return ids
  end

  local function new_ids(of, options)
    local ids = of:generate(prompt, options)[0]:tolist()
    return { unpack(ids, #model.tokenizer:encode(prompt) + 1) }
  end

  it("acts with stored edits in a stream too", function()
    local calls = 0
    local always = model:edit(function() blocks[1].output[0][":, -1"] = 0 end)
    local late = model:edit(function(tracer)
      for _ in tracer:iter(1, 3) do blocks[1].output[0][":, -1"] = 0 end
    end)
    local computed = model:edit(function(tracer)
      blocks[1].output[0] = tracer:apply(function(x)
        calls = calls + 1
        return x * 0
      end, blocks[1].output[0])
    end)
    local greedy = { max_new_tokens = 4, eos_token_id = false }
    local drawn = { max_new_tokens = 4, eos_token_id = false, do_sample = true, top_k = 0, temperature = 2, seed = 3 }
    local plain = new_ids(model, greedy)
    for _, edited in ipairs { always, late, computed } do
      local want = new_ids(edited, greedy)
      assert.not_same(plain, want)
      assert.same(want, streamed(edited, greedy))
      assert.same(new_ids(edited, drawn), streamed(edited, drawn))
      assert.same(new_ids(edited, { max_new_tokens = 9, eos_token_id = want[2] }), streamed(edited,
        { max_new_tokens = 9, eos_token_id = want[2] }))
    end
    calls = 0
    streamed(computed, greedy)
    assert.equal(4, calls)
    assert.same(plain, streamed(model, greedy))
    assert.matches("one text", failure(function() always:stream({ prompt, other }, greedy) end).message)
  end)

  it("runs a stream as far as it is read, and what the script runs in between is no part of it", function()
    local edited = model:edit(function() blocks[1].output[0][":, -1"] = 0 end)
    local options = { max_new_tokens = 4, eos_token_id = false }
    local want, ids, seen = new_ids(edited, options), {}, nil
    ls.session(function()
      model:trace(other, function()
        seen = model.lm_head.output["0, -1"]:argmax():save()
        for id in edited:stream(prompt, options) do
          ids[#ids + 1] = id
          assert.equal(0, model:trace(other, { trace = false }).logits:isnan():sum():item())
          if #ids == 2 then break end
        end
      end)
      assert.same(want, new_ids(edited, options)) -- at once, not at the session's end
    end)
    assert.same({ want[1], want[2] }, ids)
    assert.equal(model(other).logits["0, -1"]:argmax():item(), seen:item())
  end)

  it("ends with the error of an edit in a stream, and goes no further", function()
    local edited = model:edit(function(tracer)
      tracer:step(1)
      blocks[1].output[0] = tracer:apply(function() error("no", 0) end, blocks[1].output[0])
    end)
    local next_token = edited:stream(prompt, { max_new_tokens = 4, eos_token_id = false })
    assert.is_number(next_token())
    assert.equal("no", failure(next_token))
    assert.equal("no", failure(next_token))
  end)

  it("opens a trace only for a body or for edits, and without one computes the logits of one position", function()
    local trace, record = require "luasight.trace", require "luasight.nn.record"
    local open, run, traces, shapes = trace.new_recording, record.run, 0, {}
    function trace.new_recording()
      traces = traces + 1
      return open()
    end
    function record.run(...)
      local result = run(...)
      shapes[#shapes + 1] = tostring(result.logits.shape)
      return result
    end
    finally(function() trace.new_recording, record.run = open, run end)
    local edited = model:edit(function() blocks[1].output[0][":, -1"] = 0 end)
    local function counted(f)
      traces, shapes = 0, {}
      f()
      return { traces, table.concat(shapes, " ") }
    end
    local options = { max_new_tokens = 3, eos_token_id = false }
    local three = "[1, 1, 1950] [1, 1, 1950] [1, 1, 1950]"
    assert.same({ 0, three }, counted(function() model:generate(prompt, options) end))
    assert.same({ 0, three }, counted(function() streamed(model, options) end))
    assert.same({ 0, (three:gsub("%[1,", "[2,")) }, counted(function()
      model:generate(prompt, { max_new_tokens = 3, eos_token_id = false, num_beams = 2 })
    end))
    options.use_cache = false
    assert.same({ 0, three }, counted(function() model:generate(prompt, options) end))
    assert.same({ 1, "" }, counted(function() edited:generate(prompt, options) end))
    assert.same({ 1, "" }, counted(function() streamed(edited, options) end))
    assert.same({ 1, "" }, counted(function()
      model:generate(prompt, options, function() return model.generator.output end)
    end))
  end)

  it("gives the text of its own model and trace where another body is open inside", function()
    local function ids(text, n) return (model:generate(text, { max_new_tokens = n, eos_token_id = false })):tolist() end
    local small = ls.Model(ls.nn.Identity())
    local edited = model:edit(function() end)
    local options, one = { max_new_tokens = 2, eos_token_id = false }, { max_new_tokens = 1, eos_token_id = false }
    local texts = {}
    model:generate(prompt, options, function(tracer)
      small:trace(torch.ones(1), function() texts[1] = model.generator.output:save() end)
      model:generate(other, one, function()
        texts[2], texts[3] = tracer.generator.output:save(), model.generator.output:save()
      end)
      edited:generate(other, one, function()
        texts[4], texts[5] = model.generator.output:save(), edited.generator.output:save()
      end)
    end)
    for _, i in ipairs { 1, 2, 4 } do assert.same(ids(prompt, 2), texts[i]:tolist()) end
    for _, i in ipairs { 3, 5 } do assert.same(ids(other, 1), texts[i]:tolist()) end
    local e = failure(function() edited:generate(other, one, function() return model.generator.output end) end)
    assert.equal("state", e.code)
  end)
end)
