--- Draws the tree of modules of a model, with classes, shapes and numbers of parameters.
local colours = require "luasight.view.plot.colours"
local dot = require "luasight.view.plot.dot"
local failure = require "luasight.base.error"
local figure = require "luasight.view.plot.figure"
local labels = require "luasight.view.plot.labels"
local module_tree = require "luasight.view.module_tree"
local tensors = require "luasight.ffi.tensors"

local Tree = figure.class("tree", { "all", "depth" })

-- ---- the modules that are drawn ----------------------------------------------------------------------------------------

local function module_of(v)
  local model = require "luasight.model"
  if model.is_handle(v) then return model.module_of(v) end
  if type(v) == "table" and type(v._children) == "function" then return v end
  failure.raise("argument", "plot.tree draws a model or an nn.Module, not a " .. type(v))
end

-- Returns the tree of a module and the modules below it; a tensor that several modules share is only counted in the first.
local function module_tree_of(module)
  local first = {}
  return module_tree.of_network(module, function(path, name, t)
    local key = tensors.identity(t)
    local tied = first[key]
    first[key] = tied or path
    local sizes = tensors.sizes(t)
    return { name = name, shape = sizes, dtype = t.dtype, count = tied and 0 or module_tree.product(sizes), tied = tied }
  end)
end

---@class luasight.TreeNode  a module in the picture of a tree, or several equal neighbouring modules
---@field name string
---@field class string?
---@field alike integer       the number of equal neighbouring modules that this node stands for
---@field parameters integer  the number of parameters in one of these modules and all below it
---@field tensors string[]    the tensors of the module as texts, such as "weight [128, 384]"
---@field children luasight.TreeNode[]

local function tree_of(node, name, alike, all, depth)
  local tree = { name = name, class = node.class, alike = alike, parameters = node.count, tensors = {}, children = {} }
  for i, t in ipairs(node.tensors) do
    tree.tensors[i] = t.tied and ("%s tied to %s"):format(t.name, t.tied) or ("%s [%s]"):format(t.name,
      table.concat(t.shape, ", "))
  end
  if depth == 0 then return tree end
  for child, child_name, count in module_tree.groups(node, all) do
    table.insert(tree.children, tree_of(child, child_name, count, all, depth - 1))
  end
  return tree
end

---Makes a picture of the tree of a model's modules.
---@param model any  a model, a module of one, or an nn.Module
---@param options { title: string?, all: boolean?, depth: integer? }?  all: draws each of several equal
---  neighbours; depth: the number of levels shown below the root
---@return luasight.Plot
function Tree.new(model, options)
  options = figure.options(Tree, options)
  local node = module_tree_of(module_of(model))
  return setmetatable({ options = options, tree = tree_of(node, "", 1, options.all, options.depth or -1) }, Tree)
end

---Returns the root of the tree that the picture shows.
---@return luasight.TreeNode
function Tree:data() return self.tree end

local function count_text(node)
  if node.parameters == 0 then return "" end
  return (node.alike > 1 and node.alike .. " x " or "") .. module_tree.grouped(node.parameters)
end

local function class_text(node)
  return (node.alike > 1 and node.alike .. " x " or "") .. (node.class or "")
end

-- ---- in the terminal ---------------------------------------------------------------------------------------------------

local function lines_of(node, before, below, out)
  out[#out + 1] = { before .. node.name, class_text(node), count_text(node), table.concat(node.tensors, ", ") }
  for i, child in ipairs(node.children) do
    local last = i == #node.children
    lines_of(child, below .. (last and "└─ " or "├─ "), below .. (last and "   " or "│  "), out)
  end
  return out
end

function Tree:_text(depth)
  local rows, widths = lines_of(self.tree, "", "", {}), { 0, 0, 0 }
  rows[1][1], rows[1][2] = class_text(self.tree), ""
  for _, row in ipairs(rows) do
    for k = 1, 3 do widths[k] = math.max(widths[k], labels.columns(row[k])) end
  end
  local out, theme = { figure.heading(self) }, colours.themes.light
  for _, row in ipairs(rows) do
    out[#out + 1] = ("%s  %s  %s  %s\n"):format(labels.fill(row[1], widths[1], "left"),
      colours.tint(labels.fill(row[2], widths[2], "left"), theme.series[1], depth), labels.fill(row[3], widths[3], "right"),
      row[4])
  end
  return table.concat(out)
end

-- ---- as a drawing of graphviz ------------------------------------------------------------------------------------------

---Returns the tree in the language of graphviz's program dot, and the texts shown under the mouse.
---@param theme luasight.Theme
---@return string text, table<string, string> tips
local function dot_of(self, theme)
  local out, tips, count = { dot.head(theme, self.options.title, "rankdir=LR, nodesep=0.12, ranksep=0.35") }, {}, 0
  local function walk(node, parent)
    count = count + 1
    local name, lines = "n" .. count, {}
    for _, line in ipairs { node.name, class_text(node), count_text(node) } do
      if line ~= "" then lines[#lines + 1] = line end
    end
    out[#out + 1] = ("%s [label=%s, fillcolor=%q];\n"):format(name, dot.quote(table.concat(lines, "\n")),
      #node.children > 0 and theme.accents.module or theme.accents.point)
    tips[name] = table.concat(lines, "\n") .. (#node.tensors > 0 and "\n" .. table.concat(node.tensors, "\n") or "")
    if parent then out[#out + 1] = ("%s -> %s [arrowhead=none];\n"):format(parent, name) end
    for _, child in ipairs(node.children) do walk(child, name) end
  end
  walk(self.tree)
  return table.concat(out) .. "}\n", tips
end

---Returns the picture's source, which can be changed and drawn with graphviz.
---@return string  # the tree in the language of graphviz's program dot
function Tree:dot() return (dot_of(self, colours.themes.light)) end

function Tree:_draw(theme) return dot.svg(dot_of(self, theme)) end

return Tree
