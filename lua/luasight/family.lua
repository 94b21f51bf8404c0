--- The functions that a file of a model family may use in addition to `luasight` itself; see docs/adding-a-family.md.
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
  -- for the values of a forward: several results, results by name, a value with a name
  tuple = tensor.tuple,
  struct = tensor.struct,
  tap = record.tap,

  -- for parameters: `empty` makes one without numbers, `is_skipping` tells whether a module is being made without any
  -- numbers
  empty = parameter.empty,
  is_skipping = parameter.is_skipping,

  -- for a setting of config.json that is refused: the error with its code and text, and the nearest of the names that exist
  raise = failure.raise,
  near = near.text,

  -- a table of options or named arguments, its names and values checked
  options = options.read,

  -- for the attributes of a module, as texts in the form in which PyTorch prints them
  float_text = text.float,
  tuple_text = text.tuple,
  value_text = text.value,

  -- for the norm of a family: the class on which it may build its own
  RMSNorm = norm.RMSNorm,
}

return family
