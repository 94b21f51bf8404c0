--- What T5 computes with numbers alone: the buckets of distances, and the limits of float16.
---
--- Axes: T position that reads, S position that is read.
local torch = require "luasight".torch

local relative = {}

---Returns the number of the bucket of each distance, which selects a learned number. Each small distance has a bucket of its
---own; larger distances share buckets, which are the wider the larger the distances are.
---@param distance any         T S, the position that is read minus the position that reads
---@param both_ways boolean     whether later positions have other buckets than earlier ones
---@param buckets integer
---@param furthest integer      all distances from here on share the last bucket
---@return any  # T S
function relative.bucket_of(distance, both_ways, buckets, furthest)
  if both_ways then buckets = math.floor(buckets / 2) end
  local far = both_ways and distance:abs() or (-distance):clamp_min(0) -- T S
  local exact = math.floor(buckets / 2)
  -- A number that says where a distance lies on a logarithmic scale: 0 for the distance `exact`, 1 for `furthest`.
  local share = (far:clamp_min(1):float() / exact):log() / math.log(furthest / exact)
  local coarse = ((share * (buckets - exact)):to { dtype = "int64" } + exact):clamp_max(buckets - 1)
  local bucket = torch.where(far:lt(exact), far, coarse)
  return both_ways and bucket + distance:gt(0) * buckets or bucket
end

---Limits the residual stream to the finite numbers of float16, where it is float16.
---@param x any
---@param is_half boolean  whether x is float16
---@return any
function relative.limited(x, is_half)
  if not is_half then return x end
  local infinite = x:isinf():any()
  local most = torch.where(infinite, x:new_full({}, 64504), x:new_full({}, 65504))
  return torch.minimum(torch.maximum(x, -most), most)
end

return relative
