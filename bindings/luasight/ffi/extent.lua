--- An extent is a stack of the open things of one kind (scopes, sessions, bodies of traces, or modes of autograd), in the
--- order of opening. Each entry of the stack belongs to the coroutine in which it was opened: while that coroutine has
--- yielded, other code does not see the entry, and if the coroutine is never resumed, the entry is collected with it.
---
--- The current entry for running code is the entry that its own coroutine opened last. Where this coroutine has no open
--- entry, the current entry is the last one of the coroutines that wait for this coroutine (those that resumed it, and the
--- main program). The stack refers to its entries weakly: the function that opened an entry has to hold the entry.
local running, status = coroutine.running, coroutine.status

---@class luasight.Extent  a stack of open entries, each of which belongs to a coroutine or to the main program
---@field shared boolean  whether a coroutine has open entries, so that the current entry may change whenever one is resumed
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

---Opens an entry that belongs to the running coroutine: puts it on top of the stack.
---@param value any
---@return table entry  the open entry, for `close`; the stack refers to it weakly, so the caller has to hold it until then
function Extent:open(value)
  local entries, entry = self._entries, { value = value, thread = thread() }
  repeat -- the loop repeats if a finalizer, run meanwhile, has changed the top of the stack
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

---Does the search of `Extent:current` where coroutines have open entries: an entry counts only if its coroutine is running or
---waits for the running one.
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
        if not waiting and (its == nil or status(its) == "normal") then waiting = entry end
      end
    end
  end
  self.shared = shared
  return waiting and waiting.value
end

---Returns the value of the entry that is current for the running code, or nil where no entry is open. With `field`, entries
---are passed over unless their value has `wanted` in the field of that name.
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

---Opens an entry with `value`, calls a function, and closes the entry, also where the function raises an error.
---@param value any
---@param f fun(...): ...
---@param ... any  the arguments of f
---@return any ...
function Extent:during(value, f, ...)
  local entry = self:open(value)
  return closed(self, entry, pcall(f, ...))
end

return new
