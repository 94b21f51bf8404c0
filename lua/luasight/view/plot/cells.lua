--- Draws tables of coloured cells, for heat maps and attention patterns, in an SVG and in a terminal.
local colours = require "luasight.view.plot.colours"
local failure = require "luasight.base.error"
local gnuplot = require "luasight.view.plot.gnuplot"
local labels = require "luasight.view.plot.labels"
local numbers = require "luasight.view.plot.numbers"

local cells = {}

---@class luasight.Cells  a table of coloured cells
---@field values number[][]   the numbers, row by row from the top; nan where a cell has no number
---@field rows string[]       the labels of the rows, at the left
---@field columns string[]    the labels of the columns, below the cells or, in a terminal, above them
---@field text string[][]?    the texts inside the cells
---@field scale luasight.Scale  the colours of the numbers

-- ---- in an SVG ---------------------------------------------------------------------------------------------------------

local MOST = 250000 -- the largest number of cells that browsers can still show

---Raises an error where a picture has more cells than a browser can show.
---@param count integer
function cells.check(count)
  if count <= MOST then return end
  failure.raise("argument", ("a picture of %d cells is too big to draw"):format(count),
    { hint = ("draw a part of the tensor, x[{ {}, { 0, 128 } }], or means; at most %d cells can be drawn"):format(MOST) })
end

---Begins a table of cells on a sheet, at `left` and `top` in pixels. After this call, axes and labels can be added; then
---`cells.plot` draws the cells.
---@param sheet luasight.Sheet
---@param c luasight.Cells
---@param left number
---@param top number
---@param cell number[]  width and height of a cell in pixels
function cells.field(sheet, c, left, top, cell)
  local R, C = #c.values, #c.columns
  sheet:field(left, top, C * cell[1], R * cell[2], { -0.5, C - 0.5 }, { R - 0.5, -0.5 })
  sheet:palette(c.scale)
  sheet:add("set object rectangle from graph 0, graph 0 to graph 1, graph 1 behind fc rgb '%s' fs solid 1 noborder",
    sheet.theme.none)
  for r, row in ipairs(c.text or {}) do
    for k, text in ipairs(row) do
      if text ~= "" then
        sheet:label(text, k - 1, r - 1, { inside = true, size = gnuplot.SMALL,
          colour = colours.on(c.scale:colour(c.values[r][k], sheet.theme)) })
      end
    end
  end
end

---Draws the coloured cells of a table on a sheet that `cells.field` has prepared.
---@param sheet luasight.Sheet
---@param c luasight.Cells
function cells.plot(sheet, c)
  local rows = {}
  for r, row in ipairs(c.values) do
    for k, v in ipairs(row) do
      if numbers.is_finite(v) then rows[#rows + 1] = { k - 1, r - 1, math.max(c.scale.low, math.min(c.scale.high, v)) } end
    end
  end
  -- Without any data gnuplot would draw no axes, so a table without numbers gets a point outside of the picture.
  if #rows == 0 then rows[1] = { -9, -9, c.scale.low } end
  sheet:plot(sheet:data(rows) .. " using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror lc palette notitle")
end

---Adds for each cell the text that is shown while the mouse is over the cell.
---@param c luasight.Cells
---@param left number
---@param top number
---@param cell number[]
---@param spots luasight.Spot[]  the list to which the texts are added
---@param text fun(r: integer, k: integer): string  returns the text of the cell in row r and column k, from 1
function cells.spots(c, left, top, cell, spots, text)
  for r, row in ipairs(c.values) do
    for k = 1, #row do
      spots[#spots + 1] = { left + (k - 1) * cell[1], top + (r - 1) * cell[2], cell[1], cell[2], text(r, k) }
    end
  end
end

-- ---- in a terminal -----------------------------------------------------------------------------------------------------

local shades = { " ", "░", "▒", "▓", "█" }

---Returns a cell as text of two characters without its number: a block in the number's colour or, where the terminal has no
---colours, a character that is the darker the higher the number is on the scale (for both signs: the farther from zero).
---@param v number
---@param scale luasight.Scale
---@param depth luasight.ColourDepth
---@return string
function cells.block(v, scale, depth)
  local sign = v == math.huge and " ∞" or v == -math.huge and "-∞"
  if depth ~= "none" then return colours.paint(sign or "  ", scale:colour(v, colours.themes.light), depth) end
  if v ~= v then return " ." end
  if sign then return sign end
  local share = scale:share(v)
  if scale.kind == "diverging" then share = math.abs(share - 0.5) * 2 end
  local shade = shades[math.min(#shades, math.floor(share * #shades) + 1)]
  return (scale.kind == "diverging" and v < 0 and shade ~= " " and "-" or shade) .. shade
end

---Returns lines of text in which labels are written downwards, one beside the other, each two characters wide. All labels end
---in the last line.
---@param list string[]
---@param most integer  the largest number of characters of a label
---@return string[]
function cells.downward(list, most)
  local columns, height = {}, 0
  for i, label in ipairs(list) do
    columns[i] = labels.characters(labels.cut(label, most))
    height = math.max(height, #columns[i])
  end
  local lines = {}
  for y = 1, height do
    local line = {}
    for i, column in ipairs(columns) do line[i] = labels.fill(column[y - (height - #column)] or "", 2, "left") end
    lines[y] = table.concat(line)
  end
  return lines
end

local function slice(list, from, to)
  local out = {}
  for i = from, to do out[#out + 1] = list[i] end
  return out
end

---Returns a table of cells with their texts inside, for a terminal; columns that do not fit in `width` follow below.
---@param c luasight.Cells
---@param depth luasight.ColourDepth
---@param width integer
---@return string
function cells.table(c, depth, width)
  local rows, inside = labels.cut_all(c.rows, 20), 3
  local beside, widths = labels.most_columns(rows), {}
  for _, row in ipairs(c.text) do inside = math.max(inside, labels.most_columns(row)) end
  local columns = labels.cut_all(c.columns, math.max(inside, 12))
  for k, label in ipairs(columns) do
    widths[k] = labels.columns(label)
    for _, row in ipairs(c.text) do widths[k] = math.max(widths[k], labels.columns(row[k])) end
  end
  local out, from = {}, 1
  while from <= #columns do
    local to, used = from, beside + 1 + widths[from]
    while to < #columns and used + widths[to + 1] + 1 <= width do
      to = to + 1
      used = used + widths[to] + 1
    end
    local line = {}
    for k = from, to do line[#line + 1] = labels.fill(columns[k], widths[k], "centre") end
    out[#out + 1] = (" "):rep(beside + 1) .. table.concat(line, " ")
    for r, label in ipairs(rows) do
      line = {}
      for k = from, to do
        line[#line + 1] = colours.paint(labels.fill(c.text[r][k], widths[k], "centre"),
          c.scale:colour(c.values[r][k], colours.themes.light), depth)
      end
      out[#out + 1] = labels.fill(label, beside, "right") .. " " .. table.concat(line, " ")
    end
    from = to + 1
    if from <= #columns then out[#out + 1] = "" end
  end
  return table.concat(out, "\n") .. "\n"
end

---Returns cells for a terminal as blocks of two characters, without numbers; columns that do not fit in `width` follow below.
---@param c luasight.Cells
---@param depth luasight.ColourDepth
---@param width integer
---@return string[] lines
function cells.blocks(c, depth, width)
  local rows, out = labels.cut_all(c.rows, 20), {}
  local beside = labels.most_columns(rows)
  local per = math.max(1, math.floor((width - beside - 1) / 2))
  for from = 1, #c.columns, per do
    local to = math.min(#c.columns, from + per - 1)
    for _, line in ipairs(cells.downward(slice(c.columns, from, to), 12)) do
      out[#out + 1] = (" "):rep(beside + 1) .. line
    end
    for r, label in ipairs(rows) do
      local line = {}
      for k = from, to do line[#line + 1] = cells.block(c.values[r][k], c.scale, depth) end
      out[#out + 1] = labels.fill(label, beside, "right") .. " " .. table.concat(line)
    end
    if to < #c.columns then out[#out + 1] = "" end
  end
  return out
end

---Returns a line of text that shows the colours of a scale between its lowest and its highest number.
---@param scale luasight.Scale
---@param depth luasight.ColourDepth
---@param name string?  the name of the measured quantity
---@return string
function cells.legend(scale, depth, name)
  local parts, steps = {}, 8
  for i = 0, steps do
    parts[#parts + 1] = cells.block(scale.low + (scale.high - scale.low) * i / steps, scale, depth)
  end
  return ("%s%s %s %s"):format(name and labels.plain(name) .. ": " or "", scale:text(scale.low, numbers.text),
    table.concat(parts), scale:text(scale.high, numbers.text))
end

return cells
