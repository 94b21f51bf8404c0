-- Rule S10: several backwards in one trace, and gradients of parameters. The numbers are PyTorch's.
local ls = require "luasight"
local torch = ls.torch
local failure = require("spec.support").failure
local nets = require "spec.trace.small_nets"
local around, model_of, x = nets.around, nets.model_of, nets.x

describe("several backwards of a trace (S10)", function()
  it("case 9.18: gradients of the second of two backwards are set from each other", function()
    local m, first, second = around(), nil, nil
    m:trace(x, function()
      first = m.a.output.grad:save()
      m.output:sum():backward { retain_graph = true }
      m.a.output.grad = m.b.output.grad * 7
      second = m.a.output.grad:save()
      m.output:sum():backward()
    end)
    assert.same({ { 3.5, 0.25 } }, first:tolist())
    assert.same({ { 7, 7 } }, second:tolist())
  end)

  it("case 9.18: gradients of two parameters are edited with each other", function()
    local m = model_of(function(self, v) return self.b(self.a(v)) end)
    for _, swap in ipairs { false, true } do
      local one, two
      m:trace(x, function()
        m.output:sum():backward()
        one, two = m.a.weight.grad, m.b.weight.grad
        if swap then one:mul_(two) else two:mul_(one) end
        one, two = one:save(), two:save()
      end)
      -- the gradients are [[2.5, 5], [-0.75, -1.5]] and [[5, 11], [5, 11]]
      assert.same(swap and { { 12.5, 55 }, { -3.75, -16.5 } } or { { 2.5, 5 }, { -0.75, -1.5 } }, one:tolist())
      assert.same(swap and { { 5, 11 }, { 5, 11 } } or { { 12.5, 55 }, { -3.75, -16.5 } }, two:tolist())
    end
  end)

  it("case 9.18: a second backward without retain_graph is an error, also where a gradient is set", function()
    local m = model_of(function(self, v) return torch.tanh(self.b(torch.tanh(self.a(v)))) end)
    for _, sets in ipairs { false, true } do
      local err = failure(function()
        m:trace(x, function()
          if sets then m.b.output.grad = m.b.output.grad * 2 end
          local g = m.a.output.grad:save()
          m.output:sum():backward()
          local h = m.a.output.grad:save()
          m.output:sum():backward()
          return g, h
        end)
      end)
      assert.matches("second time", tostring(err), 1, true)
    end
  end)

  it("a gradient whose backward has run in a demand is neither asked for, set nor edited any more", function()
    local late = {
      function(_, other) return other.grad end, function(g) return g:mul_(2) end, function(g) g[":, 0"] = 1 end,
      function(_, other) other.grad = torch.ones(1, 2) end,
    }
    for _, change in ipairs(late) do
      local m, sum = around(), nil
      local err = failure(m.trace, m, x, function()
        local g, other = m.a.output.grad, m.b.output
        m.output:sum():backward()
        sum = g:sum():item()
        return change(g, other)
      end)
      assert.equal(3.75, sum)
      assert.equal("passed", err.code)
      assert.matches("the backward of this gradient has already run", err.message, 1, true)
      assert.is_true(m.a.weight.grad == nil)
    end
  end)

  it("the loss of a second backward uses a gradient of the first, beside an edited one of its own", function()
    local m, second = around(), nil
    m:trace(x, function()
      local first = m.a.output.grad
      m.output:sum():backward { retain_graph = true }
      second = m.a.output.grad
      second[":, 0"] = 0.5
      second:save()
      local loss = (m.output * first):sum()
      loss:backward()
    end)
    assert.same({ { 0.5, -3.1875 } }, second:tolist())
  end)

  it("a demand leaves a gradient alone whose backward is written below it, whatever another body has done", function()
    local m, first, second, early = around(), nil, nil, nil
    m:trace(function(t)
      t:invoke(x, function()
        first = m.a.output.grad:save()
        local loss = (m.output * 2):sum()
        loss:backward { retain_graph = true }
        early = first:sum():item()
      end)
      t:invoke(x, function()
        second = m.a.output.grad:save()
        assert.equal(4.25, m.b.output:sum():item())
        m.output:sum():backward()
      end)
    end)
    assert.equal(7.5, early)
    assert.same({ { 7, 0.5 } }, first:tolist())
    assert.same({ { 3.5, 0.25 } }, second:tolist())
  end)

  it("a gradient that nothing needs is no error where autograd does not follow its value", function()
    local m, g = model_of(function(self, v)
      local h = self.a(v)
      return self.b(h[":, 0:2"]) + h
    end), nil
    m:trace(x, function()
      local before = m.b.input[0][0]
      g = m.output.grad:save()
      m.output:sum():backward()
      m.b.input[0][0] = before + 1.5
      local _ = before.grad
    end)
    assert.same({ { 1, 1 } }, g:tolist())
  end)

  it("the error that a loss does not depend on a value names this value and the line that asks", function()
    local m = around()
    local err = failure(m.trace, m, x, function()
      local piece = m.a.output["0"]
      local g = piece.grad:save() -- nothing is computed from the piece
      m.output:sum():backward()
      return g
    end)
    assert.matches("a.output.grad: the loss does not depend on this value", tostring(err), 1, true)
    local line = debug.getinfo(1, "l").currentline - 5
    assert.matches(":" .. line .. ":", tostring(err), 1, true)
  end)

  it("an edit in place below a backward leaves it the numbers that it needs", function()
    local m, g, v = model_of(function(self, w) return self.a(w) + self.b(w * 1) end), nil, nil
    m:trace(x, function()
      local h = m.a.output
      g = h.grad:save()
      v = m.b.output
      local loss = (v * h):sum()
      loss:backward()
      v:mul_(10)
      v:save()
    end)
    assert.same({ { -1.5, 2.5 } }, g:tolist())
    assert.same({ { -15, 25 } }, v:tolist())
  end)

  it("a value that a function of the script gets keeps its one gradient under all names", function()
    local m, g = ls.Model(ls.nn.Sequential { { "a", ls.nn.Identity() }, { "b", ls.nn.Identity() } }), nil
    for _, given in ipairs { false, true } do
      m:trace(x, function(t)
        local one, two = m.a.output, m.b.input[0][0]
        one.grad = two.grad - 1
        if given then t:apply(function(v) return v * 1.5 end, two) end
        local loss = (m.output * 3):sum()
        loss:backward()
        g = m.output.grad:save()
      end)
      assert.same({ { 2, 2 } }, g:tolist())
    end
    assert.same({ { 1, 2 } }, x:tolist())
  end)

  it("a gradient stays what it was when a later backward adds to the grad of a trained parameter", function()
    local nn = ls.nn
    local Net = nn.Module "Net"
    function Net:init() self.w, self.b = nn.Parameter(torch.ones(1, 2)), nn.Identity() end
    function Net:forward(v) return self.b(self.w + v) * 1 end
    for _, trains in ipairs { true, false } do
      local m, one, own, two = ls.Model(Net():requires_grad_(trains)), nil, nil, nil
      m:trace(x, function()
        one, own = m.b.output.grad:save(), m.w.grad:save()
        m.output:sum():backward { retain_graph = true }
        two = m.b.output.grad:save();
        (m.output * 2):sum():backward()
      end)
      assert.same({ { { 1, 1 } }, { { 1, 1 } }, { { 2, 2 } } }, { one:tolist(), own:tolist(), two:tolist() })
    end
  end)
end)
