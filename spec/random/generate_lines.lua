--- The lines of random programs but for gradients (generate_gradients.lua): `Maker` holds what a program has so far, and each
--- of its `makes` adds a line, or a few.
local plain = require "plain"
local tape = require "tape"
local walk = require "walk"

local Maker = {}
Maker.__index = Maker

-- ---- values ------------------------------------------------------------------------------------------------------------

-- What can be named at a point of the net: the shape for one row, the axis of the rows.
local function places_of(net)
  local list = {}
  local function add(p, place, value, axis)
    place.path, place.call, place.kind, place.name = p.visit.path, p.visit.call, p.visit.kind, p.visit.name
    local shape = {}
    for i = 0, #tape.now(value).value.shape - 1 do shape[i + 1] = tape.now(value).value.shape[i] end
    list[#list + 1] = { point = place, number = p.number, shape = shape, axis = axis, module = p.visit.module }
  end
  for _, p in ipairs(plain.points(net).list) do
    local axis = walk.rows_axis(p.visit)
    if p.visit.kind == "input" then
      for i, v in ipairs(p.value.args) do add(p, { arg = i - 1 }, v, axis) end
    elseif p.value.tuple then
      for i, v in ipairs(p.value.tuple) do add(p, { piece = i - 1 }, v, axis) end
    else
      add(p, {}, p.value, axis)
    end
  end
  return list
end

local places = {}

local function all_places(net)
  places[net] = places[net] or places_of(net)
  return places[net]
end

local function with_rows(place, rows)
  local shape = { unpack(place.shape) }
  shape[place.axis + 1] = rows
  return shape
end

function Maker:name(prefix)
  self.count = self.count + 1
  return prefix .. self.count
end

function Maker:add(line)
  self.body[#self.body + 1] = line
  return line
end

---A value that later lines may use.
function Maker:value(name, like, number, more)
  local v = { name = name, shape = like.shape, axis = like.axis, number = number, invoke = self.invoke }
  for k, x in pairs(more or {}) do v[k] = x end
  self.pool[#self.pool + 1] = v
  if self.d:chance(0.6) then self:add { op = "save", of = name } end
  return v
end

local function same_shape(a, b)
  if #a ~= #b then return false end
  for i, n in ipairs(a) do
    if b[i] ~= n then return false end
  end
  return true
end

function Maker:is_early(v, number)
  if not v.gradient and v.invoke ~= self.invoke then return true end -- a later pass will do
  return v.number <= number
end

---A value of a shape that exists at a point, mostly; nil where there is none.
function Maker:find(shape, axis, number)
  local list = {}
  local brave = self.d:chance(0.008)
  for _, v in ipairs(self.pool) do
    if not v.taken and same_shape(v.shape, shape) and v.axis == axis and (brave or self:is_early(v, number)) then
      list[#list + 1] = v
    end
  end
  return #list > 0 and self.d:of(list) or nil
end

function Maker:number_operand() return { number = self.d:of { -2, -1, 0.5, 1.5, 2, 3 } } end

function Maker:constant(shape) return { const = self.d:numbers(shape) } end

---Something of a shape.
function Maker:operand(shape, axis, number)
  local v = self.d:chance(0.7) and self:find(shape, axis, number)
  if v then return { var = v.name }, v end
  return self:constant(shape)
end

local function slices(v, all_rows)
  if #v.shape ~= 2 then return {} end
  if v.axis == 1 then return all_rows and { "0", "1:3" } or { "0", "1:3", "2:, 0:1" } end
  if all_rows then return { ":, 0", ":, 1:3", ":, ::2" } end
  return { ":, 0", ":, 1:3", ":, ::2", ":, -1", "0:1", "0:1, 2:" }
end

local function sliced(v, spec)
  local shapes = {
    [0] = { [":, 0"] = { 0 }, [":, -1"] = { 0 }, [":, 1:3"] = { 0, 2 }, [":, ::2"] = { 0, 3 }, ["0:1"] = { 1, 5 },
      ["0:1, 2:"] = { 1, 3 } },
    [1] = { ["0"] = { 0 }, ["1:3"] = { 2, 0 }, ["2:, 0:1"] = { 3, 1 } },
  }
  local shape = { unpack(shapes[v.axis][spec]) }
  for i, n in ipairs(shape) do
    if n == 0 then shape[i] = v.shape[v.axis + 1] end
  end
  if v.shape[2 - v.axis] ~= 5 then return nil end
  return shape
end

-- ---- lines --------------------------------------------------------------------------------------------------------------

function Maker:place(pick)
  local list = {}
  for _, p in ipairs(all_places(self.net)) do
    local inside = false
    for path in pairs(self.skipped) do
      inside = inside or p.point.path == path or p.point.path:sub(1, #path + 1) == path .. "."
    end
    if (not inside or self.d:chance(0.03)) and (not pick or pick(p)) then list[#list + 1] = p end
  end
  return #list > 0 and self.d:of(list) or nil
end

function Maker:rows()
  return self.this.rows or self.all_rows
end

function Maker:read(p)
  p = p or self:place()
  local name = self:name "v"
  self:add { op = "read", out = name, point = p.point }
  return self:value(name, { shape = with_rows(p, self:rows()), axis = p.axis }, p.number, { at = p })
end

---A value of this invoke, or (where it may be) of another.
function Maker:some(pick)
  local list = {}
  for _, v in ipairs(self.pool) do
    if not v.taken and (v.invoke == self.invoke or self.d:chance(0.5)) and (not pick or pick(v)) then list[#list + 1] = v end
  end
  return #list > 0 and self.d:of(list) or self:read()
end

local makes = {}
Maker.makes = makes

function makes.read(m) m:read() end

local function combine(m, v, number)
  local f = m.d:weighted { { "mul", 3 }, { "add", 3 }, { "sub", 1 }, { "tanh", 1 }, { "clone", 1 } }
  local line = { op = "calc", f = f, a = { var = v.name } }
  local latest = v.number
  if f == "mul" or f == "add" or f == "sub" then
    local other
    if m.d:chance(0.4) then line.b = m:number_operand()
    else line.b, other = m:operand(v.shape, v.axis, number or math.huge) end
    if other then latest = math.max(latest, other.number) end
  end
  return line, latest
end

local function editable(m)
  return function(v) return v.invoke == m.invoke and not v.fixed and (not v.gradient or v.access) end
end

function makes.calc(m)
  local v = m:some()
  local line, latest = combine(m, v)
  line.out = m:name "v"
  m:add(line)
  if latest > v.number and editable(m)(v) and m.d:chance(0.3) then -- what the operator has yet to use
    m:add { op = "inplace", f = "mul_", of = v.name, b = m:number_operand() }
  end
  m:value(line.out, v, latest, { gradient = v.gradient, computed = true })
end

function makes.view(m)
  local v = m:some(function(v) return #v.shape == 2 and not v.gradient end)
  if #v.shape ~= 2 then return end
  if m.d:chance(0.3) then
    local name = m:name "v"
    m:add { op = "calc", f = "t", a = { var = v.name }, out = name }
    return m:value(name, { shape = { v.shape[2], v.shape[1] }, axis = 1 - v.axis }, v.number, { at = v.at, viewed = true,
      computed = v.computed })
  end
  local spec = m.d:of(slices(v, not m.this.input))
  local shape = sliced(v, spec)
  if not shape then return end
  local name = m:name "v"
  m:add { op = "calc", f = "slice", a = { var = v.name }, spec = spec, out = name }
  m:value(name, { shape = shape, axis = #shape == 1 and 0 or v.axis }, v.number, { at = v.at, viewed = true,
    computed = v.computed })
end


function makes.inplace(m)
  local v = m:some(editable(m))
  if not editable(m)(v) then return end
  local f = m.d:weighted { { "mul_", 3 }, { "add_", 3 }, { "zero_", 1 } }
  local line = { op = "inplace", f = f, of = v.name }
  if f ~= "zero_" then
    local other
    if m.d:chance(0.4) then line.b = m:number_operand()
    else line.b, other = m:operand(v.shape, v.axis, v.computed and math.huge or v.number) end
    if other and v.computed then v.number = math.max(v.number, other.number) end
  end
  m:add(line)
  if v.computed and m.d:chance(0.4) then -- an operator that has to wait for the edit
    local name = m:name "v"
    m:add { op = "calc", f = "mul", a = { var = v.name }, b = m:number_operand(), out = name }
    m:value(name, v, v.number, { gradient = v.gradient, computed = true })
  end
end

---A value that is edited by a later one, and an operator that has to wait for the edit.
function makes.wait(m)
  local v = m:some(function(v) return not v.gradient and #v.shape == 2 end)
  if v.gradient or #v.shape ~= 2 then return end
  local copy, name = m:name "v", m:name "v"
  m:add { op = "calc", f = "mul", a = { var = v.name }, b = m:number_operand(), out = copy }
  local late, other = m:operand(v.shape, v.axis, math.huge)
  m:add { op = "inplace", f = m.d:of { "add_", "mul_" }, of = copy, b = late }
  m:add { op = "calc", f = "mul", a = { var = copy }, b = m:number_operand(), out = name }
  m:value(name, v, other and math.max(other.number, v.number) or v.number, { computed = true })
end

function makes.set(m)
  local v = m:some(function(v) return editable(m)(v) and #v.shape == 2 end)
  if not editable(m)(v) or #v.shape ~= 2 then return end
  local spec = m.d:of(slices(v, not m.this.input))
  local shape = sliced(v, spec)
  if not shape then return end
  local value = m.d:chance(0.5) and m:number_operand()
    or m:operand(shape, #shape == 1 and 0 or v.axis, v.computed and math.huge or v.number)
  m:add { op = "set", of = v.name, spec = spec, value = value }
end

---A value made for one place: nobody else changes it.
function Maker:own_value(shape, axis, number)
  local v = self.d:chance(0.75) and self:find(shape, axis, number)
  if not v then return self:constant(shape) end
  if self.alone and self.d:chance(0.3) then return { var = v.name } end
  local line = combine(self, v, number)
  line.out = self:name "w"
  self:add(line)
  return { var = line.out }
end

function makes.replace(m)
  local p = m:place()
  if not p then return end
  local value = m:own_value(with_rows(p, m:rows()), p.axis, p.number)
  local point = p.point
  if point.piece and m.d:chance(0.3) then -- the whole tuple, or a tensor in its place, which has to be refused
    point = {}
    for k, x in pairs(p.point) do point[k] = x end
    point.piece = nil
    if m.d:chance(0.9) then value = { tuple = { value, m:own_value(with_rows(p, m:rows()), p.axis, p.number) } } end
  end
  m:add { op = "replace", point = point, value = value }
end

---Both elements of a tuple at once.
function makes.tuple(m)
  local p = m:place(function(p) return p.point.piece end)
  if not p then return end
  local point = {}
  for k, x in pairs(p.point) do point[k] = x end
  point.piece = nil
  local shape = with_rows(p, m:rows())
  m:add { op = "replace", point = point,
    value = { tuple = { m:own_value(shape, p.axis, p.number), m:own_value(shape, p.axis, p.number) } } }
end

function makes.skip(m)
  if not m.this.input then return end
  local p = m:place(function(p) return p.point.kind == "output" and p.point.path ~= "" and not p.point.piece end)
  if not p or m.skipped[p.point.path] then return end
  local value = m:own_value(with_rows(p, m:rows()), p.axis, p.number - 1)
  m.skipped[p.point.path] = true
  m:add { op = "skip", path = p.point.path, call = p.point.call, value = value }
end

function makes.stop(m)
  if m.stopped or m.invoke_count > 1 and m.d:chance(0.5) then return end
  m.stopped = true
  m:read(m:place(function(p) return p.number > 3 end))
  m:add { op = "stop" }
end

function makes.demand(m)
  local v = m:some(function(v) return v.invoke == m.invoke end)
  m:add { op = "demand", of = v.name }
end

---A function of the script between two values.
function makes.apply(m)
  local v = m:some(function(v) return not v.gradient end)
  if v.gradient then return end
  local name = m:name "v"
  m:add { op = "apply", f = m.d:of { "mul", "add" }, a = { var = v.name }, b = m:number_operand(), out = name }
  m:value(name, v, v.number, { computed = true })
end

---A cache of one module, which is looked at after the trace.
function makes.cache(m)
  if not m.this.input then return end
  local calls = {}
  for _, p in ipairs(all_places(m.net)) do calls[p.point.path] = math.max(calls[p.point.path] or 0, p.point.call) end
  local p = m:place(function(p) return p.point.kind == "output" and p.point.path ~= "" and not p.point.piece
    and calls[p.point.path] == 0 end)
  if p then m:add { op = "cache", out = m:name "c", point = p.point } end
end

function makes.call(m)
  local p = m:place(function(p) return p.point.kind == "output" and p.point.path ~= "" and p.module.kind ~= "block"
    and (p.module.inner or 5) == 5 and p.axis == 0 end)
  if not p then return end
  local v = m:some(function(v) return #v.shape == 2 and v.shape[2] == 5 and v.axis == 0 and not v.gradient end)
  if #v.shape ~= 2 or v.shape[2] ~= 5 or v.axis ~= 0 then return end
  local name = m:name "v"
  m:add { op = "call", out = name, path = p.point.path, a = { var = v.name } }
  m:value(name, v, v.number, { computed = true, fixed = true })
end

local inner = { { "code", "tap", "code" }, { "output", "output" }, { "e.output", "output", nil, "e" },
  { "d.output", "output", nil, "d" } }

local function added_place(m, host)
  local one = m.d:of(inner)
  return { path = host .. (one[4] and "." .. one[4] or ""), call = 0, kind = one[2], name = one[3], added = true }
end

function makes.hook(m)
  if m.hooked[m.invoke] then return end
  local v = m:some(function(v) return #v.shape == 2 and v.shape[2] == 5 and v.axis == 0 and not v.gradient end)
  if #v.shape ~= 2 or v.shape[2] ~= 5 or v.axis ~= 0 then return end
  local host = m.net.host .. ".sae"
  m.hooked[m.invoke] = true
  local function edit()
    local value = m.d:chance(0.5) and m:constant(v.shape) or m:own_value(v.shape, 0, v.number)
    m:add { op = "replace", point = added_place(m, host), value = value }
  end
  local function slice_edit()
    local name = m:name "s"
    m:add { op = "read", out = name, point = added_place(m, host) }
    m:add { op = "set", of = name, spec = m.d:of { ":, 0", ":, 1:3" }, value = m:number_operand() }
  end
  if m.d:chance(0.4) then edit() end
  if m.d:chance(0.1) then slice_edit() end
  local name = m:name "v"
  m:add { op = "hook", out = name, path = host, a = { var = v.name } }
  m:value(name, v, v.number, { computed = true, fixed = true })
  for _ = 1, m.d:between(0, 2) do
    local inside = m:name "s"
    m:add { op = "read", out = inside, point = added_place(m, host) }
    m:value(inside, v, v.number, { computed = true, fixed = true })
  end
  if m.d:chance(0.15) then slice_edit() end
  if m.d:chance(0.7) then
    local p = m:place(function(p)
      return p.number >= v.number and p.axis == 0 and same_shape(with_rows(p, m:rows()), v.shape)
    end)
    if p then m:add { op = "replace", point = p.point, value = { var = name } } end
  end
end

Maker.all_places, Maker.with_rows, Maker.same_shape, Maker.combine = all_places, with_rows, same_shape, combine
Maker.slices, Maker.sliced = slices, sliced

return Maker
