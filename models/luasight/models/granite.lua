--- Granite 3 (IBM 2024): a Llama that multiplies embeddings, attention scores, residuals and logits by constant
--- factors.
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local Granite = llama.family "Granite"

local Attention = Granite.Attention

function Attention:init(config, layer)
  llama.Attention.init(self, config, layer)
  self.scale = config.attention_multiplier
end

local DecoderLayer = Granite.DecoderLayer
DecoderLayer.aliases = names.with(llama.DecoderLayer.aliases, { attn_out = ":attn_out", mlp_out = ":mlp_out" })

function DecoderLayer:init(config, layer)
  llama.DecoderLayer.init(self, config, layer)
  self.residual_multiplier = config.residual_multiplier
end

function DecoderLayer:forward(x, options) -- B T C
  local m = self.residual_multiplier
  local attended = names.tap("attn_out", self.self_attn(self.input_layernorm(x), options)[0] * m) -- B T C
  local middle = names.tap("resid_mid", x + attended) -- B T C
  return helpers.tuple(middle + names.tap("mlp_out", self.mlp(self.post_attention_layernorm(middle)) * m)) -- B T C
end

local Model = Granite.Model

function Model:init(config)
  llama.Model.init(self, config)
  self.embedding_multiplier = config.embedding_multiplier
end

function Model:enter(x) return x * self.embedding_multiplier end -- B T C

function Granite.ForCausalLM:adjust(logits) return logits / self.config.logits_scaling end -- B T V

local number = { 1, kind = "number" }
local fields = decoder.with(llama.fields, { embedding_multiplier = number, attention_multiplier = number,
  residual_multiplier = number, logits_scaling = number })

return llama.architecture(Granite, function(given)
  local config = llama.read_config(given, fields)
  if config.attention_multiplier < 0 then
    helpers.raise("format", ("the setting attention_multiplier is %s, but it must not be negative"):format(
      config.attention_multiplier))
  end
  return config
end)
