--- Scaled dot-product attention, for use in a forward. The values inside become taps: q, k, v, scores (masked and scaled),
--- pattern (B H T S) and z (B H T D). A fused kernel computes the attention unless a trace reads or sets scores or pattern.
local binding = require "luasight.ffi"
local options = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local record = require "luasight.nn.record"
local torch = require "luasight.tensor.torch"

local attention = {}

local above_0 = { "a number above 0", function(v) return type(v) == "number" and v > 0 and v < math.huge end }

local kinds = { mask = true, is_causal = "boolean", scale = "number", dropout = options.share, upcast = "boolean",
  softcap = above_0, groups = options.count }

local function check(o)
  if o.mask ~= nil and not parameter.is_handle(o.mask) then
    binding.raise("argument", ("scaled_dot_product_attention: mask is a tensor, not a %s"):format(type(o.mask)))
  elseif o.mask and o.is_causal then
    binding.raise("argument", "scaled_dot_product_attention: the options mask and is_causal cannot be used together")
  end
end

local function untapped(_, value) return value end

---@class luasight.nn.AttentionOptions
---@field mask any
---@field is_causal boolean?
---@field scale number?
---@field dropout number?
---@field upcast boolean?
---@field softcap number?
---@field groups integer?

---Computes softmax(q k^T * scale, masked) v.
---@param q any  [B, H, T, D]
---@param k any  [B, H / groups, S, D]
---@param v any  [B, H / groups, S, D]
---@param given? luasight.nn.AttentionOptions  mask: booleans (true: the position may be seen) or numbers that are added to
---  the scores; scale: 1 / sqrt(D) by default; dropout: the share of the pattern that is dropped (to be given in training
---  only); upcast: scores and pattern are computed in float32; softcap: scores are limited by tanh to this distance from
---  0; groups: how many neighbouring heads of q share one head of k and v, 1 by default
---@return any  # [B, H, T, D]
function attention.scaled_dot_product_attention(q, k, v, given)
  local o = options.read("scaled_dot_product_attention", given, kinds)
  check(o)
  local function shared(x) return (o.groups or 1) > 1 and x:repeat_interleave(o.groups, -3) or x end
  local function stepwise(a, b, c, mask, tap)
    b, c = shared(b), shared(c)
    if o.upcast then a, b = a:float(), b:float() end
    return require "luasight.tensor.compat".attention(a, b, c, { mask = mask, is_causal = o.is_causal, scale = o.scale,
      dropout = o.dropout, softcap = o.softcap }, tap)
  end
  local function plain(a, b, c, mask) return stepwise(a, b, c, mask, record.tap) end
  local function fused(a, b, c, mask)
    if o.softcap then return stepwise(a, b, c, mask, untapped) end -- no fused kernel supports a soft cap
    b, c = shared(b), shared(c)
    local named = { attn_mask = mask, is_causal = o.is_causal or false, scale = o.scale, dropout_p = o.dropout }
    if not o.upcast then return torch.scaled_dot_product_attention(a, b, c, named) end
    if mask then mask = require "luasight.tensor.compat".additive(mask, a:float()) end
    named.attn_mask = mask
    return torch.scaled_dot_product_attention(a:float(), b:float(), c:float(), named):to(c)
  end
  q, k, v = record.tap("q", q), record.tap("k", k), record.tap("v", v)
  local z
  if o.mask then z = record.two_forms(plain, fused, q, k, v, o.mask) else z = record.two_forms(plain, fused, q, k, v) end
  return record.tap("z", z)
end

return attention
