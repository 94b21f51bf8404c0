--- The plain executor's arithmetic: every operator makes a new tensor that nobody changes, and knows its derivative. Memory
--- that several names share is a `memory`: a base that edits in place exchange for another, and views of it that are looked up
--- anew when the base is another one. It uses tensors outside of traces only, and libtorch's autograd not at all.
local ls = require "luasight"
local torch = ls.torch

local tape = { clock = 0, of_script = false } -- of_script: the script makes the nodes that come, not the net

-- ---- operators -------------------------------------------------------------------------------------------------------

---@param value ffi.cdata*  a tensor
---@param inputs table[]?
---@param back (fun(g: ffi.cdata*): ...)?  the gradients of the inputs from that of the value
local function node(value, inputs, back)
  tape.clock = tape.clock + 1
  return { id = tape.clock, value = value, inputs = inputs or {}, back = back, of_script = tape.of_script }
end
tape.constant = node

local function keep(g) return g end

function tape.copy(a) return node(a.value, { a }, keep) end

---@param b table|number
function tape.add(a, b)
  if type(b) == "number" then return node(a.value + b, { a }, keep) end
  return node(a.value + b.value, { a, b }, function(g) return g, g end)
end

function tape.sub(a, b)
  if type(b) == "number" then return node(a.value - b, { a }, keep) end
  return node(a.value - b.value, { a, b }, function(g) return g, -g end)
end

function tape.mul(a, b)
  if type(b) == "number" then return node(a.value * b, { a }, function(g) return g * b end) end
  return node(a.value * b.value, { a, b }, function(g) return g * b.value, g * a.value end)
end

function tape.tanh(a)
  local y = a.value:tanh()
  return node(y, { a }, function(g) return g * (1 - y * y) end)
end

function tape.relu(a)
  local y = a.value:relu()
  return node(y, { a }, function(g) return g * a.value:gt(0) end)
end

---@param weight ffi.cdata*  O I
---@param bias ffi.cdata*    O
function tape.linear(a, weight, bias)
  return node(torch.matmul(a.value, weight:t()) + bias, { a }, function(g) return torch.matmul(g, weight) end)
end

---@param scale ffi.cdata*  C, as the last axis of `a`
---@param shift ffi.cdata*  C
function tape.affine(a, scale, shift)
  return node(a.value * scale + shift, { a }, function(g) return g * scale end)
end

function tape.sum(a)
  return node(a.value:sum(), { a }, function(g) return torch.ones_like(a.value) * g end)
end

function tape.cat(list, axis)
  local values = {}
  for i, one in ipairs(list) do values[i] = one.value end
  return node(torch.cat(values, { dim = axis }), list, function(g)
    local parts, at = {}, 0
    for i, value in ipairs(values) do
      parts[i] = g:narrow(axis, at, value.shape[axis])
      at = at + value.shape[axis]
    end
    return unpack(parts)
  end)
end

-- ---- views -----------------------------------------------------------------------------------------------------------

-- Each way of looking: `take` of a value, and `put`: the base with another value in that place.
local ways = {
  t = {
    take = function(_, x) return x:t() end,
    zeros = function(_, g) return g:t() end,
  },
  slice = {
    take = function(way, x) return x[way.spec] end,
    zeros = function(way, g, like)
      local all = torch.zeros_like(like)
      all[way.spec] = g
      return all
    end,
  },
  view = {
    take = function(way, x) return x:reshape(way.shape) end,
    zeros = function(_, g, like) return g:reshape(like.shape) end,
  },
  heads = { -- B T 3C to B H T D
    take = function(way, x)
      return x:narrow(2, way.first, way.width):unflatten(-1, { way.heads, way.width / way.heads }):transpose(1, 2)
    end,
    zeros = function(way, g, like)
      local all = torch.zeros_like(like)
      all:narrow(2, way.first, way.width):copy_(g:transpose(1, 2):flatten(2))
      return all
    end,
  },
  narrow = {
    take = function(way, x) return x:narrow(way.axis, way.first, way.count) end,
    zeros = function(way, g, like)
      local all = torch.zeros_like(like)
      all:narrow(way.axis, way.first, way.count):copy_(g)
      return all
    end,
  },
}

local function take(way, a)
  return node(ways[way.kind].take(way, a.value), { a }, function(g) return ways[way.kind].zeros(way, g, a.value) end)
end

---`base` with `fresh` in the place that the way looks at.
local function put(way, base, fresh)
  local ones = ways[way.kind].zeros(way, torch.ones_like(fresh.value), base.value)
  local there = ways[way.kind].zeros(way, fresh.value, base.value)
  return node(base.value * (1 - ones) + there, { base, fresh }, function(g)
    return g * (1 - ones), ways[way.kind].take(way, g)
  end)
end

-- ---- memory ----------------------------------------------------------------------------------------------------------

---A tensor that can be changed in place: a base with the ways that lead to this view of it.
---@param a table  a node
function tape.tensor(a) return { memory = { base = a, version = 0 }, path = {}, node = a, version = 0 } end

---Several tensors that are seen as one, the rows of several inputs.
---@param parts table[]
---@param axis integer
function tape.whole(parts, axis)
  if #parts == 1 then return parts[1] end
  return { parts = parts, axis = axis }
end

---The value of a tensor as it stands now, taken from the base anew: an edit through a view goes from the base to the base, and
---not through what was taken of the view before.
function tape.below(x)
  if x.parts then
    local nodes = {}
    for i, part in ipairs(x.parts) do nodes[i] = tape.below(part) end
    return tape.cat(nodes, x.axis)
  end
  local a = x.memory.base
  for _, way in ipairs(x.path) do a = take(way, a) end
  return a
end

---The node of a tensor as it stands now.
---@return table
function tape.now(x)
  if x.parts then
    local nodes, same = {}, x.seen ~= nil
    for i, part in ipairs(x.parts) do
      nodes[i] = tape.now(part)
      same = same and x.seen[i] == nodes[i]
    end
    if not same then x.seen, x.node = nodes, tape.cat(nodes, x.axis) end
    return x.node
  end
  if x.version ~= x.memory.version then
    local a = x.memory.base
    for _, way in ipairs(x.path) do a = take(way, a) end
    x.node, x.version = a, x.memory.version
  end
  return x.node
end

local function swapped(axis) return 1 - axis end

---@param way table  { kind = "t" | "slice" | "view" | "narrow", ... }
function tape.view(x, way)
  if x.parts then
    local parts = {}
    for i, part in ipairs(x.parts) do parts[i] = tape.view(part, way) end
    local axis = way.kind == "t" and swapped(x.axis) or x.axis
    return { parts = parts, axis = math.min(axis, #tape.now(parts[1]).value.shape - 1) }
  end
  x.memory.viewed = x.memory.viewed or not tape.of_script
  local path = { unpack(x.path) }
  path[#path + 1] = way
  local a = tape.now(x)
  return { memory = x.memory, path = path, node = take(way, a), version = x.memory.version }
end

local function scatter(path, at, base, fresh)
  if at > #path then return fresh end
  local inner = scatter(path, at + 1, at < #path and take(path[at], base) or base, fresh)
  return put(path[at], base, inner)
end

---The tensor gets other numbers in place; every name of its memory shows them.
---@param fresh table  a node of the same shape
function tape.write(x, fresh)
  if x.parts then
    local at = 0
    for _, part in ipairs(x.parts) do
      local count = tape.now(part).value.shape[x.axis]
      tape.write(part, take({ kind = "narrow", axis = x.axis, first = at, count = count }, fresh))
      at = at + count
    end
    return
  end
  local memory = x.memory
  if tostring(tape.now(x).value.shape) ~= tostring(fresh.value.shape) then error "an edit in place of another shape" end
  memory.base = scatter(x.path, 1, memory.base, fresh)
  memory.version = memory.version + 1
end

---x[spec] = value
---@param value table|number  a node of the slice's shape, or a number
function tape.set(x, spec, value)
  local way, old = { kind = "slice", spec = spec }, tape.below(x)
  if type(value) == "number" then value = node(torch.full_like(ways.slice.take(way, old.value), value)) end
  tape.write(x, put(way, old, tape.copy(value)))
end

-- ---- backward --------------------------------------------------------------------------------------------------------

local function ancestors(loss)
  local list, seen = {}, {}
  local function visit(a)
    if seen[a] then return end
    seen[a] = true
    list[#list + 1] = a
    for _, input in ipairs(a.inputs) do visit(input) end
  end
  visit(loss)
  table.sort(list, function(a, b) return a.id > b.id end)
  return list, seen
end

---Whether a node reaches the loss on a way that does not lead through another.
---@return boolean
function tape.reaches(loss, from, without)
  local seen = {}
  local function visit(a)
    if a == from then return true end
    if seen[a] or a == without then return false end
    seen[a] = true
    for _, input in ipairs(a.inputs) do
      if visit(input) then return true end
    end
    return false
  end
  return visit(loss)
end

---Whether the script itself uses a node for the loss.
---@return boolean
function tape.used_by_script(loss, of)
  for _, a in ipairs((ancestors(loss))) do
    for _, input in ipairs(a.inputs) do
      if input == of and a.of_script then return true end
    end
  end
  return false
end

---Whether a node was used by another, made before `clock`, that the loss depends on.
---@return boolean
function tape.used_before(loss, of, clock)
  for _, a in ipairs((ancestors(loss))) do
    for _, input in ipairs(a.inputs) do
      if input == of and a.id < clock then return true end
    end
  end
  return false
end

---The backward pass. At each node that the loss depends on, once all of its uses have added to its gradient, `visit` may
---exchange the gradient; it gives false where what it needs has not come yet.
---@param loss table
---@param gradient ffi.cdata*
---@param visit fun(a: table, g: ffi.cdata*): ffi.cdata*|false
---@return table<table, boolean>? seen  the nodes that the loss depends on; nil where the visits wait for each other
function tape.backward(loss, gradient, visit)
  local list, seen = ancestors(loss)
  local open, sums, done, left = {}, { [loss] = gradient }, {}, #list
  for _, a in ipairs(list) do
    for _, input in ipairs(a.inputs) do open[input] = (open[input] or 0) + 1 end
  end
  while left > 0 do
    local moved = false
    for _, a in ipairs(list) do
      local g = not done[a] and (open[a] or 0) == 0 and visit(a, sums[a])
      if g then
        done[a], left, moved = true, left - 1, true
        local parts = a.back and { a.back(g) } or {}
        for i, input in ipairs(a.inputs) do
          sums[input] = sums[input] and sums[input] + parts[i] or parts[i]
          open[input] = open[input] - 1
        end
      end
    end
    if not moved then return nil end
  end
  return seen
end

return tape
