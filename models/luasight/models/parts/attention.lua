--- Attention with heads. `attend` computes what all architectures of luasight have in common: grouped heads, masks, the cache,
--- and the taps q, k, v, scores, pattern and z.
---
--- Axes: B batch, T position, S position that is read: with a cache all positions so far, else T; H heads, D head width.
--- Keys and values may have fewer heads.
local cache = require "luasight.models.parts.cache"
local nn = require "luasight".nn

---@class luasight.models.Attention: luasight.nn.Module  the parent class of all models' attention modules
local Attention = nn.Module "Attention"
local attention = { Attention = Attention }

---The parent class of the layers around an attention. It says where rows and tokens are in what they hand to the attention: the
---mask and the bias of the scores (B H T S), distances (T S, without rows), the mask of the encoder's tokens (B 1 1 S), and the
---caches; and in the bias that T5 returns.
---@class luasight.models.Layer: luasight.nn.Module
attention.Layer = nn.Module "Layer"
attention.Layer.token_axis = { ["input.attention_mask"] = 2, ["input.position_bias"] = 2, ["input.distance"] = false,
  ["input.encoder_attention_mask"] = 3, ["output.1"] = 2 }
attention.Layer.batch_axis = { ["input.distance"] = false, ["input.cache"] = cache.batch_axis.layer["input.cache"],
  ["input.encoder_cache"] = cache.batch_axis.layer["input.cache"] }

Attention.token_axis, Attention.batch_axis = { q = 2, k = 2, v = 2, scores = 2, pattern = 2, z = 2 }, attention.Layer.batch_axis
for point, axis in pairs(attention.Layer.token_axis) do Attention.token_axis[point] = axis end

---The axes of a module whose input and output have no rows, or no tokens.
attention.none = { input = false, output = false }

---Returns the number of heads of the keys, and their width.
---@return integer, integer
function Attention:key_sizes() return self.num_key_value_heads or self.num_heads, self.head_dim end

---The axis of the tokens in the input and the output of a module that computes each head by itself, B H T D.
attention.per_head = { input = 2, output = 2 }

---Splits the last axis of a tensor into H heads of width D.
---@param x any     B T (H D)
---@param H integer
---@param D integer
---@return any  # B H T D
function attention.split(x, H, D) return x:unflatten(-1, { H, D }):transpose(1, 2) end

---Splits the output of one linear layer into queries, keys and values. In that output, a key head and a value head follow the
---query heads of their group.
---@param x any        B T (Hk (G + 2) D)
---@param Hk integer   the number of key/value heads
---@param G integer    the number of query heads for each key/value head
---@param D integer
---@return any q, any k, any v  # B H T D; k and v have Hk heads
function attention.split_groups(x, Hk, G, D)
  x = x:unflatten(-1, { Hk, G + 2, D }) -- B T Hk G+2 D
  local q = x:narrow(3, 0, G):flatten(2, 3) -- B T H D
  return q:transpose(1, 2), x:select(3, G):transpose(1, 2), x:select(3, G + 1):transpose(1, 2)
end

---Computes attention, softmax(scale q k^T) v with a mask, and joins the heads.
---@param self table  a module with num_heads, num_key_value_heads (by default as many), scale (by default 1 / sqrt(D)),
---  softcap (the scores are limited by tanh to this number), upcast (true: scores and pattern are computed in float32),
---  pattern_dropout (the share of the pattern that is dropped in training), is_causal (true by default)
---@param q any       B H T D
---@param k any       B Hk T D
---@param v any       B Hk T D
---@param options table?  attention_mask: without it a position reads itself and earlier ones, or all where the module is
---  not causal; cache: this layer's part of the cache; continues: the tokens continue the text in the cache
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
