-- Modules added to a model, called in bodies with and without a hook.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local support = require "spec.support"
local failure, near = support.failure, support.near


local Sae = nn.Module "Sae"
function Sae:init(width, codes)
  self.encode = nn.Linear(width, codes)
  self.decode = nn.Linear(codes, width)
end
function Sae:forward(x)
  local code = nn.tap("code", self.encode(x):relu())
  return self.decode(code)
end

local function with_sae()
  local net = nn.Sequential { { "layer1", nn.Linear(5, 4) }, { "layer2", nn.Linear(4, 2) } }
  net:requires_grad_(false)
  local model, sae = ls.Model(net), Sae(4, 6)
  sae:requires_grad_(false)
  model.layer1.sae = sae
  return model, net, sae, torch.randn(2, 5)
end

describe("an added module", function()
  it("is a module of the model, which still computes the same", function()
    local model, net, sae, x = with_sae()
    assert.equal(net.layer1.sae, sae)
    assert.equal("Sae(", tostring(model.layer1.sae):match "^[^\n]+")
    near(net(x), model(x))
    local out = model:trace(x, function()
      model.layer1.output = model.layer1.sae(model.layer1.output)
      return model.output
    end)
    near(net.layer2(sae(net.layer1(x))), out)
  end)

  it("called with a hook has points below the call, in each of its modules", function()
    local model, net, sae, x = with_sae()
    local out, code, encoded, input, whole
    model:trace(x, function()
      local s = model.layer1.sae
      out = s(model.layer1.output, { hook = true }):save()
      code, encoded, whole = s.code:save(), s.encode.output:save(), s.output:save()
      input = s.encode.input[0][0]:save()
    end)
    local h = net.layer1(x)
    near(sae.encode(h), encoded)
    near(sae.encode(h):relu(), code)
    near(h, input)
    near(sae(h), whole)
    near(sae(h), out)
  end)

  it("runs in the mode of autograd in which its call stands, wherever its points are read and set", function()
    local model, net, sae, x = with_sae()
    local function grad(call, around)
      return model:trace(x, function()
        local s, h = model.layer1.sae, model.layer1.output
        local g = h.grad
        around(s)
        local y = call(function() return s(h, { hook = true }) end)
        torch.no_grad(function() return s.encode.output end)
        torch.enable_grad(function() return s.decode.output end);
        (y + h):sum():backward()
        return g
      end)
    end
    local leaf = net.layer1(x):detach():requires_grad_();
    (sae(leaf) + leaf):sum():backward()
    local function nothing() end
    local function read(s) return s.code:save() end
    for _, around in ipairs { nothing, read } do
      near(leaf.grad, grad(function(f) return f() end, around))
      near(torch.ones_like(x):new_ones(leaf.shape), grad(torch.no_grad, around))
      near(leaf.grad, torch.no_grad(grad, torch.enable_grad, around))
    end
  end)

  it("takes edits above the call, and gives gradients", function()
    local model, net, sae, x = with_sae()
    local zero, shifted, grad = torch.zeros(2, 6), nil, nil
    model:trace(x, function()
      local s = model.layer1.sae
      s.code = zero
      model.layer1.output = s(model.layer1.output, { hook = true })
      shifted = model.output:save()
    end)
    near(net.layer2(sae.decode(zero)), shifted)
    model:trace(x, function()
      local s = model.layer1.sae
      model.layer1.output = s(model.layer1.output, { hook = true })
      grad = s.code.grad:save()
      model.output:sum():backward()
    end)
    local leaf = sae.encode(net.layer1(x)):relu():detach():requires_grad_()
    net.layer2(sae.decode(leaf)):sum():backward()
    near(leaf.grad, grad)
  end)

  it("says where its points are missing, and never drops an edit silently", function()
    local model, _, _, x = with_sae()
    local err = failure(function() model:trace(x, function() return model.layer1.sae.output end) end)
    assert.equal("unreached", err.code)
    assert.matches("hook = true", tostring(err), 1, true)
    err = failure(function() model:trace(x, function() model.layer1.sae.code = torch.zeros(2, 6) end) end)
    assert.equal("unreached", err.code)
    assert.equal("layer1.sae.code", err.point)
    err = failure(function() model:trace(x, function() model.layer2.sae = Sae(2, 3) end) end)
    assert.equal("state", err.code)
    assert.equal("argument", failure(function() model.layer1.sae = Sae(4, 4) end).code)
    assert.equal("name", failure(function() model.layer1.output = Sae(4, 4) end).code)
  end)

  it("keeps the calls of each invoke apart", function()
    local model, net, sae, x = with_sae()
    local a, b
    model:trace(function(tracer)
      tracer:invoke(x, function()
        model.layer1.sae(model.layer1.output, { hook = true })
        a = model.layer1.sae.code:save()
      end)
      tracer:invoke(x * 2, function()
        model.layer1.sae(model.layer1.output, { hook = true })
        b = model.layer1.sae.code:save()
      end)
    end)
    near(sae.encode(net.layer1(x)):relu(), a)
    near(sae.encode(net.layer1(x * 2)):relu(), b)
  end)

  it("trains with its points", function()
    local model, _, sae, x = with_sae()
    sae:requires_grad_(true)
    local optimizer, first, last = ls.optim.AdamW(sae:parameters(), { lr = 1e-2 }), nil, nil
    for _ = 1, 60 do
      local loss
      model:trace(x, function()
        local h = model.layer1.output
        local s = model.layer1.sae
        local y = s(h, { hook = true })
        loss = ((y - h):pow(2):mean() + s.code:abs():mean() * 1e-3):save()
        loss:backward()
      end)
      optimizer:step()
      optimizer:zero_grad()
      first, last = first or loss:item(), loss:item()
    end
    assert.is_true(last < first / 2)
  end)
end)

describe("a call with { hook = true }", function()
  -- The right values are the added module's own parts, called one by one.
  local function run(body)
    local model, net, sae, x = with_sae()
    local h = net.layer1(x)
    local code = sae.encode(h):relu()
    local values = { model:trace(x, function(tracer) return body(model, tracer, model.layer1.sae) end) }
    return { net = net, sae = sae, x = x, h = h, code = code, cut = code:clone() }, unpack(values)
  end
  local function ablated(ref) -- the code with feature 3 set to 50, and what the net says then
    ref.cut[":, 3"] = 50
    return ref.net.layer2(ref.sae.decode(ref.cut))
  end

  it("case 1.2: an edit of a point acts wherever it stands in the body", function()
    local ref, out, code, plain = run(function(model, _, s)
      local above = s.code:clone() -- reads above the call are the value before the edits below them
      model.layer1.output = s(model.layer1.output, { hook = true })
      s.code[":, 3"] = 50
      return model.output, s.code, above
    end)
    near(ablated(ref), out)
    near(ref.cut, code)
    near(ref.code, plain)
    ref, out = run(function(model, _, s)
      s.code[":, 3"] = 50
      model.layer1.output = s(model.layer1.output, { hook = true })
      return model.output
    end)
    near(ablated(ref), out)
    ref, out = run(function(model, _, s)
      local y = s(model.layer1.output, { hook = true })
      model.layer1.output = y
      s.code = s.code * 0 + s.encode.output
      return model.output
    end)
    near(ref.net.layer2(ref.sae.decode(ref.sae.encode(ref.h))), out)
  end)

  it("case 1.2: points of its children act too, inputs and outputs, in place and as a whole", function()
    local zero = torch.zeros(2, 6)
    local ref, out = run(function(model, _, s)
      model.layer1.output = s(model.layer1.output, { hook = true })
      s.encode.output[":"] = 0
      return model.output
    end)
    near(ref.net.layer2(ref.sae.decode(zero)), out)
    ref, out = run(function(model, _, s)
      model.layer1.output = s(model.layer1.output, { hook = true })
      s.decode.input = zero
      return model.output
    end)
    near(ref.net.layer2(ref.sae.decode(zero)), out)
    ref, out = run(function(model, _, s)
      local y = s(model.layer1.output, { hook = true })
      s.input[0][0] = model.layer1.output * 2
      s.output = s.output + 1
      return y
    end)
    near(ref.sae(ref.h * 2) + 1, out)
  end)

  it("case 1.2: a value of the model that comes later can be set inside, one that depends on the call cannot", function()
    local model, net, sae, x = with_sae()
    local y = model:trace(x, function()
      local y = model.layer1.sae(model.layer1.output, { hook = true })
      model.layer1.sae.code = model.output:mean() + torch.zeros(2, 6)
      return y
    end)
    near(sae.decode(net(x):mean() + torch.zeros(2, 6)), y)
    for _, edit in ipairs {
      function(s, of) s.code = of[":, :1"] + torch.zeros(2, 6) end,
      function(s) s.encode.output = s.code + 1 end,
      function(s) s.code = model.output:mean() + torch.zeros(2, 6) end,
    } do
      local err = failure(function()
        model:trace(x, function()
          local of = model.layer1.sae(model.layer1.output, { hook = true })
          model.layer1.output = of
          edit(model.layer1.sae, of)
          return model.output
        end)
      end)
      assert.equal("cycle", err.code)
    end
  end)

  it("case 1.2: a demand stands inside the call; behind it an edit is an error", function()
    local model, net, sae, x = with_sae()
    local out = model:trace(x, function()
      local s = model.layer1.sae
      model.layer1.output = s(model.layer1.output, { hook = true })
      if s.code:sum():item() >= 0 then s.code[":"] = 0 end
      return model.output
    end)
    near(net.layer2(sae.decode(torch.zeros(2, 6))), out)
    local err = failure(function()
      model:trace(x, function()
        local s = model.layer1.sae
        local y = s(model.layer1.output, { hook = true })
        y:sum():item()
        s.code[":"] = 0
      end)
    end)
    assert.equal("passed", err.code)
    assert.equal("layer1.sae.code", err.point)
  end)

  it("case 1.2: several calls are told apart by their place and by number", function()
    local model, net, sae, x = with_sae()
    local h = net.layer1(x)
    local a, b, c, d = model:trace(x, function()
      local s = model.layer1.sae
      s:call(1).code[":, 0"] = 7
      local first = s(model.layer1.output, { hook = true })
      s.code[":, 3"] = 50
      local second = s(first, { hook = true })
      return first, second, s:call(0).code, s.encode.output
    end)
    local code = sae.encode(h):relu()
    code[":, 3"] = 50
    local again = sae.encode(sae.decode(code)):relu()
    near(sae.encode(sae.decode(code)), d)
    again[":, 0"] = 7
    near(sae.decode(code), a)
    near(sae.decode(again), b)
    near(code, c)
    local err = failure(function()
      model:trace(x, function()
        for _ = 1, 2 do
          model.layer1.sae.code = torch.zeros(2, 6)
          model.layer1.sae(model.layer1.output, { hook = true })
        end
      end)
    end)
    assert.matches("call(1)", err.hint, 1, true)
  end)

  it("case 1.2: gradients go through its points, and can be set there", function()
    local model, net, sae, x = with_sae()
    local grad, set = model:trace(x, function()
      local s = model.layer1.sae
      model.layer1.output = s(model.layer1.output, { hook = true })
      local g, h = s.code.grad, s.encode.output.grad
      s.code.grad = g * 2
      model.output:sum():backward()
      return g, h
    end)
    local h = sae.encode(net.layer1(x)):detach():requires_grad_()
    local leaf = h:relu()
    net.layer2(sae.decode(leaf)):sum():backward()
    near(h.grad * 2, set)
    near(torch.ones(2, 2):matmul(net.layer2.weight):matmul(sae.decode.weight), grad)
  end)

  it("case 1.2: a trace of a handle with a stored edit reads and sets the points of the module that the edit calls", function()
    local model, net, sae, x = with_sae()
    local edited = model:edit(function() model.layer1.output = model.layer1.sae(model.layer1.output, { hook = true }) end)
    local code, out = edited:trace(x, function()
      edited.layer1.sae.code[":, 3"] = 50
      return edited.layer1.sae.code, edited.output
    end)
    local expected = sae.encode(net.layer1(x)):relu()
    expected[":, 3"] = 50
    near(expected, code)
    near(net.layer2(sae.decode(expected)), out)
    near(net.layer2(sae(net.layer1(x))), edited(x))
    local both = model:edit(function()
      model.layer1.output = model.layer1.sae(model.layer1.output, { hook = true })
      model.layer1.sae.code[":, 3"] = 50
    end)
    near(out, both(x))
    local a, b = nil, nil
    both:trace(function(tracer)
      tracer:invoke(x["0:1"], function() a = both.layer1.sae.code:save() end)
      tracer:invoke(x["1:2"], function()
        both.layer1.sae.code[":, 3"] = 9
        b = both.output:save()
      end)
    end)
    near(expected["0:1"], a)
    expected[":, 3"] = 9
    near(net.layer2(sae.decode(expected["1:2"])), b)
  end)

  it("case 9.14: its input has all arguments", function()
    local Sum = nn.Module "Sum"
    function Sum:init() self.inner = nn.Identity() end
    function Sum:forward(x, y) return self.inner(x) + y end
    local model, _, _, x = with_sae()
    model.layer2.sum = Sum()
    local out, second = model:trace(x, function()
      local s = model.layer2.sum
      local y = s(model.layer1.output * 0, model.layer1.output, { hook = true })
      s.input = torch.ones(2, 4)
      return y - model.layer1.output, s.input[0][1] - model.layer1.output
    end)
    near(torch.ones(2, 4), out)
    near(torch.zeros(2, 4), second)
  end)
end)
