--- BLOOM (BigScience 2022, "BLOOM: A 176B-Parameter Open-Access Multilingual Language Model"): instead of position
--- embeddings, attention scores fall with the distance of the positions; the token embeddings are normalized.
---
--- Axes: B batch, T position, C width, H heads, D head width.
local ls = require "luasight"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local decoder = require "luasight.models.parts.decoder"
local helpers = require "luasight.family"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"

local nn = ls.nn

local Bloom = decoder.family("Bloom", {
  Gelu = nn.Module "Gelu",
  Attention = nn.Module("Attention", attention.Attention),
  MLP = nn.Module "MLP",
  Block = nn.Module "Block",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})

function Bloom.Gelu:forward(x) return x:gelu { approximate = "tanh" } end

local Attention = Bloom.Attention

function Attention:init(config)
  local C = config.hidden_size
  self.num_heads, self.head_dim = config.num_attention_heads, config.head_dim
  self.pattern_dropout = config.attention_dropout
  self.p = config.hidden_dropout
  self.query_key_value = nn.Linear(C, 3 * C)
  self.dense = nn.Linear(C, C)
  self.attention_dropout = nn.Dropout(config.attention_dropout) -- for printing only: attention.attend applies the dropout
end

---Computes the attention of one layer and adds the result to `residual`.
---@param x any          B T C
---@param residual any   B T C, the tensor to which the result is added
---@param options table  attention_mask: B H T S, numbers added to the scores; cache: this layer's part of the
---  cache; continues: the tokens continue the text in the cache
---@return any  # a tuple: B T C
function Attention:forward(x, residual, options)
  local q, k, v = attention.split_groups(self.query_key_value(x), self.num_heads, 1, self.head_dim) -- B H T D
  local y = self.dense(attention.attend(self, q, k, v, options)) -- B T C
  return helpers.tuple(residual + names.tap("attn_out", decoder.dropout(self, y, self.p)))
end

local MLP = Bloom.MLP

function MLP:init(config)
  local C = config.hidden_size
  self.p = config.hidden_dropout
  self.dense_h_to_4h = nn.Linear(C, 4 * C)
  self.gelu_impl = self.family.Gelu()
  self.dense_4h_to_h = nn.Linear(4 * C, C)
end

---Computes the MLP of one layer and adds the result to `residual`.
---@param x any         B T C
---@param residual any  B T C, the tensor to which the result is added
---@return any  # B T C
function MLP:forward(x, residual)
  local y = self.dense_4h_to_h(self.gelu_impl(self.dense_h_to_4h(x))) -- B T C
  return residual + names.tap("mlp_out", decoder.dropout(self, y, self.p))
end

local Block = Bloom.Block
Block.aliases = names.layer { attn = "self_attention", attn_out = "self_attention:attn_out", mlp_out = "mlp:mlp_out",
  resid_mid = "self_attention.output[0]", mlp_pre = "mlp.dense_h_to_4h.output",
  mlp_post = "mlp.dense_4h_to_h.input[0][0]" }

function Block:init(config)
  local C, eps = config.hidden_size, config.layer_norm_epsilon
  self.after = config.apply_residual_connection_post_layernorm
  self.input_layernorm = nn.LayerNorm(C, { eps = eps })
  self.self_attention = self.family.Attention(config)
  self.post_attention_layernorm = nn.LayerNorm(C, { eps = eps })
  self.mlp = self.family.MLP(config)
end

function Block:forward(x, options) -- B T C
  local y = self.input_layernorm(x) -- B T C
  local middle = self.self_attention(y, self.after and y or x, options)[0] -- B T C
  y = self.post_attention_layernorm(middle)
  return helpers.tuple(self.mlp(y, self.after and y or middle)) -- B T C
end

local Model = Bloom.Model

function Model:init(config)
  local C, eps = config.hidden_size, config.layer_norm_epsilon
  self.num_heads = config.num_attention_heads
  self.both_ways = config.is_causal == false
  self.word_embeddings = nn.Embedding(config.vocab_size, C)
  self.word_embeddings_layernorm = nn.LayerNorm(C, { eps = eps })
  self.h = decoder.layers(self.family.Block, config)
  self.ln_f = nn.LayerNorm(C, { eps = eps })
end

local inputs = { "input_ids", "attention_mask", "inputs_embeds" }

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; inputs_embeds: B T C; cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options, inputs)
  local x = self.word_embeddings_layernorm(options.inputs_embeds or self.word_embeddings(input_ids)) -- B T C
  local see = masks.new(x, options, self.both_ways)
  local mask = see:biased(see:alibi(self.num_heads, self.word_embeddings.weight.device)) -- B H T S
  for i, block in self.h:each() do x = block(x, cache.for_layer(options, i, { attention_mask = mask }))[0] end
  return helpers.struct { { "last_hidden_state", self.ln_f(x) } } -- B T C
end

local ForCausalLM = Bloom.ForCausalLM
ForCausalLM.inner, ForCausalLM.embedding, ForCausalLM.arguments = "transformer", "word_embeddings", inputs
ForCausalLM.blocks, ForCausalLM.final_norm = "h", "ln_f"

local fields = decoder.with(decoder.fields, { vocab_size = 250880, hidden_size = 64, num_hidden_layers = 2,
  num_attention_heads = 8, tie_word_embeddings = true, layer_norm_epsilon = { 1e-5, kind = "number" },
  apply_residual_connection_post_layernorm = { false, kind = "boolean" }, hidden_dropout = { 0, kind = "share" },
  max_position_embeddings = { nil, kind = "size" } })

local aliases = { n_layer = "num_hidden_layers", n_head = "num_attention_heads", n_embed = "hidden_size" }

return decoder.architecture(ForCausalLM, function(given)
  if given.slow_but_exact and (given.pretraining_tp or 1) > 1 then
    helpers.raise("format", "the setting slow_but_exact = true with a pretraining_tp above 1 is not implemented")
  end
  return decoder.read_config(given, fields, aliases)
end)
