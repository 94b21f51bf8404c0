--- Mixtral (Jiang et al. 2024, "Mixtral of Experts"): a Mistral with a mixture of experts instead of each MLP.
local ls = require "luasight"
local decoder = require "luasight.models.parts.decoder"
local experts = require "luasight.models.parts.experts"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"

local nn = ls.nn

local Mixtral = llama.family "Mixtral"

function Mixtral.biases() return false, false, false end

Mixtral.TopKRouter = nn.Module("MixtralTopKRouter", experts.TopKRouter)
Mixtral.Experts = nn.Module("MixtralExperts", experts.Experts)

local SparseMoeBlock = nn.Module "MixtralSparseMoeBlock"
Mixtral.MLP = SparseMoeBlock

function SparseMoeBlock:init(config)
  local C, E = config.hidden_size, config.num_local_experts
  self.jitter = config.router_jitter_noise
  self.gate = Mixtral.TopKRouter(C, E, config.num_experts_per_tok, true)
  self.experts = Mixtral.Experts(C, config.intermediate_size, E, config.hidden_act)
end

function SparseMoeBlock:forward(x) -- B T C
  if self.training and self.jitter > 0 then x = x * (x:rand_like() * (2 * self.jitter) + (1 - self.jitter)) end
  local tokens = x:flatten(0, 1) -- N C
  local routed = self.gate(tokens)
  return self.experts(tokens, routed[2], routed[1]):view(x.shape) -- B T C
end

Mixtral.DecoderLayer.aliases = names.with(llama.DecoderLayer.aliases, { mlp_pre = names.experts, mlp_post = names.experts })

local fields = decoder.with(llama.fields, { intermediate_size = 14336, num_key_value_heads = 8, rms_norm_eps = 1e-5,
  max_position_embeddings = 131072, sliding_window = { false, kind = "window" }, num_local_experts = { 8, kind = "size" },
  num_experts_per_tok = { 2, kind = "size" }, router_jitter_noise = { 0, kind = "share" } })

return decoder.architecture(Mixtral.ForCausalLM, function(given)
  local config = llama.read_config(given, fields, { rope_theta = 1e6 }, { num_experts = "num_local_experts" })
  config.layer_types = nil -- this family does not have it
  config.windows = decoder.windows(config, function() return true end)
  return config
end, { drop = { "rotary_emb%.inv_freq$" }, rename = experts.place })
