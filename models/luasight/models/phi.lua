--- Phi (Gunasekar et al. 2023, "Textbooks Are All You Need"): attention and MLP read the same normalized vectors in
--- parallel; a part of each head has rotary embeddings; all linear layers have a bias.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"
local attention = require "luasight.models.parts.attention"
local rotary = require "luasight.models.parts.rotary"

local nn = ls.nn

local Phi = llama.family "Phi"

function Phi.norm(config) return nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_eps }) end

local Attention = Phi.Attention

function Attention:init(config)
  local C, D = config.hidden_size, config.head_dim
  local H, Hk = config.num_attention_heads, config.num_key_value_heads
  self.num_heads, self.num_key_value_heads, self.head_dim = H, Hk, D
  self.pattern_dropout, self.rotary_dim = config.attention_dropout, config.rope_parameters.size
  self.q_proj = nn.Linear(C, H * D)
  self.k_proj = nn.Linear(C, Hk * D)
  self.v_proj = nn.Linear(C, Hk * D)
  self.dense = nn.Linear(H * D, C)
  if config.qk_layernorm then
    self.q_layernorm = nn.LayerNorm(D, { eps = config.layer_norm_eps })
    self.k_layernorm = nn.LayerNorm(D, { eps = config.layer_norm_eps })
    self.q_layernorm.token_axis, self.k_layernorm.token_axis = attention.per_head, attention.per_head
  end
end

function Attention:forward(x, options) -- B T C
  local q, k, v = self:project(x) -- B H T D
  if self.q_layernorm then q, k = self.q_layernorm(q), self.k_layernorm(k) end
  q, k = rotary.apply(q, k, options.position_embeddings, self.rotary_dim, self.head_dim)
  return helpers.tuple(self.dense(attention.attend(self, q, k, v, options))) -- B T C
end

local MLP = Phi.MLP

function MLP:init(config)
  self.activation_fn = activations.new(config.hidden_act)
  self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
  self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
end

function MLP:forward(x) return self.fc2(self.activation_fn(self.fc1(x))) end -- B T C

local DecoderLayer = Phi.DecoderLayer
DecoderLayer.aliases = names.layer { attn = "self_attn", attn_out = ":attn_out", resid_mid = names.side_by_side,
  mlp_out = ":mlp_out", mlp_pre = "mlp.fc1.output", mlp_post = "mlp.fc2.input[0][0]" }

function DecoderLayer:init(config, layer)
  self.self_attn = self.family.Attention(config, layer)
  self.mlp = self.family.MLP(config)
  self.input_layernorm = self.family.norm(config)
  self.resid_dropout = nn.Dropout(config.resid_pdrop)
end

function DecoderLayer:forward(x, options) -- B T C
  local y = self.input_layernorm(x) -- B T C
  local attended = names.tap("attn_out", self.resid_dropout(self.self_attn(y, options)[0])) -- B T C
  return helpers.tuple(attended + names.tap("mlp_out", self.resid_dropout(self.mlp(y))) + x) -- B T C
end

local Model = Phi.Model

function Model:init(config)
  self.both_ways = config.is_causal == false
  self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, { padding_idx = config.pad_token_id })
  self.layers = decoder.layers(self.family.DecoderLayer, config)
  self.rotary_emb = self.family.RotaryEmbedding(config.rope_parameters)
  self.embed_dropout = nn.Dropout(config.embd_pdrop)
  self.final_layernorm = self.family.norm(config)
end

function Model:enter(x) return self.embed_dropout(x) end -- B T C
function Model:leave(x) return self.final_layernorm(x) end -- B T C

Phi.ForCausalLM.head_bias, Phi.ForCausalLM.final_norm = true, "final_layernorm"

local fields = decoder.with(llama.fields, { vocab_size = 51200, hidden_size = 2048, intermediate_size = 8192,
  num_hidden_layers = 24, hidden_act = "gelu_new", layer_norm_eps = { 1e-5, kind = "number" },
  qk_layernorm = { false, kind = "boolean" }, embd_pdrop = { 0, kind = "share" }, resid_pdrop = { 0, kind = "share" } })

return llama.architecture(Phi, function(given)
  return llama.read_config(given, fields, { rope_theta = 10000, partial_rotary_factor = 0.5 })
end)
