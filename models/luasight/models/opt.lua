--- OPT (Zhang et al. 2022, "OPT: Open Pre-trained Transformer Language Models"): learned position embeddings that begin at
--- row 2, norms before or behind attention and MLP, and token embeddings that may have another width than the layers.
---
--- Axes: B batch, T position, C width, E width of the token embeddings, H heads, D head width.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local config_reader = require "luasight.models.parts.config"
local decoder = require "luasight.models.parts.decoder"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local nn = ls.nn

local OPT = decoder.family("OPT", {
  LearnedPositionalEmbedding = nn.Module("LearnedPositionalEmbedding", nn.Embedding),
  Attention = nn.Module("Attention", attention.Attention),
  DecoderLayer = nn.Module "DecoderLayer",
  Decoder = nn.Module "Decoder",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})

local FIRST = 2 -- the row of position 0 in the table of position embeddings

function OPT.LearnedPositionalEmbedding:forward(positions) -- B T
  return nn.Embedding.forward(self, positions + FIRST) -- B T C
end

local Attention = OPT.Attention

function Attention:init(config)
  local C, bias = config.hidden_size, { bias = config.enable_bias }
  self.num_heads, self.head_dim = config.num_attention_heads, config.head_dim
  self.pattern_dropout = config.attention_dropout
  self.scale = 1 -- the scores are not scaled, since forward scales the queries
  self.k_proj = nn.Linear(C, C, bias)
  self.v_proj = nn.Linear(C, C, bias)
  self.q_proj = nn.Linear(C, C, bias)
  self.out_proj = nn.Linear(C, C, bias)
end

---Computes the attention of one layer, from the projections of queries, keys and values to the output projection.
---@param x any          B T C
---@param options table?  attention_mask: B 1 T S; cache: the layer's part of the cache; continues: the tokens continue the
---  text in the cache
---@return any  # a tuple: B T C
function Attention:forward(x, options)
  local function heads(y) return attention.split(y, self.num_heads, self.head_dim) end -- B H T D
  local q = heads(self.q_proj(x) * self.head_dim ^ -0.5)
  return helpers.tuple(self.out_proj(attention.attend(self, q, heads(self.k_proj(x)), heads(self.v_proj(x)), options)))
end

---@param config table
---@return table
local function norm(config)
  return nn.LayerNorm(config.hidden_size, { elementwise_affine = config.layer_norm_elementwise_affine })
end

local DecoderLayer = OPT.DecoderLayer
DecoderLayer.aliases = names.layer { attn = "self_attn", attn_out = ":attn_out", mlp_out = ":mlp_out",
  mlp = names.none "its parts fc1, activation_fn and fc2 stand in the layer itself", mlp_pre = "fc1.output",
  mlp_post = "fc2.input[0][0]" }

function DecoderLayer:init(config)
  local C, bias = config.hidden_size, { bias = config.enable_bias }
  self.before, self.p = config.do_layer_norm_before, config.dropout
  self.self_attn = self.family.Attention(config)
  self.activation_fn = activations.new(config.activation_function)
  self.self_attn_layer_norm = norm(config)
  self.fc1 = nn.Linear(C, config.ffn_dim, bias)
  self.fc2 = nn.Linear(config.ffn_dim, C, bias)
  self.final_layer_norm = norm(config)
end

---Applies the attention or the MLP of a layer together with its norm, and adds the result to the residual stream.
local function around(self, x, layer_norm, name, part)
  local y = decoder.dropout(self, part(self.before and layer_norm(x) or x), self.p)
  y = names.tap(name, y) + x
  return self.before and y or layer_norm(y)
end

function DecoderLayer:forward(x, options) -- B T C
  local middle = names.tap("resid_mid", around(self, x, self.self_attn_layer_norm, "attn_out", function(y)
    return self.self_attn(y, options)[0]
  end)) -- B T C
  return helpers.tuple(around(self, middle, self.final_layer_norm, "mlp_out", function(y)
    return self.fc2(self.activation_fn(self.fc1(y)))
  end)) -- B T C
end

local Decoder = OPT.Decoder

function Decoder:init(config)
  local C, E = config.hidden_size, config.word_embed_proj_dim or config.hidden_size
  self.both_ways = config.is_causal == false
  self.embed_tokens = nn.Embedding(config.vocab_size, E, { padding_idx = config.pad_token_id })
  self.embed_positions = self.family.LearnedPositionalEmbedding(config.max_position_embeddings + FIRST, C)
  if E ~= C then
    self.project_out = nn.Linear(C, E, { bias = false })
    self.project_in = nn.Linear(E, C, { bias = false })
  end
  if config.do_layer_norm_before and not config._remove_final_layer_norm then self.final_layer_norm = norm(config) end
  self.layers = decoder.layers(self.family.DecoderLayer, config)
end

---Runs the model without its head: embeddings and all layers.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T E;
---  cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T E
function Decoder:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local x = options.inputs_embeds or self.embed_tokens(input_ids) -- B T E
  local see = masks.new(x, options, self.both_ways)
  local places = self.embed_positions(options.position_ids or see:positions()) -- B T C
  x = (self.project_in and self.project_in(x) or x) + places -- B T C
  local inner = { attention_mask = see:causal() }
  for i, layer in self.layers:each() do x = layer(x, cache.for_layer(options, i, inner))[0] end
  if self.final_layer_norm then x = self.final_layer_norm(x) end
  if self.project_out then x = self.project_out(x) end -- B T E
  return helpers.struct { { "last_hidden_state", x } }
end

function OPT.Model:init(config) self.decoder = self.family.Decoder(config) end

function OPT.Model:forward(input_ids, options) return self.decoder(input_ids, options) end

-- ---- the language model ----------------------------------------------------------------------------------------------

local ForCausalLM = OPT.ForCausalLM
ForCausalLM.inner, ForCausalLM.embedding, ForCausalLM.reads_beyond = "model", "decoder.embed_tokens", false
ForCausalLM.blocks, ForCausalLM.final_norm = "decoder.layers", "decoder.final_layer_norm"

function ForCausalLM:init(config)
  self.config = config
  self.model = self.family.Model(config)
  self.lm_head = nn.Linear(config.word_embed_proj_dim or config.hidden_size, config.vocab_size, { bias = false })
  if not self.model.decoder.final_layer_norm then
    self.aliases = names.with(self.aliases, { norm = names.none "the last layer normalises what it gives" })
  end
  self:tie_weights()
end

-- Returns the decoder, which computes the output. The module `model` around the decoder is not called and has no output.
function ForCausalLM:body() return self.model.decoder end

local fields = decoder.with(decoder.fields, { vocab_size = 50272, hidden_size = 768, num_hidden_layers = 12,
  num_attention_heads = 12, tie_word_embeddings = true, ffn_dim = { 3072, kind = "size" },
  do_layer_norm_before = { true, kind = "boolean" }, _remove_final_layer_norm = { false, kind = "boolean" },
  word_embed_proj_dim = { nil, kind = "size" }, -- by default hidden_size
  dropout = { 0.1, kind = "share" }, activation_function = { "relu", kind = "string" },
  enable_bias = { true, kind = "boolean" }, layer_norm_elementwise_affine = { true, kind = "boolean" },
  pad_token_id = { 1, kind = "token" } })

return decoder.architecture(ForCausalLM, function(given)
  if given.layerdrop ~= 0 then config_reader.refuse(given, { "layerdrop" }) end
  return decoder.read_config(given, fields, { init_std = "initializer_range" })
end)
