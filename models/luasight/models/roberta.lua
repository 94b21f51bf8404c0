--- RoBERTa (Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach"): a BERT whose position numbers
--- begin behind the id of the padding token, with a head that is one module.
local ls = require "luasight"
local bert = require "luasight.models.bert".classes
local decoder = require "luasight.models.parts.decoder"
local names = require "luasight.models.parts.names"
local helpers = require "luasight.family"

local nn = ls.nn

local Roberta = decoder.family("Roberta", bert)

local Embeddings = Roberta.Embeddings

function Embeddings:init(config)
  local C = config.hidden_size
  self.padding = config.pad_token_id
  self.word_embeddings = nn.Embedding(config.vocab_size, C, { padding_idx = config.pad_token_id })
  self.token_type_embeddings = nn.Embedding(config.type_vocab_size, C)
  self.LayerNorm = nn.LayerNorm(C, { eps = config.layer_norm_eps })
  self.dropout = nn.Dropout(config.hidden_dropout_prob)
  self.position_embeddings = nn.Embedding(config.max_position_embeddings, C, { padding_idx = config.pad_token_id })
end

---Returns the position numbers of the tokens. The padding token is not counted, nor what the mask leaves out on the left.
function Embeddings:positions(see, input_ids)
  if type(input_ids) == "nil" then return see:columns() + (self.padding + 1) end
  local real = input_ids:ne(self.padding) -- B T
  if see.real then real = real:logical_and(see.real:cumsum(-1):gt(0)) end
  return real:cumsum(-1) * real + self.padding
end

local Head = nn.Module "RobertaLMHead"

function Head:init(config)
  self.dense = nn.Linear(config.hidden_size, config.hidden_size)
  self.layer_norm = nn.LayerNorm(config.hidden_size, { eps = config.layer_norm_eps })
  self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
  self.bias = helpers.empty({ config.vocab_size }, {}) -- the same tensor as self.decoder.bias where weights are tied
end

function Head:forward(x) return self.decoder(self.layer_norm(self.dense(x):gelu())) end -- B T V

local ForMaskedLM = Roberta.ForMaskedLM
ForMaskedLM.inner = "roberta"
ForMaskedLM.aliases = names.of_encoder("roberta", "encoder.layer", "lm_head")
ForMaskedLM.tied = { ["lm_head.decoder.weight"] = "roberta.embeddings.word_embeddings.weight",
  ["lm_head.decoder.bias"] = "lm_head.bias" }

function ForMaskedLM:init(config)
  self.config = config
  self.context = config.max_position_embeddings - config.pad_token_id - 1
  self.roberta = self.family.Model(config)
  self.lm_head = Head(config)
  self:tie_weights()
end

function ForMaskedLM:head(x) return self.lm_head(x) end -- B T V

local Alone = bert.alone(Roberta)
local init_alone = Alone.init

function Alone:init(config)
  init_alone(self, config)
  self.context = config.max_position_embeddings - config.pad_token_id - 1
end

local fields = decoder.with(bert.fields, { vocab_size = 50265, pad_token_id = { 1, kind = "token" } })

return decoder.architecture(ForMaskedLM, function(given) return bert.read_config(given, fields) end, {
  drop = { "pooler%.", "embeddings%.position_ids$" }, rename = bert.rename,
  alone = Alone, keeps = { "pooler%." } })
