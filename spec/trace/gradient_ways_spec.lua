-- Rule S10: the gradient of a tensor is the sum over all its uses, whatever else is asked for. The numbers are PyTorch's, from
-- retain_grad and hooks on the same nets.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
local failure = require("spec.support").failure
local nets = require "spec.trace.small_nets"
local around, model_of, x = nets.around, nets.model_of, nets.x

local function fan()
  return model_of(function(self, v)
    local h = self.a(v)
    return self.b(h) + self.c(h)
  end)
end

describe("gradients of several ways (S10)", function()
  it("case 9.1: a set gradient leaves the ways around it alone", function()
    local m = around()
    for factor, want in pairs { [2] = { { 6, -0.5 } }, [0] = { { 1, 1 } }, [1] = { { 3.5, 0.25 } } } do
      local g
      m:trace(x, function()
        m.b.output.grad = m.b.output.grad * factor
        g = m.a.output.grad:save()
        m.output:sum():backward()
      end)
      assert.same(want, g:tolist())
    end
  end)

  it("case 9.1: so does one that is edited in place, with several set on one way", function()
    local m = model_of(function(self, v)
      local h = self.a(v)
      return self.c(self.b(h) + h) + h
    end)
    local g, gb
    m:trace(x, function()
      m.c.output.grad[":, 0"] = 10
      m.b.output.grad = m.b.output.grad * 2
      gb = m.b.output.grad:save()
      g = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { -19, 61 } }, gb:tolist()) -- 2 * [10, 1] C
    assert.same({ { 104, 65.75 } }, g:tolist())
  end)

  it("case 9.1: a set gradient that waits for one that comes later does not lose a way", function()
    local m = fan()
    local g, gc
    m:trace(x, function()
      -- whichever of b and c the backward reaches first, one of the two has to wait
      m.b.output.grad = m.c.output.grad * 2
      m.c.output.grad = m.c.output.grad * 3
      gc = m.c.output.grad:save()
      g = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 3, 3 } }, gc:tolist())
    assert.same({ { 3.5, 9 } }, g:tolist())
    m:trace(x, function()
      m.c.output.grad = m.b.output.grad * 2
      m.b.output.grad = m.b.output.grad * 3
      g = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 6.5, 4.75 } }, g:tolist())
  end)

  it("case 9.2: a gradient is the tensor's, whatever else is asked for", function()
    local m = fan()
    local names = {
      function() return m.a.output end, function() return m.b.input[0][0] end, function() return m.c.input[0][0] end,
    }
    for i = 1, 3 do
      for k = 1, 3 do
        local one, two
        m:trace(x, function()
          one, two = names[i]().grad:save(), names[k]().grad:save()
          m.output:sum():backward()
        end)
        assert.same({ { 2, 2.75 } }, one:tolist())
        assert.same({ { 2, 2.75 } }, two:tolist())
      end
      local alone
      m:trace(x, function()
        alone = names[i]().grad:save()
        m.output:sum():backward()
      end)
      assert.same({ { 2, 2.75 } }, alone:tolist())
    end
  end)

  it("case 9.2: a gradient set through one name is read through another, in the order written", function()
    local m = fan()
    local before, after, gx
    m:trace(x, function()
      before = m.a.output.grad:save()
      m.c.input[0][0].grad = m.b.input[0][0].grad * 2
      after = m.a.output.grad:save()
      gx = m.input[0][0].grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 2, 2.75 } }, before:tolist())
    assert.same({ { 4, 5.5 } }, after:tolist())
    assert.same({ { 20.5, 30 } }, gx:tolist())
    assert.is_false(x.requires_grad)
  end)

  it("case 9.2: elements of a tuple are tensors of which one may come from the other", function()
    local Pair = nn.Module "Pair"
    function Pair:forward(v)
      local y = v * 3
      return y, y * 2
    end
    local Net = nn.Module "Net"
    function Net:init() self.pair = Pair() end
    function Net:forward(v)
      local p = self.pair(v)
      return p[0] + p[1] * 5
    end
    local m = ls.Model(Net())
    for _, both in ipairs { true, false } do
      local first, second
      m:trace(x, function()
        first = m.pair.output[0].grad:save()
        if both then second = m.pair.output[1].grad:save() end
        m.output:sum():backward()
      end)
      assert.same({ { 11, 11 } }, first:tolist())
      if both then assert.same({ { 5, 5 } }, second:tolist()) end
    end
  end)

  it("case 9.2: uses before the point count, also of what a line has put there", function()
    local m = model_of(function(self, v)
      local h = torch.tanh(v) * 0 + v
      return h * 2 + self.b(h)
    end)
    local g
    m:trace(x, function()
      g = m.b.input[0][0].grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 4.5, 1.25 } }, g:tolist())
    local n, y, gy = fan(), nil, nil
    n:trace(x, function()
      y = n.a.output * 2
      n.a.output = y
      g = n.c.input[0][0].grad:save()
      gy = y.grad:save()
      local loss = (n.output + y):sum()
      loss:backward()
    end)
    assert.same({ { 3, 3.75 } }, g:tolist())
    assert.same({ { 3, 3.75 } }, gy:tolist())
  end)

  it("case 9.3: below a replacement the gradient is the new value's, above it the old one's", function()
    local m = model_of(function(self, v) return self.b(self.a(v)) end)
    local old, new
    m:trace(x, function()
      old = m.a.output.grad:save()
      m.a.output = m.a.output * 3
      new = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 2.5, -0.75 } }, new:tolist())
    assert.same({ { 7.5, -2.25 } }, old:tolist())
  end)

  it("case 1.3: below an edit in place the gradient is the edited value's, above it the old one's", function()
    local m = model_of(function(self, v) return self.a(v) * torch.tensor { 5, 6 } end)
    local old, new
    m:trace(x, function()
      local h = m.a.output
      old = h.grad:save()
      h[":, 0"] = 0
      new = h.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 5, 6 } }, new:tolist())
    assert.same({ { 0, 6 } }, old:tolist())
    m:trace(x, function()
      local h = m.a.output
      h[":, 0"] = 0
      new = h.grad:save()
      old = m.input[0][0].grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 5, 6 } }, new:tolist())
    assert.same({ { 18, 24 } }, old:tolist())
  end)

  it("case 9.4: asking for a gradient does not change the forward", function()
    local m = model_of(function(self, v)
      local h = self.a(v)
      local t = h:t()
      return self.b(h) + t:t()
    end)
    for _, asks in ipairs { false, true } do
      local out, g
      m:trace(x, function()
        if asks then g = m.a.output.grad:save() end
        m.b.input[0][0][":"] = 0
        out = m.output:save()
        if asks then m.output:sum():backward() end
      end)
      assert.same({ { 0, 0 } }, out:tolist())
      if g then assert.same({ { 0, 0 } }, g:tolist()) end
    end
  end)

  it("case 9.5: an edit with a gradient is seen by the lines below", function()
    local m = model_of(function(self, v) return self.b(self.a(v)) end)
    local after, out, half
    m:trace(x, function()
      local g = m.a.output.grad
      m.b.output:sum():backward()
      m.b.output = g
      after = m.b.output:save()
      half = (m.b.output * 0.5):save()
      out = m.output:save()
    end)
    assert.same({ { 2.5, -0.75 } }, after:tolist())
    assert.same({ { 1.25, -0.375 } }, half:tolist())
    assert.same({ { 2.5, -0.75 } }, out:tolist())
    m:trace(x, function()
      local g = m.a.output.grad
      m.b.output:sum():backward()
      m.b.output:mul_(g)
      after = (m.b.output * 1):save()
    end)
    assert.same({ { -21.25, -9.5625 } }, after:tolist()) -- b is [-8.5, 12.75]
  end)

  it("case 9.21: a gradient that is edited in place and then set is set as edited", function()
    local m, g = around(), nil
    m:trace(x, function()
      local new = m.b.output.grad:clone()
      new[":, 0"] = -2
      m.b.output.grad = new
      g = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 2, 3.25 } }, g:tolist())
  end)

  it("a gradient is edited in place with a value of the forward, which has a history of its own", function()
    local m = model_of(function(self, v) return self.b(self.a(v)) end)
    local after
    m:trace(x, function()
      local g = m.a.output.grad
      g:add_(m.a.output)
      after = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 7.5, 10.25 } }, after:tolist())
    assert.is_false(after.requires_grad)
  end)

  it("case 9.22: a gradient is set below an edit in place", function()
    local m, g = around(), nil
    m:trace(x, function()
      m.b.output:mul_(1)
      m.b.output.grad = m.b.output.grad * 2
      g = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 6, -0.5 } }, g:tolist())
  end)

  it("cases 9.23, 5.8: a circle through a gradient is an error that names the lines", function()
    local m = around()
    local bodies = {
      function()
        local g = m.a.output.grad
        m.b.output:add_(g)
        m.b.output:sum():backward()
      end,
      function()
        local g = m.a.output.grad
        g:sum():backward()
      end,
      function()
        local g = m.a.output.grad
        m.b.output = m.b.output + g
        m.b.output:sum():backward()
      end,
      function()
        m.b.output.grad = m.a.output.grad
        m.output:sum():backward()
      end,
    }
    for _, body in ipairs(bodies) do
      local err = failure(function() m:trace(x, body) end)
      assert.equal("cycle", err.code)
      assert.matches("gradient_ways_spec%.lua:%d+: ", tostring(err))
    end
  end)

  it("a circle is an error too where the gradient that the other waits for is set and is of a tensor read later", function()
    local m = fan()
    local err = failure(function()
      m:trace(x, function()
        local y, h = m.b.output, m.c.input[0][0]
        y.grad = h.grad * 3
        h.grad = torch.ones(1, 2)
        m.output:sum():backward()
      end)
    end)
    assert.equal("cycle", err.code)
    assert.matches("computed only later", err.message, 1, true)
  end)

  it("case 9.24: a gradient set to itself changes none in a batch either", function()
    local m = model_of(function(self, v) return self.a(v) * 1 end)
    local g = {}
    m:trace(function(t)
      for i = 1, 2 do
        t:invoke(x * i, function()
          m.a.output.grad = m.a.output.grad
          g[i] = m.a.output.grad:save()
          local loss = (m.output + m.a.output):sum()
          loss:backward { retain_graph = true }
        end)
      end
    end)
    assert.same({ { 2, 2 } }, g[1]:tolist())
    assert.same({ { 2, 2 } }, g[2]:tolist())
  end)

  it("case 9.24: in a batch, rows that another invoke replaces keep their gradient, and those put there have theirs", function()
    local m = around()
    local one, own, other, y
    m:trace(function(t)
      t:invoke(x, function()
        y = m.a.output * 2
        m.b.input[0][0] = y
        own = m.b.input[0][0].grad:save()
        one = y.grad:save()
        local loss = (m.output + y):sum()
        loss:backward { retain_graph = true }
      end)
      t:invoke(x, function()
        other = m.b.input[0][0].grad:save()
        m.output:sum():backward()
      end)
    end)
    assert.same({ { 3.5, 0.25 } }, own:tolist())
    assert.same({ { 3.5, 0.25 } }, one:tolist())
    assert.same({ { 3.5, 0.25 } }, other:tolist())
  end)

  it("below an edit in place through a module that gives back its input, a gradient is that of the edited value", function()
    local m = ls.Model(nn.Sequential { { "a", nn.Identity() }, { "b", nn.Identity() } })
    for _, way in ipairs { "module", "view", "itself" } do
      local g, out
      m:trace(torch.tensor { { 1, 2 }, { 3, 4 } }, function()
        local v = m.output
        local other = way == "module" and m.b(v) or way == "view" and v:view(2, 2) or v
        other["0"] = 7
        out = m.output:save()
        local loss = (out * 3):sum()
        g = m.output.grad:save()
        loss:backward()
      end)
      assert.same({ { 7, 7 }, { 3, 4 } }, out:tolist())
      assert.same({ { 3, 3 }, { 3, 3 } }, g:tolist(), way)
    end
  end)
end)
