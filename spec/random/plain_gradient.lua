--- Gradients of the plain executor: they are asked of values as they stand at a line, and read or set while a backward passes.
local rules = require "rules"
local tape = require "tape"
local torch = require "luasight".torch

local fail, is_edit, same_shape, Trace =
  rules.fail, rules.is_edit, rules.same_shape, rules.Trace

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

---In a demand the product keeps what the script may still use, so also gradients that nothing needs; where there are none, it
---raises.
function Trace:look_at_unneeded(s, loss)
  for _, a in ipairs(self.demanded and self.lines or {}) do
    if a.op == "grad" and not a.needed and not a.done and self:backward_of(a) == s then
      if not a.bound and self:stands(a, a.of) then self:bind(a) end
      for _, node in ipairs(a.bound or {}) do
        if not tape.reaches(loss, node) then self.facts.unsure = "a gradient that a demand keeps" end
      end
    end
  end
end

function Trace:backward(s)
  self:look_below(s)
  local loss = tape.sum(tape.mul(self:node(s, { var = s.of }), self:node(s, s.by)))
  self:look_at_unneeded(s, loss)
  local accesses, found = {}, {} -- by node: the gradient as it is now
  for _, a in ipairs(self.lines) do
    if (a.op == "grad" or a.op == "setgrad") and a.needed and not a.done and self:backward_of(a) == s then
      if not a.bound and self:stands(a, a.of) then self:bind(a) end
      if not a.bound and self:is_edited_between(a.of, 0, a.line) then self.facts.below_edit = true end
      if not a.bound then
        -- Its own body may still get a backward; and an edit of what stood at the point before a replacement does not concern
        -- it.
        if a.invoke ~= s.invoke or self.vars[a.of].done then self.facts.unsure = "which value a gradient is asked of" end
        fail("state", "the value of a gradient comes after its backward, line " .. a.line)
      end
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

