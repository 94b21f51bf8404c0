--- Differences that are known: a number of ../shared/cases ("new" where it is not there), a sentence, and which programs it
--- may concern. `has` are the features of the program, `facts` is what the plain executor saw while it ran, `difference` the
--- text of what differs. A fault that is mended is reported by `run.lua`, and its entry goes.
local known = {}

local function entry(case, says, matches) known[#known + 1] = { case = case, says = says, matches = matches } end

local function raised(difference, text) return difference:find("it raised", 1, true) and difference:find(text, 1, true) end

---Another value, or a gradient that is said not to be there.
local function is_value(difference) return not difference:find("^it ") or raised(difference, "the loss does not depend") end

entry("new 1", "in a generation with several inputs the input of a block cannot be told apart (its cache is in it)",
  function(has, _, difference)
    return has.generation and has["several inputs"] and raised(difference, "cannot be told apart")
  end)


---@return table?  # the first entry that a difference belongs to
function known.find(has, facts, difference)
  for _, e in ipairs(known) do
    if e.matches(has, facts, difference) then return e end
  end
end

return known
