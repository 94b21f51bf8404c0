--- The settings of a module that are given by position or by name: nn.LeakyReLU(0.2), nn.LeakyReLU { negative_slope = 0.2 }.
local binding = require "luasight.ffi"
local near = require "luasight.base.near"
local options = require "luasight.base.options"

local settings = {}

---@class luasight.nn.Setting
---@field name string
---@field kind luasight.OptionKind
---@field default any
---@field choices table<string, true>?  the texts that the setting may be

local function refuse_choice(what, setting, v)
  local names = {}
  for name in pairs(setting.choices) do names[#names + 1] = name end
  table.sort(names)
  binding.raise("argument", ("%s: the setting %s cannot be %q%s"):format(what, setting.name, v, near.text(v, names)),
    { hint = table.concat(names, ", ") })
end

---Sets the fields of a module from its settings.
---@param self luasight.nn.Module
---@param list luasight.nn.Setting[]  the settings in PyTorch's order
---@param ... any
function settings.take(self, list, ...)
  local what = "nn." .. self._class_name
  local n = select("#", ...)
  local given, by_name = { ... }, nil
  if n > 0 and type(given[n]) == "table" then by_name, n = given[n], n - 1 end
  if n > #list then
    binding.raise("argument", ("%s takes at most %d settings, not %d"):format(self._class_name, #list, n))
  end
  local kinds = {}
  for _, setting in ipairs(list) do kinds[setting.name] = setting.kind end
  by_name = options.read(what, by_name, kinds)
  for i, setting in ipairs(list) do
    local v = by_name[setting.name]
    if v == nil and i <= n then v = given[i] end
    if v == nil then v = setting.default end
    options.value(what, setting.name, v, setting.kind)
    if setting.choices and not setting.choices[v] then refuse_choice(what, setting, v) end
    self[setting.name] = v
  end
end

---Returns the settings of a module as PyTorch prints them.
---@param self luasight.nn.Module
---@param list luasight.nn.Setting[]
---@return string
function settings.text(self, list)
  local parts, text = {}, require "luasight.nn.text"
  for i, setting in ipairs(list) do
    local write = setting.kind == "number" and text.float or text.value
    parts[i] = setting.name .. "=" .. write(self[setting.name])
  end
  return table.concat(parts, ", ")
end

return settings
