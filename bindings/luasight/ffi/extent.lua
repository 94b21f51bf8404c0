--- What is open while a function runs (a scope, a session, the body of a trace, a mode of autograd) and belongs to the
--- coroutine that the function runs in: while that stands still, having yielded, other code does not see it, and with a
--- coroutine that is never resumed all that it left open is collected.
---
--- An extent is the stack of all that is open of one kind, in the order of opening. What holds for the code that runs is what
--- its own coroutine opened last, else what was opened last by those that wait for it: coroutines that resumed others, and
--- the main program. Who holds an entry (the frame of the function, mostly) keeps it in the stack.
local running, status = coroutine.running, coroutine.status

---@class luasight.Extent
---@field shared boolean  coroutines opened some of it: what holds may change without an `open` or `close`
local Extent = {}
Extent.__index = Extent

---@return luasight.Extent
local function new()
  return setmetatable({ shared = false, _top = 0, _entries = setmetatable({}, { __mode = "v" }) }, Extent)
end

---The coroutine that runs; nil for the main program.
local function thread()
  local co, is_main = running()
  return not is_main and co or nil
end

---@param value any
---@return table entry  for `close`; to be held as long as it is open
function Extent:open(value)
  local entries, entry = self._entries, { value = value, thread = thread() }
  repeat -- again where a finalizer came in between that opened and closed in the same place
    local top = self._top
    while top > 0 and not entries[top] do top = top - 1 end
    top = top + 1
    self._top = top
    entries[top] = entry
  until self._top == top
  if entry.thread then self.shared = true end
  return entry
end

---@param entry table
function Extent:close(entry)
  local entries, top = self._entries, self._top
  for i = top, 1, -1 do
    if entries[i] == entry then entries[i] = nil end
  end
  while top > 0 and not entries[top] do top = top - 1 end
  self._top = top
  if top == 0 then self.shared = false end
end

---What holds where coroutines have entries.
local function search(self, field, wanted)
  local entries, me, waiting = self._entries, thread(), nil
  local shared = false
  for i = self._top, 1, -1 do
    local entry = entries[i]
    if entry then
      local its = entry.thread
      shared = shared or its ~= nil
      if field == nil or entry.value[field] == wanted then
        if its == me then return entry.value end
        if not waiting and (its == nil or status(its) ~= "suspended") then waiting = entry end
      end
    end
  end
  self.shared = shared
  return waiting and waiting.value
end

---What holds for the code that runs, nil where nothing is open; `field` and `wanted` say which of them count.
---@param field string?
---@param wanted any
---@return any
function Extent:current(field, wanted)
  if self._top == 0 then
    self.shared = false
    return nil
  end
  if self.shared then return search(self, field, wanted) end
  local entries = self._entries
  for i = self._top, 1, -1 do
    local entry = entries[i]
    if entry and (field == nil or entry.value[field] == wanted) then return entry.value end
  end
end

---Whether nothing is open, in any coroutine.
---@return boolean
function Extent:is_empty()
  local entries, top = self._entries, self._top
  while top > 0 and not entries[top] do top = top - 1 end
  self._top = top
  return top == 0
end

local function closed(self, entry, ok, ...)
  self:close(entry)
  if not ok then error((...), 0) end
  return ...
end

---Calls a function while a value is open.
---@param value any
---@param f fun(...): ...
---@param ... any  for f
---@return any ...
function Extent:during(value, f, ...)
  local entry = self:open(value)
  return closed(self, entry, pcall(f, ...))
end

return new
