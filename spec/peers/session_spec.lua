-- What people ask of tools like this one, second part: what lasts longer than a trace: sessions, stored edits, caches.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local function small()
  torch.manual_seed(5)
  local net = nn.Sequential {
    { "layer1", nn.Linear(5, 10) },
    { "act", nn.GELU() },
    { "layer2", nn.Linear(10, 2) },
  }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.randn(1, 5)
end

local support = require "spec.support"
local failure, near = support.failure, support.near


describe("ls.session", function()
  it("lets a trace change a value of the one before", function()
    local model, net, x = small()
    local kept, out
    ls.session(function()
      model:trace(x, function() kept = model.layer1.output:save() end)
      model:trace(x, function()
        kept[":, 2"] = 5
        model.layer2.input = kept
        out = model.output:save()
      end)
    end)
    local want = net.layer1(x)
    want[":, 2"] = 5
    near(want, kept)
    near(net.layer2(want), out)
  end)

  it("takes traces in loops and behind decisions, each using the one before", function()
    local model, net, x = small()
    local outs, h = {}, nil
    local runs = ls.session(function()
      local count = 0
      for k = 0, 5 do
        if k % 2 == 0 then
          count = count + 1
          local before = h
          model:trace(x, function()
            if before then model.layer1.output = model.layer1.output + before end
            h = model.layer1.output
            outs[count] = model.output:save()
          end)
        end
      end
      return count
    end)
    assert.equal(3, runs)
    for k, out in ipairs(outs) do near(net.layer2(net.act(net.layer1(x) * k)), out) end
  end)

  it("may stand inside another, and holds traces that stand in bodies", function()
    local model, net, x = small()
    local inner, nested, out
    ls.session(function()
      model:trace(x, function()
        inner = model:trace(x * 2, function() return model.layer1.output end)
        model.layer1.output = model.layer1.output + inner
        out = model.output:save()
      end)
      ls.session(function()
        local h
        model:trace(x, function() h = model.layer1.output end)
        model:trace(x, function() nested = (model.layer1.output - h):save() end)
      end)
      assert.equal(0, nested:abs():sum():item())
    end)
    near(net.layer1(x * 2), inner)
    near(net.layer2(net.act(net.layer1(x) + net.layer1(x * 2))), out)
  end)

  it("may stand in a body, with traces of its own that take no part in the body's", function()
    local model, net, x = small()
    local difference, out
    model:trace(x, function()
      model.layer1.output[":"] = 1
      ls.session(function()
        local h
        model:trace(x, function() h = model.layer1.output end)
        model:trace(x * 2, function() difference = (model.layer1.output - h):save() end)
      end)
      model.layer2.input = model.layer2.input[0][0] + difference
      out = model.output:save()
    end)
    near(net.layer1(x * 2) - net.layer1(x), difference)
    near(net.layer2(net.act(torch.ones(1, 10)) + difference), out)
  end)

  it("whose second trace fails names its line, and gives none of the values", function()
    local model, net, x = small()
    local first, line
    local err = failure(function()
      ls.session(function()
        model:trace(x, function() first = model.output:save() end)
        model:trace(x, function()
          line = debug.getinfo(1, "l").currentline + 1
          model.layer1.output:matmul(torch.ones(3, 3)):save()
        end)
      end)
    end)
    assert.equal(line, err.line)
    assert.equal("layer1.output", err.point)
    if first:is_set() then near(net(x), first) end
    near(net(x), model(x))
  end)
end)

describe("stored edits", function()
  it("made in place are part of handles made later, not of those made before", function()
    local model, net, x = small()
    local before = model:edit(function() model.output = model.output + 1 end)
    model:edit({ inplace = true }, function() model.act.output[":, 0"] = 0 end)
    local after = model:edit(function() model.act.output[":, 1"] = 0 end)
    local function want(...)
      local h = net.act(net.layer1(x))
      for _, column in ipairs { ... } do h[":, " .. column] = 0 end
      return net.layer2(h)
    end
    near(want() + 1, before(x))
    near(want(0), model(x))
    near(want(0, 1), after(x))
    after:clear_edits()
    near(want(), after(x))
    near(want(0), model(x))
  end)

  it("stand before the statements of a trace, which may undo them", function()
    local model, net, x = small()
    model:edit({ inplace = true }, function() model.act.output = model.act.output * 0 end)
    local seen, out = model:trace(x, function()
      local seen = model.act.output:clone()
      model.act.output = model.act.input[0][0]
      return seen, model.output
    end)
    assert.equal(0, seen:abs():sum():item())
    near(net.layer2(net.layer1(x)), out)
  end)
end)

describe("tracer:cache", function()
  it("of an invoke has its rows, and that of an invoke without input all rows", function()
    local model, net, x = small()
    local y, a, b, all = torch.randn(3, 5), nil, nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function() a = tracer:cache { modules = { "layer1" } } end)
      tracer:invoke(y, function() b = tracer:cache { modules = { "layer1" }, inputs = true } end)
      tracer:invoke(function() all = tracer:cache() end)
    end)
    near(net.layer1(x), a["layer1"].output)
    near(net.layer1(y), b["layer1"].output)
    near(y, b["layer1"].input[0][0])
    near(net.act(net.layer1(torch.cat({ x, y }, 0))), all["act"].output)
    assert.same({ "layer1" }, a:keys())
  end)

  it("has what edits above it made, and lists apart from another cache", function()
    local model, net, x = small()
    local one, two
    model:trace(x, function(tracer)
      one = tracer:cache { modules = { "act" } }
      model.act.output = model.act.output * 0
      two = tracer:cache { modules = { "act", "layer2" } }
    end)
    near(net.act(net.layer1(x)), one["act"].output)
    assert.equal(0, two["act"].output:abs():sum():item())
    near(net.layer2(torch.zeros(1, 10)), two["layer2"].output)
    assert.same({ "act", "layer2" }, two:keys())
    assert.equal("name", failure(function() return one["layer2"] end).code)
  end)

  it("has the value given for a skipped module, and nothing of what is inside it", function()
    local _, net, x = small()
    local inner = nn.Sequential { { "act", nn.GELU() }, { "layer", nn.Linear(10, 10) } }
    local model = ls.Model(nn.Sequential { { "layer1", net.layer1 }, { "inner", inner }, { "layer2", net.layer2 } })
    local cache
    model:trace(x, function(tracer)
      model.inner:skip(model.layer1.output * 2)
      cache = tracer:cache()
    end)
    near(net.layer1(x) * 2, cache["inner"].output)
    near(net.layer2(net.layer1(x) * 2), cache[""].output)
    assert.same({ "layer1", "inner", "layer2", "" }, cache:keys())
    assert.matches("cached", failure(function() return cache["inner.act"] end).message)
    local err = failure(function()
      model:trace(x, function(tracer)
        model.inner:skip(model.layer1.output * 2)
        tracer:cache { modules = { "inner.act" } }
      end)
    end)
    assert.equal("unreached", err.code) -- a name in full
    model:trace(x, function(tracer)
      cache = tracer:cache { inputs = true }
      local _ = model.inner.act.output
      tracer:stop()
    end)
    assert.same({ "inner.act" }, { cache:keys()[2] })
    near(net.layer1(x), cache["inner.act"].input[0][0])
  end)
end)
