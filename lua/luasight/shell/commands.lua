--- The commands of the shell, which begin with a colon.
local binding = require "luasight.ffi"
local chunk = require "luasight.shell.chunk"
local near = require "luasight.base.near"
local operators = require "luasight.tensor.operators"
local system = require "luasight.ffi.system"
local traces = require "luasight.ffi.traces"
local wrap = require "luasight.shell.wrap"

local commands = {}

local help = [[
A line of Lua runs; what an expression gives is shown, and is in `_`.
An entry goes on over several lines until it is whole.
Tab completes. Up, Down and Ctrl-R go through the history.
Ctrl-C clears the line or stops what runs. Ctrl-D leaves.
A `local` outside of blocks and functions stays for the next lines, a global.

  model = ls.LanguageModel "models/pretrained/ioi"  a model of a folder
  t = model:tracer "When Mary and John"             a trace, open between lines
  h = model.transformer.h[3].output[0]:save()       a proxy: nothing has run yet
  t:run()                                           runs; h is a tensor now

:help NAME    this text, or the forms of an operator
:time LINE    runs a line and says how long it took
:graph        what the open trace has recorded; :graph t of several
:bt           the stack of the last error
:quit         leaves]]

-- ---- help --------------------------------------------------------------------------------------------------------------

local function operator_help(name)
  local op = operators.find(name)
  if not op then
    binding.raise("name", ("there is no operator %q%s"):format(name, near.text(name, operators.names(name:sub(1, 1)))))
  end
  local lines = {}
  for line in operators.schemas(op):gmatch "[^\n]+" do lines[#lines + 1] = "  " .. line:gsub("^aten::", "") end
  return ("%s is an operator of libtorch: torch.%s(x, ...) and x:%s(...), keyword arguments in a table behind them\n%s")
    :format(name, name, name, table.concat(lines, "\n"))
end

local function show_help(_, name) print(wrap.for_output(name == "" and help or operator_help(name))) end

-- ---- time --------------------------------------------------------------------------------------------------------------

local function duration(seconds)
  if seconds < 1e-3 then return ("%.0f us"):format(seconds * 1e6) end
  if seconds < 1 then return ("%.2f ms"):format(seconds * 1e3) end
  return ("%.2f s"):format(seconds)
end

local function time(_, line)
  if line == "" then binding.raise("argument", ":time needs a line to run, as in `:time model(prompt)`") end
  local f, problem = chunk.load(line)
  if not f then error(problem, 0) end
  local before = system.now()
  local function told(...)
    print(duration(system.now() - before))
    return ...
  end
  jit.off(f, true) -- compiled loops do not notice Ctrl-C, so the typed line is interpreted
  return told(f())
end

-- ---- graph -------------------------------------------------------------------------------------------------------------

local function recording_of(v) return type(v) == "table" and rawget(v, "_network") ~= nil and rawget(v, "_recording") or nil end

-- Returns whether a value is a trace that is still open in the core. (Lua still has the handle of a trace
-- that failed, but the core has emptied the trace's recording.)
local function is_open_trace(v)
  local recording = recording_of(v)
  return recording ~= nil and recording.graph ~= nil and traces.is_open(recording.graph)
end

local function open_traces()
  local names, seen = {}, {}
  local function look(name, v)
    if type(name) ~= "string" or name == "_" or seen[name] or not is_open_trace(v) then return end
    names[#names + 1], seen[name] = name, true
  end
  for name, v in pairs(_G) do look(name, v) end
  local meta = getmetatable(_G)
  for _, name in ipairs(meta and meta.__names and meta.__names() or {}) do look(name, _G[name]) end
  table.sort(names)
  return names
end

local function graph(_, name)
  if name == "" then
    local names = open_traces()
    if #names == 0 then
      binding.raise("state", "no trace is open whose graph could be shown", { hint = "t = model:tracer(input) opens one" })
    elseif #names > 1 then
      binding.raise("argument", "several traces are open: " .. table.concat(names, ", "), { hint = ":graph " .. names[1] })
    end
    name = names[1]
  end
  local f = chunk.load(name)
  local v = f and f()
  if not is_open_trace(v) then
    binding.raise("argument", name .. (recording_of(v) and " is a trace that has ended and has no graph"
      or " is no trace and has no graph"),
      { hint = "t = model:tracer(input) opens one" })
  end
  local text = tostring(v:graph())
  print(text == "" and "nothing has been recorded yet" or (text:gsub("\n$", "")))
end

-- ---- the list of the commands ------------------------------------------------------------------------------------------

local list = {
  help = show_help,
  time = time,
  graph = graph,
  bt = function(session) print(session.traceback or "there was no error yet") end,
  quit = function(session) session.over = true end,
}

---Returns the names of the shell's commands without the colon, sorted.
---@return string[]
function commands.names()
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---Returns whether a line is a command of the shell, and not a label of Lua such as `::name::`.
---@param text string
---@return boolean
function commands.is(text) return text:find "^%s*:[^:]" ~= nil end

---Runs a command of the shell; returns the values of the Lua line that the command ran, as `:time` does.
---@param session luasight.Shell
---@param text string
---@return any ...
function commands.run(session, text)
  local name, rest = text:match "^%s*:%s*(%S*)%s*(.-)%s*$"
  local run = list[name]
  if not run then
    binding.raise("name", ("the shell has no command :%s%s"):format(name, near.text(name, commands.names())),
      { hint = ":help lists the commands" })
  end
  return run(session, rest)
end

return commands
