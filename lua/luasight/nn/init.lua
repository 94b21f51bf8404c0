--- `ls.nn`: modules, the layers of which networks are built, and functions that initialize weights.
local binding = require "luasight.ffi"
local module = require "luasight.nn.module"
local parameter = require "luasight.nn.parameter"
local record = require "luasight.nn.record"

-- The methods that every module has are loaded when one of them is first called.
for _, name in ipairs { "parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules", "children",
  "named_children", "get_submodule", "apply", "train", "eval", "requires_grad_", "zero_grad", "to", "float", "double", "half",
  "bfloat16", "cpu", "cuda", "state_dict", "named_state", "load_state_dict" } do
  module.Module[name] = function(...) return require "luasight.nn.methods"[name](...) end
end

---@class luasight.nn
---@field Module fun(name: string, parent: table?): table     makes a class of modules
---@field Parameter fun(t: any, options: table?): any
---@field Buffer fun(t: any, options: table?): any
---@field tap fun(name: string, value: any): any  names a value in a forward, so that a trace can read and set the value
---@field skip_init fun(f: function, ...): ...  calls f; the layers made in it get no memory for their numbers
---@field init luasight.nn.init  functions that initialize weights
---@field Sequential fun(list: table?, ...): luasight.nn.Sequential
---@field ModuleList fun(list: table?): luasight.nn.ModuleList
---@field ModuleDict fun(pairs: table?): luasight.nn.ModuleDict
---@field Linear fun(in_features: integer, out_features: integer, options: table?): luasight.nn.Linear
---@field Conv1D fun(nf: integer, nx: integer, options: table?): luasight.nn.Conv1D
---@field Embedding fun(num_embeddings: integer, embedding_dim: integer, options: table?): luasight.nn.Embedding
---@field LayerNorm fun(normalized_shape: integer|integer[], options: table?): luasight.nn.LayerNorm
---@field RMSNorm fun(normalized_shape: integer|integer[], options: table?): luasight.nn.RMSNorm
---@field BatchNorm1d fun(num_features: integer, options: table?): luasight.nn.BatchNorm1d
---@field BatchNorm2d fun(num_features: integer, options: table?): luasight.nn.BatchNorm2d
---@field Dropout fun(p: number?): luasight.nn.Dropout
---@field Identity fun(...): luasight.nn.Identity                  returns its first argument
---@field ReLU fun(): luasight.nn.Module                          activations are also operators, such as x:relu()
---@field ReLU6 fun(): luasight.nn.Module
---@field SiLU fun(): luasight.nn.Module
---@field Tanh fun(): luasight.nn.Module
---@field Sigmoid fun(): luasight.nn.Module
---@field Mish fun(): luasight.nn.Module
---@field SELU fun(): luasight.nn.Module
---@field Hardswish fun(): luasight.nn.Module
---@field Hardsigmoid fun(): luasight.nn.Module
---@field LogSigmoid fun(): luasight.nn.Module
---@field Softsign fun(): luasight.nn.Module
---@field Tanhshrink fun(): luasight.nn.Module
---@field GELU fun(options: { approximate: "none"|"tanh"? }?): luasight.nn.Module
---@field LeakyReLU fun(negative_slope: number?): luasight.nn.Module  negative_slope is 0.01 by default
---@field ELU fun(alpha: number?): luasight.nn.Module                 alpha is 1 by default
---@field CELU fun(alpha: number?): luasight.nn.Module                alpha is 1 by default
---@field Softplus fun(beta: number?, threshold: number?): luasight.nn.Module  1 and 20 by default
---@field Hardtanh fun(min_val: number?, max_val: number?): luasight.nn.Module  -1 and 1 by default
---@field Softmax fun(dim: integer): luasight.nn.Module
---@field LogSoftmax fun(dim: integer): luasight.nn.Module
---@field GLU fun(dim: integer?): luasight.nn.Module                  dim is -1 by default
---@field scaled_dot_product_attention fun(q: any, k: any, v: any, options: table?): any
local nn = {
  Module = module.class,
  is_module = module.is_module,
  Parameter = parameter.Parameter,
  Buffer = parameter.Buffer,
  skip_init = parameter.skip_init,
  tap = record.tap,
}

-- The names that each file in lua/luasight/nn adds to `ls.nn`, by the name of the file; a file is loaded when one of its names
-- is first used.
local files = {
  container = { "Sequential", "ModuleList", "ModuleDict" },
  linear = { "Linear", "Conv1D", "Embedding", "Dropout", "Identity", "Flatten" },
  norm = { "LayerNorm", "RMSNorm", "BatchNorm1d", "BatchNorm2d" },
  activation = { "ReLU", "ReLU6", "SiLU", "Tanh", "Sigmoid", "Mish", "SELU", "Hardswish", "Hardsigmoid", "LogSigmoid",
    "Softsign", "Tanhshrink", "GELU", "LeakyReLU", "ELU", "CELU", "Softplus", "Hardtanh", "Softmax", "LogSoftmax", "GLU",
    "PReLU" },
  attention = { "scaled_dot_product_attention" },
}

local file_of = {}
for file, names in pairs(files) do
  for _, name in ipairs(names) do file_of[name] = file end
end

local function names_of_later()
  local names = { "init" }
  for name in pairs(file_of) do names[#names + 1] = name end
  return names
end

local function unknown(name)
  local names = names_of_later()
  for known in pairs(nn) do names[#names + 1] = known end
  table.sort(names)
  binding.raise("name", ("ls.nn has no %q%s"):format(tostring(name), require "luasight.base.near".text(tostring(name), names)))
end

return setmetatable(nn, {
  __names = names_of_later, -- the names that the shell's completion offers
  __index = function(_, name)
    local value
    if name == "init" then
      value = require "luasight.nn.initializers"
    elseif file_of[name] then
      value = require("luasight.nn." .. file_of[name])[name]
      if module.is_class(value) then module.refuse_more_arguments(value) end
    else
      unknown(name)
    end
    rawset(nn, name, value)
    return value
  end,
})
