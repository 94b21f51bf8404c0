--- Qwen3 with a mixture of experts instead of the MLPs of some or all layers (Yang et al. 2025, "Qwen3 Technical Report").
local ls = require "luasight"
local decoder = require "luasight.models.parts.decoder"
local experts = require "luasight.models.parts.experts"
local helpers = require "luasight.family"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local qwen3 = require "luasight.models.qwen3".classes

local nn = ls.nn

local Qwen3Moe = decoder.family("Qwen3Moe", qwen3)

Qwen3Moe.TopKRouter = nn.Module("Qwen3MoeTopKRouter", experts.TopKRouter)
Qwen3Moe.Experts = nn.Module("Qwen3MoeExperts", experts.Experts)

local SparseMoeBlock = nn.Module "Qwen3MoeSparseMoeBlock"

function SparseMoeBlock:init(config)
  local C, E = config.hidden_size, config.num_experts
  self.experts = Qwen3Moe.Experts(C, config.moe_intermediate_size, E, config.hidden_act)
  self.gate = Qwen3Moe.TopKRouter(C, E, config.num_experts_per_tok, config.norm_topk_prob)
end

function SparseMoeBlock:forward(x) -- B T C
  local tokens = x:flatten(0, 1) -- N C
  local routed = self.gate(tokens)
  return self.experts(tokens, routed[2], routed[1]):view(x.shape) -- B T C
end

local with_experts = names.with(llama.DecoderLayer.aliases, { mlp_pre = names.experts, mlp_post = names.experts })

function Qwen3Moe.DecoderLayer:init(config, layer)
  llama.DecoderLayer.init(self, config, layer)
  if config.sparse[layer + 1] then self.mlp, self.aliases = SparseMoeBlock(config), with_experts end
end

local fields = decoder.with(qwen3.fields, { hidden_size = 2048, intermediate_size = 6144, num_hidden_layers = 24,
  num_key_value_heads = 4, head_dim = { nil, kind = "size" }, decoder_sparse_step = { 1, kind = "size" },
  moe_intermediate_size = { 768, kind = "size" }, num_experts_per_tok = { 8, kind = "size" },
  num_experts = { 128, kind = "count" }, norm_topk_prob = { false, kind = "boolean" } })

---Returns for each layer whether it has a mixture of experts: every decoder_sparse_step-th layer has one, except for the layers
---in the list mlp_only_layers.
local function sparse_layers(config)
  local sparse, plain = {}, {}
  if config.mlp_only_layers ~= nil and type(config.mlp_only_layers) ~= "table" then
    helpers.raise("format", "the setting mlp_only_layers must be a list of layers' numbers")
  end
  for _, layer in ipairs(config.mlp_only_layers or {}) do plain[layer] = true end
  for layer = 0, config.num_hidden_layers - 1 do
    sparse[layer + 1] = config.num_experts > 0 and not plain[layer] and (layer + 1) % config.decoder_sparse_step == 0
  end
  return sparse
end

return decoder.architecture(Qwen3Moe.ForCausalLM, function(given)
  local config = llama.read_config(given, fields, nil, { num_local_experts = "num_experts" })
  if not config.use_sliding_window then config.sliding_window = false end
  config.layer_types = nil -- this family does not have it
  config.windows = decoder.windows(config, function() return true end)
  config.sparse = sparse_layers(config)
  return config
end, { rename = experts.place })
