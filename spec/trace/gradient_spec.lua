-- Rule S10: gradients inside a trace, against the same computation with PyTorch's autograd outside.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local function small()
  torch.manual_seed(3)
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

---Output and gradients of the parts of the network, by hand: `edit` maps the gradient at the activation.
local function by_hand(net, x, edit)
  local h1 = net.layer1(x):detach():requires_grad_(true)
  local a = net.act(h1)
  local leaf = a:detach():requires_grad_(true)
  local out = net.layer2(leaf)
  out:sum():backward()
  local ga = leaf.grad
  if edit then ga = edit(ga) end
  a:backward(ga)
  return h1.grad, ga
end

describe("gradients (S10)", function()
  it("are read at any point, before or after backward in the text", function()
    local model, net, x = small()
    local g1, ga, l1
    model:trace(x, function()
      l1 = model.layer1.output:save()
      g1 = model.layer1.output.grad:save()
      model.output:sum():backward()
      ga = model.act.output.grad:save()
    end)
    local want1, wanta = by_hand(net, x)
    near(want1, g1)
    near(wanta, ga)
    assert.is_true(torch.equal(l1, net.layer1(x)))
    assert.is_false(l1.requires_grad)
  end)

  it("are set, and what lies before sees it", function()
    local model, net, x = small()
    local g1, ga
    model:trace(x, function()
      g1 = model.layer1.output.grad:save()
      model.act.output.grad = model.act.output.grad * 2
      ga = model.act.output.grad:save()
      model.output:sum():backward()
    end)
    local want1, wanta = by_hand(net, x, function(g) return g * 2 end)
    near(want1, g1)
    near(wanta, ga)
  end)

  it("are changed in place", function()
    local model, net, x = small()
    local g1, before
    model:trace(x, function()
      before = model.act.output.grad:clone():save()
      model.act.output.grad[":, 3:"] = 0
      g1 = model.layer1.output.grad:save()
      model.output:sum():backward()
    end)
    local want1 = by_hand(net, x, function(g)
      g = g:clone()
      g[":, 3:"] = 0
      return g
    end)
    local _, wanta = by_hand(net, x)
    near(want1, g1)
    near(wanta, before)
  end)

  it("may be set at several points, each from what comes to it", function()
    local model, net, x = small()
    local g0
    model:trace(x, function()
      model.output:sum():backward()
      model.layer1.output.grad = model.layer1.output.grad + 1
      model.act.output.grad = model.act.output.grad * 3
      g0 = model.layer1.output.grad:save()
    end)
    local want = by_hand(net, x, function(g) return g * 3 end)
    near(want + 1, g0)
  end)

  it("go through edits, in place and by replacing", function()
    local model, net, x = small()
    local g1, g2
    model:trace(x, function()
      g1 = model.layer1.output.grad:save()
      model.act.output[":, 0"] = 0
      model.act.output = model.act.output * 2
      model.output:sum():backward()
    end)
    local h = net.layer1(x):detach():requires_grad_(true)
    local a = net.act(h):clone()
    a[":, 0"] = 0
    net.layer2(a * 2):sum():backward()
    near(h.grad, g1)
    model:trace(x, function()
      local l1 = model.layer1.output
      g2 = l1.grad:save()
      l1[":, 1"] = 7
      model.output:sum():backward()
    end)
    h = net.layer1(x):detach():requires_grad_(true)
    a = h:clone()
    a[":, 1"] = 7
    net.layer2(net.act(a)):sum():backward()
    near(h.grad, g2)
  end)

  it("of values of one's own and of modules called in the body", function()
    local model, net, x = small()
    local gy, gz
    model:trace(x, function()
      local y = model.layer1.output * 3
      local z = model.layer2(y)
      gy, gz = y.grad:save(), z.grad:save()
      z:mul(z):sum():backward()
    end)
    local y = (net.layer1(x) * 3):detach():requires_grad_(true)
    local z = net.layer2(y)
    z:mul(z):sum():backward()
    near(y.grad, gy)
    near(z:detach() * 2, gz)
  end)

  it("of several backward: each gives its own", function()
    local model, net, x = small()
    local a, b, c
    model:trace(x, function()
      local out = model.output
      a = model.layer1.output.grad:save()
      out["0, 0"]:backward { retain_graph = true }
      b = model.layer1.output.grad:save()
      out["0, 1"]:backward()
      c = model.layer1.output.grad:save()
    end)
    local wants = {}
    for i = 0, 1 do
      local h = net.layer1(x):detach():requires_grad_(true)
      net.layer2(net.act(h))[("0, %d"):format(i)]:backward()
      wants[i] = h.grad
    end
    near(wants[0], a)
    near(wants[1], b)
    near(wants[1], c)
  end)

  it("say so in those words where a second backward lacks retain_graph", function()
    local model, _, x = small()
    local err = failure(function()
      model:trace(x, function()
        local g = model.layer1.output.grad:save()
        model.output["0, 0"]:backward()
        model.output["0, 1"]:backward()
        return g
      end)
    end)
    assert.matches("retain_graph", tostring(err), 1, true)
    assert.matches("gradient_spec", err.file)
  end)

  it("of each invoke of a batch", function()
    local model, net = small()
    local x, y = torch.randn(1, 5), torch.randn(2, 5)
    local gx, gy
    model:trace(function(tracer)
      tracer:invoke(x, function()
        gx = model.layer1.output.grad:save()
        model.output:sum():backward { retain_graph = true }
      end)
      tracer:invoke(y, function()
        model.act.output.grad = model.act.output.grad * 5
        gy = model.layer1.output.grad:save()
        model.output:sum():backward()
      end)
    end)
    near((by_hand(net, x)), gx)
    near((by_hand(net, y, function(g) return g * 5 end)), gy)
  end)

  it("flow through values carried between passes", function()
    local model, net, x = small()
    local y = torch.randn(1, 5)
    local g
    model:trace(function(tracer)
      local late
      tracer:invoke(x, function()
        late = model.act.output
        g = model.layer1.output.grad:save()
      end)
      tracer:invoke(y, function()
        model.layer1.output = model.layer1.output + late
        model.output:sum():backward()
      end)
    end)
    local h = net.layer1(x):detach():requires_grad_(true)
    net.layer2(net.act(net.layer1(y) + net.act(h))):sum():backward()
    near(h.grad, g)
  end)

  it("of parameters, which train or not", function()
    local model, net, x = small()
    local gw
    model:trace(x, function()
      gw = model.layer1.weight.grad:save()
      model.output:sum():backward()
    end)
    local again = nn.Sequential { { "layer1", nn.Linear(5, 10) }, { "act", nn.GELU() }, { "layer2", nn.Linear(10, 2) } }
    again:load_state_dict(net:state_dict())
    again(x):sum():backward()
    near(again.layer1.weight.grad, gw)
    assert.is_false(net.layer1.weight.requires_grad)
    assert.is_nil(net.layer1.weight.grad)
  end)

  it("of parameters cannot be set", function()
    local model, _, x = small()
    local err = failure(function()
      model:trace(x, function()
        model.layer1.weight.grad = torch.zeros(10, 5)
        model.output:sum():backward()
      end)
    end)
    assert.equal("state", err.code)
    assert.matches("not set", err.message, 1, true)
  end)

  it("train the parameters of an added module through a frozen model", function()
    local model, net, x = small()
    local adapter = nn.Linear(10, 10)
    local optimizer = ls.optim.SGD(adapter:parameters(), { lr = 0.1 })
    local losses = {}
    for step = 1, 30 do
      optimizer:zero_grad()
      losses[step] = model:trace(x, function()
        local h = model.act.output
        model.act.output = h + adapter(h)
        local loss = (model.output - 1):pow(2):sum()
        loss:backward()
        return loss
      end):item()
      optimizer:step()
    end
    assert.is_true(losses[30] < losses[1] * 0.01)
    assert.is_nil(net.layer2.weight.grad)
  end)

  it("are not there for an optimizer's step in the body before the backward has run", function()
    local net = nn.Linear(1, 1)
    torch.no_grad(function() net.weight:fill_(1) net.bias:fill_(0) end)
    local model, optimizer = ls.Model(net), ls.optim.SGD(net:parameters(), { lr = 1 })
    local function run(f)
      return model:trace(torch.ones(1, 1), function()
        local loss = (model.output ^ 2):sum()
        loss:backward()
        f(loss)
      end)
    end
    for _, f in ipairs { function() optimizer:step() end, function() ls.optim.clip_grad_norm(net:parameters(), 1) end } do
      support.refused("state", "has not run yet", function() run(f) end)
    end
    assert.equal(1, net.weight:item())
    run(function(loss)
      assert.equal(1, loss:item())
      optimizer:step()
    end)
    assert.equal(-1, net.weight:item())
    optimizer:step() -- after a trace
    assert.equal(-3, net.weight:item())
  end)

  it("need a backward, and a loss that depends on the value", function()
    local model, _, x = small()
    assert.matches("backward", failure(function()
      model:trace(x, function() return model.layer1.output.grad end)
    end).message, 1, true)
    local err = failure(function()
      model:trace(x, function()
        model.layer1.output:sum():backward()
        return model.layer2.output.grad, model.layer1.output.grad
      end)
    end)
    assert.matches("does not depend", err.message, 1, true)
    assert.matches("gradient_spec", err.file)
    assert.matches("shape", failure(function()
      model:trace(x, function()
        model.act.output.grad = torch.ones(3)
        model.output:sum():backward()
        return model.layer1.output.grad
      end)
    end).code)
  end)

  it("are set from later gradients only", function()
    local model, _, x = small()
    local err = failure(function()
      model:trace(x, function()
        model.act.output.grad = model.layer1.output.grad
        model.output:sum():backward()
      end)
    end)
    assert.equal("cycle", err.code)
  end)

  it("of a language model agree with autograd outside of traces", function()
    local model = ls.LanguageModel("models/pretrained/ioi")
    local text = "When Mary and John went to the store, John gave a drink to"
    local grads, blocks = {}, model.transformer.h
    local n, hidden = #blocks, nil
    model:trace(text, function()
      for i, block in blocks:each() do grads[i] = block.output[0].grad:save() end
      hidden = blocks[n - 2].output[0]:save() -- of this run: one without gradients may multiply in another order
      model.output.logits["0, -1, 5"]:backward()
    end)
    local h = hidden:detach():clone():requires_grad_(true)
    local out = blocks[n - 1](h)[0]
    model.lm_head(model.transformer.ln_f(out))["0, -1, 5"]:backward()
    near(h.grad, grads[n - 2])
    assert.is_true(grads[0]:abs():sum():item() > 0)
  end)

  it("wait for the edits of lines above only: an edit below that needs a gradient makes no circle", function()
    local model, net, x = small()
    local doubled, gradient, out
    model:trace(x, function()
      local y = model.layer1.input[0][0] * 2
      gradient = model.act.output.grad:save()
      model.layer1.input[0][0] = y:clone()
      out = model.output:save()
      out:sum():backward()
      y:add_(gradient:sum())
      doubled = y:save()
    end)
    near(net(x * 2), out)
    near(net.layer2.weight:sum(0, { keepdim = true }), gradient)
    near(x * 2 + gradient:sum(), doubled)
  end)
end)
