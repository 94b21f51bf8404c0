--- Draws line charts for the terminal with braille characters, each of which has 2 x 4 dots.
local bit = require "bit"
local labels = require "luasight.view.plot.labels"
local numbers = require "luasight.view.plot.numbers"

local braille = {}

local dot = { [0] = { [0] = 0x01, 0x02, 0x04, 0x40 }, { [0] = 0x08, 0x10, 0x20, 0x80 } }

---The characters that mark the points of the first, second, ... series.
braille.markers = { "●", "○", "◆", "◇", "■", "□" }

-- Returns the braille character with the dots that are the bits of `mask`; a space where there are none.
local function sign_of(mask)
  if mask == 0 then return " " end
  return string.char(0xe2, 0xa0 + bit.rshift(mask, 6), 0x80 + bit.band(mask, 63)) -- U+2800 + mask, in UTF-8
end

-- ---- the canvas --------------------------------------------------------------------------------------------------------

---@class luasight.Canvas  a grid of braille characters on which lines are drawn
---@field width integer   the width in characters
---@field height integer  the height in characters
---@field mask table<integer, table<integer, integer>>   by row and column, the dots of the character as bits
---@field owner table<integer, table<integer, integer>>  by row and column, the number of the series that drew there last
---@field sign table<integer, table<integer, string>>    by row and column, the character that marks a point there
local Canvas = {}
Canvas.__index = Canvas

local function new_canvas(width, height)
  local self = setmetatable({ width = width, height = height, mask = {}, owner = {}, sign = {} }, Canvas)
  for row = 0, height - 1 do self.mask[row], self.owner[row], self.sign[row] = {}, {}, {} end
  return self
end

-- Sets the dot at (x, y) for a series; returns the row and column of the dot's character, or nil outside of the canvas.
function Canvas:set(x, y, series)
  x, y = math.floor(x + 0.5), math.floor(y + 0.5)
  if y < 0 or y >= self.height * 4 then return end
  local row, column = math.floor(y / 4), math.floor(x / 2)
  self.mask[row][column] = bit.bor(self.mask[row][column] or 0, dot[x % 2][y % 4])
  self.owner[row][column] = series
  return row, column
end

-- Draws the part of a line from (x1, y1) to (x2, y2) that lies on the canvas.
function Canvas:segment(x1, y1, x2, y2, series)
  local bottom = self.height * 4
  if math.max(y1, y2) < -1 or math.min(y1, y2) > bottom then return end
  local function at(y) return x1 + (x2 - x1) * (y - y1) / (y2 - y1), y end
  local a, b = math.max(-1, math.min(bottom, y1)), math.max(-1, math.min(bottom, y2))
  if y1 ~= y2 and (a ~= y1 or b ~= y2) then
    local from, to = at(a), at(b)
    x1, y1, x2, y2 = from, a, to, b
  end
  local steps = math.ceil(math.max(math.abs(x2 - x1), math.abs(y2 - y1), 1))
  for s = 0, steps do self:set(x1 + (x2 - x1) * s / steps, y1 + (y2 - y1) * s / steps, series) end
end

---Draws the line of series number `k` on a canvas from the value `low` at the bottom to `high` at the top; a number that is not
---finite leaves a gap.
function Canvas:series(k, values, count, low, high)
  local last_x, last_y
  for i, v in ipairs(values) do
    local x, y
    if numbers.is_finite(v) then
      x = count == 1 and self.width - 1 or (i - 1) / (count - 1) * (self.width * 2 - 1)
      y = math.max(-1e9, math.min(1e9, (high - v) / (high - low) * (self.height * 4 - 1)))
      if last_x then self:segment(last_x, last_y, x, y, k) end
      local row, column = self:set(x, y, k)
      if row and count <= self.width / 2 then self.sign[row][column] = braille.markers[(k - 1) % #braille.markers + 1] end
    end
    last_x, last_y = x, y
  end
end

---Returns a row of the canvas as text; `tint(text, series)` colours a character for its series.
function Canvas:row(row, tint)
  local cells = {}
  for column = 0, self.width - 1 do
    local owner = self.owner[row][column]
    local text = self.sign[row][column] or sign_of(self.mask[row][column] or 0)
    cells[#cells + 1] = owner and tint(text, owner) or text
  end
  return table.concat(cells)
end

-- ---- the picture -------------------------------------------------------------------------------------------------------

-- Returns the line of labels under the points of a chart; where not all labels fit, it has every second, third, ... label.
local function label_row(list, width)
  local row, count, free, longest = "", #list, 0, math.max(1, labels.most_columns(list))
  for i = 1, count, math.ceil(count * (longest + 2) / (width + longest)) do
    local label = labels.cut(list[i], width)
    local columns = labels.columns(label)
    local middle = count == 1 and width / 2 or (i - 1) / (count - 1) * (width - 1)
    local at = math.max(0, math.min(math.floor(middle - columns / 2 + 0.5), width - columns))
    if at >= free then
      row = row .. (" "):rep(at - labels.columns(row)) .. label
      free = at + columns + 1
    end
  end
  return row
end

---@class luasight.BrailleLines  a line chart to draw in a terminal
---@field series number[][]
---@field labels string[]   the labels of the points, from left to right
---@field ticks number[]    the numbers beside the vertical axis, from the lowest to the highest
---@field title string?
---@field x string?
---@field y string?
---@field legend string[]?

---Returns a line chart with axes, labels and legend as text for a terminal; `tint` adds the colour of a series to a text.
---@param lines luasight.BrailleLines
---@param width integer   the columns of the canvas
---@param height integer  the rows of the canvas
---@param tint fun(text: string, series: integer): string
---@return string
function braille.draw(lines, width, height, tint)
  local canvas, low, high = new_canvas(width, height), lines.ticks[1], lines.ticks[#lines.ticks]
  for k, values in ipairs(lines.series) do canvas:series(k, values, #lines.labels, low, high) end
  local at_row, margin, texts = {}, 0, numbers.tick_texts(lines.ticks)
  for i, tick in ipairs(lines.ticks) do
    local row = math.floor((high - tick) / (high - low) * (height - 1) + 0.5)
    at_row[row] = texts[i]
    margin = math.max(margin, #at_row[row])
  end

  local out = {}
  local function under(line) out[#out + 1] = (" "):rep(margin + 2) .. line end
  local function centred(s) return labels.fill(s, width, "centre") end
  if lines.title then under(centred(lines.title)) end
  if lines.y then under(lines.y) end
  for row = 0, height - 1 do
    local tick = at_row[row]
    out[#out + 1] = labels.fill(tick or "", margin, "right") .. (tick and " ┤" or " │") .. canvas:row(row, tint)
  end
  out[#out + 1] = (" "):rep(margin) .. " └" .. ("─"):rep(width)
  under(label_row(lines.labels, width))
  if lines.x then under(centred(lines.x)) end
  if lines.legend then
    local names = {}
    for k, name in ipairs(lines.legend) do
      names[k] = tint(braille.markers[(k - 1) % #braille.markers + 1], k) .. " " .. name
    end
    under(table.concat(names, "   "))
  end
  return table.concat(out, "\n") .. "\n"
end

return braille
