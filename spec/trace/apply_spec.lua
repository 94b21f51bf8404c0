-- Lua functions that get real values while the model runs, and demands that fail.
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
