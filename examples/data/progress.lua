-- A progress bar for a terminal; in a pipe or a file, a line now and then.

---@class Progress
local Progress = {}
Progress.__index = Progress

local function clock(seconds)
  seconds = math.max(0, math.floor(seconds + 0.5))
  return ("%d:%02d"):format(math.floor(seconds / 60), seconds % 60)
end

---@param total integer
---@param done? integer what an earlier run has done
---@return Progress
function Progress.new(total, done)
  local status = os.execute("test -t 1")
  return setmetatable({ total = total, first = done or 0, start = os.time(), shown = -1,
    live = status == 0 or status == true, tenth = math.floor((done or 0) / total * 10) }, Progress)
end

--- To be called after each step.
---@param done integer
---@param text string
function Progress:show(done, text)
  local now = os.time()
  local share = done / self.total
  if self.live then
    if now == self.shown and done < self.total then return end
  elseif math.floor(share * 10) == self.tenth then
    return
  end
  self.shown, self.tenth = now, math.floor(share * 10)
  local left = (now - self.start) / math.max(1, done - self.first) * (self.total - done)
  local line = ("%d/%d  %s  %s left"):format(done, self.total, text, clock(left))
  if self.live then
    local filled = math.floor(share * 30)
    io.write("\r", ("█"):rep(filled), ("░"):rep(30 - filled), " ", line, "\27[K", done == self.total and "\n" or "")
  else
    io.write(line, "\n")
  end
  io.flush()
end

--- Ends the line of a bar that is not full, so that what is printed next stands alone.
function Progress:leave()
  if self.live then io.write("\n") end
end

---@return string # minutes and seconds since the start
function Progress:elapsed()
  return clock(os.time() - self.start)
end

return Progress
