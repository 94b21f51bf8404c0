--- `nn.init`: functions that fill a tensor in place, outside of autograd; with the same seed they make PyTorch's numbers.
--- Settings are given in PyTorch's order or in a table: nn.init.normal_(t, 0, 0.02), nn.init.normal_(t, { std = 0.02 }).
local binding = require "luasight.ffi"
local near = require "luasight.base.near"
local options = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local torch = require "luasight.tensor.torch"

---@class luasight.nn.init  each function fills a tensor in place and returns it
---@field uniform_ fun(t: luasight.Tensor, a: number?, b: number?): luasight.Tensor           from 0 to 1 by default
---@field normal_ fun(t: luasight.Tensor, mean: number?, std: number?): luasight.Tensor       mean 0 and std 1 by default
---@field trunc_normal_ fun(t: luasight.Tensor, mean: number?, std: number?, a: number?, b: number?): luasight.Tensor
---@field constant_ fun(t: luasight.Tensor, val: number): luasight.Tensor
---@field ones_ fun(t: luasight.Tensor): luasight.Tensor
---@field zeros_ fun(t: luasight.Tensor): luasight.Tensor
---@field eye_ fun(t: luasight.Tensor): luasight.Tensor
---@field orthogonal_ fun(t: luasight.Tensor, gain: number?): luasight.Tensor
---@field xavier_uniform_ fun(t: luasight.Tensor, gain: number?): luasight.Tensor
---@field xavier_normal_ fun(t: luasight.Tensor, gain: number?): luasight.Tensor
---@field kaiming_uniform_ fun(t: luasight.Tensor, a: number?, mode: string?, nonlinearity: string?): luasight.Tensor
---@field kaiming_normal_ fun(t: luasight.Tensor, a: number?, mode: string?, nonlinearity: string?): luasight.Tensor
local init = {}

-- ---- arguments -------------------------------------------------------------------------------------------------------

---Defines the function init[name](tensor, ...). `settings` is the list of its other arguments, each { name, default }, or
---{ name, nil, kind } where there is no default. The
---function reads its arguments, and calls `fill` with the tensor and the value of each setting.
local function define(name, settings, fill)
  local kinds, what = {}, "nn.init." .. name
  for _, setting in ipairs(settings) do kinds[setting[1]] = setting[3] or type(setting[2]) end
  local function read(...)
    local n, values = select("#", ...), { ... }
    local named = {}
    if n > 0 and type(values[n]) == "table" then named, n = options.read(what, values[n], kinds), n - 1 end
    if n > #settings then binding.raise("argument", ("%s takes at most %d settings"):format(what, #settings)) end
    for i, setting in ipairs(settings) do
      local v = named[setting[1]]
      if v == nil and i <= n then v = values[i] end
      if v == nil then v = setting[2] end
      values[i] = options.value(what, setting[1], v, kinds[setting[1]])
    end
    return unpack(values, 1, #settings)
  end
  init[name] = function(t, ...)
    if not parameter.is_handle(t) then
      binding.raise("argument", ("%s fills a tensor, not a %s"):format(what, type(t)))
    end
    torch.no_grad(fill, t, read(...))
    return t
  end
end

-- ---- fillings that do not depend on the shape ------------------------------------------------------------------------

define("uniform_", { { "a", 0 }, { "b", 1 } }, function(t, a, b) t:uniform_(a, b) end)
define("normal_", { { "mean", 0 }, { "std", 1 } }, function(t, mean, std) t:normal_(mean, std) end)
define("constant_", { { "val", nil, "number" } }, function(t, v) t:fill_(v) end)
define("ones_", {}, function(t) t:fill_(1) end)
define("zeros_", {}, function(t) t:zero_() end)

-- ---- fillings that depend on the width of a layer --------------------------------------------------------------------

---Returns fan in and fan out of a weight: how many inputs lead to one output of its layer, and how many outputs depend on one
---input.
local function fans(t)
  local shape = t.shape:tolist()
  if #shape < 2 then
    binding.raise("shape", "fan in and fan out cannot be computed for a tensor with fewer than 2 dimensions")
  end
  local field = 1
  for i = 3, #shape do field = field * shape[i] end
  return shape[2] * field, shape[1] * field
end

local linear = { linear = true, sigmoid = true, conv1d = true, conv2d = true, conv3d = true, conv_transpose1d = true,
  conv_transpose2d = true, conv_transpose3d = true }

---Returns the factor by which weights are scaled to keep the variance of activations behind a nonlinearity.
---@param nonlinearity string  "linear", "relu", "leaky_relu", "tanh", ...
---@param slope number?        the negative slope of leaky_relu
---@return number
function init.calculate_gain(nonlinearity, slope)
  if slope ~= nil then options.value("nn.init.calculate_gain", "slope", slope, "number") end
  if linear[nonlinearity] then return 1 end
  if nonlinearity == "tanh" then return 5 / 3 end
  if nonlinearity == "relu" then return math.sqrt(2) end
  if nonlinearity == "leaky_relu" then return math.sqrt(2 / (1 + (slope or 0.01) ^ 2)) end
  if nonlinearity == "selu" then return 3 / 4 end
  local names = { "tanh", "relu", "leaky_relu", "selu" }
  for name in pairs(linear) do names[#names + 1] = name end
  binding.raise("argument", ("nn.init.calculate_gain does not know the nonlinearity %q%s"):format(tostring(nonlinearity),
    near.text(tostring(nonlinearity), names)))
end

local function xavier(t, gain)
  local fan_in, fan_out = fans(t)
  return gain * math.sqrt(2 / (fan_in + fan_out))
end

local function kaiming(t, a, mode, nonlinearity)
  if mode ~= "fan_in" and mode ~= "fan_out" then
    binding.raise("argument", ("nn.init: mode is \"fan_in\" or \"fan_out\", not %q"):format(mode))
  end
  local fan_in, fan_out = fans(t)
  return init.calculate_gain(nonlinearity, a) / math.sqrt(mode == "fan_in" and fan_in or fan_out)
end

local kaiming_settings = { { "a", 0 }, { "mode", "fan_in" }, { "nonlinearity", "leaky_relu" } }

define("xavier_uniform_", { { "gain", 1 } }, function(t, gain)
  local bound = math.sqrt(3) * xavier(t, gain)
  t:uniform_(-bound, bound)
end)

define("xavier_normal_", { { "gain", 1 } }, function(t, gain) t:normal_(0, xavier(t, gain)) end)

define("kaiming_uniform_", kaiming_settings, function(t, ...)
  if t:numel() == 0 then return end
  local bound = math.sqrt(3) * kaiming(t, ...)
  t:uniform_(-bound, bound)
end)

define("kaiming_normal_", kaiming_settings, function(t, ...)
  if t:numel() > 0 then t:normal_(0, kaiming(t, ...)) end
end)

-- ---- matrices --------------------------------------------------------------------------------------------------------

define("eye_", {}, function(t)
  local shape = t.shape:tolist()
  if #shape ~= 2 then binding.raise("shape", "nn.init.eye_ fills a tensor of 2 dimensions") end
  t:copy_(torch.eye(shape[1], shape[2]))
end)

-- Fills a tensor with a matrix whose rows or columns, whichever are fewer, are orthogonal (Saxe et al. 2013).
define("orthogonal_", { { "gain", 1 } }, function(t, gain)
  local shape = t.shape:tolist()
  if #shape < 2 then binding.raise("shape", "nn.init.orthogonal_ needs 2 or more dimensions") end
  if t:numel() == 0 or t.device == "meta" then return end
  local rows = shape[1]
  local columns = t:numel() / rows
  local flat = t:new_empty({ rows, columns }):normal_(0, 1)
  if rows < columns then flat = flat:t() end
  local q, r = torch.linalg_qr(flat)
  q = q * r:diagonal():sign() -- without the signs not all orthogonal matrices would be equally likely
  if rows < columns then q = q:t() end
  t:copy_(q:reshape(shape))
  t:mul_(gain)
end)

-- ---- a truncated normal distribution ---------------------------------------------------------------------------------

local function cdf(x) return (1 + torch.tensor(x / math.sqrt(2), { dtype = "float64" }):erf():item()) / 2 end

---Fills a tensor with numbers of the normal distribution; those outside of `low` to `high` are drawn again until none is left.
local function redraw(t, mean, std, low, high)
  low, high = t:new_full({}, low):item(), t:new_full({}, high):item() -- the limits are rounded to the dtype of t
  t:normal_(mean, std)
  local outside = t:lt(low):logical_or(t:gt(high))
  while outside:any():item() do
    t:copy_(torch.where(outside, torch.empty_like(t):normal_(mean, std), t))
    outside = t:lt(low):logical_or(t:gt(high))
  end
end

---Fills a tensor with numbers drawn evenly from `low` to `high`, of which each is accepted with a probability in proportion to
---the normal density there. This method is used where few numbers of the normal distribution would lie in the range.
local function reject(t, mean, std, low, high)
  local peak = -0.5 * ((math.max(low, math.min(mean, high)) - mean) / std) ^ 2
  local candidates, chance = torch.empty_like(t), torch.empty_like(t)
  local function refused()
    local density = candidates:sub(mean):div_(std):pow_(2):mul_(-0.5):sub_(peak)
    return chance:uniform_():log_():gt(density)
  end
  candidates:uniform_(low, high)
  t:copy_(candidates)
  local pending = refused()
  while pending:any():item() do
    candidates:uniform_(low, high)
    t:copy_(torch.where(pending, candidates, t))
    pending = pending:logical_and(refused())
  end
end

define("trunc_normal_", { { "mean", 0 }, { "std", 1 }, { "a", -2 }, { "b", 2 } }, function(t, mean, std, a, b)
  if not (a < b and std > 0 and mean == mean) then
    binding.raise("argument", "nn.init.trunc_normal_ needs numbers with a < b and std > 0")
  end
  if t.device == "meta" then return end
  local share = cdf((b - mean) / std) - cdf((a - mean) / std)
  if share > 0.3 then redraw(t, mean, std, a, b) else reject(t, mean, std, a, b) end
end)

return init
