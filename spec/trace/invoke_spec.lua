-- Rules S6 and S7: invokes, passes, values between them.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential {
    { "layer1", nn.Linear(5, 10) },
    { "act", nn.GELU() },
    { "layer2", nn.Linear(10, 2) },
  }
  net:requires_grad_(false)
  return ls.Model(net), net
end

describe("invokes (S6)", function()
  it("become one batch of which each body sees its own rows", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(2, 5)
    local a, b, all
    model:trace(function(tracer)
      tracer:invoke(x, function() a = model.layer1.output:save() end)
      tracer:invoke(y, function() b = model.output:save() end)
      tracer:invoke(function() all = model.output:save() end)
    end)
    near(net.layer1(x), a, nil, "order")
    near(net(y), b, nil, "order")
    near(net(torch.cat({ x, y }, 0)), all, nil, "order")
  end)

  it("edit their own rows only, in place and by replacing", function()
    local model, net = small()
    local x, y, z = torch.randn(1, 5), torch.randn(2, 5), torch.randn(1, 5)
    local outs, plain = {}, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.layer1.output[":, 0"] = 0
        outs[1] = model.output:save()
      end)
      tracer:invoke(y, function() outs[2] = model.output:save() end)
      tracer:invoke(z, function()
        model.layer1.output = model.layer1.output * 2
        model.layer2.input = model.layer2.input[0][0] + 1
        outs[3] = model.output:save()
      end)
    end)
    local h = net.layer1(x)
    h[":, 0"] = 0
    near(net.layer2(net.act(h)), outs[1], nil, "order")
    near(net.layer2(net.act(net.layer1(z) * 2) + 1), outs[3], nil, "order")
    model:trace(torch.cat({ x, y, z }, 0), function() plain = model.output:save() end)
    assert.is_true(torch.equal(outs[2], plain["1:3"]))
  end)

  it("give what their bodies return, saved", function()
    local model, net = small()
    local x, p, q = torch.randn(1, 5), nil, nil
    model:trace(function(tracer)
      p = tracer:invoke(x, function() return model.layer1.output end)
      q = tracer:invoke(x, function() return { model.output } end)[1]
    end)
    near(net.layer1(x), p, nil, "order")
    near(net(x), q, nil, "order")
  end)

  it("may be many, in a loop", function()
    local model, net = small()
    local inputs, outs = {}, {}
    model:trace(function(tracer)
      for i = 1, 40 do
        inputs[i] = torch.randn(1, 5)
        tracer:invoke(inputs[i], function()
          model.act.output[("0, %d"):format(i % 10)] = i
          outs[i] = model.output:save()
        end)
      end
    end)
    for i = 1, 40 do
      local h = net.act(net.layer1(inputs[i]))
      h[("0, %d"):format(i % 10)] = i
      near(net.layer2(h), outs[i], nil, "order")
    end
  end)

  it("may demand values: the inputs so far run as a pass of their own", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(1, 5)
    local a, b
    model:trace(function(tracer)
      tracer:invoke(x, function()
        local n = model.layer1.output:sum():item()
        model.layer2.input = model.act.output * n
        a = model.output:save()
      end)
      tracer:invoke(y, function() b = model.output:save() end)
    end)
    near(net.layer2(net.act(net.layer1(x)) * net.layer1(x):sum():item()), a, nil, "order")
    near(net(y), b, nil, "order")
  end)

  it("allow operators in the outer body, but no access to points", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(1, 5)
    local difference
    model:trace(function(tracer)
      local a = tracer:invoke(x, function() return model.output end)
      local b = tracer:invoke(y, function() return model.output end)
      difference = (a - b):save()
    end)
    near(net(x) - net(y), difference, nil, "order")
    local err = failure(function()
      model:trace(function(tracer)
        tracer:invoke(x, function() end)
        return model.output
      end)
    end)
    assert.equal("state", err.code)
    assert.equal("output", err.point)
  end)

  it("cannot nest, and belong into a trace without input", function()
    local model = small()
    local x = torch.randn(1, 5)
    assert.matches("inside the body of another", failure(function()
      model:trace(function(tracer)
        tracer:invoke(x, function() tracer:invoke(x, function() end) end)
      end)
    end).message, 1, true)
    assert.matches("has an input", failure(function()
      model:trace(x, function(tracer) tracer:invoke(x, function() end) end)
    end).message, 1, true)
    assert.matches("add an invoke with an input first", failure(function()
      model:trace(function(tracer) tracer:invoke(function() end) end)
    end).message, 1, true)
  end)

  it("with inputs that are no batch together say so", function()
    local model = small()
    local err = failure(function()
      model:trace(function(tracer)
        tracer:invoke(torch.randn(1, 5), function() return model.output end)
        tracer:invoke(torch.randn(1, 6), function() return model.output end)
      end)
    end)
    assert.equal("shape", err.code)
  end)

  it("keep their number of rows when a value is replaced", function()
    local model = small()
    local err = failure(function()
      model:trace(function(tracer)
        tracer:invoke(torch.randn(1, 5), function() model.layer1.output = torch.zeros(2, 10) end)
        tracer:invoke(torch.randn(1, 5), function() return model.output end)
      end)
    end)
    assert.equal("shape", err.code)
    assert.equal("layer1.output", err.point)
  end)

  it("are refused where the tensors of an input differ in their rows, which joined could fit by chance", function()
    local Scaled = nn.Module "Scaled"
    function Scaled:forward(x, options) return x * options.scale end
    local model = ls.Model(Scaled())
    local one, two = torch.ones(1, 2), torch.ones(2, 2)
    for _, given in ipairs { { { one, two }, { two, one } }, { { one, torch.ones(2) }, { one, torch.ones(2) } },
      { { one, torch.tensor(2) }, { one, torch.tensor(2) } } } do
      local err = failure(function()
        model:trace(function(tracer)
          for _, input in ipairs(given) do
            tracer:invoke(ls.args(input[1], { scale = input[2] }), function() return model.output end)
          end
        end)
      end)
      assert.equal("shape", err.code)
      assert.matches("each tensor of an input has the input's rows on its first axis", err.message)
    end
    assert.same({ { 1, 1 }, { 1, 1 } }, model:trace(ls.args(one, { scale = two }), function() return model.output end):tolist())
  end)

  it("see the rows on the axis that the module declares", function()
    local Turn = nn.Module "Turn"
    Turn.batch_axis = { output = 1 }
    function Turn:forward(x) return x:t() * 2 end
    local Mix = nn.Module "Mix"
    Mix.batch_axis = { output = false }
    function Mix:forward(x) return x:sum(1) end
    local Net = nn.Module "Net"
    function Net:init() self.turn, self.mix = Turn(), Mix() end
    function Net:forward(x)
      local y = self.turn(x)
      return y:t() + self.mix(y):mean()
    end
    local net = Net()
    local model = ls.Model(net)
    local x, y, seen = torch.randn(1, 3), torch.randn(2, 3), nil
    local err = failure(function()
      model:trace(function(tracer)
        tracer:invoke(x, function() end)
        tracer:invoke(y, function() return model.mix.output end)
        tracer:invoke(x, function() return model.output end)
      end)
    end)
    assert.equal("shape", err.code)
    assert.equal("mix.output", err.point)
    model:trace(function(tracer)
      tracer:invoke(x, function() return model.output end)
      tracer:invoke(y, function()
        model.turn.output["0"] = 5
        seen = model.turn.output:save()
      end)
    end)
    assert.same({ 3, 2 }, seen:size():tolist())
    assert.equal(10, seen["0"]:sum():item())
    near(y[":, 1:"]:t() * 2, seen["1:"], nil, "order")
  end)

  it("set one element of a tuple for their rows", function()
    local Pair = nn.Module "Pair"
    function Pair:forward(x) return x + 1, x * 2 end
    local Outer = nn.Module "Outer"
    function Outer:init() self.pair = Pair() end
    function Outer:forward(x)
      local p = self.pair(x)
      return p[0] + p[1]
    end
    local model = ls.Model(Outer())
    local x, y, a, b, first = torch.ones(1, 2), torch.ones(1, 2) * 3, nil, nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.pair.output[0] = torch.zeros(1, 2)
        first = model.pair.output[0]:save()
        a = model.output:save()
      end)
      tracer:invoke(y, function()
        model.pair.output[1][":"] = 100
        b = model.output:save()
      end)
    end)
    assert.equal(4, a:sum():item())
    assert.equal(0, first:sum():item())
    assert.equal(208, b:sum():item())
  end)

  it("of one trace leave the model as it was after an error", function()
    local model, net = small()
    local x = torch.randn(1, 5)
    local mine = {}
    assert.equal(mine, failure(function()
      model:trace(function(tracer)
        tracer:invoke(x, function() model.layer1.output[":"] = 0 end)
        tracer:invoke(x, function() error(mine) end)
      end)
    end))
    assert.is_true(torch.equal(model(x), net(x)))
  end)
end)

describe("values between invokes (S7)", function()
  it("go forward and back, at the same point too, in one pass where they can", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(1, 5)
    local a, b
    model:trace(function(tracer)
      local h
      tracer:invoke(x, function()
        h = model.layer1.output
        a = model.output:save()
      end)
      tracer:invoke(y, function()
        model.layer1.output = model.layer1.output + h
        h[":"] = 0
        b = model.output:save()
      end)
    end)
    near(net.layer2(net.act(torch.zeros(1, 10))), a, nil, "order")
    near(net.layer2(net.act(net.layer1(y) + net.layer1(x))), b, nil, "order")
  end)

  it("run the using invoke in a later pass where the value exists too late", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(1, 5)
    local clean, edited, third
    model:trace(function(tracer)
      local last
      tracer:invoke(x, function()
        last = model.act.output
        clean = model.output:save()
      end)
      tracer:invoke(y, function()
        model.layer1.output[":"] = last
        edited = model.output:save()
      end)
      tracer:invoke(x, function()
        model.layer1.output = model.layer1.output + edited:sum()
        third = model.output:save()
      end)
    end)
    near(net(x), clean, nil, "order")
    local h = net.layer2(net.act(net.act(net.layer1(x))))
    near(h, edited, nil, "order")
    near(net.layer2(net.act(net.layer1(x) + h:sum())), third, nil, "order")
  end)

  it("make the earlier invoke the later one where the need goes back", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(1, 5)
    local first
    model:trace(function(tracer)
      local early
      tracer:invoke(x, function()
        early = model.layer1.output
        first = model.output:save()
      end)
      tracer:invoke(y, function() early[":"] = model.act.output end)
    end)
    near(net.layer2(net.act(net.act(net.layer1(y)))), first, nil, "order")
  end)

  it("are shown by the recorded graph, with their passes", function()
    local model = small()
    local text, json
    model:trace(function(tracer)
      local late
      tracer:invoke(torch.rand(1, 5), function() late = model.layer2.output end)
      tracer:invoke(torch.rand(1, 5), function()
        model.layer1.output[":, :2"] = late
        model.output:save()
      end)
      text, json = tostring(tracer:graph()), tracer:graph():json()
    end)
    assert.matches("layer2%.output.-%-%- invoke 0, pass 0\n", text)
    assert.matches("layer1%.output.-%-%- invoke 1, pass 1\n", text)
    local nodes = require "cjson".decode(json).nodes
    assert.equal(0, nodes[1].pass)
    assert.equal(1, nodes[#nodes].pass)
    assert.equal(1, nodes[#nodes].invoke)
  end)

  it("that need each other in a circle are an error that shows it", function()
    local model = small()
    local x = torch.randn(1, 5)
    local err = failure(function()
      model:trace(function(tracer)
        local early, late
        tracer:invoke(x, function() early, late = model.layer1.output, model.act.output end)
        tracer:invoke(x, function()
          model.layer1.output[":"] = late
          early[":"] = model.act.output
        end)
      end)
    end)
    assert.equal("cycle", err.code)
    assert.matches("layer1.output %(invoke 1%) %-> act.output %(invoke 2%)", err.message)
    assert.matches("invoke_spec", err.file)
  end)

  it("let an invoke without input see the pass after the latest value it uses", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(1, 5)
    local all
    model:trace(function(tracer)
      local last
      tracer:invoke(x, function() last = model.act.output end)
      tracer:invoke(y, function() model.layer1.output[":"] = last end)
      tracer:invoke(function()
        model.layer1.output = model.layer1.output * 1 + last * 0
        all = model.output:save()
      end)
    end)
    near(net.layer2(net.act(net.act(net.layer1(x)))), all, nil, "order")
  end)
end)
