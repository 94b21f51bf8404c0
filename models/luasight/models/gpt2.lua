--- GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), with the module paths of Hugging
--- Face. One recording of the forward is valid for every batch size and length.
---
--- Axes: B batch, T position, S position with those in the cache (T without one), C width, H heads, D head width
--- (C = H D), I inner width of the MLP, V vocabulary, N the longest input.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local attention = require "luasight.models.parts.attention"
local cache = require "luasight.models.parts.cache"
local config_reader = require "luasight.models.parts.config"
local decoder = require "luasight.models.parts.decoder"
local helpers = require "luasight.family"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"

local torch, nn = ls.torch, ls.nn

-- ---- configuration ---------------------------------------------------------------------------------------------------

local fields = {
  vocab_size = { 50257, kind = "size" },
  n_positions = { 1024, kind = "size" },
  n_embd = { 768, kind = "size" },
  n_layer = { 12, kind = "size" },
  n_head = { 12, kind = "size" },
  n_inner = { nil, kind = "size" }, -- 4 C by default
  activation_function = { "gelu_new", kind = "string" },
  layer_norm_epsilon = { 1e-5, kind = "number" },
  embd_pdrop = { 0.1, kind = "share" },
  attn_pdrop = { 0.1, kind = "share" },
  resid_pdrop = { 0.1, kind = "share" },
  scale_attn_weights = { true, kind = "boolean" },
  scale_attn_by_inverse_layer_idx = { false, kind = "boolean" },
  reorder_and_upcast_attn = { false, kind = "boolean" },
  tie_word_embeddings = { true, kind = "boolean" },
  initializer_range = { 0.02, kind = "number" },
}

local aliases = { hidden_size = "n_embd", num_hidden_layers = "n_layer", num_attention_heads = "n_head",
  max_position_embeddings = "n_positions", n_ctx = "n_positions" }

local not_implemented = { "add_cross_attention", "is_encoder_decoder", "pruned_heads", "quantization_config" }

local function read_config(given)
  local config = config_reader.read(given, fields, aliases)
  config_reader.refuse(given, not_implemented)
  config_reader.direction(config)
  if config.n_embd % config.n_head ~= 0 then
    helpers.raise("format", ("the setting n_embd is %d, which %d heads (n_head) cannot share evenly"):format(config.n_embd,
      config.n_head))
  end
  return config
end

-- ---- the network -----------------------------------------------------------------------------------------------------

local Attention = nn.Module("GPT2Attention", attention.Attention)

---@param config table
---@param layer integer
function Attention:init(config, layer)
  local C = config.n_embd
  self.width, self.num_heads, self.head_dim = C, config.n_head, C / config.n_head
  self.pattern_dropout = config.attn_pdrop
  self.scale = config.scale_attn_weights and (C / config.n_head) ^ -0.5 or 1
  if config.scale_attn_by_inverse_layer_idx then self.scale = self.scale / (layer + 1) end
  self.upcast = config.reorder_and_upcast_attn
  self.c_attn = nn.Conv1D(3 * C, C)
  self.c_proj = nn.Conv1D(C, C)
  self.attn_dropout = nn.Dropout(config.attn_pdrop) -- for printing only: attention.attend applies the dropout
  self.resid_dropout = nn.Dropout(config.resid_pdrop)
end

---Computes the attention of one layer, from the projections of queries, keys and values to the output projection.
---@param x any        B T C
---@param options table?  attention_mask: B 1 T S, true where a position (row) may read another (column); cache: the
---  layer's part of the cache; continues: the tokens continue the text in the cache
---@return any  # a tuple: B T C
function Attention:forward(x, options)
  local C, H = self.width, self.num_heads
  local qkv = self.c_attn(x) -- B T 3C
  local function heads(i) return attention.split(qkv:narrow(2, i * C, C), H, C / H) end -- B H T D
  local z = attention.attend(self, heads(0), heads(1), heads(2), options) -- B T C
  return helpers.tuple(self.resid_dropout(self.c_proj(z))) -- B T C
end

local MLP = nn.Module "GPT2MLP"

---@param inner integer  I
---@param config table
function MLP:init(inner, config)
  local C = config.n_embd
  self.c_fc = nn.Conv1D(inner, C)
  self.c_proj = nn.Conv1D(C, inner)
  self.act = activations.new(config.activation_function)
  self.dropout = nn.Dropout(config.resid_pdrop)
end

function MLP:forward(x) -- B T C
  local inner = self.act(self.c_fc(x)) -- B T I
  return self.dropout(self.c_proj(inner)) -- B T C
end

local Block = nn.Module("GPT2Block", attention.Layer)
Block.aliases = names.layer { attn = "attn", mlp_pre = "mlp.c_fc.output", mlp_post = "mlp.c_proj.input[0][0]" }

---@param config table
---@param layer integer
function Block:init(config, layer)
  local C, eps = config.n_embd, config.layer_norm_epsilon
  self.ln_1 = nn.LayerNorm(C, { eps = eps })
  self.attn = Attention(config, layer)
  self.ln_2 = nn.LayerNorm(C, { eps = eps })
  self.mlp = MLP(config.n_inner or 4 * C, config)
end

---Runs one layer: adds the output of the attention and then that of the MLP to x.
---@param x any          B T C
---@param options table?  the options of Attention:forward
---@return any  # a tuple: B T C
function Block:forward(x, options) -- B T C
  local middle = names.tap("resid_mid", self.attn(self.ln_1(x), options)[0] + x) -- B T C
  return helpers.tuple(middle + self.mlp(self.ln_2(middle))) -- B T C
end

local Model = nn.Module("GPT2Model", cache.Whole)

function Model:init(config)
  local C = config.n_embd
  self.both_ways = config.is_causal == false
  self.wte = nn.Embedding(config.vocab_size, C)
  self.wpe = nn.Embedding(config.n_positions, C)
  self.drop = nn.Dropout(config.embd_pdrop)
  local blocks = {}
  for layer = 0, config.n_layer - 1 do blocks[layer + 1] = Block(config, layer) end
  self.h = nn.ModuleList(blocks)
  self.ln_f = nn.LayerNorm(C, { eps = config.layer_norm_epsilon })
end

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T C; cache: the first S
---  positions of the result of `new_cache`; continues: the one token continues the text in the cache
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local embeds = options.inputs_embeds or self.wte(input_ids) -- B T C
  local see = masks.new(embeds, options, self.both_ways)
  local x = self.drop(embeds + self.wpe(options.position_ids or see:positions())) -- B T C
  local inner = { attention_mask = see:causal() }
  for i, block in self.h:each() do x = block(x, cache.for_layer(options, i, inner))[0] end
  return helpers.struct { { "last_hidden_state", self.ln_f(x) } } -- B T C
end

local LMHeadModel = nn.Module("GPT2LMHeadModel", decoder.ForCausalLM)
LMHeadModel.inner, LMHeadModel.reads_beyond = "transformer", false
LMHeadModel.aliases = { embed = "transformer.wte", layers = "transformer.h", norm = "transformer.ln_f", head = "lm_head" }
LMHeadModel.tied = { ["lm_head.weight"] = "transformer.wte.weight" }

function LMHeadModel:init(config)
  self.config = config
  self.transformer = Model(config)
  self.lm_head = nn.Linear(config.n_embd, config.vocab_size, { bias = false })
  self:tie_weights()
end

---Makes a key/value cache for generation.
---@param rows integer
---@param length integer  the length of the longest text
---@return any?  # L 2 R H N D
function LMHeadModel:new_cache(rows, length)
  return cache.of_layers(self.transformer.h, rows, length, self.transformer.wpe.weight)
end

-- Initializes a model for training: small random numbers, and smaller ones in the layers whose output is added to the residual
-- stream (section 2.3 of the paper).
local function initialize(net)
  local std, layers = net.config.initializer_range, net.config.n_layer
  for name, p in net:named_parameters() do
    if name:find "bias$" then nn.init.zeros_(p)
    elseif name:find "c_proj%.weight$" then nn.init.normal_(p, { mean = 0, std = std / math.sqrt(2 * layers) })
    elseif not name:find "ln_[12f]%.weight$" then nn.init.normal_(p, { mean = 0, std = std }) end
  end
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

local gpt2 = { tied = LMHeadModel.tied }

---Makes a GPT-2 with random weights.
---@param config table  the fields of config.json, in the old or the new spelling; a missing field has the value of the
---  smallest GPT-2
---@return table  # an nn.Module
function gpt2.new(config)
  local net = LMHeadModel(read_config(config))
  if net.lm_head.weight.device ~= "meta" then torch.no_grad(initialize, net) end
  return net
end

---Returns the module path for the name of a tensor in a file, in which the prefix "transformer." may be missing; nil for the
---causal masks of old files, which the model does not need.
---@param name string
---@return string?
function gpt2.place(name)
  if name:find "^h%.%d+%.attn%.masked_bias$" or name:find "^h%.%d+%.attn%.bias$" then return nil end
  local inside = name:match "^transformer%.(.*)"
  if inside then return gpt2.place(inside) end
  return name:find "^lm_head%." and name or "transformer." .. name
end

return gpt2
