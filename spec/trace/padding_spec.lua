-- Texts of several lengths in one pass: padding has no effect on numbers, and places are those of each text (S8).
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch = ls.torch

describe("padding (S8)", function()
  local model = ls.LanguageModel("models/pretrained/ioi")
  local long, short = "When Mary and John went to the store, John gave a drink to", "John gave a drink to"
  local ends = { long, short, "hot : cold , big :" }
  setup(function() -- what is recorded for the model stays
    model(ends)
    model(short)
  end)

  it("never changes a number: batched equals alone at every point", function()
    local paths = {}
    for path in model:named_modules() do paths[#paths + 1] = path end
    local function points()
      local seen = {}
      for _, path in ipairs(paths) do
        local m = path == "" and model or model:get(path)
        local ok, out = pcall(function() return m.output end)
        if ok and not path:find("wpe", 1, true) then
          if path == "" or path == "transformer" then out = out[path == "" and "logits" or "last_hidden_state"]
          elseif path:match "h%.%d+$" or path:match "%.attn$" then out = out[0] end
          seen[path] = out:save()
        end
      end
      return seen
    end
    local alone, batched = {}, {}
    for i, text in ipairs(ends) do model:trace(text, function() alone[i] = points() end) end
    model:trace(function(tracer)
      for i, text in ipairs(ends) do tracer:invoke(text, function() batched[i] = points() end) end
    end)
    local compared = 0
    for i in ipairs(ends) do
      for path, want in pairs(alone[i]) do
        local n = want.shape[1]
        local got = batched[i][path][{ {}, { -n } }]
        assert.equal(tostring(want.shape), tostring(got.shape), path)
        near(want, got, path, "order")
        compared = compared + 1
      end
    end
    assert.is_true(compared > 100)
  end)

  it("is left out where x.t counts tokens, for reading and setting", function()
    local first, last, pattern, range
    local want = model:trace(short, function() return model.transformer.h[1].output[0] end)
    local logits = model:trace(short, function()
      model.transformer.h[1].attn.output[0].t[0] = 0
      return model.output.logits[":, -1"]
    end)
    local got
    model:trace(function(tracer)
      tracer:invoke(long, function() end)
      tracer:invoke(short, function()
        local h = model.transformer.h[1].output[0]
        first, last, range = h.t[0]:save(), h.t[-1]:save(), h.t["1:3"]:save()
        pattern = model.transformer.h[0].attn.pattern.t[0]:save()
      end)
      tracer:invoke(short, function()
        model.transformer.h[1].attn.output[0].t[0] = 0
        got = model.output.logits[":, -1"]:save()
      end)
      tracer:invoke(long, function() return model.output end)
    end)
    near(want[":, 0"], first, nil, "order")
    near(want[":, -1"], last, nil, "order")
    near(want[":, 1:3"], range, nil, "order")
    near(logits, got, nil, "order")
    near(model.config.n_head, pattern:sum():item(), nil, "order")
  end)

  it("is left out of batches of one invoke with rows of different lengths", function()
    local want = {}
    for i, text in ipairs(ends) do
      want[i] = model:trace(text, function() return model.transformer.h[0].output[0] end)
    end
    local first, second, q, logits, alone
    model:trace(ends, function()
      local h = model.transformer.h[0].output[0]
      first, second = h.t[0]:save(), h.t["1:3"]:save()
      q = model.transformer.h[1].attn.q.t[0]:save()
      model.transformer.h[2].output[0].t[1] = 0
      logits = model.output.logits[":, -1"]:save()
    end)
    alone = model:trace(short, function()
      model.transformer.h[2].output[0][":, 1"] = 0
      return model.output.logits[":, -1"]
    end)
    for i in ipairs(ends) do
      near(want[i]["0, 0"], first[i - 1], nil, "order")
      near(want[i]["0, 1:3"], second[i - 1], nil, "order")
    end
    assert.same({ 3, model.config.n_head, model.config.n_embd / model.config.n_head }, q:size():tolist())
    near(alone[0], logits[1], nil, "order")
  end)

  it("beyond the input's length is an error at the line", function()
    local err = failure(function()
      model:trace(function(tracer)
        tracer:invoke(long, function() return model.output end)
        tracer:invoke(short, function() return model.transformer.h[0].output[0].t[9] end)
      end)
    end)
    assert.equal("index", err.code)
    assert.matches("out of range", err.message, 1, true)
    assert.matches("no", failure(function()
      model:trace(short, function() return (model.transformer.h[0].output[0] * 2).t[0] end)
    end).message, 1, true)
  end)

  it("leaves the rows that nobody edits bit-equal to an unedited run of the batch", function()
    local plain, edited
    for run = 1, 2 do
      local out
      model:trace(function(tracer)
        tracer:invoke(long, function() if run == 2 then model.transformer.h[1].output[0][":"] = 0 end end)
        tracer:invoke(short, function() out = model.output.logits:save() end)
      end)
      if run == 1 then plain = out else edited = out end
    end
    assert.is_true(torch.equal(plain, edited))
  end)
end)
