--- Differences that are known: a number of ../shared/cases ("new" where it is not there), a sentence, and which programs it
--- may concern. `has` are the features of the program, `facts` is what the plain executor saw while it ran, `difference` the
--- text of what differs. A fault that is mended is reported by `run.lua`, and its entry goes.
local known = {}

local function entry(case, says, matches) known[#known + 1] = { case = case, says = says, matches = matches } end

local function raised(difference, text) return difference:find("it raised", 1, true) and difference:find(text, 1, true) end

---Another value, or a gradient that is said not to be there.
local function is_value(difference) return not difference:find("^it ") or raised(difference, "the loss does not depend") end

entry("9.23, 5.8", "a circle through a gradient gives numbers or never ends", function(_, facts)
  return facts.gradient_circle
end)

entry("new 1", "in a generation with several inputs the input of a block cannot be told apart (its cache is in it)",
  function(has, _, difference)
    return has.generation and has["several inputs"] and raised(difference, "cannot be told apart")
  end)


entry("9.18", "cycles of gradients that are none", function(_, facts, difference)
  return facts.set and raised(difference, "this gradient is set from a gradient that is computed only later")
end)

entry("9.24", "in a batch, a gradient that is set loses direct uses of the value", function(has, facts, difference)
  return has["several inputs"] and facts.set_and_used and is_value(difference)
end)

entry("1.3", "the gradient below an edit in place is the old value's", function(_, facts, difference)
  return facts.below_edit and (is_value(difference) or difference:find("it has to raise (state", 1, true))
end)

entry("9.1", "a set gradient loses the ways around it", function(_, facts, difference)
  return facts.around and is_value(difference)
end)

entry("9.2", "a gradient depends on through which of its names a tensor is asked for", function(_, facts, difference)
  return (facts.used_before or facts.other_name) and is_value(difference)
end)

---@return table?  # the first entry that a difference belongs to
function known.find(has, facts, difference)
  for _, e in ipairs(known) do
    if e.matches(has, facts, difference) then return e end
  end
end

return known
