--- Layers that normalize: LayerNorm and RMSNorm over the last axes, BatchNorm1d and BatchNorm2d over rows and positions.
local binding = require "luasight.ffi"
local init = require "luasight.nn.initializers"
local module = require "luasight.nn.module"
local check_list = require "luasight.base.list".check
local options = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local text = require "luasight.nn.text"
local torch = require "luasight.tensor.torch"

local norm = {}

---Returns the sizes of the axes over which a layer normalizes as a list; `shape` is such a list or one number.
local function shape_of(name, shape)
  local list = type(shape) == "table" and shape or { shape }
  check_list(name .. ": normalized_shape", list)
  if #list == 0 then binding.raise("argument", name .. ": normalized_shape is a size or a list of sizes, not an empty list") end
  for _, n in ipairs(list) do options.value(name, "normalized_shape", n, options.size) end
  return { unpack(list) }
end

-- ---- LayerNorm -------------------------------------------------------------------------------------------------------

---Computes (x - mean) / sqrt(variance + eps) * weight + bias.
---@class luasight.nn.LayerNorm: luasight.nn.Module
---@field weight ffi.cdata*?
---@field bias ffi.cdata*?
local LayerNorm = module.class "LayerNorm"
norm.LayerNorm = LayerNorm

---With elementwise_affine = false, the new layer has neither weight nor bias.
---@param normalized_shape integer|integer[]
---@param given? { eps: number?, elementwise_affine: boolean?, bias: boolean?, dtype: string?, device: string? }
function LayerNorm:init(normalized_shape, given)
  given = options.read("nn.LayerNorm", given,
    { eps = "number", elementwise_affine = "boolean", bias = "boolean", dtype = "string", device = "string" })
  self.normalized_shape = shape_of("nn.LayerNorm", normalized_shape)
  self.eps = given.eps or 1e-5
  self.elementwise_affine = given.elementwise_affine ~= false
  if self.elementwise_affine then
    self.weight = parameter.empty(self.normalized_shape, given)
    if given.bias ~= false then self.bias = parameter.empty(self.normalized_shape, given) end
  end
  if not parameter.is_skipping() then self:reset_parameters() end
end

function LayerNorm:reset_parameters()
  if self.weight then init.ones_(self.weight) end
  if self.bias then init.zeros_(self.bias) end
end

function LayerNorm:extra_repr()
  return ("%s, eps=%s, elementwise_affine=%s, bias=%s"):format(text.tuple(self.normalized_shape), text.float(self.eps),
    text.value(self.elementwise_affine), text.value(self.bias and true or false))
end

---Returns x normalized over its last axes to mean 0 and variance 1, times weight plus bias.
---@param x any  a tensor whose last axes have the sizes of normalized_shape
---@return any  # the same shape
function LayerNorm:forward(x) return torch.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps) end

-- ---- RMSNorm ---------------------------------------------------------------------------------------------------------

---Computes x / sqrt(mean(x^2) + eps) * weight.
---@class luasight.nn.RMSNorm: luasight.nn.Module
---@field weight ffi.cdata*?
local RMSNorm = module.class "RMSNorm"
norm.RMSNorm = RMSNorm

---With elementwise_affine = false, the new layer has no weight.
---@param normalized_shape integer|integer[]
---@param given? { eps: number?, elementwise_affine: boolean?, dtype: string?, device: string? }  eps: by default the
---  machine epsilon of the dtype
function RMSNorm:init(normalized_shape, given)
  given = options.read("nn.RMSNorm", given,
    { eps = "number", elementwise_affine = "boolean", dtype = "string", device = "string" })
  self.normalized_shape = shape_of("nn.RMSNorm", normalized_shape)
  self.eps = given.eps
  self.elementwise_affine = given.elementwise_affine ~= false
  if self.elementwise_affine then self.weight = parameter.empty(self.normalized_shape, given) end
  if not parameter.is_skipping() then self:reset_parameters() end
end

function RMSNorm:reset_parameters()
  if self.weight then init.ones_(self.weight) end
end

function RMSNorm:extra_repr()
  return ("%s, eps=%s, elementwise_affine=%s"):format(text.tuple(self.normalized_shape),
    self.eps and text.float(self.eps) or "None", text.value(self.elementwise_affine))
end

---Returns x divided by the root of its mean square over the last axes, times weight.
---@param x any  a tensor whose last axes have the sizes of normalized_shape
---@return any  # the same shape
function RMSNorm:forward(x) return torch.rms_norm(x, self.normalized_shape, self.weight, self.eps) end

-- ---- BatchNorm -------------------------------------------------------------------------------------------------------

---Computes (x - mean) / sqrt(variance + eps) * weight + bias for each channel, which is axis 1. In training, mean and variance
---are those of the input's rows and positions, and the running ones follow them; otherwise they are the running ones.
---@class luasight.nn.BatchNorm1d: luasight.nn.Module
---@field weight ffi.cdata*?               [num_features]
---@field bias ffi.cdata*?                 [num_features]
---@field running_mean ffi.cdata*?         [num_features]
---@field running_var ffi.cdata*?          [num_features]
---@field num_batches_tracked ffi.cdata*?  [], how many inputs the running mean and variance have followed
local BatchNorm1d = module.class "BatchNorm1d"
norm.BatchNorm1d = BatchNorm1d

local batch_options = { eps = options.positive, affine = "boolean", bias = "boolean", track_running_stats = "boolean",
  dtype = "string", device = "string", momentum = { "a number, or false for the average of all inputs",
    function(v) return v == false or type(v) == "number" end } }

---@class luasight.nn.BatchNormOptions
---@field eps number?
---@field momentum number|false?
---@field affine boolean?
---@field bias boolean?
---@field track_running_stats boolean?
---@field dtype string?
---@field device string?

---With track_running_stats = false, the new layer always uses mean and variance of the input; with affine = false, it has
---neither weight nor bias.
---@param num_features integer  the number of channels
---@param given? luasight.nn.BatchNormOptions  momentum: the share of the new input in the running mean and variance, 0.1 by
---  default; false: these are the average of all inputs (None in PyTorch)
function BatchNorm1d:init(num_features, given)
  local what = "nn." .. self._class_name
  given = options.read(what, given, batch_options)
  self.num_features = options.value(what, "num_features", num_features, options.size)
  self.eps, self.momentum = given.eps or 1e-5, given.momentum
  if given.momentum == nil then self.momentum = 0.1 end
  self.affine, self.track_running_stats = given.affine ~= false, given.track_running_stats ~= false
  if self.affine then
    self.weight = parameter.empty({ num_features }, given)
    if given.bias ~= false then self.bias = parameter.empty({ num_features }, given) end
  end
  if self.track_running_stats then
    local float = { dtype = given.dtype or "float32", device = parameter.is_skipping() and "meta" or given.device or "cpu" }
    self.running_mean = parameter.Buffer(torch.zeros({ num_features }, float))
    self.running_var = parameter.Buffer(torch.ones({ num_features }, float))
    self.num_batches_tracked = parameter.Buffer(torch.zeros({}, { dtype = "int64", device = float.device }))
  end
  if not parameter.is_skipping() then self:reset_parameters() end
end

function BatchNorm1d:reset_running_stats()
  if not self.track_running_stats then return end
  init.zeros_(self.running_mean)
  init.ones_(self.running_var)
  init.zeros_(self.num_batches_tracked)
end

function BatchNorm1d:reset_parameters()
  self:reset_running_stats()
  if self.weight then init.ones_(self.weight) end
  if self.bias then init.zeros_(self.bias) end
end

function BatchNorm1d:extra_repr()
  return ("%d, eps=%s, momentum=%s, affine=%s, bias=%s, track_running_stats=%s"):format(self.num_features, text.float(self.eps),
    self.momentum and text.float(self.momentum) or "None", text.value(self.affine), text.value(self.bias and true or false),
    text.value(self.track_running_stats))
end

---Returns whether a row of the output depends on the other rows of the input.
function BatchNorm1d:_mixes_rows() return self.training or not (self.running_mean or self.running_var) end

-- Lets the running mean and variance follow those of `x`, which has three axes: rows, channels, positions. What is added to
-- them depends on the output `y` too, so that they stay as they are where the forward fails.
local function follow(self, x, y)
  x = x:to(self.running_mean)
  local zeros = y:new_zeros({ self.num_features }, { dtype = self.running_mean.dtype })
  self.num_batches_tracked:add_(y:new_ones({}, { dtype = "int64" }))
  local share = self.momentum or self.num_batches_tracked:to(self.running_mean):reciprocal()
  self.running_mean:mul_(1 - share):add_((x:mean { dim = { 0, 2 } } + zeros) * share)
  self.running_var:mul_(1 - share):add_((x:var { dim = { 0, 2 } } + zeros) * share)
end

---Returns x with mean 0 and variance 1 in each channel, times weight plus bias. In training, running mean and variance follow.
---@param x any  [rows, channels] or [rows, channels, positions]
---@return any  # the same shape
function BatchNorm1d:forward(x)
  if not self:_mixes_rows() then
    return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, false, 0, self.eps, false)
  end
  if self.eps <= 0 then
    binding.raise("argument", ("%s: eps has to be above 0 in training, not %g"):format(self._class_name, self.eps))
  end
  local flat = x:unsqueeze(-1):flatten(2)
  -- There has to be a second number in each channel. Zeros made from it make the forward fail where there is none.
  local second = flat:select(1, 0):flatten():select(0, 1)
  local bias = second:new_zeros { self.num_features }:to(self.weight or second)
  if self.bias then bias = bias + self.bias end
  local y = torch.batch_norm(x, self.weight, bias, nil, nil, true, 0, self.eps, false)
  if self.training and self.track_running_stats and self.running_mean then torch.no_grad(follow, self, flat, y) end
  return y
end

---BatchNorm1d for images: the axes are rows, channels, height and width.
---@class luasight.nn.BatchNorm2d: luasight.nn.BatchNorm1d
local BatchNorm2d = module.class("BatchNorm2d", BatchNorm1d)
norm.BatchNorm2d = BatchNorm2d

---@param x any  [rows, channels, height, width]
---@return any  # the same shape
function BatchNorm2d:forward(x) return BatchNorm1d.forward(self, x:permute(0, 1, 2, 3)) end -- fails where x has not four axes

return norm
