--- Line charts: a line through each of one or several series of numbers, over labels on the horizontal axis.
local is_handle = require "luasight.ffi".is_handle
local braille = require "luasight.view.plot.braille"
local colours = require "luasight.view.plot.colours"
local figure = require "luasight.view.plot.figure"
local gnuplot = require "luasight.view.plot.gnuplot"
local labels = require "luasight.view.plot.labels"
local numbers = require "luasight.view.plot.numbers"

local Line = figure.class("line", { "x", "y", "labels", "legend", "range", "width", "height" })

---@class luasight.LineOptions  the options of a line chart
---@field title string?
---@field x string?          the name of the horizontal axis
---@field y string?          the name of the vertical axis
---@field labels string[]?   a label for each number of a series; by default the numbers from 0
---@field legend string[]?   a name for every series
---@field range number[]?    the lowest and the highest number of the vertical axis; by default from the data
---@field width integer?     the width of the chart in a terminal, in characters (64)
---@field height integer?    the height of the chart in a terminal, in lines (11)

---Returns a list of series from one list of numbers, several lists, or a tensor with one or two axes.
---@param values any
---@param what string
---@return number[][]
local function series_of(values, what)
  local first = type(values) == "table" and values[1]
  local several = is_handle(values) and #values.shape == 2 or type(first) == "table" or is_handle(first) and #first.shape == 1
  return several and numbers.nested(values, 2, what) or { numbers.nested(values, 1, what) }
end
Line.series_of = series_of

---Makes a line chart.
---@param values any
---@param options luasight.LineOptions?
---@return luasight.Plot
function Line.new(values, options)
  options = figure.options(Line, options)
  local series = series_of(values, "plot.line")
  local low, high = numbers.range(series, "plot.line")
  if options.range then low, high = options.range[1], options.range[2] end
  local count = 0
  for _, line in ipairs(series) do count = math.max(count, #line) end
  if options.legend then labels.list(options.legend, #series, "legend") end
  return setmetatable({ options = options, series = series, count = count, ticks = numbers.ticks(low, high),
    labels = labels.list(options.labels, count, "labels") }, Line)
end

---Returns the numbers and labels that the chart shows.
---@return { series: number[][], labels: string[], legend: string[]? }
function Line:data() return { series = self.series, labels = self.labels, legend = self.options.legend } end

function Line:_text(depth, width)
  local o, plain = self.options, function(s) return s and labels.plain(s) end
  local names = o.legend and {}
  for k, name in ipairs(o.legend or {}) do names[k] = plain(name) end
  local series = colours.themes.light.series
  return braille.draw({ series = self.series, labels = self.labels, ticks = self.ticks, title = plain(o.title), x = plain(o.x),
    y = plain(o.y), legend = names }, o.width or math.max(16, math.min(64, width - 12)), o.height or 11,
    function(text, k) return colours.tint(text, series[(k - 1) % #series + 1], depth) end)
end

-- ---- as an SVG ---------------------------------------------------------------------------------------------------------

local WIDTH, HEIGHT, LEGEND_LINE = 640, 380, 20

---Measures the margins and labels around the axes of a line or bar chart.
---@param self table  a table with series, count, ticks, labels and options
---@param inner number     the width in pixels of the chart without its margins
---@param may_skip boolean  whether labels may be left out
---@return table
function Line.frame(self, inner, may_skip)
  local o, ticks = self.options, {}
  local texts = numbers.tick_texts(self.ticks)
  for i, v in ipairs(self.ticks) do ticks[i] = { v, texts[i] } end
  local widest = 0
  for _, tick in ipairs(ticks) do widest = math.max(widest, labels.pixels(tick[2], gnuplot.FONT)) end
  local list, names = labels.cut_all(self.labels, 28), nil
  if o.legend then
    names = {}
    for k = 1, #self.series do names[k] = labels.cut(labels.plain(o.legend[k] or ""), 40) end
  end
  local fit = gnuplot.fit(list, inner / math.max(self.count, 1), may_skip)
  local frame = { ticks = ticks, list = list, fit = fit, names = names, inner = inner }
  frame.left = math.max(widest + (o.y and 44 or 22), fit.overhang + 8)
  frame.right = 24 + (names and labels.most_pixels(names, gnuplot.FONT) + 34 or 0)
  frame.top = gnuplot.title_height(o.title)
  frame.bottom = fit.height + (o.x and 30 or 12)
  frame.height = math.max(HEIGHT - frame.top - frame.bottom, 200, names and #names * LEGEND_LINE or 0)
  return frame
end

---Makes a sheet with axes, titles and legend, on which lines or bars are drawn.
---@param self table
---@param frame table  the result of Line.frame
---@param theme luasight.Theme
---@param x number[]  the range of the horizontal axis
---@return luasight.Sheet
function Line.sheet(self, frame, theme, x)
  local o, ticks = self.options, self.ticks
  local sheet = gnuplot.sheet(theme, math.max(frame.left + frame.inner + frame.right, gnuplot.title_width(o.title)),
    frame.top + frame.height + frame.bottom)
  sheet:field(frame.left, frame.top, frame.inner, frame.height, x, { ticks[1], ticks[#ticks] })
  sheet:add("set border 1")
  sheet:add("set grid ytics lc rgb '%s' lw 1 lt 1", theme.faint)
  sheet:ticks("x", gnuplot.places(frame.list, frame.fit.stride), { turned = frame.fit.turned })
  sheet:ticks("y", frame.ticks)
  local middle = frame.left + frame.inner / 2
  sheet:title(o.title, math.max(middle, gnuplot.title_width(o.title) / 2))
  if o.x then sheet:label(o.x, middle, frame.top + frame.height + frame.fit.height + 12) end
  sheet:upright(o.y, 16, frame.top + frame.height / 2)
  for k, name in ipairs(frame.names or {}) do
    local y = frame.top + (k - 0.5) * LEGEND_LINE
    sheet:label("■", frame.left + frame.inner + 20, y, { colour = theme.series[(k - 1) % #theme.series + 1], side = "left" })
    sheet:label(name, frame.left + frame.inner + 36, y, { side = "left" })
  end
  return sheet
end

---Returns the text that is shown while the mouse is over number i of series k.
---@param self table
---@param k integer
---@param i integer
---@return string
function Line.spot_text(self, k, i)
  local name = self.options.legend and self.options.legend[k]
  return ("%s%s: %s"):format(name and labels.plain(name) .. ", " or "", self.labels[i], numbers.text(self.series[k][i]))
end

function Line:_draw(theme)
  local frame = Line.frame(self, WIDTH - 94, self.options.labels == nil or self.count > 40)
  local low, high = -0.3, self.count - 0.7
  if self.count > 30 then low, high = -0.01 * self.count, self.count - 1 + 0.01 * self.count end
  local sheet = Line.sheet(self, frame, theme, { low, high })
  sheet:add("set clip two") -- also draws the part inside of a line whose ends both lie outside of the range
  local parts, spots, ticks = {}, {}, self.ticks
  local far = 1e4 * (ticks[#ticks] - ticks[1]) -- gnuplot does not draw lines to points that are much farther outside
  for k, line in ipairs(self.series) do
    local rows = {}
    for i, v in ipairs(line) do
      rows[i] = { i - 1, numbers.is_finite(v) and math.max(ticks[1] - far, math.min(ticks[#ticks] + far, v)) or v }
      local x = frame.left + (i - 1 - low) / (high - low) * frame.inner
      local y = frame.top + (ticks[#ticks] - v) / (ticks[#ticks] - ticks[1]) * frame.height
      local seen = y >= frame.top - 8 and y <= frame.top + frame.height + 8
      if seen then spots[#spots + 1] = { x - 8, y - 8, 16, 16, Line.spot_text(self, k, i) } end
    end
    parts[k] = ("%s using 1:2 with %s lw 2.5 lc rgb '%s' notitle"):format(sheet:data(rows),
      self.count <= 60 and "linespoints pt 7 ps 0.6" or "lines", theme.series[(k - 1) % #theme.series + 1])
  end
  sheet:plot(table.concat(parts, ", "))
  return sheet:svg(), spots
end

return Line
