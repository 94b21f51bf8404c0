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
