--- Lists that a user gives: their length, and the place of an element that is nil. Lua's own `#` gives any length that ends
--- before a nil, so that elements would be left out in silence.
local list = {}

local function look_closer(t, n)
  local most = n
  for key in pairs(t) do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then
      return n, ("the list has the key %q"):format(tostring(key)), key
    end
    if key > most then most = key end
  end
  for i = 1, most do
    if type(t[i]) == "nil" then return n, ("element %d of the list is nil"):format(i) end
  end
  return most
end

---Returns the length of a list. Where the table is no list, returns as well what is wrong with it, and the key that is no
---position.
---@param t table
---@return integer length, string? wrong, any key
function list.length(t)
  local n = #t
  if n == 0 then
    if next(t) == nil then return 0 end
    return look_closer(t, n)
  end
  for i = 1, n - 1 do
    if type(t[i]) == "nil" then return look_closer(t, n) end
  end
  if next(t, n) == nil then return n end -- in a plain list the last element is the last key
  return look_closer(t, n)
end

return list
