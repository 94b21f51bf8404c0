--- T5 (Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer"), 1.0 and
--- 1.1: an encoder, a decoder that reads the encoder's output, and attention scores to which a learned number for the distance
--- of the positions is added.
---
--- Axes: B batch, T position of the decoder or encoder, S position that is read, C width, H heads, D head width, V
--- vocabulary.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local arguments = require "luasight.models.parts.arguments"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local config_reader = require "luasight.models.parts.config"
local decoder = require "luasight.models.parts.decoder"
local helpers = require "luasight.family"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"
local norms = require "luasight.models.parts.norms"
local relative = require "luasight.models.parts.relative"

local torch, nn = ls.torch, ls.nn

local LayerNorm = nn.Module("T5LayerNorm", norms.RMSNorm)

function LayerNorm:extra_repr() return "" end

-- In float16 the numbers of the residual stream can be float32 (see Dense), and are rounded behind the division.
function LayerNorm:forward(x) -- B T C
  if self.weight.dtype ~= "float16" then return norms.RMSNorm.forward(self, x) end
  return torch.rms_norm(x:float(), self.normalized_shape, nil, self.eps):to(self.weight) * self.weight
end

local function norm(config) return LayerNorm(config.d_model, config.layer_norm_epsilon) end

-- ---- attention -------------------------------------------------------------------------------------------------------

local Attention = nn.Module("T5Attention", attention.Attention)

-- A decoder has its own tokens, text 1, but text 0 where something comes from the encoder: so the mask (B 1 1 S) of a crossing.
local in_decoder = { [""] = 1, ["input.encoder_hidden_states"] = 0, ["input.encoder_attention_mask"] = 0 }
local crossing = { [""] = 1, k = 0, v = 0, ["input.key_value_states"] = 0, ["input.attention_mask"] = 0 }
local crossing_axes = { q = 2, k = 2, v = 2, scores = 2, pattern = 2, z = 2, ["input.attention_mask"] = 3 }

---Makes an attention module of an encoder or a decoder.
---@param config table
---@param role { is_decoder: boolean, has_bias: boolean, crosses: boolean? }  crosses: the attention reads the encoder's
---  output
function Attention:init(config, role)
  local C, H, D = config.d_model, config.num_heads, config.d_kv
  self.num_heads, self.head_dim, self.scale, self.is_causal = H, D, 1, false
  self.pattern_dropout = config.dropout_rate
  self.crosses = role.crosses
  if role.crosses then self.token_sequence, self.token_axis = crossing, crossing_axes end
  self.both_ways, self.furthest = not role.is_decoder, config.relative_attention_max_distance
  self.buckets = config.relative_attention_num_buckets
  self.q = nn.Linear(C, H * D, { bias = false })
  self.k = nn.Linear(C, H * D, { bias = false })
  self.v = nn.Linear(C, H * D, { bias = false })
  if role.crosses then self.k.token_sequence, self.v.token_sequence = { [""] = 0 }, { [""] = 0 } end -- the encoder's tokens
  self.o = nn.Linear(H * D, C, { bias = false })
  if role.has_bias then
    self.relative_attention_bias = nn.Embedding(self.buckets, H)
    self.relative_attention_bias.token_axis, self.relative_attention_bias.batch_axis = attention.none, attention.none -- T S
  end
end

---Returns the numbers that are added to the scores: a learned number for each distance, and minus infinity where a position
---must not be read.
---@param distance any  T S
---@param mask any      booleans that broadcast to B H T S, or nil
---@return any          # 1 H T S or B H T S
function Attention:bias(distance, mask)
  local bucket = relative.bucket_of(distance, self.both_ways, self.buckets, self.furthest) -- T S
  local learned = self.relative_attention_bias(bucket) -- T S H
  learned = learned:permute(2, 0, 1):unsqueeze(0) -- 1 H T S
  return mask and learned:masked_fill(mask:logical_not(), -math.huge) or learned
end

---Computes an attention: to x itself or, where the module `crosses`, to the output of the encoder.
---@param x any           B T C
---@param options table?  key_value_states: B S C, the states that are read, by default x; position_bias: numbers that are
---  added to the scores, B H T S; attention_mask and distance, T S, from which the first layer makes the bias for all
---  layers; cache: the layer's part of the cache, which an attention to the encoder fills once; continues: see parts/cache.lua
---@return any  # a tuple: B T C, and the numbers added to the scores (the bias)
function Attention:forward(x, options)
  local o = options or {}
  local from, bias = o.key_value_states or x, o.position_bias
  local function heads(y) return attention.split(y, self.num_heads, self.head_dim) end -- B H T D
  if self.relative_attention_bias then
    bias = self:bias(o.distance or masks.new(x, {}):distances(), o.attention_mask)
  end
  local given, k, v = { attention_mask = bias or o.attention_mask }
  if self.crosses and o.continues then
    k, v = o.cache:select(0, 0), o.cache:select(0, 1) -- B H S D
  else
    k, v = heads(self.k(from)), heads(self.v(from)) -- B H S D
  end
  if not self.crosses then
    given.cache, given.continues = o.cache, o.continues
  elseif not o.continues then
    cache.extend(o.cache, k, v)
  end
  local z = attention.attend(self, heads(self.q(x)), k, v, given)
  if not bias then return helpers.tuple(self.o(z)) end
  return helpers.tuple(self.o(z), bias)
end

-- ---- layers ----------------------------------------------------------------------------------------------------------

local SelfAttention = nn.Module("T5LayerSelfAttention", attention.Layer)

function SelfAttention:init(config, role)
  self.SelfAttention = Attention(config, role)
  self.layer_norm = norm(config)
  self.dropout = nn.Dropout(config.dropout_rate)
end

function SelfAttention:forward(x, options) -- B T C
  local attended = self.SelfAttention(self.layer_norm(x), options)
  return helpers.tuple(x + self.dropout(attended[0]), attended[1]) -- B T C, and the bias of the attention scores
end

local CrossAttention = nn.Module("T5LayerCrossAttention", attention.Layer)

function CrossAttention:init(config)
  self.EncDecAttention = Attention(config, { is_decoder = true, has_bias = false, crosses = true })
  self.token_sequence, self.token_axis = crossing, crossing_axes
  self.layer_norm = norm(config)
  self.dropout = nn.Dropout(config.dropout_rate)
end

function CrossAttention:forward(x, options) -- B T C
  return helpers.tuple(x + self.dropout(self.EncDecAttention(self.layer_norm(x), options)[0])) -- B T C
end

local Dense = nn.Module "T5DenseActDense"

function Dense:init(config)
  self.wi = nn.Linear(config.d_model, config.d_ff, { bias = false })
  self.wo = nn.Linear(config.d_ff, config.d_model, { bias = false })
  self.dropout = nn.Dropout(config.dropout_rate)
  self.act = activations.new(config.dense_act_fn)
end

-- In float16 the weight of `wo` stays float32 (`keeps_float32` below), since its products would be too large; from the first of
-- these layers on, the residual stream is float32 then.
function Dense:forward(x) return self.wo(self.dropout(self.act(self.wi(x))):to(self.wo.weight)) end -- B T C

local GatedDense = nn.Module "T5DenseGatedActDense"

function GatedDense:init(config)
  self.wi_0 = nn.Linear(config.d_model, config.d_ff, { bias = false })
  self.wi_1 = nn.Linear(config.d_model, config.d_ff, { bias = false })
  self.wo = nn.Linear(config.d_ff, config.d_model, { bias = false })
  self.dropout = nn.Dropout(config.dropout_rate)
  self.act = activations.new(config.dense_act_fn)
end

function GatedDense:forward(x) -- B T C
  return self.wo(self.dropout(self.act(self.wi_0(x)) * self.wi_1(x)):to(self.wo.weight))
end

local FF = nn.Module "T5LayerFF"

function FF:init(config)
  self.DenseReluDense = (config.is_gated_act and GatedDense or Dense)(config)
  self.layer_norm = norm(config)
  self.dropout = nn.Dropout(config.dropout_rate)
end

function FF:forward(x) return x + self.dropout(self.DenseReluDense(self.layer_norm(x))) end -- B T C

local Block = nn.Module("T5Block", attention.Layer)

local function names_of(config, role)
  local mlp = ("layer.%d.DenseReluDense"):format(role.is_decoder and 2 or 1)
  return names.layer { attn = "layer.0.SelfAttention", attn_out = "layer.0.dropout.output", resid_mid = "layer.0.output[0]",
    mlp = mlp, mlp_out = (mlp:gsub("DenseReluDense", "dropout.output")),
    mlp_pre = mlp .. (config.is_gated_act and ".wi_0.output" or ".wi.output"), mlp_post = mlp .. ".wo.input[0][0]" }
end

function Block:init(config, role)
  self.aliases = names_of(config, role)
  self.is_first, self.is_decoder = role.has_bias, role.is_decoder
  local layers = { SelfAttention(config, role) }
  if role.is_decoder then layers[2] = CrossAttention(config) end
  layers[#layers + 1] = FF(config)
  self.layer = nn.ModuleList(layers)
end

---Runs one layer: the self-attention, in a decoder the attention to the encoder, and the MLP.
---@param x any           B T C
---@param options table?  the options of the self-attention, and of that to the encoder, whose names begin with encoder_
---@return any  # a tuple: B T C, and the bias of the self-attention
function Block:forward(x, options)
  local o = options or {}
  local all_half = self.layer[-1].DenseReluDense.wo.weight.dtype == "float16"
  local is_half = self.layer[0].layer_norm.weight.dtype == "float16" and (self.is_first or all_half)
  local attended = self.layer[0](x, { attention_mask = o.attention_mask, position_bias = o.position_bias,
    distance = o.distance, cache = o.cache, continues = o.continues })
  x = relative.limited(attended[0], is_half)
  if self.is_decoder then
    x = relative.limited(self.layer[1](x, { key_value_states = o.encoder_hidden_states, cache = o.encoder_cache,
      attention_mask = o.encoder_attention_mask, continues = o.continues })[0], is_half)
  end
  return helpers.tuple(relative.limited(self.layer[-1](x), is_half and all_half), attended[1])
end

-- ---- encoder and decoder ---------------------------------------------------------------------------------------------

local Stack = nn.Module("T5Stack", cache.Whole)

---Makes an encoder or a decoder.
---@param config table
---@param count integer       the number of blocks
---@param is_decoder boolean
function Stack:init(config, count, is_decoder)
  self.is_decoder, self.both_ways = is_decoder, is_decoder and config.is_causal == false
  self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
  local blocks = {}
  for i = 1, count do blocks[i] = Block(config, { is_decoder = is_decoder, has_bias = i == 1 }) end
  self.block = nn.ModuleList(blocks)
  self.final_layer_norm = norm(config)
  self.dropout = nn.Dropout(config.dropout_rate)
  if not is_decoder then return end
  for _, module in self:named_modules() do module.token_sequence = module.token_sequence or in_decoder end
end

local stack_inputs = { "input_ids", "attention_mask", "inputs_embeds", "encoder_hidden_states", "encoder_attention_mask",
  "cache", "encoder_cache", "continues" }

---Runs an encoder or a decoder on token ids or on embeddings.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B T, 0 at padding; inputs_embeds: B T C; for a decoder also
---  encoder_hidden_states: B S C, encoder_attention_mask: B S, cache, encoder_cache (keys and values of the encoder's
---  positions), continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Stack:forward(input_ids, options)
  input_ids, options = arguments.read(stack_inputs, input_ids, options)
  local x = self.dropout(options.inputs_embeds or self.embed_tokens(input_ids)) -- B T C
  local see = masks.new(x, options, self.both_ways)
  local inner = { distance = see:distances(), attention_mask = self.is_decoder and see:earlier() or see:everything() }
  local real = options.encoder_attention_mask and options.encoder_attention_mask:ne(0):unsqueeze(1):unsqueeze(2) -- B 1 1 S
  for i, block in self.block:each() do
    inner.encoder_hidden_states, inner.encoder_attention_mask = options.encoder_hidden_states, real
    inner.encoder_cache = options.encoder_cache and options.encoder_cache:select(0, i)
    local given = block(x, cache.for_layer(options, i, inner))
    x, inner = given[0], { position_bias = given[1] }
  end
  return helpers.struct { { "last_hidden_state", self.dropout(self.final_layer_norm(x)) } } -- B T C
end

-- ---- the language model ----------------------------------------------------------------------------------------------

local inputs = { "input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask", "inputs_embeds" }

local ForConditionalGeneration = nn.Module "T5ForConditionalGeneration"
ForConditionalGeneration.arguments = inputs
ForConditionalGeneration.cache_axes, ForConditionalGeneration.batch_axis = cache.of_attention, cache.batch_axis.whole
ForConditionalGeneration.aliases = { embed = "decoder.embed_tokens", layers = "decoder.block",
  norm = "decoder.final_layer_norm", head = "lm_head" }
ForConditionalGeneration.reads_beyond = true
ForConditionalGeneration.tied = { ["encoder.embed_tokens.weight"] = "shared.weight",
  ["decoder.embed_tokens.weight"] = "shared.weight", ["lm_head.weight"] = "shared.weight" }

function ForConditionalGeneration:init(config)
  self.config = config
  self.shared = nn.Embedding(config.vocab_size, config.d_model) -- not called; encoder and decoder share its weight
  self.encoder = Stack(config, config.num_layers, false)
  self.decoder = Stack(config, config.num_decoder_layers or config.num_layers, true)
  self.lm_head = nn.Linear(config.d_model, config.vocab_size, { bias = false })
  self.token_sequence = { output = 1, ["input.decoder_input_ids"] = 1, ["input.decoder_attention_mask"] = 1 }
  self.lm_head.token_sequence = { [""] = 1 }
  self:tie_weights()
end

---Makes encoder, decoder and head share the token embeddings, where the configuration says so.
function ForConditionalGeneration:tie_weights() decoder.tie(self) end

---Runs the encoder on the prompt, the decoder on the text so far, and the head.
---@param input_ids any   B S, or nil where inputs_embeds is given
---@param options table?  attention_mask: B S, 0 at padding; decoder_input_ids: B T, by default the start token;
---  decoder_attention_mask: B T; inputs_embeds: B S C
---@return any  # a struct: logits, B T V
function ForConditionalGeneration:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options, inputs)
  local mask, config, continues = options.attention_mask, self.config, options.continues
  local given, hidden = { attention_mask = mask, inputs_embeds = options.inputs_embeds }, nil
  if not continues then hidden = self.encoder(input_ids, next(given) and given or nil).last_hidden_state end -- B S C
  local like = hidden or input_ids
  local ids = options.decoder_input_ids or like:new_full({ like:size(0), 1 }, self:start_token(), { dtype = "int64" }) -- B T
  local inner = { attention_mask = options.decoder_attention_mask, encoder_hidden_states = hidden,
    encoder_attention_mask = mask, continues = continues }
  if options.cache then
    local all, read = options.cache, (options.inputs_embeds or input_ids):size(1)
    inner.encoder_cache, inner.cache = all:narrow(4, 0, read), all:narrow(4, read, all:size(4) - read)
  end
  local x = cache.last(self.decoder(ids, inner).last_hidden_state, options.logits_to_keep) -- B T C
  if config.scale_decoder_outputs then x = x * config.d_model ^ -0.5 end
  return helpers.struct { { "logits", self.lm_head(x) } } -- B T V
end

---Returns the id of the token with which the decoder begins each text, since the prompt of a generation is the encoder's input.
---@return integer
function ForConditionalGeneration:start_token()
  return self.config.decoder_start_token_id or self.config.pad_token_id or helpers.raise("format",
    "the settings decoder_start_token_id and pad_token_id are both missing")
end

---Makes a cache for the keys and values of the encoder's positions, followed by those of the decoder's.
---@param rows integer
---@param length integer  the length of the decoder's longest text
---@param read integer    the number of positions of the encoder
---@return any?  # L 2 R H N D
function ForConditionalGeneration:new_cache(rows, length, read)
  return cache.of_layers(self.decoder.block, rows, read + length, self.lm_head.weight)
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

local fields = {
  vocab_size = { 32128, kind = "size" },
  d_model = { 512, kind = "size" },
  d_kv = { 64, kind = "size" },
  d_ff = { 2048, kind = "size" },
  num_layers = { 6, kind = "size" },
  num_decoder_layers = { nil, kind = "size" }, -- by default as many as num_layers
  num_heads = { 8, kind = "size" },
  relative_attention_num_buckets = { 32, kind = "size" },
  relative_attention_max_distance = { 128, kind = "size" },
  dropout_rate = { 0.1, kind = "share" },
  layer_norm_epsilon = { 1e-6, kind = "number" },
  initializer_factor = { 1, kind = "number" },
  feed_forward_proj = { "relu", kind = "string" },
  pad_token_id = { 0, kind = "token" },
  decoder_start_token_id = { nil, kind = "count" },
  scale_decoder_outputs = { nil, kind = "boolean" },
}

local aliases = { hidden_size = "d_model", num_attention_heads = "num_heads", num_hidden_layers = "num_layers",
  head_dim = "d_kv" }

---Reads a configuration of T5. Version 1.1 does not scale the input of the head. Old files mark version 1.1 by the setting
---tie_word_embeddings = false, which in T5's files says nothing about shared weights.
local function read_config(given)
  local config = config_reader.read(given, fields, aliases)
  config_reader.refuse(given, { "is_decoder", "quantization_config" })
  if given.is_encoder_decoder == false then
    helpers.raise("format", "the setting is_encoder_decoder = false is not implemented for a T5")
  end
  config_reader.direction(config)
  if config.scale_decoder_outputs == nil then config.scale_decoder_outputs = given.tie_word_embeddings ~= false end
  config.tie_word_embeddings = true
  local gate, act = config.feed_forward_proj:match "^(gated)%-([%w_]+)$"
  act = act or config.feed_forward_proj:match "^[%w_]+$"
  if not act then
    helpers.raise("format", ("the setting feed_forward_proj is %q, but it must be an activation's name, perhaps after gated-")
      :format(config.feed_forward_proj))
  end
  config.is_gated_act, config.dense_act_fn = gate ~= nil, gate and act == "gelu" and "gelu_new" or act
  return config
end

---Initializes the parameters of a T5 for training, with the same distributions as the authors' code.
local function initialize(net)
  local c = net.config
  local function normal(t, std) nn.init.normal_(t, { mean = 0, std = c.initializer_factor * std }) end
  for path, p in net:named_parameters() do
    local name = path:match "([%w_]+)%.weight$"
    if name == "q" then normal(p, (c.d_model * c.d_kv) ^ -0.5)
    elseif name == "o" then normal(p, (c.num_heads * c.d_kv) ^ -0.5)
    elseif name == "wo" then normal(p, c.d_ff ^ -0.5)
    elseif name == "shared" then normal(p, 1)
    elseif not name:find "norm$" then normal(p, c.d_model ^ -0.5) end
  end
end

local t5 = { tied = ForConditionalGeneration.tied }

---Makes a T5 with random weights.
---@param config table
---@return table  # an nn.Module
function t5.new(config)
  local net = ForConditionalGeneration(read_config(config))
  if net.lm_head.weight.device ~= "meta" then torch.no_grad(initialize, net) end
  return net
end

---@param path string
---@return boolean  # whether a parameter stays float32 in a model that is loaded in float16
function t5.keeps_float32(path) return path:find "%.wo%.weight$" ~= nil end

---Returns the module path of the parameter for the name of a tensor in a file; nil for a tensor that the model does not need.
---@param name string
---@return string?
function t5.place(name)
  if name:find "EncDecAttention%.relative_attention_bias" then return nil end -- Hugging Face's model does not read it
  return name
end

return t5
