--- Functions that make pictures. A picture can be printed in a terminal, saved as SVG, PNG, HTML or text, and asked for the
--- numbers that it shows.
---
---     ls.plot.line(list, { title = "P(Mary)" }):save "mary.html"
---     print(ls.plot.heatmap(tensor, { rows = layers, columns = tokens }))
---
--- figure.lua has the methods of every picture; each kind of picture has a file in this folder.
local failure = require "luasight.base.error"
local near = require "luasight.base.near"

---@class luasight.plot
local plot = {}

local function make(kind, ...) return require("luasight.view.plot." .. kind).new(...) end

---Draws a line through the numbers of a list, or one line for each of several lists. A number that is not finite leaves a
---gap.
---@param values any  a list or tensor of numbers, or a list of such lists; a tensor may have two axes
---@param options luasight.LineOptions?
---@return luasight.Plot
function plot.line(values, options) return make("line", values, options) end

---Draws a bar for every number, or groups of bars for several lists.
---@param values any  a list or tensor of numbers, or a list of such lists; a tensor may have two axes
---@param options { title: string?, x: string?, y: string?, labels: string[]?, legend: string[]?, range: number[]? }?
---@return luasight.Plot
function plot.bar(values, options) return make("bar", values, options) end

---Draws a table of numbers as coloured cells, with or without text inside. For numbers of both signs, zero is in the middle of
---the colours.
---@param values any  a list of rows, or a tensor with two axes
---@param options luasight.HeatMapOptions?
---@return luasight.Plot
function plot.heatmap(values, options) return make("heatmap", values, options) end

---Draws attention patterns, head by head: how much each position (row) reads from each other position (column).
---@param pattern any  a tensor [H, T, S] or [1, H, T, S], or lists
---@param options luasight.AttentionOptions?
---@return luasight.Plot
function plot.attention(pattern, options) return make("attention", pattern, options) end

---Draws a text in which the background colour of each token stands for a number, such as the probability of the token.
---@param tokens string[]  the tokens, decoded one by one
---@param values any       a number for each token: a list or a tensor
---@param options { title: string?, value: string?, range: number[]?, colours: string? }?  value: the name of the quantity
---@return luasight.Plot
function plot.tokens(tokens, values, options) return make("tokens", tokens, values, options) end

---Draws the tree of a model's modules, with classes, shapes and numbers of parameters; equal layers are drawn as one.
---@param model any  a model, a module of one, or an nn.Module
---@param options { title: string?, all: boolean?, depth: integer? }?  all: draws each equal layer; depth: levels shown
---@return luasight.Plot
function plot.tree(model, options) return make("tree", model, options) end

---Draws the graph that a trace has recorded, grouped by module; edits, saves, passes and steps are marked.
---@param tracer any  an open tracer, or the result of tracer:graph()
---@param options { title: string? }?
---@return luasight.Plot
function plot.graph(tracer, options) return make("graph", tracer, options) end

return setmetatable(plot, { __index = function(_, name)
  local names = {}
  for known in pairs(plot) do names[#names + 1] = known end
  failure.raise("name", ("there is no picture ls.plot.%s%s"):format(tostring(name), near.text(tostring(name), names)))
end })
