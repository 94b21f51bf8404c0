--- More names for places of a model. A module's field `aliases` says where each of its names leads: a path from the module
--- ("self_attn.output[0]", or to a tap, "self_attn:q"), or a table with the reason why there is no such place.
local aliases = {}

---@alias luasight.Alias string|{ [1]: string }

-- A module of one's own may have a child of that name.
local function all_of(module)
  local all = module.aliases
  return type(all) == "table" and getmetatable(all) == nil and all or {}
end

---@param module table
---@param name any
---@return luasight.Alias?
function aliases.of(module, name) return all_of(module)[name] end

---Whether a path leads to a module, not to a value.
---@param module table
---@param path string
---@return boolean
function aliases.is_module(module, path)
  for name in path:gmatch "[^.]+" do
    module = module and module:_child(name)
  end
  return module ~= nil
end

---What another name of a module leads to; nil where it is none, or there is a reason why not.
---@param module table
---@param name any
---@return "module"|"value"|nil
function aliases.kind(module, name)
  local leads = all_of(module)[name]
  if type(leads) ~= "string" then return nil end
  return aliases.is_module(module, leads) and "module" or "value"
end

---What a path is taken from, and its last step.
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

---@param module table
---@param list string[]  to which the names are added, but not those that are children's too
---@param kind "module"|"value"|nil  only those that lead to such
function aliases.add_names(module, list, kind)
  for name in pairs(all_of(module)) do
    local leads_to = aliases.kind(module, name)
    if leads_to and leads_to == (kind or leads_to) and not module:_child(name) then list[#list + 1] = name end
  end
end

return aliases
