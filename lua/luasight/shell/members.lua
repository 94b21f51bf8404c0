--- What completion knows of a value without running code: its fields, methods and children, and the value behind a name. A
--- value that would have to be computed, or whose access would be recorded in an open trace, is only known to be a tensor.
local aliases = require "luasight.model.aliases"
local constants = require "luasight.ffi.constants"
local methods = require "luasight.tensor.methods"
local model = require "luasight.model"
local module = require "luasight.nn.module"
local operators = require "luasight.tensor.operators"
local sequences = require "luasight.ffi.sequences"
local tensor = require "luasight.tensor"
local torch = require "luasight.tensor.torch"
local values = require "luasight.tensor.values"

local STRUCT = constants.LS_STRUCT

local members = {}

local TENSOR = {} -- stands for any tensor whose value is not known

-- Compares with rawequal, because `==` would call a tensor's metamethod, which raises an error.
function members.is_unknown(v) return rawequal(v, TENSOR) end

local points = { "output", "input" }
local taps = { "q", "k", "v", "scores", "pattern", "z" }
-- Names of methods of modules, tracers and models; completion offers a name for a value that has this method.
local words = { "get", "each", "named_modules", "points", "next", "call", "skip", "trace", "tracer", "generate", "stream",
  "scan", "edit", "clear_edits", "save_edits", "load_edits", "save_graph" }
local tracer_words = { "run", "abandon", "graph", "invoke", "next", "iter", "all", "step", "stop", "apply", "cache" }
local public = { "tokenizer", "config", "generator" }

-- ---- modules -----------------------------------------------------------------------------------------------------------

local function module_of(handle) return debug.getfenv(handle).module end

-- Returns whether a handle is that of a whole model which has a field `name` for its users, such as `tokenizer`.
local function has_public(handle, name)
  local place = debug.getfenv(handle)
  return place.path == "" and place.network.public[name] ~= nil
end

local function has_child(handle, name) return module_of(handle):_child(name) ~= nil end

local function has_tensor(handle, name)
  for known in module_of(handle):_tensors() do
    if known == name then return true end
  end
  return false
end

-- Returns the words of a list that are methods of a value.
local function methods_among(list, v)
  local names = {}
  for _, word in ipairs(list) do
    local ok, method = pcall(function() return v[word] end)
    if ok and type(method) == "function" then names[#names + 1] = word end
  end
  return names
end

local function of_handle(handle, colon)
  if colon then return methods_among(words, handle) end
  local names, m = {}, module_of(handle)
  for name in m:_children() do
    if not tonumber(name) then names[#names + 1] = name end
  end
  for name in m:_tensors() do names[#names + 1] = name end
  for _, name in ipairs(points) do names[#names + 1] = name end
  if m._class_name:find "Attention" then
    for _, name in ipairs(taps) do names[#names + 1] = name end
  end
  for _, name in ipairs(public) do
    if has_public(handle, name) then names[#names + 1] = name end
  end
  aliases.add_names(m, names)
  return names
end

local function indices_of(handle)
  local list = {}
  while has_child(handle, tostring(#list)) do list[#list + 1] = tostring(#list) .. "]" end
  return list
end

-- ---- tables and tensors ------------------------------------------------------------------------------------------------

local function add_keys(names, t, keep)
  for name in pairs(t) do
    if type(name) == "string" and name:find "^%a[%w_]*$" and keep(t[name]) then names[#names + 1] = name end
  end
end

local function is_callable(v)
  local meta = getmetatable(v)
  return type(v) == "function" or type(meta) == "table" and meta.__call ~= nil
end

---Returns a table's own keys and those of its metatables. The metatable's function `__names` returns further names, whose
---values are made only when they are first used.
local function of_table(t, colon)
  local names, seen = {}, {}
  local function keep(v) return not colon or is_callable(v) end
  if module.is_module(t) then
    add_keys(names, t._values, keep)
    add_keys(names, module.Module, keep)
  end
  while type(t) == "table" and not seen[t] do
    seen[t] = true
    add_keys(names, t, keep)
    local meta = getmetatable(t)
    if type(meta) ~= "table" then break end
    for _, name in ipairs(meta.__names and meta.__names() or {}) do names[#names + 1] = name end
    t = meta.__index
  end
  return names
end

local function add_operators(names, prefix)
  for _, name in ipairs(operators.names(prefix)) do
    if prefix ~= "" or name:sub(1, 1) ~= "_" then names[#names + 1] = name end
  end
end

local function of_tensor(v, colon, prefix)
  local names = {}
  if not members.is_unknown(v) and v._kind == STRUCT and not colon then
    for i = 0, sequences.length(v) - 1 do names[#names + 1] = sequences.name(v, i) end
    return names
  end
  if colon then
    add_keys(names, methods, is_callable)
    add_operators(names, prefix)
    names[#names + 1] = "t"
  else
    add_keys(names, values.fields, is_callable)
  end
  return names
end

-- ---- values --------------------------------------------------------------------------------------------------------------

---Returns whether a value is a tracer, whose fields are those of its model.
---@param v any
---@return boolean
function members.is_tracer(v) return type(v) == "table" and rawget(v, "_network") ~= nil and rawget(v, "_recording") ~= nil end

---Returns the value of a field or method; `members.TENSOR` for a tensor whose value is not known, nil where nothing is known.
---@param v any
---@param name string
---@return any
function members.get(v, name)
  if members.is_unknown(v) or tensor.is_handle(v) then
    if methods[name] or operators.find(name) then return TENSOR end -- a call of this method would return a tensor
    if not members.is_unknown(v) and v._kind == STRUCT and sequences.has(v, name) then return v[name] end
    return values.fields[name] == nil and members.is_unknown(v) and TENSOR or nil -- maybe a struct with this field
  end
  if model.is_handle(v) then
    if has_child(v, name) or has_public(v, name) then return v[name] end
    if name == "output" or name == "input" or has_tensor(v, name) then return TENSOR end
    for _, tap in ipairs(taps) do
      if tap == name then return TENSOR end
    end
    local alias = aliases.of(module_of(v), name)
    if type(alias) ~= "string" then return nil end
    return aliases.is_module(module_of(v), alias) and v[name] or TENSOR
  end
  if type(v) == "string" then return string[name] end
  if type(v) == "table" then return v[name] end
end

---Returns the names that can follow a value and a dot, or a colon.
---@param v any
---@param colon boolean
---@param prefix string  the beginning of the name, which chooses among the operators
---@return string[]
function members.of(v, colon, prefix)
  if members.is_tracer(v) then
    if colon then return methods_among(tracer_words, v) end
    v = rawget(v, "_network").root
  end
  if members.is_unknown(v) or tensor.is_handle(v) then return of_tensor(v, colon, prefix) end
  if model.is_handle(v) then return of_handle(v, colon) end
  if type(v) == "string" then return of_table(string, true) end
  if type(v) == "table" then
    local names = of_table(v, colon)
    if v == torch then add_operators(names, prefix) end
    return names
  end
  return {}
end

members.TENSOR, members.indices_of = TENSOR, indices_of

return members
