-- LuaJIT runs this file before all other code (LUA_INIT). It writes to the file LUASIGHT_REQUIRES, line by line, which
-- module of luasight was loaded ("<tab>module") and which file required which module ("file<tab>module"). Each file gets a
-- `require` of its own, so that computed names, `pcall(require, ...)` and tail calls are counted for the file in which they
-- are written.
local out = assert(io.open(os.getenv "LUASIGHT_REQUIRES", "a"))
out:setvbuf "line" -- whole lines, because several processes write to the file
local seen = {}

local function note(file, module)
  local line = ("%s\t%s\n"):format(file, module)
  if not seen[line] then out:write(line) end
  seen[line] = true
end

local function is_ours(module) return tostring(module):find "^luasight%f[.%z]" ~= nil end

table.insert(package.loaders, 2, function(module)
  local file = is_ours(module) and package.searchpath(module, package.path)
  if not file then return nil end
  local function require_here(asked)
    if is_ours(asked) then note(file, asked) end
    return require(asked)
  end
  note("", module)
  return setfenv(assert(loadfile(file)), setmetatable({ require = require_here }, { __index = _G, __newindex = _G }))
end)
