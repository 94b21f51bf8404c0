-- Draws a plot as SVG: a white sheet, round ticks, one coloured line with points for each series.
local svg = {}

local width, height = 640, 380
local left, top, right, bottom = 70, 50, 24, 64
local colours = { "#1f6feb", "#d1495b", "#2a9d5c", "#e08e0b", "#7b4fb5", "#4a4a4a" }

---@param s string
---@return string
function svg.escape(s)
  return (s:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\""] = "&quot;" }))
end

local function label(x, y, anchor, size, content, more)
  return ('<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d"%s>%s</text>')
    :format(x, y, anchor, size, more or "", svg.escape(content))
end

local function segments(line, x_of, y_of)
  local paths, current = {}, nil
  for i = 1, #line do
    local v = line[i]
    if type(v) == "number" and v == v and math.abs(v) < math.huge then
      if not current then
        current = {}
        paths[#paths + 1] = current
      end
      current[#current + 1] = ("%.1f,%.1f"):format(x_of(i), y_of(v))
    else
      current = nil
    end
  end
  return paths
end

local function draw_axes(plot, add, x_of, y_of)
  for _, tick in ipairs(plot.ticks) do
    local y = y_of(tick)
    add(('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e3e3e3"/>'):format(left, y, width - right, y))
    add(label(left - 8, y + 4, "end", 12, plot.number(tick)))
  end
  add(('<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#555"/>')
    :format(left, height - bottom, width - right, height - bottom))
  local count, longest = plot:count(), 1
  for i = 1, count do longest = math.max(longest, #plot:label(i)) end
  local room = (width - left - right) / math.max(count - 1, 1)
  local stride = math.max(1, math.ceil((longest * 7 + 8) / room)) -- 7 px a letter
  for i = 1, count, stride do
    add(label(x_of(i), height - bottom + 18, "middle", 12, plot:label(i)))
  end
end

---@param plot Plot
---@return string
function svg.draw(plot)
  local options, count = plot.options, plot:count()
  local inner_width, inner_height = width - left - right, height - top - bottom
  local function x_of(i)
    return left + (count == 1 and 0.5 or 0.03 + (i - 1) / (count - 1) * 0.94) * inner_width
  end
  local function y_of(v) return top + (plot.high - v) / (plot.high - plot.low) * inner_height end
  local out = {}
  local function add(line) out[#out + 1] = line end

  add(('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d"'
    .. ' font-family="sans-serif" fill="#222">'):format(width, height, width, height))
  add(('<rect width="%d" height="%d" fill="#fff"/>'):format(width, height))
  if options.title then add(label(width / 2, 26, "middle", 16, options.title, ' font-weight="bold"')) end
  draw_axes(plot, add, x_of, y_of)
  if options.x then add(label(left + inner_width / 2, height - bottom + 38, "middle", 13, options.x)) end
  if options.y then
    local y = top + inner_height / 2
    add(label(18, y, "middle", 13, options.y, (' transform="rotate(-90 18 %.1f)"'):format(y)))
  end
  for k, line in ipairs(plot.series) do
    local colour = colours[(k - 1) % #colours + 1]
    for _, points in ipairs(segments(line, x_of, y_of)) do
      add(('<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5" stroke-linejoin="round"/>')
        :format(table.concat(points, " "), colour))
      for _, point in ipairs(points) do
        local x, y = point:match("(.*),(.*)")
        if count <= 60 then add(('<circle cx="%s" cy="%s" r="4" fill="%s"/>'):format(x, y, colour)) end
      end
    end
    if options.legend and options.legend[k] then
      local x = left + (k - 1) * inner_width / #plot.series
      add(('<circle cx="%.1f" cy="%d" r="5" fill="%s"/>'):format(x + 6, height - 14, colour))
      add(label(x + 16, height - 10, "start", 12, options.legend[k]))
    end
  end
  add("</svg>")
  return table.concat(out, "\n") .. "\n"
end

return svg
