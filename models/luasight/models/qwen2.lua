--- Qwen2 (Yang et al. 2024, "Qwen2 Technical Report"): a Llama with biases on queries, keys and values, whose later layers
--- may have a sliding window.
local decoder = require "luasight.models.parts.decoder"
local llama = require "luasight.models.llama".classes

local Qwen2 = llama.family "Qwen2"

function Qwen2.biases() return true, false, false end

Qwen2.fields = decoder.with(llama.fields, { vocab_size = 151936, intermediate_size = 22016, num_key_value_heads = 32,
  max_position_embeddings = 32768, use_sliding_window = { false, kind = "boolean" },
  sliding_window = { 4096, kind = "window" }, max_window_layers = { 28, kind = "count" } })

function Qwen2.read_config(given, fields)
  local config = llama.read_config(given, fields)
  if not config.use_sliding_window then config.sliding_window = false end
  config.windows = decoder.windows(config, function(layer)
    return config.sliding_window and layer >= config.max_window_layers
  end)
  return config
end

local architecture = llama.architecture(Qwen2, function(given) return Qwen2.read_config(given, Qwen2.fields) end)
architecture.classes = Qwen2
return architecture
