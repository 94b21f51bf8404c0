--- What a family of models may use beside `luasight` itself; see docs/adding-a-family.md.
local failure = require "luasight.base.error"
local near = require "luasight.base.near"
local options = require "luasight.base.options"
local tensor = require "luasight.tensor"
local norm = require "luasight.nn.norm"
local parameter = require "luasight.nn.parameter"
local record = require "luasight.nn.record"
local text = require "luasight.nn.text"

---@class luasight.Family
local family = {
  -- values of a forward: several results, results by name, a value with a name
  tuple = tensor.tuple,
  struct = tensor.struct,
  tap = record.tap,

  -- parameters without numbers yet, and whether a module is made without any
  empty = parameter.empty,
  is_skipping = parameter.is_skipping,

  -- a setting that is refused, by its code and a sentence; the nearest of the names that exist
  raise = failure.raise,
  near = near.text,

  -- a table of options or named arguments, its names and values checked
  options = options.read,

  -- attributes of a module as PyTorch prints them
  float_text = text.float,
  tuple_text = text.tuple,
  value_text = text.value,

  -- the norm whose class a family may take over
  RMSNorm = norm.RMSNorm,
}

return family
