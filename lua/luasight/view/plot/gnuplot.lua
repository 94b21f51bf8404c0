--- Sheets that gnuplot draws. A sheet is a script: commands are added, then it is run and gives an SVG.
---
--- Places on a sheet are in pixels from its top left corner. Margins are always given, so that what is drawn where is known
--- without asking gnuplot; the texts beside the axes have been measured for that.
local labels = require "luasight.view.plot.labels"
local program = require "luasight.view.plot.program"

local gnuplot = {}

local FONT, SMALL, TITLE = 12, 11, 15 -- pixels
local SLOPE = 0.71 -- of a text that is turned by 45 degrees, its height and its width
gnuplot.FONT, gnuplot.SMALL = FONT, SMALL

---@class luasight.Sheet
---@field width number
---@field height number
---@field theme luasight.Theme
---@field script string[]
---@field blocks integer  of data
local Sheet = {}
Sheet.__index = Sheet

---@param theme luasight.Theme
---@param width number
---@param height number
---@return luasight.Sheet
function gnuplot.sheet(theme, width, height)
  local self = setmetatable({ theme = theme, width = math.ceil(width), height = math.ceil(height), script = {}, blocks = 0 },
    Sheet)
  self:add("set encoding utf8")
  self:add("set term svg noenhanced size %d,%d font 'sans-serif,%d' background rgb '%s'", self.width, self.height, FONT,
    theme.paper)
  self:add("set multiplot")
  return self
end

---Adds a command; `%s` may only take what comes from `quote`, a colour or a word of ours.
---@param format string
---@param ... any
function Sheet:add(format, ...)
  self.script[#self.script + 1] = select("#", ...) > 0 and format:format(...) or format
end

---A text as gnuplot reads it. Inside single quotes only the quote itself means something; it is joined in between. (Two of
---them are one, but not at the beginning of a text.)
---@param s string
---@return string
function gnuplot.quote(s) return "'" .. labels.plain(s):gsub("'", [[' . "'" . ']]) .. "'" end

local quote = gnuplot.quote

---Rows of numbers as data; gives its name.
---@param rows number[][]
---@return string
function Sheet:data(rows)
  self.blocks = self.blocks + 1
  local name = "$d" .. self.blocks
  self:add("%s << END", name)
  for _, row in ipairs(rows) do
    local cells = {}
    for i, v in ipairs(row) do cells[i] = v ~= v and "NaN" or ("%.9g"):format(v) end
    self:add("%s", table.concat(cells, " "))
  end
  self:add("END")
  return name
end

---Begins a field with axes: everything of the one before is forgotten.
---@param left number
---@param top number
---@param width number
---@param height number
---@param x number[]  lowest and highest
---@param y number[]  at the bottom and at the top
function Sheet:field(left, top, width, height, x, y)
  local theme = self.theme
  self:add("reset")
  self:add("set encoding utf8")
  self:add("unset key")
  self:add("set lmargin at screen %.6f", left / self.width)
  self:add("set rmargin at screen %.6f", (left + width) / self.width)
  self:add("set tmargin at screen %.6f", 1 - top / self.height)
  self:add("set bmargin at screen %.6f", 1 - (top + height) / self.height)
  self:add("set xrange [%.9g:%.9g]", x[1], x[2])
  self:add("set yrange [%.9g:%.9g]", y[1], y[2])
  self:add("set border lc rgb '%s' lw 1", theme.ink)
  self:add("set style fill solid 1 noborder")
  self:add("unset xtics")
  self:add("unset ytics")
  self:add("unset colorbox")
end

---Labels along an axis.
---@param axis "x"|"y"
---@param places { [1]: number, [2]: string }[]
---@param options? { turned: boolean?, marks: boolean?, size: number? }  turned by 45 degrees; with small lines at the places
function Sheet:ticks(axis, places, options)
  options = options or {}
  local parts = {}
  for i, place in ipairs(places) do
    parts[i] = ("%s %.9g"):format(quote((place[2]:gsub("%%", "%%%%"))), place[1]) -- the label of a tick is a format
  end
  self:add("set %stics %s nomirror %s font ',%d' textcolor rgb '%s' (%s)", axis, options.marks and "out scale 0.5" or "scale 0",
    options.turned and "rotate by 45 right" or "norotate", options.size or FONT, self.theme.ink, table.concat(parts, ", "))
end

---A text at a place of the sheet, or with `inside` of the current field.
---@param text string
---@param x number
---@param y number
---@param options? { side: "left"|"right"|"center"?, colour: string?, size: number?, turned: boolean?, inside: boolean? }
function Sheet:label(text, x, y, options)
  options = options or {}
  local where = options.inside and ("first %.9g, first %.9g"):format(x, y)
    or ("screen %.6f, screen %.6f"):format(x / self.width, 1 - y / self.height)
  self:add("set label %s at %s %s %s font ',%d' textcolor rgb '%s' front", quote(text), where, options.side or "center",
    options.turned and "rotate by 90" or "norotate", options.size or FONT, options.colour or self.theme.ink)
end

---The title of the sheet.
---@param text string?
---@param middle number
function Sheet:title(text, middle)
  if text then self:label(text, middle, 20, { size = TITLE }) end
end

---@param text string?
---@return number  # pixels that a title takes at the top
function gnuplot.title_height(text) return text and 40 or 16 end

---@param text string?
---@return number  # pixels in which a title finds room
function gnuplot.title_width(text) return text and labels.pixels(text, TITLE) + 24 or 0 end

local LONGEST = 48 -- columns of the name of an axis that stands upright

---The name of an axis, upright; not longer than the sheet.
---@param text string?
---@param x number
---@param middle number
function Sheet:upright(text, x, middle)
  if not text then return end
  local half = gnuplot.upright_height(text) / 2
  local y = math.max(half, math.min(self.height - half, middle))
  self:label(labels.cut(labels.plain(text), LONGEST), x, y, { turned = true })
end

---@param text string?
---@return number  # pixels that the upright name of an axis takes
function gnuplot.upright_height(text)
  return text and labels.pixels(labels.cut(labels.plain(text), LONGEST), FONT) + 12 or 0
end

---How the colours of a scale are drawn: `lc palette` of what follows.
---@param scale luasight.Scale
function Sheet:palette(scale)
  local stops, parts = self.theme[scale.kind], {}
  for i, colour in ipairs(stops) do parts[i] = ("%d '%s'"):format(i - 1, colour) end
  self:add("set palette defined (%s)", table.concat(parts, ", "))
  self:add("set cbrange [%.9g:%.9g]", scale.low, scale.high)
end

---The colours of a scale beside their numbers.
---@param scale luasight.Scale
---@param left number
---@param top number
---@param height number
---@param write fun(v: number): string
function Sheet:colour_bar(scale, left, top, height, write)
  local marks, parts = scale:marks(), {}
  for i, v in ipairs(marks) do
    if i ~= 2 or height >= 54 then parts[#parts + 1] = ("%s %.9g"):format(quote(write(v)), v) end
  end
  self:add("set colorbox vertical user origin screen %.6f, screen %.6f size screen %.6f, screen %.6f border", left / self.width,
    1 - (top + height) / self.height, 12 / self.width, height / self.height)
  self:add("set cbtics scale 0 font ',%d' textcolor rgb '%s' (%s)", SMALL, self.theme.ink, table.concat(parts, ", "))
end

---Draws what the commands so far set up.
---@param what string
function Sheet:plot(what) self:add("plot %s", what) end

---@return string  # SVG
function Sheet:svg()
  self:add("unset multiplot")
  local svg = program.run("gnuplot", "-d", table.concat(self.script, "\n") .. "\n")
  return (svg:gsub("%]%]>", "]]&gt;")) -- the one thing in a text that XML does not allow and gnuplot leaves as it is
end

-- ---- axes --------------------------------------------------------------------------------------------------------------

---The next of 1, 2, 5, 10, 20, ... so that what is left of numbers are round ones.
---@param stride number
---@return integer
function gnuplot.round_stride(stride)
  local power = 10 ^ math.max(0, math.floor(math.log10(stride)))
  for _, factor in ipairs { 1, 2, 5 } do
    if power * factor >= stride then return power * factor end
  end
  return power * 10
end

---How labels find room along a horizontal axis where each has `room` pixels: flat, turned, or every `stride`th one.
---@param list string[]
---@param room number
---@param may_skip boolean  some may be left out
---@return { turned: boolean, stride: integer, height: number, overhang: number }  # pixels below, and left of the axis
function gnuplot.fit(list, room, may_skip)
  local longest, share, stride = labels.most_pixels(list, FONT), 0.5, 1
  local turned = longest + 8 > room and not may_skip
  if turned then
    share, stride = SLOPE, math.max(1, math.ceil(17 / room))
  elseif longest + 8 > room then
    stride = gnuplot.round_stride((longest + 8) / room)
  end
  local overhang = 0
  for i = 1, #list, stride do overhang = math.max(overhang, labels.pixels(list[i], FONT) * share - (i - 0.5) * room) end
  return { turned = turned, stride = stride, height = turned and longest * SLOPE + 16 or 20, overhang = overhang }
end

---Places for `ticks`: i - 1 and the label, every `stride`th.
---@param list string[]
---@param stride integer
---@return table
function gnuplot.places(list, stride)
  local places = {}
  for i = 1, #list, stride do places[#places + 1] = { i - 1, list[i] } end
  return places
end

return gnuplot
