-- Coroutines: scopes, gradients, traces and errors of each are its own.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.tensor { { 1, 2 } }
end

describe("coroutines", function()
  it("5.5: have scopes of their own", function()
    local co = coroutine.wrap(function() ls.scope(coroutine.yield) end)
    co()
    local y = torch.ones(2)
    co()
    assert.equal(2, y:sum():item())
    local inside
    local one = coroutine.wrap(function()
      return ls.scope(function()
        inside = torch.ones(2) + 1
        coroutine.yield()
        return torch.ones(3) + inside:sum()
      end)
    end)
    local two = coroutine.wrap(function()
      return ls.scope(function()
        local mine = torch.ones(1) * 7
        coroutine.yield(mine)
        return (mine + 1):item()
      end)
    end)
    one()
    local theirs = two()
    local kept = one()
    assert.equal("(released)", tostring(inside))
    assert.equal(15, kept:sum():item())
    assert.equal(7, theirs:item())
    assert.equal(8, two())
    assert.equal("(released)", tostring(theirs))
  end)

  it("5.5: leave no scope behind where they are abandoned", function()
    local co = coroutine.wrap(function() ls.scope(coroutine.yield) end)
    co()
    co = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    local before = ls.live()
    for _ = 1, 100 do local _ = torch.ones(2) + 1 end
    collectgarbage()
    collectgarbage()
    assert.equal(before, ls.live())
  end)

  it("5.5: make handles in the scope of who resumes them, where they have none", function()
    local made
    local kept = ls.scope(function()
      local sum = 0
      for t in coroutine.wrap(function()
        for i = 1, 3 do
          made = torch.ones(2) * i
          coroutine.yield(made)
        end
      end) do sum = sum + t:sum() end
      return sum
    end)
    assert.equal("(released)", tostring(made))
    assert.equal(12, kept:item())
  end)

  it("5.5: have sessions of their own", function()
    local model, net, x = small()
    local h = net.a(x)
    local function work(factor)
      return coroutine.wrap(function()
        return ls.session(function()
          local first
          model:trace(x, function() first = model.a.output * factor end)
          coroutine.yield()
          return model:trace(x, function()
            model.a.output = first
            return model.output
          end)
        end)
      end)
    end
    local one, two = work(2), work(3)
    one()
    two()
    local outside = model:trace(x, function() return model.a.output end)
    assert.is_true(torch.equal(outside, h)) -- ran at its end: it is in no session
    local a = one()
    outside = model:trace(x, function() return model.a.output * 1 end)
    assert.is_true(torch.equal(outside, h))
    local b = two()
    near(net.b(h * 2), a)
    near(net.b(h * 3), b)
  end)

  it("5.5: leave no session behind where they are abandoned", function()
    local model, net, x = small()
    local co = coroutine.wrap(function() ls.session(coroutine.yield) end)
    co()
    local seen = model:trace(x, function() return model.a.output end)
    assert.is_true(torch.equal(seen, net.a(x)))
    co = nil -- luacheck: ignore
    collectgarbage()
    seen = model:trace(x, function() return model.a.output end)
    assert.is_true(torch.equal(seen, net.a(x)))
  end)

  it("5.5: have bodies of their own, whoever began last", function()
    local model, net, x = small()
    local h = net.a(x)
    local function body(factor, inner)
      return coroutine.wrap(function()
        return model:trace(x, function()
          if inner then inner() end
          coroutine.yield()
          model.a.output = model.a.output * factor
          return model.output
        end)
      end)
    end
    local first = body(2)
    first()
    -- the second resumes the first inside its own body: what the first does is of its own trace
    local got
    local second = body(3, function() got = first() end)
    second()
    near(net.b(h * 2), got)
    near(net.b(h * 3), second())
  end)

  it("5.5: let go of an abandoned body and its model", function()
    local model, _, x = small()
    model:trace(x, function() model.a.output:save() end) -- what is recorded of a model stays
    collectgarbage()
    collectgarbage()
    local before = ls.live()
    local co = coroutine.wrap(function()
      model:trace(x, function()
        model.a.output:save()
        coroutine.yield()
      end)
    end)
    co()
    assert.matches("body", failure(function() return model.a.output end).message)
    co = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(before, ls.live())
  end)

  it("5.5: have a mode of autograd of their own", function()
    local w = torch.ones(2, { requires_grad = true })
    local net = nn.Linear(2, 1)
    local co = coroutine.wrap(function()
      return torch.no_grad(function()
        assert.is_false((w * 2).requires_grad)
        coroutine.yield()
        assert.is_false(torch.is_grad_enabled())
        assert.is_false((w * 2).requires_grad)
        assert.is_false(net(w).requires_grad)
        torch.enable_grad(function()
          coroutine.yield()
          assert.is_true((w * 2).requires_grad)
        end)
        return (w * 2).requires_grad
      end)
    end)
    co()
    assert.is_true(torch.is_grad_enabled())
    assert.is_true((w * 2).requires_grad)
    assert.is_true(w[0].requires_grad)
    assert.is_true(net(w).requires_grad)
    torch.no_grad(function()
      co()
      assert.is_false((w * 2).requires_grad)
      assert.is_false(net(w).requires_grad)
    end)
    assert.is_false(co())
    assert.is_true(torch.is_grad_enabled())
    assert.is_true((w * 2).requires_grad)
  end)

  it("5.5: change no mode of autograd of a trace that runs meanwhile", function()
    local model, net, x = small()
    local t = model:tracer(x)
    local g = model.a.output.grad:save()
    model.output:sum():backward()
    local co = coroutine.wrap(function() torch.no_grad(coroutine.yield) end)
    co()
    t:run()
    near(net.b.weight:sum(0, { keepdim = true }), g)
  end)

  it("5.5: change no mode of autograd where they are abandoned", function()
    local w = torch.ones(2, { requires_grad = true })
    local co = coroutine.wrap(function() torch.no_grad(coroutine.yield) end)
    co()
    co = nil -- luacheck: ignore
    collectgarbage()
    assert.equal(3, torch.no_grad(function() return 3 end))
    assert.is_true(torch.is_grad_enabled())
    assert.is_true((w * 2).requires_grad)
  end)

  it("5.5: may stand still in a forward that is recorded", function()
    local Slow = nn.Module "Slow"
    function Slow:forward(x)
      local y = nn.tap("half", x * 0.5)
      coroutine.yield()
      return nn.tap("whole", y + y)
    end
    local slow, x = Slow(), torch.ones(2)
    local co = coroutine.wrap(function() return slow(x) end)
    co()
    local linear = nn.Linear(2, 1)
    assert.equal(1, linear(x):numel())
    assert.equal(5, nn.tap("five", 5))
    assert.is_true(torch.equal(x, co()))
  end)
end)
