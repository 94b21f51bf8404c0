--- The plain executor runs one line: reads, edits in place and whole, calls.
local rules = require "rules"
local tape = require "tape"
local torch = require "luasight".torch
local walk = require "walk"

local fail, is_edit, key_of, same_shape, tensor_of, Trace =
  rules.fail, rules.is_edit, rules.key_of, rules.same_shape, rules.tensor_of, rules.Trace

---The value of a name for a line: as it stands, or as it was kept for the line.
function Trace:value(s, name) return s.kept and s.kept[name] or self.vars[name].value end

function Trace:node(s, o)
  if o.number then return o.number end
  if o.const then return tape.constant(tensor_of(o)) end
  return tape.now(self:value(s, o.var))
end

local calc = {
  add = tape.add, sub = tape.sub, mul = tape.mul, tanh = tape.tanh, clone = tape.copy,
}

function Trace:calc(s)
  local a, b = self:node(s, s.a), s.b and self:node(s, s.b)
  local broadcasts = type(b) == "table" and not same_shape(a.value, b.value) -- its derivative is not on the tape
  if broadcasts and self.gradients then self.facts.unsure = "a gradient of what is broadcast" end
  return tape.tensor(calc[s.f](a, b))
end

local inplace = {
  mul_ = tape.mul, add_ = tape.add, sub_ = tape.sub,
  tanh_ = tape.tanh,
}

function Trace:tensor(s, o)
  if o.var then return self:value(s, o.var) end
  local x = tape.tensor(tape.constant(tensor_of(o)))
  x.memory.foreign = true
  return x
end

local function module_at(root, path)
  for name in path:gmatch "[^.]+" do
    for _, pair in ipairs(root.children) do
      if pair[1] == name then
        root = pair[2]
        break
      end
    end
  end
  return root
end

---What a module gives for the rows of several inputs, where it hands on what it gets, as in PyTorch: the same tensor.
function Trace:handed_on(s, x)
  local parts = {}
  for i, part in ipairs(x.parts or {}) do
    parts[i] = walk.run(module_at(self.net.root, s.path), "", { part }, walk.silent())
    if parts[i].memory ~= part.memory then return nil end
    if #parts[i].path ~= #part.path then self.facts.unsure = "a module that gives a view of all rows" end
  end
  return x.parts and tape.whole(parts, x.axis)
end

---What lines above an edit have yet to use stays as it is.
function Trace:keep_above(s)
  local before = {}
  for _, above in ipairs(self.lines) do
    if above.line >= s.line then break end
    if not above.done and above.needed and above.op ~= "grad" then
      for _, name in ipairs(above.needs) do
        local v = self:value(above, name)
        local target = name == above.of and (is_edit[above.op] or above.op == "setgrad")
        if v and self.vars[name].done and not target then before[#before + 1] = { above, name, v, tape.now(v) } end
      end
    end
  end
  return function()
    for _, b in ipairs(before) do
      local above, name, v, node = unpack(b)
      if tape.now(v) ~= node then
        local same = torch.equal(tape.now(v).value, node.value)
        if not same then
          above.kept = above.kept or {}
          above.kept[name] = above.kept[name] or tape.tensor(tape.copy(node))
        end
        above.passed = above.passed or {}
        above.passed[name] = true
        self.facts.kept = self.facts.kept or not same
      end
    end
  end
end

---An edit that runs behind one that is written below it, where a line between the two should show it alone.
function Trace:check_between(s)
  local waiting = {}
  for _, below in ipairs(self.lines) do
    for name in pairs(below.line > s.line and not below.done and below.passed or {}) do
      local v = self.vars[name].value
      waiting[#waiting + 1] = { below, name, v, tape.now(v) }
    end
  end
  return function()
    for _, w in ipairs(waiting) do
      local below, name, v, node = unpack(w)
      local changed = tape.now(v) ~= node
      if changed and below.kept and below.kept[name] and not torch.equal(tape.now(v).value, node.value) then
        fail("changed", "an edit runs behind one below it, line " .. s.line)
      end
      if changed then self.facts.unsure = "an edit behind one below it" end
    end
  end
end

function Trace:edit_in_place(s)
  local x = self.vars[s.of].value
  local seen = s.root.value -- what stands at the point
  if s.root.op == "read" then
    for _, r in ipairs(self.lines) do
      if r.op == "replace" and r.number == s.root.number and r.line > s.root.line and r.line < s.line then
        self.facts.edit_of_replaced = true
      end
    end
    for _, part in ipairs(seen and seen.parts or { seen }) do
      if part.memory.viewed and (part.memory.foreign or self.gradients) then self.facts.view_of_foreign = true end
      if part.memory.foreign then self.facts.foreign_edit = true end
    end
  end
  local shown, between = self:keep_above(s), self:check_between(s)
  for _, r in ipairs(self.replaced) do
    if r.pass == self.pass and r.invoke ~= s.invoke then self.facts.cut_rows = true end
  end
  if s.op == "set" then
    local from = s.value.var and self:value(s, s.value.var)
    -- What a copy onto itself gives, libtorch leaves open.
    if from and from.memory and from.memory == x.memory then self.facts.unsure = "a copy onto itself" end
    tape.set(x, s.spec, self:node(s, s.value))
  elseif s.f == "zero_" then
    tape.set(x, "...", 0)
  else
    local by = s.b and self:node(s, s.b)
    if s.f == "mul_" and s.b.var and self:value(s, s.b.var).memory == x.memory then self.by_itself = true end
    tape.write(x, inplace[s.f](tape.below(x), by))
  end
  between()
  shown()
end

-- The value at a point where a line stands, for one invoke.
local function take(s, value)
  if value == nil then return nil end
  local p = s.point
  if not p then return value end
  if p.kind == "input" then return value.args[p.arg + 1] end
  if value.tuple then return value.tuple[p.piece + 1] end
  return value
end

local function with(s, value, fresh)
  local p = s.point
  if s.op == "skip" or not p then return fresh end
  local copy = {}
  if p.kind == "input" then
    for k, v in pairs(value.args) do copy[k] = v end
    copy[p.arg + 1] = fresh
    return { args = copy }
  end
  if value and value.tuple then
    for k, v in pairs(value.tuple) do copy[k] = v end
    copy[p.piece + 1] = fresh
    return { tuple = copy }
  end
  return fresh
end

---The invokes with rows whose values a line sees.
function Trace:seen_by(invoke)
  if invoke.input then return { invoke } end
  local list = {}
  for _, other in ipairs(self.invokes) do
    if other.input and other.pass == self.pass then list[#list + 1] = other end
  end
  return list
end

function Trace:is_standing(s)
  if s.sub then return self.inside and self.inside.hook == s.sub and self.inside.key == s.key end
  if s.invoke.pass ~= self.pass or s.step ~= self.step or s.number ~= self.number then return false end
  return true
end

function Trace:check_rows(s)
  if s.sub then return end
  if s.op == "text" then return 0 end
  local axis, known = walk.rows_axis(self.points[s.key].visit)
  if not known and s.invoke.input and #self:rows_of_pass() > 1 then fail("shape", "the rows cannot be told apart") end
  return axis
end

function Trace:rows_of_pass()
  local list = {}
  for _, other in ipairs(self.invokes) do
    if other.input and other.pass == self.pass then list[#list + 1] = other end
  end
  return list
end

function Trace:read(s)
  if s.sub then return take(s, self.inside.value) end
  local axis, parts = self:check_rows(s), {}
  for i, invoke in ipairs(self:seen_by(s.invoke)) do
    parts[i] = (not s.point or invoke.number == s.number) and take(s, invoke.value)
    if not parts[i] then fail("unreached", "no value, line " .. s.line) end
  end
  if #parts == 0 then fail("cycle", "no rows in this pass") end
  return tape.whole(parts, axis)
end

function Trace:replace(s)
  local whole = s.value.tuple
  if whole then
    for piece = 0, 1 do
      local p = setmetatable({ piece = piece }, { __index = s.point })
      self:replace(setmetatable({ point = p, value = whole[piece + 1] }, { __index = s }))
    end
    return
  end
  local fresh = self:tensor(s, s.value)
  if s.sub then
    self.inside.value = with(s, self.inside.value, fresh)
    return
  end
  local axis, invokes = self:check_rows(s), self:seen_by(s.invoke)
  if #invokes == 0 then fail("cycle", "no rows in this pass") end
  local value, at = tape.now(fresh).value, 0
  if s.invoke.input and #self:rows_of_pass() > 1 then
    for _, r in ipairs(self.replaced) do
      if r.pass == self.pass and r.number == s.number and r.invoke ~= s.invoke then self.facts.two_replaces = true end
    end
    table.insert(self.replaced, { pass = self.pass, number = s.number, invoke = s.invoke })
  end
  local rows = 0
  for _, invoke in ipairs(invokes) do rows = rows + invoke.rows end
  if #invokes > 1 and (#value.shape <= axis or value.shape[axis] ~= rows) then
    self.facts.rows_of_all = true
    fail("shape", "rows of all invokes")
  end
  for i, invoke in ipairs(invokes) do
    if s.op == "replace" and invoke.number ~= s.number then fail("unreached", "no value, line " .. s.line) end
    if s.op == "replace" and invoke.value.tuple and not s.point.piece then fail("shape", "a tensor for a tuple") end
    local old = s.op == "replace" and take(s, invoke.value)
    local count = invoke.rows
    local part = fresh
    if #invokes > 1 then
      part = fresh.parts and fresh.parts[i] or tape.view(fresh, { kind = "narrow", axis = axis, first = at, count = count })
    elseif #self:rows_of_pass() > 1 and (#value.shape <= axis or value.shape[axis] ~= count) then
      fail("shape", "the rows of the invoke")
    end
    at = at + count
    if old and not same_shape(tape.now(old).value, tape.now(part).value) then self.facts.resized = true end
    invoke.value = with(s, invoke.value, part)
  end
end

function Trace:hooked(s)
  local visitor = walk.silent()
  function visitor.point(_, visit, value)
    local outer = self.inside
    self.inside = { hook = s, key = key_of(s.path .. (visit.path == "" and "" or "." .. visit.path), 0, visit.kind, visit.name),
      value = value }
    self:sweep()
    for _, sub in ipairs(s.subs) do
      if sub.key == self.inside.key and sub.needed and not sub.done then fail("cycle", "inside a call with a hook") end
    end
    value = self.inside.value
    self.inside = outer
    return value
  end
  return walk.run(self.net.added, "", { self:tensor(s, s.a) }, visitor)
end

function Trace:execute(s)
  tape.of_script = s.op ~= "call" and s.op ~= "hook"
  self:execute_line(s)
  tape.of_script = false
end

function Trace:execute_line(s)
  s.done = true
  local op = s.op
  if op == "read" or op == "text" or op == "cache" then s.value = self:read(s)
  elseif op == "calc" then
    if s.f == "slice" then s.value = tape.view(self:tensor(s, s.a), { kind = "slice", spec = s.spec })
    elseif s.f == "t" then s.value = tape.view(self:tensor(s, s.a), { kind = "t" })
    else s.value = self:calc(s) end
  elseif op == "apply" then s.value = self:calc(s)
  elseif op == "call" then
    local x = self:tensor(s, s.a)
    s.value = not self.net.call and self:handed_on(s, x) or nil
    if s.value then return end
    if x.parts then x = tape.tensor(tape.now(x)) end
    if self.net.call then
      s.value = self.net.call(s.path, x)
      return
    end
    s.value = walk.run(module_at(self.net.root, s.path), "", { x }, walk.silent())
  elseif op == "hook" then
    s.done = false
    s.running = true
    s.value = self:hooked(s)
    s.done = true
  elseif op == "replace" or op == "skip" then self:replace(s)
  elseif is_edit[op] then self:edit_in_place(s)
  elseif op == "backward" then self:backward(s)
  end
end

