--- GPT-Neo (Black et al. 2021): a GPT-2 with plain linear layers and scores that are not scaled; some layers have a sliding
--- window.
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

local nn = ls.nn

local GPTNeo = decoder.family("GPTNeo", {
  SelfAttention = nn.Module("SelfAttention", attention.Attention),
  Attention = nn.Module("Attention", attention.Layer),
  MLP = nn.Module "MLP",
  Block = nn.Module "Block",
  Model = nn.Module "Model",
  ForCausalLM = decoder.ForCausalLM,
})

local SelfAttention = GPTNeo.SelfAttention

function SelfAttention:init(config)
  local C = config.hidden_size
  self.num_heads, self.head_dim = config.num_attention_heads, config.head_dim
  self.scale, self.upcast, self.pattern_dropout = 1, true, config.attention_dropout
  self.attn_dropout = nn.Dropout(config.attention_dropout) -- for printing only: attention.attend applies the dropout
  self.resid_dropout = nn.Dropout(config.resid_dropout)
  self.k_proj = nn.Linear(C, C, { bias = false })
  self.v_proj = nn.Linear(C, C, { bias = false })
  self.q_proj = nn.Linear(C, C, { bias = false })
  self.out_proj = nn.Linear(C, C)
end

---Computes the attention of one layer, from the projections of queries, keys and values to the output projection.
---@param x any          B T C
---@param options table?  attention_mask: B 1 T S; cache: the layer's part of the cache; continues: the tokens continue the
---  text in the cache
---@return any  # a tuple: B T C
function SelfAttention:forward(x, options)
  local function heads(y) return attention.split(y, self.num_heads, self.head_dim) end -- B H T D
  local z = attention.attend(self, heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x)), options) -- B T C
  return helpers.tuple(self.resid_dropout(self.out_proj(z)))
end

function GPTNeo.Attention:init(config) self.attention = self.family.SelfAttention(config) end

function GPTNeo.Attention:forward(x, options) return self.attention(x, options) end -- a tuple: B T C

local MLP = GPTNeo.MLP

function MLP:init(config)
  local C = config.hidden_size
  self.c_fc = nn.Linear(C, config.intermediate_size or 4 * C)
  self.c_proj = nn.Linear(config.intermediate_size or 4 * C, C)
  self.act = activations.new(config.activation_function)
  self.dropout = nn.Dropout(config.resid_dropout)
end

function MLP:forward(x) return self.dropout(self.c_proj(self.act(self.c_fc(x)))) end -- B T C

local Block = GPTNeo.Block
Block.aliases = names.layer { attn = "attn", heads = "attn.attention", mlp_pre = "mlp.c_fc.output",
  mlp_post = "mlp.c_proj.input[0][0]" }

function Block:init(config)
  local C, eps = config.hidden_size, config.layer_norm_epsilon
  self.ln_1 = nn.LayerNorm(C, { eps = eps })
  self.attn = self.family.Attention(config)
  self.ln_2 = nn.LayerNorm(C, { eps = eps })
  self.mlp = self.family.MLP(config)
end

function Block:forward(x, options) -- B T C
  local middle = names.tap("resid_mid", self.attn(self.ln_1(x), options)[0] + x) -- B T C
  return helpers.tuple(middle + self.mlp(self.ln_2(middle))) -- B T C
end

local Model = GPTNeo.Model

function Model:init(config)
  local C = config.hidden_size
  self.windows = config.windows
  self.wte = nn.Embedding(config.vocab_size, C)
  self.wpe = nn.Embedding(config.max_position_embeddings, C)
  self.drop = nn.Dropout(config.embed_dropout)
  self.h = decoder.layers(self.family.Block, config)
  self.ln_f = nn.LayerNorm(C, { eps = config.layer_norm_epsilon })
end

---Runs the model without its head: token embeddings, all layers and the last norm.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T C;
---  cache, continues: see parts/cache.lua
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = decoder.read(input_ids, options)
  local embeds = options.inputs_embeds or self.wte(input_ids) -- B T C
  local see = masks.new(embeds, options)
  local x = self.drop(embeds + self.wpe(options.position_ids or see:positions())) -- B T C
  for i, block in self.h:each() do
    x = block(x, cache.for_layer(options, i, { attention_mask = see:causal(self.windows[i + 1] or nil) }))[0]
  end
  return helpers.struct { { "last_hidden_state", self.ln_f(x) } } -- B T C
end

local ForCausalLM = GPTNeo.ForCausalLM
ForCausalLM.inner, ForCausalLM.embedding, ForCausalLM.reads_beyond = "transformer", "wte", false
ForCausalLM.blocks, ForCausalLM.final_norm = "h", "ln_f"

local fields = decoder.with(decoder.fields, { vocab_size = 50257, hidden_size = 2048, num_hidden_layers = 24,
  num_attention_heads = 16, tie_word_embeddings = true, intermediate_size = { nil, kind = "size" }, -- 4 C by default
  window_size = { 256, kind = "size" }, activation_function = { "gelu_new", kind = "string" },
  layer_norm_epsilon = { 1e-5, kind = "number" }, embed_dropout = { 0, kind = "share" },
  resid_dropout = { 0, kind = "share" } })

local aliases = { num_heads = "num_attention_heads", num_layers = "num_hidden_layers" }

---Returns for each layer the size of its sliding window, or false. The setting attention_types is a list of pairs: a list of
---kinds ("global", "local"), and how often that list is repeated.
local function read_windows(config)
  local windows, known = {}, { global = false, ["local"] = config.window_size }
  for _, pair in ipairs(config.attention_types or { { { "global", "local" }, config.num_hidden_layers / 2 } }) do
    for _ = 1, pair[2] do
      for _, kind in ipairs(pair[1]) do
        if known[kind] == nil then helpers.raise("format", ("the setting attention_types has %q, not global or local")
          :format(tostring(kind))) end
        windows[#windows + 1] = known[kind]
      end
    end
  end
  if #windows ~= config.num_hidden_layers then
    helpers.raise("format", ("the setting attention_types describes %d layers, but num_layers is %d"):format(#windows,
      config.num_hidden_layers))
  end
  return windows
end

return decoder.architecture(ForCausalLM, function(given)
  local config = decoder.read_config(given, fields, aliases)
  config.windows = read_windows(config)
  return config
end, { drop = { "attention%.bias$", "attention%.masked_bias$" } })
