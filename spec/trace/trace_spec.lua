-- Rules S1 to S5 and S11 to S14 of the semantics for traces with one input; the names of the tests carry the rule.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential {
    { "layer1", nn.Linear(5, 10) },
    { "layer2", nn.Linear(10, 2) },
  }
  net:requires_grad_(false)
  return ls.Model(net), torch.rand(1, 5), net
end

local support = require "spec.support"
local failure, near = support.failure, support.near

local function same(a, b) return torch.equal(a, b) end


describe("a trace (S1)", function()
  it("records the body at once and gives values afterwards", function()
    local model, x, net = small()
    local out, ran
    model:trace(x, function()
      ran = true
      out = model.output:save()
    end)
    assert.is_true(ran)
    assert.is_true(same(out, net(x)))
    assert.is_true(same(out.value, model(x)))
  end)

  it("hands back what the body returns, tables included", function()
    local model, x, net = small()
    local l1, both = model:trace(x, function() return model.layer1.output, { model.layer2.output, n = 7 } end)
    assert.is_true(same(l1, net.layer1(x)))
    assert.is_true(same(both[1], net(x)))
    assert.equal(7, both.n)
  end)

  it("gives inputs as positional and keyword arguments", function()
    local model, x = small()
    local l2_in = model:trace(x, function() return model.layer2.input end)
    assert.equal(2, #l2_in)
    assert.same({ 1, 10 }, l2_in[0][0]:size():tolist())
    assert.matches("^%(%(tensor%(", tostring(l2_in))
  end)

  it("gives the whole model's points through the tracer", function()
    local model, x, net = small()
    local out
    model:trace(x, function(tracer) out = tracer.output:save() end)
    assert.is_true(same(out, net(x)))
  end)

  it("runs without a body where trace is false", function()
    local model, x, net = small()
    assert.is_true(same(model:trace(x, { trace = false }), net(x)))
  end)

  it("computes with operators, methods and metamethods", function()
    local model, x, net = small()
    local amax, value, mixed
    model:trace(x, function()
      amax = torch.argmax(model.layer1.output, { dim = 1 }):save()
      value = (model.layer1.output:sum() + model.layer2.output:sum()):save()
      mixed = (2 * model.layer1.output - 1):save()
    end)
    local h = net.layer1(x)
    assert.equal(h:argmax{ dim = 1 }:item(), amax[0]:item())
    near(h:sum() + net(x):sum(), value)
    assert.is_true(same(mixed, 2 * h - 1))
  end)

  it("calls modules on values of the trace, the logit lens", function()
    local model, x, net = small()
    local y = model:trace(x, function() return model.layer2(model.layer1.output * 0) end)
    assert.is_true(same(y, net.layer2(torch.zeros(1, 10))))
  end)

  it("gives several results as several values", function()
    local model, x, net = small()
    local values, indices = model:trace(x, function() return model.layer1.output:max{ dim = 1 } end)
    local v, i = net.layer1(x):max{ dim = 1 }
    assert.is_true(same(values, v))
    assert.is_true(same(indices, i))
  end)
end)

describe("values on demand (S2)", function()
  it("run the model up to the point and no further", function()
    local model, x, net = small()
    local out
    model:trace(x, function()
      local h = model.layer1.output
      assert.equal(10, h.shape[1])
      assert.is_true(h:max():item() == net.layer1(x):max():item())
      model.layer1.output = h * 0
      out = model.output:save()
    end)
    assert.is_true(same(out, net.layer2(torch.zeros(1, 10))))
  end)

  it("see the edits recorded before them", function()
    local model, x = small()
    model:trace(x, function()
      model.layer1.output[":"] = 3
      assert.equal(30, model.layer1.output:sum():item())
    end)
  end)

  it("make a passed point an error that names both lines", function()
    local model, x = small()
    local err = failure(function()
      model:trace(x, function()
        model.layer2.output:sum():item()
        model.layer1.output = model.layer1.output * 2
      end)
    end)
    assert.equal("passed", err.code)
    assert.equal("layer1.output", err.point)
    assert.matches("trace_spec", err.file)
    assert.matches("trace_spec%.lua:" .. (err.line - 1), err.message)
  end)

  it("work inside pcall and coroutines", function()
    local model, x = small()
    local seen
    model:trace(x, function()
      local step = coroutine.wrap(function()
        local ok, v = pcall(function() return model.layer1.output:sum():item() end)
        coroutine.yield(ok and v)
      end)
      seen = step()
    end)
    assert.equal("number", type(seen))
  end)

  it("never answer a comparison of proxies", function()
    local model, x = small()
    local function equal(a, b) return a == b end
    local function less(a, b) return a < b end
    local function at_most(a, b) return a <= b end
    for _, compare in ipairs { equal, less, at_most } do
      local err = failure(function()
        model:trace(x, function() return compare(model.layer1.output, model.layer2.output) end)
      end)
      assert.truthy(err.hint or err.message)
    end
  end)
end)

describe("order is dataflow (S3)", function()
  it("lets statements about different points stand in any order", function()
    local model, x, net = small()
    local a, b
    model:trace(x, function()
      b = model.layer2.output:save()
      a = model.layer1.output:save()
    end)
    assert.is_true(same(a, net.layer1(x)))
    assert.is_true(same(b, net(x)))
  end)

  it("reads a point after the edits written above", function()
    local model, x, net = small()
    local before, after
    model:trace(x, function()
      before = model.layer1.output:clone():save()
      model.layer1.output[":, 0"] = 0
      after = model.layer1.output:save()
    end)
    assert.is_true(same(before, net.layer1(x)))
    assert.equal(0, after["0, 0"]:item())
    assert.is_true(same(after[":, 1:"], before[":, 1:"]))
  end)

  it("uses a value as it stands at the operator's line", function()
    local model, x, net = small()
    local late
    model:trace(x, function()
      local h = model.layer1.output
      late = (h:sum() + h["0, 0"] * model.layer2.output:sum() * 0 + (h * 1)["0, 0"]):save()
      late = (h["0, 0"] + model.layer2.output:sum() * 0):save()
      h[":"] = 100
    end)
    near(net.layer1(x)["0, 0"], late)
  end)

  it("shows the circle of an edit that needs a later value", function()
    local model, x = small()
    local err = failure(function()
      model:trace(x, function() model.layer1.output = model.layer2.output:sum() * model.layer1.output end)
    end)
    assert.equal("cycle", err.code)
    assert.matches("layer1.output %-> layer2.output %-> layer1.output", err.message)
  end)

  it("refuses a tensor that was changed between its use and the run", function()
    local model, x = small()
    local mine = torch.ones(10)
    local err = failure(function()
      model:trace(x, function()
        model.layer1.output = model.layer1.output + mine
        mine:mul_(2)
      end)
    end)
    assert.equal("changed", err.code)
  end)
end)

describe("saving (S4)", function()
  it("is needed to read a value afterwards", function()
    local model, x = small()
    local unsaved
    model:trace(x, function()
      unsaved = model.layer1.output
      model.output:save()
    end)
    local err = failure(function() return unsaved.value end)
    assert.equal("unset", err.code)
    assert.matches("Accessing Proxy value before it's been set.", tostring(err), 1, true)
    assert.matches("save", tostring(err))
  end)

  it("keeps a reference, and clone a copy", function()
    local model, x, net = small()
    local seen, kept
    model:trace(x, function()
      seen = model.layer1.output:save()
      kept = model.layer1.output:clone():save()
      model.layer1.output[":"] = 5
    end)
    assert.equal(50, seen:sum():item())
    assert.is_true(same(kept, net.layer1(x)))
  end)
end)

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
    function Show:forward() return self.weight:view(3) end
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
    assert.matches("trace_spec%.lua:%d+: ", tostring(err))
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
    assert.is_false(pcall(model, x))
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

describe("loud (S12)", function()
  it("raises unknown names where they are written, with the nearest", function()
    local model, x = small()
    local err = failure(function()
      model:trace(x, function() return model.layer3.output end)
    end)
    assert.equal("name", err.code)
    assert.matches('did you mean "layer1"', tostring(err), 1, true)
    assert.matches("trace_spec", err.file)
  end)

  it("knows the fields that an output has, whatever operators there are", function()
    local Out = nn.Module "Out"
    function Out:forward(x) return ls.struct { { "logits", x }, { "hidden", x } } end
    local model = ls.Model(Out())
    local err = failure(function() model:trace(torch.rand(2), function() return model.output.logit end) end)
    assert.equal("name", err.code)
    assert.equal("output", err.point)
    assert.matches('no field "logit" here (did you mean "logits"?)', err.message, 1, true)
    assert.equal(2, model:trace(torch.rand(2), function() return model.output.hidden end):numel())
  end)

  it("refuses options that trace does not know", function()
    local model, x = small()
    local err = failure(function() model:trace(x, { trcae = false }, function() end) end)
    assert.matches('"trcae"', err.message, 1, true)
  end)

  it("leaves the model as it was after an error", function()
    local model, x, net = small()
    pcall(function()
      model:trace(x, function()
        model.layer1.output[":"] = 0
        error("mine")
      end)
    end)
    assert.is_true(same(model(x), net(x)))
  end)

  it("passes on what a body raises as it was raised", function()
    local model, x = small()
    local mine = { "an error of my own" }
    local err = failure(function() model:trace(x, function() error(mine) end) end)
    assert.equal(mine, err)
  end)
end)

describe("no residue (S13)", function()
  it("lets several traces be open on one model", function()
    local model, x, net = small()
    local inner
    local outer = model:trace(x, function()
      local h = model.layer1.output:save()
      inner = model:trace(x * 0, function()
        model.layer1.output[":"] = 1
        return model.output
      end)
      return h
    end)
    assert.is_true(same(outer, net.layer1(x)))
    assert.is_true(same(inner, net.layer2(torch.ones(1, 10))))
  end)

  it("keeps a trace open between lines", function()
    local model, x, net = small()
    local t = model:tracer(x)
    local h = model.layer1.output:save()
    assert.is_false(h:is_set())
    t:run()
    assert.is_true(same(h, net.layer1(x)))
  end)
end)

describe("errors (S14)", function()
  it("of an operator name its line and the point", function()
    local model, x = small()
    local line
    local err = failure(function()
      model:trace(x, function()
        line = debug.getinfo(1, "l").currentline + 1
        model.layer1.output:matmul(torch.ones(3, 3)):save()
      end)
    end)
    assert.equal(line, err.line)
    assert.equal("layer1.output", err.point)
    assert.truthy(err.cause)
    assert.is_nil(err.message:find("Exception raised from", 1, true))
  end)

  it("of an unknown operator are raised at once", function()
    local model, x = small()
    local err = failure(function()
      model:trace(x, function() return torch.sofmax(model.layer1.output, -1) end)
    end)
    assert.equal("name", err.code)
    assert.matches("softmax", tostring(err))
  end)
end)
