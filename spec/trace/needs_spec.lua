-- Only what is needed runs, up to single positions (S11).
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

local function same(a, b) return torch.equal(a, b) end

describe("only what is needed runs (S11)", function()
  local function counting()
    local Fail = nn.Module "Fail"
    function Fail:forward(x) return torch.cholesky(x - 1e3) end
    local Outer = nn.Module "Outer"
    function Outer:init()
      self.first = nn.Identity()
      self.fail = Fail()
      self.last = nn.Identity()
    end
    function Outer:forward(x) return self.last(self.fail(self.first(x))) end
    return ls.Model(Outer()), torch.eye(2)
  end

  it("ends the run behind the last need", function()
    local model, x = counting()
    local first = model:trace(x, function() return model.first.output end)
    assert.is_true(same(first, x))
    assert.matches("cholesky failed", failure(model, x).message)
  end)

  it("does not run a module whose output is replaced unread", function()
    local model, x = counting()
    local out = model:trace(x, function()
      model.fail.output = torch.zeros(2, 2)
      return model.output
    end)
    assert.equal(0, out:sum():item())
  end)

  it("does nothing for an access alone", function()
    local model, x = counting()
    model:trace(x, function() local _ = model.last.output end)
  end)

  describe("of a head whose output is read at some positions", function()
    local Struct = require "luasight.tensor".struct
    local Net = nn.Module "Net"
    function Net:init(width, vocabulary)
      self.norm = nn.LayerNorm(width)
      self.head = nn.Linear(width, vocabulary)
    end
    function Net:forward(x) return Struct { { "logits", self.head(self.norm(x)) } } end

    local forms = {
      ["through the model's output"] = function(model) return model.output.logits end,
      ["of the module"] = function(model) return model.head.output end,
      ["of calls in the body"] = function(model) return model.head(model.norm(model.norm.input[0][0])) end,
    }
    for name, form in pairs(forms) do
      it("runs only those, " .. name, function()
        local net = Net(2, 2097152)
        net:requires_grad_(false)
        local model, x = ls.Model(net), torch.randn(1, 65536, 2) -- all logits would be 550 GB
        local want = net(x[":, -1:"]).logits["0, 0"]
        near(want, model:trace(x, function() return form(model)["0, -1"] end))
      end)

      it("gives what the whole output has there, " .. name, function()
        local net = Net(4, 9)
        net:requires_grad_(false)
        local model, x = ls.Model(net), torch.randn(2, 7, 4)
        local all = net(x).logits
        for _, index in ipairs { "0, -1", ":, 2:5", "1", ":, -1", "1, 1:6:2", "0, 1, 5", "1:, 0, 2:4", ":, :", "..., 0" } do
          near(all[index], model:trace(x, function() return form(model)[index] end), index)
        end
        assert.equal("index", failure(function() model:trace(x, function() return form(model)["0, 7"] end) end).code)
      end)
    end

    it("runs one position for all rows of a batch of invokes", function()
      for name, form in pairs(forms) do
        if name ~= "of calls in the body" then
          local net = Net(2, 2097152)
          net:requires_grad_(false)
          local model, x, y, a, b = ls.Model(net), torch.randn(1, 32768, 2), torch.randn(1, 32768, 2), nil, nil
          model:trace(function(tracer)
            tracer:invoke(x, function() a = form(model)["0, -1"]:save() end)
            tracer:invoke(y, function() b = form(model)[":, -1, 5:7"]:save() end)
          end)
          near(net(x[":, -1:"]).logits["0, 0"], a)
          near(net(y[":, -1:"]).logits[":, 0, 5:7"], b)
        end
      end
    end)

    it("gives each invoke its own position where these differ", function()
      for _, form in pairs(forms) do
        local net = Net(4, 9)
        net:requires_grad_(false)
        local model, x, y = ls.Model(net), torch.randn(2, 7, 4), torch.randn(1, 7, 4)
        for _, second in ipairs { 2, 3, -1 } do
          local a, b
          model:trace(function(tracer)
            tracer:invoke(x, function() a = form(model)[":, 2"]:save() end)
            tracer:invoke(y, function() b = form(model)[("0, %d"):format(second)]:save() end)
          end)
          near(net(x).logits[":, 2"], a)
          near(net(y).logits[("0, %d"):format(second)], b)
        end
      end
    end)

    it("runs all of them where more is used", function()
      local net = Net(4, 9)
      net:requires_grad_(false)
      local model, x = ls.Model(net), torch.randn(2, 7, 4)
      local all = net(x).logits
      local one, whole = model:trace(x, function() return model.head.output["0, -1"], model.head.output end)
      near(all["0, -1"], one)
      near(all, whole)
      local input
      one, input = model:trace(x, function() return model.output.logits["0, -1"], model.head.input[0][0] end)
      near(all["0, -1"], one)
      near(net.norm(x), input)
      one = model:trace(x, function()
        model.head.output["0, -1"] = 5
        return model.output.logits["0, -1"]
      end)
      assert.equal(45, one:sum():item())
    end)
  end)
end)
