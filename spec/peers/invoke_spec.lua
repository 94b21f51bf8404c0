-- What people ask of tools like this one, third part: gradients and invokes.
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

local support = require "spec.support"
local failure, near = support.failure, support.near


---Gradient at layer1's output of the sum of the output, by hand.
local function gradient(net, x)
  local h = net.layer1(x):detach():requires_grad_(true)
  net.layer2(net.act(h)):sum():backward()
  return h.grad
end

describe("gradients", function()
  it("of one invoke of three are those of its rows alone", function()
    local model, net = small()
    local inputs = { torch.randn(2, 5), torch.randn(3, 5), torch.randn(1, 5) }
    for target = 1, 3 do
      local got, others = nil, {}
      model:trace(function(tracer)
        for i, x in ipairs(inputs) do
          tracer:invoke(x, function()
            if i ~= target then
              others[i] = model.output:save()
              return
            end
            got = model.layer1.output.grad:save()
            model.output:sum():backward()
          end)
        end
      end)
      near(gradient(net, inputs[target]), got, nil, "order")
      for i, out in pairs(others) do near(net(inputs[i]), out, nil, "order") end
    end
  end)

  it("that are set in one invoke are not set in the next", function()
    local model, net, x = small()
    local y, gx, gy = torch.randn(2, 5), nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.layer1.output.grad = model.layer1.output.grad * 3
        gx = model.layer1.output.grad:save()
        model.output:sum():backward { retain_graph = true }
      end)
      tracer:invoke(y, function()
        gy = model.layer1.output.grad:save()
        model.output:sum():backward()
      end)
    end)
    near(gradient(net, x) * 3, gx, nil, "order")
    near(gradient(net, y), gy, nil, "order")
  end)

  it("of a loss over all invokes, written in the outer body", function()
    local model, net, x = small()
    local y, gx, gy, ga = torch.randn(2, 5), nil, nil, nil
    model:trace(function(tracer)
      local hx, hy, ax, out_x, out_y
      tracer:invoke(x, function() hx, ax, out_x = model.layer1.output, model.act.output, model.output end)
      tracer:invoke(y, function() hy, out_y = model.layer1.output, model.output end)
      gx, gy = hx.grad:save(), hy.grad:save()
      ax.grad = ax.grad * 2
      ga = ax.grad:save();
      (out_x:sum() + out_y:sum() * 3):backward()
    end)
    near(gradient(net, x) * 2, gx, nil, "order")
    near(gradient(net, y) * 3, gy, nil, "order")
    near(net.layer2.weight:sum { dim = 0 }:unsqueeze(0) * 2, ga, nil, "order")
  end)

  it("of losses in the outer body, one after the other", function()
    local model, net, x = small()
    local y, g = torch.randn(1, 5), {}
    model:trace(function(tracer)
      local hx, out_x, out_y
      tracer:invoke(x, function() hx, out_x = model.layer1.output, model.output end)
      tracer:invoke(y, function() out_y = model.output end)
      g[1] = hx.grad:save();
      (out_x:sum() - out_y:sum()):backward { retain_graph = true }
      g[2] = hx.grad:save();
      (out_x:sum() * 4):backward()
    end)
    near(gradient(net, x), g[1], nil, "order")
    near(gradient(net, x) * 4, g[2], nil, "order")
  end)

  it("say which backward freed the graph where the invokes of a batch share it", function()
    local model, _, x = small()
    for _, options in ipairs { {}, { retain_graph = true } } do
      local freeing
      local err = failure(function()
        model:trace(function(tracer)
          for i = 1, 2 do
            tracer:invoke(x, function()
              model.layer1.output.grad:save()
              freeing = debug.getinfo(1, "l").currentline + 1
              model.output:sum():backward(i == 2 and options or {})
            end)
          end
        end)
      end)
      assert.matches("retain_graph", tostring(err), 1, true)
      assert.matches(("peers/invoke_spec.lua:%d"):format(freeing), tostring(err), 1, true)
    end
    local err = failure(function() -- another mistake keeps its own words
      model:trace(x, function() model.output:backward { gradient = torch.zeros(3, 3) } end)
    end)
    assert.is_nil(tostring(err):find "retain_graph")
  end)

  it("flow through a value that is set in the place where it was", function() -- elsewhere a crash
    local Pair = nn.Module "Pair"
    function Pair:forward(x) return x * 2, x * 3 end
    local Outer = nn.Module "Outer"
    function Outer:init() self.pair, self.last = Pair(), nn.Identity() end
    function Outer:forward(x)
      local p = self.pair(x)
      return self.last(p[0]) + p[1]
    end
    local model, x, got, other = ls.Model(Outer()), torch.randn(1, 3), nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function() other = model.output:save() end)
      tracer:invoke(x, function()
        local h = model.pair.output[0]
        model.pair.output = ls.tuple(h, model.pair.output[1])
        got = h.grad:save();
        (model.last.output * 5):sum():backward()
      end)
    end)
    near(torch.full({ 1, 3 }, 5), got, nil, "order")
    near(x * 5, other, nil, "order")
  end)

  it("estimate what a patch does", function()
    local model, net, x = small()
    local y = x + torch.randn(1, 5) * 1e-3
    local estimate
    model:trace(function(tracer)
      local clean
      tracer:invoke(y, function() clean = model.layer1.output end)
      tracer:invoke(x, function()
        local h = model.layer1.output
        estimate = ((clean - h) * h.grad):sum():save()
        model.output:sum():backward()
      end)
    end)
    local truth = (net(y):sum() - net(x):sum()):item()
    assert.is_true(math.abs(estimate:item() - truth) < 0.02 * math.abs(truth) + 1e-6)
  end)
end)

describe("invokes", function()
  it("begin each at its own beginning, whatever the one before did", function()
    local Thrice = nn.Module "Thrice"
    function Thrice:init() self.step = nn.Linear(4, 4) end
    function Thrice:forward(x) return self.step(self.step(self.step(x))) end
    local net = Thrice()
    net:requires_grad_(false)
    local model, step = ls.Model(net), net.step
    local x, a, b, c = torch.randn(1, 4), nil, nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.step:next()
        a = model.step.output:save()
      end)
      tracer:invoke(x, function() b = model.step.output:save() end)
      tracer:invoke(x, function() c = model.step:next():next().output:save() end)
    end)
    near(step(step(x)), a, nil, "order")
    near(step(x), b, nil, "order")
    near(net(x), c, nil, "order")
  end)

  it("are written by functions, which see the rows of the invoke they are called in", function()
    local model, net, x = small()
    local y, outs = torch.randn(2, 5), {}
    local function read(key) outs[key] = model.layer1.output:save() end
    local function add(tracer, input, key) tracer:invoke(input, function() read(key) end) end
    local function whole(tracer) tracer:invoke(function() read "whole" end) end
    model:trace(function(tracer)
      add(tracer, x, "x")
      add(tracer, y, "y")
      whole(tracer)
    end)
    near(net.layer1(x), outs.x, nil, "order")
    near(net.layer1(y), outs.y, nil, "order")
    near(torch.cat({ outs.x, outs.y }, 0), outs.whole, nil, "order")
  end)

  it("use a value of an invoke of another size, before and after any point", function() -- elsewhere only after it was reached
    local model, net, x = small()
    local y, crossed, later = torch.randn(2, 5), nil, nil
    model:trace(function(tracer)
      local h
      tracer:invoke(x, function() h = model.act.output end)
      tracer:invoke(y, function()
        crossed = (h:sum() + model.layer1.output):save()
        model.layer1.output = model.layer1.output + h
        later = model.output:save()
      end)
    end)
    local h = net.act(net.layer1(x))
    near(h:sum() + net.layer1(y), crossed, nil, "order")
    near(net.layer2(net.act(net.layer1(y) + h)), later, nil, "order")
  end)

  it("keep a piece at a computed place, whatever another invoke then puts there", function()
    local model, net, x = small()
    for _, how in ipairs { "replace", "skip", "in place" } do
      local place, piece, want, plain
      model:trace(function(tracer)
        tracer:invoke(x, function()
          local h = model.layer1.output
          place = h:argmax()
          if how == "skip" then model.act:skip(h * 1) end
          piece = model.act.output[{ {}, place }]:save()
          want = (model.act.output * 1)[{ {}, place }]:save()
          plain = model.act.output["..., 1:3"]:save()
        end)
        tracer:invoke(x * 2, function()
          local h = model.layer1.output * 5
          if how == "replace" then model.act.output = h
          elseif how == "skip" then model.act:skip(h)
          else model.act.output[":"] = 7 end
        end)
      end)
      local act = how == "skip" and net.layer1(x) or net.act(net.layer1(x))
      near(want, piece, how, "order")
      near(act["..., 1:3"], plain, how, "order")
    end
  end)

  it("set a tuple for their own rows with zeros made from what is there", function()
    local Pair = nn.Module "Pair"
    function Pair:forward(x) return x + 1, x * 2 end
    local Outer = nn.Module "Outer"
    function Outer:init() self.pair = Pair() end
    function Outer:forward(x) return self.pair(x)[0] end
    local model = ls.Model(Outer())
    local x, y, a, b = torch.ones(1, 2), torch.ones(3, 2) * 4, nil, nil
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.pair.output = ls.tuple(torch.zeros_like(model.pair.output[0]), model.pair.output[1])
        a = model.output:save()
      end)
      tracer:invoke(y, function() b = model.pair.output:save() end)
    end)
    assert.equal(0, a:abs():sum():item())
    near(y + 1, b[0], nil, "order")
    near(y * 2, b[1], nil, "order")
  end)
end)
