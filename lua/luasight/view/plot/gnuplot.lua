--- Draws pictures with gnuplot. A sheet is a picture's script for gnuplot: commands are added to the script, and running it
--- returns an SVG.
---
--- Positions on a sheet are in pixels from its top left corner. The margins are always set, from measured widths of the
--- texts beside the axes, so that the position of each part of a picture is known without asking gnuplot.
local labels = require "luasight.view.plot.labels"
local program = require "luasight.view.plot.program"

local gnuplot = {}

local FONT, SMALL, TITLE = 12, 11, 15 -- sizes of fonts in pixels
local SLOPE = 0.71 -- a text turned by 45 degrees is as high and as wide as this share of its length
gnuplot.FONT, gnuplot.SMALL = FONT, SMALL

---@class luasight.Sheet  a picture for gnuplot
---@field width number    in pixels
---@field height number   in pixels
---@field theme luasight.Theme
---@field script string[]  the commands for gnuplot
---@field blocks integer  the number of blocks of data in the script
local Sheet = {}
Sheet.__index = Sheet

---Makes an empty sheet of the given size in pixels.
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

---Adds a command for gnuplot. An argument for `%s` must be a result of `quote`, a colour or a fixed word, and never a text of
---the user, because gnuplot's commands can run programs.
---@param format string
---@param ... any
function Sheet:add(format, ...)
  self.script[#self.script + 1] = select("#", ...) > 0 and format:format(...) or format
end

---Quotes a text for gnuplot in single quotes, inside which only the single quote has a meaning: the text is cut there, and the
---parts are joined with a quote in double quotes. (A doubled single quote does not work at the beginning of a text.)
---@param s string
---@return string
function gnuplot.quote(s) return "'" .. labels.plain(s):gsub("'", [[' . "'" . ']]) .. "'" end

local quote = gnuplot.quote

---Adds rows of numbers to the script as a block of data; returns gnuplot's name of the block.
---@param rows number[][]
---@return string
function Sheet:data(rows)
  self.blocks = self.blocks + 1
  local name = "$d" .. self.blocks
  self:add("%s << END", name)
  for _, row in ipairs(rows) do
    local cells = {}
    for i, v in ipairs(row) do cells[i] = (v ~= v or v - v ~= 0) and "NaN" or ("%.15g"):format(v) end
    self:add("%s", table.concat(cells, " "))
  end
  self:add("END")
  return name
end

---Begins a field, which is a part of the sheet with axes of its own; the settings of the previous field are reset.
---@param left number
---@param top number
---@param width number
---@param height number
---@param x number[]  the numbers at the left and the right end of the horizontal axis
---@param y number[]  the numbers at the bottom and the top of the vertical axis
function Sheet:field(left, top, width, height, x, y)
  local theme = self.theme
  self:add("reset")
  self:add("set encoding utf8")
  self:add("unset key")
  self:add("set lmargin at screen %.6f", left / self.width)
  self:add("set rmargin at screen %.6f", (left + width) / self.width)
  self:add("set tmargin at screen %.6f", 1 - top / self.height)
  self:add("set bmargin at screen %.6f", 1 - (top + height) / self.height)
  self:add("set xrange [%.15g:%.15g]", x[1], x[2])
  self:add("set yrange [%.15g:%.15g]", y[1], y[2])
  self:add("set border lc rgb '%s' lw 1", theme.ink)
  self:add("set style fill solid 1 noborder")
  self:add("unset xtics")
  self:add("unset ytics")
  self:add("unset colorbox")
end

---Writes labels along an axis of the field.
---@param axis "x"|"y"
---@param places { [1]: number, [2]: string }[]  for each label the number on the axis, and the text
---@param options? { turned: boolean?, marks: boolean?, size: number? }  turned: by 45 degrees; marks: short lines at the
---  axis
function Sheet:ticks(axis, places, options)
  options = options or {}
  local parts = {}
  for i, place in ipairs(places) do
    -- gnuplot reads a label as a format for printf, so each % in the label is doubled.
    parts[i] = ("%s %.15g"):format(quote((place[2]:gsub("%%", "%%%%"))), place[1])
  end
  self:add("set %stics %s nomirror %s font ',%d' textcolor rgb '%s' (%s)", axis, options.marks and "out scale 0.5" or "scale 0",
    options.turned and "rotate by 45 right" or "norotate", options.size or FONT, self.theme.ink, table.concat(parts, ", "))
end

---Writes a text at (x, y): in pixels of the sheet or, with the option `inside`, in numbers of the field's axes.
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
---@param middle number  the horizontal position of the title's middle, in pixels
function Sheet:title(text, middle)
  if text then self:label(text, middle, 20, { size = TITLE }) end
end

---Returns how much height a picture keeps free for its title.
---@param text string?
---@return number  # the height in pixels that a title needs; without one, the margin at the top
function gnuplot.title_height(text) return text and 40 or 16 end

---Returns how wide a picture must be for its title.
---@param text string?
---@return number  # the width in pixels that a title needs; 0 without a title
function gnuplot.title_width(text) return text and labels.pixels(text, TITLE) + 24 or 0 end

local LONGEST = 48 -- the most characters in the name of a vertical axis

---Writes the name of a vertical axis, turned upright, within the height of the sheet.
---@param text string?
---@param x number
---@param middle number  the vertical position of the name's middle, in pixels
function Sheet:upright(text, x, middle)
  if not text then return end
  local half = gnuplot.upright_height(text) / 2
  local y = math.max(half, math.min(self.height - half, middle))
  self:label(labels.cut(labels.plain(text), LONGEST), x, y, { turned = true })
end

---Returns how high a picture must be for the name of its vertical axis, which is turned upright.
---@param text string?
---@return number  # the height in pixels that the upright name of a vertical axis needs
function gnuplot.upright_height(text)
  return text and labels.pixels(labels.cut(labels.plain(text), LONGEST), FONT) + 12 or 0
end

---Sets gnuplot's palette to the colours of a scale, with which later commands can draw (`lc palette`).
---@param scale luasight.Scale
function Sheet:palette(scale)
  local stops, parts = self.theme[scale.kind], {}
  for i, colour in ipairs(stops) do parts[i] = ("%d '%s'"):format(i - 1, colour) end
  self:add("set palette defined (%s)", table.concat(parts, ", "))
  self:add("set cbrange [%.15g:%.15g]", scale.low, scale.high)
end

---Draws a bar with the colours of a scale, and numbers beside the bar.
---@param scale luasight.Scale
---@param left number
---@param top number
---@param height number
---@param write fun(v: number): string  returns a number as text
function Sheet:colour_bar(scale, left, top, height, write)
  local marks, parts = scale:marks(), {}
  for i, v in ipairs(marks) do
    if i ~= 2 or height >= 54 then parts[#parts + 1] = ("%s %.15g"):format(quote(scale:text(v, write)), v) end
  end
  self:add("set colorbox vertical user origin screen %.6f, screen %.6f size screen %.6f, screen %.6f border", left / self.width,
    1 - (top + height) / self.height, 12 / self.width, height / self.height)
  self:add("set cbtics scale 0 font ',%d' textcolor rgb '%s' (%s)", SMALL, self.theme.ink, table.concat(parts, ", "))
end

---Adds gnuplot's command `plot`, which draws with the settings made so far.
---@param what string  the arguments of the command
function Sheet:plot(what) self:add("plot %s", what) end

---Runs gnuplot on the commands of the sheet, and returns the picture.
---@return string  # SVG
function Sheet:svg()
  self:add("unset multiplot")
  local svg = program.run("gnuplot", "-d", table.concat(self.script, "\n") .. "\n")
  return (svg:gsub("%]%]>", "]]&gt;")) -- gnuplot leaves this sequence in texts, but XML forbids it
end

-- ---- axes --------------------------------------------------------------------------------------------------------------

---Returns the smallest of 1, 2, 5, 10, 20, ... that is not below a number. Where only every 5th or 10th label of an axis is
---written, for example, the labels are those of round numbers.
---@param stride number
---@return integer
function gnuplot.round_stride(stride)
  local power = 10 ^ math.max(0, math.floor(math.log10(stride)))
  for _, factor in ipairs { 1, 2, 5 } do
    if power * factor >= stride then return power * factor end
  end
  return power * 10
end

---Returns how labels fit along a horizontal axis where each label has `room` pixels: all of them flat, all turned by 45
---degrees, or only every `stride`th label.
---@param list string[]
---@param room number
---@param may_skip boolean  whether some labels may be left out
---@return { turned: boolean, stride: integer, height: number, overhang: number }  # height and overhang are the pixels that
---  the labels need below the axis and left of its beginning
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

---Returns the labels to write along an axis, in the form that Sheet:ticks takes: { i - 1, list[i] } for every `stride`th i.
---@param list string[]
---@param stride integer
---@return table
function gnuplot.places(list, stride)
  local places = {}
  for i = 1, #list, stride do places[#places + 1] = { i - 1, list[i] } end
  return places
end

return gnuplot
