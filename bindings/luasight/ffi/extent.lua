--- An extent is the stack of all that is open of one kind (scopes, sessions, bodies of traces, modes of autograd), in the
--- order of opening. Each entry belongs to the coroutine in which it was opened: while that coroutine has yielded, other
--- code does not see the entry, and the entries of a coroutine that is never resumed are collected with it.
---
--- The current entry for running code is the one that its own coroutine opened last; where there is none, the one opened
--- last by the coroutines that wait for it (those that resumed it, and the main program). The stack itself refers to
--- entries weakly: the function that opened an entry holds it.
local running, status = coroutine.running, coroutine.status

---@class luasight.Extent
---@field shared boolean  true: coroutines opened some entries, so `current` may change without an `open` or `close`
local Extent = {}
Extent.__index = Extent

---@return luasight.Extent
local function new()
  return setmetatable({ shared = false, _top = 0, _entries = setmetatable({}, { __mode = "v" }) }, Extent)
end

---Returns the running coroutine, or nil in the main program.
local function thread()
  local co, is_main = running()
  return not is_main and co or nil
end

---@param value any
---@return table entry  the argument for `close`; the caller has to hold it as long as it is open
function Extent:open(value)
  local entries, entry = self._entries, { value = value, thread = thread() }
  repeat -- repeated where a finalizer has opened and closed an entry at the same place meanwhile
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

---Returns the current value where entries of several coroutines are open.
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

---Returns the current value for the running code, or nil where nothing is open. With `field`, only the values whose field
---of that name is `wanted` count.
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

---Returns whether no coroutine has an open entry.
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

---Calls a function with `value` open, and closes it again even where the function raises.
---@param value any
---@param f fun(...): ...
---@param ... any  the arguments of f
---@return any ...
function Extent:during(value, f, ...)
  local entry = self:open(value)
  return closed(self, entry, pcall(f, ...))
end

return new
