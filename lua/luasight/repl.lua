--- The plain prompt: reads a line, or as many as a statement needs, runs it, prints what it gives.
local ffi = require "ffi"

ffi.cdef "int isatty(int);"

---Loads a text as an expression, or else as statements.
---@param text string
---@return function? chunk, string? problem
local function load(text)
  local chunk = loadstring("return " .. text:gsub("^%s*=", ""), "=prompt")
  if chunk then return chunk end
  return loadstring(text, "=prompt")
end

---Reads from standard input until it ends.
---@param line_of fun(e: any): string  an error as one line
return function(line_of)
  local shown = ffi.C.isatty(0) ~= 0

  local function ask(sign)
    if shown then
      io.write(sign)
      io.flush()
    end
    return io.read()
  end

  local function show(...)
    if select("#", ...) > 0 then print(...) end
  end

  local function run(chunk)
    local ok, e = pcall(function() show(chunk()) end)
    io.flush()
    if not ok then io.stderr:write("error: ", line_of(e), "\n") end
  end

  if shown then
    print(("luasight %s, a prompt for LuaJIT: ls, torch and nn are there; Ctrl-D leaves"):format(require "luasight".version))
  end
  local text = ask "> "
  while text do
    local chunk, problem = load(text)
    local more = not chunk and problem:find "near '<eof>'$" and ask ">> "
    if more then
      text = text .. "\n" .. more
    else
      run(chunk or function() error(problem, 0) end)
      text = ask "> "
    end
  end
  if shown then print() end
end
