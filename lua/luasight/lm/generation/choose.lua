--- Chooses token ids from the scores of the last position: penalties, filters and random draws, for all rows at once.
---
--- Axes: R rows, S tokens so far, V vocabulary.
local bit = require "bit"
local torch = require "luasight.tensor.torch"

local choose = {}

-- ---- scores ----------------------------------------------------------------------------------------------------------

---Applies the settings that do not depend on sampling: repetition_penalty, and min_new_tokens, before which no text ends.
---@param scores any            R V, float32
---@param history any           R S, the tokens so far without padding; needed for repetition_penalty
---@param too_short boolean     whether no text may end at this step
---@param s luasight.GenerationSettings
---@return any  # R V
function choose.adjust(scores, history, too_short, s)
  if s.repetition_penalty ~= 1 then
    local of_history = scores:gather(1, history) -- R S
    local less = torch.where(of_history:lt(0), of_history * s.repetition_penalty, of_history / s.repetition_penalty)
    scores = scores:scatter(1, history, less)
  end
  if too_short and #s.ends > 0 then
    scores = scores:index_fill(1, torch.tensor(s.ends, { dtype = "int64", device = scores.device }), -math.huge)
  end
  return scores
end

---Returns the scores from which sampling draws: divided by temperature, then filtered by top_k and top_p; an excluded token
---has -inf. Where few tokens are left, only their scores are returned, the best first.
---@param scores any  R V
---@param s luasight.GenerationSettings
---@return any scores, any? ids  # R n each; where ids is nil, the scores of all tokens in order
function choose.filter(scores, s)
  if s.temperature ~= 1 then scores = scores / s.temperature end
  local k, ids = s.top_k, nil
  if k > 0 and k < scores.shape[1] then
    local best, at = scores:topk(k, 1)
    local least = best[":, -1:"]
    local n = scores:ge(least):sum(1):max():item()
    if n > k then best, at = scores:topk(n, 1) end -- of several equal scores, all or none are kept
    scores, ids = n > k and best:masked_fill(best:lt(least), -math.huge) or best, at
  end
  if s.top_p < 1 then
    if not ids then scores, ids = scores:sort(1, true) end
    local worse = scores:softmax(-1):flip(1):cumsum(-1):flip(1) -- the probability of each token and of all behind it
    local beyond = worse:le(1 - s.top_p)
    beyond[":, 0"] = false
    scores = scores:masked_fill(beyond, -math.huge)
  end
  return scores, ids
end

-- ---- draws -----------------------------------------------------------------------------------------------------------

local A, B, C = 0x9E3779B97F4A7C15ULL, 0xBF58476D1CE4E5B9ULL, 0x94D049BB133111EBULL

---Returns a 64-bit number that looks random, made of a counter (SplitMix64).
local function mix(z)
  z = z + A
  z = bit.bxor(z, bit.rshift(z, 30)) * B
  z = bit.bxor(z, bit.rshift(z, 27)) * C
  return bit.bxor(z, bit.rshift(z, 31))
end

---Returns a number from 0 to 1 (excluded) for each row, which depends on the seed, the row and the step alone: other draws
---do not change it, and a row gets the same numbers in every batch in which it has the same position.
---@param seed integer
---@param rows integer
---@param step integer
---@return number[]
function choose.uniform(seed, rows, step)
  local list, start = {}, mix(mix(0ULL + seed) + step)
  for i = 1, rows do list[i] = tonumber(bit.rshift(mix(start + i), 16)) * 2 ^ -48 end
  return list
end

---Returns a seed drawn from libtorch's own generator, so that torch.manual_seed determines it.
---@return integer
function choose.seed() return torch.randint(0, 2 ^ 53, { 1 }, { dtype = "int64" }):item() end

---Draws one token for each row by its probability: the first at which the sum of probabilities exceeds the row's number.
---@param scores any        R n
---@param ids any?          R n; nil: the positions are the token ids
---@param numbers number[]  a number from 0 to 1 (excluded) for each row
---@return any  # R
function choose.draw(scores, ids, numbers)
  local sums = scores:double():softmax(-1):cumsum(-1) -- R n
  local at = torch.tensor(numbers, { dtype = "float64", device = sums.device }):unsqueeze(1) * sums[":, -1:"] -- R 1
  local place = torch.searchsorted(sums, at, { right = true }) -- R 1
  return (ids and ids:gather(1, place) or place):squeeze(1)
end

return choose
