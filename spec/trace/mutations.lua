-- Every part of a JSON text, changed in turn.
-- luacheck: ignore 631
local mutations = {}

local replacements = { "null", "true", "-1", "0", "1", "7", "1e300", "0.5", "9223372036854775807", "-9223372036854775808", '""', '"x"', "[]", "{}",
  '[[[[[[[[[[0]]]]]]]]]]', '{"node":0}', '{"node":1000000}', '{"tensor":0}', '{"name":"a","value":1}' }

---All values of a text: where each begins and ends, where its member begins (with its key), and whether it stands in an object.
local function parts_of(text)
  local found = {}
  local function space(at) return text:match("^%s*()", at) end
  local function string_end(at)
    at = at + 1
    while text:sub(at, at) ~= '"' do at = at + (text:sub(at, at) == "\\" and 2 or 1) end
    return at + 1
  end
  local value
  local function inside(at, close, keyed)
    at = space(at + 1)
    while text:sub(at, at) ~= close do
      local member = at
      if keyed then at = space(text:match("^:()", space(string_end(at)))) end
      local from = at
      at = value(at)
      found[#found + 1] = { from = from, to = at - 1, member = member, keyed = keyed }
      at = space(at)
      if text:sub(at, at) == "," then at = space(at + 1) end
    end
    return at + 1
  end
  value = function(at)
    local c = text:sub(at, at)
    if c == "{" then return inside(at, "}", true) end
    if c == "[" then return inside(at, "]", false) end
    if c == '"' then return string_end(at) end
    return text:match("^[^,%]}%s]*()", at)
  end
  value(space(1))
  return found
end

---Iterates over the changed texts and a word on each: every value replaced, left out, given twice; every node number moved on.
---@param text string
---@return fun(): string?, string?
function mutations.of(text)
  return coroutine.wrap(function()
    for _, part in ipairs(parts_of(text)) do
      local before, old, after = text:sub(1, part.from - 1), text:sub(part.from, part.to), text:sub(part.to + 1)
      local function give(new, what) coroutine.yield(new, ("%s at %d"):format(what, part.from)) end
      for _, new in ipairs(replacements) do
        if new ~= old then give(before .. new .. after, new) end
      end
      local member = text:sub(part.member, part.to)
      local without = text:sub(1, part.member - 1) .. after
      give((without:gsub("([%[{]),", "%1"):gsub(",([%]}])", "%1"):gsub(",,", ",")), "missing")
      give(text:sub(1, part.to) .. "," .. member .. after, "twice")
      if old:match "^%d+$" then give(before .. (tonumber(old) + 1) .. after, "one more") end
    end
  end)
end

return mutations
