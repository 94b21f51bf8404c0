-- Random forwards: a module that is recorded gives what the same Lua function gives on tensors, call after call, while its
-- parameters, buffers and fields change. Each forward is a list of steps that a seed makes; the steps mix inputs, parameters,
-- buffers, constants, random numbers, no_grad and edits in place.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local near = require "spec.support".near

-- A generator of its own, so that a seed gives the same forward everywhere.
local function generator(seed)
  local state = seed * 2654435761 % 2 ^ 32
  return function(n) -- a whole number from 1 to n
    state = (state * 1664525 + 1013904223) % 2 ^ 32
    return math.floor(state / 2 ^ 32 * n) + 1
  end
end

-- Each kind of step makes, from numbers that it draws once, a function of the module and the registers `r`; the function
-- returns a new value [2, 2].
local kinds = {
  function(draw) -- an operator on one value
    local from, which = draw(99), draw(5)
    return function(_, pick)
      local v = pick(from)
      if which == 1 then return v:tanh() end
      if which == 2 then return v:t() * 2 end
      if which == 3 then return v - 0.5 end
      if which == 4 then return v["0"] + v[":, 1"]:unsqueeze(1) end
      return v:reshape(v:size(0) * v:size(1)):view(2, 2)
    end
  end,
  function(draw) -- an operator on two values
    local from, other, which = draw(99), draw(99), draw(3)
    return function(_, pick)
      local a, b = pick(from), pick(other)
      if which == 1 then return a + b end
      if which == 2 then return (a * b):tanh() end
      return torch.cat({ a, b }, 0)["1:3"]
    end
  end,
  function(draw) -- an expression of parameters alone
    local which = draw(4)
    return function(self)
      if which == 1 then return self.w:t() * self.scale end
      if which == 2 then return self.w:exp() end
      if which == 3 then return self.line(self.w) end
      return self.w * self.scale:tanh()
    end
  end,
  function(draw) -- a buffer that is changed, beside autograd
    local from, which = draw(99), draw(3)
    return function(self, pick)
      local v = pick(from)
      torch.no_grad(function()
        if which == 1 then self.mean:mul_(0.5):add_(v:mean() * 0.5) end
        if which == 2 then self.mean["0"]:add_(v:detach()[1]) end
        if which == 3 then self.mean[1] = v["0"] * 0.25 end
      end)
      return self.mean * 1
    end
  end,
  function(draw) -- a constant
    local which = draw(5)
    return function(self)
      if which == 1 then return torch.ones(2, 2):mul_(0.5) end
      if which == 2 then return torch.tensor { { 1, 2 }, { 3, 4 } } end
      if which == 3 then return torch.arange(4):float():view(2, 2) end
      if which == 4 then return torch.full({ 2, 2 }, self.o.s) end
      return self.fixed + self.s
    end
  end,
  function(draw) -- random numbers
    local which, from = draw(3), draw(99)
    return function(_, pick)
      if which == 1 then return torch.rand(2, 2) end
      if which == 2 then return torch.randn_like(pick(from)) end
      return torch.dropout(pick(from), 0.5, true)
    end
  end,
  function(draw) -- what autograd does not see
    local from, which = draw(99), draw(3)
    return function(self, pick)
      return torch.no_grad(function()
        if which == 1 then return pick(from) * 3 end
        if which == 2 then return self.line(pick(from)) end
        return torch.enable_grad(function() return pick(from) * self.w end)
      end)
    end
  end,
  function(draw) -- an edit in place of a copy
    local from, other, which = draw(99), draw(99), draw(3)
    return function(_, pick)
      local v, by = pick(from):clone(), pick(other)
      if which == 1 then v:add_(by) end
      if which == 2 then v["0"] = by["1"] end
      if which == 3 then v[":, 0"]:mul_(2) end
      return v
    end
  end,
  function(draw) -- a child, also on a constant
    local from, which = draw(99), draw(2)
    return function(self, pick) return self.line(which == 1 and pick(from) or torch.ones(2, 2)) end
  end,
}

local upvalue = 1

---Makes a class whose forward is that of a seed.
local function class_of(seed)
  local draw, steps = generator(seed), {}
  for i = 1, 3 + draw(6) do steps[i] = kinds[draw(#kinds)](draw) end
  local Random = nn.Module "Random"
  function Random:init()
    self.w, self.scale = nn.Parameter(torch.randn(2, 2)), nn.Parameter(torch.randn(1))
    self.mean, self.line = nn.Buffer(torch.randn(2, 2)), nn.Linear(2, 2)
    self.fixed, self.s, self.o = torch.randn(2, 2), 2, { s = 0.5 }
  end
  function Random:forward(x)
    local values = { x }
    local function pick(from) return values[from % #values + 1] end
    for i = 1, #steps do values[i + 1] = steps[i](self, pick) end
    local sum = values[#values] * upvalue
    for i = 1, #values - 1 do sum = sum + values[i] * 0.5 end
    return sum
  end
  return Random
end

---Sets what a script may change between two calls.
local function change(net, call)
  torch.no_grad(function()
    net.w:add_(0.1 * call)
    net.mean:mul_(0.9)
  end)
  if call == 2 then net.o.s = 1.5 end
  if call == 3 then net.s = 3 end
  upvalue = call
end

---Calls `f` under a seed with an input; returns the result, and the gradients of its sum.
local function outcome(net, f, call)
  torch.manual_seed(call)
  local x = (torch.arange(4):float():view(2, 2) * 0.1):requires_grad_()
  local out, list = f(x), {}
  net:zero_grad()
  if out.requires_grad then out:sum():backward() end
  for name, p in net:named_parameters() do list[name] = p.grad end
  list.x, list.mean, list.out = x.grad, net.mean:clone(), out:detach()
  return list
end

local function compare(seed, call, want, got)
  for _, name in ipairs { "out", "mean", "x", "w", "scale", "line.weight", "line.bias" } do
    local what = ("seed %d, call %d: %s"):format(seed, call, name)
    assert.equal(type(want[name]), type(got[name]), what)
    if want[name] ~= nil then near(want[name], got[name], what) end
  end
end

describe("a random forward", function()
  it("gives at each call what its function gives on tensors", function()
    for seed = 1, tonumber(os.getenv "LUASIGHT_FORWARDS" or 60) do
      local Random = class_of(seed)
      local recorded, plain = Random(), Random()
      plain:load_state_dict(recorded:state_dict())
      plain.fixed = recorded.fixed
      for call = 1, 3 do
        change(plain, call)
        change(recorded, call)
        local want = outcome(plain, function(x) return Random.forward(plain, x) end, call)
        compare(seed, call, want, outcome(recorded, recorded, call))
      end
      local model, before = ls.Model(recorded), recorded.mean:clone()
      torch.manual_seed(9)
      local x = torch.ones(2, 2)
      local traced = model:trace(x, function() return model.output end)
      near(before, recorded.mean, ("seed %d: a trace changes a buffer"):format(seed))
      torch.manual_seed(9)
      near(Random.forward(plain, x), traced, ("seed %d: a trace"):format(seed))
    end
  end)
end)
