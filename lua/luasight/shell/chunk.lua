--- Compiles a typed line, as an expression or as statements. Local variables of the outermost level are kept for later
--- lines.
local tokens = require "luasight.shell.tokens"

local chunk = {}

local deeper = { ["function"] = 1, ["do"] = 1, ["if"] = 1, ["repeat"] = 1, ["end"] = -1, ["until"] = -1 }

-- Returns the index of the last token of a list of names `a, b, c` that begins at token i.
local function end_of_names(list, i)
  while list[i + 1] and list[i + 1].text == "," and list[i + 2] do i = i + 2 end
  return i
end

---Returns the text with `local x = 1` changed to `x = 1` outside of blocks and functions; lines and columns stay the same.
---@param text string
---@return string
function chunk.without_locals(text)
  local list, depth, parts, at = tokens.scan(text), 0, {}, 1
  for i, token in ipairs(list) do
    if token.kind == "keyword" then
      local next_one = list[i + 1]
      if token.text == "local" and depth == 0 and next_one then
        parts[#parts + 1] = text:sub(at, token.at - 1) .. (" "):rep(5)
        at = token.stop + 1
        if next_one.kind == "name" then
          local last = end_of_names(list, i + 1)
          local behind = list[last + 1]
          if not (behind and behind.text == "=") then
            parts[#parts + 1] = text:sub(at, list[last].stop) .. " = nil"
            at = list[last].stop + 1
          end
        end
      end
      depth = depth + (deeper[token.text] or 0)
    end
  end
  parts[#parts + 1] = text:sub(at)
  return table.concat(parts)
end

---Returns the names of the locals outside of blocks and functions, and the position where the text ends or its outermost
---`return` begins.
---@param text string
---@return string[] names, integer stop
function chunk.locals(text)
  local list, depth, names, seen = tokens.scan(text), 0, {}, {}
  for i, token in ipairs(list) do
    if token.kind == "keyword" then
      if depth == 0 and token.text == "return" then return names, token.at end
      if depth == 0 and token.text == "local" then
        local first = list[i + 1] and list[i + 1].text == "function" and i + 2 or i + 1
        for k = first, end_of_names(list, first), 2 do
          local name = list[k] and list[k].kind == "name" and list[k].text
          if name and not seen[name] then names[#names + 1], seen[name] = name, true end
        end
      end
      depth = depth + (deeper[token.text] or 0)
    end
  end
  return names, #text + 1
end

-- Returns whether a text is only the beginning of a chunk. A string in quotes continues on the next line only behind \ or
-- \z.
local function is_cut(text, problem)
  if not problem or not problem:find "near '<eof>'$" then return false end
  if not problem:find "unfinished string near" then return true end
  return #text:match "\\*$" % 2 == 1 or text:find "\\z%s*$" ~= nil
end

---Loads a text as an expression, or else as statements.
---@param text string
---@return function? f, string? problem, boolean? more  # more: the text is only the beginning of a chunk
function chunk.load(text)
  local expression, first = loadstring("return " .. text:gsub("^%s*=", ""), "=prompt")
  if expression then return expression end
  local statements, second = loadstring(chunk.without_locals(text), "=prompt")
  if statements then return statements end
  return nil, second, is_cut(text, first) or is_cut(text, second)
end

return chunk
