--- The interactive shell: reads a line of Lua, or as many lines as a statement needs, runs them, and shows their values.
--- Lines that begin with a colon are the shell's commands; see commands.lua.
local chunk = require "luasight.shell.chunk"
local commands = require "luasight.shell.commands"
local failure = require "luasight.base.error"
local history = require "luasight.shell.history"
local show = require "luasight.shell.show"
local system = require "luasight.ffi.system"
local wrap = require "luasight.shell.wrap"

local shell = {}

---@class luasight.Shell  the state of the running shell
---@field read fun(prompt: string): "line"|"clear"|"end", string?  reads a line; "clear": the user dropped the line
---@field traceback string?  the traceback of the last error
---@field over boolean?      whether the user has left the shell
---@field failed boolean?    whether an entry raised an error
---@field rearm fun()        makes the next Ctrl-C interrupt the running line

-- ---- running -----------------------------------------------------------------------------------------------------------

local function is_interrupt(e)
  if type(e) == "string" then return e:find "interrupted!$" ~= nil end -- the error that LuaJIT's handler raises
  return type(e) == "table" and failure.is(e) and e.code == "interrupted"
end

---Prints an error as one line, and keeps its traceback, which the command `:bt` prints.
function shell.report(session, e, traceback)
  session.traceback, session.failed = traceback, true
  io.stdout:flush()
  io.stderr:write(is_interrupt(e) and "interrupted" or "error: " .. failure.line(e), "\n")
end

---Runs the function that a typed line was compiled to, and reports its error. The error's traceback ends at the typed line and
---does not show the shell's own functions.
---@param session luasight.Shell
---@param f function
---@return boolean ok, any ...
function shell.run(session, f)
  session.rearm()
  local traceback
  local function handler(e)
    traceback = debug.traceback(failure.line(e), 2):gsub("\n%s*%[C%]: in function 'xpcall'.*", "")
    return e
  end
  local function results(ok, ...)
    if not ok then shell.report(session, (...), traceback) end
    return ok, ...
  end
  -- Compiled loops do not notice Ctrl-C, so the typed line is interpreted; the functions that it calls may be compiled.
  jit.off(f, true)
  return results(xpcall(f, handler))
end

local function show_results(session, ok, ...)
  if not ok or select("#", ...) == 0 then return end
  local last, values, n = ..., { ... }, select("#", ...)
  rawset(_G, "_", last)
  shell.run(session, function() print(show.results(unpack(values, 1, n))) end)
end

---Runs an entry, which is Lua or a command of the shell, and shows its values.
---@param session luasight.Shell
---@param text string
function shell.evaluate(session, text)
  if commands.is(text) then
    return show_results(session, shell.run(session, function() return commands.run(session, text) end))
  end
  local f, problem = chunk.load(text)
  if not f then return shell.report(session, problem) end
  show_results(session, shell.run(session, f))
end

-- ---- reading -----------------------------------------------------------------------------------------------------------

local function plain_reader(shown)
  return function(prompt)
    if shown then io.write(prompt) end
    io.flush()
    local line = io.read()
    if not line and shown then io.write "\n" end
    return line and "line" or "end", line
  end
end

---Returns a function that reads lines from the terminal with libedit, and a function that adds an entry to the history; nil
---where libedit is not installed.
local function open_editor()
  local editor = require "luasight.ffi.editline".open(history.size)
  if not editor then return nil end
  for _, entry in ipairs(history.load()) do editor:remember(entry) end
  local complete, told, last = require "luasight.shell.complete", false, nil
  local function read(prompt)
    return editor:read(prompt, function(before) return complete.at(before, system.columns(1)) end)
  end
  return read, function(text)
    if text == last or text:find "^%s*$" then return end
    last = text
    editor:remember(text)
    local done, problem = history.add(text)
    if not done and not told then
      told = true
      io.stderr:write("the history of this session is not kept: ", problem, "\n")
    end
  end
end

---Reads one entry: a line, and further lines where the first is only the beginning of a Lua chunk.
---@return "line"|"clear"|"end" how, string? text
local function read_entry(session)
  local how, text = session.read "> "
  while how == "line" and not commands.is(text) do
    local _, _, more = chunk.load(text)
    if not more then break end
    local next_line
    how, next_line = session.read ">> "
    if how == "end" then return "line", text end -- running the unfinished text reports its error
    text = text .. "\n" .. (next_line or "")
  end
  return how, text
end

local function step(session)
  local how, text = read_entry(session)
  if how == "end" then
    session.over = true
  elseif how == "line" and text:find "%S" then
    session.remember(text)
    shell.evaluate(session, text)
  end
end

local banner = "luasight %s, a shell for LuaJIT: ls, torch and nn are there\n:help says more, Ctrl-D leaves"

---Reads and runs entries from standard input until the input ends or the user enters `:quit`.
---@return boolean ok  # false where standard input is not a terminal and an entry failed
function shell.start()
  local talks = system.is_terminal(0)
  local read, remember
  if talks then
    print(wrap.for_output(banner:format(require "luasight".version)))
    if system.is_terminal(1) then read, remember = open_editor() end
    if not read then
      print(wrap.for_output "without line editing, history and completion: these need libedit (on Debian libedit2)")
    end
  end
  ---@type luasight.Shell
  local session = { read = read or plain_reader(talks), remember = remember or function() end,
    rearm = talks and system.keep_interrupt() or function() end }
  while not session.over do
    local ok, e = pcall(step, session)
    require "luasight.base.progress".leave()
    io.stdout:flush()
    if not ok then -- the error is an interrupt between two lines, or an error of the shell itself
      session.rearm()
      shell.report(session, e)
    end
  end
  return talks or not session.failed
end

return shell
