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

local function refuse(run, layer, step)
  binding.raise("state", ("step %d reads in layer %s what step %d would have left in the cache, but there the layer or its "
    .. "attention was skipped or replaced"):format(run.step, layer, step),
    { hint = "pass use_cache = false: then each step reads the whole text" })
end

-- Raises an error where the step read the keys of the encoder's positions in a layer where step 0 did not write them. A later
-- step only reads these keys, so its logits tell: they are NaN.
local function check_encoder(run, logits)
  if not run.continued then
    run.uncrossed = {}
    for i, missing in ipairs(run.cache[":, 0, 0, 0, 0, 0"]:isnan():tolist()) do
      if missing then run.uncrossed[#run.uncrossed + 1] = i - 1 end
    end
  elseif run.uncrossed and run.uncrossed[1] and logits:select(1, -1):isnan():any():item() then
    refuse(run, table.concat(run.uncrossed, " or "), 0)
  end
end

---Raises an error where the step that has just run read, in some layer, what an earlier step had left out.
---@param run luasight.GenerationRun
---@param logits any  R T V, those of the step
function unread.check(run, logits)
  if not run.watched then return end
  for i, is_written in ipairs(written(run)) do
    if not is_written then
      run.gaps[i] = run.gaps[i] or run.step
    elseif not run.continued then
      run.gaps[i] = nil -- the step has read the whole text
    elseif run.gaps[i] then
      refuse(run, i - 1, run.gaps[i])
    end
  end
  if run.offset > 0 then check_encoder(run, logits) end
end

return unread
