--- The activation functions that configurations name, as modules with the class names of Hugging Face.
local nn = require "luasight".nn
local helpers = require "luasight.family"

local activations = {}

local function gelu(x) return x:gelu() end
local function gelu_tanh(x) return x:gelu { approximate = "tanh" } end

-- For each name in configurations: the class of Hugging Face, and the function. Several names can stand for the same function,
-- which Hugging Face computes in different ways; here all of them are computed in one fast way.
local functions = {
  gelu = { "GELUActivation", gelu },
  gelu_python = { "GELUActivation", gelu },
  gelu_new = { "NewGELUActivation", gelu_tanh }, -- the activation of GPT-2
  gelu_fast = { "FastGELUActivation", gelu_tanh },
  gelu_accurate = { "AccurateGELUActivation", gelu_tanh },
  gelu_pytorch_tanh = { "GELUTanh", gelu_tanh },
  gelu_python_tanh = { "GELUTanh", gelu_tanh },
  gelu_10 = { "ClippedGELUActivation", function(x) return x:gelu():clamp(-10, 10) end },
  quick_gelu = { "QuickGELUActivation", function(x) return x * (x * 1.702):sigmoid() end },
  relu2 = { "ReLUSquaredActivation", function(x) return x:relu():square() end },
  silu = { "SiLUActivation", function(x) return x:silu() end },
  mish = { "MishActivation", function(x) return x:mish() end },
  linear = { "LinearActivation", function(x) return x end },
  laplace = { "LaplaceActivation", function(x)
    return (((x - 0.707107) / (0.282095 * math.sqrt(2))):erf() + 1) * 0.5
  end },
  sqrtsoftplus = { "SqrtSoftplusActivation", function(x) return x:softplus():sqrt() end },
}

-- The activation functions for which PyTorch itself has a class.
local classes = { relu = nn.ReLU, relu6 = nn.ReLU6, swish = nn.SiLU, tanh = nn.Tanh, sigmoid = nn.Sigmoid,
  hardswish = nn.Hardswish, leaky_relu = nn.LeakyReLU }
for name, entry in pairs(functions) do
  local f = entry[2]
  local Class = nn.Module(entry[1])
  function Class:forward(x) return f(x) end -- x has any shape; the result has the same shape
  classes[name] = Class
end

---Returns the names of all activation functions that a configuration may name, sorted.
---@return string[]
function activations.names()
  local names = {}
  for name in pairs(classes) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---Makes a module that applies the activation function with this name in configurations.
---@param name string
---@return table
function activations.new(name)
  local Class = classes[name]
  if Class then return Class() end
  local names = activations.names()
  helpers.raise("name", ("luasight has no activation function %q%s"):format(name, helpers.near(name, names)),
    { hint = "the functions are " .. table.concat(names, ", ") })
end

return activations
