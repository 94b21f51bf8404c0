--- Makes the product's modules of a net of `nets.lua`.
local ls = require "luasight"
local walk = require "walk"

local torch, nn = ls.torch, ls.nn

local build = {}

local Block = nn.Module "Block"

function Block:init(module, known)
  self.lines, self.result, self.inputs = module.lines, module.result, module.inputs
  for _, pair in ipairs(module.children) do self[pair[1]] = build.module(pair[2], known) end
end

local function line(self, values, what, a, b, c)
  if what == "call" then return self[a](values[b], c and values[c]) end
  if what == "tap" then return nn.tap(a, values[b]) end
  if what == "add" then return values[a] + values[b] end
  if what == "mul" then return values[a] * b end
  if what == "relu" then return values[a]:relu() end
  if what == "t" then return values[a]:t() end
  if what == "slice" or what == "item" then return values[a][b] end
  error("no such line: " .. what)
end

function Block:forward(...)
  local values = {}
  for i, name in ipairs(self.inputs) do values[name] = select(i, ...) end
  for _, l in ipairs(self.lines) do values[l[1]] = line(self, values, unpack(l, 2)) end
  if type(self.result) == "string" then return values[self.result] end
  return ls.tuple(values[self.result[1]], values[self.result[2]])
end

local Norm = nn.Module "Norm"

function Norm:init(module)
  local numbers = { walk.norm_numbers(module) }
  for i, list in ipairs(numbers) do numbers[i] = torch.tensor(list, { dtype = "float64" }) end
  self.weight, self.bias = nn.Parameter(numbers[1]), nn.Parameter(numbers[2])
  self.mean, self.variance = nn.Buffer(numbers[3]), nn.Buffer(numbers[4])
end

function Norm:forward(x)
  return torch.batch_norm(x, self.weight, self.bias, self.mean, self.variance, false, 0.1, 1e-5, false)
end

local kinds = {
  linear = function(module)
    local w, b = walk.numbers(module)
    local l = nn.Linear(module.inner, module.outer):to "float64"
    torch.no_grad(function()
      l.weight:copy_(torch.tensor(w, { dtype = "float64" }) * 0.5)
      l.bias:copy_(torch.tensor(b, { dtype = "float64" }))
    end)
    return l
  end,
  tanh = function() return nn.Tanh() end,
  identity = function() return nn.Identity() end,
  norm = function(module) return Norm(module) end,
  block = function(module, known) return Block(module, known) end,
}

---@param module table  as in nets.lua
---@param known table   modules that exist already, by description: one that stands in two places is one module
function build.module(module, known)
  local made = known[module]
  if not made then
    made = kinds[module.kind](module, known)
    if module.declares then made.batch_axis = module.declares end
    made:requires_grad_(false)
    known[module] = made
  end
  return made
end

---@param net table   of nets.lua
---@param added table
---@return table  # a model
function build.model(net, added)
  local known = {}
  local root = build.module(net.root, known)
  local model = ls.Model(root)
  model[net.host].sae = build.module(added, known)
  return model
end

return build
