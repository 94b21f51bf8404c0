--- What is recorded now: the forward to which operators on tensors and calls of factories belong, and whether a script has
--- switched autograd off or on for what it records. A body of a trace is not listed here: its nodes name their trace.
local binding = require "luasight.ffi"

local recordings = binding.recordings

local recording = {}

---@class luasight.Open  an entry of the extent `binding.recordings`
---@field graph ffi.cdata*?  the function of the core that is being recorded; nil: operators on tensors are computed at once
---@field module table?      the module whose forward is recorded
---@field eager boolean?     whether each node is computed when it is recorded (a dynamic module)
---@field autograd integer   how nodes run: 0 with autograd off, 1 with autograd on, -1 as their run has it

-- A finalizer that calls operators would record them, so no finalizer runs while a forward is recorded in the main program.
local function hold_collector(open)
  local co, is_main = coroutine.running()
  if not open.graph or co and not is_main or not collectgarbage "isrunning" then return false end
  collectgarbage "stop"
  return true
end

local function closed(entry, held, ok, ...)
  recordings:close(entry)
  recordings.set()
  if held then collectgarbage "restart" end
  if not ok then error((...), 0) end
  return ...
end

---Calls a function while `open` says what is recorded.
---@param open luasight.Open
---@param f fun(...): ...
---@param ... any  the arguments of f
---@return any ...
function recording.during(open, f, ...)
  local entry = recordings:open(open)
  recordings.set()
  return closed(entry, hold_collector(open), pcall(f, ...))
end

---Returns the entry of the forward that is being recorded, nil where there is none.
---@return luasight.Open?
function recording.current()
  local open = recordings:current()
  return open and open.graph and open or nil
end

---Returns what `recording.current` does, sooner where nothing is recorded. `active` may be that of another coroutine.
---@return luasight.Open?
function recording.forward() return (recordings.active or recordings.shared) and recording.current() or nil end

local computing = { autograd = -1 }

---Calls a function whose operators on tensors are computed at once, although a forward is being recorded.
---@param f fun(...): ...
---@param ... any
---@return any ...
function recording.outside(f, ...)
  if recordings:is_empty() then return f(...) end
  return recording.during(computing, f, ...)
end

---Calls a function with autograd switched off or on. Nodes that are recorded meanwhile will run so.
---@param on integer  1 or 0
---@param f fun(...): ...
---@param ... any
---@return any ...
function recording.with_autograd(on, f, ...)
  local around = recordings:current() or computing
  local open = { graph = around.graph, module = around.module, eager = around.eager, autograd = on }
  return recording.during(open, binding.with_autograd, on, f, ...)
end

---Returns a function that calls `f` with autograd as the script has it here: on, where the script has not switched it.
---@param f fun(...): ...
---@return fun(...): ...
function recording.in_mode(f)
  local open = recordings:current()
  local on = open and open.autograd or -1
  return function(...)
    if on < 0 and binding.records_autograd() then return f(...) end
    return recording.with_autograd(on < 0 and 1 or on, f, ...)
  end
end

---Raises an error where a forward is being recorded that runs later, and would not do then what it does now: `what` says what
---that is. A dynamic module is recorded at each call, so this function returns there.
---@param what string
---@param hint string?
function recording.refuse(what, hint)
  local open = recording.forward()
  if not open or open.eager then return end
  binding.raise("state", ("%s in a forward, which is recorded once and runs later"):format(what), { hint = hint or
    "compute with operators, or declare the module dynamic = true, so that it is recorded at each call" })
end

return recording
