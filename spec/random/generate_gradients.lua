--- The lines of random programs that ask for gradients, set and edit them.
local Maker = require "generate_lines"

local combine, makes, same_shape, slices, sliced = Maker.combine, Maker.makes, Maker.same_shape, Maker.slices, Maker.sliced
local with_rows = Maker.with_rows

-- The loss is taken late, and what is asked for lies before it.
local function asks(m, v)
  return v.invoke == m.invoke and not v.gradient and v.number <= m.loss.number
    and (not v.computed or m.d:chance(0.1))
end

function makes.grad(m)
  if not m.losses then return end
  local v = m:some(function(v) return asks(m, v) end)
  if not asks(m, v) then return end
  local name = m:name "g"
  m:add { op = "grad", out = name, of = v.name }
  m:value(name, v, m.loss.number, { gradient = v, access = m.d:chance(0.4) })
end

function makes.setgrad(m)
  if not m.losses then return end
  local v = m:some(function(v) return asks(m, v) end)
  if not asks(m, v) then return end
  local value = m:constant(v.shape)
  if m.d:chance(0.75) then
    local of = m.d:chance(0.6) and v or m:some(function(u)
      return asks(m, u) and u.number > v.number and same_shape(u.shape, v.shape) and u.axis == v.axis
    end)
    if not (asks(m, of) and of.number >= v.number and same_shape(of.shape, v.shape)
      and of.axis == v.axis) then of = v end
    local name, twice = m:name "g", m:name "g"
    m:add { op = "grad", out = name, of = of.name }
    m:add { op = "calc", f = m.d:of { "mul", "add" }, a = { var = name }, b = m:number_operand(), out = twice }
    value = { var = twice }
  end
  m:add { op = "setgrad", of = v.name, value = value }
end

---A gradient that is edited where the backward meets it.
function makes.editgrad(m)
  if not m.losses then return end
  local v = m:some(function(v) return asks(m, v) end)
  if not asks(m, v) then return end
  local name = m:name "g"
  m:add { op = "grad", out = name, of = v.name }
  if #v.shape == 2 and m.d:chance(0.4) then
    local spec = m.d:of(slices(v, false))
    if sliced(v, spec) then m:add { op = "set", of = name, spec = spec, value = m:number_operand() } end
  else
    m:add { op = "inplace", f = m.d:of { "mul_", "add_" }, of = name, b = m:number_operand() }
  end
  m:value(name, v, m.loss.number, { gradient = v, access = true })
end

---A gradient that goes into the forward behind its loss.
function makes.forwardgrad(m)
  if not m.losses then return end
  local v = m:some(function(v) return asks(m, v) end)
  local p = asks(m, v) and m:place(function(p)
    return p.number > m.loss.number and same_shape(with_rows(p, m:rows()), v.shape) and p.axis == v.axis
  end)
  if not p then return end
  local name, into = m:name "g", m:name "v"
  m:add { op = "grad", out = name, of = v.name }
  if m.losses > 0 then makes.backward(m) end
  m:add { op = "calc", f = m.d:of { "mul", "add" }, a = { var = name }, b = m:number_operand(), out = into }
  if m.d:chance(0.5) then
    m:add { op = "replace", point = p.point, value = { var = into } }
  else
    local at = m:name "v"
    m:add { op = "read", out = at, point = p.point }
    m:add { op = "inplace", f = m.d:of { "mul_", "add_" }, of = at, b = { var = into } }
  end
end

function makes.backward(m)
  if m.losses == 0 or not m.losses then return end
  m.losses = m.losses - 1
  local v = m:read(m.loss)
  if m.d:chance(0.3) then
    local line = combine(m, v)
    line.out = m:name "v"
    m:add(line)
    v = m:value(line.out, v, v.number, { computed = true })
  end
  m:add { op = "backward", of = v.name, by = m:constant(v.shape), retain = m.retain }
  m.loss_number = math.max(v.number, m.loss_number)
  local name = m:name "g"
  m:add { op = "grad", out = name, of = v.name }
  m:add { op = "save", of = name }
end
