--- StableLM (Bellagente et al. 2024, "Stable LM 2 1.6B Technical Report"): a Llama with LayerNorms and rotary embeddings on
--- a part of each head; settings can put attention and MLP in parallel and add a norm for each head.
local ls = require "luasight"
local attention = require "luasight.models.parts.attention"
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local torch, nn = ls.torch, ls.nn

local StableLm = llama.family "StableLm"

function StableLm.norm(config) return nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_eps }) end

function StableLm.biases(config) return config.use_qkv_bias, false, false end

local LayerNormPerHead = nn.Module "StableLmLayerNormPerHead"
LayerNormPerHead.token_axis = attention.per_head

function LayerNormPerHead:init(D, heads, eps)
  local norms = {}
  for head = 1, heads do norms[head] = nn.LayerNorm(D, { eps = eps, bias = false }) end
  self.norms = nn.ModuleList(norms)
  for _, norm in self.norms:each() do norm.token_axis = attention.per_head end
end

function LayerNormPerHead:forward(x) -- B H T D
  local heads = {}
  for i, norm in self.norms:each() do heads[i + 1] = norm(x:narrow(1, i, 1)) end -- B 1 T D each
  return torch.cat(heads, 1) -- B H T D
end

local Attention = StableLm.Attention

function Attention:init(config, layer)
  llama.Attention.init(self, config, layer)
  if not config.qk_layernorm then return end
  self.q_layernorm = LayerNormPerHead(self.head_dim, self.num_heads, config.layer_norm_eps)
  self.k_layernorm = LayerNormPerHead(self.head_dim, self.num_key_value_heads, config.layer_norm_eps)
end

function Attention:project(x) -- B T C
  local q, k, v = llama.Attention.project(self, x) -- B H T D
  if not self.q_layernorm then return q, k, v end
  return self.q_layernorm(q), self.k_layernorm(k), v
end

local DecoderLayer = StableLm.DecoderLayer
DecoderLayer.aliases = names.with(llama.DecoderLayer.aliases, { mlp_out = "dropout.output" })
local side_by_side = names.with(DecoderLayer.aliases, { resid_mid = names.side_by_side })

function DecoderLayer:init(config, layer)
  if config.use_parallel_residual then self.aliases = side_by_side end
  self.self_attn = self.family.Attention(config, layer)
  self.mlp = self.family.MLP(config)
  self.input_layernorm = self.family.norm(config)
  if not config.use_parallel_residual then self.post_attention_layernorm = self.family.norm(config) end
  self.dropout = nn.Dropout(config.hidden_dropout)
end

function DecoderLayer:forward(x, options) -- B T C
  local y = self.input_layernorm(x) -- B T C
  local middle = x + self.self_attn(y, options)[0] -- B T C
  if self.post_attention_layernorm then
    middle = names.tap("resid_mid", middle)
    y = self.post_attention_layernorm(middle)
  end
  return helpers.tuple(middle + self.dropout(self.mlp(y))) -- B T C
end

local fields = decoder.with(llama.fields, { vocab_size = 50304, hidden_size = 2560, intermediate_size = 6912,
  num_key_value_heads = 32, max_position_embeddings = 4096, layer_norm_eps = { 1e-5, kind = "number" },
  use_qkv_bias = { false, kind = "boolean" }, qk_layernorm = { false, kind = "boolean" },
  use_parallel_residual = { false, kind = "boolean" }, hidden_dropout = { 0, kind = "share" } })

return llama.architecture(StableLm, function(given)
  return llama.read_config(given, fields, { rope_theta = 10000, partial_rotary_factor = 0.25 })
end)
