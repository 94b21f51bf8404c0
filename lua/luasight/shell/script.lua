--- Loads a script that runs before the shell starts, such that the shell can use the script's outermost local variables.
--- These are not copied: the shell and the script's functions see each other's changes of a variable.
local chunk = require "luasight.shell.chunk"

local script = {}

local KEEP = "luasight_keep" -- the global function that the script calls at its end to pass its locals

---@class luasight.Kept  reads and sets one local variable of a script
---@field get fun(): any
---@field set fun(v: any)

-- Makes the metatable of the globals find the script's variables `kept`; a global of the same name hides a variable.
local function answer_globals(kept)
  local meta = getmetatable(_G) or {}
  local names, index, newindex = meta.__names, meta.__index, meta.__newindex
  function meta.__names()
    local list = names and names() or {}
    for name in pairs(kept) do list[#list + 1] = name end
    return list
  end
  function meta.__index(t, name)
    if kept[name] then return kept[name].get() end
    if type(index) == "function" then return index(t, name) end
    return index and index[name]
  end
  function meta.__newindex(t, name, v)
    if kept[name] then return kept[name].set(v) end
    if type(newindex) == "function" then return newindex(t, name, v) end
    rawset(newindex or t, name, v)
  end
  setmetatable(_G, meta)
end

-- Returns the Lua code that is added to a script to pass its local variables to the shell, as one line without a line end.
local function calls(names)
  local parts = {}
  for i, name in ipairs(names) do
    parts[i] = ("%s('%s', function() return %s end, function(...) %s = ... end)"):format(KEEP, name, name, name)
  end
  return table.concat(parts, " ") .. (" %s() "):format(KEEP)
end

---Loads a script as loadfile does. When the script has run to its end, its outermost locals can be used like globals.
---@param path string
---@return function? f, string? problem
function script.load(path)
  local plain, problem = loadfile(path)
  local file = plain and io.open(path, "rb")
  if not file then return plain, problem end
  local text = file:read "*a"
  file:close()
  text = text:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")
  local names, stop = chunk.locals(text)
  -- Where the calls that pass the locals cannot be added, as in a script of bytecode, the script is run unchanged.
  local whole = text:sub(1, stop - 1) .. (stop > #text and "\n" or "") .. calls(names) .. text:sub(stop)
  local f = #names > 0 and loadstring(whole, "@" .. path)
  if not f then return plain end
  local kept = {}
  rawset(_G, KEEP, function(name, get, set)
    if name then
      kept[name] = { get = get, set = set }
    else
      rawset(_G, KEEP, nil)
      answer_globals(kept)
    end
  end)
  return f
end

return script
