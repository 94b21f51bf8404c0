--- Sites: numbers for lines of scripts, such as "examples/x.lua:14". Nodes and errors of the core keep the site of the line
--- that recorded the node or led to the error.
---
--- A site is file number * 2^32 + line. Its line is the first line up the call stack that is not in a file of luasight
--- itself.
local getinfo = debug.getinfo

local site = {}

local SHIFT = 2 ^ 32
-- How many files are known by name, and how many numbers they have in turn. Older files are forgotten, since a program may
-- load any number of texts; their sites are unknown lines.
local KNOWN, NUMBERS = 4096, 2 ^ 20
local files = {}   -- source -> file number, or false for luasight's own files and for C
local names = {}   -- file number -> name of the file in messages
local sources = {} -- file number -> source
local last = 0     -- the file number given last
local file_of = setmetatable({}, { __mode = "k" }) -- function -> file number, since asking Lua each time is slow

---Returns whether a chunk's source is a file of luasight: whether `require` would find this file under a module's name.
local function is_own(source)
  local path = source:match "^@(.*)$"
  if not path then return false end
  local from = 1
  while true do
    local at = path:find("luasight/", from, true)
    if not at then return false end
    local name = path:sub(at):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    if package.searchpath(name, package.path) == path then return true end
    from = at + 1
  end
end

---Returns whether a function was written in a file of luasight, or in C.
---@param f function
---@return boolean
function site.is_own(f)
  local source = getinfo(f, "S").source
  return source == "=[C]" or is_own(source)
end

local function number_of(info)
  local source = info.source
  if source == "=[C]" or is_own(source) then
    files[source] = false
    return false
  end
  last = last % NUMBERS + 1
  local old = (last - KNOWN - 1) % NUMBERS + 1
  if sources[old] then files[sources[old]], names[old], sources[old] = nil, nil, nil end
  names[last] = source:sub(1, 1) == "@" and source:sub(2):gsub("^%./", "") or info.short_src
  files[source], sources[last] = last, source
  return last
end

---Searches the call stack upwards and returns the site of the first script line; 0 where it reaches the function `lowest`
---or the end of the stack before. The search begins two levels above `site.here` or `site.script`, which call this function.
local function find(lowest)
  for level = 4, 250 do
    local info = getinfo(level, "fl")
    local f = info and info.func
    if not f or f == lowest then return 0 end
    local file = file_of[f]
    if file == nil or file and not names[file] then
      local source = getinfo(level, "S")
      file = files[source.source]
      if file == nil then file = number_of(source) end
      file_of[f] = file
    end
    if file then return file * SHIFT + info.currentline end
  end
  return 0
end

---The function of luasight that records the forward of a module. `site.here` searches the call stack only up to this function:
---script lines above it called the module, but did not write the operators of its forward.
---@type function?
site.lowest = nil

---Returns the site to be kept with a new node: that of the script line that called luasight; 0 where there is none.
---@return number
function site.here()
  local number = find(site.lowest)
  return number
end

---Returns the site to be named by an error: that of the script line that called luasight; 0 where there is none.
---@return number
function site.script()
  local number = find()
  return number
end

---@param number number
---@return string? file, integer? line
function site.split(number)
  local file = names[math.floor(number / SHIFT)]
  if file then return file, number % SHIFT end
end

---Returns a site as text, such as "examples/x.lua:14".
---@param number number
---@return string
function site.text(number)
  local file, line = site.split(number)
  return file and ("%s:%d"):format(file, line) or "an unknown line"
end

return site
