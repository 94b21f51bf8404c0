-- Rows of a batch stay with their invoke, whatever operators do with them.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
local failure = require "spec.support".failure

local function two(into)
  local net = nn.Sequential { { "a", nn.Linear(2, into or 2) }, { "b", nn.Linear(into or 2, into or 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net
end

local function equal(want, got) assert.is_true(torch.equal(want, got), tostring(got) .. " is not " .. tostring(want)) end

describe("a value of one of several invokes", function()
  local function both(first, second)
    local model, net = two()
    local x, y = torch.tensor { { 1, 2 } }, torch.tensor { { 3, 4 } }
    local a, b
    model:trace(function(t)
      a = t:invoke(x, function() return first and first(model) or model.output end)
      b = t:invoke(y, function() return second(model) end)
    end)
    return a, b, net, x, y
  end

  it("6.5: is not addressed beyond its rows", function()
    local beyond = {
      as_strided = function(v) return v:as_strided({ 2 }, { 1 }, 0) end,
      as_strided_ = function(v) return v:as_strided_({ 2 }, { 1 }, 0) end,
      as_strided_copy = function(v) return v:as_strided_copy({ 2 }, { 1 }, 0) end,
      slice_inverse = function(v) return torch.slice_inverse(v, torch.ones(1, 2), 0, 0, 1, 1) end,
      _reshape_alias = function(v) return v:_reshape_alias({ 2, 2 }, { 2, 1 }) end,
      resize_ = function(v) return v:resize_ { 2, 2 } end,
      set_ = function(v) return v:set_(torch.ones(1, 2)) end,
    }
    for name, reach in pairs(beyond) do
      local exists = pcall(function() return torch[name] end)
      local e = exists and failure(function() both(nil, function(model) return reach(model.a.input[0][0]):sum() end) end)
      if exists then assert.matches("could reach the rows of another invoke", e.message, 1, true) end
    end
    assert.is_true(pcall(function() return torch.as_strided end))
    local _, b = both(nil, function(model) return model.a.input[0][0]:clone():as_strided({ 2 }, { 1 }, 0) end)
    equal(torch.tensor { 3, 4 }, b)
  end)

  it("6.5: keeps its shape in place, since the batch does", function()
    for _, change in ipairs { function(v) v:t_() end, function(v) v:squeeze_(0) end,
      function(v) torch.add(torch.ones(2, 2), 1, { out = v }) end } do
      local e = failure(function()
        both(nil, function(model)
          change(model.a.output)
          return model.output
        end)
      end)
      assert.matches("cannot be given another shape in place", e.message, 1, true)
    end
    local _, b, net, _, y = both(nil, function(model) return model.a.output:clone():t_() end)
    equal(net.a(y):t(), b)
  end)

  it("6.5: is edited through views that are not declared as such", function()
    local a, b, net, x, y = both(nil, function(model)
      model.input[0][0]:unsafe_chunk(2, 1)[0]:zero_()
      model.a.output:unsafe_split(1, 1)[1]:zero_()
      return model.output
    end)
    local h = net.a(torch.tensor { { 0, 4 } })
    h[":, 1"] = 0
    equal(net(x), a)
    equal(net.b(h), b)
    equal(torch.tensor { { 3, 4 } }, y)
  end)

  it("6.5: may be a result that goes through `out`", function()
    local a, b, net, x, y = both(nil, function(model)
      torch.add(model.input[0][0], 1, { out = model.a.output })
      return model.output
    end)
    equal(net(torch.cat({ x, y }, 0))["0:1"], a)
    equal(net.b(y + 1), b)
  end)

  it("is not set where the value at the point has other rows than the batch", function()
    local Doubled = nn.Module "Doubled"
    function Doubled:init() self.b, self.c = nn.Identity(), nn.Identity() end
    function Doubled:forward(x) return self.c(self.b(torch.cat({ x, x }, 0))) end
    local Sum = nn.Module "Sum"
    function Sum:init() self.b, self.c = nn.Identity(), nn.Identity() end
    function Sum:forward(x) return self.c(self.b(x:sum(0, true))) end
    local x = torch.tensor { { 1, 2 } }
    for _, class in ipairs { Doubled, Sum } do
      local model = ls.Model(class())
      for _, set in ipairs { function() model.b.output = x end, function() model.c.input = x end } do
        local e = failure(function()
          model:trace(function(t)
            t:invoke(x, set)
            t:invoke(x, function() end)
            t:invoke(function() return model.output end)
          end)
        end)
        assert.equal("shape", e.code)
        assert.matches("rows of one invoke cannot be told apart", e.message, 1, true)
      end
    end
  end)
end)
