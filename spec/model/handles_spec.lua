-- Several `Model` handles on one network, and one module or one weight in several places of a network.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local function network()
  torch.manual_seed(9)
  local net = nn.Sequential {
    { "layer1", nn.Linear(5, 10) },
    { "act", nn.GELU() },
    { "layer2", nn.Linear(10, 2) },
  }
  net:requires_grad_(false)
  return net, torch.randn(1, 5)
end

local support = require "spec.support"
local failure, near = support.failure, support.near


describe("several handles on one network", function()
  it("agree, one after the other and in any order", function()
    local net, x = network()
    local want = net(x)
    local models = {}
    for i = 1, 10 do models[i] = ls.Model(net) end
    for _ = 1, 2 do
      for _, model in ipairs(models) do
        local h, out = model:trace(x, function() return model.layer1.output, model.output end)
        assert.is_true(torch.equal(out, want) and torch.equal(h, net.layer1(x)))
      end
    end
  end)

  it("keep edits, skips and stored edits to themselves", function()
    local net, x = network()
    local one, two = ls.Model(net), ls.Model(net)
    local want = net(x)
    one:edit({ inplace = true }, function() one.act.output = one.act.output * 2 end)
    local changed = one:trace(x, function()
      one.layer1:skip(torch.ones(1, 10))
      return one.output
    end)
    local three = ls.Model(net)
    near(net.layer2(net.act(torch.ones(1, 10)) * 2), changed)
    assert.is_true(torch.equal(two(x), want) and torch.equal(three(x), want) and torch.equal(net(x), want))
    assert.is_true(torch.equal(two:trace(x, function() return two.output end), want))
    one:clear_edits()
    assert.is_true(torch.equal(one(x), want))
  end)

  it("keep renamed modules to themselves", function()
    local net, x = network()
    local one, two = ls.Model(net, { rename = { layer1 = "embed" } }), ls.Model(net)
    assert.is_true(torch.equal(one:trace(x, function() return one.embed.output end), net.layer1(x)))
    assert.equal("name", failure(function() return two.embed end).code)
  end)

  it("give the same gradients, and let the network train through each", function()
    local net, x = network()
    local grads = {}
    for i = 1, 2 do
      local model = ls.Model(net)
      grads[i] = model:trace(x, function()
        model.output:sum():backward()
        return model.layer1.output.grad
      end)
    end
    assert.is_true(torch.equal(grads[1], grads[2]))
    local one, two = ls.Model(net), ls.Model(net)
    net.layer2.bias:add_(1)
    assert.is_true(torch.equal(one(x), two(x)))
    assert.is_true(torch.equal(one(x), net(x)))
  end)

  it("have traces open at the same time, closed in any order", function()
    local net, x = network()
    local one, two, y = ls.Model(net), ls.Model(net), x * -2
    for _, first_in in ipairs { true, false } do
      local a = one:tracer(x)
      local ha = one.layer1.output:save()
      local b = two:tracer(y)
      two.layer1.output = two.layer1.output * 3
      local hb = two.output:save()
      assert.equal(10, two.layer1.output.shape[1]) -- b stands at layer1 while a has not begun
      one.act.output[":"] = 0
      local oa = one.output:save()
      if first_in then a:run() else b:run() end
      if first_in then b:run() else a:run() end
      near(net.layer1(x), ha)
      near(net.layer2(torch.zeros(1, 10)), oa)
      near(net.layer2(net.act(net.layer1(y) * 3)), hb)
    end
  end)

  it("stand in each other's bodies, where each name means its own trace", function()
    local net, x = network()
    local one, two = ls.Model(net), ls.Model(net)
    local inner, outer, beside
    one:trace(x, function()
      one.layer1.output[":, 0"] = 7
      inner = two:trace(x * 2, function()
        beside = (one.layer1.output + 1):save() -- of the outer trace, written in the inner body
        two.act.output = two.act.output + two.layer1.output
        return two.output
      end)
      outer = one.output:save()
      one.layer2.output = one.layer2.output + inner
    end)
    local h = net.layer1(x)
    h[":, 0"] = 7
    local k = net.layer1(x * 2)
    near(h + 1, beside)
    near(net.layer2(net.act(k) + k), inner)
    near(net.layer2(net.act(h)) + inner, outer)
  end)

  it("take no value of each other's open traces", function()
    local net, x = network()
    local one, two = ls.Model(net), ls.Model(net)
    local err = failure(function()
      one:trace(x, function()
        local h = one.layer1.output
        two:trace(x, function()
          two.layer1.output = h
          return two.output
        end)
      end)
    end)
    assert.equal("state", err.code)
    assert.matches("handles_spec", err.file)
    assert.is_true(torch.equal(two(x), net(x)))
  end)

  it("go when nobody has them, traces left open too, and the network stays", function()
    local net, x = network()
    local want = net(x)
    local gone = setmetatable({}, { __mode = "k" })
    local function use(leave_open)
      local model = ls.Model(net)
      gone[model] = true
      model:trace(x, function() return model.act.output end)
      if not leave_open then return end
      gone[model:tracer(x)] = true
      return model.layer1.output
    end
    for _ = 1, 5 do use() end
    local left = use(true)
    for _ = 1, 2 do collectgarbage() end
    jit.flush()
    for _ = 1, 2 do collectgarbage() end
    assert.is_nil(next(gone))
    local err = failure(function() return left.shape end)
    assert.equal("state", err.code)
    assert.matches("no longer exists", err.message, 1, true)
    assert.is_true(torch.equal(net(x), want))
  end)

  it("left open take no part in a session, nor is a session disturbed by them", function()
    local net, x = network()
    local model = ls.Model(net)
    local t = model:tracer(x * 2)
    local h = model.layer1.output:save()
    local out
    ls.session(function()
      local g
      model:trace(x, function() g = model.layer1.output end)
      model:trace(x, function()
        model.layer2.input = g
        out = model.output:save()
      end)
    end)
    t:run()
    near(net.layer1(x * 2), h)
    near(net.layer2(net.layer1(x)), out)
  end)
end)

describe("one module at two places of a network", function()
  local function tied()
    local Tied = nn.Module "Tied"
    function Tied:init()
      self.first = nn.Linear(4, 4)
      self.act = nn.ReLU()
      self.second = self.first
    end
    function Tied:forward(x) return self.second(self.act(self.first(x))) end
    local net = Tied()
    net:requires_grad_(false)
    return ls.Model(net), net, torch.randn(3, 4)
  end

  it("has two calls, which both of its names count", function()
    local model, net, x = tied()
    local a, b, c, d = model:trace(x, function()
      return model.first:call(0).output, model.second:call(0).output, model.first:call(1).output, model.second:call(1).output
    end)
    near(net.first(x), a)
    near(net.first(x), b)
    near(net(x), c)
    near(net(x), d)
  end)

  it("says which call is meant only by its number", function()
    local model, _, x = tied()
    for _, name in ipairs { "first", "second" } do
      local problem = failure(function() model:trace(x, function() return model:get(name).output end) end)
      assert.equal("name", problem.code)
      assert.matches("several names (first, second) and is called 2 times", problem.message, 1, true)
      assert.has_error(function() model:trace(x, function() model:get(name).input = model.act.output end) end)
      assert.same({ 4, 4 }, model:trace(x, function() return model:get(name).weight.shape:tolist() end))
    end
    assert.has_error(function() model:trace(x, function(tracer) return tracer:cache() end) end)
  end)

  it("means the call at its own place of a Sequential, also below it, in a stored edit and in an added module", function()
    local shared, relu = nn.Linear(2, 2, { bias = false }), nn.ReLU()
    torch.no_grad(function() shared.weight:copy_(torch.tensor { { 1, -2 }, { 3, 1 } }) end)
    local block = nn.Sequential { shared }
    local x = torch.tensor { { 1, 2 } }
    local model = ls.Model(nn.Sequential { block, relu, block })
    -- PyTorch: s(x) is (-3, 5), relu of it (0, 5), s of that (-10, 5)
    local a, b, c, given = model:trace(x, function()
      return model[0].output, model[2].output, model[2][0].output, model[2].input[0][0]
    end)
    near(torch.tensor { { -3, 5 } }, a)
    near(torch.tensor { { -10, 5 } }, b)
    near(torch.tensor { { -10, 5 } }, c)
    near(torch.tensor { { 0, 5 } }, given)
    near(torch.tensor { { -100, 50 } }, model:edit(function() model[2].output = model[2].output * 10 end)(x))
    local cache
    model:trace(x, function(tracer) cache = tracer:cache() end)
    near(torch.tensor { { -10, 5 } }, cache["2"].output)
    local other = ls.Model(nn.Sequential { relu })
    other[0].added = nn.Sequential { shared, nn.ReLU(), shared }
    near(torch.tensor { { -100, 50 } }, other:trace(x, function()
      other[0].added[2].output = other[0].added[2].output * 10
      return other[0].added(x, { hook = true })
    end))
  end)

  it("is edited at one call through either name", function()
    local model, net, x = tied()
    for _, name in ipairs { "first", "second" } do
      local out = model:trace(x, function()
        model:get(name):call(1).input = model.act.output * 2
        return model.output
      end)
      near(net.first(net.act(net.first(x)) * 2), out)
    end
  end)

  it("gives the sum of its gradients to its one weight", function()
    local model, net, x = tied()
    local got = model:trace(x, function()
      model.output:sum():backward()
      return model.first.weight.grad
    end)
    local w = net.first.weight:clone():requires_grad_(true)
    local h = torch.relu(torch.addmm(net.first.bias, x, w:t()))
    torch.addmm(net.first.bias, h, w:t()):sum():backward()
    near(w.grad, got)
  end)
end)

describe("one weight at two places of a network", function()
  local function tied()
    local Tied = nn.Module "Tied"
    function Tied:init()
      self.embed = nn.Embedding(7, 4)
      self.head = nn.Linear(4, 7, { bias = false })
      self.head.weight = self.embed.weight
    end
    function Tied:forward(ids) return self.head(self.embed(ids)) end
    local net = Tied()
    net:requires_grad_(false)
    return ls.Model(net), net, torch.tensor({ { 1, 2, 5 } }, { dtype = "int64" })
  end

  it("is read under both names, and an edit at one place leaves the other and the weight", function()
    local model, net, ids = tied()
    local before = net.embed.weight:clone()
    local out, a, b = model:trace(ids, function()
      model.embed.output[":"] = 1
      return model.output, model.embed.weight * 1, model.head.weight * 1
    end)
    near(torch.ones(1, 3, 4):matmul(before:t()), out)
    assert.is_true(torch.equal(a, before) and torch.equal(b, before) and torch.equal(net.embed.weight, before))
  end)

  it("has one gradient, from both places", function()
    local model, net, ids = tied()
    local a, b = model:trace(ids, function()
      model.output:sum():backward()
      return model.embed.weight.grad, model.head.weight.grad
    end)
    local w = net.embed.weight:clone():requires_grad_(true)
    torch.embedding(w, ids):matmul(w:t()):sum():backward()
    near(w.grad, a)
    near(w.grad, b)
  end)

  it("of the model in the box is that of the embedding and of the head", function()
    local model = ls.LanguageModel "models/pretrained/ioi"
    local embedded, scores = model:trace({ 5, 6 }, function()
      local wte = model.transformer.wte.weight * 1
      return model.transformer.wte.output - wte["5:7"], model.lm_head.output - model.lm_head.input[0][0]:matmul(wte:t())
    end)
    near(embedded * 0, embedded, nil, nil, 1)
    near(scores * 0, scores, nil, nil, 1)
  end)
end)
