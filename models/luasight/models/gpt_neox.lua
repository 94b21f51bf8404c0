--- GPT-NeoX and Pythia (Black et al. 2022, "GPT-NeoX-20B"; Biderman et al. 2023, "Pythia"): attention and MLP in parallel,
--- each behind a norm of its own; a part of each head has rotary embeddings.
---
--- Axes: B batch, T position, C width, H heads, D head width.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local decoder = require "luasight.models.parts.decoder"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"
local rotary = require "luasight.models.parts.rotary"
local helpers = require "luasight.family"

local nn = ls.nn

local GPTNeoX = decoder.family("GPTNeoX", {
  RotaryEmbedding = rotary.Embedding,
  Attention = nn.Module("Attention", attention.Attention),
  MLP = nn.Module "MLP",
  Layer = nn.Module "Layer",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})

local Attention = GPTNeoX.Attention

function Attention:init(config)
  local C = config.hidden_size
  self.num_heads, self.head_dim = config.num_attention_heads, config.head_dim
  self.pattern_dropout, self.rotary_dim = config.attention_dropout, config.rope_parameters.size
  self.query_key_value = nn.Linear(C, 3 * C, { bias = config.attention_bias })
  self.dense = nn.Linear(C, C, { bias = config.attention_bias })
end

---Computes the attention of one layer, from the projections of queries, keys and values to the output projection.
---@param x any          B T C
---@param options table  position_embeddings: cosines and sines, B T R each; attention_mask: B 1 T S; cache: the layer's
---  part of the cache; continues: the tokens continue the text in the cache
---@return any  # a tuple: B T C
function Attention:forward(x, options)
  local q, k, v = attention.split_groups(self.query_key_value(x), self.num_heads, 1, self.head_dim) -- B H T D
  q, k = rotary.apply(q, k, options.position_embeddings, self.rotary_dim, self.head_dim)
  return helpers.tuple(self.dense(attention.attend(self, q, k, v, options)))
end

local MLP = GPTNeoX.MLP

function MLP:init(config)
  self.dense_h_to_4h = nn.Linear(config.hidden_size, config.intermediate_size)
  self.dense_4h_to_h = nn.Linear(config.intermediate_size, config.hidden_size)
  self.act = activations.new(config.hidden_act)
end

function MLP:forward(x) return self.dense_4h_to_h(self.act(self.dense_h_to_4h(x))) end -- B T C

local Layer = GPTNeoX.Layer
Layer.aliases = names.layer { attn = "attention", attn_out = "post_attention_dropout.output",
  mlp_out = "post_mlp_dropout.output", mlp_pre = "mlp.dense_h_to_4h.output", mlp_post = "mlp.dense_4h_to_h.input[0][0]" }
local side_by_side = names.with(Layer.aliases, { resid_mid = names.side_by_side })

function Layer:init(config)
  if config.use_parallel_residual then self.aliases = side_by_side end
  local C, eps = config.hidden_size, config.layer_norm_eps
  self.use_parallel_residual = config.use_parallel_residual
  self.input_layernorm = nn.LayerNorm(C, { eps = eps })
  self.post_attention_layernorm = nn.LayerNorm(C, { eps = eps })
  self.post_attention_dropout = nn.Dropout(config.hidden_dropout)
  self.post_mlp_dropout = nn.Dropout(config.hidden_dropout)
  self.attention = self.family.Attention(config)
  self.mlp = self.family.MLP(config)
end

function Layer:forward(x, options) -- B T C
  local middle = self.post_attention_dropout(self.attention(self.input_layernorm(x), options)[0]) + x -- B T C
  if not self.use_parallel_residual then middle = names.tap("resid_mid", middle) end
  local read = self.use_parallel_residual and x or middle
  return helpers.tuple(self.post_mlp_dropout(self.mlp(self.post_attention_layernorm(read))) + middle) -- B T C
end

local Model = GPTNeoX.Model

function Model:init(config)
  self.both_ways = config.is_causal == false
  self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
  self.emb_dropout = nn.Dropout(config.hidden_dropout)
  self.layers = decoder.layers(self.family.Layer, config)
  self.final_layer_norm = nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_eps })
  self.rotary_emb = self.family.RotaryEmbedding(config.rope_parameters)
end

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T C;
---  cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local x = self.emb_dropout(options.inputs_embeds or self.embed_in(input_ids)) -- B T C
  local see = masks.new(x, options, self.both_ways)
  local rotation = self.rotary_emb(x, { position_ids = options.position_ids or see:positions() })
  local inner = { attention_mask = see:causal(), position_embeddings = rotation }
  for i, layer in self.layers:each() do x = layer(x, cache.for_layer(options, i, inner))[0] end
  return helpers.struct { { "last_hidden_state", self.final_layer_norm(x) } } -- B T C
end

local ForCausalLM = GPTNeoX.ForCausalLM
ForCausalLM.inner, ForCausalLM.embedding, ForCausalLM.final_norm = "gpt_neox", "embed_in", "final_layer_norm"

local fields = decoder.with(decoder.fields, { vocab_size = 50432, hidden_size = 6144, num_hidden_layers = 44,
  num_attention_heads = 64, intermediate_size = { 24576, kind = "size" }, hidden_act = { "gelu", kind = "string" },
  hidden_dropout = { 0, kind = "share" }, layer_norm_eps = { 1e-5, kind = "number" },
  use_parallel_residual = { true, kind = "boolean" }, attention_bias = { true, kind = "boolean" } })

return decoder.architecture(ForCausalLM, function(given)
  local config = decoder.read_config(given, fields)
  config.rope_parameters = rotary.read(config, { rope_theta = config.rotary_emb_base or 10000,
    partial_rotary_factor = config.rotary_pct or 0.25 })
  config.rope_scaling = nil
  return config
end, {
  drop = { "attention%.bias$", "attention%.masked_bias$", "rotary_emb%.inv_freq$" },
  rename = function(name) return (name:gsub("^embed_out%.", "lm_head.")) end,
})
