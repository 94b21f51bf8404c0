-- Compares all changes of config.json with transformers, by hand:
--
--     bin/luasight spec/models/settings_trial.lua [every=N] [case ...]      every Nth change, 1 by default
--
-- Prints what differs, what is refused, and a count for each case. Exit status 0: nothing differs.
local cjson = require "cjson"
local settings = require "spec.models.settings"
local support = require "spec.support"
local torch = require "luasight".torch

local only, all, folder, found = {}, settings.answers(), support.folder(), 0
torch.set_num_threads(1)
local every = 1
for _, name in ipairs { ... } do
  local n = name:match "^every=(%d+)$"
  if n then every = tonumber(n) else only[name] = true end
end
for _, case in ipairs(all.cases) do
  local counts = {}
  for i, change in ipairs(next(only) and not only[case.name] and {} or case.changes) do
    local problem, how
    if i % every == 0 then problem, how = settings.compare(folder, all, case, change) else how = "left out" end
    counts[how] = (counts[how] or 0) + 1
    if problem then found = found + 1 end
    if problem or how:find "^refused" then
      print(("%s %s: %s"):format(case.name, cjson.encode(change[1]), problem or how))
    end
    if i % 10 == 0 then collectgarbage() end
  end
  if next(counts) then print(("%s: %s"):format(case.name, cjson.encode(counts))) end
end
support.remove(folder)
os.exit(found == 0 and 0 or 1)
