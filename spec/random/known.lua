--- Differences that are known: entries { case =, says =, matches = function(has, facts, difference) }: a number of ../shared/cases
--- ("new" where it is not there), a sentence, and which programs it may concern. `has` are the features of the program, `facts` is
--- what the plain executor saw while it ran, `difference` the text of what differs. A fault that is mended is reported by
--- `run.lua`, and its entry goes. At present there is none.
local known = {}

---@return table?  # the first entry that a difference belongs to
function known.find(has, facts, difference)
  for _, e in ipairs(known) do
    if e.matches(has, facts, difference) then return e end
  end
end

return known
