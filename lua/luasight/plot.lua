-- Line pictures of a few series: as text for the terminal, as SVG, as a web page.
local failure = require "luasight.error"
local svg = require "luasight.plot.svg"
local text = require "luasight.plot.text"

---@class PlotOptions
---@field title? string
---@field x? string name of the horizontal axis
---@field y? string name of the vertical axis
---@field labels? string[] a label for every point; otherwise they count from 0
---@field legend? string[] a name for every series
---@field range? number[] lowest and highest value shown; otherwise from the data
---@field width? integer columns of the terminal picture (64)
---@field height? integer rows of it (11)

---@class Plot
---@field series number[][]
---@field options PlotOptions
---@field low number
---@field high number
---@field ticks number[] round numbers on the vertical axis
local Plot = {}
Plot.__index = Plot

local plot = {}

-- Round numbers (1, 2 or 5 times a power of ten) that cover low to high in at most five steps.
local function round_ticks(low, high)
  local step = 10 ^ math.floor(math.log10((high - low) / 5))
  for _, factor in ipairs { 1, 2, 5, 10 } do
    if (high - low) / (step * factor) <= 5.0001 then
      step = step * factor
      break
    end
  end
  local ticks = {}
  for i = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) do ticks[#ticks + 1] = i * step end
  return ticks
end

--- A line through the values of a list, or one line for each of several lists. Values that are not numbers, nan and
--- infinity are gaps.
---@param values number[]|number[][]
---@param options? PlotOptions
---@return Plot
function plot.line(values, options)
  options = options or {}
  if type(values) ~= "table" or #values == 0 then
    failure.raise("argument", "plot.line needs a list of numbers, or a list of such lists")
  end
  local series = type(values[1]) == "table" and values or { values }
  local low, high = math.huge, -math.huge
  for _, line in ipairs(series) do
    for i = 1, #line do
      local v = line[i]
      if type(v) == "number" and v == v and math.abs(v) < math.huge then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  if low > high then failure.raise("argument", "plot.line found no finite number to draw") end
  if options.range then low, high = options.range[1], options.range[2] end
  if low == high then low, high = low - 0.5, high + 0.5 end
  local ticks = round_ticks(low, high)
  return setmetatable({ series = series, options = options, low = ticks[1], high = ticks[#ticks], ticks = ticks }, Plot)
end

---@param i integer
---@return string # the label of point i, counted from 1
function Plot:label(i)
  return self.options.labels and self.options.labels[i] or tostring(i - 1)
end

---@return integer # of points on the horizontal axis
function Plot:count()
  local most = 0
  for _, line in ipairs(self.series) do most = math.max(most, #line) end
  return most
end

---@param value number
---@return string
function Plot.number(value)
  local short = ("%.6g"):format(math.abs(value) < 1e-12 and 0 or value)
  return short
end

--- The picture as lines of Unicode text.
---@return string
function Plot:text()
  return text.draw(self)
end
Plot.__tostring = Plot.text

--- The picture as the text of an SVG file.
---@return string
function Plot:svg()
  return svg.draw(self)
end

--- Writes the picture to `path`: `.svg`, `.html` (a page with the picture in it) or `.txt`.
---@param path string
---@return Plot
function Plot:save(path)
  local kind = path:match("%.(%w+)$")
  local content
  if kind == "svg" then
    content = self:svg()
  elseif kind == "html" then
    content = "<!doctype html>\n<meta charset=\"utf-8\">\n<title>" .. svg.escape(self.options.title or "plot")
      .. "</title>\n" .. self:svg()
  elseif kind == "txt" then
    content = self:text()
  else
    failure.raise("argument", ("cannot save a plot as %q: the name must end in .svg, .html or .txt"):format(path))
  end
  local file, message = io.open(path, "w")
  if not file then failure.raise("io", "cannot write the plot: " .. message) end
  local done, why = file:write(content)
  file:close()
  if not done then failure.raise("io", "cannot write the plot: " .. why) end
  return self
end

return plot
