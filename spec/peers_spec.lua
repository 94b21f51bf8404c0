-- What people ask of tools like this one, as the suites of other such tools have it, on tiny networks: order, decisions in
-- bodies, stops, skips, sessions, gradients, stored edits, caches, errors. Where the other tool gives an error or nothing
-- and we give a value, the test's comment says so.
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

---Calls one layer three times.
local function thrice()
  local Thrice = nn.Module "Thrice"
  function Thrice:init() self.step = nn.Linear(4, 4) end
  function Thrice:forward(x) return self.step(self.step(self.step(x))) end
  local net = Thrice()
  net:requires_grad_(false)
  return ls.Model(net), net.step, torch.randn(2, 4)
end

local function failure(f)
  local ok, err = pcall(f)
  assert.is_false(ok)
  return err
end

local function close(a, b) return tostring(a.shape) == tostring(b.shape) and (a - b):abs():max():item() < 1e-5 end

describe("decisions in a body", function()
  it("at several points each see the values that the decisions before have made", function()
    local model, net, x = small()
    local out
    model:trace(x, function()
      local h = model.layer1.output
      if h.shape[1] == 10 then h[":"] = 1 end
      if h["0, 0"]:item() ~= 1 then model.act.output = model.act.output * 0 end
      if h:min():item() == 1 then model.layer2.input = model.act.output * 2 end
      out = model.output:save()
    end)
    assert.is_true(close(out, net.layer2(net.act(torch.ones(1, 10)) * 2)))
  end)

  it("that are not taken leave nothing, and nested ones act as written", function()
    local model, net, x = small()
    local taken, never
    model:trace(x, function()
      if model.layer1.output:sum():isfinite():item() then
        if model.layer1.output:abs():max():item() < 0 then never = model.act.output:save() end
        model.act.output = model.layer1.output * 3
      else
        never = model.layer1.output:save()
      end
      taken = model.output:save()
    end)
    assert.is_nil(never)
    assert.is_true(close(taken, net.layer2(net.layer1(x) * 3)))
  end)

  it("make tensors by the sizes of values", function()
    local model, _, x = small()
    local sum = model:trace(x, function()
      local rows, width = model.layer1.output.shape[0], model.layer1.output.shape[1]
      local mine = torch.zeros(rows, width) + torch.ones(width) + torch.full({ rows, width }, 2) + torch.arange(width) * 0
      mine = mine + torch.eye(width)[0] * 0 + torch.linspace(0, 0, width) + torch.rand(rows, width) * 0
      return (model.layer1.output * 0 + mine):sum()
    end)
    assert.equal(30, sum:item())
  end)
end)

describe("tracer:stop", function()
  it("lets the body compute with what came before it", function() -- elsewhere nothing below a stop is ever set
    local model, net, x = small()
    local doubled
    model:trace(x, function(tracer)
      local h = model.layer1.output
      tracer:stop()
      doubled = (h * 2):save()
    end)
    assert.is_true(close(doubled, net.layer1(x) * 2))
  end)

  it("of one invoke leaves the others whole", function()
    local model, net, x = small()
    local y, early, late, whole = torch.randn(2, 5), nil, nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        early = model.layer1.output:save()
        tracer:stop()
        late = model.output:save()
      end)
      tracer:invoke(y, function() whole = model.output:save() end)
    end)
    assert.is_true(close(early, net.layer1(x)))
    assert.is_false(late:is_set())
    assert.is_true(close(whole, net(y)))
  end)
end)

describe("module:skip", function()
  it("takes the output of a module before, one after the other", function()
    local model, net, x = small()
    local deep = ls.Model(nn.Sequential(net.layer1, nn.GELU(), nn.GELU(), nn.GELU(), net.layer2))
    local out, seen
    deep:trace(x, function()
      deep[1]:skip(deep[0].output)
      deep[2]:skip(deep[1].output)
      seen = deep[2].output:save()
      deep[3]:skip(deep[2].output * 2)
      out = deep.output:save()
    end)
    assert.is_true(close(seen, net.layer1(x)))
    assert.is_true(close(out, net.layer2(net.layer1(x) * 2)))
    assert.is_true(close(model(x), net(x)))
  end)

  it("leaves no input to be read or edited, and no output above it", function()
    local model, _, x = small()
    for _, touch in ipairs {
      function() model.act.input = model.layer1.output * 0 end,
      function() model.act.input[0][0]:save() end,
      function() model.act.output:save() end,
    } do
      local err = failure(function()
        model:trace(x, function()
          touch()
          model.act:skip(model.layer1.output * 2)
          return model.output
        end)
      end)
      assert.equal("unreached", err.code)
      assert.matches("act%.%a+put", err.point)
    end
  end)

  it("with the module's own output is a circle", function()
    local model, _, x = small()
    local err = failure(function()
      model:trace(x, function()
        model.act:skip(model.act.output * 2)
        return model.output
      end)
    end)
    assert.equal("act.output", err.point)
  end)
end)

describe("modules called several times", function()
  it("are edited at one call, which the next call reads", function()
    local model, step, x = thrice()
    local outs = {}
    local plain = model:trace(x, function()
      model.step:call(1).output[":"] = 0
      for k = 0, 2 do outs[k] = model.step:call(k).output:save() end
      return model.step.output
    end)
    assert.is_true(close(plain, step(x)))
    assert.equal(0, outs[1]:abs():sum():item())
    assert.is_true(close(outs[2], step(torch.zeros(2, 4))))
  end)

  it("are edited at every call in a loop, and by stored edits at the calls that they name", function()
    local model, step, x = thrice()
    local function by_hand(shifts)
      local h = x
      for k = 0, 2 do h = step(h) + shifts[k] end
      return h
    end
    local all = model:trace(x, function()
      for k = 2, 0, -1 do model.step:call(k).output = model.step:call(k).output + k + 1 end
      return model.output
    end)
    assert.is_true(close(all, by_hand { [0] = 1, 2, 3 }))
    local first = model:edit(function() model.step.output = model.step.output + 1 end)
    assert.is_true(close(first(x), by_hand { [0] = 1, 0, 0 }))
    local last = first:edit(function() first.step:call(2).output = first.step:call(2).output + 5 end)
    assert.is_true(close(last(x), by_hand { [0] = 1, 0, 5 }))
  end)
end)

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
    assert.is_true(close(kept, want))
    assert.is_true(close(out, net.layer2(want)))
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
    for k, out in ipairs(outs) do assert.is_true(close(out, net.layer2(net.act(net.layer1(x) * k)))) end
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
    assert.is_true(close(inner, net.layer1(x * 2)))
    assert.is_true(close(out, net.layer2(net.act(net.layer1(x) + net.layer1(x * 2)))))
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
    assert.is_true(close(difference, net.layer1(x * 2) - net.layer1(x)))
    assert.is_true(close(out, net.layer2(net.act(torch.ones(1, 10)) + difference)))
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
    assert.is_false(first:is_set() and not close(first, net(x)))
    assert.is_true(close(model(x), net(x)))
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
    assert.is_true(close(before(x), want() + 1))
    assert.is_true(close(model(x), want(0)))
    assert.is_true(close(after(x), want(0, 1)))
    after:clear_edits()
    assert.is_true(close(after(x), want()))
    assert.is_true(close(model(x), want(0)))
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
    assert.is_true(close(out, net.layer2(net.layer1(x))))
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
    assert.is_true(close(a["layer1"].output, net.layer1(x)))
    assert.is_true(close(b["layer1"].output, net.layer1(y)))
    assert.is_true(close(b["layer1"].input[0][0], y))
    assert.is_true(close(all["act"].output, net.act(net.layer1(torch.cat({ x, y }, 0)))))
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
    assert.is_true(close(one["act"].output, net.act(net.layer1(x))))
    assert.equal(0, two["act"].output:abs():sum():item())
    assert.is_true(close(two["layer2"].output, net.layer2(torch.zeros(1, 10))))
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
    assert.is_true(close(cache["inner"].output, net.layer1(x) * 2))
    assert.is_true(close(cache[""].output, net.layer2(net.layer1(x) * 2)))
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
    assert.is_true(close(cache["inner.act"].input[0][0], net.layer1(x)))
  end)
end)
