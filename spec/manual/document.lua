--- Documents whose Lua blocks are tests: README.md and the pages of docs/.
---
--- A block marked `lua` that requires luasight begins a script; blocks that do not go on with the script above. Each
--- `--> text` is one printed line of its block, in order; one that ends in `...` gives only how the line begins. A line with
--- `--! code` raises an error of that code, and a block marked `text` behind has what the error prints, without file and line.
local document = {}

---@class luasight.Block
---@field from integer    the line of the fence
---@field to integer      the line of the closing fence
---@field kind string     what stands behind the fence: "lua", "text", "sh", ""
---@field lines string[]

---@param path string
---@return string[]
function document.lines(path)
  local list, file = {}, assert(io.open(path, "rb"))
  for line in file:lines() do list[#list + 1] = line end
  file:close()
  return list
end

---The fenced blocks of a document.
---@param path string
---@return luasight.Block[]
function document.blocks(path)
  local blocks, block = {}, nil
  for number, line in ipairs(document.lines(path)) do
    local kind = line:match "^```(.-)%s*$"
    if kind and block then
      block.to = number
      blocks[#blocks + 1], block = block, nil
    elseif kind then
      block = { from = number, kind = kind, lines = {} }
    elseif block then
      block.lines[#block.lines + 1] = line
    end
  end
  assert(not block, path .. " ends inside a block")
  return blocks
end

---The scripts of a document, each a list of blocks.
---@param path string
---@return luasight.Block[][]
function document.scripts(path)
  local scripts, last = {}, nil
  for _, block in ipairs(document.blocks(path)) do
    if block.kind == "lua" then
      local text = table.concat(block.lines, "\n")
      if text:find 'require%s*%(?%s*"luasight"' or #scripts == 0 then scripts[#scripts + 1] = {} end
      table.insert(scripts[#scripts], block)
      last = block
    elseif last and block.kind == "text" and last.to < block.from then
      last.said, last = block.lines, nil
    end
  end
  return scripts
end

---What the script as a whole is made of.
---@param script luasight.Block[]
---@return string
function document.text(script)
  local parts = {}
  for i, block in ipairs(script) do parts[i] = table.concat(block.lines, "\n") end
  return table.concat(parts, "\n")
end

local function matches(block, pattern)
  local found = {}
  for i, line in ipairs(block.lines) do
    local text = line:match(pattern)
    if text then found[#found + 1] = { line = block.from + i, text = text } end
  end
  return found
end

---Where a block says that it raises, and the code; nil where it does not.
---@param block luasight.Block
---@return integer? line, string? code
function document.raises(block)
  local marks = matches(block, "%-%-!%s*(%w+)%s*$")
  if marks[1] then return marks[1].line, marks[1].text end
end

---The lines that a block prints as it says.
---@param block luasight.Block
---@return string[]
function document.expected(block)
  local lines = {}
  for i, mark in ipairs(matches(block, "%-%->%s?(.-)%s*$")) do lines[i] = mark.text end
  return lines
end

---The script as one chunk in which every line keeps its number; `__enter` is called where a block begins.
local function chunk_of(script, path)
  local lines, last = {}, 0
  for n = 1, script[#script].to do lines[n] = "" end
  for i, block in ipairs(script) do
    local fails = document.raises(block) ~= nil
    lines[block.from] = ("__enter(%d)%s"):format(i, fails and " __fails(function()" or "")
    for k, line in ipairs(block.lines) do lines[block.from + k] = line end
    if fails then lines[block.to] = "end)" end
    last = block.to
  end
  return assert(loadstring(table.concat(lines, "\n", 1, last), "@" .. path))
end

---What a block of a script did.
---@class luasight.Ran
---@field printed string[]
---@field problem any       what it raised, where it says that it raises; false where it did not

---Runs a script; gives what each of its blocks did.
---@param path string
---@param script luasight.Block[]
---@return luasight.Ran[]
function document.run(path, script)
  local ran, now = {}, nil
  local environment = setmetatable({
    __enter = function(i)
      now = { printed = {} }
      ran[i] = now
    end,
    __fails = function(body)
      local ok, problem = pcall(body)
      now.problem = not ok and problem
    end,
    print = function(...)
      local parts = {}
      for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
      for line in (table.concat(parts, "\t") .. "\n"):gmatch "(.-)[ \t]*\n" do now.printed[#now.printed + 1] = line end
    end,
  }, { __index = _G })
  setfenv(chunk_of(script, path), environment)()
  return ran
end

---Where an expected line gives only a beginning that the real line has, the expected line; else the real one.
---@param expected string?
---@param real string
---@return string
function document.as_expected(expected, real)
  local start = expected and expected:match "^(.*)%.%.%.$"
  return start and real:sub(1, #start) == start and expected or real
end

return document
