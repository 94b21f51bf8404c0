--- Random programs against the plain executor, by hand:
---
---     luajit spec/random/run.lua --programs 10000 --seed 1     prints what differs, and counts
---     luajit spec/random/run.lua --show 17                     the program of a seed, with both results
---     luajit spec/random/run.lua --shrink 17                   a smaller program that still differs
---     luajit spec/random/run.lua --reference 1                 the nets of the plain executor against libtorch
---     luajit spec/random/run.lua --answers FILE                the product against PyTorch's hooks (spec/reference/hooks.py)
---     luajit spec/random/run.lua --dump 200                    programs and nets for that script
---
--- Also `--pairs 1` (counts of pairs of features), `--verbose 1` (known differences too), `--first 1` (ends at the first).
---
--- The programs run in a process of their own, so that one that ends it is a difference like any other.
local here = arg[0]:match "^(.*)/[^/]*$" or "."
local root = here .. "/../.."
local build = os.getenv "LUASIGHT_BUILD" or root .. "/build"
package.path = here .. "/?.lua;" .. package.path
for _, folder in ipairs { "lua", "bindings", "models" } do
  package.path = ("%s/%s/?.lua;%s/%s/?/init.lua;"):format(root, folder, root, folder) .. package.path
end
package.path = build .. "/lua/?.lua;" .. package.path

local ffi = require "ffi"

local options = { programs = 1000, seed = 1 }
for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) or arg[i + 1] end

local function flat(text) return (text:gsub("%s+", " "):sub(1, 400)) end

---@param set table<string, any>
local function joined(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, ",")
end

---@param text string
---@return table<string, boolean>
local function split(text)
  local set = {}
  for name in text:gmatch "[^,]+" do set[name] = true end
  return set
end

-- ---- one program -------------------------------------------------------------------------------------------------------

---What kind of difference: a shrunk program has to show the same.
local function kind(difference)
  return difference and (difference:match "^it has to raise %((%a+)"
    or difference:match "^it raised: program:%d+: (.*)" or "value"):gsub("[%d%[%]\n]", ""):gsub("^[%w.]+:", ""):sub(1, 60)
end

if options.show or options.shrink then
  local check, generate, text = require "check", require "generate", require "text"
  local program = generate.program(options.show or options.shrink)
  if options.shrink then
    local before = kind((check.compare(program)))
    program = require "shrink".program(program, function(p) return kind((check.compare(p))) == before end)
  end
  print(text.whole(program))
  local difference, want, got = check.compare(program)
  print(difference or "no difference")
  if want.refused then print("has to raise: " .. want.refused .. ", " .. want.why) end
  if got.refused then print("raised: " .. got.why) end
  os.exit(0, true)
end

-- ---- the plain executor against libtorch -----------------------------------------------------------------------------------

-- What the nets compute, and their gradients, by modules on tensors with libtorch's autograd: no traces on either side.
if options.reference then
  local builder, check, nets, tape = require "build", require "check", require "nets", require "tape"
  local dice, torch, walk = require "dice", require "luasight".torch, require "walk"
  local n = 0
  for _, net in ipairs(nets) do
    local numbers, by = dice(7):numbers { 2, 5 }, torch.tensor(dice(8):numbers { 2, 5 }, { dtype = "float64" })
    local x = torch.tensor(numbers, { dtype = "float64" }):requires_grad_(true)
    local out = builder.module(net.root, {})(x)
    torch.sum(out * by):backward()
    local leaf = tape.tensor(tape.constant(torch.tensor(numbers, { dtype = "float64" })))
    local mine = tape.now(walk.run(net.root, "", { leaf }, walk.silent()))
    local gradient
    tape.backward(tape.sum(tape.mul(mine, tape.constant(by))), torch.tensor(1, { dtype = "float64" }), function(node, g)
      if node == leaf.node then gradient = g end
      return g
    end)
    assert(check.close(mine.value, out:detach(), 1e-12), net.name .. ": another output")
    assert(check.close(gradient, x.grad, 1e-12), net.name .. ": another gradient")
    n = n + 1
  end
  print(("%d nets agree with libtorch"):format(n))
  os.exit(0, true)
end

-- ---- PyTorch's hooks ------------------------------------------------------------------------------------------------------

if options.dump then
  require "answers".dump(options.dump, options.seed)
  os.exit(0, true)
end

if options.answers then os.exit(require "answers".compare(options.answers) and 0 or 1, true) end

-- ---- the process that runs them ------------------------------------------------------------------------------------------

if options.worker then
  io.stdout:setvbuf "line"
  require "luasight".torch.set_num_threads(1)
  local check, generate, features, known = require "check", require "generate", require "features", require "known"
  ffi.cdef "unsigned alarm(unsigned);"
  for seed = options.seed, options.seed + options.programs - 1 do
    local program = generate.program(seed)
    local want, has = check.plain(program), features.of(program)
    io.write(("begin %d |%s|%s\n"):format(seed, joined(has), joined(want.facts)))
    ffi.C.alarm(20) -- a program that never ends is ended
    local difference, _, got = check.compare(program, want)
    ffi.C.alarm(0)
    local entry = difference and known.find(has, want.facts, difference)
    local result = entry and "known" or difference and "differs" or want.facts.unsure and "unsure" or want.refused and "refused"
      or "same"
    local codes = want.refused and got.refused and want.refused .. "/" .. got.refused or ""
    io.write(("%s %d %s|%s|%s\n"):format(result, seed, entry and entry.case or codes, joined(has),
      difference and flat(difference) or ""))
  end
  io.write "end\n"
  os.exit(0, true)
end

-- ---- the process that asks -----------------------------------------------------------------------------------------------

local counts, started = { differs = 0, known = 0, same = 0, refused = 0, unsure = 0, ended = 0 }, os.time()
local cases, codes, single, pairs_of = {}, {}, {}, {}

local function add(t, key) t[key] = (t[key] or 0) + 1 end

---Counts a program: by known fault, or where both executors agree by what it makes use of.
local function count(word, case, has)
  if word == "known" then add(cases, case) end
  if word == "refused" then add(codes, case) end
  if word ~= "same" then return end
  local list = {}
  for name in has:gmatch "[^,]+" do list[#list + 1] = name end
  for i, a in ipairs(list) do
    add(single, a)
    for k = i + 1, #list do add(pairs_of, a .. " + " .. list[k]) end
  end
end

---Runs programs in another process; gives the first seed that is left to run.
local function ask(seed, last)
  local command = "LUASIGHT_BUILD=%q luajit %q --worker 1 --seed %d --programs %d 2>&1"
  command = command:format(build, arg[0], seed, last - seed + 1)
  local pipe = assert(io.popen(command))
  local at, other, ended, has, facts = seed, "", false, {}, {}
  for line in pipe:lines() do
    local word, number, rest = line:match "^(%l+) (%d+) ?(.*)$"
    if word == "begin" then
      at, other = tonumber(number), ""
      local first, second = rest:match "^|(.-)|(.*)$"
      has, facts = split(first), split(second)
    elseif counts[word] and number then
      counts[word] = counts[word] + 1
      local case, used, difference = rest:match "^(.-)|(.-)|(.*)$"
      count(word, case, used)
      if word == "differs" or options.verbose and word == "known" then print(number, case, difference) end
      if word == "differs" and options.first then os.exit(1, true) end
      at = tonumber(number) + 1
    elseif line == "end" then
      ended = true
    else
      other = other .. " " .. line
    end
  end
  pipe:close()
  if ended then return last + 1 end
  local entry = require "known".find(has, facts, "it ended the process")
  if entry then
    counts.known = counts.known + 1
    add(cases, entry.case)
    return at + 1
  end
  counts.ended = counts.ended + 1
  print(("%d\t\tit ended the process:%s"):format(at, other:sub(1, 600)))
  if options.first then os.exit(1, true) end
  return at + 1
end

local seed, last = options.seed, options.seed + options.programs - 1
while seed <= last do seed = ask(seed, last) end
local sum = "%d programs in %d s: %d same, %d refused by both, %d known differences, %d differ, %d ended the process, "
  .. "%d are not decided by the rules"
print(sum:format(options.programs, os.difftime(os.time(), started), counts.same, counts.refused, counts.known, counts.differs,
  counts.ended, counts.unsure))

local function show(title, t, least)
  local keys = {}
  for key, n in pairs(t) do
    if not least or n <= least then keys[#keys + 1] = key end
  end
  table.sort(keys, function(a, b) return t[a] > t[b] or t[a] == t[b] and a < b end)
  print(title)
  for _, key in ipairs(keys) do print(("  %6d  %s"):format(t[key], key)) end
end

local known = require "known"
for _, e in ipairs(known) do cases[e.case] = cases[e.case] or 0 end
show("known differences", cases)
if options.programs >= 10000 then
  for case, n in pairs(cases) do
    if n == 0 then print("no program shows " .. case .. " any more: its entry in known.lua can go") end
  end
end
show("refused by both: by the plain executor as / by the product as", codes)
show("compared and the same, by feature", single)
if options.pairs then show("by pair of features", pairs_of) end
os.exit(counts.differs + counts.ended > 0 and 1 or 0, true)
