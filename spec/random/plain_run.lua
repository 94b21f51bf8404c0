--- The run of the plain executor: pass by pass, point by point, at each point every line that can run.
local rules = require "rules"
local tape = require "tape"

local PASS, STEP, END, at_point, fail, is_edit, key_of, Trace =
  rules.PASS, rules.STEP, rules.END, rules.at_point, rules.fail, rules.is_edit, rules.key_of, rules.Trace

---Whether a line changes what stands at the point of a line below it.
local function changes_for(above, s)
  local a, b = at_point(above), at_point(s)
  if not a or not b or a.number ~= b.number or a.step ~= b.step then return false end
  return a.invoke == b.invoke or ((not a.invoke.input or not b.invoke.input) and a.invoke.pass == b.invoke.pass)
end
rules.changes_for = changes_for

---The value of a name is there, with all edits that are written above a line.
function Trace:stands(s, name)
  local v = self.vars[name]
  if not v.done then return false end
  if s.kept and s.kept[name] then return true end
  for _, e in ipairs(v.root and v.root.edits or {}) do
    if e.line < s.line and e ~= s and not e.done and e.needed then return false end
  end
  return true
end

---Whether a line needs a point inside a call with a hook, or its result.
function Trace:comes_of(s, hook)
  if s == hook or s.sub == hook then return true end
  for _, name in ipairs(s.needs) do
    if self:comes_of(self.vars[name], hook) then return true end
  end
  return false
end

---A call with a hook waits for the values that are set inside it.
function Trace:has_all_set(hook)
  for _, sub in ipairs(self.lines) do
    local inside = sub.sub == hook or sub.root and sub.root.sub == hook and is_edit[sub.op]
    for _, name in ipairs(inside and sub.needed and not sub.done and sub.needs or {}) do
      if not self:comes_of(self.vars[name], hook) and not self:stands(sub, name) then return false end
    end
  end
  return true
end

function Trace:can_run(s)
  if s.done or s.running or not s.needed then return false end
  -- Inside a call with a hook there are its own points, and what they need.
  local computes = s.op == "calc" or s.op == "call" or s.op == "hook" or s.op == "apply"
  if self.inside and not (s.sub or (computes and self:comes_of(s, self.inside.hook)) or (is_edit[s.op] and s.root.sub)) then
    return false
  end
  local gradient = s.op == "grad" or s.op == "setgrad"
  if gradient and not s.bound and self:stands(s, s.of) then self:bind(s) end
  for _, name in ipairs(s.needs) do
    if not self:stands(s, name) then return false end
  end
  if gradient then
    if not s.bound or not self.sweeping then return false end
    for _, a in ipairs(self.lines) do -- accesses of one gradient and edits of it go in the order written
      if a.line >= s.line then break end
      local access = is_edit[a.op] and a.root.op == "grad" and a.root or a
      if (access.op == "grad" or access.op == "setgrad") and not a.done and access.bound and a.needed
        and access.bound[1] == s.bound[1] and self:backward_of(access) == self:backward_of(s) then return false end
    end
    for _, a in ipairs(self.sweeping.accesses) do
      if a == s then return true end
    end
    return false
  end
  if s.op == "hook" and not self:has_all_set(s) then return false end
  if s.op == "backward" and (self.sweeping or self.inside) then return false end
  local p = at_point(s)
  for _, above in ipairs(p and not s.sub and self.changes or {}) do -- at a point, lines act in the order written
    if above.line >= s.line then break end
    if not above.done and above.needed and changes_for(above, s) then return false end
  end
  if p and p == s or s.sub then return self:is_standing(s) end
  if p then return p.invoke.pass == self.pass and p.step == self.step and p.number == self.number end
  return s.op ~= "stop" and s.op ~= "save" and s.op ~= "demand" and s.op ~= "next"
end

function Trace:sweep()
  local moved = true
  while moved do
    moved = false
    for _, s in ipairs(self.lines) do
      if self:can_run(s) then
        if s.op == "grad" or s.op == "setgrad" then
          moved = self:run_access(s) or moved
        else
          self:execute(s)
          moved = true
        end
      end
    end
  end
end

---Lines of the point that is left must be done.
function Trace:leave_point()
  for _, s in ipairs(self.lines) do
    local p = at_point(s)
    if p and s.needed and not s.done and p.invoke.pass == self.pass and p.step == self.step and p.number == self.number then
      fail("cycle", "an edit comes too late, line " .. s.line)
    end
  end
end

-- An invoke as a coroutine that stops at each point with its value.
local function start(self, invoke)
  local visitor = { calls = {} }
  function visitor.point(_, visit, value)
    return coroutine.yield(self.points[key_of(visit.path, visit.call, visit.kind, visit.name)].number, value)
  end
  function visitor.skips(_, path, call) return invoke.skips[("%s#%d#%d"):format(path, call, self.step)] ~= nil end
  return coroutine.create(function() return nil, self.net.run(invoke.input, visitor, self.net, invoke) end)
end

local function go_on(invoke, ...)
  local ok, number, value = coroutine.resume(invoke.thread, ...)
  if not ok then error(number, 0) end
  invoke.number, invoke.value = number, value
  if number == nil then invoke.thread, invoke.result = nil, value end
end

function Trace:begin_pass(pass)
  self.pass, self.step, self.number, self.began, self.texted = pass, 0, 0, pass, false
  for _, invoke in ipairs(self.invokes) do invoke.state = nil end
  self.now, self.standing = pass * PASS, false
  self:begin_step()
end

function Trace:begin_step()
  for _, invoke in ipairs(self:rows_of_pass()) do
    invoke.thread = start(self, invoke)
    go_on(invoke)
  end
end

---Goes on to the next point of the pass; false at its end.
function Trace:advance()
  local least
  for _, invoke in ipairs(self:rows_of_pass()) do
    if invoke.thread and invoke.number == self.number then go_on(invoke, invoke.value) end
    if invoke.thread and (not least or invoke.number < least) then least = invoke.number end
  end
  if not least then
    if not self.program.steps or self.texted then return false end
    for _, invoke in ipairs(self:rows_of_pass()) do
      if self.net.next_step(invoke) then self.facts.unsure = "near tokens" end
    end
    if self.step + 1 == self.program.steps then
      self.number, self.texted = END, true
      for _, invoke in ipairs(self:rows_of_pass()) do
        invoke.value = tape.tensor(tape.constant(invoke.state.text))
      end
      self.now, self.standing = self.pass * PASS + self.step * STEP + END, true
      self:sweep()
      return true
    end
    self.step, self.number = self.step + 1, 0
    self:begin_step()
    return self:advance()
  end
  self.number = least
  self.now, self.standing = self.pass * PASS + self.step * STEP + least, true
  self:sweep()
  self:leave_point()
  return true
end

---Runs until the demanded line is done, or to the end.
function Trace:run(demanded)
  self.demanded = demanded
  self:find_needs(demanded)
  if demanded and demanded.never then fail("unset", "asked for what never comes") end
  if self.pass then self:sweep() end
  local last = { line = #self.lines + 1 }
  while not (demanded and demanded.done and self:stands(last, demanded.out)) do
    if not (self.pass and self:advance()) then
      local pass = (self.pass or -1) + 1
      local more = false
      for _, invoke in ipairs(self.invokes) do more = more or invoke.pass >= pass end
      if not more then break end
      self:begin_pass(pass)
      if pass == 0 then self:sweep() end
    end
  end
  for _, s in ipairs(self.lines) do -- the product has kept a gradient that the script might still use
    local over = s.op == "grad" and s.needed and not s.done and self:backward_of(s)
    if over and over.done then self.facts.unsure = "a gradient that a demand keeps" end
  end
  if demanded and not demanded.done then fail("cycle", "never came") end
end

