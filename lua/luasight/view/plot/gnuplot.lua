--- Sheets that gnuplot draws. A sheet is a script of gnuplot: commands are added to it, and running it returns an SVG.
---
--- Positions on a sheet are in pixels from its top left corner. The margins are always set, from measured widths of the
--- texts beside the axes, so that the position of each part is known without asking gnuplot.
local labels = require "luasight.view.plot.labels"
local program = require "luasight.view.plot.program"

local gnuplot = {}

local FONT, SMALL, TITLE = 12, 11, 15 -- sizes of letters in pixels
local SLOPE = 0.71 -- the height and width of a text turned by 45 degrees, as parts of its length
gnuplot.FONT, gnuplot.SMALL = FONT, SMALL

---@class luasight.Sheet
---@field width number
---@field height number
---@field theme luasight.Theme
---@field script string[]
---@field blocks integer  the number of blocks of data in the script
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

---Adds a command. An argument for `%s` may only be a result of `quote`, a colour or a fixed word, because gnuplot can run
---programs.
---@param format string
---@param ... any
function Sheet:add(format, ...)
  self.script[#self.script + 1] = select("#", ...) > 0 and format:format(...) or format
end

---Quotes a text for gnuplot. Only the quote has a meaning inside single quotes, so it is put between two texts that are
---joined. (A doubled quote would mean the same, but not at the beginning of a text.)
---@param s string
---@return string
function gnuplot.quote(s) return "'" .. labels.plain(s):gsub("'", [[' . "'" . ']]) .. "'" end

local quote = gnuplot.quote

---Adds rows of numbers as a block of data; returns the name of the block.
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

---Begins a field with axes; the settings of the previous field are reset.
---@param left number
---@param top number
---@param width number
---@param height number
---@param x number[]  the lowest and the highest number
---@param y number[]  the numbers at the bottom and at the top
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

---Writes labels along an axis.
---@param axis "x"|"y"
---@param places { [1]: number, [2]: string }[]
---@param options? { turned: boolean?, marks: boolean?, size: number? }  turned: by 45 degrees; marks: short lines at the
---  axis
function Sheet:ticks(axis, places, options)
  options = options or {}
  local parts = {}
  for i, place in ipairs(places) do
    parts[i] = ("%s %.9g"):format(quote((place[2]:gsub("%%", "%%%%"))), place[1]) -- gnuplot takes a label as a format
  end
  self:add("set %stics %s nomirror %s font ',%d' textcolor rgb '%s' (%s)", axis, options.marks and "out scale 0.5" or "scale 0",
    options.turned and "rotate by 45 right" or "norotate", options.size or FONT, self.theme.ink, table.concat(parts, ", "))
end

---Writes a text at a position of the sheet, or with `inside` at a position of the current field.
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

---Writes the title of the sheet.
---@param text string?
---@param middle number
function Sheet:title(text, middle)
  if text then self:label(text, middle, 20, { size = TITLE }) end
end

---@param text string?
---@return number  # the pixels that a title takes at the top
function gnuplot.title_height(text) return text and 40 or 16 end

---@param text string?
---@return number  # the pixels that a title needs horizontally
function gnuplot.title_width(text) return text and labels.pixels(text, TITLE) + 24 or 0 end

local LONGEST = 48 -- the largest number of columns for the name of an upright axis

---Writes the name of an axis upright, cut to the height of the sheet.
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
---@return number  # the pixels that the upright name of an axis takes
function gnuplot.upright_height(text)
  return text and labels.pixels(labels.cut(labels.plain(text), LONGEST), FONT) + 12 or 0
end

---Sets the palette of a scale, with which later commands draw (`lc palette`).
---@param scale luasight.Scale
function Sheet:palette(scale)
  local stops, parts = self.theme[scale.kind], {}
  for i, colour in ipairs(stops) do parts[i] = ("%d '%s'"):format(i - 1, colour) end
  self:add("set palette defined (%s)", table.concat(parts, ", "))
  self:add("set cbrange [%.9g:%.9g]", scale.low, scale.high)
end

---Draws the bar of colours of a scale, with numbers beside it.
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

---Adds the command that draws a plot with the settings made so far.
---@param what string
function Sheet:plot(what) self:add("plot %s", what) end

---@return string  # SVG
function Sheet:svg()
  self:add("unset multiplot")
  local svg = program.run("gnuplot", "-d", table.concat(self.script, "\n") .. "\n")
  return (svg:gsub("%]%]>", "]]&gt;")) -- gnuplot leaves this sequence as it is, but XML forbids it in a text
end

-- ---- axes --------------------------------------------------------------------------------------------------------------

---Returns the next of 1, 2, 5, 10, 20, ... at or above a number, so that the labels that are kept are at round numbers.
---@param stride number
---@return integer
function gnuplot.round_stride(stride)
  local power = 10 ^ math.max(0, math.floor(math.log10(stride)))
  for _, factor in ipairs { 1, 2, 5 } do
    if power * factor >= stride then return power * factor end
  end
  return power * 10
end

---Returns how labels fit along a horizontal axis where each has `room` pixels: flat, turned, or only every `stride`th
---label.
---@param list string[]
---@param room number
---@param may_skip boolean  whether some labels may be left out
---@return { turned: boolean, stride: integer, height: number, overhang: number }  # the pixels below the axis and left of
---  it
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

---Returns the places for `ticks`: for every `stride`th label i, the number i - 1 and the label.
---@param list string[]
---@param stride integer
---@return table
function gnuplot.places(list, stride)
  local places = {}
  for i = 1, #list, stride do places[#places + 1] = { i - 1, list[i] } end
  return places
end

return gnuplot
