--- Falcon (Almazrouei et al. 2023, "The Falcon Series of Open Language Models"): attention and MLP in parallel, keys and
--- values shared by all heads or by groups of heads; rotary embeddings, or scores that fall with the distance of positions.
---
--- Axes: B batch, T position, C width, H heads, D head width.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local decoder = require "luasight.models.parts.decoder"
local helpers = require "luasight.family"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"
local rotary = require "luasight.models.parts.rotary"

local nn = ls.nn

local Falcon = decoder.family("Falcon", {
  Linear = nn.Module("Linear", nn.Linear),
  RotaryEmbedding = rotary.Embedding,
  Attention = nn.Module("Attention", attention.Attention),
  MLP = nn.Module "MLP",
  DecoderLayer = nn.Module "DecoderLayer",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})

local Attention = Falcon.Attention

function Attention:init(config)
  local C, D, bias = config.hidden_size, config.head_dim, { bias = config.bias }
  self.num_heads, self.num_key_value_heads, self.head_dim = config.num_attention_heads, config.num_key_value_heads, D
  self.pattern_dropout = config.alibi and config.attention_dropout or 0
  self.query_key_value = self.family.Linear(C, C + 2 * config.num_key_value_heads * D, bias)
  self.dense = self.family.Linear(C, C, bias)
  self.attention_dropout = nn.Dropout(config.attention_dropout) -- for printing only: attention.attend applies the dropout
end

---Computes the attention of one layer, from the projections of queries, keys and values to the output projection.
---@param x any          B T C
---@param options table  attention_mask: B 1 T S, or B H T S to add to scores;
---  position_embeddings: cosines and sines, B T D each;
---  cache: the layer's part of the cache; continues: the tokens continue the text in the cache
---@return any  # a tuple: B T C
function Attention:forward(x, options)
  local Hk, D = self.num_key_value_heads, self.head_dim
  local q, k, v = attention.split_groups(self.query_key_value(x), Hk, self.num_heads / Hk, D) -- B H T D
  if options.position_embeddings then q, k = rotary.apply(q, k, options.position_embeddings, D, D) end
  return helpers.tuple(self.dense(attention.attend(self, q, k, v, options)))
end

local MLP = Falcon.MLP

function MLP:init(config)
  local C, I, bias = config.hidden_size, config.ffn_hidden_size, { bias = config.bias }
  self.dense_h_to_4h = self.family.Linear(C, I, bias)
  self.act = activations.new(config.activation)
  self.dense_4h_to_h = self.family.Linear(I, C, bias)
end

function MLP:forward(x) return self.dense_4h_to_h(self.act(self.dense_h_to_4h(x))) end -- B T C

local DecoderLayer = Falcon.DecoderLayer
DecoderLayer.aliases = names.layer { attn = "self_attention", attn_out = ":attn_out", mlp_out = ":mlp_out",
  mlp_pre = "mlp.dense_h_to_4h.output", mlp_post = "mlp.dense_4h_to_h.input[0][0]" }
local side_by_side = names.with(DecoderLayer.aliases, { resid_mid = names.side_by_side })

function DecoderLayer:init(config)
  if config.parallel_attn then self.aliases = side_by_side end
  local function norm() return nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_epsilon }) end
  self.parallel, self.p, self.between = config.parallel_attn, config.hidden_dropout, config.attention_dropout
  self.self_attention = self.family.Attention(config)
  self.mlp = self.family.MLP(config)
  if not config.parallel_attn then self.post_attention_layernorm = norm() end
  if config.num_ln_in_parallel_attn == 2 then
    self.ln_attn = norm()
    self.ln_mlp = norm()
  else
    self.input_layernorm = norm()
  end
end

function DecoderLayer:forward(x, options) -- B T C
  local y = (self.ln_attn or self.input_layernorm)(x) -- B T C
  local attended = self.self_attention(y, options)[0] -- B T C
  if not self.parallel then
    attended = names.tap("attn_out", decoder.dropout(self, attended, self.between)) -- B T C
    local middle = names.tap("resid_mid", x + attended) -- B T C
    y = self.mlp(self.post_attention_layernorm(middle))
    return helpers.tuple(middle + names.tap("mlp_out", decoder.dropout(self, y, self.p)))
  end
  attended = names.tap("attn_out", attended)
  y = names.tap("mlp_out", self.mlp(self.ln_mlp and self.ln_mlp(x) or y)) + attended
  return helpers.tuple(x + decoder.dropout(self, y, self.p)) -- B T C
end

local Model = Falcon.Model

function Model:init(config)
  local C = config.hidden_size
  self.num_heads, self.alibi, self.scale = config.num_attention_heads, config.alibi, config.head_dim ^ -0.5
  self.both_ways = config.is_causal == false
  self.word_embeddings = nn.Embedding(config.vocab_size, C)
  self.h = decoder.layers(self.family.DecoderLayer, config)
  self.ln_f = nn.LayerNorm(C, { eps = config.layer_norm_epsilon })
  self.rotary_emb = self.family.RotaryEmbedding(config.rope_parameters)
end

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T C;
---  cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local x = options.inputs_embeds or self.word_embeddings(input_ids) -- B T C
  local see, inner = masks.new(x, options, self.both_ways), {}
  if self.alibi then -- the numbers that are added to the scores are rounded to bfloat16, as in training
    local bias = see:alibi(self.num_heads, self.word_embeddings.weight.device, "bfloat16"):to(x) * self.scale
    inner.attention_mask = see:biased(bias) -- B H T S
  else
    inner.attention_mask = see:causal()
    inner.position_embeddings = self.rotary_emb(x, { position_ids = options.position_ids or see:positions() })
  end
  for i, block in self.h:each() do x = block(x, cache.for_layer(options, i, inner))[0] end
  return helpers.struct { { "last_hidden_state", self.ln_f(x) } } -- B T C
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

local ForCausalLM = Falcon.ForCausalLM
ForCausalLM.inner, ForCausalLM.embedding = "transformer", "word_embeddings"
ForCausalLM.blocks, ForCausalLM.final_norm = "h", "ln_f"

local fields = decoder.with(decoder.fields, { vocab_size = 65024, hidden_size = 4544, num_attention_heads = 71,
  tie_word_embeddings = true, num_kv_heads = { nil, kind = "size" }, num_ln_in_parallel_attn = { nil, kind = "size" },
  layer_norm_epsilon = { 1e-5, kind = "number" }, hidden_dropout = { 0, kind = "share" },
  alibi = { false, kind = "boolean" }, new_decoder_architecture = { false, kind = "boolean" },
  multi_query = { true, kind = "boolean" }, parallel_attn = { true, kind = "boolean" },
  bias = { false, kind = "boolean" }, ffn_hidden_size = { nil, kind = "size" }, -- 4 C by default
  activation = { "gelu", kind = "string" } })

local aliases = { n_layer = "num_hidden_layers", n_head = "num_attention_heads", n_embed = "hidden_size" }

local function check_norms(config)
  local norms = config.num_ln_in_parallel_attn
  if norms and norms > 2 then
    helpers.raise("format", ("the setting num_ln_in_parallel_attn is %d, but it must be 1 or 2"):format(norms))
  end
  if config.new_decoder_architecture then
    config.num_ln_in_parallel_attn = config.num_ln_in_parallel_attn or 2
    if not config.parallel_attn then
      helpers.raise("format", "the setting new_decoder_architecture = true without parallel_attn = true is not implemented")
    end
  elseif config.num_ln_in_parallel_attn == 2 then
    helpers.raise("format", "the setting num_ln_in_parallel_attn = 2 without new_decoder_architecture is not implemented")
  end
end

return decoder.architecture(ForCausalLM, function(given)
  local config = decoder.read_config(given, fields, aliases)
  check_norms(config)
  local H = config.num_attention_heads
  local shared = config.multi_query and 1 or H
  config.num_key_value_heads = config.new_decoder_architecture and (config.num_kv_heads or H) or shared
  if H % config.num_key_value_heads ~= 0 then
    helpers.raise("format", ("the setting num_attention_heads is %d, which is no multiple of num_kv_heads, %d"):format(H,
      config.num_key_value_heads))
  end
  config.ffn_hidden_size = config.ffn_hidden_size or 4 * config.hidden_size
  config.rope_parameters, config.rope_scaling = rotary.read(config, { rope_theta = 10000 }), nil
  return config
end, { drop = { "rotary_emb%.inv_freq$" } })
