--- The lines of earlier sessions: a file in the state folder of the user, one entry a line, written as lines are entered,
--- so that several shells at once lose nothing.
local system = require "luasight.ffi.system"

local history = { size = 2000 }

---The path of the file; nil where there is no home.
---@return string?
function history.path()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if not state or state:sub(1, 1) ~= "/" then -- as the XDG rules have it, a relative path does not count
    if not home or home == "" then return nil end
    state = home .. "/.local/state"
  end
  return state .. "/luasight/history"
end

local function escaped(text) return (text:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

local function plain(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

---The entries, oldest first; a file that has grown to twice the size is cut.
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

---Writes an entry behind the others; false and why where that is not possible.
---@param text string
---@return boolean done, string? problem
function history.add(text)
  local path = history.path()
  if not path then return false, "there is no home folder" end
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
