-- Modules whose forward branches on numbers: declared dynamic, recorded at each call.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local support = require "spec.support"
local failure, near = support.failure, support.near


-- Goes through `up` where the sum of its input is above zero, else through `down`, as often as the input says.
local Gate = nn.Module "Gate"
Gate.dynamic = true
function Gate:init()
  self.up = nn.Linear(3, 3)
  self.down = nn.Linear(3, 3)
end
function Gate:forward(x)
  if x:sum():item() > 0 then return self.up(x) end
  for _ = 1, x:lt(0):sum():item() do x = self.down(x) end
  return x
end

local function gated()
  local net = nn.Sequential { { "first", nn.Identity() }, { "gate", Gate() }, { "last", nn.Linear(3, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net
end

local plus, minus = torch.tensor { { 1, 2, 3 } }, torch.tensor { { -1, -2, 1 } }

describe("a dynamic module", function()
  it("case 6.13: runs where a number that it asks for is NaN", function()
    local Kept = nn.Module "Kept"
    Kept.dynamic = true
    function Kept:forward(x)
      if x:sum():item() > 0 then return x end
      for i, v in ipairs(x:tolist()) do if v > i then return x * 3 end end
      return x * 2
    end
    local model = ls.Model(nn.Sequential { { "kept", Kept() } })
    local out = model:trace(torch.tensor { 0 / 0, 0.5 }, function() return model.output end)
    assert.equal(1, out["1"]:item())
    assert.is_true(out["0"]:isnan():item())
  end)

  it("goes the way of each input, with and without a trace", function()
    local model, net = gated()
    local down = net.gate.down
    for _ = 1, 2 do
      near(net.last(net.gate.up(plus)), model(plus))
      near(net.last(down(down(minus))), model(minus))
      near(net.last(down(down(minus))), net(minus))
      local out = model:trace(plus, function() return model.gate.output end)
      near(net.gate.up(plus), out)
      out = model:trace(minus, function() return model.gate.output end)
      near(down(down(minus)), out)
    end
  end)

  it("has the points of the way that it goes, and says of the others that they are not reached", function()
    local model, net = gated()
    local first, second
    model:trace(minus, function()
      first = model.gate.down:call(0).output:save()
      model.gate.down:call(1).output = model.gate.down:call(1).output * 2
      second = model.gate.output:save()
    end)
    near(net.gate.down(minus), first)
    near(net.gate.down(first.value) * 2, second)
    local err = failure(function() model:trace(minus, function() return model.gate.up.output end) end)
    assert.equal("unreached", err.code)
  end)

  it("fails where an edit would change its way, and only there", function()
    local model, net = gated()
    local out = model:trace(plus, function()
      model.last.input = model.gate.output * 3
      return model.output
    end)
    near(net.last(net.gate.up(plus) * 3), out)
    local err = failure(function()
      model:trace(plus, function()
        model.first.output = minus
        return model.output
      end)
    end)
    assert.equal("state", err.code)
    assert.matches("on which this dynamic module branches", err.message, 1, true)
    assert.equal("gate.input", err.point)
  end)

  it("is recorded with a value of the body where it is called there", function()
    local model, net = gated()
    local gate = Gate()
    local out = model:trace(minus, function() return gate(model.first.output), model.last.output end)
    near(gate.down(gate.down(minus)), out)
    near(net(minus), model(minus))
  end)

  it("has gradients as PyTorch has them", function()
    local gate, x = Gate(), (plus * 1):requires_grad_()
    gate(x):sum():backward()
    near(gate.up.weight:sum(0):unsqueeze(0), x.grad)
  end)

  it("batches invokes that go one way together", function()
    local model, net = gated()
    local a, b
    model:trace(function(tracer)
      tracer:invoke(plus, function() a = model.gate.output:save() end)
      tracer:invoke(plus * 2, function() b = model.gate.output:save() end)
    end)
    near(net.gate.up(plus), a)
    near(net.gate.up(plus * 2), b)
  end)

  it("says what it lacks where it is not declared", function()
    local Plain = nn.Module "Plain"
    function Plain:forward(x) return x:sum():item() > 0 and x or x * 2 end
    local err = failure(function() return Plain()(plus) end)
    assert.equal("state", err.code)
    assert.matches("dynamic = true", tostring(err), 1, true)
  end)

  it("passes on what its forward raises, and leaves the model as it was", function()
    local Loud = nn.Module "Loud"
    Loud.dynamic = true
    function Loud:forward(x)
      if x:max():item() > 5 then error "too large" end
      return x
    end
    local model = ls.Model(nn.Sequential { { "loud", Loud() } })
    assert.error_matches(function() model:trace(plus * 3, function() return model.output end) end, "too large")
    near(plus, model(plus))
    assert.equal(1, ls.torch.is_grad_enabled() and 1 or 0)
  end)
end)
