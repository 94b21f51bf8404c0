--- The cache of a generation: one tensor that is made once, with room for the longest text, and kept from step to step.
---
--- For attention it has keys and values, L 2 R H N D: L layers, 2 for keys and values, R rows, H key/value heads, N the
--- longest text, D head width. A forward gets the view of the first S positions, which include the T new ones. For a state
--- space model it has the states, L R X: X numbers for each layer and row, whatever the length.
---
--- A prompt fills the cache (T = S, causal); a step with the option `continues` adds one token (T = 1), which reads all
--- positions.
local ls = require "luasight"
local helpers = require "luasight.family"

local torch = ls.torch

local cache = {}

---The arguments that a forward takes only in a generation. logits_to_keep is the number of positions, counted from the end,
---whose logits are wanted; without logits_to_keep, the logits of all positions are computed.
cache.arguments = { "cache", "continues", "logits_to_keep" }

---Says which axis of a cache's tensor, counted from 0, has the rows, and which has the positions; nil: no axis has positions.
---@class luasight.CacheAxes
---@field rows integer
---@field positions integer?

---@type luasight.CacheAxes
cache.of_attention = { rows = 2, positions = 4 }
---@type luasight.CacheAxes
cache.of_states = { rows = 1 }

---The axis of the rows in the argument `cache` of a module, for its field batch_axis: `whole` for a model with attention,
---`layer` for its layers and attentions, `states` for a state space model, whose layers have them on axis 0.
---@type table<string, table<string, integer>>
cache.batch_axis = { whole = { ["input.cache"] = 2, ["input.encoder_cache"] = 2 }, layer = { ["input.cache"] = 1 },
  states = { ["input.cache"] = 1 } }

---The parent class of a model with attention that takes a cache.
---@class luasight.models.Whole: luasight.nn.Module
cache.Whole = ls.nn.Module "Whole"
cache.Whole.batch_axis = cache.batch_axis.whole

---Returns the names of a forward's arguments, followed by the names of the arguments for a cache.
---@param names string[]
---@return string[]
function cache.with(names)
  local all = { unpack(names) }
  for _, name in ipairs(cache.arguments) do all[#all + 1] = name end
  return all
end

---Makes the cache of a model with attention.
---@param sizes { layers: integer, rows: integer, heads: integer, length: integer, width: integer }
---@param like any  a parameter that has the wanted dtype and device
---@return any  # L 2 R H N D
function cache.new(sizes, like)
  return torch.zeros({ sizes.layers, 2, sizes.rows, sizes.heads, sizes.length, sizes.width },
    { dtype = like.dtype, device = like.device })
end

---Makes the cache of the attentions in a list of layers, whose sizes are those of the modules themselves. Returns nil where the
---layers differ in the sizes of their keys, or one has no attention: such a model generates without a cache.
---@param layers any        an nn.ModuleList
---@param rows integer
---@param length integer
---@param like any          a parameter that has the wanted dtype and device
---@return any?  # L 2 R H N D
function cache.of_layers(layers, rows, length, like)
  local sizes = { layers = 0, rows = rows, length = length }
  for _, layer in layers:each() do
    local any = false
    for _, module in layer:named_modules() do
      if module.key_sizes then
        local heads, width = module:key_sizes()
        if sizes.heads and (sizes.heads ~= heads or sizes.width ~= width) then return nil end
        sizes.heads, sizes.width, any = heads, width, true
      end
    end
    if not any then return nil end
    sizes.layers = sizes.layers + 1
  end
  return cache.new(sizes, like)
end

---Makes the cache of a state space model.
---@param layers integer
---@param rows integer
---@param numbers integer  the number of values kept for each layer and row
---@param like any         a parameter that has the wanted device
---@return any  # L R X
function cache.states(layers, rows, numbers, like)
  return torch.zeros({ layers, rows, numbers }, { dtype = like.dtype == "float64" and "float64" or "float32",
    device = like.device })
end

---Raises an error where a forward gets the option `continues` without the option `cache`.
---@param options table
function cache.check(options)
  if options.continues and not options.cache then
    helpers.raise("argument", "the option continues = true needs the option cache, which holds the text to continue")
  end
end

---Returns the options with which a model calls one of its layers: those for all layers, and the layer's part of the cache.
---@param options table   the options of the forward
---@param layer integer   the number of the layer, from 0
---@param inner table?    the options that all layers get
---@return table?  # nil where there are no options
function cache.for_layer(options, layer, inner)
  local own = {}
  for name, v in pairs(inner or {}) do own[name] = v end
  own.cache, own.continues = options.cache and options.cache:select(0, layer), options.continues
  return next(own) and own or nil
end

---Writes new keys and values to the end of a layer's part of the cache, and returns the keys and values of all positions. A
---trace that sets k or v changes what is read in this step, and does not change the cache: the effect is the same as without
---a cache.
---@param part any  2 R H S D, or nil where there is no cache
---@param k any     R H T D
---@param v any     R H T D
---@param continues boolean?
---@return any k, any v  # R H S D
function cache.extend(part, k, v, continues)
  if not part then return k, v end
  local keys, values = part:select(0, 0), part:select(0, 1) -- R H S D
  local function write(place, new) place:copy_(new:view(place.shape)) end -- `view` raises an error where sizes differ
  if not continues then
    write(keys, k)
    write(values, v)
    return k, v
  end
  write(keys:narrow(2, -1, 1), k)
  write(values:narrow(2, -1, 1), v)
  return keys, values
end

---Returns the hidden states of the last `keep` positions, the only ones whose logits are wanted. Where `keep` is nil, returns
---the hidden states of all positions.
---@param hidden any  R T C
---@param keep integer?
---@return any  # R keep C
function cache.last(hidden, keep) return keep and hidden:narrow(1, -keep, keep) or hidden end

return cache
