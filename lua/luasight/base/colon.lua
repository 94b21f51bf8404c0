--- Tables of methods that notice a dot where a colon belongs: `x.save()` for `x:save()`.
local failure = require "luasight.base.error"

---Makes a table of methods: each function set in it raises an error when its first argument is not the object that
---`is_self` accepts.
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
