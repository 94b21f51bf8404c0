--- Wraps text for a terminal: lines that are too long continue on the next line, without cutting a word.
local system = require "luasight.ffi.system"

local wrap = {}

local MOST = 80

-- Returns the indentation for the rest of a line: the beginning of the last column of a table, whose columns are separated
-- by two blanks, or else the line's own indentation, which is also used where the last column would be too narrow.
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

---Returns a text with its lines broken at blanks; a single word that is too long stays whole.
---@param text string    a text of ASCII letters
---@param width integer
---@return string
function wrap.text(text, width)
  return (text:gsub("[^\n]+", function(line) return wrapped(line, width) end))
end

---Wraps a text for the terminal behind standard output, to 80 columns at most.
---@param text string
---@return string
function wrap.for_output(text) return wrap.text(text, math.min(MOST, system.columns(1))) end

return wrap
