--- Draws the graph that a trace has recorded: reads, operators, edits and saves, grouped by the module at which they run.
local colours = require "luasight.view.plot.colours"
local dot = require "luasight.view.plot.dot"
local failure = require "luasight.base.error"
local figure = require "luasight.view.plot.figure"
local json = require("cjson").new()
local labels = require "luasight.view.plot.labels"
local site = require "luasight.ffi.site"
local words = require "luasight.trace.graph_text"

local Graph = figure.class("graph", {})

-- ---- the nodes that are drawn ------------------------------------------------------------------------------------------

---@class luasight.GraphNode  a node of the graph that a trace has recorded
---@field number integer    the node's number in the printed graph
---@field kind string       what the node does: "read", "write", "operator", "get", "set", ...
---@field text string       the operation as text: "mul(%1, 2)"
---@field inputs integer[]  the numbers of the nodes whose values this node uses
---@field module string     the path of the module at which the node runs, "" for the whole model
---@field point integer     the number of the node's point; a run of the model reaches points in the order of their numbers
---@field pass integer      the number of the pass in which the node runs
---@field invoke integer    the number of the node's invoke, -1 for a node of no invoke
---@field step integer      the number of the step of a generation
---@field edits boolean     whether the node changes a value of the model or of the script
---@field saved boolean     whether the node's value is saved
---@field line string?      the line of the script that recorded the node, such as "script.lua:3"

-- Splits the name of a point, such as "transformer.h.3.output (call 1)", into the path of the module and the rest.
local function split(point)
  local path, name = point:match "^(.*)%.([^.]+)$"
  return path or "", name or point
end

local function text_of(node, number_of)
  local given, kind = words.arguments(node, number_of), node["do"]
  local _, point = split(node.name or "")
  if kind == "read" then return point end
  if kind == "write" then return ("%s %s %s"):format(point, node.skips and "skipped:" or "=", given[1]) end
  if kind == "get" then return ("%s[%s]"):format(given[1], table.concat(given, ", ", 2)) end
  if kind == "set" then return ("%s[%s] = %s"):format(given[1], table.concat(given, ", ", 3), given[2]) end
  return ("%s(%s)"):format(kind == "operator" and node.name or kind .. (node.name and " " .. node.name or ""),
    table.concat(given, ", "))
end

local function node_of(node)
  local inputs = {}
  words.inputs(node.arguments, inputs)
  return {
    number = node.node, kind = node["do"], inputs = inputs, text = text_of(node, function(n) return "%" .. n end),
    module = (split(node.at or "")), point = node.point or 0, pass = node.pass or 0, invoke = node.rows or -1,
    step = node["at step"] or 0, edits = node["do"] == "write" or node.edits ~= nil, saved = node.saved == true,
    line = node.site and site.split(node.site) and site.text(node.site) or nil,
  }
end

---Makes a picture of the graph that a trace has recorded.
---@param traced any  an open tracer, or the result of tracer:graph()
---@param options { title: string? }?
---@return luasight.Plot
function Graph.new(traced, options)
  options = figure.options(Graph, options)
  local recorded = traced
  if type(traced) ~= "table" then
    failure.raise("argument", "plot.graph draws a tracer or the result of tracer:graph(), not a " .. type(traced))
  end
  if not rawget(traced, "places") then recorded = traced:graph() end
  local nodes = {}
  for i, node in ipairs(json.decode(recorded.places).nodes) do nodes[i] = node_of(node) end
  return setmetatable({ options = options, nodes = nodes }, Graph)
end

---Returns the nodes of the graph that the picture shows.
---@return luasight.GraphNode[]
function Graph:data() return self.nodes end

-- ---- groups ------------------------------------------------------------------------------------------------------------

local order = { "pass", "invoke", "step", "point", "number" }

---Groups nodes by module, in the order in which they run. A module that has modules inside may have two groups: one at its
---input and one at its output.
---@param nodes luasight.GraphNode[]
---@return { pass: integer, invoke: integer, step: integer, module: string, nodes: luasight.GraphNode[] }[]
local function groups_of(nodes)
  local sorted, groups, group = { unpack(nodes) }, {}, nil
  table.sort(sorted, function(a, b)
    for _, key in ipairs(order) do
      if a[key] ~= b[key] then return a[key] < b[key] end
    end
    return false
  end)
  for _, node in ipairs(sorted) do
    if not group or group.module ~= node.module or group.pass ~= node.pass or group.invoke ~= node.invoke
      or group.step ~= node.step then
      group = { pass = node.pass, invoke = node.invoke, step = node.step, module = node.module, nodes = {} }
      groups[#groups + 1] = group
    end
    table.insert(group.nodes, node)
  end
  return groups
end

local function several(groups, key)
  for _, group in ipairs(groups) do
    if group[key] ~= groups[1][key] then return true end
  end
  return false
end

---Returns a function that returns the place of a group of nodes as text, such as "pass 0, invoke 1". The text names pass,
---invoke and step only where the groups differ in them.
local function place_words(groups)
  local shown = {}
  for _, key in ipairs { "pass", "invoke", "step" } do
    if several(groups, key) then shown[#shown + 1] = key end
  end
  return function(group)
    local parts = {}
    for _, key in ipairs(shown) do
      if group[key] >= 0 then parts[#parts + 1] = ("%s %d"):format(key, group[key]) end
    end
    return table.concat(parts, ", ")
  end
end

local function module_words(group) return group.module == "" and "the whole model" or group.module end

-- ---- in the terminal ---------------------------------------------------------------------------------------------------

function Graph:_text(depth)
  local groups, theme = groups_of(self.nodes), colours.themes.light
  local place, before, out = place_words(groups), nil, { figure.heading(self) }
  for _, group in ipairs(groups) do
    local here = place(group)
    if here ~= before and here ~= "" then out[#out + 1] = here .. "\n" end
    before = here
    out[#out + 1] = colours.tint(module_words(group), theme.series[1], depth) .. "\n"
    for _, node in ipairs(group.nodes) do
      local notes = (node.edits and "  -- edit" or "") .. (node.saved and "  -- saved" or "")
      local text = ("  %%%d: %s%s"):format(node.number, labels.plain(node.text), notes)
      out[#out + 1] = colours.tint(text, node.edits and theme.series[2] or node.saved and theme.series[3] or theme.ink,
        (node.edits or node.saved) and depth or "none") .. "\n"
    end
  end
  return table.concat(out)
end

-- ---- as a drawing of graphviz ------------------------------------------------------------------------------------------

local function tip_of(node)
  return ("%%%d: %s%s%s%s"):format(node.number, node.text, node.edits and "\nedit" or "", node.saved and "\nsaved" or "",
    node.line and "\n" .. node.line or "")
end

local function put_group(out, tips, theme, group, number, place)
  local title = place ~= "" and module_words(group) .. "\n" .. place or module_words(group)
  out[#out + 1] = ("subgraph cluster_%d {\nlabel=%s; labeljust=l; fontsize=11;\n"):format(number, dot.quote(title))
  out[#out + 1] = ('style="filled,rounded"; color=%q; fillcolor=%q;\n'):format(theme.accents.frame, theme.accents.module)
  for _, node in ipairs(group.nodes) do
    local fill = node.edits and theme.accents.edit or node.saved and theme.accents.saved
      or node.kind == "read" and theme.accents.point or theme.accents.plain
    local text = ("%%%d: %s"):format(node.number, labels.cut(labels.plain(node.text), 48))
    out[#out + 1] = ("n%d [label=%s, fillcolor=%q%s];\n"):format(node.number, dot.quote(text .. (node.edits and "\nedit" or "")
      .. (node.saved and "\nsaved" or "")), fill, node.saved and ", penwidth=2" or "")
    tips["n" .. node.number] = tip_of(node)
  end
  out[#out + 1] = "}\n"
end

---Returns the graph in the language of graphviz's program dot, and the texts shown under the mouse. Dashed arrows show the
---order in which the model runs its modules.
---@param self luasight.Plot
---@param theme luasight.Theme
---@return string text, table<string, string> tips
local function dot_of(self, theme)
  local groups, tips = groups_of(self.nodes), {}
  local place, out = place_words(groups), { dot.head(theme, self.options.title, "compound=true, nodesep=0.2, ranksep=0.35") }
  for i, group in ipairs(groups) do put_group(out, tips, theme, group, i, place(group)) end
  for _, node in ipairs(self.nodes) do
    for _, input in ipairs(node.inputs) do out[#out + 1] = ("n%d -> n%d;\n"):format(input, node.number) end
  end
  for i = 2, #groups do
    local a, b = groups[i - 1], groups[i]
    if a.pass == b.pass and a.invoke == b.invoke and a.invoke >= 0 then
      out[#out + 1] = ("n%d -> n%d [ltail=cluster_%d, lhead=cluster_%d, style=dashed];\n"):format(a.nodes[#a.nodes].number,
        b.nodes[1].number, i - 1, i)
    end
  end
  return table.concat(out) .. "}\n", tips
end

---Returns the picture's source, which can be changed and drawn with graphviz.
---@return string  # the graph in the language of graphviz's program dot
function Graph:dot() return (dot_of(self, colours.themes.light)) end

function Graph:_draw(theme) return dot.svg(dot_of(self, theme)) end

return Graph
