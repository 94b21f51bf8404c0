--- What a forward may have read when it was recorded, and what assignments to the module do not tell: plain tables among the
--- module's fields, and the upvalues of the functions of its class. A recording holds as long as these are unchanged.
---
--- Nothing is watched in luasight's own classes, which change no such values.
local site = require "luasight.ffi.site"

local getupvalue = debug.getupvalue

local watch = {}

local MOST = 1000 -- fields of tables; what lies beyond is not watched, since each call compares all of them

---@class luasight.Watched  a value that is compared before a recording is used again
---@field module table
---@field f function?    an upvalue: the function,
---@field i integer?     its number,
---@field value any      and its value
---@field table table?   a table: itself,
---@field keys any[]?    its keys,
---@field values any[]?  and their values

local function is_plain(v) return type(v) == "table" and getmetatable(v) == nil end

local libraries = setmetatable({}, { __mode = "k" })

local function is_library(t)
  if libraries[t] == nil then
    libraries[t] = t == _G
    for _, loaded in pairs(package.loaded) do
      if loaded == t then libraries[t] = true end
    end
  end
  return libraries[t]
end

local note_table

local function note_value(list, seen, module, v)
  if is_plain(v) and not is_library(v) then note_table(list, seen, module, v) end
end

note_table = function(list, seen, module, t)
  if seen[t] or seen.fields >= MOST then return end
  seen[t] = true
  local keys, values = {}, {}
  for k, v in pairs(t) do
    keys[#keys + 1], values[#keys + 1] = k, v
  end
  seen.fields = seen.fields + #keys + 1
  list[#list + 1] = { module = module, table = t, keys = keys, values = values }
  for i = 1, #keys do note_value(list, seen, module, values[i]) end
end

local function note_function(list, seen, module, f)
  if seen[f] or site.is_own(f) then return end
  seen[f] = true
  for i = 1, 60 do -- LuaJIT's limit of upvalues
    local name, v = getupvalue(f, i)
    if not name then return end
    if type(v) == "function" then
      note_function(list, seen, module, v)
    elseif not (type(v) == "table" and is_library(v)) then
      list[#list + 1] = { module = module, f = f, i = i, value = v }
      note_value(list, seen, module, v)
    end
  end
end

---Returns what the forward of a module may read besides its arguments, tensors, children and plain fields; nil where there is
---nothing. The values are those of now, so a list made before the forward is recorded tells what the forward itself changes.
---@param module table
---@return luasight.Watched[]?
function watch.of(module)
  local forward = module.forward
  if type(forward) ~= "function" or site.is_own(forward) then return nil end
  local list, seen = {}, { fields = 0 }
  for _, v in pairs(module._values) do note_value(list, seen, module, v) end
  local class = getmetatable(module).class
  while class do
    for name, f in pairs(class) do
      if type(f) == "function" and name ~= "init" then note_function(list, seen, module, f) end
    end
    class = rawget(class, "_parent")
  end
  note_function(list, seen, module, forward)
  return #list > 0 and list or nil
end

local function is_same(entry)
  local t = entry.table
  if not t then
    local _, now = getupvalue(entry.f, entry.i)
    return rawequal(now, entry.value) or now ~= now and entry.value ~= entry.value
  end
  local keys, values = entry.keys, entry.values
  for i = 1, #keys do
    local now = t[keys[i]]
    if not rawequal(now, values[i]) and (type(now) ~= "number" or now == now) then return false end
  end
  local more = -#keys
  for _ in next, t do more = more + 1 end
  return more == 0 -- no key has been added
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
