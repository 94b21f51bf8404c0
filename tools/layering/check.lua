-- Runs the checks of tools/layers: luajit tools/layering/check.lua BUILD [--draw], in the root of a source tree. The tree's
-- own tools/layering/house.lua says which folder may use which. Prints a line for each fault, or one line of counts.
local build, draw = arg[1], arg[2] == "--draw"
local house = dofile "tools/layering/house.lua"
local LONGEST = 400

local faults = {}
local function fault(text, ...) faults[#faults + 1] = text:format(...) end

local function lines_of(command)
  local pipe, lines = io.popen(command), {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

local function text_of(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- ---- lists of house.lua whose entries have reasons -----------------------------------------------------------------------

local used = { exceptions = {}, headers = {}, long = {}, raw = {}, unloaded = {} }

-- Returns whether the list `name` of house.lua has a reason for `key`.
local function excused(name, key)
  if not house[name][key] then return false end
  used[name][key] = true
  return true
end

-- Reports the entries of the lists that are not needed or have no reason, and lists with too many entries.
local function check_lists()
  for name, keys in pairs(used) do
    local count = 0
    for key, reason in pairs(house[name]) do
      count = count + 1
      if not keys[key] then fault("house.lua, %s: %q is no longer needed, remove it", name, key) end
      if #reason < 10 then fault("house.lua, %s: %q has no reason", name, key) end
    end
    local most = house.most[name]
    if most and count > most then fault("house.lua, %s: %d entries, at most %d are allowed", name, count, most) end
  end
end

-- ---- files and rows --------------------------------------------------------------------------------------------------

local rank = {} -- the name of a row -> its number
for i, row in ipairs(house.rows) do
  rank[row[1]] = i
  for path in (row.also or ""):gmatch "%S+" do rank[path] = i end
end

-- Returns the row of a file: that of its path, or of the nearest folder above it that has a row.
local function row_of(path)
  while path and not rank[path] do path = path:match "^(.+)/[^/]*$" end
  return path and house.rows[rank[path]]
end

local function sources_below(folders)
  local list = table.concat(folders, " ")
  return lines_of(("find %s -name '*.c' -o -name '*.cc' -o -name '*.h' -o -name '*.lua' | LC_ALL=C sort"):format(list))
end

local files, is_file = sources_below(house.trees), {}
for _, path in ipairs(files) do is_file[path] = true end

-- Returns Lua code without comments, and, where `blank` is true, without the contents of strings.
local function code_of(text, blank)
  local out, at = {}, 1
  while true do
    local from, _, mark = text:find("([-\"'%[])", at)
    local stop
    if not from then break end
    local equals = text:match("^%-%-%[(=*)%[", from) or text:match("^%[(=*)%[", from)
    if equals then
      _, stop = text:find("]" .. equals .. "]", from, true)
    elseif text:sub(from, from + 1) == "--" then
      stop = (text:find("\n", from, true) or #text + 1) - 1
    elseif mark == '"' or mark == "'" then
      stop = from
      repeat
        stop = text:find("[\\" .. mark .. "\n]", stop + 1) or #text
        local escape = text:sub(stop, stop) == "\\"
        if escape then stop = stop + 1 end
      until not escape
    end
    out[#out + 1] = text:sub(at, from - 1)
    local keep = not stop or mark ~= "-" and not blank
    out[#out + 1] = keep and text:sub(from, stop or from) or " "
    at = (stop or from) + 1
  end
  return table.concat(out) .. text:sub(at)
end

-- Returns the file of a module.
local function file_of(module)
  for _, tree in ipairs(house.lua) do
    for _, ending in ipairs { ".lua", "/init.lua" } do
      local path = tree .. "/" .. module:gsub("%.", "/") .. ending
      if is_file[path] then return path end
    end
  end
end

local is_public = {} -- file -> true, for the modules that are public
for _, module in ipairs(house.public) do is_public[file_of(module) or error("there is no " .. module)] = true end

-- ---- the checks of a use -----------------------------------------------------------------------------------------------

local arrows, drawn, count = {}, {}, 0

-- Returns whether house.lua has an exception for a use by a file or by a folder above it; `what` is a file or a C function.
local function is_exception(from, what)
  while from do
    if excused("exceptions", from .. " -> " .. what) then return true end
    from = from:match "^(.+)/[^/]*$"
  end
end

local function may_use(a, b, to)
  if a.only == "public" then return is_public[to] end
  if a.only then return (" " .. a.only .. " "):find(" " .. b[1] .. " ", 1, true) ~= nil end
  return rank[b[1]] < rank[a[1]]
end

-- Checks that the file `from` may use the file `to`, or its function `symbol`; `how` describes the use in messages.
local function arrow(from, to, how, symbol)
  local a, b = row_of(from), row_of(to)
  local key = from .. "\n" .. to .. "\n" .. how
  if arrows[key] or not (a and b) or a == b then return end
  arrows[key], count = true, count + 1
  drawn[a[1]] = drawn[a[1]] or {}
  drawn[a[1]][b[1]] = (drawn[a[1]][b[1]] or 0) + 1
  if not may_use(a, b, to) and not is_exception(from, symbol or to) then
    fault("%s %s: %s may not use %s", from, how, a[1], a.only == "public" and "what is not public" or b[1])
  end
end

-- ---- C: includes and symbols -------------------------------------------------------------------------------------------

local function is_public_header(path)
  local folder = row_of(path)[1]
  return folder == path or path == folder .. "/" .. folder:match "[^/]+$" .. ".h"
end

for _, path in ipairs(files) do
  local folder = path:match "^(.*)/"
  for name in ("\n" .. text_of(path)):gmatch '\n[ \t]*#[ \t]*include[ \t]*"([^"]+)"' do
    local tree = path:match "^[^/]+"
    local to = is_file[folder .. "/" .. name] and folder .. "/" .. name or tree .. "/" .. name
    if is_file[to] and row_of(to) and row_of(path) then
      if row_of(to) ~= row_of(path) and not is_public_header(to) and not excused("headers", to) then
        fault("%s includes %s, a private header of %s", path, to, row_of(to)[1])
      end
      arrow(path, to, "includes " .. to)
    end
  end
end

local home, wanted, built = {}, {}, {} -- symbol -> its file; a list of { file, symbol }; file -> true
local objects = ("find %s/CMakeFiles -name '*.o' -path '*.dir/core/*' -exec nm -A -P {} +"):format(build)
for _, line in ipairs(is_file["core/abi.h"] and lines_of(objects) or {}) do
  local path, symbol, kind = line:match "%.dir/(core/.-)%.o: (%S+) (%a)"
  if is_file[path] then -- an object may be left from a file that no longer exists
    built[path] = true
    if kind == "U" then wanted[#wanted + 1] = { path, symbol } end
    if kind:find "[TDBRCGS]" then home[symbol] = path end
  end
end
for _, want in ipairs(wanted) do
  local to = home[want[2]]
  if to then arrow(want[1], to, ("uses %s of %s"):format(want[2], to), want[2]) end
end

-- ---- Lua: the requires of runs, and those in the sources ------------------------------------------------------------------

local function requires(path, module)
  local to = file_of(module)
  if to then arrow(path, to, ("requires %q (%s)"):format(module, to)) end
end

local function written_requires(text)
  return text:gmatch "%f[%w_]require[%s(,]*[\"']([%w_.]+)[\"']"
end

local record, root, loaded = os.tmpname(), lines_of "pwd -P"[1] .. "/", {}
for _, command in ipairs(house.runs) do
  local status = os.execute(("LUASIGHT_REQUIRES=%s LUA_INIT=@%s BUILD=%s %s >%s.log 2>&1"):format(record,
    "tools/layering/record.lua", build, command, record))
  if status ~= 0 and status ~= true then fault("%s failed:\n%s", command, text_of(record .. ".log")) end
end
for line in io.lines(record) do
  local path, module = line:match "^(.*)\t(.*)$"
  if path == "" then
    loaded[file_of(module) or ""] = true
  else
    requires(path:sub(1, #root) == root and path:sub(#root + 1) or path, module)
  end
end
os.remove(record)
os.remove(record .. ".log")

for _, path in ipairs(files) do
  if path:find "%.lua$" then
    local text = text_of(path)
    local code = code_of(text, true)
    local raw = code:find "%f[%w_]ffi%.%a" or code:find "%f[%w_]C%.ls_" or code:find "%.C%f[^%w_]"
    for module in written_requires(code_of(text)) do
      requires(path, module)
      raw = raw or module == "ffi"
    end
    if raw and path:sub(1, #house.native + 1) ~= house.native .. "/" and not excused("raw", path) then
      fault("%s calls the C library or ffi by itself: that belongs into %s", path, house.native)
    end
    if not loaded[path] and not excused("unloaded", path) then
      fault("%s was loaded by none of the runs, so its requires are not all known: let tour.lua use it", path)
    end
  end
end
for _, path in ipairs(lines_of("find " .. table.concat(house.clients, " ") .. " -name '*.lua' -o -name '*.md'")) do
  for module in written_requires(text_of(path)) do
    local to = file_of(module)
    if to and not is_public[to] and not is_exception(path, to) then
      fault("%s requires %q, which is not public", path, module)
    end
  end
end

-- ---- checks of single files --------------------------------------------------------------------------------------------

for _, path in ipairs(files) do
  if not row_of(path) then fault("%s: its folder has no row", path) end
  if path:find "%.cc?$" and not built[path] then fault("%s has no object in %s: build first", path, build) end
end
for _, folders in ipairs { house.trees, house.others } do
  for _, path in ipairs(sources_below(folders)) do
    local _, lines = text_of(path):gsub("\n", "")
    if lines > LONGEST and not excused("long", path) then fault("%s has %d lines: split it, or give a reason", path, lines) end
  end
end

check_lists()

-- ---- output ------------------------------------------------------------------------------------------------------------

if draw then
  for _, row in ipairs(house.rows) do
    local uses = {}
    for _, below in ipairs(house.rows) do
      local n = (drawn[row[1]] or {})[below[1]]
      if n then uses[#uses + 1] = ("%s (%d)"):format(below[1], n) end
    end
    print(("%-24s %s"):format(row[1], table.concat(uses, ", ")))
  end
end
if #faults > 0 then
  table.sort(faults)
  print(table.concat(faults, "\n"))
  print(("layers: %d faults. Move the used code to a lower folder or pass it as an argument; see tools/layering/house.lua.")
    :format(#faults))
  os.exit(1)
end
local exceptions = 0
for _ in pairs(house.exceptions) do exceptions = exceptions + 1 end
print(("layers: %d files, %d rows, %d arrows between them, %d exceptions"):format(#files, #house.rows, count, exceptions))
