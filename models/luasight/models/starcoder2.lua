--- StarCoder2 (Lozhkov et al. 2024, "StarCoder 2 and The Stack v2"): a Llama with LayerNorms, biases, an MLP without a
--- gate, and layers that may have a sliding window.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local nn = ls.nn

local Starcoder2 = llama.family "Starcoder2"

function Starcoder2.norm(config) return nn.LayerNorm(config.hidden_size, { eps = config.norm_epsilon }) end

function Starcoder2.biases(config) return config.use_bias, config.use_bias, config.use_bias end

local function drop(module, x) return decoder.dropout(module, x, module.p) end

local Attention = Starcoder2.Attention

function Attention:init(config, layer)
  llama.Attention.init(self, config, layer)
  self.p = config.residual_dropout
end

function Attention:forward(x, options) -- B T C
  return helpers.tuple(drop(self, llama.Attention.forward(self, x, options)[0])) -- B T C
end

local MLP = Starcoder2.MLP

function MLP:init(config)
  local C, I = config.hidden_size, config.intermediate_size
  self.c_fc = nn.Linear(C, I, { bias = config.use_bias })
  self.c_proj = nn.Linear(I, C, { bias = config.use_bias })
  self.act = activations.new(config.hidden_act)
  self.p = config.residual_dropout
end

function MLP:forward(x) return drop(self, self.c_proj(self.act(self.c_fc(x)))) end -- B T C

Starcoder2.DecoderLayer.aliases = names.with(llama.DecoderLayer.aliases, { mlp_pre = "mlp.c_fc.output",
  mlp_post = "mlp.c_proj.input[0][0]" })

local Model = Starcoder2.Model

function Model:init(config)
  llama.Model.init(self, config)
  self.p = config.embedding_dropout
end

function Model:enter(x) return drop(self, x) end -- B T C

local fields = decoder.with(llama.fields, { vocab_size = 49152, hidden_size = 3072, intermediate_size = 12288,
  num_hidden_layers = 30, num_attention_heads = 24, num_key_value_heads = 2, hidden_act = "gelu_pytorch_tanh",
  max_position_embeddings = 4096, initializer_range = 0.018042, tie_word_embeddings = true,
  norm_epsilon = { 1e-5, kind = "number" }, use_bias = { true, kind = "boolean" },
  sliding_window = { false, kind = "window" }, residual_dropout = { 0, kind = "share" },
  embedding_dropout = { 0, kind = "share" } })

return llama.architecture(Starcoder2, function(given)
  local config = llama.read_config(given, fields)
  config.layer_types = nil -- this family does not have it
  config.windows = decoder.windows(config, function() return true end)
  return config
end)
