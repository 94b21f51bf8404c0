--- The command line: runs scripts, lines of Lua, the shell, and commands, each of which is a file of this folder.
local options = require "luasight.command.options"
local failure = require "luasight.base.error"
local near = require "luasight.base.near"

local command = {}

-- The names of the commands in the order of the help. A new command needs its name here and a file of that name.
local names = { "inspect", "lens", "generate", "models", "doctor" }

local usage = [==[
usage: luasight [options] [script.lua [arguments]]
       luasight COMMAND [arguments]
  -e LINE     runs a line of Lua; ls, torch and nn are there
  -i          starts the shell after the lines and the script; it knows the
              script's outermost locals
  -           runs a script from standard input
  --version   versions of luasight, LuaJIT and libtorch, threads and devices
  --help      this text
Without a script, a line or a command it starts the shell.

commands, each with a --help of its own:
%s
LUASIGHT_TRACEBACK=1 adds the stack to the message of an error; LUASIGHT_BUILD names another build folder.
A script that is called as a command is reached as ./NAME.]==]

local function load_command(name) return require("luasight.command." .. name) end

local function help()
  local lines = {}
  for i, name in ipairs(names) do lines[i] = ("  %-10s  %s"):format(name, load_command(name).about) end
  return usage:format(table.concat(lines, "\n"))
end

local function is_command(word)
  for _, name in ipairs(names) do
    if name == word then return true end
  end
  return false
end

-- ---- running -----------------------------------------------------------------------------------------------------------

local function fail(text, status)
  io.stdout:flush()
  io.stderr:write("luasight: ", text, "\n")
  os.exit(status or 1, true) -- closing the Lua state releases all handles first
end

local function handler(e)
  if options.is_usage(e) then return { text = e.usage, status = 2 } end
  local text = failure.line(e)
  local status = text:find "interrupted!?$" and 130 or 1
  if os.getenv "LUASIGHT_TRACEBACK" == "1" then text = debug.traceback(text, 2) end
  return { text = text, status = status }
end

-- Runs a loaded chunk; after an error prints one line and ends the process.
local function run(chunk, problem, ...)
  if not chunk then fail(problem) end
  local ok, e = xpcall(chunk, handler, ...)
  if not ok then
    local progress = package.loaded["luasight.base.progress"]
    if progress then progress.leave() end
    fail(e.text, e.status)
  end
end

-- Loads a script. Where the file does not exist, the name may have been meant as a command.
local function load_script(path, for_shell)
  if path == "-" then return loadfile() end
  local file = io.open(path)
  if file then file:close() elseif not path:find "[./]" then
    local meant = near.text(path, names)
    return nil, ("cannot open %s, and there is no such command%s"):format(path,
      meant ~= "" and meant or "; commands are " .. table.concat(names, ", "))
  end
  if for_shell then return require "luasight.shell.script".load(path) end
  return loadfile(path)
end

-- Defines the globals that lines of Lua and the shell may use without require.
local function give_globals()
  local given = {
    ls = function() return require "luasight" end,
    torch = function() return require "luasight".torch end,
    nn = function() return require "luasight".nn end,
  }
  setmetatable(_G, {
    __names = function() return { "ls", "torch", "nn" } end, -- the names that the shell's completion offers
    __index = function(_, name)
      if not given[name] then return nil end
      local value = given[name]()
      rawset(_G, name, value)
      return value
    end,
  })
end

local function version() print(require "luasight.command.doctor".version()) end

-- Moves the arguments so that arg[0] is the script, as Lua has it for any script.
local function shift(arg, by)
  local moved = {}
  for i, v in pairs(arg) do moved[i - by] = v end
  for i in pairs(arg) do arg[i] = nil end
  for i, v in pairs(moved) do arg[i] = v end
end

local function run_command(name, arguments)
  local chosen = load_command(name)
  local given, chosen_options = options.read(name, chosen, arguments)
  if given then chosen.run(given, chosen_options) end
end

---Runs what the arguments of the program ask for.
---@param arg table
function command.main(arg)
  local at, lines, shell = 1, 0, false
  give_globals()
  while arg[at] and arg[at]:find "^%-." do
    local option = arg[at]
    at = at + 1
    if option == "-e" then
      local line = arg[at] or fail("the option -e needs a line of Lua", 2)
      lines = lines + 1
      run(loadstring(line, "=(command line)"))
      at = at + 1
    elseif option == "-i" then
      shell = true
    elseif option == "--help" or option == "-h" then
      return print(help())
    elseif option == "--version" or option == "-v" then
      return run(version)
    elseif option == "--" then
      break
    else
      fail(("there is no option %s; luasight --help lists them"):format(option), 2)
    end
  end

  local script = arg[at]
  if script and is_command(script) and arg[at - 1] ~= "--" then
    return run(function() run_command(script, { unpack(arg, at + 1) }) end)
  elseif script then
    shift(arg, at)
    local chunk, problem = load_script(script, shell)
    run(chunk, problem, unpack(arg))
  end
  if not shell and (script or lines > 0) then return end
  local whole = true
  run(function() whole = require "luasight.shell".start() end)
  if not whole then os.exit(1, true) end -- the errors have been printed already
end

return command
