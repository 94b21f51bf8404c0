-- BatchNorm1d and BatchNorm2d: PyTorch's numbers in training and behind it, and what a trace does with the running ones.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local torch, nn = ls.torch, ls.nn

local x = torch.tensor { { 1, 2, -3 }, { 4, 0, 2 }, { -2, 5, 1 }, { 3, 3, 8 } }

local function state(b) return { b.running_mean:tolist(), b.running_var:tolist(), b.num_batches_tracked:item() } end

local untouched = { { 0, 0, 0 }, { 1, 1, 1 }, 0 }

describe("a batch norm", function()
  it("lets the running mean and variance follow, and computes with them behind training", function()
    local b = nn.BatchNorm1d(3)
    b(x)
    b(x * 2)
    near({ 0.435, 0.725, 0.58 }, b.running_mean)
    near({ 4.2399998, 2.9333334, 10.9366665 }, b.running_var)
    assert.equal(2, b.num_batches_tracked:item())
    b:eval()
    near({ 0.2743879, 0.7444383, -1.0825311, 1.7313149, -0.4233081, 0.4293838, -1.1825391, 2.496058, 0.1270009, 1.2456726,
      1.3283116, 2.2436817 }, b(x):flatten(), nil, "order")
    assert.equal(2, b.num_batches_tracked:item())
    b:reset_running_stats()
    assert.same(untouched, state(b))
  end)

  it("averages over all inputs where momentum is false", function()
    local b = nn.BatchNorm1d(3, { momentum = false })
    for _, by in ipairs { 1, 2, -1 } do b(x * by) end
    near({ 1, 1.6666667, 1.3333333 }, b.running_mean, nil, "order")
    near({ 14, 8.6666667, 41.3333333 }, b.running_var, nil, "order")
  end)

  it("has PyTorch's gradients", function()
    local b = nn.BatchNorm1d(3, { momentum = 0.5 })
    torch.no_grad(function()
      b.weight:copy_(torch.tensor { 1, 2, 3 })
      b.bias:copy_(torch.tensor { 0.5, 0, -1 })
    end)
    local function gradients(training)
      b:train(training):zero_grad()
      local leaf = x:clone():requires_grad_(true);
      (b(leaf) ^ 2):sum():backward()
      return leaf.grad
    end
    assert.is_true(gradients(true):abs():max():item() < 1e-4)
    near({ 7.9999852, 15.9999514, 23.9999866 }, b.weight.grad, nil, "order")
    near({ 4, 0, -8 }, b.bias.grad, nil, "order")
    near({ 0.6249991, 2.2499914, -8.4690781, 2.1249955, -3.7499862, -0.161393, -0.8749973, 11.249958, -1.8229301, 1.6249967,
      5.2499804, 9.8078289 }, gradients(false):flatten(), nil, "order")
    near({ 13.1249704, 28.8748894, 34.1232414 }, b.weight.grad, nil, "order")
  end)

  it("of images has one mean and variance for each channel", function()
    local b = nn.BatchNorm2d(3)
    local y = b((torch.arange(24):reshape(2, 3, 2, 2) % 7):float())
    near({ -1.0681024, -0.5933902, -0.1186781, 0.356034, 0.2085142, 0.7645518, 1.3205894, -2.0156362, -0.7645517, -0.2085141,
      0.3475235, 0.9035611 }, y[0]:flatten(), nil, "order")
    near({ 0.225, 0.3625, 0.2375 }, b.running_mean)
    near({ 1.4071429, 1.2696428, 1.2696428 }, b.running_var)
  end)

  it("learns as in PyTorch", function()
    local net = nn.Sequential { nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1) }
    torch.no_grad(function()
      for _, p in ipairs(net:parameters()) do p:copy_(((torch.arange(p:numel()) % 5 - 2) * 0.3):reshape(p.shape:tolist())) end
      net[1].weight:fill_(1)
    end)
    local opt = ls.optim.SGD(net:parameters(), { lr = 0.05, momentum = 0.9 })
    local loss
    for _ = 1, 20 do
      ls.scope(function()
        opt:zero_grad()
        local now = torch.mse_loss(net(x), x[":, :1"])
        now:backward()
        opt:step()
        loss = now:item()
      end)
    end
    near(0.2561735, loss, nil, "gradient")
    near({ 1.4841968, 1.0233777 }, net[1].weight, nil, "gradient")
    near({ -1.3737684, -0.7072399 }, net[1].running_mean, nil, "gradient")
    near({ 12.2971201, 27.3936882 }, net[1].running_var, nil, "gradient")
  end)

  it("has PyTorch's names for its state, and loads it into what has no memory yet", function()
    local names, from = {}, nn.BatchNorm1d(3)
    from(x)
    for name in from:named_state() do names[#names + 1] = name end
    assert.same({ "weight", "bias", "running_mean", "running_var", "num_batches_tracked" }, names)
    assert.equal("int64", from:double().num_batches_tracked.dtype)
    local to = nn.skip_init(nn.BatchNorm1d, 3)
    assert.equal("meta", to.running_var.device)
    to:load_state_dict(from:float():state_dict(), { assign = true })
    assert.same(state(from), state(to))
  end)

  it("refuses what PyTorch refuses, and then follows nothing", function()
    for _, case in ipairs {
      { nn.BatchNorm1d, { 1, 3 }, "index 1 out of range", "index" }, { nn.BatchNorm1d, { 3 }, "flatten", "index" },
      { nn.BatchNorm1d, { 2, 4 }, "should contain 4 elements not 3" },
      { nn.BatchNorm1d, { 2, 1 }, "should contain 1 elements not 3" },
      { nn.BatchNorm2d, { 3, 4, 4 }, "permute" }, { nn.BatchNorm2d, { 2, 3 }, "permute" },
      { nn.BatchNorm2d, { 1, 3, 1, 1 }, "index 1 out of range", "index" },
    } do
      local b = case[1](3)
      support.refused(case[4] or "torch", case[3], function() b(torch.rand(case[2])) end)
      assert.same(untouched, state(b))
    end
    assert.same({ 1, 3 }, nn.BatchNorm1d(3):eval()(torch.ones(1, 3)).shape:tolist())
    support.refused("argument", "eps has to be above 0 in training", function() nn.BatchNorm1d(3, { eps = 0 })(x) end)
    support.refused("argument", "momentum is a number, or false", function() nn.BatchNorm1d(3, { momentum = "a" }) end)
    support.refused("name", 'did you mean "momentum"', function() nn.BatchNorm2d(3, { momentm = 1 }) end)
  end)

  it("follows nothing in a trace, where it can be read, edited and differentiated", function()
    local b = nn.BatchNorm1d(3)
    local model = ls.Model(nn.Sequential { nn.Identity(), b })
    local grad, y = model:trace(x, function()
      local grad = model[0].output.grad;
      (model.output ^ 3):sum():backward()
      return grad, model[1].output
    end)
    local edited = model:trace(x, function()
      model[0].output[":, 0"] = x[":, 1"]
      return model.output
    end)
    assert.same(untouched, state(b))
    local leaf = x:clone():requires_grad_(true)
    local want = b(leaf);
    (want ^ 3):sum():backward()
    near(leaf.grad, grad)
    near(want, y)
    near(want[":, 1"], edited[":, 0"])
    assert.equal(1, b.num_batches_tracked:item())
  end)

  it("refuses several inputs in one batch while it takes mean and variance from them", function()
    local b = nn.BatchNorm1d(3)
    local Calls = nn.Module "Calls"
    function Calls:forward(v) return b(v) end -- luacheck: no unused args
    for _, net in ipairs { nn.Sequential { b }, Calls() } do
      local model = ls.Model(net)
      local function two()
        local one, other
        model:trace(function(tracer)
          one = tracer:invoke(x, function() return model.output end)
          other = tracer:invoke(x * 2, function() return model.output end)
        end)
        return one, other
      end
      b:train()
      support.refused("state", "several inputs cannot be one batch: BatchNorm1d computes", two)
      b:eval()
      local one, other = two()
      near(b(x), one)
      near(b(x * 2), other)
    end
  end)
end)
