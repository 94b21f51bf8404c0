--- Trees and graphs drawn by graphviz's program dot: quotes texts for its language, and runs it.
local labels = require "luasight.view.plot.labels"
local page = require "luasight.view.plot.page"
local program = require "luasight.view.plot.program"

local dot = {}

---Returns a text quoted for dot; "\n" in it begins a new line, and `aligned` puts the lines at the left.
---@param s string
---@param aligned boolean?
---@return string
function dot.quote(s, aligned)
  local lines = {}
  for line in (s .. "\n"):gmatch "([^\n]*)\n" do
    lines[#lines + 1] = labels.plain(line):gsub("&", "&amp;"):gsub("[\\\"]", "\\%0")
  end
  return '"' .. table.concat(lines, aligned and "\\l" or "\\n") .. (aligned and "\\l" or "") .. '"'
end

---Returns the first lines of a graph, which set its colours and shapes.
---@param theme luasight.Theme
---@param title string?
---@param more string?  additional attributes of the graph
---@return string
function dot.head(theme, title, more)
  return ([[
digraph luasight {
graph [bgcolor="%s", fontcolor="%s", fontname="sans-serif", fontsize=14, pad=0.2, %s%s];
node [shape=box, style="filled,rounded", color="%s", fillcolor="%s", fontcolor="%s", fontname="sans-serif", fontsize=11];
node [height=0.3];
edge [color="%s", fontcolor="%s", fontname="sans-serif", fontsize=10, arrowsize=0.7];
]]):format(theme.paper, theme.ink, title and ("label=%s, labelloc=t, "):format(dot.quote(title)) or "", more or "",
    theme.accents.frame, theme.accents.plain, theme.ink, theme.accents.frame, theme.ink)
end

---Draws a graph whose nodes are named n1, n2, ...
---@param text string
---@param tips table<string, string>  the text shown while the mouse is over a node, by the node's name
---@return string  # SVG
function dot.svg(text, tips)
  local svg = program.run("dot", "-Tsvg", text)
  return (svg:gsub("<title>([^<]*)</title>", function(name)
    return tips[name] and "<title>" .. page.escape(tips[name]) .. "</title>" or ""
  end))
end

return dot
