--- Activation functions as modules, such as nn.ReLU(). Without a module, they are operators of libtorch: torch.relu(x).
local init = require "luasight.nn.initializers"
local module = require "luasight.nn.module"
local options = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local settings = require "luasight.nn.settings"
local torch = require "luasight.tensor.torch"

local activation = {}

---Defines the class of modules of one activation function.
---@param name string  the name of the class, such as "GELU"
---@param list luasight.nn.Setting[]
---@param forward fun(self: luasight.nn.Module, x: any): any
local function define(name, list, forward)
  local Class = module.class(name)
  Class.forward = forward
  activation[name] = Class
  if #list == 0 then return end
  function Class:init(...) settings.take(self, list, ...) end
  function Class:extra_repr() return settings.text(self, list) end
end

local function float(name, default) return { name = name, kind = "number", default = default } end
local function axis(name, default) return { name = name, kind = options.axis, default = default } end

-- ---- activations without settings ------------------------------------------------------------------------------------

for name, operator in pairs {
  ReLU = "relu", ReLU6 = "relu6", SiLU = "silu", Tanh = "tanh", Sigmoid = "sigmoid", Mish = "mish", SELU = "selu",
  Hardswish = "hardswish", Hardsigmoid = "hardsigmoid", LogSigmoid = "log_sigmoid",
} do
  define(name, {}, function(_, x) return torch[operator](x) end)
end

define("Softsign", {}, function(_, x) return x / (x:abs() + 1) end)
define("Tanhshrink", {}, function(_, x) return x - x:tanh() end)

-- ---- activations with settings ---------------------------------------------------------------------------------------

define("GELU", { { name = "approximate", kind = "string", default = "none", choices = { none = true, tanh = true } } },
  function(self, x) return torch.gelu(x, { approximate = self.approximate }) end)
define("LeakyReLU", { float("negative_slope", 0.01) }, function(self, x) return torch.leaky_relu(x, self.negative_slope) end)
define("ELU", { float("alpha", 1) }, function(self, x) return torch.elu(x, self.alpha) end)
define("CELU", { float("alpha", 1) }, function(self, x) return torch.celu(x, self.alpha) end)
define("Softplus", { float("beta", 1), float("threshold", 20) },
  function(self, x) return torch.softplus(x, self.beta, self.threshold) end)
define("Hardtanh", { float("min_val", -1), float("max_val", 1) },
  function(self, x) return torch.hardtanh(x, self.min_val, self.max_val) end)
define("Softmax", { axis "dim" }, function(self, x) return torch.softmax(x, self.dim) end)
define("LogSoftmax", { axis "dim" }, function(self, x) return torch.log_softmax(x, self.dim) end)
define("GLU", { axis("dim", -1) }, function(self, x) return torch.glu(x, self.dim) end)

-- ---- activations with a weight ---------------------------------------------------------------------------------------

---Returns x where x is above 0, and weight * x elsewhere.
---@class luasight.nn.PReLU: luasight.nn.Module
---@field weight ffi.cdata*  [num_parameters]
local PReLU = module.class "PReLU"
activation.PReLU = PReLU

---The new module begins with `init`, 0.25 by default, in each weight.
---@param num_parameters integer?  the number of weights: 1 (the default), or one for each channel (axis 1 of the input)
---@param given? { init: number?, dtype: string?, device: string? }
function PReLU:init(num_parameters, given)
  given = options.read("nn.PReLU", given, { init = "number", dtype = "string", device = "string" })
  self.num_parameters = options.value("nn.PReLU", "num_parameters", num_parameters or 1, options.size)
  self.weight = parameter.empty({ self.num_parameters }, given)
  if not parameter.is_skipping() then init.constant_(self.weight, given.init or 0.25) end
end

function PReLU:extra_repr() return ("num_parameters=%d"):format(self.num_parameters) end

---Returns x where x is above 0, and weight * x elsewhere.
---@param x any
---@return any  # the same shape
function PReLU:forward(x) return torch.prelu(x, self.weight) end

return activation
