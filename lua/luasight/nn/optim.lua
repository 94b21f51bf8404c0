--- Optimizers, a schedule of learning rates, and gradient clipping; they compute the same numbers as PyTorch.
local binding = require "luasight.ffi"
local check_list = require "luasight.base.list".check
local operators = require "luasight.tensor.operators"
local options_of = require "luasight.base.options"
local torch = require "luasight.tensor.torch"

---@class luasight.optim
local optim = {}

local function op(name, ...) return operators.call(operators.get(name), ...) end

-- ---- what all optimizers share ---------------------------------------------------------------------------------------

---@class luasight.Optimizer  updates parameters from their gradients
---@field lr number  the learning rate, which may be set at any time
---@field params ffi.cdata*[]
---@field buffers table<string, table<integer, ffi.cdata*>>  state such as the momentum: by name, then by parameter's position
---@field steps table<integer, integer>  how often each parameter has been updated

local function read_options(name, given, defaults)
  local options, kinds = {}, {}
  for key, value in pairs(defaults) do options[key], kinds[key] = value, type(value) end
  for key, value in pairs(options_of.read(name, given, kinds)) do options[key] = value end
  return options
end

local function new(class, params, options)
  if type(params) ~= "table" or next(params) == nil then
    binding.raise("argument", ("%s needs a list of parameters"):format(class.name), { hint = "pass net:parameters()" })
  end
  local self = setmetatable({ params = {}, buffers = {}, steps = {} }, class)
  for i = 1, check_list(class.name, params) do
    local p = params[i]
    if not torch.is_tensor(p) then
      binding.raise("argument", ("%s: parameter %d is a %s, not a tensor"):format(class.name, i, type(p)))
    end
    self.params[i], self.steps[i] = p, 0
  end
  for name, value in pairs(read_options(class.name, options, class.defaults)) do self[name] = value end
  for _, name in ipairs(class.buffer_names) do self.buffers[name] = {} end
  return self
end

local methods = {}

---Sets the gradients of all parameters of the optimizer to nil.
function methods:zero_grad()
  for _, p in ipairs(self.params) do p.grad = nil end
end

---Returns the parameters that have a gradient, in groups: the parameters of one group have been updated equally often. Each
---group has lists of its parameters, their positions and their gradients.
local function groups(self)
  local by_step, order = {}, {}
  for i, p in ipairs(self.params) do
    local grad = p.grad
    if type(grad) ~= "nil" then
      local step = self.steps[i]
      local group = by_step[step]
      if not group then
        group = { step = step, places = {}, params = {}, grads = {} }
        by_step[step], order[#order + 1] = group, group
      end
      local n = #group.places + 1
      group.places[n], group.params[n], group.grads[n] = i, p, grad
    end
  end
  return order
end

---Updates all parameters that have a gradient, once.
function methods:step()
  torch.no_grad(function()
    for _, group in ipairs(groups(self)) do
      self:_update(group)
      for _, i in ipairs(group.places) do self.steps[i] = group.step + 1 end
    end
  end)
end

---Returns for each parameter of a group the optimizer's tensor called `name`, such as the momentum. Where a parameter has none
---yet, `first(gradient)` makes it.
local function buffers_of(self, name, group, first)
  local all, list = self.buffers[name], {}
  for n, i in ipairs(group.places) do
    if not all[i] then all[i] = first(group.grads[n]) end
    list[n] = all[i]
  end
  return list
end

---Returns the state of the optimizer, with which training can continue later, as tensors by name: "step", "exp_avg.0", ...
---@return table<string, ffi.cdata*>
function methods:state_dict()
  local state = {
    step = torch.tensor(self.steps, { dtype = "int64" }),
    lr = torch.tensor(self.lr, { dtype = "float64" }),
  }
  for name, list in pairs(self.buffers) do
    for i, buffer in pairs(list) do state[("%s.%d"):format(name, i - 1)] = buffer end
  end
  return state
end

local function refuse(self, message) binding.raise("format", ("%s:load_state_dict: %s"):format(self.name, message)) end

local function check_state(self, state)
  if type(state.step) == "nil" or type(state.lr) == "nil" then refuse(self, "the state has no step or no lr") end
  if state.step:numel() ~= #self.params then
    refuse(self, ("the state belongs to %d parameters, but this optimizer has %d"):format(state.step:numel(), #self.params))
  end
  for key, value in pairs(state) do
    local name, i = key:match "^(.*)%.(%d+)$"
    if name then
      local p = self.buffers[name] and self.params[tonumber(i) + 1]
      if not p then refuse(self, ("this optimizer has no state of the name %q"):format(key)) end
      local have, want = tostring(value.shape), tostring(p.shape)
      if have ~= want then refuse(self, ("%q has shape %s, but its parameter has shape %s"):format(key, have, want)) end
    elseif key ~= "step" and key ~= "lr" then
      refuse(self, ("this optimizer has no state of the name %q"):format(tostring(key)))
    end
  end
end

---Sets the optimizer to a state that `state_dict` returned; the tensors are copied.
---@param state table<string, ffi.cdata*>
function methods:load_state_dict(state)
  check_state(self, state)
  self.steps, self.lr = state.step:tolist(), state.lr:item()
  for name in pairs(self.buffers) do self.buffers[name] = {} end
  for key, value in pairs(state) do
    local name, i = key:match "^(.*)%.(%d+)$"
    if name then self.buffers[name][tonumber(i) + 1] = value:detach():clone() end
  end
end

local function class(name, defaults, buffer_names)
  local c = { name = name, defaults = defaults, buffer_names = buffer_names }
  c.__index = setmetatable({ name = name }, { __index = methods })
  c.__tostring = function(self) return ("%s (lr = %g, %d parameters)"):format(name, self.lr, #self.params) end
  return c
end

-- ---- SGD -------------------------------------------------------------------------------------------------------------

local SGD = class("SGD", { lr = 1e-3, momentum = 0, weight_decay = 0, nesterov = false }, { "momentum_buffer" })

---Makes an optimizer for stochastic gradient descent.
---@param params ffi.cdata*[]
---@param options { lr: number?, momentum: number?, weight_decay: number?, nesterov: boolean? }?
---@return luasight.Optimizer
function optim.SGD(params, options) return new(SGD, params, options) end

-- Adds the gradients of a group to the momentum of its parameters. Returns for each parameter the tensor that the
-- update subtracts from it, times the learning rate. At the first update of a parameter, its momentum is its gradient.
local function momentum(self, group, grads)
  local name = "momentum_buffer"
  if group.step == 0 then
    local fresh = { places = group.places, grads = grads }
    local list = buffers_of(self, name, fresh, function(g) return op("clone", g) end)
    if not self.nesterov then return list end
    return op("_foreach_add", grads, list, { alpha = self.momentum }):tolist()
  end
  local list = buffers_of(self, name, group, function(g) return op("zeros_like", g) end)
  op("_foreach_mul_", list, self.momentum)
  op("_foreach_add_", list, grads)
  if not self.nesterov then return list end
  return op("_foreach_add", grads, list, { alpha = self.momentum }):tolist()
end

function SGD.__index:_update(group)
  local grads = group.grads
  if self.weight_decay ~= 0 then
    grads = op("_foreach_add", grads, group.params, { alpha = self.weight_decay }):tolist()
  end
  if self.momentum ~= 0 then grads = momentum(self, group, grads) end
  op("_foreach_add_", group.params, grads, { alpha = -self.lr })
end

-- ---- AdamW -----------------------------------------------------------------------------------------------------------

local AdamW = class("AdamW", { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.01 },
  { "exp_avg", "exp_avg_sq" })

---Makes an optimizer for Adam with decoupled weight decay.
---@param params ffi.cdata*[]
---@param options { lr: number?, betas: number[]?, eps: number?, weight_decay: number? }?
---@return luasight.Optimizer
function optim.AdamW(params, options) return new(AdamW, params, options) end

local function zeros(g) return op("zeros_like", g) end

function AdamW.__index:_update(group)
  local first, second = buffers_of(self, "exp_avg", group, zeros), buffers_of(self, "exp_avg_sq", group, zeros)
  local beta1, beta2 = self.betas[1], self.betas[2]
  local step = group.step + 1
  if self.weight_decay ~= 0 then op("_foreach_mul_", group.params, 1 - self.lr * self.weight_decay) end
  op("_foreach_mul_", first, beta1)
  op("_foreach_add_", first, group.grads, { alpha = 1 - beta1 })
  op("_foreach_mul_", second, beta2)
  op("_foreach_addcmul_", second, group.grads, group.grads, 1 - beta2)
  local denominators = op("_foreach_sqrt", second):tolist()
  op("_foreach_div_", denominators, math.sqrt(1 - beta2 ^ step))
  op("_foreach_add_", denominators, self.eps)
  op("_foreach_addcdiv_", group.params, first, denominators, -self.lr / (1 - beta1 ^ step))
end

-- ---- schedules and gradient clipping ---------------------------------------------------------------------------------

---@class luasight.Schedule
local Cosine = {}
Cosine.__index = Cosine

local function set_rate(self)
  local k, rate = self.done
  if k < self.warmup then
    rate = self.base * (k + 1) / self.warmup
  else
    local share = math.min(1, (k - self.warmup) / math.max(1, self.steps - self.warmup))
    rate = self.min_lr + 0.5 * (self.base - self.min_lr) * (1 + math.cos(math.pi * share))
  end
  self.optimizer.lr = rate
end

---Sets the optimizer's next learning rate; to be called after each step of the optimizer.
function Cosine:step()
  self.done = self.done + 1
  set_rate(self)
end

---Makes a schedule of the learning rate: a linear rise over `warmup` steps, then half a cosine from the optimizer's
---learning rate down to `min_lr`.
---@param optimizer luasight.Optimizer
---@param options { steps: integer, warmup: integer?, min_lr: number? }
---@return luasight.Schedule
function optim.cosine(optimizer, options)
  options = read_options("optim.cosine", options, { steps = 0, warmup = 0, min_lr = 0 })
  if options.steps < 1 then binding.raise("argument", "optim.cosine: the option steps is missing or less than 1") end
  local self = setmetatable({ optimizer = optimizer, base = optimizer.lr, steps = options.steps, warmup = options.warmup,
    min_lr = options.min_lr, done = 0 }, Cosine)
  set_rate(self)
  return self
end

---Scales all gradients by one factor where their total norm is above `max`; returns the norm that they had before.
---@param params ffi.cdata*[]
---@param max number
---@return number
function optim.clip_grad_norm(params, max)
  return torch.no_grad(function()
    local grads = {}
    for i = 1, check_list("optim.clip_grad_norm", params) do
      local grad = params[i].grad
      if type(grad) ~= "nil" then grads[#grads + 1] = grad end
    end
    if #grads == 0 then return 0 end
    local norms = op("_foreach_norm", grads):tolist()
    local norm = op("norm", op("stack", norms)):item()
    local scale = max / (norm + 1e-6)
    if scale < 1 or scale ~= scale then op("_foreach_mul_", grads, scale) end
    return norm
  end)
end

return optim
