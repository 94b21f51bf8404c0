--- A smaller program that still shows a difference: lines, invokes and stored edits are left out while it stays.
local shrink = {}

local function uses(s, gone)
  if s.of and gone[s.of] then return true end
  for _, key in ipairs { "a", "b", "value", "by" } do
    local pair = s[key] and s[key].tuple or { s[key] or {} }
    for _, o in ipairs(pair) do
      if o.var and gone[o.var] then return true end
    end
  end
  return false
end

---The list without what uses values that are gone.
local function pruned(list, gone)
  local left = {}
  for _, s in ipairs(list) do
    local copy = s
    if s.body then
      copy = {}
      for k, v in pairs(s) do copy[k] = v end
      copy.body = pruned(s.body, gone)
    end
    if uses(s, gone) then
      if s.out then gone[s.out] = true end
    else
      left[#left + 1] = copy
    end
  end
  return left
end

local function copy_of(program)
  local copy = {}
  for k, v in pairs(program) do copy[k] = v end
  copy.invokes = {}
  for i, invoke in ipairs(program.invokes) do
    copy.invokes[i] = { input = invoke.input, rows = invoke.rows, body = { unpack(invoke.body) } }
  end
  copy.edit = program.edit and { unpack(program.edit) }
  return copy
end

local function names_of(list, gone)
  for _, s in ipairs(list) do
    if s.out then gone[s.out] = true end
    if s.body then names_of(s.body, gone) end
  end
end

local function prune(program, gone)
  if program.edit then program.edit = pruned(program.edit, gone) end
  for _, invoke in ipairs(program.invokes) do invoke.body = pruned(invoke.body, gone) end
  return program
end

local function without_line(program, list, at)
  local gone = {}
  local s = table.remove(list, at)
  names_of({ s }, gone)
  return prune(program, gone)
end

-- All programs that are one step smaller.
local function smaller(program)
  local all = {}
  if program.edit then
    local p, gone = copy_of(program), {}
    names_of(p.edit, gone)
    p.edit = nil
    all[#all + 1] = prune(p, gone)
  end
  if #program.invokes > 1 then
    for i = #program.invokes, 1, -1 do
      local p, gone = copy_of(program), {}
      names_of(p.invokes[i].body, gone)
      table.remove(p.invokes, i)
      if p.invokes[1].input then all[#all + 1] = prune(p, gone) end
    end
  end
  if program.steps and program.steps > 1 then
    local p = copy_of(program)
    p.steps = p.steps - 1
    all[#all + 1] = p
  end
  for i = #program.invokes, 1, -1 do
    for at = #program.invokes[i].body, 1, -1 do
      local p = copy_of(program)
      all[#all + 1] = without_line(p, p.invokes[i].body, at)
    end
  end
  for at = program.edit and #program.edit or 0, 1, -1 do
    local p = copy_of(program)
    all[#all + 1] = without_line(p, p.edit, at)
  end
  return all
end

---@param program table
---@param differs fun(program: table): boolean
---@return table
function shrink.program(program, differs)
  local found = true
  while found do
    found = false
    for _, candidate in ipairs(smaller(program)) do
      if differs(candidate) then
        program, found = candidate, true
        break
      end
    end
  end
  return program
end

return shrink
