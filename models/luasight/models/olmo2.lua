--- OLMo 2 (OLMo team 2024, "2 OLMo 2 Furious"): a Llama that normalizes the outputs of attention and MLP instead of their
--- inputs, and queries and keys over all heads together.
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local attention = require "luasight.models.parts.attention"
local helpers = require "luasight.family"

local Olmo2 = llama.family "Olmo2"

function Olmo2.biases(config) return config.attention_bias, config.attention_bias, false end

local Attention = Olmo2.Attention

function Attention:init(config, layer)
  llama.Attention.init(self, config, layer)
  local D = config.head_dim
  self.q_norm = self.family.RMSNorm(config.num_attention_heads * D, config.rms_norm_eps)
  self.k_norm = self.family.RMSNorm(config.num_key_value_heads * D, config.rms_norm_eps)
end

function Attention:project(x) -- B T C
  local H, Hk, D = self.num_heads, self.num_key_value_heads, self.head_dim
  return attention.split(self.q_norm(self.q_proj(x)), H, D), attention.split(self.k_norm(self.k_proj(x)), Hk, D),
    attention.split(self.v_proj(x), Hk, D)
end

local DecoderLayer = Olmo2.DecoderLayer
DecoderLayer.aliases = names.with(llama.DecoderLayer.aliases, { attn_out = "post_attention_layernorm.output",
  mlp_out = "post_feedforward_layernorm.output" })

function DecoderLayer:init(config, layer)
  local family = self.family
  self.self_attn = family.Attention(config, layer)
  self.mlp = family.MLP(config, layer)
  self.post_attention_layernorm = family.norm(config, family)
  self.post_feedforward_layernorm = family.norm(config, family)
end

function DecoderLayer:forward(x, options) -- B T C
  local middle = names.tap("resid_mid", x + self.post_attention_layernorm(self.self_attn(x, options)[0])) -- B T C
  return helpers.tuple(middle + self.post_feedforward_layernorm(self.mlp(middle))) -- B T C
end

local fields = decoder.with(llama.fields, { vocab_size = 50304, rms_norm_eps = 1e-5,
  pad_token_id = { 1, kind = "token" } })

return llama.architecture(Olmo2, function(given) return llama.read_config(given, fields) end)
