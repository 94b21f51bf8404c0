--- Reads the arguments of a language model's forward, which are given by position or by name; an argument that the model does
--- not have raises an error.
local helpers = require "luasight.family"

local arguments = {}

local argument = { noun = "argument" }

---Checks the arguments of a forward, which may be given by position or by name, and returns them.
---@param names string[]      the names of all arguments; the first may be positional
---@param first any           the positional argument
---@param options table?      the arguments given by name
---@return any first, table options  # the first argument, and the others by name
function arguments.read(names, first, options)
  local rest, known = {}, {}
  for _, name in ipairs(names) do known[name] = true end
  for name, v in pairs(helpers.options("this model", options, known, argument)) do rest[name] = v end
  local named = rest[names[1]]
  rest[names[1]] = nil
  if first and named then
    helpers.raise("argument", "the argument " .. names[1] .. " is given twice, by position and by name")
  end
  first = first or named
  if not first and not rest.inputs_embeds then
    helpers.raise("argument", ("this model needs the argument %s"):format(names[1]), { hint = "pass it, or inputs_embeds" })
  elseif first and rest.inputs_embeds then
    helpers.raise("argument", ("this model takes %s or inputs_embeds, not both"):format(names[1]))
  end
  return first, rest
end

return arguments
