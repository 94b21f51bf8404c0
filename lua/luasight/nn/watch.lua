--- What a forward may have read when it was recorded, and what assignments to the module do not tell: the upvalues of the
--- functions that it can call, tables among these and among the module's fields, the classes of modules, and other modules. A
--- recording holds as long as these are unchanged.
---
--- Nothing is watched in luasight's own classes, which change no such values, and in the tables of libraries.
local site = require "luasight.ffi.site"

local getupvalue, upvalueid, is_own = debug.getupvalue, debug.upvalueid, site.is_own

local watch = {}

local MOST = 1000 -- values; a forward that can reach more is recorded at each call, since each call compares all of them

---@class luasight.Watched  a value that is compared before a recording is used again
---@field module table
---@field id any         what says that two entries are of the same value
---@field f function?    an upvalue: the function,
---@field i integer?     its number,
---@field value any      and its value
---@field table table?   a table: itself,
---@field values table?  its fields as they were
---@field count integer? and their number
---@field beyond boolean?  whether there are more values than are compared

---@class luasight.Reach  what a search has found
---@field list luasight.Watched[]
---@field modules table[]    the other modules that the forward may read
---@field values integer     the number of values to compare
---@field [any] true?        the values that were searched

local standard = { "_G", "bit", "coroutine", "debug", "ffi", "io", "jit", "math", "os", "package", "string", "table" }
for _, name in ipairs(standard) do standard[name] = true end

local libraries = setmetatable({}, { __mode = "k" })

---Returns whether a table is that of a module of Lua or of luasight, which `require` returned.
local function is_library(t)
  if libraries[t] == nil then
    libraries[t] = false
    for name, loaded in pairs(package.loaded) do
      if loaded == t and (standard[name] or name:match "^luasight%f[.%z]") then libraries[t] = true end
    end
  end
  return libraries[t]
end

---Returns whether a metatable or a class is luasight's own: whether all its functions are.
local function is_ours(t)
  local some = false
  for _, v in next, t do
    if type(v) == "function" then
      if not is_own(v) then return false end
      some = true
    end
  end
  return some
end

local note

local function note_fields(reach, module, t)
  local values, count = {}, 0
  for k, v in next, t do
    values[k], count = v, count + 1
    if reach.values + count > MOST then break end
  end
  reach.values = reach.values + count + 1
  reach.list[#reach.list + 1] = { module = module, id = t, table = t, values = values, count = count }
  for k, v in next, values do
    if k ~= "init" or not rawget(t, "_meta") then note(reach, module, v) end -- `init` has made the module
  end
end

local function note_class(reach, module, class)
  if reach[class] then return end
  reach[class], reach[class._meta] = true, true
  if not is_ours(class) then note_fields(reach, module, class) end
end

local function note_table(reach, module, t)
  if reach[t] or is_library(t) then return end
  reach[t] = true
  local meta = getmetatable(t)
  if type(meta) == "table" then
    if is_ours(meta) then return end
    note(reach, module, meta)
  end
  note_fields(reach, module, t)
end

local function note_function(reach, module, f)
  if reach[f] or is_own(f) then return end
  reach[f] = true
  for i = 1, 60 do -- LuaJIT's limit of upvalues
    local name, v = getupvalue(f, i)
    if not name then return end
    local id = upvalueid(f, i)
    if not reach[id] and not (type(v) == "table" and is_library(v)) then
      reach[id] = true
      reach.values = reach.values + 1
      reach.list[#reach.list + 1] = { module = module, id = id, f = f, i = i, value = v }
      note(reach, module, v)
    end
  end
end

local function note_module(reach, module, other)
  if reach[other] then return end
  reach[other] = true
  if other ~= module then reach.modules[#reach.modules + 1] = other end
  local class = getmetatable(other).class
  local ours = is_ours(class)
  for _, v in next, other._values do
    if not ours or type(v) == "table" and rawget(v, "_values") then note(reach, module, v) end
  end
  note_class(reach, module, class)
end

note = function(reach, module, v)
  if reach.values > MOST then return end
  if type(v) == "userdata" then v = rawget(debug.getfenv(v), "module") end -- a handle of a model stands for a module
  if type(v) == "function" then note_function(reach, module, v)
  elseif type(v) ~= "table" then return
  elseif rawget(v, "_values") then note_module(reach, module, v)
  elseif rawget(v, "_meta") then note_class(reach, module, v)
  else note_table(reach, module, v) end
end

---Returns what the forward of a module may read besides its arguments, tensors, children and plain fields, nil where there is
---nothing; and the other modules that it may read. The values are those of now, so a list made before the forward is recorded
---tells what the forward itself changes.
---@param module table
---@return luasight.Watched[]?, table[]?
function watch.of(module)
  local forward = module.forward
  if type(forward) ~= "function" or is_own(forward) then return nil end
  local reach = { list = {}, modules = {}, values = 0 }
  note_module(reach, module, module)
  note_function(reach, module, forward)
  if reach.values > MOST then reach.list = { { module = module, id = module, beyond = true } } end
  return #reach.list > 0 and reach.list or nil, reach.modules
end

local function is_same_value(now, before)
  return rawequal(now, before) or type(now) == "number" and type(before) == "number" and now ~= now and before ~= before
end

local function is_same(entry)
  local t = entry.table
  if not t then
    if entry.beyond then return false end
    local _, now = getupvalue(entry.f, entry.i)
    return is_same_value(now, entry.value)
  end
  local values, count = entry.values, 0
  for k, v in next, t do
    if not is_same_value(v, values[k]) then return false end
    count = count + 1
  end
  return count == entry.count
end

---Returns the module of the first value that is no longer what it was; nil where all are.
---@param list luasight.Watched[]
---@return table?
function watch.changed(list)
  for i = 1, #list do
    if not is_same(list[i]) then return list[i].module end
  end
end

return watch
