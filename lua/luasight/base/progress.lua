--- Progress of long loops: a bar with the rate and the remaining time, on standard error where that is a terminal.
---
---     for i, prompt in ls.progress(prompts) do ... end     over a list
---     for i in ls.progress(1000) do ... end                from 1 to 1000
---     for name, t in ls.progress(pairs(state)) do ... end  over any iterator; options may follow it: f, { total = n }
---
--- `ls.progress.enabled = false` or the environment variable LUASIGHT_PROGRESS=0 turn the bars off.
local failure = require "luasight.base.error"
local options_of = require "luasight.base.options"
local system = require "luasight.ffi.system"

local WIDTH, EVERY = 30, 0.1 -- the columns of the bar; the seconds between two redraws

---@class luasight.ProgressOptions  the options of a progress bar
---@field total integer?  the number of steps, where it is known
---@field done integer?   the number of steps that an earlier run has done (0)
---@field label string?   a text that says what is being done
---@field after number?   the seconds before the bar is first shown (0)

---@class luasight.ProgressBar
---@field private _done integer
---@field private _shown boolean?
local Bar = {}
Bar.__index = Bar

---@class luasight.Progress  makes progress bars; calling it wraps a loop
---@field enabled boolean  whether bars are shown
---@overload fun(over: any, ...): fun(): any
local progress = { enabled = os.getenv "LUASIGHT_PROGRESS" ~= "0" }

local current ---@type luasight.ProgressBar?  the bar on whose line the cursor is

-- ---- the line ----------------------------------------------------------------------------------------------------------

---Returns seconds as text: minutes:seconds, or hours:minutes:seconds.
---@param seconds number
---@return string
function progress.clock(seconds)
  seconds = math.max(0, math.floor(seconds + 0.5))
  if seconds < 3600 then return ("%d:%02d"):format(math.floor(seconds / 60), seconds % 60) end
  return ("%d:%02d:%02d"):format(math.floor(seconds / 3600), math.floor(seconds / 60) % 60, seconds % 60)
end

local function speed(per_second)
  if per_second >= 1 then return ("%.4g/s"):format(per_second) end
  return ("%.4g s each"):format(1 / per_second)
end

-- Returns the number of characters of a text, each of which is taken to be one column wide.
local function columns(text) return select(2, text:gsub("[^\128-\191]", "")) end

---Returns the text of a bar: the steps that are done, the rate, and the time that remains.
---@param bar { done: integer, first: integer, total: integer?, seconds: number, label: string?, text: string? }
---@param width integer  the columns of the terminal
---@return string
function progress.line(bar, width)
  local parts = {}
  local function add(text) if text and text ~= "" then parts[#parts + 1] = text end end
  add(bar.total and ("%d/%d"):format(bar.done, bar.total) or ("%d"):format(bar.done))
  local here = bar.done - bar.first
  if here > 0 and bar.seconds > 0 then
    add(speed(here / bar.seconds))
    if bar.total and bar.done < bar.total then add(progress.clock(bar.seconds / here * (bar.total - bar.done)) .. " left") end
  end
  if bar.total and bar.done >= bar.total or here == 0 then add(progress.clock(bar.seconds)) end
  add(bar.text)
  local behind = table.concat(parts, "  ")
  local label = bar.label and bar.label .. " " or ""
  local room = math.min(WIDTH, width - columns(label) - columns(behind) - 2)
  if not bar.total or room < 5 then return label .. behind end
  local filled = math.floor(math.min(1, bar.done / math.max(bar.total, 1)) * room)
  return label .. ("█"):rep(filled) .. ("░"):rep(room - filled) .. " " .. behind
end

local function draw(bar, now)
  bar._drawn = now
  local text = progress.line({ done = bar._done, first = bar._first, total = bar._total, seconds = now - bar._start,
    label = bar._label, text = bar._text }, system.columns(2))
  io.stdout:flush()
  io.stderr:write("\r", text, "\27[K")
  io.stderr:flush()
  current = bar
end

-- ---- bars --------------------------------------------------------------------------------------------------------------

---Sets the number of steps that are done; the bar is redrawn at most every 0.1 seconds.
---@param done integer
---@param text string?  a text that the bar shows behind its numbers
function Bar:set(done, text)
  self._done, self._text = done, text
  if not self._live or not progress.enabled then return end
  local now = system.now()
  if now - self._start >= self._after and now - (self._drawn or -1) >= EVERY then draw(self, now) end
end

---Counts one more step as done.
---@param text string?
function Bar:step(text) self:set(self._done + 1, text) end

---Ends the line of the bar, so that later output begins on a new line.
function Bar:close()
  if self._drawn and progress.enabled and not self._closed then
    draw(self, system.now())
    progress.leave()
  end
  self._closed = true
end

---Returns the time since the bar was made, as minutes and seconds.
---@return string
function Bar:elapsed() return progress.clock(system.now() - self._start) end

---Makes a bar for a loop that calls `bar:set(done, text)`, `bar:step()` and `bar:close()` itself.
---@param options luasight.ProgressOptions?
---@return luasight.ProgressBar
function progress.new(options)
  options = options_of.read("ls.progress", options, { total = "number", done = "number", label = "string", after = "number" })
  local first = options.done or 0
  return setmetatable({ _done = first, _first = first, _total = options.total, _label = options.label,
    _after = options.after or 0, _start = system.now(), _live = system.is_terminal(2) }, Bar)
end

---Ends the line of the bar that is on the screen, if there is one: the loop of this bar may have been left before its end.
function progress.leave()
  if not current then return end
  current = nil
  io.stderr:write "\n"
  io.stderr:flush()
end

-- ---- loops -------------------------------------------------------------------------------------------------------------

---Returns an iterator with the same values as the iterator `f`. Each time a loop asks for the next values, the bar counts one
---more step as done, except at the first time.
local function around(bar, f, state, control)
  local begun = false
  local function hand_on(first, ...)
    if first == nil then
      bar:close()
      return nil
    end
    control = first
    return first, ...
  end
  return function()
    if begun then bar:step() end
    begun = true
    return hand_on(f(state, control))
  end
end

local function with_total(options, total)
  local all = { total = total }
  for name, v in pairs(options or {}) do all[name] = v end
  return progress.new(all)
end

---Wraps a loop in a progress bar: returns an iterator over `over` that moves the bar on at each turn.
---@param over any  a list, a number, or an iterator
---@param ... any    for an iterator, the state and control values that `pairs` returns with it; then the options
---@return fun(): any ...
local function loop(_, over, ...)
  if type(over) == "number" then
    local i = 0
    return around(with_total((...), math.floor(over)), function()
      i = i + 1
      if i <= over then return i end
    end)
  elseif type(over) == "table" and not getmetatable(over) then
    return around(with_total((...), #over), ipairs(over))
  elseif type(over) == "function" then
    if select("#", ...) < 2 then return around(progress.new((...)), over) end
    local state, control, options = ...
    return around(progress.new(options), over, state, control)
  end
  failure.raise("argument", ("ls.progress goes over a list, a number or an iterator, not a %s"):format(type(over)))
end

return setmetatable(progress, { __call = loop })
