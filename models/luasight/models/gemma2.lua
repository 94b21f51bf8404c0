--- Gemma 2 (Gemma team 2024, "Gemma 2: Improving Open Language Models at a Practical Size"): a Gemma that also normalizes
--- the outputs of attention and MLP, limits scores and logits, and has a sliding window in every other layer.
local decoder = require "luasight.models.parts.decoder"
local gemma = require "luasight.models.gemma".classes
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local Gemma2 = decoder.family("Gemma2", gemma)

local Attention = Gemma2.Attention

function Attention:init(config, layer)
  llama.Attention.init(self, config, layer)
  self.scale = config.query_pre_attn_scalar ^ -0.5
  self.softcap = config.attn_logit_softcapping or nil
end

local DecoderLayer = Gemma2.DecoderLayer
DecoderLayer.aliases = names.with(llama.DecoderLayer.aliases, { attn_out = "post_attention_layernorm.output",
  mlp_out = "post_feedforward_layernorm.output" })

function DecoderLayer:init(config, layer)
  llama.DecoderLayer.init(self, config, layer)
  self.pre_feedforward_layernorm = self.family.norm(config, self.family)
  self.post_feedforward_layernorm = self.family.norm(config, self.family)
end

function DecoderLayer:forward(x, options) -- B T C
  local attended = self.self_attn(self.input_layernorm(x), options)[0] -- B T C
  local middle = names.tap("resid_mid", x + self.post_attention_layernorm(attended)) -- B T C
  local inner = self.mlp(self.pre_feedforward_layernorm(middle)) -- B T C
  return helpers.tuple(middle + self.post_feedforward_layernorm(inner)) -- B T C
end

function Gemma2.ForCausalLM:adjust(logits) -- B T V
  local cap = self.config.final_logit_softcapping
  return cap and (logits / cap):tanh() * cap or logits
end

Gemma2.fields = decoder.with(gemma.fields, { hidden_size = 2304, intermediate_size = 9216, num_hidden_layers = 26,
  num_attention_heads = 8, num_key_value_heads = 4, hidden_activation = "gelu_pytorch_tanh",
  query_pre_attn_scalar = { 256, kind = "size" }, sliding_window = { 4096, kind = "window" },
  attn_logit_softcapping = { 50, kind = "cap" }, final_logit_softcapping = { 30, kind = "cap" } })

local architecture = llama.architecture(Gemma2, function(given)
  local config = gemma.read_config(given, Gemma2.fields)
  config.hidden_act = config.hidden_activation
  config.windows = decoder.windows(config, function(layer) return layer % 2 == 0 end)
  return config
end)
architecture.classes = Gemma2
return architecture
