--- The plain executor records: each line gets its point, its time, the memory that it looks into, and what needs it.
local rules = require "rules"

local PASS, STEP, END, acts, at_point, edits_point, fail, is_edit, key_of, operands_of, Trace =
  rules.PASS, rules.STEP, rules.END, rules.acts, rules.at_point, rules.edits_point, rules.fail, rules.is_edit,
  rules.key_of, rules.operands_of, rules.Trace

function Trace:own_time(s)
  local p = at_point(s)
  return p and p.invoke.pass * PASS + (p.step or 0) * STEP + p.number
end

---When a value stands as the lines above `line` have it.
function Trace:settled(name, line)
  local s = self.vars[name]
  local time = s.time or 0
  for _, e in ipairs(s.root and s.root.edits or {}) do
    if e.line < line and (e.time or 0) > time then time = e.time end
  end
  return time
end

function Trace:time_of(s)
  local time = 0
  for _, name in ipairs(s.needs) do
    if not (s.op == "grad" or (s.op == "setgrad" and name == s.of)) then time = math.max(time, self:settled(name, s.line)) end
  end
  if s.op == "grad" or s.op == "setgrad" then
    local b = self:backward_of(s)
    time = math.max(time, b and b.time or 0)
  end
  for _, e in ipairs(s.op == "hook" and s.subs or {}) do time = math.max(time, e.wants or 0) end
  return time
end

function Trace:place(s)
  local own, time = self:own_time(s), self:time_of(s)
  if not own then
    if s.sub then
      s.wants = s.op == "replace" and time or is_edit[s.op] and time or 0
      time = math.max(s.sub.time or 0, 0)
    elseif s.root and s.root.sub and is_edit[s.op] then
      s.wants = time
      time = math.max(time, s.root.sub.time or 0)
    end
    local moved = s.time ~= time
    s.time = time
    return moved
  end
  local moved = false
  if time > own then
    local invoke = at_point(s).invoke
    local pass = math.floor(time / PASS) + (time % PASS > own % PASS and 1 or 0)
    if pass > #self.invokes + (invoke.least or 0) then fail("cycle", "line " .. s.line) end
    if self.began and invoke.pass <= self.began then fail("passed", "its invoke has begun") end
    if pass > invoke.pass then invoke.pass, moved = pass, true end
    own = self:own_time(s)
  end
  moved = moved or s.time ~= own
  s.time = own
  return moved
end

function Trace:place_all()
  local moved, rounds = true, 0
  while moved do
    moved, rounds = false, rounds + 1
    if rounds > 200 then fail("cycle", "no end") end
    for _, s in ipairs(self.lines) do
      if not s.done and self:place(s) then moved = true end
    end
  end
end

---The backward that an access belongs to: the next one written below, else the last above; the same body first.
function Trace:backward_of(s)
  for _, same in ipairs { true, false } do
    local above
    for _, b in ipairs(self.lines) do
      if b.op == "backward" and (not same or b.invoke == s.invoke) then
        if b.line > s.line then return b end
        above = b
      end
    end
    if above then return above end
  end
end

function Trace:is_edited_between(name, from, to)
  for _, e in ipairs(self.vars[name].root.edits or {}) do
    if e.line > from and e.line < to then return true end
  end
  return false
end

---Whether a line below may speak of the gradient of a later backward.
function Trace:has_backward_between(above, s)
  for _, b in ipairs(self.lines) do
    if b.op == "backward" and b.line > above.line and b.line < s.line and b.invoke == s.invoke then return true end
  end
  return false
end

function Trace:find_root(s)
  if s.op == "text" then return s end
  if s.op == "read" or s.op == "cache" then
    for _, o in ipairs(self.lines) do
      local reads = o.op == "read" or o.op == "cache"
      local same = o.number == s.number and (not s.sub or o.key == s.key)
      if reads and same and o.invoke == s.invoke and o.step == s.step and o.sub == s.sub then
        return o.root
      end
    end
    return s
  end
  if s.op == "grad" then
    for _, o in ipairs(self.lines) do
      local same = o.op == "grad" and o.of == s.of and not self:has_backward_between(o, s)
      if same and not self:is_edited_between(s.of, o.line, s.line) then return o.root end
    end
    return s
  end
  if is_edit[s.op] or (s.op == "calc" and (s.f == "slice" or s.f == "t")) then return self.vars[s.of or s.a.var].root end
  return s
end

---Adds a line of a body.
function Trace:record(given, invoke, rename)
  local s = {}
  for k, v in pairs(given) do s[k] = v end
  if rename then
    local function other(o) return o and o.var and { var = rename[o.var] or o.var } or o end
    s.out, s.of = s.out and rename[s.out], s.of and rename[s.of]
    s.a, s.b, s.value = other(s.a), other(s.b), other(s.value)
    s.stored = true
  end
  -- A name that gets another value, in a loop, is another name from there on.
  local now
  now = function(o)
    if o and o.tuple then return { tuple = { now(o.tuple[1]), now(o.tuple[2]) } } end
    return o and o.var and { var = self.names[o.var] or o.var } or o
  end
  s.of = s.of and (self.names[s.of] or s.of)
  s.a, s.b, s.value = now(s.a), now(s.b), now(s.value)
  if s.out then
    local name = self.vars[s.out] and ("%s@%d"):format(s.out, #self.lines) or s.out
    self.names[s.out], s.out = name, name
  end
  s.line, s.invoke, s.needs = #self.lines + 1, invoke, operands_of(s)
  s.step = invoke.step or 0
  if s.point and s.point.added then
    s.number, s.key = 0, key_of(s.point.path, 0, s.point.kind, s.point.name)
    s.sub = self:hook_of(s)
    table.insert(s.sub.subs, s)
  elseif s.point or s.op == "skip" then
    local p = s.point or { path = s.path, call = s.call, kind = "output" }
    local found = self.points[key_of(p.path, p.call, p.kind, p.name)]
    if not found then fail("unreached", "no such point") end
    s.number, s.key = found.number, found.key
  end
  if s.op == "text" then s.number, s.step, s.key = END, self.program.steps - 1, "text" end
  if s.op == "grad" or s.op == "setgrad" then
    self.gradients = true
    -- Whether a value that a demand has made has a place in autograd's graph depends on what was asked before it.
    if self.vars[s.of].done or self.vars[s.of].root.done then self.facts.unsure = "a gradient behind a demand" end
  end
  if s.op == "hook" then
    s.subs = self.waiting[invoke] and self.waiting[invoke].subs or {}
    for _, sub in ipairs(s.subs) do sub.sub = s end
    self.waiting[invoke], self.hooks[invoke] = nil, s
  end
  if s.op == "stop" then
    invoke.stop = 0
    for _, o in ipairs(self.lines) do
      local p = at_point(o)
      if p and p.invoke == invoke and not o.stored then invoke.stop = math.max(invoke.stop, p.step * STEP + p.number) end
    end
  end
  if s.op == "backward" and self.pass then -- a demand may have run the backward that an access above belonged to before
    for _, a in ipairs(self.lines) do
      local access = (a.op == "grad" or a.op == "setgrad") and a.invoke == invoke and not self:has_backward_between(a, s)
      if access then self.facts.unsure = "the backward of a gradient around a demand" end
    end
  end
  s.root = self:find_root(s)
  self.lines[s.line] = s
  if edits_point[s.op] or is_edit[s.op] then table.insert(self.changes, s) end
  if s.root and is_edit[s.op] then
    s.root.edits = s.root.edits or {}
    table.insert(s.root.edits, s)
  end
  if s.op == "skip" then invoke.skips[("%s#%d#%d"):format(s.path, s.call, s.step)] = s end
  if s.out then self.vars[s.out] = s end
  if s.op == "save" then self.vars[s.of].saved = true end
  if s.op == "cache" then s.saved = true end
  self:place_all()
  local own = self:own_time(s)
  if own and self.now and (own < self.now or (own == self.now and not self.standing)) then fail("passed", "line " .. s.line) end
end

---The call with a hook whose point a line names: the one above, or one that is to come.
function Trace:hook_of(s)
  if self.hooks[s.invoke] then return self.hooks[s.invoke] end
  self.waiting[s.invoke] = self.waiting[s.invoke] or { subs = {}, op = "hook", time = 0 }
  return self.waiting[s.invoke]
end

-- ---- needs ---------------------------------------------------------------------------------------------------------------


function Trace:is_left_out(s)
  local p = at_point(s)
  if not p then return false end
  for _, skip in pairs(p.invoke.skips) do
    local first = self.points[key_of(skip.path, skip.call, "input")].number
    if skip ~= s and skip.step == p.step and p.number > first and p.number <= skip.number then
      if p.number < skip.number or p.line < skip.line then return true end
    end
    if skip.step == p.step and p.number == first and (edits_point[s.op] or is_edit[s.op]) then return true end
  end
  return false
end

---A value that needs itself through a gradient: gradient -> backward -> loss -> value.
function Trace:check_circles()
  local state = {}
  local function visit(s)
    if state[s] == "open" then
      self.facts.gradient_circle = true
      fail("cycle", "a gradient that needs itself, line " .. s.line)
    end
    if state[s] then return end
    state[s] = "open"
    for _, name in ipairs(s.needs) do
      local v = self.vars[name]
      if not ((s.op == "grad" or s.op == "setgrad") and name == s.of) then visit(v) end
      for _, e in ipairs(v.root and v.root.edits or {}) do
        if e.line < s.line then visit(e) end
      end
    end
    for _, above in ipairs(at_point(s) == s and self.changes or {}) do
      if above.line < s.line and rules.changes_for(above, s) then visit(above) end
    end
    local b = s.op == "grad" and self:backward_of(s)
    if b then visit(b) end
    state[s] = "done"
  end
  for _, s in ipairs(self.lines) do visit(s) end
end

---Whether the point of a line lies behind the stop of its body. A stored edit acts there too, where another body makes the run
---go on.
function Trace:is_behind_stop(s)
  local function place(p) return (p.step or 0) * STEP + p.number end
  local function behind(p) return p ~= nil and p.invoke.stop ~= nil and place(p) > p.invoke.stop end
  local p = at_point(s)
  if not behind(p) then return false end
  for _, other in ipairs(s.stored and self.lines or {}) do
    local q = not other.stored and at_point(other)
    if q and q.invoke.pass == p.invoke.pass and not behind(q) and place(q) >= place(p) then return false end
  end
  return true
end

function Trace:find_needs(demanded)
  self:check_circles()
  for _, s in ipairs(self.lines) do
    local p = at_point(s)
    s.never = self:is_behind_stop(s)
    for _, name in ipairs(s.needs) do
      if self.vars[name].never and not s.never then
        if p and acts[s.op] and not self.vars[name].done then fail("unreached", "an edit behind a stop, line " .. s.line) end
        s.never = true
      end
    end
    -- In a demand the script still holds its values, and lines to come may use them.
    local held = demanded and s.out and s.op ~= "grad" and not (p and not s.sub and self:is_left_out(s))
    s.needed = not s.never and (acts[s.op] or s.saved or s == demanded or held) and true or false
  end
  for _, s in ipairs(self.lines) do
    if s.sub and s.sub.never then s.never, s.needed = true, false end
  end
  local function need(s)
    if s.needed or s.done or s.never then return false end
    s.needed = true
    return true
  end
  local moved = true
  while moved do -- a point inside a call may stand above the call, so once is not enough
    moved = false
    for i = #self.lines, 1, -1 do
      local s = self.lines[i]
      for _, name in ipairs(s.needed and not s.done and s.needs or {}) do moved = need(self.vars[name]) or moved end
      if s.needed and not s.done and s.sub then moved = need(s.sub) or moved end
    end
  end
  for _, s in ipairs(self.lines) do
    if s.needed and not s.done then
      if self:is_left_out(s) then fail("unreached", "skipped, line " .. s.line) end
    end
    if (s.op == "grad" or s.op == "setgrad") and not self:backward_of(s) then fail("state", "no backward") end
  end
  for _, waiting in pairs(self.waiting) do
    for _, s in ipairs(waiting.subs) do
      if acts[s.op] or s.needed then fail("unreached", "no call with a hook") end
    end
  end
end

