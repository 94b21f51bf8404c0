-- ls.session: values that go from trace to trace.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch = ls.torch

local small = support.small_model

describe("ls.session", function()
  it("carries values from trace to trace without save", function()
    local model, net, x = small()
    local y = torch.randn(1, 5)
    local h, out
    ls.session(function()
      model:trace(x, function() h = model.layer1.output end)
      model:trace(y, function()
        model.layer1.output = model.layer1.output + h
        out = model.output:save()
      end)
    end)
    near(net.layer2(net.act(net.layer1(y) + net.layer1(x))), out)
  end)

  it("carries them between models, through invokes and gradients", function()
    local one, net1, x = small()
    local two, net2 = small()
    local out, grad
    ls.session(function()
      local h
      one:trace(function(tracer)
        tracer:invoke(x, function() h = one.act.output end)
        tracer:invoke(x, function() one.act.output[":"] = 0 end)
      end)
      two:trace(x, function()
        two.layer2.input = h * 2
        out = two.output:save()
        grad = two.act.input[0][0].grad:save()
        two.layer2(two.act.output):sum():backward()
      end)
    end)
    near(net2.layer2(net1.act(net1.layer1(x)) * 2), out)
    assert.same({ 1, 10 }, grad:size():tolist())
  end)

  it("gives a demanded value where it is asked for", function()
    local model, net, x = small()
    ls.session(function()
      local h
      model:trace(x, function() h = model.layer1.output:save() end)
      model:trace(x, function()
        near(net.layer1(x):sum():item(), h:sum():item())
      end)
    end)
  end)

  it("passes on an error and leaves nothing behind", function()
    local model, net, x = small()
    local mine = {}
    assert.equal(mine, failure(function()
      ls.session(function()
        model:trace(x, function() model.layer1.output[":"] = 0 end)
        error(mine)
      end)
    end))
    assert.is_true(torch.equal(model(x), net(x)))
  end)
end)
