--- Modules: classes with a forward, and objects that keep parameters, buffers and children in the order they were set.
---
---     local MLP = nn.Module "MLP"
---     function MLP:init(width) self.fc = nn.Linear(width, width) end
---     function MLP:forward(x) return self.fc(x):relu() end
---     local net = MLP(8)
---
--- An object's own fields all live in `_values`, so that each assignment comes by here: the recorder has to hear of it.
local binding = require "luasight.ffi"
local parameter = require "luasight.nn.parameter"
local record = require "luasight.nn.record"

local is_handle, kind_of = parameter.is_handle, parameter.kind

---@class luasight.nn.Module  every module has these words
---@field training boolean
---@field _class_name string
---@field _values table<string, any>                           all fields
---@field _tensor_names string[]                               parameters and buffers, in order
---@field _tensor_kinds table<string, luasight.TensorKind>
---@field _child_names string[]                                children, in order
---@overload fun(...): any
local Module = {}

local module = { Module = Module }

---@param v any
---@return boolean
function module.is_module(v) return type(v) == "table" and rawget(v, "_values") ~= nil end

local is_module = module.is_module

-- ---- fields ----------------------------------------------------------------------------------------------------------

local function remove_name(list, name)
  for i = 1, #list do
    if list[i] == name then return table.remove(list, i) end
  end
end

local function has_name(list, name)
  for i = 1, #list do
    if list[i] == name then return true end
  end
  return false
end

local function where(self, name) return self._class_name .. "." .. tostring(name) end

---A name that a child or a tensor may have.
local function check_name(self, name)
  if type(name) ~= "string" or name == "" or name:find("[.%z]") then
    binding.raise("name", ("%s: the name of a module or a parameter is a text without dots, not %s"):format(self._class_name,
      type(name) == "string" and ("%q"):format(name) or tostring(name)))
  elseif Module[name] ~= nil then
    binding.raise("name", ("%s: the name is taken by a method of all modules"):format(where(self, name)))
  end
end

---Forgets what a name stood for.
local function forget(self, name)
  if self._tensor_kinds[name] then
    self._tensor_kinds[name] = nil
    remove_name(self._tensor_names, name)
  elseif is_module(self._values[name]) then
    remove_name(self._child_names, name)
  end
  self._values[name] = nil
end

local function set_tensor(self, name, t, kind)
  local before = self._tensor_kinds[name]
  if not kind then -- a plain tensor
    if before == "parameter" then
      binding.raise("argument", ("%s is a parameter: a plain tensor cannot take its place"):format(where(self, name)),
        { hint = "nn.Parameter(t), or " .. name .. ":copy_(t) inside torch.no_grad" })
    end
    if not before then
      forget(self, name)
      self._values[name] = t
      return
    end
    kind = before
  end
  if not before then
    check_name(self, name)
    forget(self, name)
    table.insert(self._tensor_names, name)
  end
  self._tensor_kinds[name], self._values[name] = kind, t
end

---Registers a child; one with the name of another takes its place.
---@param self luasight.nn.Module
---@param name string
---@param child luasight.nn.Module
function module.set_child(self, name, child)
  if not has_name(self._child_names, name) then
    check_name(self, name)
    forget(self, name)
    table.insert(self._child_names, name)
  end
  self._values[name] = child
  record.changed(self)
end

local function refuse(self, name, what, value)
  binding.raise("argument", ("%s is a %s: a %s cannot take its place"):format(where(self, name), what,
    is_handle(value) and "tensor" or type(value)))
end

local function assign(self, name, value)
  if type(name) == "number" and self._key_at then name = self:_key_at(name) end
  if is_module(value) then
    module.set_child(self, name, value)
  elseif type(value) ~= "nil" and is_module(self._values[name]) then
    refuse(self, name, "module", value)
  elseif is_handle(value) then
    set_tensor(self, name, value, kind_of(value))
  elseif name == "training" then
    self._values.training = value
    return record.mode_changed()
  elseif type(value) ~= "nil" and self._tensor_kinds[name] then
    refuse(self, name, self._tensor_kinds[name] == "parameter" and "parameter" or "buffer", value)
  else
    forget(self, name)
    self._values[name] = value
  end
  record.changed(self)
end

---Puts another tensor in the place of a parameter or buffer; what it is stays the same.
---@param self luasight.nn.Module
---@param name string
---@param t ffi.cdata*
function module.replace(self, name, t)
  self._values[name] = t
  record.changed(self)
end

-- ---- what the recorder reads -----------------------------------------------------------------------------------------

local function over(names, values)
  local i = 0
  return function()
    i = i + 1
    local name = names[i]
    if name then return name, values[name] end
  end
end

---Iterates over the name and tensor of its own parameters and buffers.
---@return fun(): string?, ffi.cdata*?
function Module:_tensors() return over(self._tensor_names, self._values) end

---Iterates over name and module directly below.
---@return fun(): string?, luasight.nn.Module?
function Module:_children() return over(self._child_names, self._values) end

---@param name string
---@return luasight.nn.Module?
function Module:_child(name)
  local v = self._values[name]
  return is_module(v) and v or nil
end

-- ---- classes ---------------------------------------------------------------------------------------------------------

local function construct(class, ...)
  local self = setmetatable({ _values = { training = true }, _tensor_names = {}, _tensor_kinds = {}, _child_names = {} },
    class._meta)
  class.init(self, ...)
  return self
end

---What a class does with the arguments of its constructor.
function Module:init() end

local function text(self) return require "luasight.nn.text".of(self) end

local function class_text(class) return "nn.Module " .. class._class_name end

---A class of modules; `parent` lends it what it does not define.
---@param name string
---@param parent table?
---@return table
function module.class(name, parent)
  if type(name) ~= "string" or name == "" then
    binding.raise("argument", ('the name of a class of modules is a text, not a %s: nn.Module "MLP"'):format(type(name)))
  end
  if parent ~= nil and (type(parent) ~= "table" or not rawget(parent, "_meta")) then
    binding.raise("argument", ("the parent of %s is no class of modules"):format(name))
  end
  local class = { _class_name = name }
  local function read(self, key)
    local v = self._values[key]
    if v or v == false then return v end
    if type(key) == "number" and class._key_at then return self._values[class._key_at(self, key)] end
    return class[key]
  end
  class._meta = { __index = read, __newindex = assign, __call = record.call, __tostring = text }
  return setmetatable(class, { __index = parent or Module, __call = construct, __tostring = class_text })
end

return module
