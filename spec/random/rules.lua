--- What the parts of the plain executor share: how a refusal is said, the points of a net, what kinds of lines there are.
local ls = require "luasight"
local walk = require "walk"

local torch = ls.torch

local rules = {}

rules.PASS, rules.STEP, rules.END = 1e6, 1e3, 900 -- a time: pass, step of a generation, point

---Ends the run: the program has to raise.
function rules.fail(code, why) error({ refused = code, why = why }, 0) end

function rules.tensor_of(o) return torch.tensor(o.const, { dtype = "float64" }) end

-- ---- the points of a net -----------------------------------------------------------------------------------------------

---The name of a point.
function rules.key_of(path, call, kind, name) return ("%s#%d:%s"):format(path, call, name or kind) end

local order = {}

---The numbers of all points of a net, in the order in which a run comes to them.
---@param net table
---@return table<string, table>  # number, visit, and the shape at one row, by key
function rules.points(net)
  if order[net] then return order[net] end
  local all, visitor = { list = {} }, walk.silent()
  function visitor:point(visit, value)
    local key = rules.key_of(visit.path, visit.call, visit.kind, visit.name)
    local p = { key = key, number = #all.list + 1, visit = visit, value = value }
    all[key], all.list[#all.list + 1] = p, p
    return value
  end
  net.run({ const = { { 0, 0, 0, 0, 0 } } }, visitor, net)
  order[net] = all
  return all
end

-- ---- recording ---------------------------------------------------------------------------------------------------------

---@class plain.Trace  one run of a program; its methods stand in the files plain_*.lua
local Trace = {}
Trace.__index = Trace
rules.Trace = Trace

rules.edits_point = { replace = true, skip = true }
rules.is_edit = { inplace = true, set = true }

---The names that a line uses.
function rules.operands_of(s)
  local list = {}
  local pair = s.value and s.value.tuple or {}
  for _, o in ipairs { s.a or false, s.b or false, s.value or false, s.by or false, pair[1] or false, pair[2] or false } do
    if o and o.var then list[#list + 1] = o.var end
  end
  if s.of then list[#list + 1] = s.of end
  return list
end

---What happens at a point of the model: the line itself, or for an edit in place the read that it looks into.
function rules.at_point(s)
  if s.root and rules.is_edit[s.op] then s = s.root end
  if s.number and not s.sub then return s end
end
-- What has to happen whether anybody looks at it or not.
rules.acts = { replace = true, skip = true, inplace = true, set = true, backward = true, setgrad = true, apply = true,
  cache = true }

function rules.same_shape(a, b) return tostring(a.shape) == tostring(b.shape) end

return rules
