--- Splits a Lua text into tokens, as exactly as the shell needs them to know where a statement begins, what is a string, and
--- which brackets are open.
local tokens = {}

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch "%a+" do
  keywords[word] = true
end

---@class luasight.Token  a token of a Lua text
---@field kind "name"|"keyword"|"number"|"string"|"sign"
---@field text string   the token's text; for a string its content, with escapes as they are written
---@field at integer    the position of the token's first byte in the text, from 1
---@field stop integer  the position of the token's last byte
---@field open boolean? true for a string without its closing quote or bracket

---Returns whether a word is a keyword of Lua.
---@param word string
---@return boolean
function tokens.is_keyword(word) return keywords[word] == true end

-- Returns the position of the last byte of a string in quotes that begins at `at`, and whether it has a closing quote.
local function quoted(text, at)
  local quote, i = text:sub(at, at), at + 1
  while true do
    local found = text:find('["\'\\\n]', i)
    if not found then return #text, false end
    local sign = text:sub(found, found)
    if sign == quote then return found, true end
    i = found + (sign == "\\" and 2 or 1)
  end
end

-- Returns the position behind a long bracket such as [==[ that opens at `at`, and its equals signs; nil where there is none.
local function long_start(text, at)
  local level, stop = text:match("^%[(=*)%[()", at)
  return stop, level
end

local function long(text, from, level)
  local _, stop = text:find("]" .. level .. "]", from, true)
  return stop or #text, stop ~= nil
end

local function skip_comment(text, at)
  local from, level = long_start(text, at + 2)
  if from then return (long(text, from, level)) + 1 end
  return (text:find("\n", at, true) or #text) + 1
end

---Returns the tokens of a text without its comments.
---@param text string
---@return luasight.Token[]
function tokens.scan(text)
  local list, at = {}, 1
  local function add(kind, stop, content, open)
    list[#list + 1] = { kind = kind, text = content or text:sub(at, stop), at = at, stop = stop, open = open or nil }
    at = stop + 1
  end
  while true do
    at = text:find("%S", at)
    if not at then return list end
    local from, level = long_start(text, at)
    if text:find("^%-%-", at) then
      at = skip_comment(text, at)
    elseif from then
      local stop, closed = long(text, from, level)
      add("string", stop, text:sub(from, closed and stop - #level - 2 or stop), not closed)
    elseif text:find("^[\"']", at) then
      local stop, closed = quoted(text, at)
      add("string", stop, text:sub(at + 1, closed and stop - 1 or stop), not closed)
    elseif text:find("^[%a_]", at) then
      local word = text:match("^[%w_]+", at)
      add(keywords[word] and "keyword" or "name", at + #word - 1)
    elseif text:find("^%.?%d", at) then
      add("number", at + #text:match("^[%w.]+", at) - 1)
    else
      local sign = text:match("^%.%.%.?", at) or text:match("^[=~<>]=", at) or text:match("^::", at) or text:sub(at, at)
      add("sign", at + #sign - 1)
    end
  end
end

return tokens
