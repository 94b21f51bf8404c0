--- GPT-J (Wang and Komatsuzaki 2021): attention and MLP in parallel behind one norm; rotary embeddings turn neighbouring
--- channels of a part of each head.
---
--- Axes: B batch, T position, C width, H heads, D head width, R the number of channels of a head that turn.
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

local GPTJ = decoder.family("GPTJ", {
  RotaryEmbedding = rotary.Embedding,
  Attention = nn.Module("Attention", attention.Attention),
  MLP = nn.Module "MLP",
  Block = nn.Module "Block",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})

---Returns sines and cosines of the rotary angles of each position, in the dtype of x.
---@param x any          a tensor of the wanted dtype
---@param options table  position_ids: B T
---@return any  # a tuple: sines and cosines, B T R/2 each
function GPTJ.RotaryEmbedding:forward(x, options)
  local half = self.parameters.size / 2
  local both = rotary.embed(self.parameters, self.channels, x, options.position_ids)
  return helpers.tuple(both[1]:narrow(-1, 0, half), both[0]:narrow(-1, 0, half))
end

local Attention = GPTJ.Attention

function Attention:init(config)
  local C = config.hidden_size
  self.num_heads, self.head_dim, self.rotary_dim = config.num_attention_heads, config.head_dim, config.rotary_dim
  self.pattern_dropout, self.upcast = config.attn_pdrop, true
  self.k_proj = nn.Linear(C, C, { bias = false })
  self.v_proj = nn.Linear(C, C, { bias = false })
  self.q_proj = nn.Linear(C, C, { bias = false })
  self.out_proj = nn.Linear(C, C, { bias = false })
  self.resid_dropout = nn.Dropout(config.resid_pdrop)
end

---Computes the attention of one layer, from the projections of queries, keys and values to the output projection.
---@param x any          B T C
---@param options table  position_embeddings: sines and cosines, B T R/2 each; attention_mask: B 1 T S; cache: the layer's
---  part of the cache; continues: the tokens continue the text in the cache
---@return any  # a tuple: B T C
function Attention:forward(x, options)
  local function heads(y) return attention.split(y, self.num_heads, self.head_dim) end -- B H T D
  local q, k, v = heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x))
  local function twice(y) return y:repeat_interleave(2, -1) end -- B T R
  local rotation = { [0] = twice(options.position_embeddings[1]), twice(options.position_embeddings[0]) }
  q, k = rotary.apply(q, k, rotation, self.rotary_dim, self.head_dim, true)
  return helpers.tuple(self.resid_dropout(self.out_proj(attention.attend(self, q, k, v, options))))
end

local MLP = GPTJ.MLP

function MLP:init(config)
  local C = config.hidden_size
  self.fc_in = nn.Linear(C, config.n_inner or 4 * C)
  self.fc_out = nn.Linear(config.n_inner or 4 * C, C)
  self.act = activations.new(config.activation_function)
  self.dropout = nn.Dropout(config.resid_pdrop)
end

function MLP:forward(x) return self.dropout(self.fc_out(self.act(self.fc_in(x)))) end -- B T C

local Block = GPTJ.Block
Block.aliases = names.layer { attn = "attn", resid_mid = names.side_by_side, mlp_pre = "mlp.fc_in.output",
  mlp_post = "mlp.fc_out.input[0][0]" }

function Block:init(config)
  self.ln_1 = nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_epsilon })
  self.attn = self.family.Attention(config)
  self.mlp = self.family.MLP(config)
end

function Block:forward(x, options) -- B T C
  local y = self.ln_1(x) -- B T C
  return helpers.tuple(self.attn(y, options)[0] + self.mlp(y) + x) -- B T C
end

local Model = GPTJ.Model

function Model:init(config)
  self.both_ways = config.is_causal == false
  self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
  self.drop = nn.Dropout(config.embd_pdrop)
  self.h = decoder.layers(self.family.Block, config)
  self.ln_f = nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_epsilon })
  self.rotary_emb = self.family.RotaryEmbedding(config.rope_parameters)
end

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T C;
---  cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local x = self.drop(options.inputs_embeds or self.wte(input_ids)) -- B T C
  local see = masks.new(x, options, self.both_ways)
  local rotation = self.rotary_emb(x, { position_ids = options.position_ids or see:positions() })
  local inner = { attention_mask = see:causal(), position_embeddings = rotation }
  for i, block in self.h:each() do x = block(x, cache.for_layer(options, i, inner))[0] end
  return helpers.struct { { "last_hidden_state", self.ln_f(x) } } -- B T C
end

local ForCausalLM = GPTJ.ForCausalLM
ForCausalLM.inner, ForCausalLM.embedding, ForCausalLM.head_bias = "transformer", "wte", true
ForCausalLM.blocks, ForCausalLM.final_norm = "h", "ln_f"

local fields = decoder.with(decoder.fields, { vocab_size = 50400, num_hidden_layers = 28, num_attention_heads = 16,
  rotary_dim = { 64, kind = "size" }, n_inner = { nil, kind = "size" }, -- 4 C by default
  activation_function = { "gelu_new", kind = "string" }, layer_norm_epsilon = { 1e-5, kind = "number" },
  resid_pdrop = { 0, kind = "share" }, embd_pdrop = { 0, kind = "share" }, attn_pdrop = { 0, kind = "share" } })

local aliases = { n_embd = "hidden_size", n_head = "num_attention_heads", n_layer = "num_hidden_layers",
  n_positions = "max_position_embeddings", n_ctx = "max_position_embeddings" }

return decoder.architecture(ForCausalLM, function(given)
  local config = decoder.read_config(given, fields, aliases)
  local R, D = config.rotary_dim, config.head_dim
  if R % 2 ~= 0 or R > D then
    helpers.raise("format", ("the setting rotary_dim is %d, but it must be even and at most %d, a head's width"):format(R, D))
  end
  config.rope_parameters = { rope_type = "default", rope_theta = 10000, size = R }
  return config
end, { drop = { "attn%.bias$", "attn%.masked_bias$", "embed_positions$" } })
