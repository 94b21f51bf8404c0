-- Stored edits: made, combined, cleared, saved and loaded.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

local small = support.small_model

describe("stored edits", function()
  it("are part of every later run of a new handle, and not of the old one", function()
    local model, net, x = small()
    local y = torch.randn(3, 5)
    local runs = 0
    local edited = model:edit(function()
      runs = runs + 1
      model.act.output[":, 0"] = 0
      model.layer2.input = model.layer2.input[0][0] * 2
    end)
    local function want(v)
      local h = net.act(net.layer1(v))
      h[":, 0"] = 0
      return net.layer2(h * 2)
    end
    near(want(x), edited(x))
    near(want(y), edited:trace(y, function() return edited.output end))
    near(net(x), model(x))
    local a, b
    edited:trace(function(tracer)
      a = tracer:invoke(x, function() return edited.output end)
      b = tracer:invoke(y, function() return edited.output end)
    end)
    near(want(x), a)
    near(want(y), b)
    assert.equal(1, runs)
    local twice = edited:edit(function() edited.output = edited.output + 1 end)
    near(want(x) + 1, twice(x))
    near(want(x), edited(x))
  end)

  it("can be in place and be cleared", function()
    local model, net, x = small()
    model:edit({ inplace = true }, function() model.output = model.output * 3 end)
    near(net(x) * 3, model(x))
    near(net(x) * 3, model:trace(x, { trace = false }))
    model:clear_edits()
    near(net(x), model(x))
  end)

  it("take their tensors as they are when a trace runs", function()
    local model, net, x = small()
    local shift = torch.zeros(10)
    local edited = model:edit(function() model.act.output = model.act.output + shift end)
    shift:add_(1)
    near(net.layer2(net.act(net.layer1(x)) + 1), edited(x))
  end)

  it("call modules, added ones too", function()
    local model, net, x = small()
    local added = nn.Linear(10, 10)
    local edited = model:edit(function() model.act.output = added(model.act.output) end)
    near(net.layer2(added(net.act(net.layer1(x)))), edited(x))
    assert.matches("no part of the model", failure(function() edited:save_edits("/nowhere/edits") end).message, 1, true)
  end)

  it("are saved and loaded as data", function()
    local model, net, x = small()
    local path = os.tmpname()
    local edited = model:edit(function()
      local h = model.act.output
      h[":, 1:4"] = h["..., 0:3"] * torch.tensor { 1, 2.5, -3 }
      model.layer2.input = torch.clamp(model.layer2.input[0][0], { min = 0.1 })
      model.output = model.layer2(model.act.input[0][0]) + torch.cat({ model.output, model.output }, -1)[":, 1:3"]
    end)
    edited:save_edits(path)
    model:load_edits(path)
    assert.is_true(torch.equal(model(x), edited(x)))
    assert.is_false(support.is_near(net(x), model(x)))
    local file = io.open(path, "w")
    file:write '{"luasight_edits":1,"edits":[{"nodes":[{"node":0,"do":"read","name":"layer9.output"}]}]}'
    file:close()
    assert.equal("unreached", failure(function() model:load_edits(path) end).code)
    file = io.open(path, "w")
    file:write "nothing"
    file:close()
    assert.equal("format", failure(function() model:load_edits(path) end).code)
    os.remove(path)
    assert.equal("io", failure(function() model:load_edits(path) end).code)
  end)

  it("have no values to ask for, and no Lua functions in files", function()
    local model = small()
    assert.matches("only recorded", failure(function()
      model:edit(function() return model.act.output:sum():item() end)
    end).message, 1, true)
    local edited = model:edit(function(tracer)
      model.act.output = tracer:apply(function(h) return h * 2 end, model.act.output)
    end)
    local x = torch.randn(1, 5)
    assert.is_false(support.is_near(model(x), edited(x)))
    assert.matches("Lua function", failure(function() edited:save_edits("/nowhere/edits") end).message, 1, true)
  end)

  -- Rules S3, S10: what is stored acts as it does in a body.
  it("keep what a backward of theirs says of its graph, and to which input it belongs", function()
    local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) }, { "c", nn.Tanh() } }
    net:requires_grad_(false)
    local model, x, y = ls.Model(net), torch.tensor { { 1, 2 } }, torch.tensor { { 3, 4 } }
    local bodies = {
      function() -- the gradient is asked for below the backward
        local h = model.a.output
        model.b.output:pow(2):sum():backward { retain_graph = true }
        model.c.output = model.c.output + h.grad
      end,
      function() -- two backwards of one graph
        local h, loss = model.a.output, model.b.output:pow(2):sum()
        loss:backward { retain_graph = true }
        local first = h.grad
        loss:backward { retain_graph = true }
        model.c.output = model.c.output + h.grad + first * 2
      end,
    }
    for k, body in ipairs(bodies) do
      local function want(v)
        return torch.tanh(net.b(net.a(v))) + torch.matmul(net.b(net.a(v)) * 2, net.b.weight) * (k == 1 and 1 or 3)
      end
      local edited = model:edit(body)
      near(want(x), edited(x))
      local one, two
      edited:trace(function(tracer)
        one = tracer:invoke(x, function() return edited.output end)
        two = tracer:invoke(y, function() return edited.output end)
      end)
      near(want(x), one:detach())
      near(want(y), two:detach())
    end
  end)
end)
