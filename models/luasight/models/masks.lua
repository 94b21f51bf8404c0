--- Who may look at whom: causal masks, sliding windows, padding; and the positions that follow from padding.
---
--- Padding stands on the left. It is never looked at; a row of it sees only itself, so that it has numbers too.
---
--- Axes: B batch, T position, S position that is looked at: the T and, with a cache, those before them.
local torch = require "luasight".torch

local masks = {}

---@class luasight.Masks  the masks of one forward, each made once
local Masks = {}
Masks.__index = Masks

---@param x any          B T ..., for batch, length and device
---@param options table  attention_mask: B S, 0 at padding, where there is any; cache and continues: see cache.lua
---@return luasight.Masks
function masks.new(x, options)
  local mask, T = options.attention_mask, x:size(1)
  local self = { x = x, T = T, S = T, continues = options.continues, real = mask and mask:ne(0), made = {} }
  if options.continues then self.S = mask and mask:size(1) or options.cache:size(4) end
  return setmetatable(self, Masks)
end

---Of what there is for each of the S positions, that of the T new ones.
local function new_ones_of(self, all, axis)
  return self.continues and all:narrow(axis, self.S - self.T, self.T) or all
end

local function count(self) -- 1 S
  self.made.count = self.made.count or self.x:new_ones({ 1, self.S }, { dtype = "int64" }):cumsum(-1) - 1
  return self.made.count
end

---The position of each token looked at, counted from the first real one.
---@return any  # B S or 1 S, int64
function Masks:places()
  if self.real then return (self.real:cumsum(-1) - 1):clamp_min(0) end
  return count(self)
end

---The position of each new token, counted from the first real one.
---@return any  # B T or 1 T, int64
function Masks:positions()
  if self.continues and not self.real then return self.x:new_full({ 1, 1 }, self.S - 1, { dtype = "int64" }) end
  return new_ones_of(self, self:places(), 1)
end

local function columns(self) return self.real:unsqueeze(1):unsqueeze(2) end -- B 1 1 S

local function causal(self, window)
  if self.continues and self.real and not window then return columns(self) end -- the one new token sees all
  local key = window or "all"
  if not self.made[key] then
    local to = count(self) -- 1 S
    local from = new_ones_of(self, to, 1):transpose(0, 1) -- T 1
    local seen = to:le(from) -- T S
    if window then seen = seen:logical_and(to:gt(from - window)) end
    self.made[key] = self.real and columns(self):logical_and(seen):logical_or(to:eq(from)) -- B 1 T S
      or seen:unsqueeze(0):unsqueeze(0) -- 1 1 T S
  end
  return self.made[key]
end

---How far each position that is looked at is behind the one that looks; below 0: before it.
---@return any  # T S, int64
function Masks:distances()
  local to = count(self) -- 1 S
  return to - new_ones_of(self, to, 1):transpose(0, 1)
end

---What lets each position see itself and earlier ones. Where there is no padding and no window it is nil: attention is
---causal by itself.
---@param window integer?  how many positions are seen, the own one included
---@return any  # B 1 T S or 1 1 T S, true where a position (row) may see another (column)
function Masks:causal(window)
  return (self.real or window) and causal(self, window) or nil
end

---The same, where nil will not do.
---@return any  # B 1 T S or 1 1 T S
function Masks:earlier() return causal(self) end

---Numbers to add to scores, and minus infinity where a position must not look.
---@param bias any  what broadcasts to B H T S
---@return any
function Masks:biased(bias)
  local seen = causal(self)
  return torch.where(seen, bias:to(self.x), self.x:new_full({}, -math.huge))
end

-- A geometric row; where the number of heads is no power of 2, every other one of the next row too.
local function slopes(H)
  local whole, list = 2 ^ math.floor(math.log(H) / math.log(2) + 1e-9), {}
  for i = 1, whole do list[i] = 2 ^ (-8 * i / whole) end
  for i = whole + 1, H do list[i] = 2 ^ (-4 * (2 * (i - whole) - 1) / whole) end
  return list
end

---Scores that fall with the distance, in each head at its own slope (Press et al. 2022, "Train Short, Test Long"): what a
---position gets depends on the one that is looked at alone, which softmax makes the same.
---@param H integer
---@param device string
---@param dtype string?  in which slopes and products are rounded
---@return any  # B H 1 S
function Masks:alibi(H, device, dtype)
  local slope = torch.tensor(slopes(H), { device = device, dtype = dtype }):view { 1, H, 1, 1 }
  return self:places():unsqueeze(1):unsqueeze(2):to { dtype = dtype or "float32" } * slope
end

---What lets each position see all that are real; nil where there is no padding.
---@return any  # B 1 S S
function Masks:everything()
  if not self.real then return nil end
  local to = count(self) -- 1 S
  self.made.everything = self.made.everything or columns(self):logical_or(to:eq(to:transpose(0, 1)))
  return self.made.everything
end

return masks
