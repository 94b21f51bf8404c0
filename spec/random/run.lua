--- Random programs against the plain executor, by hand:
---
---     luajit spec/random/run.lua --programs 10000 --seed 1     prints what differs, and counts
---     luajit spec/random/run.lua --show 17                     the program of a seed, with both results
---     luajit spec/random/run.lua --shrink 17                   a smaller program that still differs
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

local options = { programs = 1000, seed = 1 }
for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) or arg[i + 1] end

local function flat(text) return (text:gsub("%s+", " "):sub(1, 400)) end

-- ---- one program -------------------------------------------------------------------------------------------------------

if options.show then
  local check, generate, text = require "check", require "generate", require "text"
  local program = generate.program(options.show)
  print(text.whole(program))
  local difference, want, got = check.compare(program)
  print(difference or "no difference")
  if want.refused then print("has to raise: " .. want.refused .. ", " .. want.why) end
  if got.refused then print("raised: " .. got.why) end
  os.exit(0)
end

-- ---- the process that runs them ------------------------------------------------------------------------------------------

if options.worker then
  local check, generate = require "check", require "generate"
  for seed = options.seed, options.seed + options.programs - 1 do
    io.write("begin ", seed, "\n")
    local program = generate.program(seed)
    local difference, want = check.compare(program)
    local facts = {}
    for fact in pairs(want.facts) do facts[#facts + 1] = fact end
    table.sort(facts)
    io.write(("%s %d %s | %s | %s\n"):format(difference and "differs" or want.facts.unsure and "unsure"
      or want.refused and "refused" or "same", seed, want.refused or "-", table.concat(facts, " "), difference and flat(difference) or ""))
    io.flush()
  end
  io.write "end\n"
  os.exit(0)
end

-- ---- the process that asks -----------------------------------------------------------------------------------------------

local counts, started = { differs = 0, same = 0, refused = 0, unsure = 0, ended = 0 }, os.time()

---Runs programs in another process; gives the first seed that is left to run.
local function ask(seed, last)
  local command = ("LUASIGHT_BUILD=%q luajit %q --worker 1 --seed %d --programs %d 2>&1"):format(build, arg[0], seed, last - seed + 1)
  local pipe = assert(io.popen(command))
  local at, other, ended = seed, "", false
  for line in pipe:lines() do
    local word, number, rest = line:match "^(%l+) (%d+) ?(.*)$"
    if word == "begin" then
      at, other = tonumber(number), ""
    elseif counts[word] and number then
      counts[word] = counts[word] + 1
      if word == "differs" then print(number .. " " .. rest) end
      at = tonumber(number) + 1
    elseif line == "end" then
      ended = true
    else
      other = other .. " " .. line
    end
  end
  pipe:close()
  if ended then return last + 1 end
  counts.ended = counts.ended + 1
  print(("%d ended the process:%s"):format(at, other:sub(1, 600)))
  return at + 1
end

local seed, last = options.seed, options.seed + options.programs - 1
while seed <= last do seed = ask(seed, last) end
print(("%d programs in %d s: %d same, %d refused by both, %d differ, %d ended the process, %d are not decided by the rules"):format(
  options.programs, os.difftime(os.time(), started), counts.same, counts.refused, counts.differs, counts.ended, counts.unsure))
