-- Modules that are called several times in one forward.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

describe("modules that are called several times in one forward", function()
  it("are named by the number of the call", function()
    local Twice = nn.Module "Twice"
    function Twice:init() self.step = nn.Linear(4, 4) end
    function Twice:forward(x) return self.step(self.step(x):relu()) end
    local net = Twice()
    net:requires_grad_(false)
    local model, x = ls.Model(net), torch.randn(1, 4)
    local first, second, out, plain
    model:trace(x, function()
      first, second = model.step:call(0).output:save(), model.step:call(1).output:save()
      plain = model.step.output:save()
    end)
    near(net.step(x), first)
    near(first, plain)
    near(net(x), second)
    model:trace(x, function()
      model.step:call(1).input = torch.zeros(1, 4)
      model.step:next()
      out = model.step.output:save()
    end)
    near(net.step(torch.zeros(1, 4)), out)
    local err = failure(function() model:trace(x, function() return model.step:call(2).output end) end)
    assert.equal("unreached", err.code)
    assert.matches("2 times", err.message, 1, true)
  end)

  local Block = nn.Module "Block"
  function Block:init(shared) self.lin = shared or nn.Linear(2, 2) end
  function Block:forward(x) return nn.tap("act", self.lin(x):tanh()) end

  it("case 9.8: the number of a call is part of the names of all modules inside it", function()
    local Twice = nn.Module "Twice"
    function Twice:init() self.blk = Block() end
    function Twice:forward(x) return self.blk(self.blk(x)) end
    local net, x = Twice():requires_grad_(false), torch.ones(1, 2)
    local model, first = ls.Model(net), net.blk.lin(x):tanh()
    local a, b, c, tap, moved, plain = model:trace(x, function()
      local inside = model.blk:call(1)
      local plain = model.blk.lin.output
      local second = inside.lin.output
      model.blk:next()
      return second, model.blk.lin:call(1).output, inside.lin.input[0][0], inside.act, model.blk.lin.output, plain
    end)
    near(net.blk.lin(x), plain)
    for _, v in ipairs { a, b, moved } do near(net.blk.lin(first), v) end
    near(first, c)
    near(net.blk.lin(first):tanh(), tap)
    local out = model:trace(x, function()
      model.blk:call(1).lin.output = torch.zeros(1, 2)
      return model.blk:call(0).output + model.output
    end)
    near(first, out)
    local err = failure(function() model:trace(x, function() return model.blk:call(1).lin:call(1).output end) end)
    assert.equal("unreached", err.code)
    assert.matches("blk (call 1).lin", tostring(err), 1, true)
    assert.equal("argument", failure(function() model:trace(x, function() return model.blk:call(-1).output end) end).code)
  end)

  it("case 9.8: a child of two modules has points for each way to it", function()
    local Pair = nn.Module "Pair"
    function Pair:init()
      local shared = nn.Linear(2, 2)
      self.p, self.q, self.other = Block(shared), Block(shared), shared
    end
    function Pair:forward(x) return self.q(self.p(x)) end
    local net, x = Pair():requires_grad_(false), torch.ones(1, 2)
    local model, first = ls.Model(net), net.p(x)
    local p, q, again, last = model:trace(x, function()
      return model.p.lin.output, model.q.lin.output, model.other.output, model.other:call(1).output
    end)
    near(net.p.lin(x), p)
    near(net.p.lin(first), q)
    near(p, again) -- a name on whose way no call lies means all calls of the module
    near(q, last)
    local out = model:trace(x, function()
      model.q.lin.output = torch.zeros(1, 2)
      return model.p.output + model.output
    end)
    near(first, out)
    local err = failure(function() model:trace(x, function() return model.q.lin.output["5"] end) end)
    assert.matches("q.lin.output", tostring(err), 1, true)
    assert.equal("unreached", failure(function() model:trace(x, function() return model.q.lin:call(1).output end) end).code)
    assert.equal("[1, 2]", model.q.lin:points(x)[1].shape:match "%[.-%]")
  end)

  it("case 9.8: next() moves the modules below too", function()
    local lm = ls.LanguageModel "models/pretrained/ioi"
    local first = lm.layers[0]
    local a, b, c, d = lm:generate("When Mary and John", { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      local at_prompt = first.attn_out
      first:next()
      local at_next, of_call = first.attn_out, first:call(2).attn_out
      tracer:step(1)
      return at_prompt, at_next, first.attn_out, of_call
    end)
    assert.equal("[1, 4, 128]", tostring(a.shape))
    assert.equal("[1, 1, 128]", tostring(b.shape))
    near(b, c)
    assert.equal("[1, 1, 128]", tostring(d.shape))
    local err = failure(function()
      lm:generate("When Mary", { max_new_tokens = 3 }, function() return first:call(3).output[0] end)
    end)
    assert.equal("unreached", err.code)
    assert.matches("transformer.h.0", tostring(err), 1, true)
    assert.matches("at most 3 steps", tostring(err), 1, true)
  end)
end)

describe("the tracer of a trace that stays open", function()
  it("case 1.4: shows the model as seen from its own trace, whichever traces are open", function()
    local model = ls.Model(nn.Sequential { { "a", nn.Linear(2, 2) } })
    local one, two = model:tracer(torch.ones(1, 2)), model:tracer(torch.ones(3, 2))
    local a = one.a
    local p, q, r = one.output:save(), two.a.output:save(), a.output:save()
    one.a.output = torch.zeros(1, 2)
    two:run()
    one:run()
    assert.equal("[1, 2]", tostring(p.shape))
    assert.equal("[3, 2]", tostring(q.shape))
    assert.equal("[1, 2]", tostring(r.shape))
    near(torch.zeros(1, 2), p)
    assert.equal("state", failure(function() return a.output end).code)
    model:trace(torch.ones(1, 2), function(outer)
      model:trace(torch.ones(3, 2), function(inner)
        p, q = outer.a.output:save(), inner.a.output:save()
      end)
    end)
    assert.equal("[1, 2]", tostring(p.shape))
    assert.equal("[3, 2]", tostring(q.shape))
  end)
end)
