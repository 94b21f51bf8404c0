--- Checks lists that a user gives: an element that is nil is an error that says where it is.
local failure = require "luasight.base.error"
local length_of = require "luasight.ffi.list".length

local list = { length = length_of }

---Returns the length of a list; raises an error where an element is nil, or a key no position.
---@param what string  the name of the function or the option, for the error
---@param t table
---@return integer
function list.check(what, t)
  local n, wrong = length_of(t)
  if wrong then failure.raise("argument", ("%s: %s"):format(what, wrong)) end
  return n
end

return list
