--- Outlines of models: the tree of modules with their tensors and numbers of parameters; equal neighbours are joined.
local outline = {}

---@class luasight.Outline  one module of the tree
---@field name string
---@field class string?
---@field tensors { name: string, shape: integer[], dtype: string?, count: integer, tied: string? }[]
---@field children luasight.Outline[]
---@field count integer  the number of parameters in the module and below it

local function join(path, name) return path == "" and name or path .. "." .. name end

---Returns the sizes of a shape as a list.
---@param shape any
---@return integer[]
function outline.sizes(shape)
  local list = {}
  for i, size in shape:each() do list[i + 1] = size end
  return list
end

---@param list integer[]
---@return integer
function outline.product(list)
  local n = 1
  for _, size in ipairs(list) do n = n * size end
  return n
end

---Returns a number as text, with commas between thousands.
---@param n integer
---@return string
function outline.grouped(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

---Returns the outline of a network.
---@param m luasight.nn.Module
---@param tensor_of fun(path: string, name: string, t: any): table?  returns the entry of a tensor, or nil to leave it out
---@return luasight.Outline
function outline.of_network(m, tensor_of)
  local function walk(module, name, path)
    local node = { name = name, class = module._class_name, tensors = {}, children = {}, count = 0 }
    for own, t in module:_tensors() do
      local tensor = tensor_of(join(path, own), own, t)
      if tensor then node.tensors[#node.tensors + 1], node.count = tensor, node.count + tensor.count end
    end
    for child_name, child in module:_children() do
      local below = walk(child, child_name, join(path, child_name))
      node.children[#node.children + 1], node.count = below, node.count + below.count
    end
    return node
  end
  return walk(m, "", "")
end

-- Returns a text that is equal for two modules that may be shown as one.
local function likeness(node)
  local parts = { node.class or "", tostring(node.count) }
  for _, t in ipairs(node.tensors) do
    parts[#parts + 1] = ("%s [%s] %s %s"):format(t.name, table.concat(t.shape, ", "), t.dtype or "", t.tied or "")
  end
  for _, child in ipairs(node.children) do parts[#parts + 1] = ("(%s: %s)"):format(child.name, likeness(child)) end
  return table.concat(parts, "; ")
end

---Iterates over the children; equal numbered neighbours are joined. Returns the first of them, its name or a range such as
---"0-11", and their number.
---@param node luasight.Outline
---@param all boolean?  true: no children are joined
---@return fun(): luasight.Outline?, string?, integer?
function outline.groups(node, all)
  local children, i = node.children, 0
  return function()
    local first, last = children[i + 1], i + 1
    if not first then return nil end
    if not all and tonumber(first.name) then
      local like = likeness(first)
      while children[last + 1] and likeness(children[last + 1]) == like do last = last + 1 end
    end
    local count = last - i
    i = last
    return first, count > 1 and first.name .. "-" .. children[last].name or first.name, count
  end
end

return outline
