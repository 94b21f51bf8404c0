--- Turns tokens that arrive one by one into text: returns the parts of the text for a stream, and finds out whether a stop
--- string has just ended the text.
---
--- Each token is decoded together with those before it, since a token may be only a part of a character, and since the
--- blanks around a token depend on the preceding text.
local pieces = {}

local UNFINISHED = "\239\191\189$" -- U+FFFD at the end, which decode returns for an incomplete character
local SKIP = { skip_special_tokens = true }

-- ---- streams ---------------------------------------------------------------------------------------------------------

---@class luasight.Pieces  the state of a stream of text
---@field tokenizer any
---@field ids integer[]    the tokens that are decoded together
---@field shown integer    how many of these tokens have been returned as text
local Pieces = {}
Pieces.__index = Pieces

---Makes the state of a stream of text before the first token.
---@param tokenizer any
---@return luasight.Pieces
function pieces.new(tokenizer) return setmetatable({ tokenizer = tokenizer, ids = {}, shown = 0 }, Pieces) end

local function decode(self, n) return n > 0 and self.tokenizer:decode({ unpack(self.ids, 1, n) }, SKIP) or "" end

---Adds a token and returns the new text: "" while the last character is not complete, and for special tokens.
---@param id integer
---@param last boolean?  true: no token follows, so an incomplete character is returned too, as U+FFFD
---@return string
function Pieces:add(id, last)
  local ids = self.ids
  ids[#ids + 1] = id
  local before, now = decode(self, self.shown), decode(self, #ids)
  if now:find(UNFINISHED) and not last then return "" end
  local rest = {} -- the tokens of the new text: the next token is decoded together with these
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

---Returns whether the text of the tokens contains one of the strings such that the string ends in the last token.
---@param tokenizer any
---@param strings string[]
---@param ids integer[]  the last pieces.reach(strings) tokens, or all tokens where there are fewer
---@return boolean
function pieces.stops(tokenizer, strings, ids)
  local now = tokenizer:decode(ids)
  local before = #ids > 1 and tokenizer:decode { unpack(ids, 1, #ids - 1) } or ""
  local known = common(before, now)
  for _, stop in ipairs(strings) do
    local from = math.max(1, known - #stop + 2) -- a match from here on ends in the last token's text
    if now:find(stop, from, true) then return true end
  end
  return false
end

---Returns how many of the last tokens `pieces.stops` needs to find the strings.
---@param strings string[]
---@return integer
function pieces.reach(strings)
  local longest = 0
  for _, stop in ipairs(strings) do longest = math.max(longest, #stop) end
  return longest + 1
end

return pieces
