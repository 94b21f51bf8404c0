--- Bar charts: one bar for each number of a list, or, for several lists (series), groups of bars with one of each series.
local colours = require "luasight.view.plot.colours"
local figure = require "luasight.view.plot.figure"
local labels = require "luasight.view.plot.labels"
local line = require "luasight.view.plot.line"
local numbers = require "luasight.view.plot.numbers"

local Bar = figure.class("bar", { "x", "y", "labels", "legend", "range" })

---Makes a bar chart.
---@param values any  a list or tensor of numbers, or several lists (series)
---@param options { title: string?, x: string?, y: string?, labels: string[]?, legend: string[]?, range: number[]? }?
---@return luasight.Plot
function Bar.new(values, options)
  options = figure.options(Bar, options)
  local series = line.series_of(values, "plot.bar")
  local low, high = numbers.range(series, "plot.bar")
  low, high = math.min(low, 0), math.max(high, 0)
  if options.range then low, high = options.range[1], options.range[2] end
  local count = 0
  for _, list in ipairs(series) do count = math.max(count, #list) end
  if options.legend then labels.list(options.legend, #series, "legend") end
  return setmetatable({ options = options, series = series, count = count, ticks = numbers.ticks(low, high),
    low = low, high = high, labels = labels.list(options.labels, count, "labels") }, Bar)
end

---Returns the numbers and labels that the chart shows.
---@return { series: number[][], labels: string[], legend: string[]? }
function Bar:data() return { series = self.series, labels = self.labels, legend = self.options.legend } end

-- ---- in the terminal ---------------------------------------------------------------------------------------------------

local eighths = { "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" }

-- Returns as text a bar that grows to the right, `length` characters long, exact to an eighth of a character.
local function rightward(length)
  local n = math.floor(length * 8 + 0.5)
  return ("█"):rep(math.floor(n / 8)) .. (n % 8 > 0 and eighths[n % 8] or "")
end

-- Returns as text a bar that grows to the left from the right end of `room` characters. Its length is exact to half a
-- character, since Unicode has no eighths of a block at that side.
local function leftward(length, room)
  local n = math.floor(length * 2 + 0.5)
  return labels.fill((n % 2 > 0 and "▐" or "") .. ("█"):rep(math.floor(n / 2)), room, "right")
end

function Bar:_text(depth, width)
  local o, out, series = self.options, {}, colours.themes.light.series
  local list = labels.cut_all(self.labels, 24)
  local beside = labels.most_columns(list)
  local write = numbers.short(math.max(math.abs(self.low), math.abs(self.high)))
  local room = math.max(10, math.min(60, width - beside - 14))
  local low, high = math.min(self.low, 0), math.max(self.high, 0)
  local per = room / (high > low and high - low or 1)
  local before = math.ceil(-low * per)
  if o.title then out[1] = labels.plain(o.title) end
  local axis = o.y and labels.plain(o.y)
  if axis then out[#out + 1] = (" "):rep(beside + 1) .. axis end
  for i = 1, self.count do
    for k, bars in ipairs(self.series) do
      local v = bars[i] or 0 / 0
      local shown = math.max(low, math.min(high, numbers.is_finite(v) and v or 0))
      local text = shown < 0 and leftward(-shown * per, before) .. "│" or (" "):rep(before) .. "│" .. rightward(shown * per)
      out[#out + 1] = ("%s %s %s"):format(labels.fill(k == 1 and list[i] or "", beside, "right"),
        colours.tint(text, series[(k - 1) % #series + 1], depth), write(v))
        .. (o.legend and #self.series > 1 and "  " .. labels.plain(o.legend[k] or "") or "")
    end
  end
  if o.x then out[#out + 1] = labels.plain(o.x) end
  return table.concat(out, "\n") .. "\n"
end

-- ---- as an SVG ---------------------------------------------------------------------------------------------------------

local SHARE = 0.8 -- the share of the horizontal axis that bars cover

function Bar:_draw(theme)
  local k_count = #self.series
  local inner = math.max(420, math.min(1600, self.count * math.max(26, 14 * k_count)))
  local frame = line.frame(self, inner, self.options.labels == nil)
  local sheet = line.sheet(self, frame, theme, { -0.5, self.count - 0.5 })
  local ticks, thickness, parts, spots = self.ticks, SHARE / k_count, {}, {}
  local low, high = ticks[1], ticks[#ticks]
  local function y_of(v) return frame.top + (high - math.max(low, math.min(high, v))) / (high - low) * frame.height end
  for k, bars in ipairs(self.series) do
    local rows = {}
    for i, v in ipairs(bars) do
      local x = i - 1 - SHARE / 2 + (k - 0.5) * thickness
      rows[i] = { x, numbers.is_finite(v) and math.max(low, math.min(high, v)) or v }
      if numbers.is_finite(v) then
        local left = frame.left + (x - thickness / 2 + 0.5) / self.count * inner
        local top, bottom = math.min(y_of(v), y_of(0)), math.max(y_of(v), y_of(0))
        spots[#spots + 1] = { left, top - 3, thickness / self.count * inner, bottom - top + 6, line.spot_text(self, k, i) }
      end
    end
    parts[k] = ("%s using 1:2:(%.6f) with boxes lc rgb '%s' notitle"):format(sheet:data(rows), thickness * 0.94,
      theme.series[(k - 1) % #theme.series + 1])
  end
  if low < 0 and high > 0 then parts[#parts + 1] = ("0 with lines lc rgb '%s' lw 1 notitle"):format(theme.ink) end
  sheet:plot(table.concat(parts, ", "))
  return sheet:svg(), spots
end

return Bar
