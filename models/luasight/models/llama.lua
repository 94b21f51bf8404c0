--- Llama (Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models"), with the module paths of Hugging
--- Face. Many families are Llamas with a few changes: they inherit these classes and define what differs.
---
--- Axes: B batch, T position, C width, H heads, D head width, S position with those in the cache, I inner width of the MLP,
--- V vocabulary.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local decoder = require "luasight.models.parts.decoder"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"
local norms = require "luasight.models.parts.norms"
local rotary = require "luasight.models.parts.rotary"
local helpers = require "luasight.family"

local nn = ls.nn

local Llama = decoder.family("Llama", {
  RMSNorm = norms.RMSNorm,
  RotaryEmbedding = rotary.Embedding,
  Attention = nn.Module("Attention", attention.Attention),
  MLP = nn.Module "MLP",
  DecoderLayer = nn.Module "DecoderLayer",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})

---Makes a norm of a layer, before or behind the attention or the MLP.
---@param config table
---@param family table
---@return table  # a module for tensors of width C
function Llama.norm(config, family) return family.RMSNorm(config.hidden_size, config.rms_norm_eps) end

---Returns which linear layers have a bias: those of q, k and v, the output layer of the attention, those of the MLP.
---@param config table
---@return boolean, boolean, boolean
function Llama.biases(config) return config.attention_bias, config.attention_bias, config.mlp_bias end

-- ---- attention -------------------------------------------------------------------------------------------------------

local Attention = Llama.Attention

---Makes the linear layers of an attention module.
---@param config table
---@param layer integer  the number of the layer, from 0
function Attention:init(config, layer) -- luacheck: ignore layer
  local C, D = config.hidden_size, config.head_dim
  local H, Hk = config.num_attention_heads, config.num_key_value_heads
  self.num_heads, self.num_key_value_heads, self.head_dim = H, Hk, D
  self.scale, self.pattern_dropout = D ^ -0.5, config.attention_dropout
  self.rotary_dim = config.rope_parameters.size
  local inner, outer = self.family.biases(config)
  self.q_proj = nn.Linear(C, H * D, { bias = inner })
  self.k_proj = nn.Linear(C, Hk * D, { bias = inner })
  self.v_proj = nn.Linear(C, Hk * D, { bias = inner })
  self.o_proj = nn.Linear(H * D, C, { bias = outer })
end

---Returns queries, keys and values before the rotary embedding is applied.
---@param x any  B T C
---@return any q, any k, any v  # B H T D; k and v with the key/value heads
function Attention:project(x)
  local H, Hk, D = self.num_heads, self.num_key_value_heads, self.head_dim
  return attention.split(self.q_proj(x), H, D), attention.split(self.k_proj(x), Hk, D),
    attention.split(self.v_proj(x), Hk, D)
end

---Computes the attention of one layer, from the projections of queries, keys and values to the output projection.
---@param x any          B T C
---@param options table  position_embeddings: cosines and sines, B T D each; attention_mask: B 1 T S; cache: the layer's
---  part of the cache; continues: the tokens continue the text in the cache
---@return any  # a tuple: B T C
function Attention:forward(x, options)
  local q, k, v = self:project(x)
  q, k = rotary.apply(q, k, options.position_embeddings, self.rotary_dim, self.head_dim)
  return helpers.tuple(self.o_proj(attention.attend(self, q, k, v, options)))
end

-- ---- layers ----------------------------------------------------------------------------------------------------------

local MLP = Llama.MLP

---@param config table
function MLP:init(config)
  local C, I = config.hidden_size, config.intermediate_size
  local _, _, bias = self.family.biases(config)
  self.gate_proj = nn.Linear(C, I, { bias = bias })
  self.up_proj = nn.Linear(C, I, { bias = bias })
  self.down_proj = nn.Linear(I, C, { bias = bias })
  self.act_fn = activations.new(config.hidden_act)
end

function MLP:forward(x) -- B T C
  return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x)) -- B T C
end

local DecoderLayer = Llama.DecoderLayer
DecoderLayer.aliases = names.layer { attn = "self_attn", mlp_pre = "mlp.gate_proj.output",
  mlp_post = "mlp.down_proj.input[0][0]" }

---@param config table
---@param layer integer
function DecoderLayer:init(config, layer)
  local family = self.family
  self.self_attn = family.Attention(config, layer)
  self.mlp = family.MLP(config, layer)
  self.input_layernorm = family.norm(config, family)
  self.post_attention_layernorm = family.norm(config, family)
end

---Runs one layer: adds the output of the attention and then that of the MLP to x.
---@param x any          B T C
---@param options table  the options of the attention
---@return any  # a tuple: B T C
function DecoderLayer:forward(x, options)
  local middle = names.tap("resid_mid", x + self.self_attn(self.input_layernorm(x), options)[0]) -- B T C
  return helpers.tuple(middle + self.mlp(self.post_attention_layernorm(middle))) -- B T C
end

-- ---- the model -------------------------------------------------------------------------------------------------------

local Model = Llama.Model

---@param config table
function Model:init(config)
  local family = self.family
  self.windows, self.both_ways = config.windows, config.is_causal == false
  self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, { padding_idx = config.pad_token_id })
  self.layers = decoder.layers(family.DecoderLayer, config)
  self.norm = family.norm(config, family)
  self.rotary_emb = family.RotaryEmbedding(config.rope_parameters)
end

---Returns the input of the first layer: the token embeddings, unless a family replaces this method.
---@param x any  B T C, the token embeddings
---@return any
function Model:enter(x) return x end

---Returns the input of the head: the normalized output of the last layer.
---@param x any  B T C, the output of the last layer
---@return any
function Model:leave(x) return self.norm(x) end

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T C;
---  cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local x = self:enter(options.inputs_embeds or self.embed_tokens(input_ids)) -- B T C
  local see = masks.new(x, options, self.both_ways)
  local rotation = self.rotary_emb(x, { position_ids = options.position_ids or see:positions() })
  for i, layer in self.layers:each() do
    local window = self.windows and self.windows[i + 1] or nil
    local inner = { attention_mask = see:causal(window), position_embeddings = rotation }
    x = layer(x, cache.for_layer(options, i, inner))[0]
  end
  return helpers.struct { { "last_hidden_state", self:leave(x) } } -- B T C
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

---@type table<string, luasight.ConfigField>
Llama.fields = decoder.with(decoder.fields, {
  intermediate_size = { 11008, kind = "size" },
  num_key_value_heads = { nil, kind = "size" }, -- by default num_attention_heads
  head_dim = { nil, kind = "size" },            -- by default hidden_size / heads
  hidden_act = { "silu", kind = "string" },
  rms_norm_eps = { 1e-6, kind = "number" },
  attention_bias = { false, kind = "boolean" },
  mlp_bias = { false, kind = "boolean" },
  pad_token_id = { nil, kind = "token" },
})

---Reads a configuration of a family with rotary embeddings.
---@param given table
---@param fields table<string, luasight.ConfigField>
---@param rope table?  the defaults of rope_theta and partial_rotary_factor
---@param aliases table<string, string>?
---@return table
function Llama.read_config(given, fields, rope, aliases)
  local config = decoder.read_config(given, fields, aliases)
  config.num_key_value_heads = config.num_key_value_heads or config.num_attention_heads
  config.rope_parameters = rotary.read(config, rope or { rope_theta = 10000 })
  config.rope_scaling = nil
  return config
end

---Derives the classes of another family, which is a Llama with changes, from those of Llama.
---@param prefix string  the prefix of the classes' names, such as "Qwen2"
---@return table
function Llama.family(prefix) return decoder.family(prefix, Llama) end

---Makes the architecture of a family that is a Llama with changes.
---@param family table  the classes of the family
---@param read fun(given: table): table  reads a configuration
---@return luasight.Architecture
function Llama.architecture(family, read)
  return decoder.architecture(family.ForCausalLM, read, { drop = { "rotary_emb%.inv_freq$" } })
end

local architecture = Llama.architecture(Llama, function(given) return Llama.read_config(given, Llama.fields) end)
architecture.classes = Llama
return architecture
