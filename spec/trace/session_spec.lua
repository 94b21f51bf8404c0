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

  -- Rule S13: what is done between the traces of a session gives what it gives outside of one.
  it("case 9.15: takes in no trace that stays open", function()
    local model, net, x = small()
    local first, out, left
    ls.session(function()
      local h
      model:trace(x, function() h = model.layer1.output end)
      local open = model:tracer(x)
      first = model.act.output:save()
      model:trace(x, function() -- a trace of the session, though another stands open
        model.layer1.output = h * 2
        out = model.output:save()
      end)
      open:run()
      assert.is_true(first:is_set() and not out:is_set())
      left = model:tracer(x)
      model:trace(x, function() model.layer1.output[":"] = 0 end)
    end)
    near(net.act(net.layer1(x)), first)
    near(net.layer2(net.act(net.layer1(x) * 2)), out)
    local h = model.layer1.output:save()
    left:run()
    near(net.layer1(x), h)
  end)

  it("case 9.15: goes on where a trace that stood open before it is run", function()
    local model, net, x = small()
    local open, out = model:tracer(x), nil
    ls.session(function()
      local h
      model:trace(x, function() h = model.layer1.output end)
      open:run()
      model:trace(x, function()
        model.layer1.output = h * 2
        out = model.output:save()
      end)
      assert.is_false(out:is_set())
    end)
    near(net.layer2(net.act(net.layer1(x) * 2)), out)
  end)

  it("case 9.15: keeps numbers in its traces beside scans and lists of points", function()
    local model, net, x = small()
    local sum
    ls.session(function()
      local h
      model:trace(x, function() h = model.layer1.output * torch.ones(10) end)
      assert.same({ 1, 10 }, model:scan(x, function() return model.act.output.shape end):tolist())
      assert.matches("output +%[1, 10%]", tostring(model.act:points(x)))
      model:trace(x, function() sum = (h + torch.ones(10) * 2 + model.layer1.output):save() end)
    end)
    near(net.layer1(x) * 2 + 2, sum)
  end)

  it("case 9.15: is no part of the edits that are stored in it", function()
    local model, net, x = small()
    local edited, out, plain, demanded
    ls.session(function()
      edited = model:edit(function() model.layer1.output[":"] = 0 end)
      model:trace(x, function() plain = model.output:save() end)
      edited:trace(x, function()
        demanded = edited.output:sum():item()
        out = edited.output:save()
      end)
      near(net.layer2(net.act(torch.zeros(1, 10))), edited(x)) -- runs at once
    end)
    local want = net.layer2(net.act(torch.zeros(1, 10)))
    near(want, out)
    near(want:sum():item(), demanded)
    near(net(x), plain)
    near(want, edited(x))
    near(net(x), model(x))
  end)

  it("case 9.15: takes in no trace of a function that it calls", function()
    local model, net, x = small()
    local y, seen
    ls.session(function()
      model:trace(x, function(tracer)
        y = tracer:apply(function(h)
          seen = model:trace(x, function() return model.layer1.output end):sum():item()
          return h * seen
        end, model.layer1.output):save()
      end)
      assert.same({ 1, 10 }, y.value:size():tolist()) -- the function is called here, outside of all bodies
      assert.is_number(seen)
    end)
    near(net.layer1(x) * net.layer1(x):sum(), y)
  end)

  it("names the first error where a failed trace was caught in it", function()
    local model, _, x = small()
    for _, what in ipairs { "trace", "end" } do
      local inside
      local err = failure(ls.session, function()
        inside = failure(model.trace, model, x, function() return model.layer1.output[":, 99"]:item() end)
        if what == "trace" then model:trace(x, function() return model.output end) end
      end)
      assert.equal("index", err.code)
      assert.equal(inside.message, err.message)
    end
    assert.same({ 1, 2 }, model(x):size():tolist())
  end)
end)
