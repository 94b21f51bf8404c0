--- Pictures: each prints in the terminal, saves as SVG, PNG, HTML or text, and gives its numbers back.
---
---     ls.plot.line(list, { title = "P(Mary)" }):save "mary.html"
---     print(ls.plot.heatmap(tensor, { rows = layers, columns = tokens }))
---
--- What every picture can do is in figure.lua; each kind has a file there.
local failure = require "luasight.base.error"
local near = require "luasight.base.near"

---@class luasight.plot
local plot = {}

local function make(kind, ...) return require("luasight.view.plot." .. kind).new(...) end

---A line through the numbers of a list, or one line for each of several lists. What is no finite number is a gap.
---@param values any  a list or tensor of numbers, or a list of such; a tensor may have two axes
---@param options luasight.LineOptions?
---@return luasight.Plot
function plot.line(values, options) return make("line", values, options) end

---A bar for every number, or groups of bars, one for each of several lists.
---@param values any  as of `line`
---@param options { title: string?, x: string?, y: string?, labels: string[]?, legend: string[]?, range: number[]? }?
---@return luasight.Plot
function plot.bar(values, options) return make("bar", values, options) end

---A coloured cell for every row and column, with or without text in it. Numbers of both signs have zero in the middle of the
---colours.
---@param values any  a list of rows, or a tensor with two axes
---@param options luasight.HeatMapOptions?
---@return luasight.Plot
function plot.heatmap(values, options) return make("heatmap", values, options) end

---Attention patterns, head by head: which position (row) reads how much from which (column).
---@param pattern any  a tensor [H, T, S] or [1, H, T, S], or lists
---@param options luasight.AttentionOptions?
---@return luasight.Plot
function plot.attention(pattern, options) return make("attention", pattern, options) end

---A text, each token on a ground of the colour of its number.
---@param tokens string[]  as decoded one by one
---@param values any       a number for each: a list or a tensor
---@param options { title: string?, value: string?, range: number[]?, colours: string? }?  value: what the numbers are
---@return luasight.Plot
function plot.tokens(tokens, values, options) return make("tokens", tokens, values, options) end

---The tree of modules, with classes, shapes and numbers of parameters; equal layers once.
---@param model any  a model, a module of one, or an nn.Module
---@param options { title: string?, all: boolean?, depth: integer? }?  all: equal layers each by themselves; depth: levels
---@return luasight.Plot
function plot.tree(model, options) return make("tree", model, options) end

---What a trace has recorded, by the module where it happens; edits, saves, passes and steps are marked.
---@param tracer any  an open tracer, or what tracer:graph() gave
---@param options { title: string? }?
---@return luasight.Plot
function plot.graph(tracer, options) return make("graph", tracer, options) end

return setmetatable(plot, { __index = function(_, name)
  local names = {}
  for known in pairs(plot) do names[#names + 1] = known end
  failure.raise("name", ("there is no plot.%s%s"):format(tostring(name), near.text(tostring(name), names)))
end })
