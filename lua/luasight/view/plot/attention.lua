--- Pictures of attention patterns: for each head, how much each position (row) reads from each other position (column).
local cells = require "luasight.view.plot.cells"
local colours = require "luasight.view.plot.colours"
local failure = require "luasight.base.error"
local figure = require "luasight.view.plot.figure"
local gnuplot = require "luasight.view.plot.gnuplot"
local labels = require "luasight.view.plot.labels"
local numbers = require "luasight.view.plot.numbers"

local Attention = figure.class("attention", { "tokens", "keys", "heads", "range", "across" })

-- The range of colours for patterns, whose numbers are shares; for other numbers, such as scores, the range that holds them.
local function scale_of(low, high, range)
  if not range then low, high = math.min(low, 0), math.max(high, 1) end
  return colours.scale(low, high, { range = range, colours = not range and low < 0 and "diverging" or "sequential" })
end

---@class luasight.AttentionOptions  the options of a picture of attention patterns
---@field title string?
---@field tokens string[]?   labels of the rows (the positions that read), and of the columns where `keys` is not given
---@field keys string[]?     labels of the columns (the positions that are read)
---@field heads string[]?    a name for every head; by default "head 0", ...
---@field range number[]?    the lowest and the highest number of the colour scale; 0 and 1 by default, and further
---  where the numbers lie outside
---@field across integer?    the number of heads that are drawn beside each other

---Makes a picture of the attention patterns of one or several heads.
---@param pattern any  a tensor [H, T, S] or [1, H, T, S] (heads, rows, columns), or lists
---@param options luasight.AttentionOptions?
---@return luasight.Plot
function Attention.new(pattern, options)
  options = figure.options(Attention, options)
  local values = numbers.nested(pattern, 3, "plot.attention")
  local width = numbers.width(values[1], "plot.attention")
  local heads = {}
  for h, rows in ipairs(values) do
    if #rows ~= #values[1] or numbers.width(rows, "plot.attention") ~= width then
      failure.raise("shape", ("plot.attention: the pattern of head %d has another size than that of head 0"):format(h - 1))
    end
    heads[h] = options.heads and options.heads[h] or "head " .. h - 1
  end
  if options.heads then labels.list(options.heads, #values, "heads") end
  for h, name in ipairs(heads) do heads[h] = labels.plain(name) end
  local low, high = numbers.range(values, "plot.attention")
  return setmetatable({ options = options, values = values, heads = heads,
    rows = labels.list(options.tokens, #values[1], "tokens"),
    columns = labels.list(options.keys or options.tokens, width, options.keys and "keys" or "tokens"),
    scale = scale_of(low, high, options.range) }, Attention)
end

---Returns the numbers and labels that the picture shows.
---@return { values: number[][][], heads: string[], rows: string[], columns: string[] }
function Attention:data()
  return { values = self.values, heads = self.heads, rows = self.rows, columns = self.columns }
end

local function cells_of(self, h)
  return { values = self.values[h], rows = self.rows, columns = self.columns, scale = self.scale }
end

-- ---- in the terminal ---------------------------------------------------------------------------------------------------

-- Returns the picture as text: several heads beside each other, and the labels of the tokens once at the left of these heads.
function Attention:_text(depth, width)
  local rows = labels.cut_all(self.rows, 16)
  local beside, one = labels.most_columns(rows), math.max(#self.columns * 2, labels.most_columns(self.heads)) + 2
  local across = self.options.across or math.max(1, math.floor((width - beside - 1) / one))
  local out = { figure.heading(self) .. "each row is a position that reads, each column one that is read" }
  local downward = cells.downward(self.columns, 12)
  for from = 1, #self.heads, across do
    local to = math.min(#self.heads, from + across - 1)
    local function line(label, text_of)
      local parts = {}
      for h = from, to do parts[#parts + 1] = labels.fill(text_of(h), one, "left") end
      out[#out + 1] = labels.fill(label, beside, "right") .. " " .. table.concat(parts)
    end
    out[#out + 1] = ""
    line("", function(h) return self.heads[h] end)
    for _, text in ipairs(downward) do line("", function() return text end) end
    for r, label in ipairs(rows) do
      local parts = {}
      for h = from, to do
        local blocks = {}
        for k, v in ipairs(self.values[h][r]) do blocks[k] = cells.block(v, self.scale, depth) end
        parts[#parts + 1] = table.concat(blocks) .. (" "):rep(one - #self.columns * 2)
      end
      out[#out + 1] = labels.fill(label, beside, "right") .. " " .. table.concat(parts)
    end
  end
  out[#out + 1] = cells.legend(self.scale, depth)
  return table.concat(out, "\n") .. "\n"
end

-- ---- as an SVG ---------------------------------------------------------------------------------------------------------

local HEAD, GAP = 22, 18 -- in pixels: the height of the name above a head, and the space between two heads

-- Returns how many of the H heads are drawn beside each other, such that the picture is broader than high and, where
-- possible, all rows of heads have the same number of heads.
local function beside_each_other(H)
  if H <= 4 then return H end
  local wanted = math.floor(math.sqrt(H * 1.4) + 0.5)
  for _, by in ipairs { 0, 1, -1, 2, 3 } do
    if H % (wanted + by) == 0 then return wanted + by end
  end
  return wanted
end

local function layout(self)
  local H, R, C = #self.heads, #self.rows, #self.columns
  local l = { across = math.min(H, self.options.across or beside_each_other(H)) }
  local side = math.max(3, math.min(18, math.floor(1500 / l.across / C)))
  l.cell = { side, side }
  l.width = math.max(C * side, labels.most_pixels(self.heads, gnuplot.FONT) + 8, 40)
  l.height, l.down = R * side, math.ceil(H / l.across)
  l.rows, l.columns = labels.cut_all(self.rows, 20), labels.cut_all(self.columns, 20)
  l.fit = gnuplot.fit(l.columns, side, false)
  l.left = math.max(labels.most_pixels(l.rows, gnuplot.SMALL) + 16, l.fit.overhang + 10)
  l.top = gnuplot.title_height(self.options.title)
  l.step = { l.width + GAP, l.height + HEAD + 8 }
  return l
end

function Attention:_draw(theme)
  cells.check(#self.heads * #self.rows * #self.columns)
  local l = layout(self)
  local right = l.left + l.across * l.step[1]
  local wide = math.max(right + 64, gnuplot.title_width(self.options.title))
  local sheet = gnuplot.sheet(theme, wide, l.top + l.down * l.step[2] + l.fit.height + 4)
  local spots, row_stride = {}, gnuplot.round_stride(13 / l.cell[2])
  for h in ipairs(self.heads) do
    local column, row = (h - 1) % l.across, math.floor((h - 1) / l.across)
    local left, top = l.left + column * l.step[1], l.top + row * l.step[2] + HEAD
    local c = cells_of(self, h)
    cells.field(sheet, c, left, top, l.cell)
    if column == 0 then sheet:ticks("y", gnuplot.places(l.rows, row_stride), { size = gnuplot.SMALL }) end
    if row == l.down - 1 then
      sheet:ticks("x", gnuplot.places(l.columns, l.fit.stride), { turned = l.fit.turned, size = gnuplot.SMALL })
    end
    sheet:label(self.heads[h], left + #self.columns * l.cell[1] / 2, top - 10)
    if h == 1 then
      sheet:title(self.options.title, wide / 2)
      sheet:colour_bar(self.scale, right + 4, top, math.max(60, math.min(l.height, 200)), numbers.text)
    end
    cells.plot(sheet, c)
    cells.spots(c, left, top, l.cell, spots, function(r, k)
      return ("%s\n%s reads %s: %s"):format(self.heads[h], self.rows[r], self.columns[k], numbers.text(self.values[h][r][k]))
    end)
  end
  return sheet:svg(), spots
end

return Attention
