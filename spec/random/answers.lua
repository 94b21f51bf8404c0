--- Random programs that PyTorch runs too: spec/reference/hooks.py takes what `dump` prints, runs the programs with forward
--- hooks and tensor hooks, and keeps the programs with the values; `compare` runs them here.
local check = require "check"
local features = require "features"
local generate = require "generate"
local json = require "cjson"
local known = require "known"
local nets = require "nets"
local walk = require "walk"

local answers = {}

-- What hooks in PyTorch can do alone: each input runs by itself, and no line asks how the run goes.
local simple = { read = true, calc = true, inplace = true, set = true, replace = true, grad = true, setgrad = true,
  backward = true, save = true, cache = true, apply = true }

local function is_simple(program)
  if program.net == "box" or program.edit or program.session or program.steps then return false end
  local has = features.of(program)
  if has.carry or has["invoke without input"] or has["unknown rows"] then return false end
  for _, invoke in ipairs(program.invokes) do
    for _, s in ipairs(invoke.body) do
      if not simple[s.op] or s.point and s.point.added or type(s.value) == "table" and s.value.tuple then return false end
    end
  end
  return true
end

-- A module as data; one that stands in two places has one number.
local function described(module, numbers)
  if not numbers[module] then
    numbers.count = (numbers.count or 0) + 1
    numbers[module] = numbers.count
  end
  local m = { number = numbers[module], kind = module.kind }
  if module.kind == "linear" then m.weight, m.bias = walk.numbers(module) end
  if module.kind == "norm" then m.weight, m.bias, m.mean, m.variance = walk.norm_numbers(module) end
  if module.kind == "block" then
    m.inputs, m.lines, m.result = module.inputs, module.lines, module.result
    m.children = {}
    for i, pair in ipairs(module.children) do m.children[i] = { pair[1], described(pair[2], numbers) } end
  end
  return m
end

---Prints programs that the rules decide and that raise nothing, and their nets, as JSON.
---@param count integer
---@param seed integer
function answers.dump(count, seed)
  local programs, used = {}, {}
  while #programs < count do
    local program = generate.program(seed)
    seed = seed + 1
    if is_simple(program) then
      local want = check.plain(program)
      if not want.refused and not want.facts.unsure then
        programs[#programs + 1] = program
        used[program.net] = described(nets[program.net].root, {})
      end
    end
  end
  print(json.encode { nets = used, programs = programs })
end

local function read(path)
  local pipe = assert(io.popen(("gzip -dc %q"):format(path)))
  local text = pipe:read "*a"
  pipe:close()
  return json.decode(text)
end

---Runs the programs of a file and compares the values with PyTorch's; prints what differs, and counts.
---@param path string
---@return boolean
function answers.compare(path)
  local torch = require "luasight".torch
  local file, same, differ, excused = read(path), 0, 0, 0
  for _, one in ipairs(file.programs) do
    local got, difference = check.product(one.program), nil
    if got.refused then difference = "it raised: " .. got.why end
    for name, want in pairs(one.values) do
      local value = got.values[name]
      local b = want == "unset" and want or torch.tensor(want.numbers, { dtype = "float64" }):reshape(want.shape)
      if not difference and (type(value) == "nil" or not check.close(value, b, 1e-9)) then
        difference = ("%s is %s and has to be %s"):format(name, tostring(value), tostring(b))
      end
    end
    difference = difference or got.changed and got.changed .. " was changed"
    local entry = difference and known.find(features.of(one.program), check.plain(one.program).facts, difference)
    if not difference then same = same + 1
    elseif entry then excused = excused + 1
    else
      differ = differ + 1
      print(one.program.seed, difference)
    end
  end
  local sum = "%d programs with PyTorch's values: %d same, %d known differences, %d differ"
  print(sum:format(#file.programs, same, excused, differ))
  return differ == 0
end

return answers
