--- Texts for the arguments and nodes of a recorded graph, made from the graph's JSON.
local null = require("cjson").null

local words = {}

---Returns an argument as text; `of_node` returns the name of a node.
---@param v any
---@param of_node fun(number: integer): string
---@return string
function words.argument(v, of_node)
  local function text(x) return words.argument(x, of_node) end
  if v == null then return "None" end
  if type(v) ~= "table" then return type(v) == "string" and ("%q"):format(v) or tostring(v) end
  if v.node then return of_node(v.node) end
  if v.name then return v.name .. "=" .. text(v.value) end
  if v.parameter or v.index or v.float then return v.parameter or v.index or v.float end
  if v.tensor then return "tensor" .. text(v.tensor.shape) end
  local list, parts = v.slice or v.tuple or v.struct or v, {}
  for i, inner in ipairs(list) do parts[i] = v.slice and inner == null and "" or text(inner) end
  if v.slice then return (table.concat(parts, ":"):gsub("^([^:]*:[^:]*):$", "%1")) end
  local inside = table.concat(parts, ", ")
  return v.tuple and "(" .. inside .. ")" or v.struct and "{" .. inside .. "}" or "[" .. inside .. "]"
end

---Returns the texts of all arguments of a node.
---@param node table
---@param of_node fun(number: integer): string
---@return string[]
function words.arguments(node, of_node)
  local given = {}
  for i, v in ipairs(node.arguments or {}) do given[i] = words.argument(v, of_node) end
  return given
end

---Collects the numbers of the nodes that an argument contains.
---@param v any
---@param found integer[]  the list to which the numbers are appended
function words.inputs(v, found)
  if type(v) ~= "table" then return end
  if type(v.node) == "number" then
    found[#found + 1] = v.node
    return
  end
  for _, inner in pairs(v) do words.inputs(inner, found) end
end

return words
