-- Memory that values of a trace share: views, edits that come late, tensors of the caller, values of ended traces.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential { { "layer1", nn.Linear(5, 10) }, { "layer2", nn.Linear(10, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), torch.rand(1, 5), net
end

describe("a view of the caller's tensor", function()
  it("that is edited changes what the model sees and not the tensor", function()
    local model, x, net = small()
    local before, want = x:clone(), x:clone()
    want[":, 1:3"] = 0
    local out = model:trace(x, function()
      local piece = model.layer1.input[0][0][":, 1:3"]
      piece["0"][":"] = 0
      return model.output
    end)
    near(net(want), out)
    assert.is_true(torch.equal(x, before))
  end)

  it("that was saved shows a later edit of the whole", function()
    local model = ls.Model(nn.Sequential { { "a", nn.Identity() }, { "b", nn.Identity() } })
    local x, view, out = torch.ones(2, 3), nil, nil
    model:trace(x, function()
      view = model.a.output["0"]:save()
      model.a.output[":"] = 5
      out = model.output:save()
    end)
    assert.equal(15, view:sum():item())
    assert.equal(30, out:sum():item())
    assert.equal(6, x:sum():item())
  end)
end)

describe("an edit with a value that comes later", function()
  it("is seen by all lines below it and by no line above", function()
    local model, x, net = small()
    local above, below, kept
    model:trace(x, function()
      local h = model.layer1.output * 2
      above = (h + 0):save()
      h[":"] = model.layer2.output:sum()
      below = (h + 1):save()
      h:add_(model.layer2.output:sum())
      kept = h["0"]:clone():save()
    end)
    near(net.layer1(x) * 2, above)
    near(torch.ones(1, 10) + net(x):sum(), below)
    near(torch.zeros(10) + 2 * net(x):sum(), kept)
  end)

  it("makes the edited value one that comes later too", function()
    local model, x = small()
    local e = failure(model.trace, model, x, function()
      local h = model.layer1.output * 2
      h[":"] = model.layer2.output:sum()
      model.layer1.output = h
    end)
    assert.equal("cycle", e.code)
  end)
end)

describe("a value on demand", function()
  it("has the edits that were written since it was asked for before", function()
    local model, x = small()
    model:trace(x, function()
      local h = model.layer1.output
      assert.equal(10, h.shape[1])
      h[":"] = 7
      assert.equal(7, h.value["0, 3"]:item())
      model.layer1.output[":"] = 8
      assert.equal(80, h.value:sum():item())
    end)
  end)
end)

describe("a value of an ended trace", function()
  it("is an input like any tensor", function()
    local model, x, net = small()
    local h, first
    model:trace(x, function()
      h, first = model.layer1.output:save(), (model.layer1.input[0][0] * 1):save()
    end)
    near(net(x), net.layer2(h))
    near(net(x), model(first))
    near(net(x), model:trace(first, function() return model.output end))
    near(net(x), model:trace(x * 0, function()
      model.layer2.input = h
      return model.output
    end))
  end)

  it("that was not saved, and one of a trace still open, are none", function()
    local model, x, net = small()
    local h
    model:trace(x, function()
      h = model.layer1.output
      local e = failure(model.trace, model, model.layer1.input[0][0], function() end)
      assert.equal("state", e.code)
    end)
    assert.equal("unset", failure(net.layer2, h).code)
  end)
end)

describe("what replaces a value that nobody reads", function()
  local Pair = nn.Module "Pair"
  function Pair:forward(x) return x, x * 2 end
  local Outer = nn.Module "Outer"
  function Outer:init()
    self.first, self.pair = nn.Linear(3, 3), Pair()
  end
  function Outer:forward(x) return self.pair(self.first(x))[0] end

  it("has its structure all the same", function()
    local model, x = ls.Model(Outer()), torch.rand(2, 3)
    local h = model:trace(x, function() return model.first.output end)
    for _, wrong in ipairs { h, h.value, ls.tuple(h), ls.tuple(h, 3), 0 } do
      local e = failure(model.trace, model, x, function()
        model.pair.output = wrong
        return model.output
      end)
      assert.equal("shape", e.code)
      assert.equal("pair.output", e.point)
    end
    for _, wrong in ipairs { ls.tuple(h), 0, "text", true } do
      local e = failure(model.trace, model, x, function()
        model.first.output = wrong
        return model.output
      end)
      assert.equal("first.output", e.point)
    end
    assert.equal("argument", failure(model.trace, model, x, function() model.first.output = {} end).code)
    local out = model:trace(x, function()
      model.pair.output = ls.tuple(h, h)
      return model.output
    end)
    near(h, out)
  end)
end)

describe("the input", function()
  it("that is changed in place before the run is refused", function()
    local model, x = small()
    local e = failure(model.trace, model, x, function()
      x:mul_(2)
      return model.output
    end)
    assert.equal("changed", e.code)
  end)
end)

describe("the trace of a body", function()
  it("cannot be run or abandoned by hand", function()
    local model, x = small()
    for _, what in ipairs { "run", "abandon" } do
      local e = failure(model.trace, model, x, function(tracer) tracer[what](tracer) end)
      assert.equal("state", e.code)
      assert.matches("tracer", e.hint)
    end
  end)
end)

describe("random bodies", function()
  -- Statements in the order of the points, so that running the modules one by one and doing each statement at once gives
  -- what the trace must give, with demands in between and without.
  local random, slices = math.random, { "1:", "::2", "...", "0:2", "-1:" }
  local drops = { "0", ":, 0", "-1" }

  local function statements(x)
    local list, places = {}, {}
    local function pick(point)
      local found = {}
      for k, place in ipairs(places) do
        if not point or place.point == point or not place.point then found[#found + 1] = k end
      end
      return found[random(math.max(1, #found))]
    end
    local function add(kind, place, ...)
      if place then places[#places + 1] = place end
      list[#list + 1] = { kind, place and #places, ... }
    end
    for point = 0, 3 do
      for _ = 1, random(0, 4) do
        local a, b, mine, kind = pick(), pick(), pick(point), random(8)
        if kind == 1 or not mine then add("read", { point = point }, point)
        elseif kind == 2 then
          local flat = places[a].flat or random(2) == 1
          local index = flat and not places[a].flat and drops[random(#drops)] or slices[random(#slices)]
          add("view", { point = places[a].point, flat = flat }, a, index)
        elseif kind == 3 then add("op", {}, a, b)
        elseif kind == 4 then add("set", nil, mine, random(10))
        elseif kind == 5 then add("mul_", nil, mine, random(3) + 0.5)
        elseif kind == 6 then add("setv", nil, mine, b)
        elseif kind == 7 then add("write", nil, point, random(2) == 1 and a or nil, x * random(9))
        else add("demand", nil, a) end
      end
      add("module", nil, point + 1)
    end
    return list
  end

  local function act(s, v, x, read, write)
    local kind, out, a, b = s[1], s[2], s[3], s[4]
    if kind == "read" then v[out] = read(a)
    elseif kind == "view" then v[out] = v[a][b]
    elseif kind == "op" then v[out] = v[a]:sum() + v[b]:sum() * 2 + x
    elseif kind == "set" then v[a]["..."] = b
    elseif kind == "mul_" then v[a]:mul_(b)
    elseif kind == "setv" then v[a]["..."] = v[b]:sum()
    elseif kind == "write" then write(a, b and v[b]:sum() + x or s[5]) end
  end

  local function by_hand(net, x, list)
    local v, demanded, h = {}, {}, net.m0(x:clone())
    for i, s in ipairs(list) do
      if s[1] == "module" then h = s[3] < 4 and net["m" .. s[3]](h) or h
      elseif s[1] == "demand" then demanded[i] = v[s[3]]:clone()
      else act(s, v, x, function() return h end, function(_, value) h = value:clone() end) end
    end
    return h, v, demanded
  end

  it("do what hooks run by hand do", function()
    math.randomseed(7)
    torch.manual_seed(7)
    for round = 1, 200 do
      local parts = { { "m0", random(2) == 1 and nn.Identity() or nn.Linear(4, 4) } }
      for k = 1, 3 do parts[k + 1] = { "m" .. k, nn.Linear(4, 4) } end
      local net = nn.Sequential(parts)
      net:requires_grad_(false)
      local x = torch.randn(3, 4)
      local before, list = x:clone(), statements(x)
      local want, values, demanded = by_hand(net, x, list)
      for _, asking in ipairs { false, true } do
        local model, v, out = ls.Model(net), {}, nil
        model:trace(x, function()
          for i, s in ipairs(list) do
            if s[1] == "demand" then
              if asking then near(demanded[i], v[s[3]].value:clone(), "round " .. round) end
            else
              act(s, v, x, function(k) return model["m" .. k].output end,
                function(k, value) model["m" .. k].output = value end)
            end
          end
          for _, value in pairs(v) do value:save() end
          out = model.output:save()
        end)
        near(want, out, "round " .. round)
        for k, value in pairs(values) do near(value, v[k], ("round %d, value %d"):format(round, k)) end
        assert.is_true(torch.equal(x, before), "round " .. round)
      end
    end
  end)
end)

describe("bodies in coroutines", function()
  it("take turns and keep to their own traces", function()
    local model, x, net = small()
    local function traced(scale)
      return coroutine.create(function()
        return model:trace(x, function()
          model.layer1.output[":"] = net.layer1(x) * scale
          coroutine.yield()
          local h = model.layer1.output:save()
          coroutine.yield()
          return h, model.output
        end)
      end)
    end
    local turns = { traced(2), traced(3) }
    local got = {}
    for _ = 1, 3 do
      for i, turn in ipairs(turns) do got[i] = { coroutine.resume(turn) } end
    end
    for i = 1, 2 do
      assert.is_true(got[i][1], tostring(got[i][2]))
      near(net.layer1(x) * (i + 1), got[i][2])
      near(net.layer2(net.layer1(x) * (i + 1)), got[i][3])
    end
  end)

  it("that were left standing do not hold back the next trace", function()
    local model, x, net = small()
    local left = coroutine.create(function()
      model:trace(x, function()
        model.layer1.output[":"] = 0
        coroutine.yield()
      end)
    end)
    coroutine.resume(left)
    near(net(x), model(x))
    local seen = model:trace(x, function() return model.output end)
    near(net(x), seen)
    assert.equal("state", failure(function() return model.layer1.output end).code)
  end)

  it("are not those of other code once the coroutine has ended, also where its trace is open", function()
    local model, x, net = small()
    local t = coroutine.wrap(function() return model:tracer(x) end)()
    assert.equal("state", failure(function() return model.layer1.output end).code)
    coroutine.wrap(function() assert.equal("state", failure(function() return model.layer1.output end).code) end)()
    near(net(x), model:trace(x, function() return model.output end))
    local h = t.layer1.output:save()
    t:run()
    near(net.layer1(x), h)
  end)

  it("may be walked by iterators that are coroutines", function()
    local model, x, net = small()
    local kept = {}
    model:trace(x, function()
      for h in coroutine.wrap(function()
        for _, layer in ipairs { model.layer1, model.layer2 } do coroutine.yield(layer.output) end
      end) do kept[#kept + 1] = h:save() end
    end)
    near(net.layer1(x), kept[1])
    near(net(x), kept[2])
  end)
end)

describe("a trace that is left open", function()
  local function settled()
    collectgarbage()
    collectgarbage()
    return ls.live()
  end

  it("case 4.1: is gone with its tracer, which nothing else holds, and answers no name", function()
    local model, x, net = small()
    model:tracer(x):run() -- what is recorded of a model stays
    local before = settled()
    for _ = 1, 100 do
      local t = model:tracer(x)
      local h = model.layer1.output:save()
      assert(h.shape[1] == 10 and t)
    end
    assert.equal(before, settled())
    assert.equal("state", failure(function() return model.layer1.output end).code)
    near(net(x), model(x))
    near(net(x), model:trace(x, function() return model.output end))
  end)

  it("case 4.1: is gone too where it was opened in a session, a coroutine or another body", function()
    local model, x, net = small()
    model:tracer(x):run()
    local before = settled()
    ls.session(function() model:tracer(x) end)
    coroutine.wrap(function() model:tracer(x) end)()
    local co = coroutine.wrap(function()
      local t = model:tracer(x)
      coroutine.yield(t)
    end)
    co()
    co = nil -- luacheck: ignore
    local out = model:trace(x, function()
      model:tracer(x):abandon()
      model:tracer(x)
      collectgarbage()
      return model.output
    end)
    near(net(x), out)
    out:release()
    assert.equal(before, settled())
    assert.equal("state", failure(function() return model.layer1.output end).code)
  end)

  it("case 4.1: stays while its tracer is held, and its values say so when it is gone", function()
    local model, x, net = small()
    local t = model:tracer(x)
    local h = model.layer1.output:save()
    settled()
    assert.equal(10, h.shape[1])
    t:run()
    near(net.layer1(x), h)
    model:tracer(x)
    local left = model.layer1.output
    settled()
    assert.matches("nothing kept its tracer", failure(function() return left:sum():item() end).message)
  end)
end)
