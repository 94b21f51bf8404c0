--- The architectures that luasight knows, by the `model_type` of a config.json.
---
--- An architecture is a module with
---   new(config)     makes the network of a configuration, in the old or new spelling, as nn.Module with the module paths of
---                   Hugging Face
---   place(name)     returns the module path of the parameter for the name of a checkpoint's tensor, nil for a tensor that is
---                   not needed; for the weight of an expert also the number of the expert and that of the part of
---                   the expert, both from 0
---   tied            maps a parameter to another one, whose tensor it shares where the configuration says so
---   alone           the architecture of the model without its head, if there is one, with the `class` that a config.json
---                   names for it
---   keeps_float32(path)  whether a parameter stays float32 in a model that is loaded in float16; absent: none does
local helpers = require "luasight.family"

local models = {}

---Maps a model_type to the name of the Lua module with the architecture of its family.
models.files = {}
for model_type in ([[
  bert bloom distilbert falcon gemma gemma2 gemma3_text gpt2 gpt_neo gpt_neox gptj granite llama mamba mamba2 mistral mixtral
  olmo2 opt phi phi3 qwen2 qwen3 qwen3_moe roberta stablelm starcoder2 t5
]]):gmatch "%S+" do models.files[model_type] = "luasight.models." .. model_type end

---@class luasight.Architecture  makes the networks of a family, and finds their parameters in files
---@field new fun(config: table): table  the network of a config.json
---@field place fun(name: string): string?, integer?, integer?  the path of the parameter that a tensor of a file belongs to,
---  and of a mixture the number of the expert and of its part; nil where the tensor is not needed
---@field tied table<string, string>  the path of a tied parameter -> the path of the parameter whose tensor it shares
---@field alone? luasight.Architecture  the same for the model without its head
---@field class string?  the class in a config.json that asks for the model without its head
---@field keeps_float32? fun(path: string): boolean  whether a parameter stays float32 where the model is loaded in float16

---Returns the names of all families (the values of model_type), sorted.
---@return string[]
function models.names()
  local names = {}
  for name in pairs(models.files) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---Returns the architecture for a model_type; raises an error that lists all model types where there is none.
---@param model_type any  the model_type of config.json
---@param classes any?    the `architectures` of config.json: the first may name the model without its head
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
    helpers.raise("format", "the setting model_type is missing, which names the family of the model", { hint = hint })
  end
  helpers.raise("name", ("luasight has no model of the type %q%s"):format(model_type, helpers.near(model_type, names)),
    { hint = hint })
end

return models
