--- Draws comments and error texts of the source by lot, without their files, for a reader who has not seen them:
---
---     luajit tools/words/draw.lua SEED [NUMBER] [FOLDER]
---
--- prints NUMBER (60) comments and NUMBER error texts. A comment is a whole block; one at the end of a line, or right above a
--- declaration, comes with that line. With a FOLDER (`core/trace`, or `.` for all) only that is drawn from, and each text comes
--- with its file and line, for those who mend it. verdicts.md says how to judge.
local seed, number, folder = tonumber(arg[1]), tonumber(arg[2] or 60), arg[3]
if not seed then error("usage: luajit tools/words/draw.lua SEED [NUMBER] [FOLDER]", 0) end

---@param pattern string  files below the folders of the source
---@return string[]
local function files(pattern)
  local list = {}
  local pipe = assert(io.popen("git ls-files core bindings lua models | grep -E '" .. pattern .. "'"))
  for path in pipe:lines() do
    if not folder or folder == "." or path:sub(1, #folder) == folder then list[#list + 1] = path end
  end
  pipe:close()
  return list
end

local comments, errors = {}, {}

local function keep(list, path, line, text) list[#list + 1] = { path = path, line = line, text = text } end

---Whether a comment says something in words; one that only names shapes ("B T C") or types is no sentence to be judged.
local function is_prose(comment)
  local words = 0
  for line in comment:gmatch "[^\n]+" do
    for _ in line:gsub("%-%-%-@%w+%s+%S+%s*%S*", ""):gmatch "%a%a+" do words = words + 1 end
  end
  return words >= 3
end

---The string literals of a call, one behind the other.
local function strings_of(call, between)
  local parts = {}
  for part in call:gsub('\\"', "'"):gmatch '"([^"\n]*)"' do parts[#parts + 1] = part end
  return table.concat(parts, between)
end

local function is_rule(text) return text:find "%-%-%-%-" end -- "---- a heading ----" only divides a file

-- ---- C -----------------------------------------------------------------------------------------------------------------

local function line_at(text, at) return select(2, text:sub(1, at):gsub("\n", "")) + 1 end

---The line that a comment ends, or the one below a comment that has its line for itself.
local function context(text, first, last)
  local begin = text:sub(1, first - 1):match "[^\n]*$"
  if begin:find "%S" then return begin end
  return text:sub(last + 1):match "^[^\n]*\n([^\n]*)" or ""
end

local function read_c(path, text)
  local at = 1
  while true do
    local block, _ = text:find("/*", at, true)
    local line = text:find("//", at, true)
    local quote = text:find('"', at, true)
    local first = math.min(block or math.huge, line or math.huge, quote or math.huge)
    if first == math.huge then break end
    if first == quote and text:sub(quote - 1, quote + 1) == "'\"'" then
      at = quote + 2
    elseif first == quote then
      local i = quote + 1
      while text:sub(i, i) ~= '"' do i = i + (text:sub(i, i) == "\\" and 2 or 1) end
      at = i + 1
    else
      local last
      if first == block then
        last = select(2, text:find("*/", first, true))
      else -- lines that follow each other are one comment
        last = text:find("\n", first, true) - 1
        while text:sub(last + 1):find "^\n%s*//" do last = text:find("\n", last + 2, true) - 1 end
      end
      local comment = text:sub(first, last)
      if not is_rule(comment) and is_prose(comment) then
        keep(comments, path, line_at(text, first), comment .. "\n    with the line: " .. context(text, first, last))
      end
      at = last + 1
    end
  end
  for place, call in text:gmatch "()%f[%w_]([%w_]*fail[%w_]*%b())" do
    local whole = strings_of(call, "")
    if whole:find "%a%s+%a" then keep(errors, path, line_at(text, place), whole) end
  end
end

-- ---- Lua ---------------------------------------------------------------------------------------------------------------

local function read_lua(path, text)
  local block, number_of, lines = nil, 0, {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  local function done(i)
    if block and is_prose(block) then keep(comments, path, number_of, block .. "\n    with the line: " .. (lines[i] or "")) end
    block = nil
  end
  for i, line in ipairs(lines) do
    local whole = line:match "^%s*(%-%-[^%-%w].*)$" or line:match "^%s*(%-%-%-.*)$"
    local at_end = line:match '[^%s"\'%-].-%s(%-%- [^"\']*)$'
    if whole and not is_rule(whole) and not whole:find "luacheck:" then
      if not block then number_of = i end
      block = block and block .. "\n" .. whole or whole
    else
      done(i)
      if at_end and is_prose(at_end) and not at_end:find "luacheck:" then
        keep(comments, path, i, at_end .. "\n    with the line: " .. line)
      end
    end
  end
  for place, call in text:gmatch "()%f[%w_.]([%w_.]*raise%b())" do
    local whole = strings_of(call, " | ")
    if whole:find "%a%s+%a" then keep(errors, path, line_at(text, place), whole) end
  end
end

-- ---- the draw ------------------------------------------------------------------------------------------------------------

local function each(pattern, read)
  for _, path in ipairs(files(pattern)) do
    local file = assert(io.open(path))
    read(path, file:read "*a")
    file:close()
  end
end

each([[\.(c|h|cc)$]], read_c)
each([[\.lua$]], read_lua)

local state = seed
local function random(n) -- the same on every machine
  state = (state * 16807) % 2147483647
  return state % n + 1
end
for _ = 1, 10 do random(1) end

for _, kind in ipairs { { "comments", comments }, { "error texts", errors } } do
  local name, list = kind[1], kind[2]
  print(("==== %d of %d %s"):format(math.min(number, #list), #list, name))
  for i = 1, math.min(number, #list) do
    local item = table.remove(list, random(#list))
    print(("%d. %s%s"):format(i, folder and ("[%s:%d] "):format(item.path, item.line) or "", item.text))
  end
end
