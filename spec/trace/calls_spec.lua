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
end)
