-- Values that a trace edits: in place, as a whole, in tuples (S5).
local ls = require "luasight"
local support = require "spec.support"
local failure = support.failure
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential {
    { "layer1", nn.Linear(5, 10) },
    { "layer2", nn.Linear(10, 2) },
  }
  net:requires_grad_(false)
  return ls.Model(net), torch.rand(1, 5), net
end

local function same(a, b) return torch.equal(a, b) end

describe("editing (S5)", function()
  it("writes in place for later code and later modules", function()
    local model, x, net = small()
    local out
    model:trace(x, function()
      model.layer1.output[":, 0"] = 0
      out = model.output:save()
    end)
    local h = net.layer1(x)
    h[":, 0"] = 0
    assert.is_true(same(out, net.layer2(h)))
  end)

  it("replaces an input's first positional argument", function()
    local model, x, net = small()
    local out
    model:trace(x, function()
      model.layer2.input = model.layer1.output * 2
      out = model.output:save()
    end)
    assert.is_true(same(out, net.layer2(net.layer1(x) * 2)))
  end)

  it("never changes the caller's tensors", function()
    local model, x, net = small()
    local copy, out = x:clone(), nil
    model:trace(x, function()
      model.layer1.input[0][0][":"] = 0
      out = model.output:save()
    end)
    assert.is_true(same(x, copy))
    assert.is_true(same(out, net(torch.zeros(1, 5))))
  end)

  it("never changes the parameters", function()
    local Show = nn.Module "Show"
    function Show:init() self.weight = nn.Parameter(torch.ones(3)) end
    function Show:forward(_) return self.weight:view(3) end
    local Outer = nn.Module "Outer"
    function Outer:init() self.show = Show() end
    function Outer:forward(x) return x + self.show(x) end
    local net = Outer()
    local model, out = ls.Model(net), nil
    model:trace(torch.zeros(3), function()
      model.show.output[":"] = 7
      out = model.output:save()
    end)
    assert.equal(21, out:sum():item())
    assert.equal(3, net.show.weight:sum():item())
  end)

  it("is not undone, and reads are not changed, by a module that works in place", function()
    local InPlace = nn.Module "InPlace"
    function InPlace:forward(x) return x:relu_() end
    local net = nn.Sequential { { "first", nn.Identity() }, { "act", InPlace() }, { "last", nn.Linear(3, 3) } }
    net:requires_grad_(false)
    local model, x = ls.Model(net), torch.tensor { { -1, 0, 2 } }
    local saved, sum, late = nil, nil, torch.tensor { { -5, 1, -2 } }
    model:trace(x * 1, function()
      saved = model.first.output:save()
      sum = (model.first.output + model.last.output * 0):save() -- computed behind the module in place
    end)
    assert.same({ { -1, 0, 2 } }, saved:tolist())
    assert.same({ { -1, 0, 2 } }, sum:tolist())
    local act = model:trace(x * 1, function()
      model.first.output = late
      return model.act.output
    end)
    assert.same({ { 0, 1, 0 } }, act:tolist())
    assert.same({ { -5, 1, -2 } }, late:tolist())
  end)

  it("raises a wrong index at its line, with the point", function()
    local model, x = small()
    local err = failure(function()
      model:trace(x, function() model.layer1.output[":, 10"] = 0 end)
    end)
    assert.equal("index", err.code)
    assert.matches('layer1.output[":, 10"]: index 10 is out of range for dimension 1 with size 10', tostring(err), 1, true)
    assert.matches("editing_spec%.lua:%d+: ", tostring(err))
  end)

  it("refuses a tensor where a tuple belongs", function()
    local Pair = nn.Module "Pair"
    function Pair:forward(x) return x, x * 2 end
    local Outer = nn.Module "Outer"
    function Outer:init() self.pair = Pair() end
    function Outer:forward(x)
      local p = self.pair(x)
      return p[0] + p[1]
    end
    local model = ls.Model(Outer())
    local err = failure(function()
      model:trace(torch.ones(2), function() model.pair.output = torch.zeros(2) end)
    end)
    assert.matches("ls.tuple", tostring(err), 1, true)
    local out = model:trace(torch.ones(2), function()
      model.pair.output[0] = torch.zeros(2)
      return model.output
    end)
    assert.equal(4, out:sum():item())
  end)
end)
