--- What a generation keeps from step to step: one tensor, made once, with room for the longest text.
---
--- Of attention it is keys and values, L 2 R H N D: L layers, 2 keys and values, R rows, H key/value heads, N the longest
--- text, D head width. A forward gets the view of the first S positions, all so far, the T new ones of a step among them. Of a
--- state space it is the state, L R X: X numbers of a layer and row, whatever the length.
---
--- A prompt fills it (T = S, causal); a step with the option `continues` adds one token (T = 1), which sees all that is there.
local ls = require "luasight"
local helpers = require "luasight.family"

local torch = ls.torch

local cache = {}

---What a forward takes in a generation besides its other arguments. Of the logits, the last `logits_to_keep` positions are
---wanted; all where it is not there.
cache.arguments = { "cache", "continues", "logits_to_keep" }

---Which axis of a cache is rows and which, if any, positions.
---@class luasight.CacheAxes
---@field rows integer
---@field positions integer?

---@type luasight.CacheAxes
cache.of_attention = { rows = 2, positions = 4 }
---@type luasight.CacheAxes
cache.of_states = { rows = 1 }

---The names of a forward's arguments with those of a cache.
---@param names string[]
---@return string[]
function cache.with(names)
  local all = { unpack(names) }
  for _, name in ipairs(cache.arguments) do all[#all + 1] = name end
  return all
end

---@param sizes { layers: integer, rows: integer, heads: integer, length: integer, width: integer }
---@param like any  a parameter, for dtype and device
---@return any  # L 2 R H N D
function cache.new(sizes, like)
  return torch.zeros({ sizes.layers, 2, sizes.rows, sizes.heads, sizes.length, sizes.width },
    { dtype = like.dtype, device = like.device })
end

---@param layers integer
---@param rows integer
---@param numbers integer  of a layer and row
---@param like any         a parameter, for the device
---@return any  # L R X
function cache.states(layers, rows, numbers, like)
  return torch.zeros({ layers, rows, numbers }, { dtype = like.dtype == "float64" and "float64" or "float32",
    device = like.device })
end

---Fails where a forward was called with one of the two arguments that does not fit the other.
---@param options table
function cache.check(options)
  if options.continues and not options.cache then
    helpers.raise("argument", "continues = true goes on with the text in a cache, and there is no cache")
  end
end

---The options of one layer: those of all, and its part of the cache.
---@param options table   of the forward
---@param layer integer   from 0
---@param inner table?    of all layers
---@return table?  # nil where there are none
function cache.for_layer(options, layer, inner)
  local own = {}
  for name, v in pairs(inner or {}) do own[name] = v end
  own.cache, own.continues = options.cache and options.cache:select(0, layer), options.continues
  return next(own) and own or nil
end

---Writes a step's keys and values to the end of a layer's part, and gives those of all positions. What attention reads is
---never edited in the cache: a trace that sets k or v does so for this step alone, as it would without a cache.
---@param part any  2 R H S D, or nil where there is no cache
---@param k any     R H T D
---@param v any     R H T D
---@param continues boolean?
---@return any k, any v  # R H S D
function cache.extend(part, k, v, continues)
  if not part then return k, v end
  local keys, values = part:select(0, 0), part:select(0, 1) -- R H S D
  local function write(place, new) place:copy_(new:view(place.shape)) end -- `view`: other sizes fail, they do not broadcast
  if not continues then
    write(keys, k)
    write(values, v)
    return k, v
  end
  write(keys:narrow(2, -1, 1), k)
  write(values:narrow(2, -1, 1), v)
  return keys, values
end

---The positions at the end that a head has to read.
---@param hidden any  R T C
---@param keep integer?
---@return any  # R keep C
function cache.last(hidden, keep) return keep and hidden:narrow(1, -keep, keep) or hidden end

return cache
