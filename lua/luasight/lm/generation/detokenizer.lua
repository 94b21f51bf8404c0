--- The text of tokens that arrive one by one: parts for a stream, and whether a stop string has just ended a text.
---
--- Each token is decoded together with those before it, since a token may be only a part of a character, and since blanks
--- depend on the preceding text.
local pieces = {}

local UNFINISHED = "\239\191\189$" -- U+FFFD, which decode returns for bytes that are not yet a whole character
local SKIP = { skip_special_tokens = true }

-- ---- streams ---------------------------------------------------------------------------------------------------------

---@class luasight.Pieces
---@field tokenizer any
---@field ids integer[]    the tokens that are decoded together
---@field shown integer    how many of them have been returned as text
local Pieces = {}
Pieces.__index = Pieces

---@param tokenizer any
---@return luasight.Pieces
function pieces.new(tokenizer) return setmetatable({ tokenizer = tokenizer, ids = {}, shown = 0 }, Pieces) end

local function decode(self, n) return n > 0 and self.tokenizer:decode({ unpack(self.ids, 1, n) }, SKIP) or "" end

---Adds a token and returns the text that it completes: "" while a character is not complete, and for special tokens.
---@param id integer
---@param last boolean?  true: no token follows, so incomplete text is returned too
---@return string
function Pieces:add(id, last)
  local ids = self.ids
  ids[#ids + 1] = id
  local before, now = decode(self, self.shown), decode(self, #ids)
  if now:find(UNFINISHED) and not last then return "" end
  local rest = {} -- the tokens of this part are kept, because the next one is decoded behind them
  for i = self.shown + 1, #ids do rest[#rest + 1] = ids[i] end
  self.ids, self.shown = rest, #rest
  return now:sub(#before + 1)
end

-- ---- stop strings ----------------------------------------------------------------------------------------------------

local function common(a, b)
  local n = math.min(#a, #b)
  for i = 1, n do
    if a:byte(i) ~= b:byte(i) then return i - 1 end
  end
  return n
end

---Returns whether a text contains one of the strings, and the last token completed it.
---@param tokenizer any
---@param strings string[]
---@param ids integer[]  the last tokens, `pieces.reach` of them, or all where there are fewer
---@return boolean
function pieces.stops(tokenizer, strings, ids)
  local now = tokenizer:decode(ids)
  local before = #ids > 1 and tokenizer:decode { unpack(ids, 1, #ids - 1) } or ""
  local known = common(before, now)
  for _, stop in ipairs(strings) do
    local from = math.max(1, known - #stop + 2) -- a match that begins here ends behind the known text
    if now:find(stop, from, true) then return true end
  end
  return false
end

---Returns how many of the last tokens `stops` needs.
---@param strings string[]
---@return integer
function pieces.reach(strings)
  local longest = 0
  for _, stop in ipairs(strings) do longest = math.max(longest, #stop) end
  return longest + 1
end

return pieces
