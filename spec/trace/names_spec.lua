-- What names of points mean where traces, invokes, steps, skips and stored edits meet.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local support = require "spec.support"
local failure, near = support.failure, support.near

local function chain()
  local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) }, { "c", nn.Linear(2, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.ones(1, 2)
end

describe("the input of a module that is skipped", function()
  it("can be read, also in what the module is skipped with (semantics.md, decisions)", function()
    local model, net, x = chain()
    local input, out, whole = model:trace(x, function()
      local input = model.b.input[0][0]
      model.b:skip(input * 2)
      return input, model.b.output, model.output
    end)
    near(net.a(x), input)
    near(net.a(x) * 2, out)
    near(net.c(net.a(x) * 2), whole)
    near(net.c(net.a(x)), model:trace(x, function()
      model.b:skip(model.b.input[0][0])
      return model.output
    end))
  end)

  it("cannot be set, as a whole, in a piece or in place", function()
    local model, _, x = chain()
    for _, set in ipairs {
      function() model.b.input = torch.zeros(1, 2) end,
      function() model.b.input[0][0] = torch.zeros(1, 2) end,
      function() model.b.input[0][0][":"] = 0 end,
    } do
      local err = failure(function()
        model:trace(x, function()
          set()
          model.b:skip(torch.zeros(1, 2))
          return model.output
        end)
      end)
      assert.equal("unreached", err.code)
      assert.equal("b.input", err.point)
      assert.matches("can be read, but not set", err.message, 1, true)
    end
  end)

  it("case 9.18: a value inside it that the script only holds does not stop a demand", function()
    local model, net, x = chain()
    local number
    model:trace(x, function()
      local held = model.b.output
      model.b:skip(torch.zeros(1, 2))
      number = model.a.output:sum():item()
      assert.is_not_nil(held)
    end)
    near(net.a(x):sum(), torch.tensor(number))
  end)
end)

describe("a stored edit", function()
  it("case 4.4: can be scanned, and its handle lists points", function()
    local model, _, x = chain()
    local edited = model:edit(function() model.a.output = model.c(model.a.output)[":, :1"] + torch.zeros(1, 2) end)
    assert.equal("[1, 2]", edited:scan(x, function() return tostring(edited.b.output.shape) end))
    assert.equal("[1, 2]", edited.a:points(x)[2].shape)
    local lm = ls.LanguageModel "models/pretrained/ioi"
    local ablated = lm:edit(function() lm.layers[1].resid_post[":"] = 0 end)
    local found = {}
    for _, point in ipairs(ablated.layers[1].attn:points()) do found[point.name] = point.shape end
    assert.matches("[B, T, 128]", found.output, 1, true)
  end)

  it("case 9.18: is recorded for forwards with several inputs and with keywords", function()
    local Sum = nn.Module "Sum"
    function Sum:init() self.a = nn.Linear(2, 2) end
    function Sum:forward(x, y) return self.a(x) + y end
    local Named = nn.Module "Named"
    function Named:init() self.a = nn.Linear(2, 2) end
    function Named:forward(x, options) return self.a(x) + options.y end
    local x, y = torch.ones(1, 2), torch.full({ 1, 2 }, 3)
    for _, case in ipairs { { Sum(), ls.args(x, y) }, { Named(), ls.args(x, { y = y }) } } do
      local model = ls.Model(case[1]:requires_grad_(false))
      local edited = model:edit(function() model.a.output[":"] = 0 end)
      near(y, edited(case[2]))
      near(y, edited:trace(case[2], function() return edited.output end))
    end
  end)

  it("case 9.18: that names a step does nothing where there is no such step", function()
    local lm = ls.LanguageModel "models/pretrained/ioi"
    local text = "When Mary and John went to the store"
    local edited = lm:edit(function(tracer)
      tracer:step(2)
      lm.lm_head.output[":"] = 0
      lm.lm_head.output[":, :, 7"] = 100
    end)
    near(lm(text).logits, edited(text).logits)
    near(lm(text).logits, edited:trace(text, function() return edited.output.logits end))
    local ids = edited:generate(text, { max_new_tokens = 3, eos_token_id = false })
    assert.equal(7, ids["0, -1"]:item())
    assert.equal(tostring(lm:generate(text, { max_new_tokens = 2, eos_token_id = false })["0, -2:"]),
      tostring(edited:generate(text, { max_new_tokens = 2, eos_token_id = false })["0, -2:"]))
  end)

  it("case 9.14: does not move a stop, and takes no line after its body", function()
    local model, _, x = chain()
    local kept
    local edited = model:edit(function()
      kept = model.c.output
      kept[":"] = 0
    end)
    local first, last
    edited:trace(x, function(tracer)
      first = edited.a.output:save()
      tracer:stop()
      last = edited.c.output:save()
    end)
    assert.is_true(first:is_set())
    assert.is_false(last:is_set())
    assert.matches("stored edit", failure(function() kept[":"] = 1 end).message, 1, true)
    near(torch.zeros(1, 2), edited(x))
  end)
end)

describe("the plan of a trace", function()
  it("case 9.18: is as before a line that was refused and caught", function()
    local model, net, x = chain()
    local out
    model:trace(function(tracer)
      local first, second
      tracer:invoke(x, function() first = model.c.output end)
      tracer:invoke(x * 2, function()
        second = model.c.output
        local ok, err = pcall(function() model.a.output = first + second end)
        assert.is_false(ok)
        assert.equal("cycle", err.code)
        out = model.output:save()
      end)
      tracer:invoke(function() assert.equal("[2, 2]", tostring(model.output.shape)) end) -- both still share a pass
    end)
    near(net(x * 2), out)
  end)

  it("case 9.7: one numbering of points holds for all invokes of a pass", function()
    -- A module that is called only where there is a mask: the batch of two prompts has one, the first prompt alone has none.
    local Masked = nn.Module "Masked"
    function Masked:init()
      self.embed, self.p, self.q = nn.Embedding(9, 2), nn.Linear(2, 2), nn.Linear(2, 2)
      self.embed:requires_grad_(false)
    end
    function Masked:forward(options)
      local h = self.embed(options.input_ids)
      if options.attention_mask then h = h + self.p(h) end
      return ls.struct { { "logits", self.q(h) } }
    end
    local net = Masked():requires_grad_(false)
    local ids, mask = torch.tensor({ { 1, 2 } }, { dtype = "int64" }), torch.ones(1, 2, { dtype = "int64" })
    local lm = ls.LanguageModel(net, { tokenizer = ls.LanguageModel("models/pretrained/ioi").tokenizer })
    local h = net.embed(ids)
    local q1, p, q2, all
    local ok, err = pcall(function()
      lm:trace(function(tracer)
        tracer:invoke({ input_ids = ids }, function() q1 = lm.q.output:save() end)
        tracer:invoke({ input_ids = ids, attention_mask = mask }, function()
          p, q2 = lm.p.output:save(), lm.q.output:save()
        end)
        tracer:invoke(function() all = lm.q.input[0][0]:save() end)
      end)
    end)
    if not ok then error(err, 0) end
    near(net.p(h), p)
    near(net.q(h + net.p(h)), q2)
    near(q2, q1) -- the batch has a mask for all its rows
    near(torch.cat({ h + net.p(h), h + net.p(h) }, 0), all)
  end)
end)

describe("steps and names", function()
  it("case 9.18: a loop over all steps ends where the text has ended, also with demands in it", function()
    local lm = ls.LanguageModel "models/pretrained/ioi"
    local text = "When Mary and John went to the store, John gave a drink to"
    local first = lm:generate(text, { max_new_tokens = 1 })["0, -1"]:item()
    local seen, after = {}, false
    lm:generate(text, { max_new_tokens = 5, eos_token_id = first }, function(tracer)
      for step in tracer:all() do seen[#seen + 1] = { step, lm.lm_head.output:argmax(-1)["0, -1"]:item() } end
      after = true
    end)
    assert.same({ { 0, first } }, seen)
    assert.is_true(after)
  end)

  it("a misspelt argument of a language model has a near miss", function()
    local lm = ls.LanguageModel "models/pretrained/ioi"
    local err = failure(function() lm { input_id = { { 1, 2, 3 } } } end)
    assert.equal("name", err.code)
    assert.matches("input_ids", err.message, 1, true)
  end)

  it("a demand of numbers in a scan says that there are shapes only", function()
    local model, _, x = chain()
    for _, ask in ipairs { function(h) return h:sum():item() end, function(h) return h:tolist() end } do
      local err = failure(function() model:scan(x, function() ask(model.a.output) end) end)
      assert.equal("state", err.code)
      assert.matches("no numbers", err.message, 1, true)
      assert.matches("scan", err.hint, 1, true)
    end
  end)
end)

describe("a cache", function()
  it("case 1.10: has one value for one place, and its keys in the order of the run", function()
    local lm = ls.LanguageModel "models/pretrained/ioi"
    local cache, before
    lm:trace("When Mary and John", function(tracer)
      before = lm.layers[1].resid_post:clone():save()
      cache = tracer:cache { modules = { "lm_head", "layers.1", "layers.1.resid_post", "layers.1.resid_pre", "layers.0" } }
      lm.layers[1].resid_post = lm.layers[1].resid_post * 0
    end)
    near(before, cache["layers.1"].output[0])
    near(before, cache["layers.1.resid_post"])
    assert.same({ "transformer.h.0", "transformer.h.1.resid_pre", "transformer.h.1", "transformer.h.1.resid_post", "lm_head" },
      cache:keys())
  end)
end)
