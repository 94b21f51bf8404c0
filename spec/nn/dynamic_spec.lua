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

  it("changes buffers and constants once in a call, and in a trace for the trace alone", function()
    local constant = torch.zeros(2)
    local Step = nn.Module "Step" -- not dynamic itself
    function Step:init() self.calls = nn.Buffer(torch.zeros(1)) end
    function Step:forward(x)
      self.calls:add_(1)
      return x + self.calls
    end
    local Count = nn.Module "Count"
    Count.dynamic = true
    function Count:init() self.n, self.step = nn.Buffer(torch.zeros(2)), Step() end
    function Count:forward(x, fails)
      self.n:add_(1)
      self.n["0"]:mul_(3)
      constant[1] = constant[1] + 1
      if fails then error "halfway" end
      if x:sum():item() > 0 then return self.step(x) + self.n + constant end
      return x
    end
    local count, x = Count(), torch.ones(2)
    local model = ls.Model(nn.Sequential { { "count", count } })
    local function state() return torch.cat({ count.n, constant, count.step.calls }, 0) end
    for _ = 1, 2 do
      near({ 5, 4 }, model:trace(x, function() return model.output end))
      near({ 0, 0, 0, 0, 0 }, state())
    end
    assert.error_matches(function() ls.Model(count):trace(ls.args(x, true), function() end) end, "halfway")
    near({ 0, 0, 0, 0, 0 }, state())
    near({ 5, 4 }, model(x))
    near({ 3, 1, 0, 1, 1 }, state())
    near({ 15, 7 }, count(x))
    near({ 12, 2, 0, 2, 2 }, state())
    local first, second = model:trace(x, function() return model.count.output, count(model.output) end)
    near({ 1 + 3 + 39, 1 + 3 + 3 + 3 }, first)
    near({ 43 + 4 + 120, 10 + 4 + 4 + 4 }, second)
    near({ 12, 2, 0, 2, 2 }, state())
  end)

  it("draws the random numbers of a seed once, also in a trace", function()
    local Noisy = nn.Module "Noisy"
    Noisy.dynamic = true
    function Noisy:forward(x) -- luacheck: ignore 212
      if torch.rand(1):item() > 0.5 then return x end
      return torch.dropout(x, 0.5, true)
    end
    local net = Noisy()
    local model, x = ls.Model(net), torch.ones(8)
    for seed = 1, 6 do
      torch.manual_seed(seed)
      local want = torch.rand(1):item() > 0.5 and x or torch.dropout(x, 0.5, true)
      local after = torch.rand(1)
      for _, call in ipairs { net, model, function(v) return model:trace(v, function() return model.output end) end } do
        torch.manual_seed(seed)
        near(want, call(x))
        near(after, torch.rand(1))
      end
    end
  end)

  it("puts back at the end of a trace only what it changed itself, though its coroutine waited meanwhile", function()
    local Count = nn.Module "Count"
    Count.dynamic = true
    function Count:init(waits) self.waits, self.n = waits, nn.Buffer(torch.zeros(1)) end
    function Count:forward(x)
      self.n:add_(1)
      if x:item() > 0 and self.waits then coroutine.yield() end
      return x + self.n
    end
    local one, slow, quick = torch.ones(1), Count(true), Count(false)
    local model = ls.Model(slow)
    local co = coroutine.create(function() return model:trace(one, function() return model.output end) end)
    assert.is_true(coroutine.resume(co))
    near({ 2 }, quick(one))
    near({ 3 }, quick(one))
    local ok, out = coroutine.resume(co)
    assert.is_true(ok)
    near({ 2 }, out)
    near({ 0 }, slow.n)
    near({ 2 }, quick.n)
  end)
end)

describe("a forward in a coroutine that waits", function()
  it("goes on recording when it is resumed, and its values cannot be used meanwhile", function()
    local kept
    local Waits = nn.Module "Waits"
    function Waits:init() self.twice, self.b = nn.Sequential { nn.Identity() }, nn.Buffer(torch.ones(1)) end
    function Waits:forward(x)
      kept = x * 2
      if coroutine.running() then coroutine.yield() end
      support.refused("state", "cannot be asked for", function() return self.b:item() end)
      return self.twice(kept)
    end
    local one, net = torch.ones(1), Waits()
    local co = coroutine.create(function() return net(one) end)
    assert.is_true(coroutine.resume(co))
    near({ 2 }, one + 1)
    support.refused("state", "waits in another coroutine", function() return nn.Identity()(kept) end)
    local ok, out = coroutine.resume(co)
    assert.is_true(ok)
    near({ 2 }, out)
    near({ 10 }, net(one * 5))
    kept = nil
  end)
end)
