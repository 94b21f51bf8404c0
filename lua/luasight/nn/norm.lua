--- Layers that normalize over the last axes: LayerNorm, RMSNorm.
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

return norm
