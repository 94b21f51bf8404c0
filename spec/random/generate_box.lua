--- Random programs over the model in the box: reads, edits, invokes, stops, skips, stored edits and steps of a generation.
local generate_box = {}

local WIDTHS = { [128] = true, [512] = true }

-- Points by what stands there: widths of the last axis; z and q are B H T D, pattern B H T S.
local function points()
  local list = {}
  local function add(path, kind, width, name, piece)
    list[#list + 1] = { at = #list, width = width, point = { path = path, kind = kind, name = name, call = 0, piece = piece,
      arg = kind == "input" and 0 or nil } }
  end
  add("transformer.wte", "output", 128)
  for i = 0, 3 do
    local h = "transformer.h." .. i
    add(h, "input", 128)
    add(h .. ".ln_1", "output", 128)
    add(h .. ".attn", "input", 128)
    add(h .. ".attn.c_attn", "output", 384)
    for _, tap in ipairs { "q", "pattern", "z" } do add(h .. ".attn", "tap", tap, tap) end
    add(h .. ".attn.c_proj", "output", 128)
    add(h .. ".attn", "output", 128, nil, 0)
    add(h, "tap", 128, "resid_mid")
    add(h .. ".mlp", "input", 128)
    add(h .. ".mlp.c_fc", "output", 512)
    add(h .. ".mlp.c_proj", "input", 512)
    add(h .. ".mlp", "output", 128)
    add(h, "output", 128, nil, 0)
  end
  add("transformer.ln_f", "output", 128)
  add("lm_head", "output", 1950)
  return list
end

local all = points()

local Maker = {}
Maker.__index = Maker

function Maker:name(prefix)
  self.count = self.count + 1
  return prefix .. self.count
end

function Maker:add(line) self.body[#self.body + 1] = line end

function Maker:value(v)
  v.invoke, v.step, v.deep = self.invoke, self.step, self.deep
  self.pool[#self.pool + 1] = v
  if self.d:chance(0.45) then self:add { op = "save", of = v.name } end
  return v
end

---A value that exists at a place, of the same kind.
function Maker:find(width, number, whole)
  local list = {}
  for _, v in ipairs(self.pool) do
    local early = v.invoke ~= self.invoke and not self.steps
      or (v.step < self.step or (v.step == self.step and v.number <= number))
    local fits = v.width == width and v.whole == whole and (not whole or (v.step > 0) == (self.step > 0))
      and v.rows == self.rows
    if early and fits and (not v.deep or self.deep == v.deep)
      and (not whole or v.deep == self.deep) then list[#list + 1] = v end
  end
  return #list > 0 and self.d:of(list) or nil
end

function Maker:number() return { number = self.d:of { -1, 0.5, 1.5, 2 } } end

function Maker:read(p)
  p = p or self.d:of(all)
  local name = self:name "v"
  self:add { op = "read", out = name, point = p.point }
  return self:value { name = name, width = p.width, whole = true, number = p.at, rows = self.rows, at = p }
end

function Maker:own(pick)
  local list = {}
  for _, v in ipairs(self.pool) do
    if v.invoke == self.invoke and v.step == self.step and (not v.deep or v.deep == self.deep) and (not pick or pick(v)) then
      list[#list + 1] = v
    end
  end
  return #list > 0 and self.d:of(list)
end

local makes = {}

function makes.read(m) m:read() end

function makes.slice(m)
  local v = m:own(function(v) return v.whole and WIDTHS[v.width] end) or m:read(all[2])
  if not WIDTHS[v.width] then return end
  local name = m:name "v"
  m:add { op = "calc", f = "slice", spec = ":, -1", a = { var = v.name }, out = name }
  m:value { name = name, width = v.width, whole = false, number = v.number, rows = v.rows, computed = v.computed }
end

function makes.calc(m)
  local v = m:own(function(v) return WIDTHS[v.width] end) or m:read(all[2])
  local other = m.d:chance(0.5) and m:find(v.width, v.number, v.whole)
  local name = m:name "v"
  m:add { op = "calc", f = m.d:of { "add", "mul", "sub" }, a = { var = v.name }, out = name,
    b = other and { var = other.name } or m:number() }
  m:value { name = name, width = v.width, whole = v.whole, number = v.number, rows = v.rows, computed = true }
end

function makes.inplace(m)
  local v = m:own() or m:read()
  m:add { op = "inplace", f = "mul_", of = v.name, b = m:number() }
end

function makes.set(m)
  local v = m:own(function(v) return v.whole and WIDTHS[v.width] and not v.computed end) or m:read(all[2])
  if not WIDTHS[v.width] then return end
  local spec = m.d:of { ":, -1", "..., 3:9", ":, 0" }
  local from = spec == ":, -1" and m.d:chance(0.6) and m:find(v.width, v.number, false)
  m:add { op = "set", of = v.name, spec = spec, value = from and { var = from.name } or m:number() }
end

function makes.replace(m)
  local p = m.d:of(all)
  local v = m:find(p.width, p.at, true)
  if not v then return end
  local name = m:name "w"
  m:add { op = "calc", f = m.d:of { "add", "mul" }, a = { var = v.name }, b = m:number(), out = name }
  m:add { op = "replace", point = p.point, value = { var = name } }
end

function makes.skip(m)
  if m.deep or m.skipped or not m.has_input then return end
  local h = m.d:between(0, 3)
  local path = ("transformer.h.%d.mlp"):format(h)
  local v = m:find(128, all[#all].at, true)
  if not v or v.number >= 6 + 14 * h then return end
  m.skipped = true
  local name = m:name "w"
  m:add { op = "calc", f = "mul", a = { var = v.name }, b = m:number(), out = name }
  m:add { op = "skip", path = path, call = 0, value = { var = name } }
end

function makes.call(m)
  local v = m:own(function(v) return v.width == 128 end) or m:read(all[2])
  if v.width ~= 128 then return end
  local name = m:name "v"
  m:add { op = "call", path = m.d:of { "lm_head", "transformer.ln_f" }, a = { var = v.name }, out = name }
  m:value { name = name, width = 0, whole = v.whole, number = v.number, rows = v.rows, computed = true }
end

function makes.demand(m)
  local v = m:own() or m:read()
  m:add { op = "demand", of = v.name }
end

function makes.stop(m)
  if m.stopped or m.steps then return end
  m.stopped = true
  m:add { op = "stop" }
end

local weights = { { "read", 4 }, { "slice", 3 }, { "calc", 3 }, { "inplace", 3 }, { "set", 3 }, { "replace", 3 },
  { "call", 1 } }

function Maker:lines(count)
  for _ = 1, count do makes[self.d:weighted(self.weights)](self) end
end

---Moves on in the steps of a generation, or records lines for several.
function Maker:next_step()
  if self.d:chance(0.5) then
    if self.step + 1 < self.steps then
      self:add { op = "next" }
      self.step = self.step + 1
    end
    return
  end
  local outer, from = self.body, self.d:between(0, self.steps - 1)
  local to, before = self.d:between(from + 1, self.steps), self.step
  local inner = { op = "iter", from = from, to = to, body = {} }
  self.body, self.step, self.deep = inner.body, from, inner
  self:read()
  self:lines(self.d:between(1, 3))
  self.body, self.step, self.deep = outer, before, nil
  self:add(inner)
end

---@param seed integer
---@param d table  dice
---@return table  # a program
function generate_box.program(seed, d)
  local program = { seed = seed, net = "box", invokes = {} }
  local steps = d:chance(0.5) and d:between(1, 3) or nil
  program.steps = steps
  local count = d:chance(0.5) and d:between(1, 3) or 1
  program.single = count == 1 and d:chance(0.7)
  local m = setmetatable({ d = d, steps = steps, count = 0, pool = {}, weights = { unpack(weights) } }, Maker)
  if d:chance(0.3) then m.weights[#m.weights + 1] = { "skip", 3 } end
  if d:chance(0.2) then m.weights[#m.weights + 1] = { "stop", 1 } end
  if d:chance(0.15) and not steps then m.weights[#m.weights + 1] = { "demand", 2 } end
  if d:chance(0.15) then
    program.edit = {}
    m.body, m.invoke, m.step = program.edit, 0, 0
    local p = d:of(all)
    m:add { op = "read", out = "e1", point = p.point }
    m:add { op = "inplace", f = "mul_", of = "e1", b = m:number() }
    m.pool = {}
  end
  local total = 0
  for i = 1, count do
    local rows, ids = d:chance(0.7) and 1 or 2, {}
    for r = 1, rows do
      ids[r] = {}
      for t = 1, 4 do ids[r][t] = d:between(5, 1900) end
    end
    total = total + rows
    program.invokes[i] = { input = { ids = ids }, rows = rows, body = {} }
  end
  if not program.single and d:chance(0.3) then program.invokes[count + 1] = { body = {} } end
  for i, invoke in ipairs(program.invokes) do
    m.body, m.invoke, m.step, m.deep, m.stopped, m.skipped = invoke.body, i, 0, nil, false, false
    m.rows, m.has_input = invoke.rows or total, invoke.input
    m:read()
    m:lines(d:between(1, 6))
    if steps then
      for _ = 1, d:between(0, 2) do
        m:next_step()
        m:lines(d:between(0, 3))
      end
      if d:chance(0.5) then
        local name = m:name "t"
        m:add { op = "text", out = name }
        m:add { op = "save", of = name }
      end
    end
    m:read(all[#all])
    m:add { op = "save", of = m.pool[#m.pool].name }
  end
  return program
end

return generate_box
