--- Draws a text in which the background colour of each token stands for a number, such as the probability of the token.
local colours = require "luasight.view.plot.colours"
local cells = require "luasight.view.plot.cells"
local failure = require "luasight.base.error"
local figure = require "luasight.view.plot.figure"
local gnuplot = require "luasight.view.plot.gnuplot"
local labels = require "luasight.view.plot.labels"
local numbers = require "luasight.view.plot.numbers"

local Tokens = figure.class("tokens", { "value", "range", "colours" })

---Makes a picture of a text, in which each token has the colour of its number.
---@param tokens string[]  the tokens, decoded one by one
---@param values any       a number for each token: a list or a tensor
---@param options { title: string?, value: string?, range: number[]?, colours: string? }?  value: the name of the quantity
---@return luasight.Plot
function Tokens.new(tokens, values, options)
  options = figure.options(Tokens, options)
  if type(tokens) ~= "table" or #tokens == 0 then
    failure.raise("argument", "plot.tokens needs a list of tokens, then a list of numbers, one for each token")
  end
  values = numbers.nested(values, 1, "plot.tokens")
  if #values ~= #tokens then
    failure.raise("shape", ("plot.tokens needs a number for each token, but there are %d tokens and %d numbers"):format(
      #tokens, #values))
  end
  local low, high = numbers.range(values, "plot.tokens")
  local self = setmetatable({ options = options, values = values, given = {}, tokens = labels.list(tokens, #tokens, "tokens"),
    scale = colours.scale(low, high, options) }, Tokens)
  for i, token in ipairs(tokens) do self.given[i] = tostring(token) end
  return self
end

---Returns the tokens and the numbers that the picture shows.
---@return { tokens: string[], values: number[] }
function Tokens:data() return { tokens = self.given, values = self.values } end

-- ---- in the terminal ---------------------------------------------------------------------------------------------------

-- Returns the picture for a terminal without colours: a line for each token, with the token and the number given for the token.
local function as_table(self)
  local out, width = { figure.heading(self) }, labels.most_columns(self.tokens)
  for i, token in ipairs(self.tokens) do
    out[#out + 1] = ("%s  %s\n"):format(labels.fill(token, width, "left"), numbers.text(self.values[i]))
  end
  return table.concat(out) .. (self.options.value and labels.plain(self.options.value) or "")
end

function Tokens:_text(depth, width)
  if depth == "none" then return as_table(self) end
  local out, used = { figure.heading(self) }, 0
  for i, token in ipairs(self.tokens) do
    token = labels.cut(token, width)
    local columns = labels.columns(token)
    if used > 0 and used + columns > width then
      out[#out + 1] = "\n"
      used = 0
    end
    out[#out + 1] = colours.paint(token, self.scale:colour(self.values[i], colours.themes.light), depth)
    used = used + columns
    if self.given[i]:find "\n" then
      out[#out + 1] = "\n"
      used = 0
    end
  end
  return table.concat(out) .. "\n" .. cells.legend(self.scale, depth, self.options.value) .. "\n"
end

-- ---- as an SVG ---------------------------------------------------------------------------------------------------------

local WIDTH, LINE, BOX, SIZE = 760, 30, 24, 13 -- in pixels: width of a line, distance of lines, box height, font size

-- Arranges the tokens in lines of boxes, from left to right. Returns the boxes as { x, y, width } in pixels, the width of the
-- widest line, and the height of all lines.
local function flow(tokens, given)
  local boxes, x, y, widest = {}, 0, 0, 0
  for i, token in ipairs(tokens) do
    local width = labels.pixels(token, SIZE) + 8
    if x > 0 and x + width > WIDTH then x, y = 0, y + LINE end
    boxes[i] = { x, y, width }
    x = x + width + 2
    widest = math.max(widest, x)
    if given[i]:find "\n" then x, y = 0, y + LINE end
  end
  return boxes, widest, boxes[#boxes][2] + LINE
end

function Tokens:_draw(theme)
  local o, list = self.options, labels.cut_all(self.tokens, 60)
  local boxes, inner, height = flow(list, self.given)
  local left, top = 16, gnuplot.title_height(o.title)
  local write = numbers.short(math.max(math.abs(self.scale.low), math.abs(self.scale.high)))
  local tall = math.max(height, 60)
  local lies = gnuplot.upright_height(o.value) > tall -- whether the quantity's name is below the tokens instead of beside them
  local value = lies and labels.cut(labels.plain(o.value), 90) or o.value
  local wide = math.max(left + inner + 96 + (o.value and not lies and 24 or 0), gnuplot.title_width(o.title),
    lies and 2 * left + labels.pixels(value, gnuplot.FONT) or 0)
  local sheet = gnuplot.sheet(theme, wide, top + tall + (lies and 28 or 12))
  sheet:field(left, top, inner, tall, { 0, inner }, { tall, 0 })
  sheet:palette(self.scale)
  sheet:add("unset border")
  sheet:title(o.title, wide / 2)
  sheet:colour_bar(self.scale, left + inner + 20, top, tall, write)
  if lies then sheet:label(value, left, top + tall + 12, { side = "left" })
  else sheet:upright(value, wide - 14, top + tall / 2) end
  local rows, spots = {}, {}
  for i, box in ipairs(boxes) do
    local x, y, v = box[1], box[2], self.values[i]
    local colour = self.scale:colour(v, theme)
    sheet:label(list[i], x + box[3] / 2, y + BOX / 2, { inside = true, size = SIZE, colour = colours.on(colour) })
    if numbers.is_finite(v) then
      rows[#rows + 1] = { x, x + box[3], y, y + BOX, math.max(self.scale.low, math.min(self.scale.high, v)) }
    else
      sheet:add("set object rectangle from first %.9g, first %.9g to first %.9g, first %.9g fc rgb '%s' fs solid 1 noborder",
        x, y, x + box[3], y + BOX, colour)
    end
    spots[i] = { left + x, top + y, box[3], BOX, ("%s: %s"):format(self.tokens[i], numbers.text(v)) }
  end
  sheet:plot(sheet:data(rows) .. " using (0.5*($1+$2)):(0.5*($3+$4)):1:2:3:4:5 with boxxyerror lc palette notitle")
  return sheet:svg(), spots
end

return Tokens
