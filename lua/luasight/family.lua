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
  -- for a forward: `tuple` and `struct` make one value of several results, `tap` gives a value a name
  tuple = tensor.tuple,
  struct = tensor.struct,
  tap = record.tap,

  -- for parameters: `empty` makes a parameter whose numbers are not set, `is_skipping` returns whether parameters that are
  -- made now get no memory for numbers
  empty = parameter.empty,
  is_skipping = parameter.is_skipping,

  -- for a setting of config.json that the family refuses: `raise` raises an error, `near` finds the most similar known names
  raise = failure.raise,
  near = near.text,

  -- checks the names and the values in a table of options or of named arguments
  options = options.read,

  -- for printing a module: these functions write numbers and other values as PyTorch does
  float_text = text.float,
  tuple_text = text.tuple,
  value_text = text.value,

  -- a class: a family can make its own norm as a subclass
  RMSNorm = norm.RMSNorm,
}

return family
