--- Differences that are known: a number of ../shared/cases ("new" where it is not there), a sentence, and which programs it
--- may concern. `has` are the features of the program, `facts` is what the plain executor saw while it ran, `difference` the
--- text of what differs. A fault that is mended is reported by `run.lua`, and its entry goes.
local known = {}

local function entry(case, says, matches) known[#known + 1] = { case = case, says = says, matches = matches } end

local function raised(difference, text) return difference:find("it raised", 1, true) and difference:find(text, 1, true) end

---Another value, or a gradient that is said not to be there.
local function is_value(difference) return not difference:find("^it ") or raised(difference, "the loss does not depend") end

entry("new 8", "in a batch, another invoke's edit in place makes two tensors of one: a gradient is set through one name only",
  function(has, facts, difference)
    return has["several inputs"] and has["edit in place"] and facts.other_name and is_value(difference)
  end)

entry("new 9", "in a batch in which rows are replaced and edited in place, a gradient is said not to be there",
  function(has, _, difference)
    return has["several inputs"] and has.replacement and has["edit in place"] and raised(difference, "the loss does not depend")
  end)

---@return table?  # the first entry that a difference belongs to
function known.find(has, facts, difference)
  for _, e in ipairs(known) do
    if e.matches(has, facts, difference) then return e end
  end
end

return known
