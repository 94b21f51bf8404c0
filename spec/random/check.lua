--- Runs a program with both executors and compares: both raise, or both give the same values.
local build = require "build"
local box = require "box"
local ls = require "luasight"
local nets = require "nets"
local plain = require "plain"
local tape = require "tape"
local text = require "text"
local walk = require "walk"

local torch = ls.torch

local check = {}

for _, net in ipairs(nets) do
  net.added = nets.added
  net.run = function(input, visitor)
    local x = tape.tensor(tape.constant(torch.tensor(input.const, { dtype = "float64" })))
    x.memory.foreign = true
    return walk.run(net.root, "", { x }, visitor)
  end
end

local models = {}
nets.box = box.net -- by name only: the generator takes it where it wants to

---@param name string
---@return table model
local function model_of(name)
  if not models[name] and name == "box" then
    models.box = ls.LanguageModel(check.folder)
    local weights = {}
    for parameter, t in models.box:named_parameters() do weights[parameter] = t end
    box.use(weights)
  end
  if not models[name] then models[name] = build.model(nets[name], nets.added) end
  return models[name]
end

local function tensor(list) return torch.tensor(list, { dtype = "float64" }) end

check.folder = "models/pretrained/ioi"

local function given(input)
  if not input then return false end
  return input.ids or tensor(input.const)
end

---Lets the models go.
function check.forget() models = {} end

---@param program table
---@return { refused: string?, why: string?, values: table<string, any>, changed: string? }
function check.product(program)
  local inputs, kept = {}, {}
  for i, invoke in ipairs(program.invokes) do inputs[i] = given(invoke.input) end
  local mine = {}
  local function make(list)
    local t = tensor(list)
    mine[#mine + 1] = { t, list }
    return t
  end
  local values = {}
  local chunk = assert(loadstring(text.of(program), "=program"))
  local function keep(name, v)
    if type(v) == "function" then
      local came, value = pcall(v)
      v = came and value or false
    end
    kept[name] = v
  end
  local ok, problem = pcall(chunk, torch, ls.tuple, ls.session, model_of(program.net), make, inputs, keep)
  if not ok then
    return { refused = type(problem) == "table" and problem.code or "lua error", why = tostring(problem), values = {} }
  end
  local function save_names(list)
    for _, s in ipairs(list) do
      local name = s.op == "save" and s.of or s.op == "cache" and s.out
      if name then values[name] = kept[name] and kept[name]:is_set() and kept[name].value or "unset" end
      if s.body then save_names(s.body) end
    end
  end
  for _, invoke in ipairs(program.invokes) do save_names(invoke.body) end
  local result = { values = values }
  for i, invoke in ipairs(program.invokes) do
    local numbers = invoke.input and invoke.input.const
    if numbers and not torch.equal(inputs[i], tensor(numbers)) then result.changed = "input " .. i end
  end
  for _, pair in ipairs(mine) do
    if not torch.equal(pair[1], tensor(pair[2])) then result.changed = "a tensor of the script" end
  end
  return result
end

local function close(a, b, bound)
  if type(a) == "string" or type(b) == "string" then return type(a) == type(b) end
  if tostring(a.shape) ~= tostring(b.shape) then return false end
  local scale = 1 + b:abs():max():item()
  return (a - b):abs():max():item() <= bound * scale
end

check.close = close

---@param program table
---@return table  # as of plain.run
function check.plain(program)
  model_of(program.net)
  return plain.run(program, nets[program.net])
end

---@param program table
---@param known table?  what check.plain gave
---@return string? difference, table want, table got
function check.compare(program, known)
  local want = known or check.plain(program)
  local got = check.product(program)
  if want.facts.unsure then return nil, want, got end
  if want.refused or got.refused then
    if want.refused and got.refused then return nil, want, got end
    if want.refused then return ("it has to raise (%s: %s), and did not"):format(want.refused, want.why), want, got end
    return ("it raised: %s"):format(got.why), want, got
  end
  local names = {}
  for name in pairs(want.values) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local a, b = got.values[name], want.values[name]
    if type(a) == "nil" or not close(a, b, nets[program.net].box and 2e-4 or 1e-9) then
      return ("%s is %s and has to be %s"):format(name, tostring(a), tostring(b)), want, got
    end
  end
  return got.changed and got.changed .. " was changed" or nil, want, got
end

return check
