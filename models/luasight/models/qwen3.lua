--- Qwen3 (Yang et al. 2025, "Qwen3 Technical Report"): a Qwen2 whose queries and keys are normalized in each head.
local decoder = require "luasight.models.decoder"
local llama = require "luasight.models.llama".classes
local qwen2 = require "luasight.models.qwen2".classes

local Qwen3 = decoder.family("Qwen3", qwen2)

function Qwen3.biases(config) return config.attention_bias, config.attention_bias, false end

local Attention = Qwen3.Attention

function Attention:init(config, layer)
  llama.Attention.init(self, config, layer)
  self.q_norm = self.family.RMSNorm(config.head_dim, config.rms_norm_eps)
  self.k_norm = self.family.RMSNorm(config.head_dim, config.rms_norm_eps)
end

function Attention:project(x) -- B T C
  local q, k, v = llama.Attention.project(self, x) -- B H T D
  return self.q_norm(q:transpose(1, 2)):transpose(1, 2), self.k_norm(k:transpose(1, 2)):transpose(1, 2), v
end

Qwen3.fields = decoder.with(qwen2.fields, { head_dim = 128 })

local architecture = llama.architecture(Qwen3, function(given) return qwen2.read_config(given, Qwen3.fields) end)
architecture.classes = Qwen3
return architecture
