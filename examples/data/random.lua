-- A seeded random generator (xoshiro128**) whose state is four numbers, so that a run can be stopped and resumed exactly.
local bit = require "bit"

local tobit, bxor, lshift, rshift, rol, band = bit.tobit, bit.bxor, bit.lshift, bit.rshift, bit.rol, bit.band

---@class Random
---@field state integer[] four signed 32-bit words
local Random = {}
Random.__index = Random

-- The low 32 bits of a product; a double holds 53, so one factor is taken in halves.
local function multiply(a, b)
  return tobit(a * band(b, 0xffff) + lshift(tobit(a * rshift(b, 16)), 16))
end

---@param seed integer
---@return Random
function Random.new(seed)
  local words, z = {}, tobit(seed)
  for i = 1, 4 do -- splitmix32 spreads the seed over the four words
    z = tobit(z + 0x9e3779b9)
    local x = multiply(bxor(z, rshift(z, 16)), 0x21f0aaad)
    x = multiply(bxor(x, rshift(x, 15)), 0x735a2d97)
    words[i] = bxor(x, rshift(x, 15))
  end
  return setmetatable({ state = words }, Random)
end

---@param state integer[] what `Random.state` held earlier
---@return Random
function Random.resume(state)
  return setmetatable({ state = { state[1], state[2], state[3], state[4] } }, Random)
end

---@return number # in [0, 1)
function Random:number()
  local s = self.state
  local s1 = s[2]
  local result = tobit(rol(tobit(s1 * 5), 7) * 9)
  local s2, s3 = bxor(s[3], s[1]), bxor(s[4], s1)
  s[2], s[1] = bxor(s1, s2), bxor(s[1], s3)
  s[3], s[4] = bxor(s2, lshift(s1, 9)), rol(s3, 11)
  return (result % 4294967296) / 4294967296
end

---@param n integer
---@return integer # 1 to n, like math.random(n)
function Random:integer(n)
  return math.floor(self:number() * n) + 1
end

---@generic T
---@param list T[]
---@return T
function Random:pick(list)
  return list[self:integer(#list)]
end

---@param probability number
---@return boolean
function Random:chance(probability)
  return self:number() < probability
end

--- `count` different elements of a list, in random order. The list is left as it was.
---@generic T
---@param list T[]
---@param count integer
---@return T[]
function Random:sample(list, count)
  local copy, n = {}, #list
  for i = 1, n do copy[i] = list[i] end
  for i = 1, count do
    local j = i + self:integer(n - i + 1) - 1
    copy[i], copy[j] = copy[j], copy[i]
  end
  for i = n, count + 1, -1 do copy[i] = nil end
  return copy
end

return Random
