--- Reads the numbers that a picture draws from lists and tensors, finds their range, and writes them as text.
local check_list = require "luasight.base.list".check
local failure = require "luasight.base.error"

local is_handle = require "luasight.ffi".is_handle

local numbers = {}

-- ---- lists -------------------------------------------------------------------------------------------------------------

local nan = 0 / 0

---Returns whether a number is neither nan nor infinite.
---@param v number
---@return boolean
function numbers.is_finite(v) return v == v and math.abs(v) ~= math.huge end

-- Returns an element of a list as a number: 1 and 0 for true and false, nan where there is none.
local function number_of(v, what)
  if is_handle(v) then v = v:item() end -- a tensor with one number
  if type(v) == "cdata" then v = tonumber(v) end -- a 64-bit integer
  if type(v) == "boolean" then return v and 1 or 0 end
  if v == nil then return nan end
  if type(v) ~= "number" then
    failure.raise("argument", ("%s draws numbers; an element of the list is a %s"):format(what, type(v)))
  end
  return v
end

local function words(what, depth)
  local shapes = { "a list of numbers", "a list of lists of numbers", "a list of tables of numbers (heads, rows, columns)" }
  return ("%s needs %s, or a tensor with %d axes"):format(what, shapes[depth], depth)
end

local function copy(v, depth, what, level)
  if depth == 0 then return number_of(v, what) end
  if is_handle(v) then v = v:tolist() end
  if type(v) ~= "table" then failure.raise("argument", ("%s; the given value is a %s"):format(words(what, level), type(v))) end
  local out = {}
  for i = 1, check_list(what, v) do out[i] = copy(v[i], depth - 1, what, level) end
  return out
end

---Returns a copy of a list of numbers, of a list of lists, or of lists nested three deep, from Lua numbers or a tensor.
---Leading axes of size 1 of a tensor are left out. A hole in a list becomes nan.
---@param v any
---@param depth integer  1, 2 or 3
---@param what string    the name of the function in error messages
---@return table
function numbers.nested(v, depth, what)
  if is_handle(v) then
    local shape = tostring(v.shape)
    while #v.shape > depth and v.shape[0] == 1 do v = v[0] end
    if #v.shape ~= depth then failure.raise("shape", ("%s; the given tensor has the shape %s"):format(
      words(what, depth), shape)) end
    v = v:tolist()
  end
  local out = copy(v, depth, what, depth)
  if #out == 0 then failure.raise("argument", words(what, depth) .. "; the given list is empty") end
  return out
end

---Returns the common length of all rows; raises an error where the rows differ in length or are empty.
---@param rows number[][]
---@param what string  the name of the function in error messages
---@return integer  # the length
function numbers.width(rows, what)
  for i, row in ipairs(rows) do
    if #row ~= #rows[1] or #row == 0 then
      failure.raise("shape", ("%s: row %d has %d numbers, but row 0 has %d"):format(what, i - 1, #row, #rows[1]))
    end
  end
  return #rows[1]
end

numbers.LARGEST = 1e300 -- the largest absolute value that pictures draw

---Returns the lowest and the highest number in nested lists; nan and infinite numbers are left out.
---@param v table
---@param what string  the name of the function in error messages
---@return number low, number high
function numbers.range(v, what)
  local low, high = math.huge, -math.huge
  local function walk(x)
    if type(x) == "table" then
      for _, inner in ipairs(x) do walk(inner) end
    elseif numbers.is_finite(x) then
      low, high = math.min(low, x), math.max(high, x)
    end
  end
  walk(v)
  if low > high then failure.raise("argument", what .. " has no finite number to draw: all values are nan or infinite") end
  if math.max(-low, high) > numbers.LARGEST then
    failure.raise("argument", ("%s draws numbers up to %g, not %g"):format(what, numbers.LARGEST, -low > high and low or high),
      { hint = "draw their logarithms, or numbers divided by a large one" })
  end
  return low, high
end

---Returns two numbers as the ends of a scale or an axis: further apart where they are equal, or too close to be told apart.
---@param low number
---@param high number
---@return number low, number high
function numbers.apart(low, high)
  local size = math.max(math.abs(low), math.abs(high))
  if high - low > size * 1e-10 and high - low > 1e-290 then return low, high end
  local half = size > 1e6 and size * 0.1 or 0.5
  return low - half, high + half
end

---Returns the numbers to write along an axis from `low` to `high`. Their distance is 1, 2 or 5 times a power of ten; within the
---range there are at most five such distances.
---@param low number
---@param high number
---@return number[]
function numbers.ticks(low, high)
  low, high = numbers.apart(low, high)
  local step = 10 ^ math.floor(math.log10((high - low) / 5))
  for _, factor in ipairs { 1, 2, 5, 10 } do
    if (high - low) / (step * factor) <= 5.0001 then
      step = step * factor
      break
    end
  end
  local ticks = {}
  for i = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) do ticks[#ticks + 1] = i * step end
  return ticks
end

-- ---- as text -----------------------------------------------------------------------------------------------------------

---Returns a number as text with at most `digits` digits; "nan" for nan.
---@param v number
---@param digits integer?  6 by default
---@return string
function numbers.text(v, digits)
  if v ~= v then return "nan" end
  return ("%%.%dg"):format(digits or 6):format(v == 0 and 0 or v) -- 0 instead of -0
end

---Returns the numbers along an axis as texts, with as many digits as tell them apart.
---@param ticks number[]
---@return string[]
function numbers.tick_texts(ticks)
  local size, list = math.max(math.abs(ticks[1]), math.abs(ticks[#ticks])), {}
  local digits = math.ceil(math.log10(size / (ticks[2] - ticks[1]))) + 1
  for i, v in ipairs(ticks) do list[i] = numbers.text(v, math.max(6, math.min(15, digits))) end
  return list
end

---Returns a function that returns numbers as short texts, all with the same number of digits behind the decimal point.
---@param most number  the highest absolute value of the numbers
---@return fun(v: number): string
function numbers.short(most)
  local digits = most > 0 and 1 - math.floor(math.log10(most)) or 1
  if most >= 1 then digits = digits + 1 end -- numbers from 1 on get three digits: 1.23, 12.3, 123
  if digits > 5 or most >= 1e6 then return function(v) return v ~= v and "nan" or ("%.1e"):format(v) end end
  digits = math.max(0, math.max(digits, most < 10 and 2 or 0))
  local pattern = ("%%.%df"):format(digits)
  local zero = "^%-(0%.?0*)$"
  return function(v) return v ~= v and "nan" or (pattern:format(v):gsub(zero, "%1")) end
end

return numbers
