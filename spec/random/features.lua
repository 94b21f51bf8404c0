--- What a program makes use of, for the counts and for `known.lua`.
local nets = require "nets"

local features = {}

local function scan(list, has, where)
  for _, s in ipairs(list) do
    has[s.op] = true
    if s.point and s.point.piece then has.piece = true end
    if s.point and s.point.added then has[s.op == "read" and "point of an added module" or "edit of an added module"] = true end
    if type(s.value) == "table" and s.value.tuple then has["whole tuple"] = true end
    if s.op == "set" or s.op == "inplace" then has["edit in place"] = true end
    if s.op == "calc" and (s.f == "t" or s.f == "slice") then has["view in the body"] = true end
    if s.op == "backward" then has.backwards = (has.backwards or 0) + 1 end
    for _, key in ipairs { "of", "a", "b", "value" } do
      local o = s[key]
      local name = type(o) == "table" and o.var or type(o) == "string" and o
      if name and where.owner[name] and where.owner[name] ~= where.invoke then has.carry = true end
      if name and where.gradient[name] and (s.op == "set" or s.op == "inplace") and key == "of" then
        has["gradient edited"] = true
      end
      if name and where.gradient[name] and s.out then where.gradient[s.out] = true end
      if name and where.gradient[name] and s.op == "replace" then has["gradient in the forward"] = true end
      if name and where.gradient[name] and (s.op == "set" or s.op == "inplace") and key ~= "of"
        and not where.gradient[s.of] then has["gradient in the forward"] = true end
    end
    if s.op == "grad" then where.gradient[s.out] = true end
    if s.out then where.owner[s.out] = where.invoke end
    if s.body then scan(s.body, has, where) end
  end
end

local names = { read = false, set = false, inplace = false, calc = false, save = false, backward = false,
  backwards = false, grad = "gradient read", setgrad = "gradient set", replace = "replacement", next = "steps", iter = "steps",
  hook = "call with a hook", call = "call of a module" }

---@param program table
---@return table<string, boolean>
function features.of(program)
  local has, where = {}, { owner = {}, gradient = {} }
  if program.edit then
    where.invoke = 0
    scan(program.edit, has, where)
    where.owner = {}
    has["stored edit"] = true
  end
  local rows = 0
  for i, invoke in ipairs(program.invokes) do
    where.invoke = i
    scan(invoke.body, has, where)
    if invoke.input then rows = rows + 1 else has["invoke without input"] = true end
  end
  if rows > 1 then has["several inputs"] = true end
  if (has.backwards or 0) > 1 then has["several backwards"] = true end
  for _, trait in ipairs(nets[program.net] and nets[program.net].traits or {}) do has["net: " .. trait] = true end
  local out = {}
  for name in pairs(has) do
    local better = names[name]
    if better ~= false then out[better or name] = true end
  end
  if program.steps then out.generation = true end
  if program.session then out.session = true end
  return out
end

return features
