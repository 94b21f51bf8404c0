--- The colours of pictures: a light and a dark theme, scales that map numbers to colours, and the colours that a terminal
--- can show.
local numbers = require "luasight.view.plot.numbers"
local system = require "luasight.ffi.system"

local colours = {}

-- ---- themes ------------------------------------------------------------------------------------------------------------

---@class luasight.Theme  the colours of a picture, each as "#rrggbb"
---@field paper string       the background
---@field ink string         the colour of text and axes
---@field faint string       the colour of grids
---@field none string        the colour of a cell that has no number
---@field series string[]    the colours of the first, second, ... series of lines or bars
---@field accents table<string, string>  the colour of each kind of node in trees and graphs
---@field sequential string[]  the colours of a sequential scale, from the lowest number to the highest
---@field diverging string[]   the colours of a diverging scale, from the most negative number over zero to the highest

---@type table<string, luasight.Theme>
colours.themes = {
  light = {
    paper = "#ffffff", ink = "#222222", faint = "#dddddd", none = "#bdbdbd",
    series = { "#1f6feb", "#d1495b", "#2a9d5c", "#e08e0b", "#7b4fb5", "#4a4a4a" },
    accents = { module = "#eef3fb", frame = "#9db7de", point = "#cfe2ff", edit = "#ffd5b8", saved = "#c9efd5",
      plain = "#f4f4f4" },
    sequential = { "#ffffff", "#b5d3fb", "#1f6feb", "#0a2a66" },
    diverging = { "#6d0c1c", "#d1495b", "#f3c4ca", "#f7f7f7", "#b9d5fb", "#1f6feb", "#0a2a66" },
  },
  dark = {
    paper = "#14171c", ink = "#e6e6e6", faint = "#363b44", none = "#5a5a5a",
    series = { "#58a6ff", "#ff7b8a", "#4cc38a", "#f0b429", "#b794f6", "#b0b0b0" },
    accents = { module = "#1c222b", frame = "#46566e", point = "#1f3f73", edit = "#7a3d12", saved = "#1d5a38",
      plain = "#2a2e35" },
    sequential = { "#1b2028", "#1d4380", "#3f8cff", "#cfe4ff" },
    diverging = { "#ffc2ca", "#e0566a", "#5c2029", "#262b33", "#1d4380", "#3f8cff", "#cfe4ff" },
  },
}

---Returns the red, green and blue parts, from 0 to 255, of a colour such as "#2a9d8f".
---@param hex string
---@return integer r, integer g, integer b
local function rgb(hex)
  return tonumber(hex:sub(2, 3), 16), tonumber(hex:sub(4, 5), 16), tonumber(hex:sub(6, 7), 16)
end

-- ---- scales ------------------------------------------------------------------------------------------------------------

---@class luasight.Scale  maps numbers to colours
---@field low number
---@field high number
---@field kind "sequential"|"diverging"
---@field below boolean  whether numbers lie below the lowest of the scale; they have its colour
---@field above boolean  whether numbers lie above the highest of the scale
local Scale = {}
Scale.__index = Scale

---Returns a scale for numbers from low to high. Where low is negative, the scale is by default a diverging one, which has zero
---in its middle.
---@param low number
---@param high number
---@param options { range: number[]?, colours: string? }
---@return luasight.Scale
function colours.scale(low, high, options)
  local lowest, highest = low, high
  if options.range then low, high = options.range[1], options.range[2] end
  local kind = options.colours or low < 0 and "diverging" or "sequential"
  if kind == "diverging" then
    high = math.max(math.abs(low), math.abs(high))
    low = -high
  end
  if low == high and kind == "diverging" then low, high = -1, 1 end
  low, high = numbers.apart(low, high)
  return setmetatable({ low = low, high = high, kind = kind, below = lowest < low, above = highest > high }, Scale)
end

---Returns the numbers that are written beside the bar of the scale's colours.
---@return number[]
function Scale:marks() return { self.low, (self.low + self.high) / 2, self.high } end

---Returns a number of `marks` as text: with a sign before it where numbers lie beyond this end of the scale.
---@param v number
---@param write fun(v: number): string
---@return string
function Scale:text(v, write)
  return (v == self.low and self.below and "≤ " or v == self.high and self.above and "≥ " or "") .. write(v)
end

---Returns the position of a number on the scale: 0 for the lowest number, 1 for the highest.
---@param v number
---@return number
function Scale:share(v) return math.max(0, math.min(1, (v - self.low) / (self.high - self.low))) end

---Returns the colour of a number as "#rrggbb"; for nan and infinite numbers, the colour of an empty cell.
---@param v number
---@param theme luasight.Theme
---@return string
function Scale:colour(v, theme)
  if not numbers.is_finite(v) then return theme.none end
  local stops = theme[self.kind]
  local at = self:share(v) * (#stops - 1)
  local i = math.min(math.floor(at), #stops - 2)
  local r1, g1, b1 = rgb(stops[i + 1])
  local r2, g2, b2 = rgb(stops[i + 2])
  local function mix(a, b) return math.floor(a + (b - a) * (at - i) + 0.5) end
  return ("#%02x%02x%02x"):format(mix(r1, r2), mix(g1, g2), mix(b1, b2))
end

local function linear(c)
  c = c / 255
  return c <= 0.04045 and c / 12.92 or ((c + 0.055) / 1.055) ^ 2.4
end

---Returns black or white, whichever is easier to read on a colour.
---@param hex string
---@return string
function colours.on(hex)
  local r, g, b = rgb(hex)
  local light = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
  return light > 0.179 and "#000000" or "#ffffff"
end

-- ---- terminals ---------------------------------------------------------------------------------------------------------

---@alias luasight.ColourDepth "true"|"256"|"none"

---Returns which colours standard output can show: "true" (16 million), "256" or "none", as in a pipe or where NO_COLOR is set.
---@return luasight.ColourDepth
function colours.depth()
  local term, no = os.getenv "TERM" or "dumb", os.getenv "NO_COLOR"
  if not system.is_terminal(1) or no and no ~= "" or term == "dumb" then return "none" end
  local more = os.getenv "COLORTERM"
  return (more == "truecolor" or more == "24bit") and "true" or "256"
end

local levels = { 0, 95, 135, 175, 215, 255 }

local function nearest_level(c)
  local best = 1
  for i, level in ipairs(levels) do
    if math.abs(level - c) < math.abs(levels[best] - c) then best = i end
  end
  return best
end

---Returns the number of the nearest of a terminal's 256 colours, which are a cube of 6 x 6 x 6 colours and a row of greys.
---@param hex string
---@return integer
function colours.of_256(hex)
  local r, g, b = rgb(hex)
  local i, j, k = nearest_level(r), nearest_level(g), nearest_level(b)
  local grey = math.max(0, math.min(23, math.floor(((r + g + b) / 3 - 8) / 10 + 0.5)))
  local function far(x, y, z) return (r - x) ^ 2 + (g - y) ^ 2 + (b - z) ^ 2 end
  local shade = 8 + 10 * grey
  if far(shade, shade, shade) < far(levels[i], levels[j], levels[k]) then return 232 + grey end
  return 16 + 36 * (i - 1) + 6 * (j - 1) + (k - 1)
end

local function code(hex, depth, ground)
  if depth == "256" then return ("\27[%d;5;%dm"):format(ground, colours.of_256(hex)) end
  return ("\27[%d;2;%d;%d;%dm"):format(ground, rgb(hex))
end

---Returns a text with the codes that show it in a terminal on a coloured background.
---@param text string
---@param hex string
---@param depth luasight.ColourDepth
---@return string
function colours.paint(text, hex, depth)
  if depth == "none" then return text end
  return code(hex, depth, 48) .. code(colours.on(hex), depth, 38) .. text .. "\27[0m"
end

---Returns a text with the codes that show it in a terminal in a colour.
---@param text string
---@param hex string
---@param depth luasight.ColourDepth
---@return string
function colours.tint(text, hex, depth)
  if depth == "none" then return text end
  return code(hex, depth, 38) .. text .. "\27[0m"
end

return colours
