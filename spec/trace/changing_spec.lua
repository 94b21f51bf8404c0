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

  it("is as before, also where a child, a sequence or an operator hands the buffer on", function()
    local function class(name, forward)
      local c = nn.Module(name)
      c.forward = forward
      return c
    end
    local Triple = class("Triple", function(_, x) x:mul_(3) return x end)
    local Own = class("Own", function(self, _) return self.w end)
    function Own:init() self.w = nn.Buffer(torch.tensor { 1, 2 }) end
    local children = { triple = Triple(), give = class("Give", function(_, x) return x end)(),
      named = class("Named", function(_, x, o) o.by:mul_(3) return x end)(),
      first = class("First", function(_, pair) pair[0]:mul_(3) return pair[0] end)(), dropout = nn.Dropout(0.5):eval() }
    for name, change in pairs {
      child = function(self) self.triple(self.w) end,
      ["a child by name"] = function(self, x) self.named(x, { by = self.w }) end,
      ["a child's view"] = function(self) self.triple(self.w:view(2, 1)) end,
      ["a child's tuple"] = function(self, x) self.first(ls.tuple(self.w, x)) end,
      ["what a child gives back"] = function(self) self.give(self.w):mul_(3) end,
      ["a dropout that does nothing"] = function(self) self.dropout(self.w):mul_(3) end,
      tuple = function(self, x) ls.tuple(x, self.w)[1]:mul_(3) end,
      einsum = function(self) torch.einsum("i->i", self.w):mul_(3) end,
      broadcast = function(self, x) torch.broadcast_tensors(x, self.w)[1]:mul_(3) end,
      conj_physical = function(self) self.w:conj_physical():mul_(3) end,
      meshgrid = function(self, x) torch.meshgrid({ self.w, x }, { indexing = "ij" })[0][":, 0"]:mul_(3) end,
    } do
      local Changes = class("Changes", function(self, x)
        change(self, x)
        return self.w + x
      end)
      function Changes:init()
        self.w = nn.Buffer(torch.tensor { 1, 2 })
        for child, m in pairs(children) do self[child] = m end
      end
      local net = Changes()
      local model = ls.Model(net)
      for _ = 1, 2 do
        assert.same({ 3, 6 }, model:trace(torch.zeros(2), function() return model.output end):tolist(), name)
        assert.same({ 1, 2 }, net.w:tolist(), name)
      end
      net(torch.zeros(2))
      assert.same({ 3, 6 }, net.w:tolist(), name) -- a call keeps the change, as in PyTorch
    end
    local Keeps = class("Keeps", function(self, x)
      self.own(x):mul_(3)
      return self.own(x) + x
    end)
    function Keeps:init() self.own = Own() end
    local net = Keeps()
    local model = ls.Model(net)
    assert.same({ 3, 6 }, model:trace(torch.zeros(2), function() return model.output end):tolist())
    assert.same({ 1, 2 }, net.own.w:tolist())
  end)
end)
