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
end)
