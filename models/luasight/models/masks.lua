--- Who may look at whom: causal masks, sliding windows, padding; and the positions that follow from padding.
---
--- Padding stands on the left. It is never looked at; a row of it sees only itself, so that it has numbers too.
local torch = require "luasight".torch

local masks = {}

---@class luasight.Masks  the masks of one forward, each made once
local Masks = {}
Masks.__index = Masks

---@param x any     B T ..., for batch, length and device
---@param mask any  B T, 0 at padding; nil: there is none
---@return luasight.Masks
function masks.new(x, mask)
  return setmetatable({ x = x, T = x:size(1), real = mask and mask:ne(0), made = {} }, Masks)
end

---The position of each token, counted from the first real one.
---@return any  # B T or 1 T, int64
function Masks:positions()
  if self.real then return (self.real:cumsum(-1) - 1):clamp_min(0) end
  return (self.x:new_ones({ 1, self.T }, { dtype = "int64" }):cumsum(-1) - 1)
end

local function shown(self, pairs_of_positions) -- T T
  if not self.real then return pairs_of_positions:unsqueeze(0):unsqueeze(0) end -- 1 1 T T
  local itself = self.x:new_ones({ self.T }, { dtype = "bool" }):diag() -- T T
  local real = self.real:unsqueeze(1):unsqueeze(2) -- B 1 1 T
  return real:logical_and(pairs_of_positions):logical_or(itself) -- B 1 T T
end

local function causal(self, window)
  local key = window or "all"
  if not self.made[key] then
    local earlier = self.x:new_ones({ self.T, self.T }, { dtype = "bool" }):tril() -- T T
    if window then earlier = earlier:triu(1 - window) end
    self.made[key] = shown(self, earlier)
  end
  return self.made[key]
end

---What lets each position see itself and earlier ones. Where there is no padding and no window it is nil: attention is
---causal by itself.
---@param window integer?  how many positions are seen, the own one included
---@return any  # B 1 T T or 1 1 T T, true where a position (row) may see another (column)
function Masks:causal(window)
  return (self.real or window) and causal(self, window) or nil
end

---The same, where nil will not do.
---@return any  # B 1 T T or 1 1 T T
function Masks:earlier() return causal(self) end

---Numbers to add to scores, and minus infinity where a position must not look.
---@param bias any  what broadcasts to B H T T
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
---@return any  # B H 1 T
function Masks:alibi(H, device, dtype)
  local slope = torch.tensor(slopes(H), { device = device, dtype = dtype }):view { 1, H, 1, 1 }
  return self:positions():unsqueeze(1):unsqueeze(2):to { dtype = dtype or "float32" } * slope
end

---What lets each position see all that are real; nil where there is no padding.
---@return any  # B 1 T T
function Masks:everything()
  if not self.real then return nil end
  self.made.everything = self.made.everything or shown(self, self.x:new_ones({ self.T, self.T }, { dtype = "bool" }))
  return self.made.everything
end

return masks
