--- Modules that hold other modules: Sequential, ModuleList, ModuleDict. Positions count from 0, negative positions from the
--- end. The number of modules is list:len(), since LuaJIT, as it is usually built, ignores a table's metatable for `#`.
local binding = require "luasight.ffi"
local check_list = require "luasight.base.list".check
local module = require "luasight.nn.module"

local is_module, set_child = module.is_module, module.set_child

local container = {}

-- ---- methods that Sequential and ModuleList share --------------------------------------------------------------------

---@class luasight.nn.List: luasight.nn.Module
local List = module.class "List"

---Returns the number of modules in a container.
---@return integer
function List:len() return #self._child_names end

---Returns the name of the child at a position of a container; a negative position counts from the end.
function List:_key_at(i)
  local n = #self._child_names
  local at = i < 0 and i + n or i
  if at % 1 ~= 0 or at < 0 or at >= n then
    binding.raise("index", n == 0 and ("index %s is out of range: this %s is empty"):format(tostring(i), self._class_name) or
      ("index %s is out of range: there are %d modules, 0 to %d"):format(tostring(i), n, n - 1))
  end
  return self._child_names[at + 1]
end

---Iterates over the modules of a container with their positions, from 0.
---@return fun(): integer?, luasight.nn.Module?
function List:each()
  local i = -1
  return function()
    i = i + 1
    local name = self._child_names[i + 1]
    if name then return i, self._values[name] end
  end
end

local function no_list(self, v)
  binding.raise("argument", ("%s takes a list of modules, not a %s"):format(self._class_name,
    is_module(v) and "module" or type(v)))
end

-- Raises an error for a key of a list that is no position.
local function no_names(self, list)
  for key in pairs(list) do
    if type(key) ~= "number" then
      binding.raise("argument", ("%s takes its modules in order, not by name: %s"):format(self._class_name, tostring(key)),
        { hint = self._is_list and "nn.ModuleDict takes modules by name"
          or 'write { { "first", m }, { "second", n } } for modules with names' })
    end
  end
end

---Adds a child under a name that no other child has.
local function add(self, name, m)
  if type(name) == "string" and is_module(self._values[name]) then
    binding.raise("name", ("%s: two modules are called %q"):format(self._class_name, tostring(name)))
  end
  set_child(self, name, m)
end

---Adds a module at the end of the list.
---@param m luasight.nn.Module
---@return luasight.nn.Module  # the list itself
function List:append(m)
  if not is_module(m) then
    binding.raise("argument", ("%s:append takes a module, not a %s"):format(self._class_name, type(m)))
  end
  add(self, tostring(#self._child_names), m)
  return self
end

---Adds the modules of a list, or of another container, at the end of this list.
---@param list luasight.nn.Module[]|table
---@return luasight.nn.Module  # the list itself
function List:extend(list)
  if is_module(list) then
    if not list._key_at then no_list(self, list) end
    local all = {}
    for _, m in list:_children() do all[#all + 1] = m end
    list = all
  elseif type(list) ~= "table" then
    no_list(self, list)
  end
  no_names(self, list)
  for i = 1, check_list(self._class_name, list) do
    local m = list[i]
    if not is_module(m) then
      binding.raise("argument", ("%s: element %d of the list is a %s, not a module"):format(self._class_name, i, type(m)))
    end
    self:append(m)
  end
  return self
end

-- ---- Sequential ------------------------------------------------------------------------------------------------------

---Modules that run one after the other: the input of each is the output of the module before it.
---
---     nn.Sequential { nn.Linear(5, 10), nn.ReLU() }
---     nn.Sequential { { "first", nn.Linear(5, 10) }, { "act", nn.ReLU() } }
---@class luasight.nn.Sequential: luasight.nn.List
local Sequential = module.class("Sequential", List)
container.Sequential = Sequential

---@param list table?  the modules in the order in which they run, or pairs of name and module; or the first of the modules
---@param ... luasight.nn.Module  the other modules
function Sequential:init(list, ...)
  local given, n
  if is_module(list) then
    given, n = { list, ... }, select("#", ...) + 1
    for i = 1, n do
      if given[i] == nil then binding.raise("argument", ("Sequential: argument %d is nil, not a module"):format(i)) end
    end
    list = given
  end
  if not given and select("#", ...) > 0 then
    binding.raise("argument", "Sequential takes one list of modules, or modules one by one", { hint =
      "nn.Sequential { a, b } or nn.Sequential(a, b)" })
  end
  if list == nil then return end
  if type(list) ~= "table" then no_list(self, list) end
  no_names(self, list)
  for i = 1, check_list("Sequential", list) do
    local entry = list[i]
    if is_module(entry) then
      self:append(entry)
    elseif type(entry) == "table" and #entry == 2 and is_module(entry[2]) then
      add(self, entry[1], entry[2])
    else
      binding.raise("argument", ("Sequential: element %d of the list is a %s, not a module or a pair of name and module")
        :format(i, type(entry)))
    end
  end
end

---@param x any
---@return any
function Sequential:forward(x)
  for _, m in self:each() do x = m(x) end
  return x
end

-- ---- ModuleList ------------------------------------------------------------------------------------------------------

---A list of modules without a forward: the module that holds the list decides which of them it calls.
---@class luasight.nn.ModuleList: luasight.nn.List
local ModuleList = module.class("ModuleList", List)
container.ModuleList = ModuleList
ModuleList._is_list = true

---@param list luasight.nn.Module[]?
function ModuleList:init(list)
  if list == nil then return end
  if type(list) ~= "table" then no_list(self, list) end
  self:extend(list)
end

-- ---- ModuleDict ------------------------------------------------------------------------------------------------------

---A container of modules by name. The modules stay in the order of a list of pairs, { { "a", m }, ... }; those of a table
---whose keys are names, { a = m, ... }, are sorted by name.
---@class luasight.nn.ModuleDict: luasight.nn.Module
local ModuleDict = module.class "ModuleDict"
container.ModuleDict = ModuleDict

---@param given table?
function ModuleDict:init(given)
  if given == nil then return end
  if type(given) ~= "table" or is_module(given) then
    binding.raise("argument", ("ModuleDict takes a table of modules by name, not a %s"):format(
      is_module(given) and "module" or type(given)))
  end
  local names, by_name = {}, {}
  for key, v in pairs(given) do
    if type(key) ~= "number" then names[#names + 1], by_name[key] = key, v end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for i = 1, #names == 0 and check_list("ModuleDict", given) or #given do
    local pair = given[i]
    local name, v = nil, pair
    if type(pair) == "table" and not is_module(pair) and #pair == 2 then name, v = pair[1], pair[2] end
    if name == nil then
      binding.raise("argument", "ModuleDict: the elements of a list have to be pairs, { { name, module }, ... }")
    end
    if by_name[name] ~= nil then
      binding.raise("name", ("ModuleDict: two modules are called %q"):format(tostring(name)))
    end
    names[#names + 1], by_name[name] = name, v
  end
  for _, name in ipairs(names) do
    if not is_module(by_name[name]) then
      binding.raise("argument", ("ModuleDict: element %s is a %s, not a module"):format(tostring(name), type(by_name[name])))
    end
    set_child(self, name, by_name[name])
  end
end

---Returns the number of modules in a ModuleDict.
---@return integer
function ModuleDict:len() return #self._child_names end

---Returns the names of the modules in a ModuleDict, in their order.
---@return string[]
function ModuleDict:keys() return { unpack(self._child_names) } end

---Iterates over names and modules of a ModuleDict.
---@return fun(): string?, luasight.nn.Module?
function ModuleDict:each() return self:_children() end

return container
