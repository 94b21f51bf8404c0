--- Text of tokens that come one by one: pieces for a stream, and whether a text just came to an end (stop_strings).
---
--- Tokens are decoded together with those before them, since a token may hold part of a character, and since spaces depend
--- on what stands before.
local pieces = {}

local UNFINISHED = "\239\191\189$" -- U+FFFD: what decode gives for bytes that are no whole character yet
local SKIP = { skip_special_tokens = true }

-- ---- streams ---------------------------------------------------------------------------------------------------------

---@class luasight.Pieces
---@field tokenizer any
---@field ids integer[]    those that are decoded together
---@field shown integer    how many of them have been given out
local Pieces = {}
Pieces.__index = Pieces

---@param tokenizer any
---@return luasight.Pieces
function pieces.new(tokenizer) return setmetatable({ tokenizer = tokenizer, ids = {}, shown = 0 }, Pieces) end

local function decode(self, n) return n > 0 and self.tokenizer:decode({ unpack(self.ids, 1, n) }, SKIP) or "" end

---The text that can be shown once a token is there: "" while a character is not whole; special tokens have none.
---@param id integer
---@param last boolean?  no token will follow: what there is comes out
---@return string
function Pieces:add(id, last)
  local ids = self.ids
  ids[#ids + 1] = id
  local before, now = decode(self, self.shown), decode(self, #ids)
  if now:find(UNFINISHED) and not last then return "" end
  local rest = {} -- the tokens of this piece stay, for the next one to stand behind
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

---Whether a text contains one of the strings in such a way that its last token brought the end of it.
---@param tokenizer any
---@param strings string[]
---@param ids integer[]  the last tokens: as many as the longest string has bytes, or all there are
---@return boolean
function pieces.stops(tokenizer, strings, ids)
  local now = tokenizer:decode(ids)
  local before = #ids > 1 and tokenizer:decode { unpack(ids, 1, #ids - 1) } or ""
  local known = common(before, now)
  for _, stop in ipairs(strings) do
    local from = math.max(1, known - #stop + 2) -- where a match must begin to end behind what was known
    if now:find(stop, from, true) then return true end
  end
  return false
end

---How many tokens `stops` has to see.
---@param strings string[]
---@return integer
function pieces.reach(strings)
  local longest = 0
  for _, stop in ipairs(strings) do longest = math.max(longest, #stop) end
  return longest + 1
end

return pieces
