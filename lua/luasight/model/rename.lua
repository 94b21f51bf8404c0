--- Additional names for the modules of a model:
---
---     ls.Model(net, { rename = { layer1 = "embed", ["transformer.h"] = "layers" } })
---
--- A key that is the path of a module gives that module a new name below the root of the model. Any other key is the name
--- of modules anywhere in the model: each of them gets the new name beside its own. A list gives several new names.
local aliases = require "luasight.model.aliases"
local binding = require "luasight.ffi"
local near = require "luasight.base.near"

local rename = {}

local function problem(text, ...) binding.raise("name", "rename: " .. text:format(...)) end

local function module_at(module, path)
  for name in path:gmatch "[^.]+" do module = module and module:_child(name) end
  return module
end

---Returns the paths of the modules to which a key of `rename` refers, and whether the key is itself a path.
local function find(module, key)
  if key ~= "" and module_at(module, key) then return { key }, true end
  local found, all = {}, {}
  for path in module:named_modules() do
    local last = path:match "[^.]+$"
    all[#all + 1], all[#all + 2] = path, last
    if last == key then found[#found + 1] = path end
  end
  if #found == 0 then problem("there is no module %q%s", key, near.text(key, near.distinct(all))) end
  return found, false
end

---Returns whether a module has a tensor, a child or an alias of this name.
local function has(module, name)
  for known in module:_tensors() do
    if known == name then return true end
  end
  return module:_child(name) ~= nil or aliases.of(module, name) ~= nil
end

local function parts(path) return path:match "^(.-)%.?([^.]+)$" end

---Checks the additional names that a script gives to modules, and returns for each name the module that it is for.
---@param module table  the root nn.Module
---@param names table<string, string|string[]>
---@param is_word fun(name: string): boolean  returns whether every module has a method or field of this name
---@return table<table, table<string, string>>  # by the module below which a new name is added: new name -> path of a module
function rename.places(module, names, is_word)
  if type(names) ~= "table" then
    binding.raise("argument", "rename takes a table: { layer1 = \"embed\" }, not a " .. type(names))
  end
  local places = {}
  local function add(path, name, counts_from_model)
    local parent, last = parts(name)
    if not counts_from_model then parent = parts(path) .. (parent == "" and "" or "." .. parent) end
    local holder = module_at(module, parent)
    if not holder then problem("there is no module %q in which %q could be a name", parent, last) end
    local known = places[holder] or {}
    if is_word(last) or has(holder, last) or known[last] and known[last] ~= path then
      problem("the name %q is taken%s", last, parent == "" and "" or " in " .. parent)
    end
    places[holder], known[last] = known, path
  end
  for key, new in pairs(names) do
    local paths, is_path = find(module, tostring(key))
    for _, name in ipairs(type(new) == "table" and new or { new }) do
      if type(name) ~= "string" or not name:find "^[%a_][%w_]*[%w_.]*$" then
        problem("%s is no name for a module, which has letters, digits and _",
          type(name) == "string" and ("%q"):format(name) or tostring(name))
      end
      for _, path in ipairs(paths) do add(path, name, is_path) end
    end
  end
  return places
end

return rename
