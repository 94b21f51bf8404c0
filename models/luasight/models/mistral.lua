--- Mistral (Jiang et al. 2023, "Mistral 7B"): a Llama whose layers may have a sliding window.
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes

local Mistral = llama.family "Mistral"

function Mistral.biases() return false, false, false end

local fields = decoder.with(llama.fields, { intermediate_size = 14336, num_key_value_heads = 8,
  max_position_embeddings = 131072, sliding_window = { 4096, kind = "window" } })

return llama.architecture(Mistral, function(given)
  local config = llama.read_config(given, fields)
  config.layer_types = nil -- where a file has layer_types, they are another family's
  config.windows = decoder.windows(config, function() return true end)
  return config
end)
