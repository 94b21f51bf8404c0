--- The plain executor: runs a program by the rules of ../shared/design/semantics.md, by re-execution.
---
--- Each invoke runs the net alone with its own rows; the invokes of a pass go from point to point side by side. At a point all
--- lines that can run do, in the order written, until none can. An edit that is not done when its point is left has a value
--- that comes too late. Gradients go backward over the tape of `tape.lua`.
local ls = require "luasight"
local tape = require "tape"
local walk = require "walk"

local torch = ls.torch

local plain = {}

local PASS, STEP, END = 1e6, 1e3, 900 -- a time: pass, step of a generation, point

local function fail(code, why) error({ refused = code, why = why }, 0) end

local function tensor_of(o) return torch.tensor(o.const, { dtype = "float64" }) end

-- ---- the points of a net -----------------------------------------------------------------------------------------------

local function key_of(path, call, kind, name) return ("%s#%d:%s"):format(path, call, name or kind) end

local order = {}

---The numbers of all points of a net, in the order in which a run comes to them.
---@param net table
---@return table<string, table>  # number, visit, and the shape at one row, by key
function plain.points(net)
  if order[net] then return order[net] end
  local all, visitor = { list = {} }, walk.silent()
  function visitor:point(visit, value)
    local key = key_of(visit.path, visit.call, visit.kind, visit.name)
    local p = { key = key, number = #all.list + 1, visit = visit, value = value }
    all[key], all.list[#all.list + 1] = p, p
    return value
  end
  net.run({ const = { { 0, 0, 0, 0, 0 } } }, visitor, net)
  order[net] = all
  return all
end

-- ---- recording ---------------------------------------------------------------------------------------------------------

local Trace = {}
Trace.__index = Trace

local edits_point = { replace = true, skip = true }
local is_edit = { inplace = true, set = true }

local function operands_of(s)
  local list = {}
  local pair = s.value and s.value.tuple or {}
  for _, o in ipairs { s.a or false, s.b or false, s.value or false, s.by or false, pair[1] or false, pair[2] or false } do
    if o and o.var then list[#list + 1] = o.var end
  end
  if s.of then list[#list + 1] = s.of end
  return list
end

---What happens at a point of the model: the line itself, or for an edit in place the read that it looks into.
local function at_point(s)
  if s.root and is_edit[s.op] then s = s.root end
  if s.number and not s.sub then return s end
end

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

function Trace:find_root(s)
  if s.op == "text" then return s end
  if s.op == "read" then
    for _, o in ipairs(self.lines) do
      if o.op == "read" and o.invoke == s.invoke and o.number == s.number and o.step == s.step and o.sub == s.sub then
        return o.root
      end
    end
    return s
  end
  if s.op == "grad" then
    for _, o in ipairs(self.lines) do
      if o.op == "grad" and o.of == s.of and not self:is_edited_between(s.of, o.line, s.line) then return o.root end
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
  if s.op == "grad" or s.op == "setgrad" then self.gradients = true end
  if s.op == "hook" then
    s.subs = self.waiting[invoke] and self.waiting[invoke].subs or {}
    for _, sub in ipairs(s.subs) do sub.sub = s end
    self.waiting[invoke], self.hooks[invoke] = nil, s
  end
  if s.op == "stop" then
    invoke.stop = 0
    for _, o in ipairs(self.lines) do
      local p = at_point(o)
      if p and p.invoke == invoke then invoke.stop = math.max(invoke.stop, p.step * STEP + p.number) end
    end
  end
  s.root = self:find_root(s)
  self.lines[s.line] = s
  if s.root and is_edit[s.op] then
    s.root.edits = s.root.edits or {}
    table.insert(s.root.edits, s)
  end
  if s.op == "skip" then invoke.skips[("%s#%d#%d"):format(s.path, s.call, s.step)] = s end
  if s.out then self.vars[s.out] = s end
  if s.op == "save" then self.vars[s.of].saved = true end
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

local acts = { replace = true, skip = true, inplace = true, set = true, backward = true, setgrad = true }

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
    local b = s.op == "grad" and self:backward_of(s)
    if b then visit(b) end
    state[s] = "done"
  end
  for _, s in ipairs(self.lines) do visit(s) end
end

function Trace:find_needs(demanded)
  self:check_circles()
  for _, s in ipairs(self.lines) do
    local p = at_point(s)
    s.never = p ~= nil and p.invoke.stop ~= nil and (p.step or 0) * STEP + p.number > p.invoke.stop
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
  for i = #self.lines, 1, -1 do
    local s = self.lines[i]
    if s.needed and not s.done then
      for _, name in ipairs(s.needs) do
        if not self.vars[name].done then self.vars[name].needed = true end
      end
      if s.sub then s.sub.needed = true end
    end
  end
  for _, s in ipairs(self.lines) do
    if s.needed and not s.done then
      if self:is_left_out(s) then fail("unreached", "skipped, line " .. s.line) end
      if (s.op == "grad" or s.op == "setgrad") and not self:backward_of(s) then fail("state", "no backward") end
    end
  end
  for _, waiting in pairs(self.waiting) do
    for _, s in ipairs(waiting.subs) do
      if acts[s.op] or s.needed then fail("unreached", "no call with a hook") end
    end
  end
end

-- ---- running one line ------------------------------------------------------------------------------------------------------

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
      if tape.now(v) ~= node and not torch.equal(tape.now(v).value, node.value) then
        above.kept = above.kept or {}
        above.kept[name] = above.kept[name] or tape.tensor(node)
        self.facts.kept = true
      end
    end
  end
end

function Trace:edit_in_place(s)
  local x = self.vars[s.of].value
  local seen = s.root.value -- what stands at the point
  if s.root.op == "read" then
    for _, part in ipairs(seen and seen.parts or { seen }) do
      if part.memory.viewed and (part.memory.foreign or self.gradients) then self.facts.view_of_foreign = true end
      if part.memory.foreign then self.facts.foreign_edit = true end
    end
  end
  local shown = self:keep_above(s)
  for _, r in ipairs(self.replaced) do
    if r.pass == self.pass and r.invoke ~= s.invoke then self.facts.cut_rows = true end
  end
  if s.op == "set" then
    tape.set(x, s.spec, self:node(s, s.value))
  elseif s.f == "zero_" then
    tape.set(x, "...", 0)
  else
    local by = s.b and self:node(s, s.b)
    if s.f == "mul_" and s.b.var and self:value(s, s.b.var).memory == x.memory then self.by_itself = true end
    tape.write(x, inplace[s.f](tape.now(x), by))
  end
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
    parts[i] = take(s, invoke.value)
    if not parts[i] then fail("unreached", "no value, line " .. s.line) end
  end
  if #parts == 0 then fail("cycle", "no rows in this pass") end
  return tape.whole(parts, axis)
end

local function same_shape(a, b) return tostring(a.shape) == tostring(b.shape) end

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
  if op == "read" or op == "text" then s.value = self:read(s)
  elseif op == "calc" then
    if s.f == "slice" then s.value = tape.view(self:tensor(s, s.a), { kind = "slice", spec = s.spec })
    elseif s.f == "t" then s.value = tape.view(self:tensor(s, s.a), { kind = "t" })
    else s.value = tape.tensor(calc[s.f](self:node(s, s.a), s.b and self:node(s, s.b))) end
  elseif op == "call" then
    local x = self:tensor(s, s.a)
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

-- ---- gradients -------------------------------------------------------------------------------------------------------------

---Gradients are asked of a value as it stands at the line: of the nodes that it is now.
function Trace:bind(s)
  local v = self.vars[s.of].value
  local nodes = {}
  for i, part in ipairs(v.parts or { v }) do
    nodes[i] = tape.now(part)
    if part.memory.version > 0 then self.facts.below_edit = true end
  end
  s.bound, s.axis, s.clock = nodes, v.axis, tape.clock
end

---The gradient that a line stands for, of one or several nodes; nil while one is missing.
local function whole_gradient(s, found)
  local parts = {}
  for i, node in ipairs(s.bound) do
    if not found[node] then return nil end
    parts[i] = found[node]
  end
  return tape.whole(parts, s.axis)
end

---Values at this point that gradients are asked of in lines below.
function Trace:look_below(s)
  for _, a in ipairs(self.lines) do
    if (a.op == "grad" or a.op == "setgrad") and a.needed and not a.bound and self:backward_of(a) == s then
      local function ready(v)
        if v.done then return true end
        for _, name in ipairs(v.needs) do
          if not ready(self.vars[name]) then return false end
        end
        if not (v.op == "read" or v.op == "calc") or not self:can_run(v) then return false end
        self:execute(v)
        return true
      end
      ready(self.vars[a.of])
    end
  end
end

function Trace:backward(s)
  self:look_below(s)
  local loss = tape.sum(tape.mul(self:node(s, { var = s.of }), self:node(s, s.by)))
  local accesses, found = {}, {} -- by node: the gradient as it is now
  for _, a in ipairs(self.lines) do
    if (a.op == "grad" or a.op == "setgrad") and a.needed and not a.done and self:backward_of(a) == s then
      if not a.bound and self:stands(a, a.of) then self:bind(a) end
      if not a.bound and self:is_edited_between(a.of, 0, a.line) then self.facts.below_edit = true end
      if not a.bound then fail("state", "the value of a gradient comes after its backward, line " .. a.line) end
      accesses[#accesses + 1] = a
      for _, node in ipairs(a.bound) do
        if not tape.reaches(loss, node) then
          if #self:rows_of_pass() > 1 then self.facts.unsure = "zeros" end -- zeros, since the rows are of one tensor?
          fail("state", "the loss does not depend on line " .. a.line)
        end
        if tape.used_before(loss, node, a.clock) then self.facts.used_before = true end
      end
    end
  end
  if self.by_itself then self.facts.unsure = "an edit by the value itself" end -- PyTorch refuses the backward
  if #accesses == 0 then self.facts.unsure = "no access" end -- PyTorch may refuse this: nothing needs a gradient
  self:gradient_facts(loss, accesses)
  local function visit(node, g)
    found[node] = found[node] or tape.tensor(tape.constant(g))
    self.sweeping = { accesses = accesses, found = found, node = node }
    self:sweep()
    for _, a in ipairs(accesses) do
      for _, bound in ipairs(a.bound) do
        if bound == node and not a.done and (whole_gradient(a, found) or a.op == "setgrad" or a.root.edits) then
          self.sweeping = nil
          return false
        end
      end
    end
    for _, a in ipairs(self.lines) do -- an edit of this gradient that waits
      if is_edit[a.op] and not a.done and a.root.op == "grad" and a.root.done and a.root.bound[1] == node then return false end
    end
    self.sweeping = nil
    return tape.now(found[node]).value
  end
  -- A gradient in several parts is set part by part only when all of them are there.
  local ok = tape.backward(loss, torch.ones_like(loss.value), visit)
  self.sweeping = nil
  if not ok then fail("cycle", "gradients that wait for each other") end
  for _, a in ipairs(accesses) do
    if not a.done then fail("cycle", "a gradient that waits, line " .. a.line) end
  end
end

function Trace:gradient_facts(loss, accesses)
  for _, set in ipairs(accesses) do
    local changes = set.op == "setgrad"
    for _, e in ipairs(set.edits or {}) do changes = changes or is_edit[e.op] end
    if changes then
      self.facts.set = true
      for _, node in ipairs(set.bound) do
        if tape.used_by_script(loss, node) then self.facts.set_and_used = true end
        for _, other in ipairs(accesses) do
          for _, m in ipairs(other.bound) do
            if m.id < node.id and tape.reaches(loss, m, node) then self.facts.around = true end
            local name = self.vars[other.of].root
            if m == node and name ~= self.vars[set.of].root then self.facts.other_name = true end
          end
        end
      end
    end
  end
end

---Gradients that a line reads or sets, while a backward stands at a node.
function Trace:run_access(s)
  local at = self.sweeping
  local mine = false
  for _, node in ipairs(s.bound or {}) do mine = mine or node == at.node end
  local g = mine and whole_gradient(s, at.found)
  if not g then return false end
  if s.op == "grad" then
    s.value = g
  else
    local given = self:node(s, s.value)
    if not same_shape(given.value, tape.now(g).value) then fail("shape", "a gradient of another shape") end
    local first = 0
    for _, node in ipairs(s.bound) do
      local part = given.value
      if #s.bound > 1 then
        local count = node.value.shape[s.axis]
        part = part:narrow(s.axis, first, count)
        first = first + count
      end
      at.found[node] = tape.tensor(tape.constant(part))
    end
  end
  s.done = true
  return true
end

-- ---- the run ---------------------------------------------------------------------------------------------------------------

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

function Trace:can_run(s)
  if s.done or s.running or not s.needed then return false end
  -- Inside a call with a hook there are its own points, and what they need.
  if self.inside and not (s.sub or s.op == "calc" or (is_edit[s.op] and s.root.sub)) then return false end
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
  if s.op == "backward" and (self.sweeping or self.inside) then return false end
  local p = at_point(s)
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
  self:find_needs(demanded)
  if demanded and demanded.never then fail("unset", "asked for what never comes") end
  if self.pass then self:sweep() end
  while not (demanded and demanded.done) do
    if self.pass and self:advance() then -- on
    else
      local pass = (self.pass or -1) + 1
      local more = false
      for _, invoke in ipairs(self.invokes) do more = more or invoke.pass >= pass end
      if not more then break end
      self:begin_pass(pass)
      if pass == 0 then self:sweep() end
    end
  end
  if demanded and not demanded.done then fail("cycle", "never came") end
end

-- ---- programs --------------------------------------------------------------------------------------------------------------

local function renamed(list, index)
  local rename = {}
  for _, s in ipairs(list) do
    if s.out then rename[s.out] = ("%s@%s"):format(s.out, index) end
  end
  return rename
end

function Trace:body(list, invoke)
  for _, s in ipairs(list) do
    if s.op == "iter" then
      local before = invoke.step
      for step = s.from, s.to - 1 do
        invoke.step = step
        self:body(s.body, invoke)
      end
      invoke.step = before
    elseif s.op == "next" then
      invoke.step = (invoke.step or 0) + 1
    else
      self:record(s, invoke)
      if s.op == "demand" then self:run(self.vars[s.of]) end
    end
  end
end

local function finish(self)
  self:run(nil)
  for _, s in ipairs(self.lines) do
    if s.needed and not s.done and not s.never and (acts[s.op] or s.saved) then
      fail("cycle", "line " .. s.line .. " never came")
    end
  end
end

---Runs a program.
---@param program table
---@param net table  of nets.lua
---@return { refused: string?, why: string?, values: table<string, any>, facts: table<string, boolean> }
function plain.run(program, net)
  local self = setmetatable({ program = program, net = net, points = plain.points(net), lines = {}, vars = {}, invokes = {},
    waiting = {}, hooks = {}, facts = {}, replaced = {}, names = {} }, Trace)
  local ok, problem = xpcall(function()
    for i, given in ipairs(program.invokes) do
      local invoke = { index = i, input = given.input, rows = given.rows, skips = {}, pass = 0 }
      if self.began and given.input then invoke.pass = self.began + 1 end
      invoke.least = invoke.pass
      self.invokes[i] = invoke
      if given.input and program.edit then
        for step = 0, (program.steps or 1) - 1 do
          invoke.step = step
          local rename = renamed(program.edit, i .. "/" .. step)
          for _, s in ipairs(program.edit) do self:record(s, invoke, rename) end
        end
        invoke.step = 0
      end
      self:body(given.body, invoke)
    end
    finish(self)
  end, function(problem) return type(problem) == "table" and problem.refused and problem or debug.traceback(tostring(problem)) end)
  if not ok then
    if type(problem) == "string" and (problem:find "[Ss]izes? of" or problem:find "shape") then problem = { refused = "torch", why = problem:match "^[^\n]+" } end
    if type(problem) ~= "table" or not problem.refused then error(problem, 0) end
    return { refused = problem.refused, why = problem.why, values = {}, facts = self.facts }
  end
  local values = {}
  for name, now in pairs(self.names) do
    local s = self.vars[now]
    if s.saved and not name:find "@" then values[name] = s.done and tape.now(s.value).value or "unset" end
  end
  return { values = values, facts = self.facts }
end

return plain
