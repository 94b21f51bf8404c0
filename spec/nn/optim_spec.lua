-- Optimizers follow PyTorch's paths (spec/reference/optim.json).
local json = require "cjson"
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local torch, optim = ls.torch, ls.optim

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return json.decode(text)
end

local reference = read "spec/reference/optim.json"

local function problem()
  local f64 = { dtype = "float64" }
  local w = torch.tensor(reference.W, { dtype = "float64", requires_grad = true })
  local b = torch.tensor(reference.B, { dtype = "float64", requires_grad = true })
  local x, c = torch.tensor(reference.X, f64), torch.tensor(reference.C, f64)
  return { w, b }, function() return ((x:matmul(w) + b) ^ 2 * c):sum() + (w ^ 4):sum() end
end

local function advance(params, loss, opt, case, schedule)
  opt:zero_grad()
  loss():backward()
  local norm = case.clip and optim.clip_grad_norm(params, case.clip)
  local rate = opt.lr
  opt:step()
  if schedule then schedule:step() end
  return rate, norm
end

local function check_path(params, want)
  local got = params[1]:flatten():tolist()
  for _, v in ipairs(params[2]:tolist()) do got[#got + 1] = v end
  near(want, got, nil, "float64", 1)
end

describe("an optimizer", function()
  for i, case in ipairs(reference.cases) do
    it(("follows PyTorch's path: %s, case %d"):format(case.optimizer, i), function()
      local params, loss = problem()
      local opt = optim[case.optimizer](params, case.options)
      local schedule = case.cosine and optim.cosine(opt, case.cosine)
      for step = 1, 20 do
        local rate, norm = advance(params, loss, opt, case, schedule)
        near(case.rates[step], rate, nil, "float64", 1)
        if norm then near(case.norms[step], norm, nil, "float64", 1) end
        check_path(params, case.path[step])
      end
    end)
  end

  it("goes on from its state as if never stopped", function()
    for _, case in ipairs(reference.cases) do
      if not case.cosine then
        local params, loss = problem()
        local opt = optim[case.optimizer](params, case.options)
        for _ = 1, 10 do advance(params, loss, opt, case) end
        local copies, again = problem()
        torch.no_grad(function()
          for i, p in ipairs(copies) do p:copy_(params[i]) end
        end)
        local other = optim[case.optimizer](copies, case.options)
        other.lr = 123
        other:load_state_dict(opt:state_dict())
        for step = 11, 20 do
          advance(copies, again, other, case)
          check_path(copies, case.path[step])
        end
      end
    end
  end)

  it("gives a state that later steps leave as it is", function()
    local w = torch.zeros(1, { requires_grad = true })
    local opt = optim.SGD({ w }, { lr = 1, momentum = 0.5 })
    w.grad = torch.ones(1)
    opt:step()
    local state = opt:state_dict()
    opt:step()
    assert.equal(1, state["momentum_buffer.0"]:item())
    opt:load_state_dict(state)
    opt:step()
    assert.same({ 1.5, 1.5 }, { opt:state_dict()["momentum_buffer.0"]:item(), state["momentum_buffer.0"]:item() + 0.5 })
  end)

  it("leaves parameters without gradient alone and counts their steps apart", function()
    local a, b = torch.ones(2, { requires_grad = true }), torch.ones(2, { requires_grad = true })
    local opt = optim.AdamW({ a, b }, { lr = 0.1, weight_decay = 0 })
    a:sum():backward()
    opt:step()
    assert.same({ 1, 1 }, b:tolist())
    opt:zero_grad()
    assert.is_nil(a.grad)
    b:sum():backward()
    opt:step()
    assert.same(a:tolist(), b:tolist())
    assert.same({ 1, 1 }, opt:state_dict().step:tolist())
  end)

  it("takes its learning rate as a field", function()
    local w = torch.ones(1, { requires_grad = true })
    local opt = optim.SGD({ w }, { lr = 1 })
    opt.lr = 0.5
    w:sum():backward()
    opt:step()
    assert.equal(0.5, w:item())
  end)

  it("refuses what it does not know", function()
    local w = torch.ones(1, { requires_grad = true })
    for wrong, code in pairs {
      [function() optim.SGD({}, {}) end] = "argument", [function() optim.SGD({ 1 }) end] = "argument",
      [function() optim.SGD({ w }, { lrr = 1 }) end] = "name",
      [function() optim.AdamW({ w }, { betas = 0.9 }) end] = "argument",
      [function() optim.cosine(optim.SGD { w }, {}) end] = "argument",
    } do
      local ok, err = pcall(wrong)
      assert.is_false(ok)
      assert.equal(code, err.code)
      assert.matches("optim_spec.lua$", err.file)
    end
    local opt = optim.AdamW { w }
    local ok, err = pcall(function() opt:load_state_dict { step = torch.tensor { 1, 2 }, lr = torch.tensor(1) } end)
    assert.is_false(ok)
    assert.equal("format", err.code)
  end)

  it("clips only what is too long", function()
    local w = torch.tensor({ 3, 4 }, { requires_grad = true })
    w.grad = torch.tensor { 3, 4 }
    near(5, optim.clip_grad_norm({ w }, 10))
    assert.same({ 3, 4 }, w.grad:tolist())
    optim.clip_grad_norm({ w }, 1)
    near(1, w.grad:norm():item())
    assert.equal(0, optim.clip_grad_norm({ torch.ones(1) }, 1))
  end)

  it("case 8.9: clip_grad_norm refuses what is no list of tensors, and takes one tensor", function()
    local net = ls.nn.Linear(2, 1)
    support.refused("argument", "pass net:parameters()", function() optim.clip_grad_norm(net, 1) end)
    for _, wrong in ipairs { 1, "a", { 1 }, { net } } do
      support.refused("argument", "optim.clip_grad_norm", function() optim.clip_grad_norm(wrong, 1) end)
    end
    for _, max in ipairs { -1, 0 / 0, "1" } do
      support.refused("argument", "max is a number from 0 on", function() optim.clip_grad_norm({ net.weight }, max) end)
    end
    net.weight.grad = torch.tensor { { 3, 4 } }
    near(5, optim.clip_grad_norm(net.weight, 1))
    near(1, net.weight.grad:norm():item())
    near(7 / 5, optim.clip_grad_norm(net.weight, 1, { norm_type = 1 }))
    net.weight.grad:fill_(math.huge)
    support.refused("argument", "inf", function() optim.clip_grad_norm(net.weight, 1, { error_if_nonfinite = true }) end)
  end)

  it("case 8.9: options out of range are refused, also those set later", function()
    local w = torch.ones(1, { requires_grad = true })
    for _, case in ipairs {
      { "SGD", { lr = -1 } }, { "SGD", { lr = 0 / 0 } }, { "SGD", { lr = torch.tensor(1) } }, { "SGD", { momentum = -0.1 } },
      { "SGD", { weight_decay = -1 } }, { "SGD", { nesterov = true } }, { "SGD", { dampening = "a" } },
      { "SGD", { nesterov = true, momentum = 0.9, dampening = 0.1 } }, { "AdamW", { lr = -1 } }, { "AdamW", { eps = -1e-8 } },
      { "AdamW", { betas = { 1, 0.9 } } }, { "AdamW", { betas = { 0.9, -0.1 } } }, { "AdamW", { betas = { 0.9 } } },
      { "AdamW", { betas = { 0.9, 0.9, 0.9 } } }, { "AdamW", { betas = { 0.9, 0 / 0 } } }, { "AdamW", { weight_decay = -1 } },
    } do
      support.refused("argument", case[1], function() optim[case[1]]({ w }, case[2]) end)
    end
    local opt = optim.AdamW { w }
    support.refused("name", 'did you mean "lr"', function() opt.lrr = 1 end)
    opt.lr = -1
    support.refused("argument", "AdamW: lr is a number from 0 on, not -1", function() opt:step() end)
    for _, wrong in ipairs { { steps = 1.5 }, { steps = 3, warmup = -1 }, { steps = 3, warmup = 4 },
      { steps = 3, min_lr = -1 } } do
      support.refused("argument", "optim.cosine", function() optim.cosine(optim.SGD { w }, wrong) end)
    end
    support.refused("argument", "takes an optimizer", function() optim.cosine({}, { steps = 1 }) end)
  end)

  it("case 8.9: parameters that are no leaves, twice there or no tensors are refused", function()
    local w = torch.ones(1, { requires_grad = true })
    local twice = w * 2
    support.refused("argument", "parameter 1 is no leaf", function() optim.SGD { twice } end)
    twice:retain_grad()
    assert.equal(1, #optim.SGD { twice }.params)
    support.refused("argument", "parameters 1 and 2 are the same tensor", function() optim.SGD { w, w } end)
    support.refused("argument", "there are no groups of parameters", function() optim.SGD { { params = { w } } } end)
    support.refused("argument", "complex", function() optim.AdamW { torch.ones(1, { dtype = "complex64" }) } end)
  end)

  it("case 8.9: a state without the moments of what was updated is refused, and one of another dtype is converted", function()
    local w = torch.ones(2, { requires_grad = true })
    local opt = optim.AdamW { w }
    w.grad = torch.ones(2)
    opt:step()
    local state = opt:state_dict()
    for _, without in ipairs { "exp_avg.0", "exp_avg_sq.0", "step", "lr" } do
      local less = opt:state_dict()
      less[without] = nil
      support.refused("format", without == "step" and "no step" or without == "lr" and "no lr" or without, function()
        optim.AdamW({ w }):load_state_dict(less)
      end)
    end
    for name, wrong in pairs { step = torch.tensor { -1 }, lr = torch.tensor(-1), ["exp_avg.0"] = 3 } do
      local other = opt:state_dict()
      other[name] = wrong
      support.refused("format", name:match "%a+", function() optim.AdamW({ w }):load_state_dict(other) end)
    end
    support.refused("format", "max_exp_avg_sq.0", function()
      optim.AdamW({ w }, { amsgrad = true }):load_state_dict(state)
    end)
    local double = torch.ones(2, { dtype = "float64", requires_grad = true })
    local other = optim.AdamW { double }
    other:load_state_dict(state)
    assert.equal("float64", other:state_dict()["exp_avg.0"].dtype)
  end)

  it("AdamW changes nothing where one of the parameters cannot be updated", function()
    local w, other = torch.ones(2, { requires_grad = true }), torch.ones(3, 2, { requires_grad = true })
    local net = ls.nn.Identity()
    net.weight = ls.nn.Parameter(torch.ones(2))
    local opt = optim.AdamW({ w, other, net.weight }, { lr = 0.1 })
    w.grad, net.weight.grad = torch.ones(2), torch.ones(2)
    opt:step()
    net:to "float64"
    local before = w:tolist()
    support.refused("argument", "parameter 3 is float64 on cpu now, but its state is float32", function() opt:step() end)
    assert.same({ before, { 1, 0, 1 } }, { w:tolist(), opt.steps })
    opt:load_state_dict(opt:state_dict())
    opt:step()
    near(w, net.weight:float())
    before = w:tolist()
    torch.embedding(other, torch.tensor({ 0 }, { dtype = "int64" }), -1, false, true):sum():backward()
    support.refused("argument", "the gradient of parameter 2 is sparse", function() opt:step() end)
    assert.same({ before, { 2, 0, 2 } }, { w:tolist(), opt.steps })
  end)

  it("case 4.2: keeps its state where ls.scope stands around each step", function()
    for name, options in pairs { AdamW = { lr = 0.1, amsgrad = true }, SGD = { lr = 0.1, momentum = 0.9 } } do
      local plain, scoped = torch.ones(2, { requires_grad = true }), torch.ones(2, { requires_grad = true })
      local one, other = optim[name]({ plain }, options), optim[name]({ scoped }, options)
      local function step(w, opt)
        opt:zero_grad();
        (w ^ 3):sum():backward()
        opt:step()
      end
      for _ = 1, 3 do
        step(plain, one)
        ls.scope(step, scoped, other)
      end
      ls.scope(function() other:load_state_dict(other:state_dict()) end)
      step(plain, one)
      ls.scope(ls.scope, step, scoped, other)
      assert.same(plain:tolist(), scoped:tolist())
      other:state_dict()
    end
  end)

  it("fills gradients with 0 where told, and takes a closure", function()
    local w = torch.ones(1, { requires_grad = true })
    local opt = optim.SGD({ w }, { lr = 1 })
    local loss = torch.no_grad(function()
      return opt:step(function()
        local loss = (w * 3):sum()
        loss:backward()
        return loss
      end)
    end)
    assert.equal(3, loss:item())
    assert.equal(-2, w:item())
    opt:zero_grad { set_to_none = false }
    assert.same({ 0 }, w.grad:tolist())
    support.refused("argument", "takes a function", function() opt:step(1) end)
  end)
end)
