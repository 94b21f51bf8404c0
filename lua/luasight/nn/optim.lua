--- Optimizers, a schedule of learning rates, and gradient clipping; they compute the same numbers as PyTorch.
local binding = require "luasight.ffi"
local check_list = require "luasight.base.list".check
local module = require "luasight.nn.module"
local operators = require "luasight.tensor.operators"
local options_of = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local tensors = require "luasight.ffi.tensors"
local torch = require "luasight.tensor.torch"

---@class luasight.optim
local optim = {}

local function op(name, ...) return operators.call(operators.get(name), ...) end

-- ---- what all optimizers share ---------------------------------------------------------------------------------------

---@class luasight.Optimizer  updates parameters from their gradients
---@field lr number  the learning rate; this and the other options may be set at any time
---@field params ffi.cdata*[]
---@field buffers table<string, table<integer, ffi.cdata*>>  state such as the momentum: by name, then by parameter's position
---@field steps table<integer, integer>  how often each parameter has been updated

local positive = options_of.positive
local betas = { "a list of two numbers from 0 to below 1", function(v)
  if type(v) ~= "table" or #v ~= 2 then return false end
  for _, beta in ipairs(v) do
    if type(beta) ~= "number" or not (beta >= 0 and beta < 1) then return false end
  end
  return true
end }

---Returns a list of tensors from the argument `params` of a function; a single tensor becomes a list of one.
local function list_of(what, params)
  if torch.is_tensor(params) then params = { params } end
  if type(params) ~= "table" or module.is_module(params) then
    binding.raise("argument", ("%s needs a list of parameters, not a %s"):format(what, module.is_module(params) and "module"
      or type(params)), { hint = "pass net:parameters()" })
  end
  for i = 1, check_list(what, params) do
    local p = params[i]
    if not torch.is_tensor(p) then
      binding.raise("argument", ("%s: parameter %d is a %s, not a tensor"):format(what, i, type(p)),
        { hint = type(p) == "table" and not module.is_module(p) and "there are no groups of parameters: make an optimizer for "
          .. "each group" or nil })
    end
  end
  return params
end

---Raises an error where an option of the optimizer is out of its range, at the start and also after a script has set one.
local function check_options(self)
  local class = getmetatable(self)
  for name, kind in pairs(class.kinds) do options_of.value(class.name, name, self[name], kind) end
  if self.nesterov and (self.momentum == 0 or self.dampening ~= 0) then
    binding.raise("argument", class.name .. ": nesterov needs a momentum above 0 and a dampening of 0")
  end
end

local function new(class, params, given)
  params = list_of(class.name, params)
  if #params == 0 then
    binding.raise("argument", ("%s needs a list of parameters, not an empty list"):format(class.name),
      { hint = "pass net:parameters()" })
  end
  given = options_of.read(class.name, given, class.kinds)
  local self, place = { params = {}, buffers = {}, steps = {} }, {}
  for i, p in ipairs(params) do
    local key = tensors.identity(p)
    if place[key] then
      binding.raise("argument", ("%s: parameters %d and %d are the same tensor"):format(class.name, place[key], i))
    elseif not tensors.is_leaf(p) and not op("retains_grad", p) then
      binding.raise("argument", ("%s: parameter %d is no leaf: it was computed, so no gradient is kept for it"):format(
        class.name, i), { hint = "use the tensors from which it was computed, or its detach()" })
    elseif class.is_real and p.dtype:find "^complex" then
      binding.raise("argument", ("%s: parameter %d is complex, but only real parameters can be updated"):format(class.name, i))
    end
    self.params[i], self.steps[i], place[key] = p, 0, i
  end
  for name, value in pairs(class.defaults) do
    if given[name] ~= nil then value = given[name] end
    self[name] = type(value) == "table" and { unpack(value) } or value
  end
  for _, name in ipairs(class.buffer_names) do self.buffers[name] = {} end
  setmetatable(self, class)
  check_options(self)
  return self
end

local methods = {}

---Sets the gradients of all parameters of the optimizer to nil.
---@param given? { set_to_none: boolean? }  set_to_none = false: the gradients are filled with 0 instead
function methods:zero_grad(given)
  given = options_of.read("optimizer:zero_grad", given, { set_to_none = "boolean" })
  parameter.zero_grad(self.params, given.set_to_none)
end

---Returns the parameters that have a gradient, in groups that are updated alike. Each group has lists of its parameters, their
---positions and their gradients; with the option maximize, the gradients with the opposite sign.
local function groups(self)
  local by_key, order = {}, {}
  for i, p in ipairs(self.params) do
    local grad = p.grad
    if type(grad) ~= "nil" then
      local key = self:_group_of(i)
      local group = by_key[key]
      if not group then
        group = { key = key, places = {}, params = {}, grads = {} }
        by_key[key], order[#order + 1] = group, group
      end
      local n = #group.places + 1
      group.places[n], group.params[n], group.grads[n] = i, p, grad
    end
  end
  for _, group in ipairs(self.maximize and order or {}) do group.grads = op("_foreach_neg", group.grads):tolist() end
  return order
end

---Updates all parameters that have a gradient, once.
---@param closure? fun(): any  computes the loss and its gradients before the update
---@return any  # the result of the closure
function methods:step(closure)
  if closure ~= nil and type(closure) ~= "function" then
    binding.raise("argument", ("optimizer:step takes a function that computes the loss, not a %s"):format(type(closure)))
  end
  check_options(self)
  local loss = closure and torch.enable_grad(closure)
  parameter.check_gradients("optimizer:step")
  torch.no_grad(function()
    for _, group in ipairs(groups(self)) do
      self:_update(group)
      for _, i in ipairs(group.places) do self.steps[i] = self.steps[i] + 1 end
    end
  end)
  return loss
end

---Returns for each parameter of a group the optimizer's tensor called `name`, such as the momentum. Where a parameter has none
---yet, `first(gradient)` makes it; it outlives the scope (ls.scope) in which it was made.
local function buffers_of(self, name, group, first)
  local all, list = self.buffers[name], {}
  for n, i in ipairs(group.places) do
    if not all[i] then all[i] = binding.keep(first(group.grads[n])) end
    list[n] = all[i]
  end
  return list
end

---Returns a copy of the state of the optimizer, with which training can continue later, as tensors by name: "step",
---"exp_avg.0", ... Of the options, the state has the learning rate alone.
---@return table<string, ffi.cdata*>
function methods:state_dict()
  local state = { step = torch.tensor(self.steps, { dtype = "int64" }), lr = torch.tensor(self.lr, { dtype = "float64" }) }
  for name, list in pairs(self.buffers) do
    for i, buffer in pairs(list) do state[("%s.%d"):format(name, i - 1)] = op("clone", buffer) end
  end
  return state
end

local function refuse(self, text) binding.raise("format", ("%s:load_state_dict: %s"):format(getmetatable(self).name, text)) end

local function check_state(self, state)
  if type(state) ~= "table" then refuse(self, ("the state is a table of tensors by name, not a %s"):format(type(state))) end
  for key, value in pairs(state) do
    if not torch.is_tensor(value) then refuse(self, ("%q is a %s, not a tensor"):format(tostring(key), type(value))) end
  end
  if type(state.step) == "nil" or type(state.lr) == "nil" then refuse(self, "the state has no step or no lr") end
  if state.step:numel() ~= #self.params or state.step:dim() ~= 1 then
    refuse(self, ("the state belongs to %d parameters, but this optimizer has %d"):format(state.step:numel(), #self.params))
  elseif state.lr:numel() ~= 1 or not positive[2](state.lr:item()) then
    refuse(self, "lr is not a number from 0 on")
  end
  for key, value in pairs(state) do
    local name, i = tostring(key):match "^(.*)%.(%d+)$"
    if name then
      local p = self.buffers[name] and self.params[tonumber(i) + 1]
      if not p then refuse(self, ("this optimizer has no state of the name %q"):format(key)) end
      local have, want = tostring(value.shape), tostring(p.shape)
      if have ~= want then refuse(self, ("%q has shape %s, but its parameter has shape %s"):format(key, have, want)) end
    elseif key ~= "step" and key ~= "lr" then
      refuse(self, ("this optimizer has no state of the name %q"):format(tostring(key)))
    end
  end
  for i, steps in ipairs(state.step:tolist()) do
    if type(steps) ~= "number" or steps < 0 or steps % 1 ~= 0 then
      refuse(self, "step has an element that is not a whole number from 0 on")
    end
    for _, name in ipairs(steps > 0 and self:_needed() or {}) do
      local key = ("%s.%d"):format(name, i - 1)
      if type(state[key]) == "nil" then
        refuse(self, ("parameter %d has been updated %d times, but the state has no %q"):format(i, steps, key))
      end
    end
  end
end

---Sets the optimizer to a state that `state_dict` returned; the tensors are copied, in the dtype of their parameters.
---@param state table<string, ffi.cdata*>
function methods:load_state_dict(state)
  check_state(self, state)
  self.steps, self.lr = state.step:tolist(), state.lr:item()
  for name in pairs(self.buffers) do self.buffers[name] = {} end
  for key, value in pairs(state) do
    local name, i = key:match "^(.*)%.(%d+)$"
    if name then
      local p = self.params[tonumber(i) + 1]
      self.buffers[name][tonumber(i) + 1] = binding.keep(value:detach():to { dtype = p.dtype, device = p.device }:clone())
    end
  end
end

---Defines a class of optimizers. `settings` has for each option its default value and its kind.
local function class(name, settings, buffer_names)
  local c = { name = name, defaults = {}, kinds = {}, buffer_names = buffer_names }
  for key, setting in pairs(settings) do c.defaults[key], c.kinds[key] = setting[1], setting[2] end
  c.__index = setmetatable({ name = name }, { __index = methods })
  function c.__newindex(self, key, value) -- fields that exist are set without a call of this function
    options_of.read(name, { [key] = value }, c.kinds)
    rawset(self, key, value)
  end
  c.__tostring = function(self) return ("%s (lr = %g, %d parameters)"):format(name, self.lr, #self.params) end
  return c
end

-- ---- SGD -------------------------------------------------------------------------------------------------------------

local SGD = class("SGD", { lr = { 1e-3, positive }, momentum = { 0, positive }, dampening = { 0, "number" },
  weight_decay = { 0, positive }, nesterov = { false, "boolean" }, maximize = { false, "boolean" } }, { "momentum_buffer" })

---@class luasight.SGDOptions
---@field lr number?
---@field momentum number?
---@field dampening number?
---@field weight_decay number?
---@field nesterov boolean?
---@field maximize boolean?

---Makes an optimizer for stochastic gradient descent.
---@param params ffi.cdata*[]
---@param options luasight.SGDOptions?
---@return luasight.Optimizer
function optim.SGD(params, options) return new(SGD, params, options) end

---Returns which state a parameter needs that has been updated before.
function SGD.__index:_needed() return self.momentum ~= 0 and { "momentum_buffer" } or {} end

---Returns the group of parameter i: parameters that have a momentum are updated in another way than those that have none yet.
function SGD.__index:_group_of(i) return self.buffers.momentum_buffer[i] and 1 or 0 end

-- Adds the gradients of a group to the momentum of its parameters. Returns for each parameter the tensor that the
-- update subtracts from it, times the learning rate. At the first update of a parameter, its momentum is its gradient.
local function momentum(self, group, grads)
  local fresh = { places = group.places, grads = grads }
  local list = buffers_of(self, "momentum_buffer", fresh, function(g) return op("clone", g) end)
  if group.key == 1 then
    op("_foreach_mul_", list, self.momentum)
    op("_foreach_add_", list, grads, { alpha = 1 - self.dampening })
  end
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

local AdamW = class("AdamW", { lr = { 1e-3, positive }, betas = { { 0.9, 0.999 }, betas }, eps = { 1e-8, positive },
  weight_decay = { 0.01, positive }, amsgrad = { false, "boolean" }, maximize = { false, "boolean" } },
  { "exp_avg", "exp_avg_sq", "max_exp_avg_sq" })
AdamW.is_real = true

---Makes an optimizer for Adam with decoupled weight decay.
---@param params ffi.cdata*[]
---@param o? { lr: number?, betas: number[]?, eps: number?, weight_decay: number?, amsgrad: boolean?, maximize: boolean? }
---@return luasight.Optimizer
function optim.AdamW(params, o) return new(AdamW, params, o) end

function AdamW.__index:_needed()
  return self.amsgrad and { "exp_avg", "exp_avg_sq", "max_exp_avg_sq" } or { "exp_avg", "exp_avg_sq" }
end

---Returns the group of parameter i: the factors of an update depend on how often a parameter has been updated. What cannot be
---updated is refused here, before the first parameter is changed.
function AdamW.__index:_group_of(i)
  local p, average = self.params[i], self.buffers.exp_avg[i]
  if average and (average.dtype ~= p.dtype or average.device ~= p.device) then
    binding.raise("argument", ("AdamW: parameter %d is %s on %s now, but its state is %s on %s"):format(i, p.dtype, p.device,
      average.dtype, average.device), { hint = "opt:load_state_dict(opt:state_dict()) converts the state" })
  elseif tensors.layout(p.grad).layout then
    binding.raise("argument", ("AdamW: the gradient of parameter %d is sparse; optim.SGD can use it"):format(i))
  end
  return self.steps[i]
end

---Sets each of `list` to itself times `share` plus the gradient times 1 - share.
local function mix(list, grads, share)
  if operators.find "_foreach_lerp_" then return op("_foreach_lerp_", list, grads, 1 - share) end
  op("_foreach_mul_", list, share) -- libtorch before 2.0
  op("_foreach_add_", list, grads, { alpha = 1 - share })
end

function AdamW.__index:_update(group)
  local first = buffers_of(self, "exp_avg", group, torch.zeros_like)
  local second = buffers_of(self, "exp_avg_sq", group, torch.zeros_like)
  local beta1, beta2 = self.betas[1], self.betas[2]
  local step = group.key + 1
  if self.weight_decay ~= 0 then op("_foreach_mul_", group.params, 1 - self.lr * self.weight_decay) end
  mix(first, group.grads, beta1)
  op("_foreach_mul_", second, beta2)
  op("_foreach_addcmul_", second, group.grads, group.grads, 1 - beta2)
  if self.amsgrad then
    local largest = buffers_of(self, "max_exp_avg_sq", group, torch.zeros_like)
    op("_foreach_maximum_", largest, second)
    second = largest
  end
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
  local k = self.done
  local share = math.min(1, (k - self.warmup) / math.max(1, self.steps - self.warmup))
  self.optimizer.lr = k < self.warmup and self.base * (k + 1) / self.warmup
    or self.min_lr + 0.5 * (self.base - self.min_lr) * (1 + math.cos(math.pi * share))
end

---Sets the optimizer's next learning rate; to be called after each step of the optimizer.
function Cosine:step()
  self.done = self.done + 1
  set_rate(self)
end

---Makes a schedule of the learning rate: a linear rise over `warmup` steps, then half a cosine from the optimizer's
---learning rate down to `min_lr`, where it stays after `steps` steps.
---@param optimizer luasight.Optimizer
---@param options { steps: integer, warmup: integer?, min_lr: number? }
---@return luasight.Schedule
function optim.cosine(optimizer, options)
  local what = "optim.cosine"
  local class_of = type(optimizer) == "table" and getmetatable(optimizer)
  if not class_of or not class_of.buffer_names then
    binding.raise("argument", ("%s takes an optimizer, not a %s"):format(what, type(optimizer)))
  end
  options = options_of.read(what, options, { steps = options_of.count, warmup = options_of.size, min_lr = positive })
  local steps, warmup = options_of.value(what, "steps", options.steps, options_of.count), options.warmup or 0
  if warmup > steps then
    binding.raise("argument", ("%s: a rise over %d steps does not fit in %d steps"):format(what, warmup, steps))
  end
  local self = setmetatable({ optimizer = optimizer, base = optimizer.lr, steps = steps, warmup = warmup,
    min_lr = options.min_lr or 0, done = 0 }, Cosine)
  set_rate(self)
  return self
end

local norm_type = { "a number", function(v) return type(v) == "number" and v == v end }

---Scales all gradients by one factor where their total norm is above `max`; returns the norm that they had before.
---@param params ffi.cdata*[]  parameters, or one parameter
---@param max number
---@param options { norm_type: number?, error_if_nonfinite: boolean? }?  norm_type: 2 by default, math.huge for the largest
---  absolute value; error_if_nonfinite: a norm that is nan or infinite is an error, and no gradient is scaled
---@return number
function optim.clip_grad_norm(params, max, options)
  local what = "optim.clip_grad_norm"
  params = list_of(what, params)
  parameter.check_gradients(what)
  options_of.value(what, "max", max, positive)
  options = options_of.read(what, options, { norm_type = norm_type, error_if_nonfinite = "boolean" })
  return torch.no_grad(function()
    local grads = {}
    for _, p in ipairs(params) do grads[#grads + 1] = p.grad end
    if #grads == 0 then return 0 end
    local order = options.norm_type or 2
    local norm = op("linalg_vector_norm", op("stack", op("_foreach_norm", grads, order):tolist()), order):item()
    if options.error_if_nonfinite and (norm ~= norm or math.abs(norm) == math.huge) then
      binding.raise("argument", ("%s: the total norm of the gradients is %g"):format(what, norm))
    end
    local scale = max / (norm + 1e-6)
    if scale < 1 or scale ~= scale then op("_foreach_mul_", grads, scale) end
    return norm
  end)
end

return optim
