--- The architectures that luasight knows, by the `model_type` of a config.json.
---
--- An architecture is a module with
---   new(config)     the network of a configuration, old or new spelling, as nn.Module with Hugging Face's module paths
---   place(name)     where a tensor of a checkpoint belongs, as module path; nil for one that is not needed; for the weight
---                   of one expert also which expert and which part of it that is, from 0
---   tied            parameter -> the parameter it shares its tensor with where the configuration says so
---   alone           where it has one, the same of the model without its head, and the `class` by which a config.json asks
---                   for it
local helpers = require "luasight.family"

local models = {}

---model_type -> the file that has it.
models.files = {}
for model_type in ([[
  bert bloom distilbert falcon gemma gemma2 gemma3_text gpt2 gpt_neo gpt_neox gptj granite llama mamba mamba2 mistral mixtral
  olmo2 opt phi phi3 qwen2 qwen3 qwen3_moe roberta stablelm starcoder2 t5
]]):gmatch "%S+" do models.files[model_type] = "luasight.models." .. model_type end

---@class luasight.Architecture
---@field new fun(config: table): table
---@field place fun(name: string): string?, integer?, integer?
---@field tied table<string, string>
---@field alone? luasight.Architecture
---@field class string?

---@return string[]
function models.names()
  local names = {}
  for name in pairs(models.files) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---The architecture of a model type; one that is not there raises and says which are.
---@param model_type any  of config.json
---@param classes any?    its `architectures`: the first may be the model without its head
---@return luasight.Architecture
function models.find(model_type, classes)
  local file = models.files[model_type]
  if file then
    local architecture = require(file)
    local alone = architecture.alone
    return alone and type(classes) == "table" and classes[1] == alone.class and alone or architecture
  end
  local names = models.names()
  local hint = "luasight has " .. table.concat(names, ", ")
  if type(model_type) ~= "string" then
    helpers.raise("format", "there is no model_type, which says what kind of model this is", { hint = hint })
  end
  helpers.raise("name", ("luasight has no model of the type %q%s"):format(model_type, helpers.near(model_type, names)),
    { hint = hint })
end

return models
