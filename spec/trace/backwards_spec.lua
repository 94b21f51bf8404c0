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
end)
