-- Weights in the layout that is faster: the same numbers, the same parameters, and no second copy.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local layout = require "luasight.lm.layout"
local torch, nn = ls.torch, ls.nn

local function resident(kind)
  for line in io.lines "/proc/self/status" do
    local kilobytes = line:match("^" .. kind .. ":%s*(%d+)")
    if kilobytes then return tonumber(kilobytes) / 1024 end
  end
end

describe("the layout of weights", function()
  it("changes no number and no parameter, whatever it chooses", function()
    local net = nn.Sequential { nn.Conv1D(512, 256), nn.Conv1D(256, 512), nn.Linear(256, 8) }
    net:requires_grad_(false)
    local model, x = ls.Model(net), torch.randn(3, 256)
    local before, weight = model(x), net:parameters()[1]
    local numbers = weight:clone()
    layout.settle(net)
    assert.is_true(torch.equal(weight, numbers))
    assert.is_true(rawequal(weight, net:parameters()[1]))
    near(before, model(x), nil, "order")
    local hidden = model:trace(x, function() return model[0].output end)
    near(net[0](x), hidden, nil, "order")
  end)

  it("leaves alone what trains", function()
    local net = nn.Sequential { nn.Conv1D(512, 256) }
    local asked
    layout.settle(net, function() asked = true end)
    assert.is_nil(asked)
    assert.is_true(net:parameters()[1]:is_contiguous())
  end)

  it("gives the file's memory back where a copy took its place", function()
    local path = os.tmpname()
    ls.safetensors.save(path, { big = torch.rand(4096, 4096) })
    local file = ls.safetensors.open(path)
    local big = file:get "big"
    local sum = big:sum():item()
    local before = resident "RssFile"
    file:forget "big"
    assert.is_true(before - resident "RssFile" > 60) -- of 64 MB
    assert.equal(sum, big:sum():item())
    file:release()
    os.remove(path)
  end)
end)
