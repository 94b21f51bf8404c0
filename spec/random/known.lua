--- Differences that are known: a number of ../shared/cases ("new" where it is not there), a sentence, and which programs it
--- may concern. `has` are the features of the program, `facts` is what the plain executor saw while it ran, `difference` the
--- text of what differs. A fault that is mended is reported by `run.lua`, and its entry goes.
---
---     { case = "9.1", says = "...", matches = function(has, facts, difference) return has.replacement and facts.set end }
local known = {}

---@param has table<string, any>
---@param facts table<string, any>
---@param difference string
---@return table?  # the first entry that a difference belongs to
function known.find(has, facts, difference)
  for _, e in ipairs(known) do
    if e.matches(has, facts, difference) then return e end
  end
end

return known
