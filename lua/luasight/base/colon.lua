--- Tables of methods that raise a clear error for `x.save()`, where the script should say `x:save()`.
local failure = require "luasight.base.error"

---Makes a table of methods: each function set in this table raises an error where `is_self` does not accept its first
---argument.
---@param owner string                  the object's name in the error message
---@param is_self fun(v: any): boolean
---@return table<string, function>
return function(owner, is_self)
  local function set(methods, name, f)
    rawset(methods, name, function(self, ...)
      if not is_self(self) then
        failure.raise("argument", ("%s is a method and is called with a colon: %s:%s(...)"):format(name, owner, name))
      end
      return f(self, ...)
    end)
  end
  return setmetatable({}, { __newindex = set })
end
