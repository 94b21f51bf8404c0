-- Lua functions that get real values while the model runs, and demands that fail.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
local support = require "spec.support"
local failure, near = support.failure, support.near

local small = support.small_model

describe("tracer:apply", function()
  it("calls a Lua function with real values while the model runs", function()
    local model, net, x = small()
    local seen, out
    model:trace(x, function(tracer)
      local y = tracer:apply(function(h, k)
        seen = h:sum():item()
        return h * k
      end, model.act.output, 3)
      model.layer2.input = y
      out = model.output:save()
    end)
    near(net.act(net.layer1(x)):sum():item(), seen)
    near(net.layer2(net.act(net.layer1(x)) * 3), out)
  end)

  it("passes on what the function raises, and leaves nothing behind", function()
    local model, _, x = small()
    local mine = {}
    assert.equal(mine, failure(function()
      model:trace(x, function(tracer) tracer:apply(function() error(mine) end, model.output) end)
    end))
    assert.same({ 1, 2 }, model(x):size():tolist())
  end)

  it("case 9.12: does not let the function change tensors of the caller or parameters", function()
    local model, net, x = small()
    local before, weight, out = x:clone(), net.layer1.weight:clone(), nil
    model:trace(x, function(tracer)
      tracer:apply(function(h) h:zero_() end, model.input[0][0])
      out = model.output:save()
    end)
    assert.is_true(torch.equal(before, x))
    near(net(torch.zeros_like(x)), out) -- the edit acts, as one in the body does
    local mine = torch.ones(1, 5)
    for _, given in ipairs { mine, net.layer1.weight } do
      assert.matches("clone it first", failure(function()
        model:trace(x, function(tracer)
          tracer:apply(function(_, v) v:zero_() end, model.layer1.output, given)
          return model.output
        end)
      end).message, 1, true)
    end
    assert.equal(5, mine:sum():item())
    assert.is_true(torch.equal(weight, net.layer1.weight))
    model:trace(x, function(tracer)
      local v = tracer:apply(function() return mine end)
      model.input = v
      v:mul_(3)
      model.input[0][0]:add_(1)
      out = model.output:save()
    end)
    assert.equal(5, mine:sum():item())
    near(net(torch.ones(1, 5) * 4), out)
  end)

  it("case 9.12: refuses a change in place that a line above would see", function()
    local model, _, x = small()
    local err = failure(function()
      model:trace(x, function(tracer)
        local above = (model.layer1.output + model.layer2.output:sum()):save()
        tracer:apply(function(h) h:zero_() end, model.layer1.output)
        return above
      end)
    end)
    assert.equal("changed", err.code)
    assert.matches("a line above has yet to use", err.message, 1, true)
  end)

  it("case 9.17: takes the values of a trace that the function has run", function()
    local model, net, x = small()
    local out, sum
    model:trace(x, function(tracer)
      local inner = tracer:apply(function(h)
        return model:trace(h["..., :5"], function() return model.output end)
      end, model.layer1.output)
      sum = inner:sum():item()
      out = (inner * 2):save()
    end)
    local want = net(net.layer1(x)["..., :5"])
    near(want:sum():item(), sum)
    near(want * 2, out)
  end)

  it("lets the function trace models of its own", function()
    local model, net, x = small()
    local out
    model:trace(x, function(tracer)
      out = tracer:apply(function(h)
        return model:trace(h["..., :5"], function() return model.output end).value
      end, model.layer1.output):save()
    end)
    near(net(net.layer1(x)["..., :5"]), out)
  end)

  -- Rule S1: what a body returns is saved and handed back. Rule S13: a trace in a trace is one of its own.
  it("case 9.17: takes what a trace in the function saved: alone, in a tuple, as one of several, through an upvalue", function()
    local model, net, x = small()
    local function first(h) return h["..., :5"] end
    local function inner(h)
      local r
      model:trace(first(h), function() r = model.layer1.output:save() end)
      return r
    end
    local alone, in_tuple, of_several, returned, outside, out
    model:trace(x, function(tracer)
      local h = model.layer1.output
      alone = (tracer:apply(inner, h) * 1):save()
      in_tuple = tracer:apply(function(v) return ls.tuple(inner(v), 3) end, h)[0]:save()
      of_several = tracer:apply(function(v) return inner(v), 3 end, h)[0]:save()
      returned = tracer:apply(function(v)
        return model:trace(first(v), function(t) return t:apply(inner, model.layer1.output) end)
      end, h):save()
      tracer:apply(function(v) outside = inner(v) return v end, h):sum():item()
      assert.equal("tensor", tostring(outside):match "^%a+")
      model.act.output = outside
      out = model.output:save()
    end)
    local once = net.layer1(first(net.layer1(x)))
    near(once, alone)
    near(once, in_tuple)
    near(once, of_several)
    near(net.layer1(first(once)), returned)
    near(net.layer2(once), out)
  end)

  it("case 9.17: is told where the function returns what a trace in it did not save", function()
    local model, _, x = small()
    local err = failure(model.trace, model, x, function(tracer)
      return tracer:apply(function()
        local r
        model:trace(x, function() r = model.layer1.output end)
        return r
      end, model.layer1.output)
    end)
    assert.equal("unset", err.code)
    assert.matches("save", err.hint)
  end)

  it("refuses a function that uses values of its own trace which come later", function()
    local model, net, x = small()
    local functions = {
      function(_, later) return later end,
      function(h, later) return h * later:sum():item() end,
      function(h, later)
        pcall(function() return later:sum():item() end)
        return h
      end,
      function(_, later) return ls.tuple(later, 1) end,
    }
    for k, f in ipairs(functions) do
      local err = failure(model.trace, model, x, function(tracer)
        local later = model.act.output
        return tracer:apply(function(h) return f(h, later) end, model.layer1.output)
      end)
      assert.equal("state", err.code, k)
      assert.matches("tracer:apply", err.hint)
    end
    near(net(x), model(x))
  end)

  it("may ask for values of its own trace that are there", function()
    local model, net, x = small()
    local y = model:trace(x, function(tracer)
      local h = model.layer1.output:save()
      assert.equal(10, h.shape[1])
      return tracer:apply(function(v) return v * h.value end, model.act.output)
    end)
    near(net.layer1(x) * net.act(net.layer1(x)), y)
  end)

  it("may stand still in its function while another coroutine traces the model", function()
    local model, net, x = small()
    local co = coroutine.wrap(function()
      return model:trace(x, function(tracer)
        return tracer:apply(function(h)
          coroutine.yield()
          return h * 2
        end, model.layer1.output)
      end)
    end)
    co()
    near(net.act(net.layer1(x)), model:trace(x, function() return model.act.output end))
    near(net.layer1(x) * 2, co())
  end)

  it("runs in the mode of autograd in which its line stands, wherever the model runs", function()
    local net = nn.Sequential { { "a", nn.Identity() }, { "b", nn.Identity() } }
    local model, x = ls.Model(net), torch.ones(2)
    local function grad(call, ask)
      return model:trace(x, function(tracer)
        local h = model.a.output
        local g = h.grad
        local y = call(function() return tracer:apply(function(v) return v * v * 3 end, h) end)
        local loss = (y + h):sum()
        loss:backward()
        if ask then torch.no_grad(function() return y:sum():item() end) end
        return g
      end)
    end
    local function plainly(f) return f() end
    for _, ask in ipairs { false, true } do
      support.near({ 7, 7 }, grad(plainly, ask))
      support.near({ 1, 1 }, grad(torch.no_grad, ask))
      support.near({ 7, 7 }, torch.no_grad(grad, plainly, ask)) -- around a trace a mode has no part in what its body records
      support.near({ 7, 7 }, torch.no_grad(grad, torch.enable_grad, ask))
    end
  end)
end)

describe("a demand", function()
  it("that fails inside pcall is what the trace ends with", function()
    local model, _, x = small()
    local inside
    local err = failure(function()
      model:trace(x, function()
        inside = failure(function() return model.layer1.output[":, 99"]:item() end)
        return model.output
      end)
    end)
    assert.equal("index", err.code)
    assert.equal(inside.message, err.message)
  end)
end)
