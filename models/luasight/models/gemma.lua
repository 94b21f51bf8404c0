--- Gemma (Gemma team 2024, "Gemma: Open Models Based on Gemini Research and Technology"): a Llama whose token embeddings
--- are scaled by sqrt(C), whose norms multiply by 1 + weight, and whose heads may be wider than C / H.
local ls = require "luasight"
local config_reader = require "luasight.models.parts.config"
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes
local norms = require "luasight.models.parts.norms"

local nn = ls.nn

local Gemma = llama.family "Gemma"

Gemma.RMSNorm = nn.Module("GemmaRMSNorm", norms.OffsetRMSNorm)

function Gemma.biases(config) return config.attention_bias, config.attention_bias, false end

local Embedding = nn.Module("GemmaTextScaledWordEmbedding", nn.Embedding)
Gemma.TextScaledWordEmbedding = Embedding
Embedding.family = Gemma

---Returns the embeddings of token ids, multiplied by the square root of their width.
---@param ids any  B T
---@return any  # B T C
function Embedding:forward(ids)
  local x = nn.Embedding.forward(self, ids)
  return x * x:new_full({}, math.sqrt(self.embedding_dim)) -- new_full rounds the factor to the dtype of x
end

function Gemma.Model:init(config)
  llama.Model.init(self, config)
  self.embed_tokens = self.family.TextScaledWordEmbedding(config.vocab_size, config.hidden_size,
    { padding_idx = config.pad_token_id })
end

Gemma.fields = decoder.with(llama.fields, { vocab_size = 256000, hidden_size = 3072, intermediate_size = 24576,
  num_hidden_layers = 28, num_attention_heads = 16, num_key_value_heads = 16, head_dim = 256, pad_token_id = 0,
  hidden_act = "gelu_pytorch_tanh", max_position_embeddings = 8192, tie_word_embeddings = true,
  hidden_activation = { nil, kind = "string" } })

---Reads a configuration of one of the Gemmas.
---@param given table
---@param fields table<string, luasight.ConfigField>
---@return table
function Gemma.read_config(given, fields)
  config_reader.refuse(given, { "use_bidirectional_attention" })
  return llama.read_config(given, fields)
end

local architecture = llama.architecture(Gemma, function(given)
  local config = Gemma.read_config(given, Gemma.fields)
  config.hidden_act = config.hidden_activation or config.hidden_act
  -- The first files of Gemma have hidden_act = "gelu", but mean gelu_pytorch_tanh.
  if config.hidden_act == "gelu" then config.hidden_act = "gelu_pytorch_tanh" end
  return config
end)
architecture.classes = Gemma
return architecture
