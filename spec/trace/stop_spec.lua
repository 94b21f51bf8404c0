-- Leaving out a part of the model: tracer:stop, module:skip.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

local small = support.small_model

describe("tracer:stop", function()
  it("case 9.13: is no part of a stored edit, which says so", function()
    local model = small()
    local err = failure(function() model:edit(function(tracer) tracer:stop() end) end)
    assert.equal("state", err.code)
    assert.matches("a stored edit cannot stop the model", err.message, 1, true)
  end)

  it("leaves stored edits in force where another input makes the model go on, and is not put off by them", function()
    local model = ls.Model(nn.Sequential { { "a", nn.Identity() }, { "b", nn.Identity() }, { "c", nn.Identity() } })
    local x, all, alone = torch.tensor { { 1, 2 } }, nil, nil
    local edited = model:edit(function() model.b.output[":, 0"] = 7 end)
    edited:trace(function(t)
      t:invoke(x, function(tracer)
        alone = edited.a.output:save()
        tracer:stop()
      end)
      t:invoke(function() all = edited.c.output:save() end)
    end)
    assert.same({ { 7, 2 } }, all:tolist())
    local late
    edited:trace(x:clone(), function(t)
      alone = edited.a.output:save()
      t:stop()
      late = edited.c.output:save()
    end)
    assert.same({ { 1, 2 } }, alone:tolist())
    assert.is_false(late:is_set())
  end)

  it("ends the model behind the last point named above; what lies beyond stays unset", function()
    local Fail = nn.Module "Fail"
    function Fail:forward(x) return torch.linalg_cholesky(x - 1e3) end
    local net = nn.Sequential { { "first", nn.Identity() }, { "fail", Fail() } }
    local model, early, late = ls.Model(net), nil, nil
    local went_on
    model:trace(torch.eye(2), function(tracer)
      early = model.first.output:save()
      tracer:stop()
      late = (model.fail.output * 2):save()
      went_on = true
    end)
    assert.is_true(went_on)
    assert.equal(2, early:sum():item())
    assert.is_false(late:is_set())
    assert.equal("unset", failure(function() return late.value end).code)
  end)

  it("is no place to lose an edit in silence: one that needs a value behind another input's stop is refused", function()
    local model, _, x = small()
    local err = failure(function()
      model:trace(function(tracer)
        local late
        tracer:invoke(x, function()
          tracer:stop()
          late = model.output
        end)
        tracer:invoke(x, function() model.act.output = model.act.output * late:sum() end)
      end)
    end)
    assert.equal("unreached", err.code)
    assert.matches("this edit is lost", err.message, 1, true)
    assert.equal("act.output", err.point)
  end)
end)

describe("module:skip", function()
  it("gives the output without running the module", function()
    local Fail = nn.Module "Fail"
    function Fail:init() self.inner = nn.Identity() end
    function Fail:forward(x) return torch.linalg_cholesky(self.inner(x) - 1e3) end
    local net = nn.Sequential { { "first", nn.Identity() }, { "fail", Fail() }, { "last", nn.Identity() } }
    local model = ls.Model(net)
    local out = model:trace(torch.eye(2), function()
      model.fail:skip(model.first.output * 3)
      return model.last.output
    end)
    assert.equal(6, out:sum():item())
    local err = failure(function()
      model:trace(torch.eye(2), function()
        model.fail:skip(model.first.output * 3)
        return model.fail.inner.output
      end)
    end)
    assert.equal("unreached", err.code)
    assert.matches("skipped", err.message, 1, true)
    assert.equal("fail.inner.output", err.point)
  end)

  it("covers the rows of its invoke", function()
    local model, net, x = small()
    local y, a, b = torch.randn(2, 5), nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.act:skip(model.layer1.output * 2)
        a = model.output:save()
      end)
      tracer:invoke(y, function() b = model.output:save() end)
    end)
    near(net.layer2(net.layer1(x) * 2), a)
    near(net(y), b)
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.act:skip(model.layer1.output * 2)
        a = model.output:save()
      end)
      tracer:invoke(y, function()
        model.act:skip(model.layer1.output * 3)
        b = model.output:save()
      end)
    end)
    near(net.layer2(net.layer1(x) * 2), a)
    near(net.layer2(net.layer1(y) * 3), b)
  end)
end)
