--- Reads the registered schemas of the present libtorch's operators, and translates their types for LuaLS.
local binding = require "luasight.ffi"
local operators = require "luasight.tensor.operators"

local C, ffi = binding.C, binding.ffi

local schemas = {}

---@class SchemaArgument
---@field name string
---@field type string       as the schema writes it: "int[2]?", "Tensor(a!)"
---@field default string?   as the schema writes it: "None", "1e-05"
---@field keyword boolean   whether it is behind the star, so that it can be given by name only

---@class Schema
---@field text string       the schema without its namespace
---@field overload string
---@field arguments SchemaArgument[]
---@field returns { type: string, name: string? }[]

-- ---- reading -----------------------------------------------------------------------------------------------------------

---Cuts a text at the commas that are outside of brackets and quotes.
local function cut(text)
  local parts, depth, from, quoted = {}, 0, 1, false
  for i = 1, #text + 1 do
    local c = text:sub(i, i)
    if c == '"' then quoted = not quoted end
    if not quoted then
      if c:find "[%(%[]" then depth = depth + 1 elseif c:find "[%)%]]" then depth = depth - 1 end
    end
    if i > #text or c == "," and depth == 0 and not quoted then
      local part = text:sub(from, i - 1):match "^%s*(.-)%s*$"
      if part ~= "" then parts[#parts + 1] = part end
      from = i + 1
    end
  end
  return parts
end

---@param text string  one line of ls_op_schemas
---@return Schema
function schemas.parse(text)
  local head, arguments, returns = text:match "^([^(]+)(%b()) %-> (.*)$"
  local schema = { text = text:gsub("^[%w_]+::", ""), overload = head:match "%.(.*)$" or "", arguments = {}, returns = {} }
  local keyword = false
  for _, part in ipairs(cut(arguments:sub(2, -2))) do
    if part == "*" then
      keyword = true
    else
      local declared, default = part:match "^(.-)=(.*)$"
      local type, name = (declared or part):match "^(.-)%s+([%w_]+)$"
      table.insert(schema.arguments, { name = name, type = type, default = default, keyword = keyword })
    end
  end
  if returns:sub(1, 1) == "(" then returns = returns:sub(2, -2) end
  for _, part in ipairs(cut(returns)) do
    local type, name = part:match "^(.-)%s+([%w_]+)$"
    table.insert(schema.returns, { type = type or part, name = name })
  end
  return schema
end

-- ---- types -------------------------------------------------------------------------------------------------------------

local plain = {
  Tensor = "luasight.Tensor", int = "integer", SymInt = "integer", float = "number", Scalar = "number", number = "number",
  bool = "boolean", SymBool = "boolean", str = "string", ScalarType = "luasight.dtype", Device = "string", Layout = "string",
  MemoryFormat = "string", complex = "number",
}

---Returns a type of a schema as LuaLS writes it, without the sign that it may be nil.
---@param type string
---@return string
function schemas.lua_type(type)
  type = type:gsub("%b()", ""):gsub("%?$", "")
  local element = type:match "^(.-)%[%d*%]$"
  if not element then return plain[type] or "any" end
  element = schemas.lua_type(element)
  local list = (element:find "[|?]" and "(" .. element .. ")[]" or element .. "[]") .. "|luasight.Sequence"
  return type:find "%[%d+%]$" and element .. "|" .. list or list -- int[2] may be one number, which stands for all
end

local reserved = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while")
  :gmatch "%a+" do reserved[word] = true end

---Returns a name that is allowed for a parameter in Lua.
---@param name string
---@return string
function schemas.lua_name(name) return reserved[name] and name .. "_" or name end

---Returns whether scripts call an overload: not one that writes into a tensor `out`, or that names axes by text.
local function is_for_scripts(schema)
  if schema.overload:lower():find "name" then return false end -- an older libtorch shows a Dimname as a text
  for _, a in ipairs(schema.arguments) do
    local written = a.name == "out" or a.keyword and a.type:find "!"
    if written or a.type:find "Dimname" or a.type:find "Generator" then return false end
  end
  return true
end

-- ---- the operators -----------------------------------------------------------------------------------------------------

---Returns the schemas of an operator that scripts can use, the shortest first.
---@param name string
---@return Schema[]
function schemas.of(name)
  local op, list = operators.find(name), {}
  if not op then return list end
  for line in ffi.string(C.ls_op_schemas(op)):gmatch "[^\n]+" do
    local schema = schemas.parse(line)
    if is_for_scripts(schema) then list[#list + 1] = schema end
  end
  table.sort(list, function(a, b)
    if #a.arguments ~= #b.arguments then return #a.arguments < #b.arguments end
    return a.overload < b.overload
  end)
  return list
end

---Returns the sorted names of all operators that are public and can be written as a name in Lua.
---@return string[]
function schemas.names()
  local list = {}
  for _, name in ipairs(operators.names "") do
    if name:find "^%a[%w_]*$" and not reserved[name] then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

return schemas
