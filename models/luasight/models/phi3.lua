--- Phi-3 and Phi-4 (Abdin et al. 2024, "Phi-3 Technical Report"): a Llama with one linear layer for queries, keys and
--- values, one for both inputs of the MLP, and rotary angles with a factor for each channel.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local attention = require "luasight.models.parts.attention"
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local nn = ls.nn

local Phi3 = llama.family "Phi3"

local Attention = Phi3.Attention

function Attention:init(config)
  local C, D = config.hidden_size, config.head_dim
  local H, Hk = config.num_attention_heads, config.num_key_value_heads
  self.num_heads, self.num_key_value_heads, self.head_dim = H, Hk, D
  self.pattern_dropout, self.rotary_dim = config.attention_dropout, config.rope_parameters.size
  self.o_proj = nn.Linear(H * D, C, { bias = false })
  self.qkv_proj = nn.Linear(C, (H + 2 * Hk) * D, { bias = false })
end

function Attention:project(x) -- B T C
  local H, Hk, D = self.num_heads, self.num_key_value_heads, self.head_dim
  local qkv = self.qkv_proj(x) -- B T (H + 2 Hk) D
  local function heads(first, count) return attention.split(qkv:narrow(-1, first * D, count * D), count, D) end
  return heads(0, H), heads(H, Hk), heads(H + Hk, Hk)
end

local MLP = Phi3.MLP

function MLP:init(config)
  local C, I = config.hidden_size, config.intermediate_size
  self.inner = I
  self.gate_up_proj = nn.Linear(C, 2 * I, { bias = false })
  self.down_proj = nn.Linear(I, C, { bias = false })
  self.activation_fn = activations.new(config.hidden_act)
end

function MLP:forward(x) -- B T C
  local both = self.gate_up_proj(x) -- B T 2I
  local gate, up = both:narrow(-1, 0, self.inner), both:narrow(-1, self.inner, self.inner) -- B T I each
  return self.down_proj(up * self.activation_fn(names.tap("mlp_pre", gate))) -- B T C
end

local DecoderLayer = Phi3.DecoderLayer
DecoderLayer.aliases = names.with(llama.DecoderLayer.aliases, { attn_out = "resid_attn_dropout.output",
  mlp_out = "resid_mlp_dropout.output", mlp_pre = "mlp:mlp_pre" })

function DecoderLayer:init(config, layer)
  llama.DecoderLayer.init(self, config, layer)
  self.resid_attn_dropout = nn.Dropout(config.resid_pdrop)
  self.resid_mlp_dropout = nn.Dropout(config.resid_pdrop)
end

function DecoderLayer:forward(x, options) -- B T C
  local attended = self.resid_attn_dropout(self.self_attn(self.input_layernorm(x), options)[0]) -- B T C
  local middle = names.tap("resid_mid", x + attended) -- B T C
  return helpers.tuple(middle + self.resid_mlp_dropout(self.mlp(self.post_attention_layernorm(middle)))) -- B T C
end

local fields = decoder.with(llama.fields, { vocab_size = 32064, hidden_size = 3072, intermediate_size = 8192,
  max_position_embeddings = 4096, rms_norm_eps = 1e-5, pad_token_id = 32000,
  original_max_position_embeddings = { 4096, kind = "size" }, sliding_window = { false, kind = "window" },
  resid_pdrop = { 0, kind = "share" } })

---Returns a copy of the configuration in which the scaling of the rotary angles is called longrope; some files of Phi-3 call
---this scaling su or yarn.
local function with_plain_name(given)
  local copy = {}
  for name, v in pairs(given) do copy[name] = v end
  for _, name in ipairs { "rope_scaling", "rope_parameters" } do
    local p = given[name]
    local kind = type(p) == "table" and (p.rope_type or p.type)
    if kind == "su" or kind == "yarn" then
      copy[name] = { rope_type = "longrope" }
      for key, v in pairs(p) do copy[name][key] = copy[name][key] or v end
    end
  end
  return copy
end

return llama.architecture(Phi3, function(given)
  local config = llama.read_config(with_plain_name(given), fields, { rope_theta = 10000, partial_rotary_factor = 1 })
  config.layer_types = nil -- this family does not have it
  config.windows = decoder.windows(config, function() return true end)
  return config
end)
