--- Modules: classes with a forward, and objects that keep their parameters, buffers and children in the order of
--- assignment.
---
---     local MLP = nn.Module "MLP"
---     function MLP:init(width) self.fc = nn.Linear(width, width) end
---     function MLP:forward(x) return self.fc(x):relu() end
---     local net = MLP(8)
---
--- All fields of an object are kept in its table `_values`, so that each assignment calls `__newindex`, which marks earlier
--- recordings of the module's forward as outdated.
local binding = require "luasight.ffi"
local options = require "luasight.base.options"
local parameter = require "luasight.nn.parameter"
local recording = require "luasight.ffi.recording"
local record = require "luasight.nn.record"

local is_handle, kind_of = parameter.is_handle, parameter.kind

---@class luasight.nn.Module  methods and fields that every module has
---@field training boolean
---@field _class_name string
---@field _values table<string, any>                           the values of all fields
---@field _tensor_names string[]                               the names of parameters and buffers, in order
---@field _tensor_kinds table<string, luasight.TensorKind>
---@field _child_names string[]                                the names of children, in order
---@overload fun(...): any
local Module = {}

local module = { Module = Module }

---@param v any
---@return boolean
function module.is_module(v) return type(v) == "table" and rawget(v, "_values") ~= nil end

local is_module = module.is_module

---@param v any
---@return boolean
function module.is_class(v) return type(v) == "table" and rawget(v, "_meta") ~= nil end

-- ---- fields ----------------------------------------------------------------------------------------------------------

---Removes a name from a list; returns the position that it had.
local function remove_name(list, name)
  for i = 1, #list do
    if list[i] == name then
      table.remove(list, i)
      return i
    end
  end
end

local function has_name(list, name)
  for i = 1, #list do
    if list[i] == name then return true end
  end
  return false
end

-- Fields that mean something to luasight itself; no child and no tensor can have their names.
local reserved = { training = true, dynamic = true, batch_axis = true, token_axis = true, _record = true }

local function where(self, name) return self._class_name .. "." .. tostring(name) end

local call_hint = 'a number behind a name, as in "block (call 1)", says which call of a module is meant'

---Raises an error where a child or a tensor of a module cannot have this name.
local function check_name(self, name)
  if type(name) ~= "string" or name == "" or name:find "[.%z]" or name:find(" (call ", 1, true) then
    binding.raise("name", ("%s: the name of a module or a parameter is a text without dots, not %s"):format(self._class_name,
      type(name) == "string" and ("%q"):format(name) or tostring(name)),
      { hint = type(name) == "string" and name:find(" (call ", 1, true) and call_hint or nil })
  elseif Module[name] ~= nil then
    binding.raise("name", ("%s: the name is taken by a method that all modules have"):format(where(self, name)))
  elseif reserved[name] or rawget(self, name) ~= nil then
    binding.raise("name", ("%s: the name is taken by a field that all modules have"):format(where(self, name)))
  elseif type(getmetatable(self).class[name]) == "function" then
    binding.raise("name", ("%s: the name is taken by a method of its class"):format(where(self, name)))
  end
end

---Renames the children of a list behind a removed one, such that their names are their positions again. Names of the user stay.
local function renumber(self, from)
  local names, values = self._child_names, self._values
  for i = from, #names do
    local old, new = tostring(i), tostring(i - 1)
    if names[i] == old and values[new] == nil then names[i], values[new], values[old] = new, values[old], nil end
  end
end

---Removes the field of this name from a module, whether the field is a tensor, a child or another value.
local function forget(self, name)
  if self._tensor_kinds[name] then
    self._tensor_kinds[name] = nil
    remove_name(self._tensor_names, name)
  elseif is_module(self._values[name]) then
    local at = remove_name(self._child_names, name)
    self._values[name] = nil
    if self._key_at then renumber(self, at) end
    return
  end
  self._values[name] = nil
end

local function set_tensor(self, name, t, kind)
  local before = self._tensor_kinds[name]
  if not kind then -- a tensor that is not marked as a parameter or a buffer
    if before == "parameter" then
      binding.raise("argument", ("%s is a parameter: a plain tensor cannot take its place"):format(where(self, name)),
        { hint = "use nn.Parameter(t), or " .. name .. ":copy_(t) inside torch.no_grad" })
    end
    if not before then
      forget(self, name)
      self._values[name] = t
      return
    end
    t, kind = parameter.tensor_of(("the buffer %s"):format(where(self, name)), t), before
  end
  if not before then
    check_name(self, name)
    forget(self, name)
    table.insert(self._tensor_names, name)
  end
  self._tensor_kinds[name], self._values[name] = kind, binding.keep(t)
end

local function contains(self, wanted)
  if self == wanted then return true end
  for _, child in self:_children() do
    if contains(child, wanted) then return true end
  end
  return false
end

---Registers a child of a module; a child that had the same name is replaced.
---@param self luasight.nn.Module
---@param name string
---@param child luasight.nn.Module
function module.set_child(self, name, child)
  if contains(child, self) then
    binding.raise("argument", ("%s: a module cannot be below itself"):format(where(self, name)))
  end
  if not has_name(self._child_names, name) then
    check_name(self, name)
    forget(self, name)
    table.insert(self._child_names, name)
  end
  self._values[name] = child
  record.changed(self, true)
end

local function refuse(self, name, what, value)
  binding.raise("argument", ("%s is a %s: a %s cannot take its place"):format(where(self, name), what,
    is_handle(value) and "tensor" or type(value)))
end

-- Fields that the module of the core is told of.
local of_core = { dynamic = true, batch_axis = true, token_axis = true }

local function assign(self, name, value)
  if type(name) == "number" and self._key_at then name = self:_key_at(name) end
  local before = self._values[name]
  local told = of_core[name] or self._tensor_kinds[name] or is_module(before)
  if is_module(value) then
    return module.set_child(self, name, value)
  elseif type(value) ~= "nil" and is_module(before) then
    refuse(self, name, "module", value)
  elseif is_handle(value) then
    set_tensor(self, name, value, kind_of(value))
  elseif name == "training" then
    self._values.training = options.value(self._class_name, "training", value, "boolean")
    return record.mode_changed()
  elseif type(value) ~= "nil" and self._tensor_kinds[name] then
    refuse(self, name, self._tensor_kinds[name] == "parameter" and "parameter" or "buffer", value)
  else
    forget(self, name) -- in a list, another child may have this name now
    if type(value) ~= "nil" then self._values[name] = value end
  end
  record.changed(self, told or self._tensor_kinds[name])
end

---Replaces a parameter or buffer by another tensor; the new tensor is a parameter or a buffer as the old one was.
---@param self luasight.nn.Module
---@param name string
---@param t ffi.cdata*
function module.replace(self, name, t)
  self._values[name] = binding.keep(t)
  record.changed(self, true)
end

-- ---- what the recorder reads of a module -----------------------------------------------------------------------------

local function over(names, values)
  local i = 0
  return function()
    i = i + 1
    local name = names[i]
    if name then return name, values[name] end
  end
end

---Iterates over name and tensor of the module's own parameters and buffers.
---@return fun(): string?, ffi.cdata*?
function Module:_tensors() return over(self._tensor_names, self._values) end

---Iterates over name and module of the modules directly below this one.
---@return fun(): string?, luasight.nn.Module?
function Module:_children() return over(self._child_names, self._values) end

---@param name string
---@return luasight.nn.Module?
function Module:_child(name)
  local v = self._values[name]
  return is_module(v) and v or nil
end

-- ---- classes ---------------------------------------------------------------------------------------------------------

local exact = {} -- the functions `init` that refuse arguments for which they have no place: those of luasight's own layers

---Makes a class refuse arguments that its `init` does not take. Other classes ignore them, as functions do in Lua.
---@param class table
function module.refuse_more_arguments(class) exact[class.init] = true end

---Raises an error where `init` has no place for the last of n arguments; a table of options there is named by its option.
local function check_arguments(class, n, ...)
  if not exact[class.init] then return end
  while n > 0 and select(n, ...) == nil do n = n - 1 end
  local info = debug.getinfo(class.init, "u")
  local most = info.nparams - 1
  if n <= most or info.isvararg then return end
  local last = select(n, ...)
  if type(last) == "table" and getmetatable(last) == nil then options.read(class._class_name, last, {}) end
  binding.raise("argument", ("%s takes %s, not %d"):format(class._class_name,
    most == 0 and "no arguments" or ("at most %d argument%s"):format(most, most == 1 and "" or "s"), n))
end

local function construct(class, ...)
  local n = select("#", ...)
  if n > 0 then check_arguments(class, n, ...) end
  local self = setmetatable({ _values = { training = true }, _tensor_names = {}, _tensor_kinds = {}, _child_names = {} },
    class._meta)
  recording.outside(class.init, self, ...) -- a forward that makes modules makes real ones
  return self
end

---Receives the arguments of the constructor; a class replaces this method.
function Module:init() end
exact[Module.init] = true

local function text(self) return require "luasight.nn.text".of(self) end

local function class_text(class) return "nn.Module " .. class._class_name end

---Makes a class of modules, which inherits the methods of `parent`.
---@param name string
---@param parent table?
---@return table
function module.class(name, parent)
  if type(name) ~= "string" or name == "" then
    binding.raise("argument", ("the name of a class of modules is a text, not a %s: nn.Module \"MLP\""):format(type(name)))
  end
  if parent ~= nil and not module.is_class(parent) then
    binding.raise("argument", ("the parent of the class %s is not a class of modules"):format(name))
  end
  local class = { _class_name = name, _parent = parent }
  local function read(self, key)
    local v = self._values[key]
    if v or v == false then return v end
    if type(key) == "number" and class._key_at then return self._values[class._key_at(self, key)] end
    return class[key]
  end
  class._meta = { class = class, __index = read, __newindex = assign, __call = record.call, __tostring = text }
  return setmetatable(class, { __index = parent or Module, __call = construct, __tostring = class_text })
end

return module
