--- BERT (Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers") with the head that predicts masked
--- tokens.
---
--- Axes: B batch, T position, C width, H heads, D head width, I inner width, V vocabulary.
local ls = require "luasight"
local activations = require "luasight.models.parts.activations"
local arguments = require "luasight.models.parts.arguments"
local attention = require "luasight.models.parts.attention"
local config_reader = require "luasight.models.parts.config"
local decoder = require "luasight.models.parts.decoder"
local masks = require "luasight.models.parts.masks"
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local nn = ls.nn

local Bert = decoder.family("Bert", {
  Embeddings = nn.Module "Embeddings",
  SelfAttention = nn.Module("SelfAttention", attention.Attention),
  SelfOutput = nn.Module "SelfOutput",
  Attention = nn.Module "Attention",
  Intermediate = nn.Module "Intermediate",
  Output = nn.Module "Output",
  Layer = nn.Module "Layer",
  Encoder = nn.Module "Encoder",
  Model = nn.Module "Model",
  PredictionHeadTransform = nn.Module "PredictionHeadTransform",
  LMPredictionHead = nn.Module "LMPredictionHead",
  OnlyMLMHead = nn.Module "OnlyMLMHead",
  ForMaskedLM = nn.Module "ForMaskedLM",
  Pooler = nn.Module "Pooler",
})

---@param config table
---@return table
local function norm(config) return nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_eps }) end

-- ---- embeddings ------------------------------------------------------------------------------------------------------

local Embeddings = Bert.Embeddings

function Embeddings:init(config)
  local C = config.hidden_size
  self.word_embeddings = nn.Embedding(config.vocab_size, C, { padding_idx = config.pad_token_id })
  self.position_embeddings = nn.Embedding(config.max_position_embeddings, C)
  self.token_type_embeddings = nn.Embedding(config.type_vocab_size, C)
  self.LayerNorm = norm(config)
  self.dropout = nn.Dropout(config.hidden_dropout_prob)
end

---Returns the position numbers of the tokens for a call without position_ids.
---@param see luasight.Masks
---@return any  # B T or 1 T
function Embeddings:positions(see) return see:columns() end

---Returns the sum of the embeddings of each token, normalized: the input of the first layer.
---@param input_ids any   B T, or nil where inputs_embeds is given
---@param options table?  attention_mask, position_ids, token_type_ids: B T; inputs_embeds: B T C
---@return any  # B T C
function Embeddings:forward(input_ids, options)
  options = options or {}
  local x = options.inputs_embeds or self.word_embeddings(input_ids) -- B T C
  local positions = options.position_ids or self:positions(masks.new(x, options), input_ids)
  local kinds = options.token_type_ids or x:new_zeros({ 1, x.shape[1] }, { dtype = "int64" })
  x = x + self.token_type_embeddings(kinds) + self.position_embeddings(positions)
  return self.dropout(self.LayerNorm(x))
end

-- ---- layers ----------------------------------------------------------------------------------------------------------

local SelfAttention = Bert.SelfAttention

function SelfAttention:init(config)
  local C = config.hidden_size
  self.num_heads, self.head_dim, self.is_causal = config.num_attention_heads, config.head_dim, false
  self.pattern_dropout = config.attention_probs_dropout_prob
  self.query = nn.Linear(C, C)
  self.key = nn.Linear(C, C)
  self.value = nn.Linear(C, C)
  self.dropout = nn.Dropout(config.attention_probs_dropout_prob) -- for printing only: attention.attend applies the dropout
end

---Computes a self-attention in which each position may read all positions that the mask allows.
---@param x any           B T C
---@param options table?  attention_mask: B 1 T T
---@return any  # a tuple: B T C
function SelfAttention:forward(x, options)
  local function heads(y) return attention.split(y, self.num_heads, self.head_dim) end -- B H T D
  return helpers.tuple(attention.attend(self, heads(self.query(x)), heads(self.key(x)), heads(self.value(x)), options))
end

---Applies a linear layer and dropout to y, adds x (the residual), and normalizes the sum.
local function add_and_norm(self, y, x) return self.LayerNorm(self.dropout(self.dense(y)) + x) end

for _, name in ipairs { "SelfOutput", "Output" } do
  local Class = Bert[name]

  function Class:init(config)
    self.dense = nn.Linear(name == "Output" and config.intermediate_size or config.hidden_size, config.hidden_size)
    self.LayerNorm = norm(config)
    self.dropout = nn.Dropout(config.hidden_dropout_prob)
  end

  function Class:forward(y, x) return add_and_norm(self, y, x) end -- B T C
end

local Attention = Bert.Attention

function Attention:init(config)
  self["self"] = self.family.SelfAttention(config)
  self.output = self.family.SelfOutput(config)
end

function Attention:forward(x, options) return helpers.tuple(self.output(self["self"](x, options)[0], x)) end -- B T C

local Intermediate = Bert.Intermediate

function Intermediate:init(config)
  self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
  self.intermediate_act_fn = activations.new(config.hidden_act)
end

function Intermediate:forward(x) return self.intermediate_act_fn(self.dense(x)) end -- B T I

local Layer = Bert.Layer
Layer.aliases = names.layer { attn = "attention", heads = "attention.self", attn_out =
  "attention.children.output.dropout.output", resid_mid = "attention.output[0]",
  mlp = names.none "its parts are two modules, intermediate and output", mlp_out = "children.output.dropout.output",
  mlp_pre = "intermediate.dense.output", mlp_post = "intermediate.output" }

function Layer:init(config)
  self.attention = self.family.Attention(config)
  self.intermediate = self.family.Intermediate(config)
  self.output = self.family.Output(config)
end

function Layer:forward(x, options) -- B T C
  local middle = self.attention(x, options)[0] -- B T C
  return helpers.tuple(self.output(self.intermediate(middle), middle)) -- B T C
end

function Bert.Encoder:init(config) self.layer = decoder.layers(self.family.Layer, config) end

function Bert.Encoder:forward(x, options) -- B T C
  for _, layer in self.layer:each() do x = layer(x, options)[0] end
  return helpers.struct { { "last_hidden_state", x } } -- B T C
end

-- ---- the model -------------------------------------------------------------------------------------------------------

Bert.inputs = { "input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds" }

local Model = Bert.Model

function Model:init(config)
  self.embeddings = self.family.Embeddings(config)
  self.encoder = self.family.Encoder(config)
end

---Runs the encoder, which is the model without its head.
---@param input_ids any     B T, or nil where inputs_embeds is given
---@param options table?    attention_mask: B T, 0 at padding; token_type_ids, position_ids: B T; inputs_embeds: B T C
---@return any  # a struct: last_hidden_state, B T C
function Model:forward(input_ids, options)
  input_ids, options = arguments.read(Bert.inputs, input_ids, options)
  local x = self.embeddings(input_ids, next(options) and options or nil) -- B T C
  local mask = masks.new(x, options):everything()
  return self.encoder(x, mask and { attention_mask = mask })
end

-- ---- the head --------------------------------------------------------------------------------------------------------

local Transform = Bert.PredictionHeadTransform

function Transform:init(config)
  self.dense = nn.Linear(config.hidden_size, config.hidden_size)
  self.transform_act_fn = activations.new(config.hidden_act)
  self.LayerNorm = norm(config)
end

function Transform:forward(x) return self.LayerNorm(self.transform_act_fn(self.dense(x))) end -- B T C

local Head = Bert.LMPredictionHead

function Head:init(config)
  self.transform = self.family.PredictionHeadTransform(config)
  self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
  self.bias = helpers.empty({ config.vocab_size }, {}) -- the same tensor as self.decoder.bias where weights are tied
end

function Head:forward(x) return self.decoder(self.transform(x)) end -- B T V

function Bert.OnlyMLMHead:init(config) self.predictions = self.family.LMPredictionHead(config) end

function Bert.OnlyMLMHead:forward(x) return self.predictions(x) end -- B T V

local ForMaskedLM = Bert.ForMaskedLM
ForMaskedLM.inner, ForMaskedLM.arguments = "bert", Bert.inputs
ForMaskedLM.cannot_generate = decoder.guesses_masked
ForMaskedLM.aliases = names.of_encoder("bert", "encoder.layer", "cls")
ForMaskedLM.tied = { ["cls.predictions.decoder.weight"] = "bert.embeddings.word_embeddings.weight",
  ["cls.predictions.decoder.bias"] = "cls.predictions.bias" }

function ForMaskedLM:init(config)
  self.config = config
  self[self.inner] = self.family.Model(config)
  self.cls = self.family.OnlyMLMHead(config)
  self:tie_weights()
end

---Makes the head and the token embedding share one weight, where the configuration says so.
function ForMaskedLM:tie_weights() decoder.tie(self) end

---Applies the head that predicts masked tokens to the encoder's output.
---@param x any  B T C
---@return any   # B T V
function ForMaskedLM:head(x) return self.cls(x) end

---Takes the same arguments as the encoder; returns a struct with the logits, { logits = B T V }.
---@param input_ids any
---@param options table?
---@return any
function ForMaskedLM:forward(input_ids, options)
  input_ids, options = arguments.read(self.arguments, input_ids, options)
  local hidden = self[self.inner](input_ids, next(options) and options or nil).last_hidden_state -- B T C
  return helpers.struct { { "logits", self:head(hidden) } } -- B T V
end

-- ---- without the head ------------------------------------------------------------------------------------------------

local Pooler = Bert.Pooler
Pooler.token_axis = { output = false } -- B C

function Pooler:init(config)
  self.dense = nn.Linear(config.hidden_size, config.hidden_size)
  self.activation = nn.Tanh()
  self.dense.token_axis, self.activation.token_axis = { input = false, output = false }, { input = false, output = false }
end

---Applies a linear layer and then tanh to the encoder's output at the first token of each row.
---@param x any           B T C
---@param options table?  attention_mask: B T; the first token of a row is behind the row's padding
---@return any  # B C
function Pooler:forward(x, options)
  local first = x[":, 0"] -- B C
  if options then
    local at = options.attention_mask:ne(0):int():argmax(-1):view(-1, 1, 1):expand(-1, 1, x.shape[2]) -- B 1 C
    first = x:gather(1, at):squeeze(1)
  end
  return self.activation(self.dense(first))
end

---Makes the class of the encoder without a head, which also returns the output of its pooler (see Pooler:forward).
---@param family table
---@return table
function Bert.alone(family)
  local Alone = decoder.alone(family.Model, family.ForMaskedLM)
  local init = Alone.init
  Alone.token_axis = { ["output.pooler_output"] = false }

  function Alone:init(config)
    init(self, config)
    self.pooler = self.family.Pooler(config)
  end

  ---Takes the same arguments as the encoder.
  ---@param input_ids any
  ---@param options table?
  ---@return any  # a struct: last_hidden_state, B T C; pooler_output, B C
  function Alone:forward(input_ids, options)
    local hidden = family.Model.forward(self, input_ids, options).last_hidden_state -- B T C
    local mask = options and options.attention_mask
    return helpers.struct { { "last_hidden_state", hidden },
      { "pooler_output", self.pooler(hidden, mask and { attention_mask = mask }) } }
  end

  return Alone
end

-- ---- the architecture ------------------------------------------------------------------------------------------------

Bert.fields = decoder.with(decoder.fields, { vocab_size = 30522, hidden_size = 768, num_hidden_layers = 12,
  num_attention_heads = 12, max_position_embeddings = 512, tie_word_embeddings = true,
  intermediate_size = { 3072, kind = "size" }, hidden_act = { "gelu", kind = "string" },
  hidden_dropout_prob = { 0.1, kind = "share" }, attention_probs_dropout_prob = { 0.1, kind = "share" },
  type_vocab_size = { 2, kind = "size" }, layer_norm_eps = { 1e-12, kind = "number" },
  pad_token_id = { 0, kind = "token" } })

---Reads a configuration; raises an error where it describes a decoder or position embeddings of another kind.
---@param given table
---@param fields table<string, luasight.ConfigField>
---@return table
function Bert.read_config(given, fields)
  if given.position_embedding_type ~= "absolute" then config_reader.refuse(given, { "position_embedding_type" }) end
  config_reader.refuse(given, { "is_decoder" })
  return decoder.read_config(given, fields)
end

---Returns the present name of a parameter for the name that it has in the oldest files of BERT.
---@param name string
---@return string
function Bert.rename(name)
  return (name:gsub("LayerNorm%.gamma$", "LayerNorm.weight"):gsub("LayerNorm%.beta$", "LayerNorm.bias"))
end

local architecture = decoder.architecture(ForMaskedLM, function(given) return Bert.read_config(given, Bert.fields) end, {
  drop = { "pooler%.", "^cls%.seq_relationship%.", "embeddings%.position_ids$" }, rename = Bert.rename, heads = { "cls" },
  alone = Bert.alone(Bert), keeps = { "pooler%." } })
architecture.classes = Bert
return architecture
