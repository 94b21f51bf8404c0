--- Aliases: second names for modules and values of a model. The field `aliases` of a module maps each such name to a path
--- that begins at the module ("self_attn.output[0]", or to a tap, "self_attn:q"), or to a table with the reason why the
--- module has no such value.
local aliases = {}

---@alias luasight.Alias string|{ [1]: string }

-- Returns the table of aliases; a module whose child is called `aliases` has none.
local function all_of(module)
  local all = module.aliases
  return type(all) == "table" and getmetatable(all) == nil and all or {}
end

---@param module table
---@param name any
---@return luasight.Alias?
function aliases.of(module, name) return all_of(module)[name] end

---Returns whether a path ends at a module rather than at a value.
---@param module table
---@param path string
---@return boolean
function aliases.is_module(module, path)
  for name in path:gmatch "[^.]+" do
    module = module and module:_child(name)
  end
  return module ~= nil
end

---Returns whether an alias stands for a module or for a value; nil where the module has no such alias, or where the alias
---stands for the reason why it has no such value.
---@param module table
---@param name any
---@return "module"|"value"|nil
function aliases.kind(module, name)
  local leads = all_of(module)[name]
  if type(leads) ~= "string" then return nil end
  return aliases.is_module(module, leads) and "module" or "value"
end

---Follows a path such as "self_attn.output[0]" from a handle up to its last name or number. Returns the object reached (here
---the value of self_attn.output), and the name or number with which it has to be indexed (here 0).
---@param handle userdata
---@param path string
---@return any, string|integer
function aliases.walk(handle, path)
  local at, step = handle, nil
  for word in path:gmatch "[^.:%[%]]+" do
    if step ~= nil then at = at[step] end
    step = tonumber(word) or word
  end
  return at, step
end

---Appends the names of a module's aliases to a list.
---@param module table
---@param list string[]  the list to which the aliases are appended, without those that are also names of children
---@param kind "module"|"value"|nil  append only aliases for modules, or only those for values
function aliases.add_names(module, list, kind)
  for name in pairs(all_of(module)) do
    local leads_to = aliases.kind(module, name)
    if leads_to and leads_to == (kind or leads_to) and not module:_child(name) then list[#list + 1] = name end
  end
end

return aliases
