--- Gemma 3, the text model (Gemma team 2025, "Gemma 3 Technical Report"): a Gemma 2 whose queries and keys are normalized
--- in each head. Five layers with a sliding window alternate with one that reads all positions; the two kinds have
--- different rotary angles.
local ls = require "luasight"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local config_reader = require "luasight.models.parts.config"
local decoder = require "luasight.models.parts.decoder"
local gemma2 = require "luasight.models.gemma2".classes
local llama = require "luasight.models.llama".classes
local masks = require "luasight.models.parts.masks"
local rotary = require "luasight.models.parts.rotary"
local helpers = require "luasight.family"

local nn = ls.nn

local Gemma3 = decoder.family("Gemma3", gemma2)
Gemma3.Model._class_name = "Gemma3TextModel"

-- ---- rotary embeddings -----------------------------------------------------------------------------------------------

local RotaryEmbedding = Gemma3.RotaryEmbedding

---Makes the rotary embeddings of a model in which two kinds of layers have different angles.
---@param parameters table  the settings of the rotary embeddings for each kind of layers
function RotaryEmbedding:init(parameters)
  self.kinds = {}
  for kind, p in pairs(parameters) do self.kinds[kind] = p end
  self.channels = nn.Buffer(ls.torch.arange(0, parameters.full_attention.size, 2), { persistent = false })
end

---Returns cosines and sines of the rotary angles of each position, in the dtype of x.
---@param x any          a tensor of the wanted dtype
---@param options table  position_ids: B T; layer_type: the kind of layers for which the angles are
---@return any  # a tuple: cosines and sines, B T R each
function RotaryEmbedding:forward(x, options)
  return rotary.embed(self.kinds[options.layer_type], self.channels, x, options.position_ids)
end

-- ---- layers ----------------------------------------------------------------------------------------------------------

local Attention = Gemma3.Attention

function Attention:init(config, layer)
  gemma2.Attention.init(self, config, layer)
  self.softcap = nil -- attn_logit_softcapping has no effect in this family
  self.rotary_dim = config.head_dim
  self.q_norm = self.family.RMSNorm(config.head_dim, config.rms_norm_eps)
  self.k_norm = self.family.RMSNorm(config.head_dim, config.rms_norm_eps)
  self.q_norm.token_axis, self.k_norm.token_axis = attention.per_head, attention.per_head
end

function Attention:project(x) -- B T C
  local q, k, v = llama.Attention.project(self, x) -- B H T D
  return self.q_norm(q), self.k_norm(k), v
end

local Model = Gemma3.Model

function Model:init(config)
  self.layer_types = config.layer_types
  gemma2.Model.init(self, config)
end

function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local x = options.inputs_embeds or self.embed_tokens(input_ids) -- B T C
  local see, rotations = masks.new(x, options, self.both_ways), {}
  local positions = options.position_ids or see:positions()
  for i, layer in self.layers:each() do
    local kind = self.layer_types[i + 1]
    rotations[kind] = rotations[kind] or self.rotary_emb(x, { position_ids = positions, layer_type = kind })
    local inner = { attention_mask = see:causal(self.windows[i + 1] or nil), position_embeddings = rotations[kind] }
    x = layer(x, cache.for_layer(options, i, inner))[0]
  end
  return helpers.struct { { "last_hidden_state", self.norm(x) } } -- B T C
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

local fields = decoder.with(gemma2.fields, { vocab_size = 262208, max_position_embeddings = 131072,
  attn_logit_softcapping = false, final_logit_softcapping = false, sliding_window_pattern = { 6, kind = "size" } })

local function read_rotary(config)
  local given = config.rope_parameters or {}
  local full, sliding = {}, given.sliding_attention or {}
  for _, source in ipairs { given.full_attention or {}, config.rope_scaling or {} } do -- rope_scaling changes some of them
    for name, v in pairs(source) do full[name] = v end
  end
  full.rope_theta = full.rope_theta or config.rope_theta
  return {
    full_attention = rotary.read(config, { rope_theta = 1e6 }, full),
    sliding_attention = rotary.read(config, { rope_theta = config.rope_local_base_freq or 10000 }, sliding),
  }
end

return llama.architecture(Gemma3, function(given)
  config_reader.refuse(given, { "use_bidirectional_attention" })
  local config = decoder.read_config(given, fields)
  config.num_key_value_heads = config.num_key_value_heads or config.num_attention_heads
  config.hidden_act = config.hidden_activation
  local pattern = config.sliding_window_pattern
  config.windows = decoder.windows(config, function(layer) return (layer + 1) % pattern ~= 0 end)
  config.rope_parameters, config.rope_scaling = read_rotary(config), nil
  return config
end)
