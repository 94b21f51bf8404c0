-- What people ask of tools like this one, as the suites of other such tools have it, on tiny networks: decisions in bodies,
-- stops, skips, modules called several times, and errors at the place where the mistake is. Where the other tool gives an
-- error or nothing and we give a value, a comment says so.
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

local support = require "spec.support"
local failure, near = support.failure, support.near


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
    near(net.layer2(net.act(torch.ones(1, 10)) * 2), out)
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
    near(net.layer2(net.layer1(x) * 3), taken)
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
    near(net.layer1(x) * 2, doubled)
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
    near(net.layer1(x), early)
    assert.is_false(late:is_set())
    near(net(y), whole)
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
    near(net.layer1(x), seen)
    near(net.layer2(net.layer1(x) * 2), out)
    near(net(x), model(x))
  end)

  it("leaves no input to be edited, and no output above it", function()
    local model, _, x = small()
    for _, touch in ipairs {
      function() model.act.input = model.layer1.output * 0 end,
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
    near(step(x), plain)
    assert.equal(0, outs[1]:abs():sum():item())
    near(step(torch.zeros(2, 4)), outs[2])
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
    near(by_hand { [0] = 1, 2, 3 }, all)
    local first = model:edit(function() model.step.output = model.step.output + 1 end)
    near(by_hand { [0] = 1, 0, 0 }, first(x))
    local last = first:edit(function() first.step:call(2).output = first.step:call(2).output + 5 end)
    near(by_hand { [0] = 1, 0, 5 }, last(x))
  end)
end)

describe("a mistake", function()
  ---The error of a body and the line after the one that `mark` was called at.
  local function at_line(make)
    local line
    local function mark() line = debug.getinfo(2, "l").currentline + 1 end
    local err = failure(function() make(mark) end)
    assert.equal(line, err.line)
    assert.matches("peers/model_spec", err.file)
    return err
  end

  it("names its line: in a second invoke, a function, a loop, behind a decision, at a gradient", function()
    local model, _, x = small()
    local function helper(mark)
      mark()
      return model.layer1.output["999"]
    end
    local cases = {
      function(mark)
        model:trace(function(tracer)
          tracer:invoke(x, function() return model.output end)
          tracer:invoke(x, function()
            mark()
            model.layer1.output["999"]:save()
          end)
        end)
      end,
      function(mark) model:trace(x, function() helper(mark):save() end) end,
      function(mark)
        model:trace(x, function()
          for _, width in ipairs { 9, 10 } do
            mark()
            model.layer1.output[(":, %d"):format(width)]:save()
          end
        end)
      end,
      function(mark)
        model:trace(x, function()
          local h = model.layer1.output
          if h.shape[0] == 1 then
            mark()
            h["999"]:save()
          end
        end)
      end,
      function(mark)
        model:trace(x, function()
          model.output:sum():backward { retain_graph = true }
          mark()
          model.layer1.output.grad["999"]:save()
        end)
      end,
    }
    for i, case in ipairs(cases) do
      local err = at_line(case)
      assert.equal("index", err.code, "case " .. i)
      assert.equal(i == 5 and "layer1.output.grad" or "layer1.output", err.point, "case " .. i)
    end
  end)

  it("is a trace without an input and without invokes, used or not", function()
    local model = small()
    for _, body in ipairs { function() end, function() return model.output end } do
      local err = failure(function() model:trace(body) end)
      assert.matches("invoke", tostring(err))
    end
  end)

  it("in a body after values were saved gives none of them", function()
    local model, _, x = small()
    local saved
    assert.equal("mine", failure(function()
      model:trace(x, function()
        saved = model.layer1.output:save()
        error("mine", 0)
      end)
    end))
    assert.is_false(saved:is_set())
    local err = failure(function() return saved.value end)
    assert.equal("unset", err.code)
    assert.matches("its trace ended before the value was computed", err.message, 1, true)
    assert.is_nil(err.hint)
  end)
end)
