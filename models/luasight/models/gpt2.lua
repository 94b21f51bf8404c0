--- GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), with the module paths of Hugging
--- Face. Recorded once, it serves every batch and length.
---
--- Axes: B batch, T position, S position with those in the cache (T without one), C width, H heads, D head width
--- (C = H D), I inner width of the MLP, V vocabulary, N the longest input.
local ls = require "luasight"
local activations = require "luasight.models.activations"
local arguments = require "luasight.models.arguments"
local cache = require "luasight.models.cache"
local config_reader = require "luasight.models.config"
local failure = require "luasight.error"
local tensor = require "luasight.tensor"

local torch, nn = ls.torch, ls.nn

-- ---- configuration ---------------------------------------------------------------------------------------------------

local fields = {
  vocab_size = { 50257, kind = "size" },
  n_positions = { 1024, kind = "size" },
  n_embd = { 768, kind = "size" },
  n_layer = { 12, kind = "size" },
  n_head = { 12, kind = "size" },
  n_inner = { nil, kind = "size" }, -- 4 C
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
  if config.n_embd % config.n_head ~= 0 then
    failure.raise("format", ("n_embd is %d, which %d heads (n_head) cannot share evenly"):format(config.n_embd,
      config.n_head))
  end
  return config
end

-- ---- the network -----------------------------------------------------------------------------------------------------

local Attention = nn.Module "GPT2Attention"
Attention.token_axis = { q = 2, k = 2, v = 2, scores = 2, pattern = 2, z = 2 }

---@param config table
---@param layer integer
function Attention:init(config, layer)
  local C = config.n_embd
  self.width, self.heads = C, config.n_head
  self.scale = config.scale_attn_weights and (C / config.n_head) ^ -0.5 or 1
  if config.scale_attn_by_inverse_layer_idx then self.scale = self.scale / (layer + 1) end
  self.upcast = config.reorder_and_upcast_attn
  self.c_attn = nn.Conv1D(3 * C, C)
  self.c_proj = nn.Conv1D(C, C)
  self.attn_dropout = nn.Dropout(config.attn_pdrop) -- not called: the attention drops out by itself
  self.resid_dropout = nn.Dropout(config.resid_pdrop)
end

---@param x any        B T C
---@param options table?  attention_mask: B 1 T S, true where a position (row) may look at another (column); cache: this
---  layer's part; continues
---@return any  # a tuple: B T C
function Attention:forward(x, options)
  local C, H, o = self.width, self.heads, options or {}
  local qkv = self.c_attn(x) -- B T 3C
  local function heads(i) return qkv:narrow(2, i * C, C):unflatten(2, { H, C / H }):transpose(1, 2) end
  local q, k, v = heads(0), heads(1), heads(2) -- B H T D each
  k, v = cache.extend(o.cache, k, v, o.continues) -- B H S D
  local mask = o.attention_mask
  local z = nn.scaled_dot_product_attention(q, k, v, { mask = mask, is_causal = not mask and not o.continues,
    scale = self.scale, upcast = self.upcast, dropout = self.training and self.attn_dropout.p or 0 }) -- B H T D
  local y = self.c_proj(z:transpose(1, 2):flatten(2)) -- B T C
  return tensor.tuple(self.resid_dropout(y))
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

local Block = nn.Module "GPT2Block"

---@param config table
---@param layer integer
function Block:init(config, layer)
  local C, eps = config.n_embd, config.layer_norm_epsilon
  self.ln_1 = nn.LayerNorm(C, { eps = eps })
  self.attn = Attention(config, layer)
  self.ln_2 = nn.LayerNorm(C, { eps = eps })
  self.mlp = MLP(config.n_inner or 4 * C, config)
end

---@param x any          B T C
---@param options table?  as of Attention
---@return any  # a tuple: B T C
function Block:forward(x, options) -- B T C
  local middle = self.attn(self.ln_1(x), options)[0] + x -- B T C
  return tensor.tuple(middle + self.mlp(self.ln_2(middle))) -- B T C
end

local Model = nn.Module "GPT2Model"

function Model:init(config)
  local C = config.n_embd
  self.wte = nn.Embedding(config.vocab_size, C)
  self.wpe = nn.Embedding(config.n_positions, C)
  self.drop = nn.Dropout(config.embd_pdrop)
  local blocks = {}
  for layer = 0, config.n_layer - 1 do blocks[layer + 1] = Block(config, layer) end
  self.h = nn.ModuleList(blocks)
  self.ln_f = nn.LayerNorm(C, { eps = config.layer_norm_epsilon })
end

local inputs = { "input_ids", "attention_mask", "position_ids", "inputs_embeds" }
local all_inputs = { unpack(inputs) }
for _, name in ipairs(cache.arguments) do all_inputs[#all_inputs + 1] = name end

-- Padding stands on the left; a row of it sees only itself, so that it has numbers too.
local function allowed(mask, T, device) -- mask: B T, 0 at padding
  local options = { dtype = "bool", device = device }
  local earlier = torch.ones(T, T, options):tril() -- T T
  local itself = torch.eye(T, options) -- T T
  local real = mask:ne(0):unsqueeze(1):unsqueeze(2) -- B 1 1 T
  return real:logical_and(earlier):logical_or(itself) -- B 1 T T
end

-- Positions count from the first real token.
local function positions_of(o, T, device)
  if o.attention_mask then
    local real = o.attention_mask:ne(0)
    if o.continues then return real:sum(-1, true) - 1 end -- B 1
    return (real:cumsum(-1) - 1):clamp_min(0) -- B T
  end
  local S = o.cache and o.cache.shape[4] or T
  return torch.arange(S - T, S, { dtype = "int64", device = device }):unsqueeze(0) -- 1 T
end

---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B S, 0 at padding; position_ids: B T; inputs_embeds: B T C; cache: the first S
---  positions of what `new_cache` makes; continues: the one token goes on with the text in the cache
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  local o
  input_ids, o = arguments.read(all_inputs, input_ids, options)
  cache.check(o)
  local embeds = o.inputs_embeds or self.wte(input_ids) -- B T C
  local T, device, mask = embeds.shape[1], self.wpe.weight.device, o.attention_mask
  local x = self.drop(embeds + self.wpe(o.position_ids or positions_of(o, T, device))) -- B T C
  local inner = { continues = o.continues }
  if mask and o.continues then inner.attention_mask = mask:ne(0):unsqueeze(1):unsqueeze(2) -- B 1 1 S
  elseif mask then inner.attention_mask = allowed(mask, T, device) end
  for i, block in self.h:each() do
    inner.cache = o.cache and o.cache:select(0, i)
    x = block(x, next(inner) and inner or nil)[0]
  end
  return tensor.struct { { "last_hidden_state", self.ln_f(x) } } -- B T C
end

local LMHeadModel = nn.Module "GPT2LMHeadModel"
LMHeadModel.arguments = inputs

function LMHeadModel:init(config)
  self.config = config
  self.transformer = Model(config)
  self.lm_head = nn.Linear(config.n_embd, config.vocab_size, { bias = false })
  self:tie_weights()
end

---The head reads with the vectors of the token embedding, where the configuration says so.
function LMHeadModel:tie_weights()
  if self.config.tie_word_embeddings then self.lm_head.weight = self.transformer.wte.weight end -- V C
end

---Takes what the transformer takes, and logits_to_keep: of how many positions the logits are wanted, from the end.
---Gives { logits = B T V }.
---@param input_ids any
---@param options table?
---@return any
function LMHeadModel:forward(input_ids, options)
  input_ids, options = arguments.read(all_inputs, input_ids, options)
  local keep = options.logits_to_keep
  options.logits_to_keep = nil
  local hidden = self.transformer(input_ids, next(options) and options or nil).last_hidden_state -- B T C
  return tensor.struct { { "logits", self.lm_head(cache.last(hidden, keep)) } } -- B T V
end

---A key/value cache; a forward gets the view of its first positions, `cache:narrow(4, 0, S)`.
---@param rows integer
---@param length integer  of the longest text
---@return any  # L 2 R H N D
function LMHeadModel:new_cache(rows, length)
  local c = self.config
  return cache.new({ layers = c.n_layer, rows = rows, heads = c.n_head, length = length, width = c.n_embd / c.n_head },
    self.transformer.wpe.weight)
end

-- What training begins with: small numbers, and smaller ones where a block adds to the residual stream (section 2.3).
local function initialize(net)
  local std, layers = net.config.initializer_range, net.config.n_layer
  for name, p in net:named_parameters() do
    if name:find "bias$" then nn.init.zeros_(p)
    elseif name:find "c_proj%.weight$" then nn.init.normal_(p, { mean = 0, std = std / math.sqrt(2 * layers) })
    elseif not name:find "ln_[12f]%.weight$" then nn.init.normal_(p, { mean = 0, std = std }) end
  end
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

local gpt2 = { tied = { ["lm_head.weight"] = "transformer.wte.weight" } }

---A GPT-2 with random weights.
---@param config table  as in config.json, old spelling or new; what is not there is as in the smallest model
---@return table # an nn.Module
function gpt2.new(config)
  local net = LMHeadModel(read_config(config))
  if net.lm_head.weight.device ~= "meta" then torch.no_grad(initialize, net) end
  return net
end

---Where a tensor of a checkpoint belongs: files have the prefix or not, and old ones hold the causal mask too.
---@param name string
---@return string?
function gpt2.place(name)
  if name:find "^h%.%d+%.attn%.masked_bias$" or name:find "^h%.%d+%.attn%.bias$" then return nil end
  local inside = name:match "^transformer%.(.*)"
  if inside then return gpt2.place(inside) end
  return name:find "^lm_head%." and name or "transformer." .. name
end

return gpt2
