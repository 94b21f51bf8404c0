--- DistilBERT (Sanh et al. 2019, "DistilBERT, a distilled version of BERT") with the head that predicts masked tokens.
---
--- Axes: B batch, T position, C width, H heads, D head width, V vocabulary.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local arguments = require "luasight.models.parts.arguments"
local attention = require "luasight.models.parts.attention"
local decoder = require "luasight.models.parts.decoder"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local nn = ls.nn

local EPS = 1e-12

local Embeddings = nn.Module "Embeddings"

function Embeddings:init(config)
  local C = config.hidden_size
  self.word_embeddings = nn.Embedding(config.vocab_size, C, { padding_idx = config.pad_token_id })
  self.position_embeddings = nn.Embedding(config.max_position_embeddings, C)
  self.LayerNorm = nn.LayerNorm(C, { eps = EPS })
  self.dropout = nn.Dropout(config.dropout)
end

---Returns the sum of the embeddings of each token, normalized: the input of the first layer.
---@param input_ids any   B T, or nil where inputs_embeds is given
---@param options table?  attention_mask, position_ids: B T; inputs_embeds: B T C
---@return any  # B T C
function Embeddings:forward(input_ids, options)
  options = options or {}
  local x = options.inputs_embeds or self.word_embeddings(input_ids) -- B T C
  local positions = options.position_ids or masks.new(x, options):columns()
  return self.dropout(self.LayerNorm(x + self.position_embeddings(positions)))
end

local SelfAttention = nn.Module("DistilBertSelfAttention", attention.Attention)

function SelfAttention:init(config)
  local C = config.hidden_size
  self.num_heads, self.head_dim, self.is_causal = config.num_attention_heads, config.head_dim, false
  self.pattern_dropout = config.attention_dropout
  self.q_lin = nn.Linear(C, C)
  self.k_lin = nn.Linear(C, C)
  self.v_lin = nn.Linear(C, C)
  self.out_lin = nn.Linear(C, C)
  self.dropout = nn.Dropout(config.attention_dropout) -- for printing only: attention.attend applies the dropout
end

---Computes a self-attention in which each position may read all positions that the mask allows.
---@param x any           B T C
---@param options table?  attention_mask: B 1 T T
---@return any  # a tuple: B T C
function SelfAttention:forward(x, options)
  local function heads(y) return attention.split(y, self.num_heads, self.head_dim) end -- B H T D
  return helpers.tuple(self.out_lin(attention.attend(self, heads(self.q_lin(x)), heads(self.k_lin(x)),
    heads(self.v_lin(x)), options)))
end

local FFN = nn.Module "FFN"

function FFN:init(config)
  self.dropout = nn.Dropout(config.dropout)
  self.lin1 = nn.Linear(config.hidden_size, config.hidden_dim)
  self.lin2 = nn.Linear(config.hidden_dim, config.hidden_size)
  self.activation = activations.new(config.activation)
end

function FFN:forward(x) return self.dropout(self.lin2(self.activation(self.lin1(x)))) end -- B T C

local Block = nn.Module "TransformerBlock"
Block.aliases = names.layer { attn = "attention", resid_mid = "sa_layer_norm.output", mlp = "ffn", mlp_out = "ffn.output",
  mlp_pre = "ffn.lin1.output", mlp_post = "ffn.lin2.input[0][0]" }

function Block:init(config)
  self.attention = SelfAttention(config)
  self.sa_layer_norm = nn.LayerNorm(config.hidden_size, { eps = EPS })
  self.ffn = FFN(config)
  self.output_layer_norm = nn.LayerNorm(config.hidden_size, { eps = EPS })
end

function Block:forward(x, options) -- B T C
  local middle = self.sa_layer_norm(self.attention(x, options)[0] + x) -- B T C
  return helpers.tuple(self.output_layer_norm(self.ffn(middle) + middle)) -- B T C
end

local Transformer = nn.Module "Transformer"

function Transformer:init(config) self.layer = decoder.layers(Block, config) end

function Transformer:forward(x, options) -- B T C
  for _, layer in self.layer:each() do x = layer(x, options)[0] end
  return helpers.struct { { "last_hidden_state", x } } -- B T C
end

local inputs = { "input_ids", "attention_mask", "position_ids", "inputs_embeds" }

local Model = nn.Module "DistilBertModel"

function Model:init(config)
  self.embeddings = Embeddings(config)
  self.transformer = Transformer(config)
end

---Runs the encoder, which is the model without its head.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B T, 0 at padding; position_ids: B T; inputs_embeds: B T C
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = arguments.read(inputs, input_ids, options)
  local x = self.embeddings(input_ids, next(options) and options or nil) -- B T C
  local mask = masks.new(x, options):everything()
  return self.transformer(x, mask and { attention_mask = mask })
end

-- ---- the language model ----------------------------------------------------------------------------------------------

local ForMaskedLM = nn.Module "DistilBertForMaskedLM"
ForMaskedLM.inner, ForMaskedLM.arguments, ForMaskedLM.cannot_generate = "distilbert", inputs, decoder.guesses_masked
ForMaskedLM.aliases = names.of_encoder("distilbert", "transformer.layer",
  names.none "its parts are three modules, vocab_transform, vocab_layer_norm and vocab_projector")
ForMaskedLM.tied = { ["vocab_projector.weight"] = "distilbert.embeddings.word_embeddings.weight" }

function ForMaskedLM:init(config)
  local C = config.hidden_size
  self.config = config
  self.activation = activations.new(config.activation)
  self.distilbert = Model(config)
  self.vocab_transform = nn.Linear(C, C)
  self.vocab_layer_norm = nn.LayerNorm(C, { eps = EPS })
  self.vocab_projector = nn.Linear(C, config.vocab_size)
  self.mlm_loss_fct = nn.Module "CrossEntropyLoss"() -- for printing only, as in the model of Hugging Face
  self:tie_weights()
end

---Makes the head and the token embedding share one weight, where the configuration says so.
function ForMaskedLM:tie_weights() decoder.tie(self) end

---Takes the same arguments as the encoder; returns a struct with the logits, { logits = B T V }.
---@param input_ids any
---@param options table?
---@return any
function ForMaskedLM:forward(input_ids, options)
  input_ids, options = arguments.read(inputs, input_ids, options)
  local hidden = self.distilbert(input_ids, next(options) and options or nil).last_hidden_state -- B T C
  local x = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden))) -- B T C
  return helpers.struct { { "logits", self.vocab_projector(x) } } -- B T V
end

local fields = decoder.with(decoder.fields, { vocab_size = 30522, hidden_size = 768, num_hidden_layers = 6,
  num_attention_heads = 12, max_position_embeddings = 512, tie_word_embeddings = true, attention_dropout = 0.1,
  hidden_dim = { 3072, kind = "size" }, activation = { "gelu", kind = "string" }, dropout = { 0.1, kind = "share" },
  pad_token_id = { 0, kind = "token" } })

local aliases = { dim = "hidden_size", n_heads = "num_attention_heads", n_layers = "num_hidden_layers" }

return decoder.architecture(ForMaskedLM, function(given) return decoder.read_config(given, fields, aliases) end, {
  drop = { "embeddings%.position_ids$" }, heads = { "vocab_transform", "vocab_layer_norm", "vocab_projector" },
  alone = decoder.alone(Model, ForMaskedLM) })
