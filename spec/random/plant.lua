--- Plants the faults of `faults.lua` one by one in a copy of the tree, builds it, and lets the net look for each:
---
---     luajit spec/random/plant.lua [--programs 1000] [--seed 1] [--only 3]
---
--- CMAKE_FLAGS and JOBS are those of `make`; ccache (CMAKE_C_COMPILER_LAUNCHER) makes it quick. Takes some minutes.
local folder = arg[0]:match "^(.*)/[^/]*$" or "."
local faults = dofile(folder .. "/faults.lua")
local options = { programs = 1000, seed = 1 }
for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) end

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo status:$?"))
  local text = pipe:read "*a"
  pipe:close()
  return tonumber(text:match "status:(%d+)%s*$"), (text:gsub("status:%d+%s*$", ""))
end

local function must(command)
  local status, text = run(command)
  if status ~= 0 then error(command .. "\n" .. text:sub(-3000), 0) end
  return text
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

---The file that holds a text, and the file with another in its place.
local function planted(copy, name, old, new)
  for path in must(("find %q -name %q"):format(copy .. "/core", name)):gmatch "[^\n]+" do
    local text = read(path)
    local from, to = text:find(old, 1, true)
    if from then
      if text:find(old, to + 1, true) then error(("%s has this text twice: %s"):format(name, old), 0) end
      return path, text, text:sub(1, from - 1) .. new .. text:sub(to + 1)
    end
  end
  error(("no %s below core/ has this text, so the fault cannot be planted any more: %s"):format(name, old), 0)
end

local copy = must "mktemp -d":gsub("%s+$", "")

local function build() return run(("cd %q && make BUILD=build"):format(copy)) end

local function net()
  local command = "cd %q && env -u LUASIGHT_BUILD luajit spec/random/run.lua --programs %d --seed %d --first 1"
  local status, text = run(command:format(copy, options.programs, options.seed))
  return status ~= 0 and (text:match "[^\n]+" or "?")
end

local function main()
  must(("git -C %q ls-files -z | (cd %q/../.. && xargs -0 tar c) | tar x -C %q"):format(folder .. "/../..", folder, copy))
  for i, fault in ipairs(faults) do
    if not options.only or options.only == i then planted(copy, fault[1], fault[3], fault[4]) end
  end
  local status, text = build()
  if status ~= 0 then error(text:sub(-3000), 0) end
  local before = net()
  if before then error("without a fault there are differences already: " .. before, 0) end
  local missed = 0
  for i, fault in ipairs(faults) do
    if not options.only or options.only == i then
      local path, old, new = planted(copy, fault[1], fault[3], fault[4])
      write(path, new)
      local built, problem = build()
      if built ~= 0 then error(fault[2] .. ": " .. problem:sub(-3000), 0) end
      local found = net()
      if not found then missed = missed + 1 end
      local verdict = found and "found" or "NOT FOUND"
      print(("%2d  %-9s  %-9s  %s\n      %s"):format(i, fault[1], verdict, fault[2], (found or ""):sub(1, 150)))
      io.flush()
      write(path, old)
    end
  end
  return missed
end

local ok, missed = pcall(main)
os.execute(("rm -rf %q"):format(copy))
if not ok then
  io.stderr:write(missed, "\n")
  os.exit(2)
end
os.exit(missed > 0 and 1 or 0)
