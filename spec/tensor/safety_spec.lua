-- Rules S5 and S6 at their edges: what belongs to the caller, to the model or to another invoke is never changed, in whichever
-- way an operator reaches it.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
local failure = require "spec.support".failure

local function two(into)
  local net = nn.Sequential { { "a", nn.Linear(2, into or 2) }, { "b", nn.Linear(into or 2, into or 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net
end

local function failing(model, ...)
  local given = { n = select("#", ...), ... }
  return failure(function() model:trace(unpack(given, 1, given.n)) end)
end

local function equal(want, got) assert.is_true(torch.equal(want, got), tostring(got) .. " is not " .. tostring(want)) end

local function class(name, forward, init)
  local made = nn.Module(name)
  made.forward, made.init = forward, init
  return made
end

describe("an error in the middle of a structure", function()
  it("6.1: releases nothing twice", function()
    local Inner = class("Inner", function(_, x) return x * 1 end)
    local Outer = class("Outer", function(self, x) return self.i(x:t()):t() end, function(self) self.i = Inner() end)
    local model = ls.Model(Outer())
    for _ = 1, 9 do
      local e = failure(function()
        model:trace(function(t)
          t:invoke(torch.ones(1, 3), function() return model.i.input end)
          t:invoke(torch.ones(1, 3), function() return model.output end)
        end)
      end)
      assert.matches("cannot be told apart", e.message, 1, true)
    end
  end)
end)

describe("a point that one invoke replaces twice", function()
  it("6.2: keeps the rows of the others", function()
    local model, net = two()
    local x, y = torch.ones(1, 2), torch.ones(1, 2) * 3
    local a, b
    model:trace(function(t)
      a = t:invoke(x, function()
        model.a.output = x
        model.a.output = x * 2
        return model.output
      end)
      b = t:invoke(y, function() return model.a.output end)
    end)
    equal(net.b(x * 2), a)
    equal(net.a(y), b)
  end)

  it("6.2: is replaced unread where all invokes replace it", function()
    local model, net = two()
    local x, a, b = torch.ones(1, 2), nil, nil
    model:trace(function(t)
      a = t:invoke(x, function()
        model.a.output = x
        model.a.output = x * 2
        return model.output
      end)
      b = t:invoke(x, function()
        model.a.output = x * 3
        return model.output
      end)
    end)
    equal(net.b(torch.cat({ x * 2, x * 3 }, 0)), torch.cat({ a, b }, 0))
  end)
end)

describe("an operator that changes several values", function()
  it("6.3: leaves the caller's tensor alone and edits each value at its point", function()
    local model, net = two()
    local x = torch.tensor { { 1, 2 }, { 3, 4 } }
    local before = x:clone()
    local out = model:trace(x, function()
      torch._foreach_mul_({ model.input[0][0]["0"], model.input[0][0]["1"] }, 2)
      return model.output
    end)
    equal(net(before * 2), out)
    equal(before, x)
    local e = failing(model, x, function()
      torch._foreach_zero_ { model.a.output, model.input[0][0] }
      return model.output
    end)
    assert.matches("needs a value that exists only later", e.message, 1, true)
    equal(before, x)
  end)

  it("6.3: changes a value twice that it is given twice", function()
    local model, net = two()
    local x = torch.ones(1, 2)
    local out = model:trace(x, function()
      torch._foreach_add_({ model.a.output, model.a.output }, 1)
      return model.output
    end)
    equal(net.b(net.a(x) + 1 + 1), out)
  end)

  it("6.3: is refused where one of them is the caller's or the model's", function()
    local model, net = two()
    local x, mine, weight = torch.ones(1, 2), torch.ones(2), net.a.weight:clone()
    local e = failing(model, x, function() torch._foreach_zero_ { model.a.output, mine } end)
    assert.matches("a tensor of your own", e.message, 1, true)
    equal(torch.ones(2), mine)
    for _, list in ipairs { function() return { model.a.weight } end, function() return { mine, model.a.weight } end } do
      e = failing(model, x, function() torch._foreach_zero_(list()) end)
      assert.matches("a parameter of the model", e.message, 1, true)
    end
    equal(weight, net.a.weight)
    equal(torch.ones(2), mine)
  end)

  it("6.3: writes to each of several outs", function()
    local model, net = two()
    local x = torch.tensor { { 1, 2 }, { 3, 5 } }
    local before = x:clone()
    local out = model:trace(x, function()
      torch.aminmax(model.input[0][0], { dim = 0, min = model.a.output["0"], max = model.a.output["1"] })
      return model.output
    end)
    equal(net.b(torch.tensor { { 1, 2 }, { 3, 5 } }), out)
    equal(before, x)
    out = model:trace(x, function()
      torch.aminmax(model.input[0][0], { dim = 0, min = model.a.output["0"]:clone(), max = model.a.output["1"] })
      return model.output
    end)
    local h = net.a(x)
    h["1"] = x:amax { 0 }
    equal(net.b(h), out)
    equal(before, x)
  end)
end)

describe("an operator that writes though its schema does not say so", function()
  -- The arguments that each changes; the calls change them outside of a trace, as the first test proves.
  local function data() return torch.tensor { { 1, 2 }, { 3, 5 } } end
  local writers = {
    batch_norm = { call = function(x, mean, var)
      return torch.batch_norm(x, nil, nil, mean, var, true, .5, 1e-5, false)
    end },
    native_batch_norm = { call = function(x, mean, var)
      return (torch.native_batch_norm(x, nil, nil, mean, var, true, .5, 1e-5))
    end },
    _batch_norm_impl_index = { call = function(x, mean, var)
      return (torch._batch_norm_impl_index(x, nil, nil, mean, var, true, .5, 1e-5, false))
    end },
    batch_norm_update_stats = { call = function(x, mean, var) return (torch.batch_norm_update_stats(x, mean, var, .5)) end },
    instance_norm = { call = function(x, mean, var)
      return torch.instance_norm(x:reshape { 2, 2, 1 }:expand { 2, 2, 3 }, nil, nil, mean, var, true, .5, 1e-5, false)
    end },
    rrelu_with_noise = { noise = function(x, noise) return torch.rrelu_with_noise(-x, noise, .1, .3, true) end },
  }

  it("6.3: is known, and does so", function()
    for name, writer in pairs(writers) do
      local mean, var = torch.zeros(2), torch.ones(2)
      if writer.noise then
        mean = torch.zeros(2, 2)
        writer.noise(data(), mean)
      else
        writer.call(data(), mean, var)
        assert.is_false(torch.equal(torch.ones(2), var), name)
      end
      assert.is_false(torch.equal(torch.zeros_like(mean), mean), name)
    end
  end)

  it("6.3: is refused the caller's tensors and the parameters", function()
    local model, net = two()
    local bias = net.a.bias:clone()
    for name, writer in pairs(writers) do
      local mean, var = torch.zeros(2), torch.ones(2)
      local call = writer.noise or writer.call
      if writer.noise then mean = torch.zeros(2, 2) end
      local e = failing(model, data(), function() return call(model.a.output, mean, var) end)
      assert.matches("a tensor of your own", e.message, 1, true)
      equal(torch.zeros_like(mean), mean)
      if not writer.noise then
        e = failing(model, data(), function() return call(data(), model.a.bias, model.b.bias) end)
        assert.matches("a parameter of the model", e.message, 1, true)
        equal(bias, net.a.bias)
      end
      equal(torch.ones(2), var)
      assert.is_string(name)
    end
  end)

  it("6.3: is allowed what it only reads", function()
    local model, net = two()
    local mean, var = torch.zeros(2), torch.ones(2)
    local out = model:trace(data(), function()
      return torch.batch_norm(model.a.output, nil, nil, mean, var, false, .5, 1e-5, false)
    end)
    equal(torch.batch_norm(net.a(data()), nil, nil, mean, var, false, .5, 1e-5, false), out)
  end)

  it("6.3: edits values at points", function()
    local model, net = two()
    local x = data()
    local out, normal = model:trace(x, function()
      local y = torch.batch_norm(model.input[0][0], nil, nil, model.a.output["0"], model.a.output["1"], true, .5, 1e-5, false)
      return model.output, y
    end)
    local h = net.a(x):clone()
    equal(torch.batch_norm(x, nil, nil, h[0], h[1], true, .5, 1e-5, false), normal)
    equal(net.b(h), out)
  end)
end)

describe("a model that changes things itself", function()
  local Counter = class("Counter", function(self, x)
    self.count:add_(x:sum())
    return torch.batch_norm(x, nil, nil, self.mean, self.var, true, .5, 1e-5, false) + self.count
  end, function(self)
    self.count, self.mean, self.var = nn.Buffer(torch.zeros(1)), nn.Buffer(torch.zeros(2)), nn.Buffer(torch.ones(2))
  end)

  it("6.3: has its buffers after a trace as before, and what was saved stays", function()
    local net = Counter()
    local model, x = ls.Model(net), torch.tensor { { 1, 2 }, { 3, 4 } }
    for _ = 1, 2 do
      local out = model:trace(x, function() return model.output end)
      equal(torch.tensor { { 9, 9 }, { 11, 11 } }, out:round())
      equal(torch.zeros(1), net.count)
      equal(torch.zeros(2), net.mean)
      equal(torch.ones(2), net.var)
    end
    failing(model, x, function() return model.output, model.output + torch.ones(7) end)
    equal(torch.zeros(1), net.count)
    model(x)
    equal(torch.tensor { 10 }, net.count) -- a call outside of a trace is PyTorch's
    local Holder = class("Holder", function(self, v)
      self.count:add_(v:sum())
      return self.count
    end, function(self) self.count = nn.Buffer(torch.zeros(1)) end)
    local held = Holder()
    local holder = ls.Model(held)
    equal(torch.tensor { 10 }, (holder:trace(x, function() return holder.output end)))
    equal(torch.zeros(1), held.count)
  end)

  it("6.3: runs on a copy of an input that it changes", function()
    local Adds = class("Adds", function(_, x)
      x:add_(1)
      return x * 2
    end)
    local model, x = ls.Model(Adds()), torch.ones(2)
    equal(torch.ones(2) * 4, (model:trace(x, function() return model.output end)))
    equal(torch.ones(2), x)
    local both = ls.Model(nn.Sequential { { "a", nn.Identity() }, { "b", Adds() } })
    local out = both:trace(x, function() return both.b(both.input[0][0]) end)
    equal(torch.ones(2) * 4, out)
    equal(torch.ones(2), x)
  end)

  it("6.3: keeps a constant of its forward that an edit reaches", function()
    local constant = torch.ones(2)
    local model = ls.Model(class("Constant", function(_, _) return constant end)())
    local out = model:trace(torch.ones(2), function()
      model.output:zero_()
      return model.output
    end)
    equal(torch.zeros(2), out)
    equal(torch.ones(2), constant)
  end)
end)

describe("a parameter in a body", function()
  local ways = {
    chunk = function(w) return w:chunk(2)[0] end,
    split = function(w) return w:split(1)[1] end,
    unbind = function(w) return w:unbind()[0] end,
    unsafe_chunk = function(w) return w:unsafe_chunk(2)[0] end,
    broadcast_tensors = function(w) return torch.broadcast_tensors({ w, w })[1] end,
    atleast_1d = function(w) return w:atleast_1d() end,
    dropout = function(w) return torch.dropout(w, .5, false) end,
    type_as = function(w) return w:type_as(w) end,
    detach = function(w) return w:detach() end,
    index = function(w) return w["0"]["1:"] end,
    ["a view of a piece"] = function(w) return w:chunk(2)[0]:t():unbind()[1] end,
    ["a tuple"] = function(w) return ls.tuple(w, w)[1] end,
  }

  it("6.4: is refused to operators in place, in whichever way a view of it was obtained", function()
    local model, net = two()
    local x, weight = torch.ones(1, 2), net.a.weight:clone()
    for name, way in pairs(ways) do
      local e = failing(model, x, function()
        way(model.a.weight):fill_(9)
        return model.output
      end)
      assert.matches("a parameter of the model", e.message, 1, true)
      e = failing(model, x, function() way(model.a.weight)["..."] = 9 end)
      assert.matches("a parameter of the model", e.message, 1, true)
      assert.is_true(torch.equal(weight, net.a.weight), name)
    end
    local e = failing(model, x, function() torch.add(weight, 1, { out = model.a.weight }) end)
    assert.matches("a parameter of the model", e.message, 1, true)
    equal(weight, net.a.weight)
  end)

  it("6.4: keeps its numbers where a view of it, made with a value, is edited", function()
    local model, net = two()
    local x, weight = torch.ones(2, 2), net.a.weight:clone()
    local piece = model:trace(x, function()
      local view = torch.broadcast_tensors({ model.a.weight, model.a.output })[0]
      view:zero_()
      return view
    end)
    equal(torch.zeros(2, 2), piece)
    equal(weight, net.a.weight)
  end)

  it("6.4: may be read through its pieces", function()
    local model, net = two()
    local out = model:trace(torch.ones(1, 2), function() return model.a.output * model.a.weight:chunk(2)[0] end)
    equal(net.a(torch.ones(1, 2)) * net.a.weight["0:1"], out)
  end)
end)

describe("a view of another dtype", function()
  it("6.5: overlaps what it has bytes in common with", function()
    local model, net = two(8)
    local x = torch.ones(1, 2)
    local k = model:trace(x, function()
      local v = model.a.output[":, 4:"]:view { dtype = "int8" }
      local sum = v + model.b.output[":, :1"]:to "int8" * 0
      model.a.output:zero_()
      return sum
    end)
    local want = net.a(x)[":, 4:"]:contiguous():view { dtype = "int8" }
    equal(want, k)
    assert.is_true(want:ne(0):any():item())
  end)
end)
