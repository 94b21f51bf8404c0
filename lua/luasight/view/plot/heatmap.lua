--- Heat maps: each number of a table is drawn as a coloured cell, with or without text in the cells.
local cells = require "luasight.view.plot.cells"
local colours = require "luasight.view.plot.colours"
local failure = require "luasight.base.error"
local figure = require "luasight.view.plot.figure"
local gnuplot = require "luasight.view.plot.gnuplot"
local labels = require "luasight.view.plot.labels"
local numbers = require "luasight.view.plot.numbers"

local HeatMap = figure.class("heatmap", { "x", "y", "rows", "columns", "text", "value", "range", "colours" })

---@class luasight.HeatMapOptions  the options of a heat map
---@field title string?
---@field x string?          the name of the horizontal axis
---@field y string?          the name of the vertical axis
---@field rows string[]?     a label for every row; by default the rows are numbered from 0
---@field columns string[]?  a label for every column; by default the columns are numbered from 0
---@field text string[][]|boolean?  the texts in the cells; true: the cells' numbers; false: no text, not in a terminal either
---@field value string?      the name of the quantity, written beside the scale of colours
---@field range number[]?    the lowest and the highest number of the scale of colours; by default those of the data
---@field colours "sequential"|"diverging"?  the kind of the scale; by default "diverging", with zero in the middle, for
---  numbers of which some are negative

local function text_of(given, values)
  if type(given) ~= "table" then return nil end
  local text = {}
  for r, row in ipairs(values) do
    text[r] = {}
    if type(given[r]) ~= "table" or #given[r] ~= #row then
      failure.raise("shape", ("plot.heatmap: the text has to have %d rows of %d cells, like the numbers"):format(#values,
        #row))
    end
    for k = 1, #row do text[r][k] = labels.visible(given[r][k]) end
  end
  return text
end

local function texts_of_numbers(values, most)
  local write, text = numbers.short(most), {}
  for r, row in ipairs(values) do
    text[r] = {}
    for k, v in ipairs(row) do text[r][k] = write(v) end
  end
  return text
end

---Makes a heat map.
---@param values any  a list of rows, or a tensor with two axes
---@param options luasight.HeatMapOptions?
---@return luasight.Plot
function HeatMap.new(values, options)
  options = figure.options(HeatMap, options)
  values = numbers.nested(values, 2, "plot.heatmap")
  local width = numbers.width(values, "plot.heatmap")
  local low, high = numbers.range(values, "plot.heatmap")
  local self = setmetatable({ options = options, values = values, rows = labels.list(options.rows, #values, "rows"),
    columns = labels.list(options.columns, width, "columns"), scale = colours.scale(low, high, options) }, HeatMap)
  self.text_given = text_of(options.text, values)
  self.most = math.max(math.abs(low), math.abs(high))
  return self
end

---Returns the numbers, labels and texts that the heat map shows.
---@return { values: number[][], rows: string[], columns: string[], text: string[][]? }
function HeatMap:data()
  return { values = self.values, rows = self.rows, columns = self.columns, text = self.text_given }
end

local function cells_of(self, text)
  return { values = self.values, rows = self.rows, columns = self.columns, text = text, scale = self.scale }
end

-- ---- in the terminal ---------------------------------------------------------------------------------------------------

-- Returns whether a table with the numbers as texts fits in `width` characters. Where it does not and the terminal has
-- colours, cells without texts are drawn instead.
local function fits(self, text, width)
  local used = labels.most_columns(self.rows)
  for k, label in ipairs(self.columns) do
    local most = math.min(12, labels.columns(label))
    for _, row in ipairs(text) do most = math.max(most, labels.columns(row[k])) end
    used = used + most + 1
  end
  return used <= width
end

function HeatMap:_text(depth, width)
  local o, out = self.options, { figure.heading(self) }
  local text = self.text_given or o.text ~= false and texts_of_numbers(self.values, self.most) or nil
  if text and not self.text_given and depth ~= "none" and not fits(self, text, width) then text = nil end
  local axes = (o.y and "down: " .. labels.plain(o.y) or "") .. (o.y and o.x and "; " or "")
    .. (o.x and "across: " .. labels.plain(o.x) or "")
  if axes ~= "" then out[#out + 1] = axes .. "\n" end
  local c = cells_of(self, text)
  out[#out + 1] = text and cells.table(c, depth, width) or table.concat(cells.blocks(c, depth, width), "\n") .. "\n"
  if depth ~= "none" or not text then out[#out + 1] = cells.legend(self.scale, depth, o.value) .. "\n"
  elseif o.value then
    out[#out + 1] = (self.text_given and "colours, not seen here: " or "numbers: ") .. labels.plain(o.value) .. "\n"
  end
  return table.concat(out)
end

-- ---- as an SVG ---------------------------------------------------------------------------------------------------------

local BAR = 12 -- the width of the colour bar in pixels

local LONGEST = 14 -- characters of a cell's text; more are only shown under the mouse

-- Returns the width and height in pixels of a cell in a table of R x C cells: as wide as the longest text needs; without
-- texts, such that the whole picture has a good size.
local function cell_of(text, columns, R, C)
  if not text then
    local side = math.max(2, math.min(30, math.floor(760 / C), math.floor(640 / R)))
    return { math.max(side, math.min(30, math.floor(420 / C))), math.max(side, math.min(26, math.floor(200 / R))) }
  end
  local most = labels.most_pixels(columns, gnuplot.FONT)
  for _, row in ipairs(text) do most = math.max(most, labels.most_pixels(row, gnuplot.SMALL)) end
  return { math.max(30, most + 10), 24 }
end

local function layout(self, text)
  local o, R, C = self.options, #self.rows, #self.columns
  local rows, columns = labels.cut_all(self.rows, 28), labels.cut_all(self.columns, text and LONGEST or 28)
  local cell = cell_of(text, columns, R, C)
  local fit = gnuplot.fit(columns, cell[1], o.columns == nil)
  local l = { cell = cell, rows = rows, columns = columns, fit = fit, width = C * cell[1], height = R * cell[2] }
  l.left = math.max(labels.most_pixels(rows, gnuplot.FONT) + (o.y and 38 or 16), fit.overhang + 10)
  l.top = gnuplot.title_height(o.title)
  l.bar = math.max(40, math.min(l.height, 300))
  l.write = numbers.short(math.max(math.abs(self.scale.low), math.abs(self.scale.high)))
  local marks = {}
  for i, v in ipairs(self.scale:marks()) do marks[i] = self.scale:text(v, l.write) end
  l.right = 24 + BAR + labels.most_pixels(marks, gnuplot.SMALL) + 16 + (o.value and 24 or 0)
  l.bottom = math.max(fit.height + (o.x and 30 or 12), l.bar - l.height + 12)
  l.bottom = math.max(l.bottom, math.max(gnuplot.upright_height(o.y), gnuplot.upright_height(o.value)) - l.height - l.top)
  return l
end

function HeatMap:_draw(theme)
  local o = self.options
  cells.check(#self.rows * #self.columns)
  local text = self.text_given or o.text == true and texts_of_numbers(self.values, self.most) or nil
  if self.text_given then
    text = {}
    for r, row in ipairs(self.text_given) do text[r] = labels.cut_all(row, LONGEST) end
  end
  local l = layout(self, text)
  local wide = math.max(l.left + l.width + l.right, gnuplot.title_width(o.title))
  local sheet = gnuplot.sheet(theme, wide, l.top + l.height + l.bottom)
  local c = cells_of(self, text)
  cells.field(sheet, c, l.left, l.top, l.cell)
  local row_stride = gnuplot.round_stride(15 / l.cell[2])
  sheet:ticks("y", gnuplot.places(l.rows, row_stride))
  sheet:ticks("x", gnuplot.places(l.columns, l.fit.stride), { turned = l.fit.turned })
  sheet:colour_bar(self.scale, l.left + l.width + 20, l.top, l.bar, l.write)
  sheet:title(o.title, wide / 2)
  if o.x then sheet:label(o.x, l.left + l.width / 2, l.top + l.height + l.fit.height + 12) end
  sheet:upright(o.y, 14, l.top + l.height / 2)
  sheet:upright(o.value, wide - 14, l.top + l.bar / 2)
  cells.plot(sheet, c)
  local spots = {}
  cells.spots(c, l.left, l.top, l.cell, spots, function(r, k)
    local inside = self.text_given and self.text_given[r][k] .. "\n" or ""
    return ("%s%s, %s: %s"):format(inside, self.rows[r], self.columns[k], numbers.text(self.values[r][k]))
  end)
  return sheet:svg(), spots
end

return HeatMap
