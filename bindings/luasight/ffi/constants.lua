--- The constants of core/abi.h by their names: kinds of values, codes of errors, flags.
---
---     local NODE = constants.LS_NODE
---
--- A name that the header does not have raises an error, so that a misspelled name is not taken for nil.
local header = require "luasight.ffi.header"

---@type table<string, integer>
local constants = header.constants

return setmetatable(constants, { __index = function(_, name)
  error(("core/abi.h has no constant %q"):format(tostring(name)), 2)
end })
