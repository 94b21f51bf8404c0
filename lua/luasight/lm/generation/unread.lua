--- Finds steps of a generation that read a part of the cache that no step has written. A script can skip a block or an
--- attention, or replace what it gives, in one step and let it run in a later one; the keys of the first step were then never
--- computed.
---
--- Only a generation whose script sets points is watched. Keys that are not written yet are NaN, so that nothing that reads
--- them by another way gets a number either.
local binding = require "luasight.ffi"

local unread = {}

---Fills the part of a cache with keys and values that is not written yet, from column `from` on.
---@param cache any     L 2 R H N D
---@param from integer
function unread.fill(cache, from)
  if from < cache:size(4) then cache:narrow(4, from, cache:size(4) - from):fill_(0 / 0) end
end

---Begins to watch a generation; has to be called before a step.
---@param run luasight.GenerationRun
function unread.watch(run)
  if not run.cache then return end
  if not run.watched then
    run.watched, run.gaps = true, {}
    if run.axes.positions then unread.fill(run.cache, run.step == 0 and 0 or run.offset + run.length - 1) end
  end
  if not run.axes.positions then run.states = run.cache:select(1, 0):clone() end -- L X
end

-- Returns for each layer, in a list from 1, whether the last step has written its part of the cache.
local function written(run)
  if not run.axes.positions then return run.cache:select(1, 0):ne(run.states):any(-1):tolist() end
  local last = run.cache:select(4, run.offset + run.length - 1) -- L 2 R H D
  return last[":, 0, 0, 0, 0"]:isnan():logical_not():tolist()
end

---Raises an error where the step that has just run read, in some layer, what an earlier step had left out.
---@param run luasight.GenerationRun
function unread.check(run)
  if not run.watched then return end
  for i, is_written in ipairs(written(run)) do
    if not is_written then
      run.gaps[i] = run.gaps[i] or run.step
    elseif not run.continued then
      run.gaps[i] = nil -- the step has read the whole text
    elseif run.gaps[i] then
      binding.raise("state", ("step %d reads in layer %d what step %d would have left in the cache, but there the layer or its "
        .. "attention was skipped or replaced"):format(run.step, i - 1, run.gaps[i]),
        { hint = "pass use_cache = false: then each step reads the whole text" })
    end
  end
end

return unread
