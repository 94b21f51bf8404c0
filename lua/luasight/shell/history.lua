--- The lines of earlier sessions of the shell: a file in the user's state folder with one entry on each line. Each entry is
--- written when it is entered, so that several shells can share the file.
local system = require "luasight.ffi.system"

local history = { size = 2000 }

---Returns the path of the file; nil where there is no home folder.
---@return string?
function history.path()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if not state or state:sub(1, 1) ~= "/" then -- a relative path does not count in the XDG rules
    if not home or home == "" then return nil end
    state = home .. "/.local/state"
  end
  return state .. "/luasight/history"
end

local function escaped(text) return (text:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

local function plain(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

---Returns the entries, oldest first; a file that has grown to twice its size is cut.
---@return string[]
function history.load()
  local path = history.path()
  local file = path and io.open(path, "rb")
  if not file then return {} end
  local lines = {}
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  local first = math.max(1, #lines - history.size + 1)
  if #lines > 2 * history.size then
    local beside = system.beside(path)
    local new = system.open_private(beside, "wb")
    if new and new:write(table.concat(lines, "\n", first), "\n") and new:close() then os.rename(beside, path) end
  end
  local entries = {}
  for i = first, #lines do entries[#entries + 1] = plain(lines[i]) end
  return entries
end

---Appends an entry; returns false and the reason where that is not possible.
---@param text string
---@return boolean done, string? problem
function history.add(text)
  local path = history.path()
  if not path then return false, "there is no home folder for it" end
  local file, problem = system.open_private(path, "ab")
  if not file then
    system.make_folder(path:match "^(.*)/")
    file, problem = system.open_private(path, "ab")
  end
  if not file then return false, problem end
  local done, why = file:write(escaped(text), "\n")
  file:close()
  return done ~= nil, why
end

return history
