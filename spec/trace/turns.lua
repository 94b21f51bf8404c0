--- Random programs that stop again and again, so that several of them can take turns in coroutines. Each does what scripts do
--- with models that all of them share: traces, invokes, generations, sessions, scopes, edits, modes of autograd. What a
--- program writes down is the same whether it runs alone or takes turns (rule S13).
local ls = require "luasight"
local new_dice = require "spec.random.dice"
local is_handle = require "luasight.tensor".is_handle
local torch, nn = ls.torch, ls.nn

local turns = {}

-- ---- models --------------------------------------------------------------------------------------------------------------

local Norm = nn.Module "TurnsNorm"
function Norm:init()
  self.mean, self.var, self.total = nn.Buffer(torch.zeros(3)), nn.Buffer(torch.ones(3)), nn.Buffer(torch.zeros(3))
end
function Norm:forward(x)
  local y = nn.tap("normed", torch.batch_norm(x, nil, nil, self.mean, self.var, self.training, 0.5, 1e-5, false))
  return y + nn.tap("seen", self.total:add_(x:detach():mean(0)))
end

---Makes the models that programs share: a network whose forward changes three buffers, one that changes nothing, and the
---language model in the box, for generations.
---@return table
function turns.models()
  torch.manual_seed(3)
  local changing = nn.Sequential { { "a", nn.Linear(3, 3) }, { "b", Norm() }, { "c", nn.Linear(3, 3) } }
  local plain = nn.Sequential { { "a", nn.Linear(3, 3) }, { "b", nn.Tanh() }, { "c", nn.Linear(3, 3) } }
  changing:requires_grad_(false)
  changing:train()
  return { ls.Model(changing), ls.Model(plain), text = ls.LanguageModel "models/pretrained/ioi",
    state = function()
      local b = changing.b
      return tostring(torch.stack { b.mean, b.var, b.total })
    end }
end

-- ---- statements ------------------------------------------------------------------------------------------------------------

---@class Turns  a program that runs
---@field dice table     what it does next
---@field models table
---@field pause fun()    stops; does nothing where the program runs alone
---@field log string[]   what it has seen so far
---@field depth integer  how many of its statements are inside each other
---@field in_session boolean?
---@field without_grad boolean?
local Turns = {}
Turns.__index = Turns

function Turns:write(what, v)
  if is_handle(v) then
    local numbers = {}
    for i, x in ipairs(v:flatten():tolist()) do numbers[i] = ("%.3f"):format(x + 0):gsub("^%-(0%.000)$", "%1") end
    v = tostring(v.shape) .. " " .. table.concat(numbers, " ")
  end
  self.log[#self.log + 1] = what .. ": " .. tostring(v)
end

function Turns:input() return torch.full({ 2, 3 }, self.dice:between(1, 9)) * torch.tensor { { 1, -1, 2 }, { 0.5, 3, 1 } } end
function Turns:factor() return self.dice:between(2, 5) / 4 end

function Turns:model() return self.models[self.dice:between(1, 2)] end

---Does something small, and stops: between the statements of a body.
function Turns:between(model)
  local which = self.dice:between(1, 5)
  if which == 1 and model then self:write("demand", model.a.output:sum():item()) end
  if which == 2 then self:write("grad mode", torch.is_grad_enabled()) end
  if which == 3 then self:write("tensor", torch.ones(2) * self:factor()) end
  if which == 4 and self.depth < 3 then self:statement() end
  self.pause()
end

---The body of a trace: an edit, a value that comes back.
function Turns:body(model)
  return function()
    self:between(model)
    if self.dice:chance(0.6) then model.a.output = model.a.output * self:factor() end
    self:between()
    if self.dice:chance(0.4) then model.b.output[":, 0"] = self:factor() end
    local out = self.dice:chance(0.5) and model.output or model.c.input[0][0] * 2
    self:between()
    return out
  end
end

local statements, prompts = {}, { "hot : cold , big :", "When Mary and John went to the store" }

function statements:trace()
  local model = self:model()
  self:write("trace", model:trace(self:input(), self:body(model)))
end

function statements:invokes()
  local model, one, two = self:model(), nil, nil
  model:trace(function(tracer)
    one = tracer:invoke(self:input(), self:body(model))
    self:between()
    two = tracer:invoke(self:input(), self:body(model))
  end)
  self:write("invoke", one)
  self:write("invoke", two)
end

function statements:nested()
  local model, other = self:model(), self:model()
  local inner
  self:write("outer", model:trace(self:input(), function()
    local h = model.a.output * self:factor()
    inner = other:trace(self:input(), self:body(other))
    self:between()
    model.a.output = h + inner
    return model.output
  end))
  self:write("inner", inner)
end

function statements:apply()
  local model, other = self:model(), self:model()
  self:write("apply", model:trace(self:input(), function(tracer)
    local h = tracer:apply(function(v)
      self:between()
      return other:trace(v, self:body(other))
    end, model.a.output)
    if self.dice:chance(0.5) then self:write("applied", h:sum():item()) end
    model.b.input = h
    return model.output
  end))
end

function statements:session()
  local model, other, h, out = self:model(), self:model(), nil, nil
  local outer = self.in_session
  self.in_session = true
  ls.session(function()
    model:trace(self:input(), function() h = model.a.output * self:factor() end)
    self:between()
    other:trace(self:input(), function()
      other.a.output = other.a.output + h
      self:between()
      out = other.output:save()
    end)
    self:between()
  end)
  self.in_session = outer
  self:write("session", out)
end

function statements:scope()
  local inside
  self:write("scope", ls.scope(function()
    inside = torch.ones(2) * self:factor()
    self:between()
    return inside + 1
  end))
  self:write("scope", tostring(inside))
end

function statements:mode()
  local on = self.dice:chance(0.5)
  local w = torch.ones(2, { requires_grad = true })
  local outer = self.without_grad
  self.without_grad = outer or not on
  torch[on and "enable_grad" or "no_grad"](function()
    self:between()
    self:write("records", (w * 2).requires_grad)
    self:between()
    self:write("network records", self.models[2](self:input()).requires_grad)
  end)
  self.without_grad = outer
end

function statements:backward()
  local w = torch.ones(3, { requires_grad = true })
  torch.enable_grad(function()
    local loss = (w * self:input() * self:factor()):pow(2)
    self:between()
    loss:sum():backward()
  end)
  self:write("gradient", w.grad)
end

function statements:gradient()
  if self.without_grad then return end -- as in PyTorch, nothing is recorded for a backward there
  local model = self:model()
  self:write("grad", model:trace(self:input(), function()
    local h = model.a.output
    local g = h.grad
    self:between()
    if self.dice:chance(0.4) then h.grad = h.grad * self:factor() end
    local loss = model.output:pow(2):sum()
    self:between()
    loss:backward()
    self:between()
    return g
  end))
end

function statements:edit()
  local model = self:model()
  local factor = self:factor()
  local edited = model:edit(function()
    self:between()
    model.a.output = model.a.output * factor
    self.pause()
  end)
  self:between()
  self:write("edited", edited:trace(self:input(), self:body(edited)))
  self:write("not edited", model:trace(self:input(), self:body(model)))
end

function statements:open()
  local model = self:model()
  local t = model:tracer(self:input())
  local h = (model.a.output * self:factor()):save()
  self.pause()
  if self.dice:chance(0.5) then self:write("open", h:sum():item()) end
  self.pause()
  model.b.input = h
  local out = model.output:save()
  self.pause()
  if self.dice:chance(0.2) then return t:abandon() end
  t:run()
  self:write("open", h)
  self:write("open", out)
end

function statements:scan()
  local model = self:model()
  self:write("scan", tostring(model:scan(self:input(), function()
    self.pause()
    return (model.a.output[":, 0"] + torch.ones(2, { device = "meta" })).shape
  end)))
  self:write("ones", torch.ones(2) + 1)
end

function statements:generate()
  local model, seen = self.models.text, {}
  local edited = self.dice:between(0, 2)
  self:write("ids", model:generate(self.dice:of(prompts), { max_new_tokens = 3, eos_token_id = false }, function(tracer)
    for step in tracer:all() do
      self.pause()
      if step == edited then model.transformer.h[0].output[0][":"] = self:factor() end
      seen[step] = model.lm_head.output["0, -1, :3"]:save()
      if step == 1 and self.dice:chance(0.3) then self:write("step", seen[0]:sum():item()) end
    end
    return model.generator.output
  end))
  for step = 0, 2 do self:write("logits", seen[step]) end
end

function statements:stream()
  local model = self.models.text
  if self.dice:chance(0.5) then
    local factor = self:factor()
    model = model:edit(function() model.transformer.h[1].output[0][":"] = factor end)
  end
  for token in model:stream(self.dice:of(prompts), { max_new_tokens = 3, eos_token_id = false }) do
    self:write("token", token)
    self:between()
  end
end

function statements:failure()
  if self.in_session then return end -- a session fails with its traces
  local model = self:model()
  local ok, problem = pcall(model.trace, model, self:input(), function()
    self:between(model)
    if self.dice:chance(0.5) then error("mine", 0) end
    return model.a.output:reshape(7)
  end)
  self:write("failed", ok or type(problem) == "table" and problem.code or problem)
end

---Begins something in a coroutine that is never resumed.
function statements:abandoned()
  local model, which, x = self:model(), self.dice:between(1, 5), self:input()
  coroutine.wrap(function()
    local function leave() coroutine.yield() end
    if which == 1 then model:trace(x, leave)
    elseif which == 2 then ls.session(leave)
    elseif which == 3 then ls.scope(leave)
    elseif which == 4 then torch.no_grad(leave)
    else model:edit(leave) end
  end)()
  if self.dice:chance(0.3) then collectgarbage() end
end

local names = {}
for name in pairs(statements) do names[#names + 1] = name end
table.sort(names)

function Turns:statement()
  self.depth = self.depth + 1
  statements[self.dice:of(names)](self)
  self.depth = self.depth - 1
end

-- ---- programs ------------------------------------------------------------------------------------------------------------

---Returns the program of a seed as a function, and the list to which it writes.
---@param seed integer
---@param models table
---@param pause fun()
---@return fun() program, string[] log
function turns.program(seed, models, pause)
  local one = setmetatable({ dice = new_dice(seed), models = models, pause = pause, log = {}, depth = 0 }, Turns)
  return function()
    for _ = 1, one.dice:between(1, 4) do
      one:statement()
      pause()
    end
  end, one.log
end

---Runs programs by turns, in an order that `seed` decides.
---@param programs fun()[]
---@param seed integer
function turns.interleave(programs, seed)
  local dice, waiting = new_dice(seed), {}
  for i, program in ipairs(programs) do waiting[i] = coroutine.create(program) end
  while #waiting > 0 do
    local i = dice:between(1, #waiting)
    local ok, problem = coroutine.resume(waiting[i])
    if not ok then error(("%s\n%s"):format(tostring(problem), debug.traceback(waiting[i])), 0) end
    if coroutine.status(waiting[i]) == "dead" then table.remove(waiting, i) end
  end
end

return turns
