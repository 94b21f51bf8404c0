--- Outlines of models for printing and drawing: the tree of modules with their tensors and numbers of parameters, in which
--- equal neighbouring modules, such as the layers of a model, can be shown as one.
local module_tree = {}

---@class luasight.Outline  one module of the tree; `tied` is the path of the parameter whose memory a tensor shares
---@field name string
---@field class string?
---@field tensors { name: string, shape: integer[], dtype: string?, count: integer, tied: string? }[]
---@field children luasight.Outline[]
---@field count integer  the number of parameters in the module and all modules below it

local function join(path, name) return path == "" and name or path .. "." .. name end

---Returns the product of the numbers of a list, such as the number of elements for a shape.
---@param list integer[]
---@return integer
function module_tree.product(list)
  local n = 1
  for _, size in ipairs(list) do n = n * size end
  return n
end

---Returns a number as text, with commas between thousands.
---@param n integer
---@return string
function module_tree.grouped(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

---Returns the module tree of a network.
---@param m luasight.nn.Module
---@param tensor_of fun(path: string, name: string, t: any): table?  returns the tensor's entry in the field `tensors`, or
---  nil to leave the tensor out
---@return luasight.Outline
function module_tree.of_network(m, tensor_of)
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

-- Returns a text about a module's class, tensors and children. Neighbouring modules with the same text may be shown as one.
local function likeness(node)
  local parts = { node.class or "", tostring(node.count) }
  for _, t in ipairs(node.tensors) do
    parts[#parts + 1] = ("%s [%s] %s %s"):format(t.name, table.concat(t.shape, ", "), t.dtype or "", t.tied or "")
  end
  for _, child in ipairs(node.children) do parts[#parts + 1] = ("(%s: %s)"):format(child.name, likeness(child)) end
  return table.concat(parts, "; ")
end

---Iterates over the children of a module, with equal numbered neighbours as one group. Each step returns the first child of a
---group, the child's name or for several a range such as "0-11", and the number of children in the group.
---@param node luasight.Outline
---@param all boolean?  true: each child is a group of its own
---@return fun(): luasight.Outline?, string?, integer?
function module_tree.groups(node, all)
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

return module_tree
