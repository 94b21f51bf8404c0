--- Cuts a Jinja template into plain text and the tokens of its statements and expressions. White space is treated as chat
--- templates expect: a line that has only a statement leaves nothing in the output.
local values = require "luasight.text.jinja.values"

local fail = values.fail

local lexer = {}

local closing = { ["{{"] = "}}", ["{%"] = "%}", ["{#"] = "#}" }
local signs = { "==", "!=", "<=", ">=", "//", "**" }
local escapes = { n = "\n", t = "\t", r = "\r", ["\\"] = "\\", ["'"] = "'", ['"'] = '"', ["\n"] = "" }

local function line_of(text, at)
  local _, n = text:sub(1, at):gsub("\n", "")
  return n + 1
end

local function read_string(text, at)
  local sign, out = text:sub(at, at), {}
  local from = at
  at = at + 1
  while true do
    local c = text:sub(at, at)
    if c == "" then fail("line %d: a string of the template does not end", line_of(text, from)) end
    if c == sign then return table.concat(out), at + 1 end
    if c == "\\" then
      local next = text:sub(at + 1, at + 1)
      local code = text:match("^u(%x%x%x%x)", at + 1)
      if code then
        local n = tonumber(code, 16)
        out[#out + 1] = n < 128 and string.char(n) or n < 2048 and string.char(192 + math.floor(n / 64), 128 + n % 64)
          or string.char(224 + math.floor(n / 4096), 128 + math.floor(n / 64) % 64, 128 + n % 64)
        at = at + 6
      else
        out[#out + 1] = escapes[next] or "\\" .. next
        at = at + 2
      end
    else
      out[#out + 1] = c
      at = at + 1
    end
  end
end

---Reads the tokens of a statement or an expression, from the position `at` to the closing sign `close`, "%}" or "}}".
---Returns the tokens, the position behind the closing sign, and the mark for white space before that sign: "-", "+" or "".
local function read_tokens(text, at, close)
  local tokens, depth, from = {}, 0, at
  while true do
    at = text:find("%S", at)
    if not at then fail("line %d: the template ends before the closing %s", line_of(text, from), close) end
    local c = text:sub(at, at)
    local trim = text:match("^[-+]?", at)
    if depth == 0 and text:sub(at + #trim, at + #trim + 1) == close then return tokens, at + #trim + 2, trim end
    local line = line_of(text, at)
    local name, number = text:match("^[%a_][%w_]*", at), text:match("^%d+%.%d+", at) or text:match("^%d+", at)
    if c == "'" or c == '"' then
      local value, stop = read_string(text, at)
      tokens[#tokens + 1] = { kind = "string", value = value, line = line }
      at = stop
    elseif name then
      tokens[#tokens + 1] = { kind = "name", value = name, line = line }
      at = at + #name
    elseif number then
      tokens[#tokens + 1] = { kind = "number", value = tonumber(number), line = line }
      at = at + #number
    else
      local sign = c
      for _, two in ipairs(signs) do
        if text:sub(at, at + 1) == two then sign = two end
      end
      if not sign:find "^[%[%](){}.,:|=+*/%%~<>-]" and not sign:find "^!=" then
        fail("line %d: the sign %q is not implemented in this version of luasight", line, sign)
      end
      if sign:find "^[%[({]" then depth = depth + 1 elseif sign:find "^[%])}]" then depth = depth - 1 end
      tokens[#tokens + 1] = { kind = "sign", value = sign, line = line }
      at = at + #sign
    end
  end
end

---Adds a text of the template to the list `out`, without white space that the statements beside the text remove. `before` says
---what is removed at the text's beginning, `after` what at its end: "-" removes all white space; "line" removes a line end at
---the beginning and, at the end, the blanks before a statement that begins a line; nil removes nothing.
local function add_text(out, text, before, after)
  if before == "-" then text = text:gsub("^%s+", "")
  elseif before == "line" then text = text:gsub("^\n", "", 1) end
  if after == "-" then text = text:gsub("%s+$", "")
  elseif after == "line" then
    local line = text:match "[ \t]*$"
    local rest = text:sub(1, #text - #line)
    if rest == "" and (#out == 0 or before == "line") or rest:sub(-1) == "\n" then text = rest end
  end
  if text ~= "" then out[#out + 1] = { kind = "text", value = text } end
end

---Cuts a template into its parts: texts, expressions ("{{") and statements ("{%").
---@param text string
---@return table[]  # a list of { kind = "text", value } and { kind = "{{" or "{%", tokens, line }
function lexer.parts(text)
  text = text:gsub("\r\n?", "\n"):gsub("\n$", "")
  local out, at, before = {}, 1, nil
  while true do
    local from = text:find("{[{%%#]", at)
    local open = from and text:sub(from, from + 1)
    local trim = from and text:match("^[-+]?", from + 2)
    local after = trim == "-" and "-" or from and open ~= "{{" and trim ~= "+" and "line" or nil
    if before == "line" and from == at and at > 1 and text:sub(at - 1, at - 1) ~= "\n" and after == "line" then after = nil end
    add_text(out, text:sub(at, from and from - 1), before, after)
    if not from then return out end
    local stop, tokens, last
    if open == "{#" then
      local close = text:find("#}", from + 2, true)
      if not close then fail("line %d: a comment of the template does not end", line_of(text, from)) end
      last, stop = text:sub(close - 1, close - 1), close + 2
    else
      tokens, stop, last = read_tokens(text, from + 2 + #trim, closing[open])
      out[#out + 1] = { kind = open, tokens = tokens, line = line_of(text, from) }
    end
    before = last == "-" and "-" or open ~= "{{" and last ~= "+" and "line" or nil
    at = stop
  end
end

return lexer
