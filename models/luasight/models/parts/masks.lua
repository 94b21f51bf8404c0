--- Attention masks, which say what positions a position may read (causal masks, sliding windows, padding), and the positions'
--- numbers, which do not count padding.
---
--- Padding is on the left and is not read by tokens; a padding position reads only itself, so that its row of the pattern
--- has numbers too.
---
--- Axes: B batch, T position, S position that is read: the T new positions and, with a cache, those before them.
local torch = require "luasight".torch

local masks = {}

---@class luasight.Masks  the masks of one forward; each mask is made when it is first needed
local Masks = {}
Masks.__index = Masks

---Prepares the masks for one forward of a model; no mask is computed yet.
---@param x any          B T ..., a tensor with the batch size, the length and the device of the masks
---@param options table  attention_mask: B S, 0 at padding, where there is padding; cache and continues: see parts/cache.lua
---@param both_ways boolean?  true: a position reads later positions too, where the configuration of a decoder has
---  is_causal = false
---@return luasight.Masks
function masks.new(x, options, both_ways)
  local mask, T = options.attention_mask, x:size(1)
  local self = { x = x, T = T, S = T, both_ways = both_ways, continues = options.continues, real = mask and mask:ne(0),
    made = {} }
  if options.continues then self.S = mask and mask:size(1) or options.cache:size(4) end
  return setmetatable(self, Masks)
end

---Returns the part of a tensor that belongs to the T new positions; on its axis `axis`, the tensor has all S positions.
local function new_ones_of(self, all, axis)
  return self.continues and all:narrow(axis, self.S - self.T, self.T) or all
end

local function count(self) -- 1 S
  self.made.count = self.made.count or self.x:new_ones({ 1, self.S }, { dtype = "int64" }):cumsum(-1) - 1
  return self.made.count
end

---Returns the position number of each of the S tokens that are read, counted from the first token behind the padding.
---@return any  # B S or 1 S, int64
function Masks:places()
  if self.real then return (self.real:cumsum(-1) - 1):clamp_min(0) end
  return count(self)
end

---Returns the position number of each token of an encoder, counted from the first token behind the padding on the left; a hole
---in the mask counts as a position.
---@return any  # B T or 1 T, int64
function Masks:columns()
  if not self.real then return count(self) end
  return (count(self) - self.real:int():argmax(-1, true)):clamp_min(0)
end

---Returns the position number of each of the T new tokens, counted from the first token behind the padding.
---@return any  # B T or 1 T, int64
function Masks:positions()
  if self.continues and not self.real then return self.x:new_full({ 1, 1 }, self.S - 1, { dtype = "int64" }) end
  return new_ones_of(self, self:places(), 1)
end

local function columns(self) return self.real:unsqueeze(1):unsqueeze(2) end -- B 1 1 S

local function causal(self, window)
  if self.continues and self.real and not window then return columns(self) end -- a new token reads all positions but padding
  local key = window or "all"
  if not self.made[key] then
    local to = count(self) -- 1 S
    local from = new_ones_of(self, to, 1):transpose(0, 1) -- T 1
    local seen = self.both_ways and (to - from):abs():le(window or self.S) or to:le(from) -- T S
    if window and not self.both_ways then seen = seen:logical_and(to:gt(from - window)) end
    self.made[key] = self.real and columns(self):logical_and(seen):logical_or(to:eq(from)) -- B 1 T S
      or seen:unsqueeze(0):unsqueeze(0) -- 1 1 T S
  end
  return self.made[key]
end

---Returns the distances of positions: the position that is read minus the position that reads, negative for earlier ones.
---@return any  # T S, int64
function Masks:distances()
  local to = count(self) -- 1 S
  return to - new_ones_of(self, to, 1):transpose(0, 1)
end

---Returns the mask with which each position reads itself and earlier positions; nil where there is no padding and no window,
---because a causal attention then needs no mask.
---@param window integer?  how many positions a position reads, itself included
---@return any  # B 1 T S or 1 1 T S, true where a position (row) may read another (column)
function Masks:causal(window)
  return (self.real or window or self.both_ways) and causal(self, window) or nil
end

---Returns the mask with which each position reads itself and all earlier positions, also where `causal` returns nil.
---@return any  # B 1 T S or 1 1 T S
function Masks:earlier() return causal(self) end

---Returns the numbers that an attention adds to its scores: `bias`, but minus infinity where a position must not be read.
---@param bias any  a tensor that broadcasts to B H T S
---@return any
function Masks:biased(bias)
  local seen = causal(self)
  return torch.where(seen, bias:to(self.x), self.x:new_full({}, -math.huge))
end

-- Returns the slope of each head, by which its scores fall with the distance (see Masks:alibi): a geometric sequence. Where the
-- number of heads is no power of 2, the further heads have every other number of the next longer sequence.
local function slopes(H)
  local whole, list = 2 ^ math.floor(math.log(H) / math.log(2) + 1e-9), {}
  for i = 1, whole do list[i] = 2 ^ (-8 * i / whole) end
  for i = whole + 1, H do list[i] = 2 ^ (-4 * (2 * (i - whole) - 1) / whole) end
  return list
end

---Returns numbers to add to attention scores, which fall with the distance by another slope in each head (Press et al. 2022,
---"Train Short, Test Long"). A number depends only on the position that is read, since softmax ignores a constant in each row.
---@param H integer
---@param device string
---@param dtype string?  the dtype to which slopes and products are rounded
---@return any  # B H 1 S
function Masks:alibi(H, device, dtype)
  local slope = torch.tensor(slopes(H), { device = device, dtype = dtype }):view { 1, H, 1, 1 }
  return self:places():unsqueeze(1):unsqueeze(2):to { dtype = dtype or "float32" } * slope
end

---Returns the mask with which each position reads all positions except for padding; nil where there is no padding.
---@return any  # B 1 S S
function Masks:everything()
  if not self.real then return nil end
  local to = count(self) -- 1 S
  self.made.everything = self.made.everything or columns(self):logical_or(to:eq(to:transpose(0, 1)))
  return self.made.everything
end

return masks
