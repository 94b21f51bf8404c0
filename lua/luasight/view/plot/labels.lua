--- Prepares texts for pictures: makes invisible characters visible, measures the width of texts, and cuts long texts.
local binding = require "luasight.ffi"
local failure = require "luasight.base.error"

local labels = {}

-- ---- characters --------------------------------------------------------------------------------------------------------

---Returns the length in bytes and the code of the UTF-8 character at byte `i`; 1 and no code where the bytes are not UTF-8.
---@param s string
---@param i integer
---@return integer length, integer? code
local function character(s, i)
  local first = s:byte(i)
  local length = first < 0x80 and 1 or first < 0xC2 and 0 or first < 0xE0 and 2 or first < 0xF0 and 3 or first < 0xF5 and 4 or 0
  if length == 0 then return 1 end
  if length == 1 then return 1, first end
  local code = first % 2 ^ (7 - length)
  for k = i + 1, i + length - 1 do
    local byte = s:byte(k)
    if not byte or byte < 0x80 or byte >= 0xC0 then return 1 end
    code = code * 64 + byte % 64
  end
  local least = length == 3 and 0x800 or length == 4 and 0x10000 or 0x80
  if code < least or code > 0x10FFFF or code >= 0xD800 and code < 0xE000 then return 1 end
  return length, code
end

---Iterates over the characters of a text: returns each character's bytes, and its code where the bytes are UTF-8.
---@param s string
---@return fun(): string?, integer?
local function characters(s)
  local i = 1
  return function()
    if i > #s then return nil end
    local length, code = character(s, i)
    i = i + length
    return s:sub(i - length, i - 1), code
  end
end

-- ---- invisible characters ----------------------------------------------------------------------------------------------

local signs = { ["\n"] = "↵", ["\t"] = "⇥", ["\r"] = "␍" }

-- Returns a visible text for a character that a picture cannot hold: a control character, a byte that is not UTF-8, or a
-- character that XML forbids.
local function shown(bytes, code)
  if signs[bytes] then return signs[bytes] end
  if not code or code < 32 or code == 127 then return ("\\x%02X"):format(bytes:byte()) end
  if code >= 0x80 and code < 0xA0 or code == 0xFFFE or code == 0xFFFF then return ("\\u%04X"):format(code) end
  return bytes
end

---Returns a text as one line of characters that can be drawn: line ends and tabs become visible signs, and bytes that are not
---UTF-8 become their numbers.
---@param s any
---@return string
function labels.plain(s)
  local out = {}
  for bytes, code in characters(tostring(s)) do out[#out + 1] = shown(bytes, code) end
  return table.concat(out)
end

---Returns a token as `labels.plain` does, and with dots for the spaces at its beginning and end.
---@param s any
---@return string
function labels.visible(s)
  local text = labels.plain(s)
  local before, middle, after = text:match "^( *)(.-)( *)$"
  return ("·"):rep(#before) .. middle .. ("·"):rep(#after)
end

---Returns `count` labels: the given labels, or else the numbers from 0.
---@param given any[]?
---@param count integer
---@param what string  the name of the option with the labels, for error messages
---@return string[]
function labels.list(given, count, what)
  if given and (type(given) ~= "table" or #given ~= count) then
    failure.raise("shape", ("the option %s of a picture needs a list of %d labels, one for each place%s"):format(what, count,
      type(given) == "table" and (", not of %d"):format(#given) or ""))
  end
  local list = {}
  for i = 1, count do list[i] = labels.visible(given and given[i] or i - 1) end
  return list
end

-- ---- widths ------------------------------------------------------------------------------------------------------------

---Returns the number of columns that a text takes in a terminal.
---@param s string
---@return integer
function labels.columns(s)
  local n = 0
  for _, code in characters(s) do n = n + (code and binding.columns(code) or 1) end
  return n
end

-- The widths of characters as shares of the font's size, measured in the font DejaVu Sans, which is a wide one.
local classes = {
  { "[ ijlI|!.,:;'`]", 0.34 }, { "[ftr%(%)%[%]/\\-]", 0.42 }, { "[mwMW@%%]", 1 }, { "%u", 0.74 }, { ".", 0.64 },
}

local function width_of(bytes)
  for _, class in ipairs(classes) do
    if bytes:find(class[1]) then return class[2] end
  end
end

---Returns the width in pixels that a text has at most in usual sans-serif fonts, since the reader's system chooses the font.
---@param s string
---@param size number  the size of the font in pixels
---@return number
function labels.pixels(s, size)
  local n = 0
  for bytes, code in characters(s) do
    if code and code < 128 then
      n = n + width_of(bytes)
    else
      n = n + (code and binding.columns(code) == 2 and 1.05 or code and binding.columns(code) == 0 and 0 or 0.75)
    end
  end
  return n * size
end

---Returns the width in pixels of the widest text of a list.
---@param list string[]
---@param size number
---@return number
function labels.most_pixels(list, size)
  local most = 0
  for _, s in ipairs(list) do most = math.max(most, labels.pixels(s, size)) end
  return most
end

---Returns the number of terminal columns of the widest text of a list.
---@param list string[]
---@return integer
function labels.most_columns(list)
  local most = 0
  for _, s in ipairs(list) do most = math.max(most, labels.columns(s)) end
  return most
end

-- ---- cutting and filling -----------------------------------------------------------------------------------------------

---Returns the text, cut to at most `most` columns of a terminal.
---@param s string
---@param most integer
---@return string
function labels.cut(s, most)
  if labels.columns(s) <= most then return s end
  local out, used = {}, 0
  for bytes, code in characters(s) do
    used = used + (code and binding.columns(code) or 1)
    if used > most - 1 then break end
    out[#out + 1] = bytes
  end
  return table.concat(out) .. "…"
end

---Returns the texts of a list, each cut to at most `most` columns of a terminal.
---@param list string[]
---@param most integer
---@return string[]
function labels.cut_all(list, most)
  local out = {}
  for i, s in ipairs(list) do out[i] = labels.cut(s, most) end
  return out
end

---Returns the text, filled up with spaces to `width` columns of a terminal.
---@param s string
---@param width integer
---@param side "left"|"right"|"centre"  the side at which the text is
---@return string
function labels.fill(s, width, side)
  local room = math.max(0, width - labels.columns(s))
  local before = side == "right" and room or side == "centre" and math.floor(room / 2) or 0
  return (" "):rep(before) .. s .. (" "):rep(room - before)
end

---Returns the characters of a text as a list; combining characters, such as accents, stay with the character before them.
---@param s string
---@return string[]
function labels.characters(s)
  local list = {}
  for bytes, code in characters(s) do
    if code and binding.columns(code) == 0 and #list > 0 then
      list[#list] = list[#list] .. bytes
    else
      list[#list + 1] = bytes
    end
  end
  return list
end

return labels
