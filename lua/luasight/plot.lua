--- Pictures: each prints in the terminal, saves as SVG, PNG, HTML or text, and gives its numbers back.
---
---     ls.plot.line(list, { title = "P(Mary)" }):save "mary.html"
---     print(ls.plot.heatmap(tensor, { rows = layers, columns = tokens }))
---
--- What every picture can do is in plot/figure.lua; each kind has a file there.
local failure = require "luasight.error"
local near = require "luasight.near"

local kinds = {
  line = "luasight.plot.line",
  bar = "luasight.plot.bar",
  heatmap = "luasight.plot.heatmap",
  attention = "luasight.plot.attention",
  tokens = "luasight.plot.tokens",
  tree = "luasight.plot.tree",
  graph = "luasight.plot.graph",
}

---@class luasight.plot
---@field line fun(values: any, options: luasight.LineOptions?): luasight.Plot
---@field bar fun(values: any, options: table?): luasight.Plot
---@field heatmap fun(values: any, options: luasight.HeatMapOptions?): luasight.Plot
---@field attention fun(pattern: any, options: luasight.AttentionOptions?): luasight.Plot
---@field tokens fun(tokens: string[], values: any, options: table?): luasight.Plot
---@field tree fun(model: any, options: table?): luasight.Plot
---@field graph fun(tracer: any, options: table?): luasight.Plot
local plot = {}

local function names()
  local list = {}
  for name in pairs(kinds) do list[#list + 1] = name end
  return list
end

return setmetatable(plot, {
  __names = names, -- for completion
  __index = function(self, name)
    local path = kinds[name]
    if not path then
      failure.raise("name", ("there is no plot.%s%s"):format(tostring(name), near.text(tostring(name), names())))
    end
    local make = require(path).new
    rawset(self, name, make)
    return make
  end,
})
