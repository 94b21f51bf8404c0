--- The history of the shell: a file in the user's state folder with one entry on each line, kept when the shell ends. Each
--- entry is written when the user enters it, so that several shells can share the file.
local system = require "luasight.ffi.system"

local history = { size = 2000 }

---Returns the path of the shell's history file; nil where the user has no home folder.
---@return string?
function history.path()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if not state or state:sub(1, 1) ~= "/" then -- the XDG rules say that a relative path is to be ignored
    if not home or home == "" then return nil end
    state = home .. "/.local/state"
  end
  return state .. "/luasight/history"
end

local function escaped(text) return (text:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

local function plain(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

---Returns the newest `history.size` entries of the history, the oldest first. A file with more than twice as many entries is
---cut to these.
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

---Appends an entry to the history file; returns false and the reason where the file cannot be written.
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
