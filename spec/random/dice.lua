--- A small deterministic generator of numbers, so that a seed names the same program on every machine.
local bit = require "bit"

local Dice = {}
Dice.__index = Dice

---@param seed integer
---@return table  # gives random numbers
local function new(seed)
  local dice = setmetatable({ state = bit.bxor(bit.tobit(seed * 7919 + 12345), 0x5bd1e995) }, Dice)
  if dice.state == 0 then dice.state = 1 end
  for _ = 1, 8 do dice:bits() end
  return dice
end

---Marsaglia's xorshift with 32 bits.
---@return integer  # 32 bits, with a sign
function Dice:bits()
  local x = self.state
  x = bit.bxor(x, bit.lshift(x, 13))
  x = bit.bxor(x, bit.rshift(x, 17))
  x = bit.bxor(x, bit.lshift(x, 5))
  self.state = x
  return x
end

---@return integer  # from..to, both included
function Dice:between(from, to) return from + bit.band(self:bits(), 0x3fffffff) % (to - from + 1) end

---@return boolean  # true in `share` of all cases
function Dice:chance(share) return bit.band(self:bits(), 0xffff) < share * 65536 end

---@return any  # one of a list
function Dice:of(list) return list[self:between(1, #list)] end

---A key of a table of weights.
---@param weights table[]  { name, weight } in a fixed order
function Dice:weighted(weights)
  local sum = 0
  for _, entry in ipairs(weights) do sum = sum + entry[2] end
  local left = self:between(0, sum - 1)
  for _, entry in ipairs(weights) do
    left = left - entry[2]
    if left < 0 then return entry[1] end
  end
end

---Numbers for a tensor: eighths between -2 and 2, so that they print short and are exact.
---@return table  # nested lists
function Dice:numbers(shape, axis)
  axis = axis or 1
  if axis > #shape then return self:between(-16, 16) / 8 end
  local list = {}
  for i = 1, shape[axis] do list[i] = self:numbers(shape, axis + 1) end
  return list
end

return new
