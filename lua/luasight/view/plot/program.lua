--- Programs that draw. What they are given goes through files: no text of a picture reaches a shell.
local failure = require "luasight.base.error"

local program = {}

---@class luasight.Program
---@field package string  Debian's package
---@field use string      what it is for

---@type table<string, luasight.Program>
program.known = {
  gnuplot = { package = "gnuplot-nox", use = "lines, bars, heat maps, attention and tokens as SVG, PNG and HTML" },
  dot = { package = "graphviz", use = "trees of modules and graphs of traces as SVG, PNG and HTML" },
  ["rsvg-convert"] = { package = "librsvg2-bin", use = "pictures as PNG" },
}

---In the order in which they are told.
program.names = { "gnuplot", "dot", "rsvg-convert" }

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

local function write(path, text)
  local file, problem = io.open(path, "wb")
  local ok = file
  if file then
    ok, problem = file:write(text)
    if ok then ok, problem = file:close() else file:close() end
  end
  if not ok then failure.raise("io", "cannot write what a picture is drawn from: " .. tostring(problem)) end
end

local NOT_FOUND = 127 * 256 -- as a shell says it

---Runs one of the programs above with a file of this content as its last argument; gives what it prints.
---@param name string
---@param options string  fixed words, never of the user
---@param content string
---@return string
function program.run(name, options, content)
  local given, out, errors = os.tmpname(), os.tmpname(), os.tmpname()
  local function finish()
    for _, path in ipairs { given, out, errors } do os.remove(path) end
  end
  local ok, status = pcall(function()
    write(given, content)
    local status, _, code = os.execute(("%s %s %s > %s 2> %s"):format(name, options, given, out, errors))
    return type(status) == "number" and status or code * 256 -- as Lua 5.1 or as Lua 5.2 says it
  end)
  local printed, problems = read(out), read(errors)
  finish()
  if not ok then error(status, 0) end
  if status == NOT_FOUND then
    local known = program.known[name]
    failure.raise("state", ("this picture is drawn by %s, which is not installed"):format(name),
      { hint = ("apt-get install %s; print(plot) shows it in the terminal without"):format(known.package) })
  elseif status ~= 0 or printed == "" then
    failure.raise("state", ("%s could not draw this picture"):format(name),
      { cause = problems:gsub("^%s+", ""):gsub("%s*\n%s*", " ") })
  end
  return printed
end

return program
