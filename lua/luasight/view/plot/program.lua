--- Runs the programs that draw pictures. A program reads its input from a file, so that no text of a picture is part of a
--- shell's command.
local failure = require "luasight.base.error"

local program = {}

---@class luasight.Program  a program that draws pictures
---@field package string  the name of the Debian package with the program
---@field use string      the pictures for which the program is needed

---@type table<string, luasight.Program>
program.known = {
  gnuplot = { package = "gnuplot-nox", use = "lines, bars, heat maps, attention and tokens as SVG, PNG and HTML" },
  dot = { package = "graphviz", use = "trees of modules and graphs of traces as SVG, PNG and HTML" },
  ["rsvg-convert"] = { package = "librsvg2-bin", use = "pictures as PNG" },
}

---The names of the programs that draw pictures, in the order in which messages list them.
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
  if not ok then failure.raise("io", "cannot write the temporary file from which a picture is drawn: " .. tostring(problem)) end
end

local NOT_FOUND = 127 * 256 -- the exit status of a shell that did not find the program

---Runs a program that draws pictures, with the path of a file that holds `content` as its last argument; returns what the
---program printed.
---@param name string
---@param options string  the program's options; they must not contain a text of the user
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
    -- os.execute returns the exit status in Lua 5.1; in Lua 5.2 its third result is the exit code, which is status / 256.
    return type(status) == "number" and status or code * 256
  end)
  local printed, problems = read(out), read(errors)
  finish()
  if not ok then error(status, 0) end
  if status == NOT_FOUND then
    local known = program.known[name]
    failure.raise("state", ("this picture is drawn by %s, which is not installed"):format(name),
      { hint = ("run apt-get install %s; print(plot) shows the picture in the terminal without it"):format(
        known.package) })
  elseif status ~= 0 or printed == "" then
    failure.raise("state", ("%s could not draw this picture"):format(name),
      { cause = problems:gsub("^%s+", ""):gsub("%s*\n%s*", " ") })
  end
  return printed
end

return program
