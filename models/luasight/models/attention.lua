--- Attention with heads, as every architecture here computes it. What all of them share stands in `attend`: grouped heads,
--- masks, the cache, the taps q, k, v, scores, pattern and z.
---
--- Axes: B batch, T position, S position that is looked at: with a cache all so far, else T; H heads, D head width; keys and
--- values may have fewer heads.
local cache = require "luasight.models.cache"
local nn = require "luasight".nn

---@class luasight.models.Attention: luasight.nn.Module  what all attentions inherit
local Attention = nn.Module "Attention"
Attention.token_axis = { q = 2, k = 2, v = 2, scores = 2, pattern = 2, z = 2 }

local attention = { Attention = Attention }

---@param x any     B T (H D)
---@param H integer
---@param D integer
---@return any  # B H T D
function attention.split(x, H, D) return x:unflatten(-1, { H, D }):transpose(1, 2) end

---Queries, keys and values of one linear layer in which each key/value head stands behind its query heads.
---@param x any        B T (Hk (G + 2) D)
---@param Hk integer   key/value heads
---@param G integer    query heads for each
---@param D integer
---@return any q, any k, any v  B H T D; k and v with the key/value heads
function attention.split_groups(x, Hk, G, D)
  x = x:unflatten(-1, { Hk, G + 2, D }) -- B T Hk G+2 D
  local q = x:narrow(3, 0, G):flatten(2, 3) -- B T H D
  return q:transpose(1, 2), x:select(3, G):transpose(1, 2), x:select(3, G + 1):transpose(1, 2)
end

---softmax(q k^T scale, masked) v, the heads side by side again.
---@param self table  the module: num_heads, num_key_value_heads (as many unless told), scale (1 / sqrt(D) unless told),
---  softcap, upcast, pattern_dropout (the share of the pattern that is dropped in training), is_causal (true unless told)
---@param q any       B H T D
---@param k any       B Hk T D
---@param v any       B Hk T D
---@param options table?  attention_mask: nil: a position sees itself and earlier ones, or all where the module is not causal;
---  cache: this layer's part; continues
---@return any  # B T (H D)
function attention.attend(self, q, k, v, options)
  local o = options or {}
  k, v = cache.extend(o.cache, k, v, o.continues) -- B Hk S D
  local is_causal = not o.attention_mask and not o.continues and self.is_causal ~= false
  local z = nn.scaled_dot_product_attention(q, k, v, { mask = o.attention_mask, is_causal = is_causal,
    groups = self.num_heads / (self.num_key_value_heads or self.num_heads), scale = self.scale, softcap = self.softcap,
    upcast = self.upcast, dropout = self.training and self.pattern_dropout or 0 })
  return z:transpose(1, 2):flatten(2)
end

return attention
