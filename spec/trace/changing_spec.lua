-- Models whose forward changes their buffers (running means, counters): each trace has its own numbers of them (rules S5, S13).
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local torch, nn = ls.torch, ls.nn

local Norm = nn.Module "ChangingNorm"
function Norm:init() self.mean, self.var = nn.Buffer(torch.zeros(2)), nn.Buffer(torch.ones(2)) end
function Norm:forward(x) return torch.batch_norm(x, nil, nil, self.mean, self.var, self.training, 0.5, 1e-5, false) end

local Sum = nn.Module "ChangingSum"
function Sum:init() self.total = nn.Buffer(torch.zeros(2)) end
function Sum:forward(x) return x + nn.tap("state", self.total:add_(x:mean(0))) end

describe("a model that changes its buffers", function()
  local function made()
    local net = nn.Sequential { { "a", nn.Identity() }, { "norm", Norm() }, { "b", nn.Identity() }, { "sum", Sum() },
      { "c", nn.Identity() } }
    net:train()
    return ls.Model(net), net, torch.tensor { { 1, 2 }, { 3, 6 } }
  end

  local function state(net) return torch.cat { net.norm.mean, net.norm.var, net.sum.total }:tolist() end

  -- By hand: the batch has the means 2, 4 and the variances 2, 8 (n - 1); the norm gives -1, 1 up to its epsilon.
  local before, after = { 0, 0, 1, 1, 0, 0 }, { 1, 2, 1.5, 4.5, 0, 0 }

  local function out(model, x) return model:trace(x, function() return model.c.output end) end

  it("is as before, whichever of two open traces ends first", function()
    local model, net, x = made()
    local want = out(model, x)
    for first = 1, 2 do
      local open, values = {}, {}
      for i = 1, 2 do
        open[i] = model:tracer(x)
        values[i] = model.c.output:save()
        assert.equal(2, model.sum.output.shape[1]) -- stands behind both changes
        assert.same(before, state(net))
      end
      near(want, out(model, x))
      open[first]:run()
      assert.same(before, state(net))
      open[3 - first]:run()
      assert.same(before, state(net))
      for i = 1, 2 do near(want, values[i]) end
    end
  end)

  it("keeps what a run outside of the trace changes, while a trace stands", function()
    local model, net, x = made()
    local t = model:tracer(x)
    local y = model.c.output:save()
    assert.equal(2, model.sum.output.shape[1])
    net(x)
    near(after, state(net), nil, "order", 1)
    t:run()
    near(after, state(net), nil, "order", 1)
    near({ { -1, -1 }, { 1, 1 } }, y, nil, "gradient")
    local abandoned = model:tracer(x)
    assert.equal(2, model.sum.output.shape[1])
    abandoned:abandon()
    near(after, state(net), nil, "order", 1)
  end)

  it("keeps what a run in a function of tracer:apply changes", function()
    local model, net, x = made()
    model:trace(x, function(tracer)
      tracer:apply(function() net(x) end, model.norm.output)
      return model.c.output
    end)
    near(after, state(net), nil, "order", 1)
  end)

  it("is as before where a trace fails, is dropped or is left by its coroutine, behind the changes", function()
    local model, net, x = made()
    pcall(model.trace, model, x, function() return model.sum.output:sum():item() + model.c.output:reshape(7) end)
    assert.same(before, state(net))
    model:tracer(x)
    assert.equal(2, model.sum.output.shape[1])
    collectgarbage()
    collectgarbage()
    assert.same(before, state(net))
    coroutine.wrap(function()
      model:trace(x, function()
        assert.equal(2, model.sum.output.shape[1])
        coroutine.yield()
      end)
    end)()
    assert.same(before, state(net))
  end)

  it("gives values that keep the numbers of their trace, and edits that stay in it", function()
    local model, net, x = made()
    net.sum.total:fill_(5)
    local t = model:tracer(x + 0)
    model.sum.input = x
    local seen = model.sum.state:save()
    assert.same({ 7, 9 }, seen.value:tolist())
    local other = model:trace(x, function()
      model.sum.input = x * 2
      return model.sum.state
    end)
    assert.same({ 9, 13 }, other:tolist())
    assert.same({ 7, 9 }, seen.value:tolist())
    model.sum.state[":"] = 1
    local y = model.c.output:save()
    t:run()
    assert.same({ { 2, 3 }, { 4, 7 } }, y:tolist())
    assert.same({ 5, 5 }, net.sum.total:tolist())
  end)

  it("gives gradients behind a pause", function()
    local model, net, x = made()
    local function gradient(pause)
      return model:trace(x, function(tracer)
        local h = model.a.output
        if pause then tracer:apply(function() out(model, x) end, model.b.output) end
        model.c.output:pow(3):sum():backward()
        return h.grad
      end)
    end
    near(gradient(false), gradient(true))
    assert.same(before, state(net))
  end)
end)
