--- Modules for root mean square norms (Zhang and Sennrich 2019), which are printed as by Hugging Face.
local ls = require "luasight"
local helpers = require "luasight.family"

local torch, nn = ls.torch, ls.nn

local norms = {}

---Computes x / sqrt(mean(x^2) + eps) * weight.
---@class luasight.models.RMSNorm: luasight.nn.RMSNorm
local RMSNorm = nn.Module("RMSNorm", helpers.RMSNorm)
norms.RMSNorm = RMSNorm

---@param width integer
---@param eps number
function RMSNorm:init(width, eps) ls.nn.RMSNorm.init(self, width, { eps = eps }) end

function RMSNorm:extra_repr()
  return ("%s, eps=%s"):format(helpers.tuple_text(self.normalized_shape), helpers.float_text(self.eps))
end

---Computes x / sqrt(mean(x^2) + eps) * (1 + weight); the weights of a new module are 0.
---@class luasight.models.OffsetRMSNorm: luasight.models.RMSNorm
local OffsetRMSNorm = nn.Module("OffsetRMSNorm", RMSNorm)
norms.OffsetRMSNorm = OffsetRMSNorm

function OffsetRMSNorm:reset_parameters() nn.init.zeros_(self.weight) end

---Normalizes the vectors on the last axis of x.
---@param x any  B T C
---@return any  # B T C
function OffsetRMSNorm:forward(x)
  local y = torch.rms_norm(x, self.normalized_shape, nil, self.eps)
  return y:addcmul(y, self.weight)
end

return norms
