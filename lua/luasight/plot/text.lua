-- Draws a plot with braille dots (2 x 4 in a character) for the terminal.
local bit = require "bit"

local text = {}

local dot = { [0] = { [0] = 0x01, 0x02, 0x04, 0x40 }, { [0] = 0x08, 0x10, 0x20, 0x80 } }
local markers = { "●", "○", "◆", "◇", "■", "□" }

local function braille(mask)
  if mask == 0 then return " " end
  return string.char(0xe2, 0xa0 + bit.rshift(mask, 6), 0x80 + bit.band(mask, 63)) -- U+2800 + mask in UTF-8
end

-- Characters, not bytes, in UTF-8 text.
local function width_of(s)
  return select(2, s:gsub("[^\128-\191]", ""))
end

local function right(s, width)
  return (" "):rep(width - width_of(s)) .. s
end

local function centred(s, width)
  return (" "):rep(math.max(0, math.floor((width - width_of(s)) / 2))) .. s
end

local function draw_lines(plot, width, height)
  local mask, sign = {}, {}
  for row = 0, height - 1 do mask[row], sign[row] = {}, {} end
  local count = plot:count()
  local function column(i) return count == 1 and width - 1 or (i - 1) / (count - 1) * (width * 2 - 1) end
  local function line_of(v) return (plot.high - v) / (plot.high - plot.low) * (height * 4 - 1) end
  local function set(x, y)
    x, y = math.floor(x + 0.5), math.floor(y + 0.5)
    if y < 0 or y >= height * 4 then return end
    local row, col = math.floor(y / 4), math.floor(x / 2)
    mask[row][col] = bit.bor(mask[row][col] or 0, dot[x % 2][y % 4])
    return row, col
  end
  for k, line in ipairs(plot.series) do
    local last_x, last_y
    for i = 1, #line do
      local v = line[i]
      local x, y
      if type(v) == "number" and v == v and math.abs(v) < math.huge then
        x, y = column(i), line_of(v)
        if last_x then
          local steps = math.ceil(math.max(math.abs(x - last_x), math.abs(y - last_y), 1))
          for s = 0, steps do set(last_x + (x - last_x) * s / steps, last_y + (y - last_y) * s / steps) end
        end
        local row, col = set(x, y)
        if row and count <= width / 2 then sign[row][col] = markers[(k - 1) % #markers + 1] end
      end
      last_x, last_y = x, y
    end
  end
  return mask, sign
end

-- Labels under the points, every second or third or ... one where all do not fit.
local function label_row(plot, width)
  local row, count, free, longest = "", plot:count(), 0, 1
  for i = 1, count do longest = math.max(longest, width_of(plot:label(i))) end
  for i = 1, count, math.ceil(count * (longest + 2) / (width + longest)) do
    local label = plot:label(i)
    local middle = count == 1 and width / 2 or (i - 1) / (count - 1) * (width - 1)
    local at = math.max(0, math.floor(middle - width_of(label) / 2 + 0.5))
    at = math.max(0, math.min(at, width - width_of(label)))
    if at >= free then
      row = row .. (" "):rep(at - width_of(row)) .. label
      free = at + width_of(label) + 1
    end
  end
  return row
end

---@param plot Plot
---@return string
function text.draw(plot)
  local options = plot.options
  local width, height = options.width or 64, options.height or 11
  local mask, sign = draw_lines(plot, width, height)
  local at_row, margin = {}, 0
  for _, tick in ipairs(plot.ticks) do
    local row = math.floor((plot.high - tick) / (plot.high - plot.low) * (height - 1) + 0.5)
    at_row[row] = plot.number(tick)
    margin = math.max(margin, #at_row[row])
  end

  local out = {}
  local function add(line) out[#out + 1] = (line:gsub("%s+$", "")) end
  local function under(line) add((" "):rep(margin + 2) .. line) end
  if options.title then under(centred(options.title, width)) end
  if options.y then add(right("", margin) .. "  " .. options.y) end
  for row = 0, height - 1 do
    local cells = {}
    for col = 0, width - 1 do cells[#cells + 1] = sign[row][col] or braille(mask[row][col] or 0) end
    add(right(at_row[row] or "", margin) .. (at_row[row] and " ┤" or " │") .. table.concat(cells))
  end
  add((" "):rep(margin) .. " └" .. ("─"):rep(width))
  under(label_row(plot, width))
  if options.x then under(centred(options.x, width)) end
  if options.legend then
    local names = {}
    for k, name in ipairs(options.legend) do names[k] = markers[(k - 1) % #markers + 1] .. " " .. name end
    under(centred(table.concat(names, "   "), width))
  end
  return table.concat(out, "\n") .. "\n"
end

return text
