-- The public story in under a second: a network, a trace that reads and edits, a gradient, a file, an error.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential { { "layer1", nn.Linear(5, 10) }, { "layer2", nn.Linear(10, 2) } }
  return ls.Model(net), torch.rand(1, 5), net
end

describe("luasight", function()
  it("reads values inside a model", function()
    local model, x, net = small()
    local hidden, out = model:trace(x, function() return model.layer1.output, model.output end)
    assert.is_true(torch.equal(hidden, net.layer1(x):detach()))
    assert.is_true(torch.equal(out, model(x)))
  end)

  it("edits them on the way", function()
    local model, x, net = small()
    local out = model:trace(x, function()
      if model.layer1.output.shape[1] == 10 then model.layer1.output[":, 1:"] = 0 end
      return model.output
    end)
    local hidden = net.layer1(x):detach():clone()
    hidden[":, 1:"] = 0
    assert.is_true(torch.equal(out, net.layer2(hidden):detach()))
  end)

  it("trains, saves and loads", function()
    local _, x, net = small()
    local optimizer = ls.optim.SGD(net:parameters(), { lr = 0.1 })
    local function loss() return net(x):pow(2):sum() end
    local before = loss()
    before:backward()
    optimizer:step()
    assert.is_true(loss():item() < before:item())
    local path, _, _, copy = os.tmpname(), small()
    ls.safetensors.save(path, net:state_dict())
    copy:load_state_dict(ls.safetensors.load(path))
    os.remove(path)
    assert.is_true(torch.equal(copy(x):detach(), net(x):detach()))
  end)

  it("says what is wrong, and where", function()
    local model, x = small()
    local ok, e = pcall(model.trace, model, x, function() return model.layer3.output end)
    assert.is_false(ok)
    assert.equal("name", e.code)
    assert.matches('did you mean "layer1"', e.message, 1, true)
    assert.matches("tiny_spec.lua$", e.file)
  end)
end)
