--- Text for a terminal: lines that are too long go on below, and no word is cut.
local system = require "luasight.ffi.system"

local wrap = {}

local MOST = 80

-- Where the rest of a line goes: below the last column of a table, whose columns have two blanks between them, or else below
-- the beginning. A table whose last column would be too narrow counts as none.
local function indent_of(line, width)
  local blanks = #line:match "^ *"
  local column = line:match "^.*[^ ]  +()[^ ]"
  return column and column - 1 <= width * 3 / 4 and column - 1 or blanks
end

local function wrapped(line, width)
  local indent, parts = (" "):rep(indent_of(line, width)), {}
  while #line > width do
    local at, behind = nil, #indent + 1
    for from, to in line:gmatch "() +()" do
      if from > behind and (from <= width + 1 or not at) then at, behind = { from, to }, to end
      if from > width then break end
    end
    if not at or at[2] > #line then break end
    parts[#parts + 1] = line:sub(1, at[1] - 1)
    line = indent .. line:sub(at[2])
  end
  parts[#parts + 1] = line
  return table.concat(parts, "\n")
end

---A text with its lines broken at blanks; a word that is too long alone stays whole.
---@param text string    letters of ASCII
---@param width integer
---@return string
function wrap.text(text, width)
  return (text:gsub("[^\n]+", function(line) return wrapped(line, width) end))
end

---The same for the terminal behind standard output, 80 columns at most.
---@param text string
---@return string
function wrap.for_output(text) return wrap.text(text, math.min(MOST, system.columns(1))) end

return wrap
