--- Runs a net of `nets.lua` for the plain executor, line by line on tensors of `tape.lua`, and stops at each point.
local dice = require "dice"
local ls = require "luasight"
local tape = require "tape"

local torch = ls.torch

local walk = {}

-- ---- weights ---------------------------------------------------------------------------------------------------------

local weights = {}

---The weights of a linear module, the same for both executors.
---@return table weight, table bias  nested lists
function walk.numbers(module)
  local d = dice(module.seed)
  return d:numbers { module.outer, module.inner }, d:numbers { module.outer }
end

---The numbers of a batch norm in evaluation: its weight, bias, mean and variance, the same for both executors.
---@return table weight, table bias, table mean, table variance
function walk.norm_numbers(module)
  local d = dice(module.seed)
  local weight, bias, mean, variance = d:numbers { 5 }, d:numbers { 5 }, d:numbers { 5 }, {}
  for i = 1, 5 do variance[i] = d:between(1, 16) / 8 end
  return weight, bias, mean, variance
end

local function scale_and_shift(module)
  if not weights[module] then
    local numbers = { walk.norm_numbers(module) }
    for i, list in ipairs(numbers) do numbers[i] = torch.tensor(list, { dtype = "float64" }) end
    local weight, bias, mean, variance = unpack(numbers)
    local scale = weight / (variance + 1e-5):sqrt()
    weights[module] = { scale, bias - mean * scale }
  end
  return weights[module][1], weights[module][2]
end

local function tensors(module)
  if not weights[module] then
    local w, b = walk.numbers(module)
    weights[module] = { torch.tensor(w, { dtype = "float64" }) * 0.5, torch.tensor(b, { dtype = "float64" }) }
  end
  return weights[module][1], weights[module][2]
end

-- ---- modules ---------------------------------------------------------------------------------------------------------

local leaf = {
  linear = function(module, x) return tape.tensor(tape.linear(tape.now(x), tensors(module))) end,
  tanh = function(_, x) return tape.tensor(tape.tanh(tape.now(x))) end,
  identity = function(_, x) return x end,
  norm = function(module, x) return tape.tensor(tape.affine(tape.now(x), scale_and_shift(module))) end,
}
walk.leaf = leaf

local lines = {
  add = function(_, a, b) return tape.tensor(tape.add(tape.now(a), tape.now(b))) end,
  mul = function(_, a, k) return tape.tensor(tape.mul(tape.now(a), k)) end,
  relu = function(_, a) return tape.tensor(tape.relu(tape.now(a))) end,
  t = function(_, a) return tape.view(a, { kind = "t" }) end,
  slice = function(_, a, spec) return tape.view(a, { kind = "slice", spec = spec }) end,
  item = function(_, a, i) return a.tuple[i + 1] end,
}
walk.lines = lines

---A point: what a visitor is told, and gives another value for.
---@class Visit
---@field path string
---@field kind "input"|"output"|"tap"
---@field name string?  of a tap
---@field call integer   which call of this path, from 0
---@field module table

local function child_of(module, name)
  for _, pair in ipairs(module.children) do
    if pair[1] == name then return pair[2] end
  end
end

---Counts the calls inside a module that is left out: the number of a call is its place in the forward, whatever runs.
local function pass_over(module, path, calls)
  for _, line in ipairs(module.lines or {}) do
    if line[2] == "call" then
      local inner = path == "" and line[3] or path .. "." .. line[3]
      calls[inner] = (calls[inner] or 0) + 1
      pass_over(child_of(module, line[3]), inner, calls)
    end
  end
end

---Runs a module. `visitor:point(visit, value)` gives the value to go on with; `visitor:skips(path, call)` says whether the
---module is left out: then its output has no value until the visitor gives one.
---@param module table
---@param path string
---@param args table  tensors
---@param visitor table
---@return table  # a tensor, or { tuple = {...} }
function walk.run(module, path, args, visitor)
  local calls = visitor.calls
  local call = calls[path] or 0
  calls[path] = call + 1
  local function point(kind, value, name)
    return visitor:point({ path = path, kind = kind, name = name, call = call, module = module }, value)
  end
  args = point("input", { args = args }).args
  if visitor:skips(path, call) then
    pass_over(module, path, calls)
    return point("output", nil)
  end
  if leaf[module.kind] then return point("output", leaf[module.kind](module, unpack(args))) end
  local values = {}
  for i, name in ipairs(module.inputs) do values[name] = args[i] end
  for _, line in ipairs(module.lines) do
    local out, what, a, b, c = unpack(line)
    if what == "call" then
      values[out] = walk.run(child_of(module, a), path == "" and a or path .. "." .. a, { values[b], c and values[c] }, visitor)
    elseif what == "tap" then
      values[out] = point("tap", values[b], a)
    else
      values[out] = lines[what](module, values[a], type(b) == "string" and values[b] or b, c)
    end
  end
  local result = values[module.result]
  if type(module.result) == "table" then
    result = { tuple = {} }
    for i, name in ipairs(module.result) do result.tuple[i] = values[name] end
  end
  return point("output", result)
end

---A visitor that stops nowhere.
function walk.silent()
  return { calls = {}, point = function(_, _, value) return value end, skips = function() return false end }
end

---The axis on which the rows stand at a point, and whether the product can know it.
---@return integer axis, boolean known
function walk.rows_axis(visit)
  local name = visit.kind == "tap" and visit.name or visit.kind
  local axis = visit.module.rows and visit.module.rows[name] or 0
  local declared = visit.module.declares and visit.module.declares[name]
  if declared == nil then declared = 0 end
  return axis, declared == axis
end

return walk
