--- luasight: see inside a neural network from Lua. `local ls = require "luasight"`.
local binding = require "luasight.ffi"
local libtorch = require "luasight.ffi.torch"
local tensor = require "luasight.tensor"
local model = require "luasight.model"
local trace = require "luasight.trace"

---@class luasight
---@field torch luasight.torch              tensors and every operator of libtorch
---@field nn luasight.nn                    modules of your own
---@field optim luasight.optim              optimizers and schedules
---@field plot luasight.plot                pictures
---@field progress luasight.Progress        bars for loops that take long
---@field safetensors luasight.safetensors  files of tensors
---@field tokenizer_trainer luasight.TokenizerTrainer  trains tokenizers
---@field version string                    the version of luasight
local ls = {
  torch = require "luasight.tensor.torch",
  Model = model.Model,
  args = model.args,
  tuple = tensor.tuple,
  struct = tensor.struct,
  scope = tensor.scope,
  session = trace.session,
}

---Returns how many handles are alive in the core.
---@return integer
function ls.live() return binding.live() end

---The version of luasight, as text.
ls.version = "0.1.0"

---Returns the version of the libtorch that is loaded.
---@return string
function ls.torch_version() return libtorch.version() end

-- Modules that not every script needs are loaded when they are first used.
local later = {
  nn = "luasight.nn",
  optim = "luasight.nn.optim",
  plot = "luasight.view.plot",
  progress = "luasight.base.progress",
  safetensors = "luasight.files.safetensors",
  Tokenizer = "luasight.text.tokenizer",
  tokenizer_trainer = "luasight.text.tokenizer.trainer",
  LanguageModel = "luasight.lm",
}

local function names_of_later()
  local names = {}
  for name in pairs(later) do names[#names + 1] = name end
  return names
end

return setmetatable(ls, {
  __names = names_of_later, -- the names that the shell's completion offers
  __index = function(self, name)
    local path = later[name]
    if not path then
      local names = names_of_later()
      for known in pairs(self) do names[#names + 1] = known end
      name = tostring(name)
      binding.raise("name", ("luasight has no %q%s"):format(name, require "luasight.base.near".text(name, names)))
    end
    local value = require(path)
    if type(value) == "table" and rawget(value, name) then value = value[name] end
    rawset(self, name, value)
    return value
  end,
})
