--- Random programs. A seed names one for good: all choices are its dice's.
---
--- A program is data: { net =, single =, edit = lines?, invokes = { { input =, rows =, body = lines } } }, and a line says what
--- it does in `op`; `text.lua` shows all of them. Each program takes a few features of all, so that they meet in pairs.
local dice = require "dice"
local generate_box = require "generate_box"
local Maker = require "generate_lines"
local nets = require "nets"
local plain = require "plain"
require "generate_gradients"

local all_places, makes, same_shape = Maker.all_places, Maker.makes, Maker.same_shape

local generate = {}

local common = { { "read", 5 }, { "calc", 4 }, { "view", 2 }, { "inplace", 3 }, { "set", 3 }, { "replace", 3 },
  { "call", 1 }, { "wait", 1 } }

-- What meets too seldom by chance: most programs want two of these, whatever else they have. `line` is written into a
-- body with the others, `first` before them, `last` behind them.
local wishes = {
  { flag = "skip", first = "skip" }, { flag = "skip", first = "skip" }, { flag = "stop", last = "stop" },
  { flag = "stop", last = "stop" }, { flag = "demand", last = "demand" }, { flag = "demand", line = "demand" },
  { flag = "hook", line = "hook" }, { flag = "apply", line = "apply" }, { flag = "cache", first = "cache" },
  { flag = "session" }, { flag = "edit" }, { flag = "whole", first = "tuple" }, { flag = "whole", line = "tuple" },
  { flag = "outside" }, { flag = "gradients", line = "editgrad" }, { flag = "gradients", line = "editgrad" },
  { flag = "gradients", line = "forwardgrad", early = true }, { flag = "gradients", line = "forwardgrad", early = true },
  { flag = "gradients", line = "setgrad" }, { flag = "gradients", twice = true }, { flag = "carry" },
}

-- The nets in which a point holds a tuple.
local tuples = {}
for _, net in ipairs(nets) do
  if table.concat(net.traits, " "):find("tuple", 1, true) then tuples[#tuples + 1] = net end
end

-- The nets by trait, so that a trait of one net is as frequent as one of five.
local traits, with = {}, {}
for _, net in ipairs(nets) do
  for _, trait in ipairs(net.traits) do
    if not with[trait] then
      with[trait] = {}
      traits[#traits + 1] = trait
    end
    table.insert(with[trait], net)
  end
end

local function any_net(d)
  if d:chance(0.5) then return d:of(nets) end
  return d:of(with[d:of(traits)])
end

---@return table[]  # none or two of the wishes
local function wished(d)
  if d:chance(0.35) then return {} end
  local one, two = d:of(wishes), d:of(wishes)
  return one == two and { one } or { one, two }
end

local function weights_of(flags)
  local list = { unpack(common) }
  if flags.gradients then
    list[#list + 1] = { "grad", 5 }
    list[#list + 1] = { "setgrad", 3 }
    list[#list + 1] = { "backward", 2 }
    list[#list + 1] = { "editgrad", 1 }
  end
  if flags.skip then list[#list + 1] = { "skip", 2 } end
  if flags.stop then list[#list + 1] = { "stop", 1 } end
  if flags.demand then list[#list + 1] = { "demand", 2 } end
  if flags.hook then list[#list + 1] = { "hook", 3 } end
  if flags.apply then list[#list + 1] = { "apply", 2 } end
  if flags.cache then list[#list + 1] = { "cache", 2 } end
  return list
end

function Maker:write_body(this, lines, weights)
  local d, flags = self.d, self.flags
  self.this, self.body, self.skipped, self.stopped = this, this.body, {}, false
  self.losses = flags.gradients and this.input and (not flags.twice and d:chance(0.75) and 1 or 2) or nil
  self.retain, self.loss_number = flags.retain, 0
  local from, to = 0.6 * self.points, math.huge
  if flags.early then from, to = 0.3 * self.points, 0.7 * self.points end
  self.loss = self.losses and self:place(function(p) return p.number > from and p.number < to end)
  if not self.loss then self.losses = nil end
  self:read()
  for _, wish in ipairs(flags.wishes) do
    if wish.first then makes[wish.first](self) end
  end
  for _ = 1, lines do
    if self.count < 48 then makes[d:weighted(weights)](self) end -- a function of Lua has at most 60 upvalues
  end
  for _, wish in ipairs(flags.wishes) do
    if wish.line then makes[wish.line](self) end
  end
  if self.losses and self.losses > 0 then makes.backward(self) end
  if self.losses and self.losses > 0 and flags.twice then makes.backward(self) end
  for _, wish in ipairs(flags.wishes) do
    if wish.last then makes[wish.last](self) end
  end
  -- Something is always looked at: the end of the net, of late.
  if d:chance(0.7) then
    local name = self:name "o"
    local last = all_places(self.net)[#all_places(self.net)]
    self:add { op = "read", out = name, point = last.point }
    self:add { op = "save", of = name }
  end
end

---@param seed integer
---@return table  # a program
function generate.program(seed)
  local d = dice(seed)
  if d:chance(0.08) then return generate_box.program(seed, d) end
  local wanted, flag = wished(d), {}
  for _, wish in ipairs(wanted) do flag[wish.flag] = true end
  local net = flag.whole and d:of(tuples) or any_net(d)
  local program = { seed = seed, net = net.name, invokes = {} }
  local flags = { wishes = wanted, gradients = d:chance(0.4), skip = d:chance(0.12), stop = d:chance(0.08),
    hook = d:chance(0.2), apply = d:chance(0.12), cache = d:chance(0.15) }
  flags.demand = d:chance(flags.gradients and 0.05 or 0.15)
  for _, wish in ipairs(wanted) do
    flags[wish.flag], flags.early, flags.twice = true, flags.early or wish.early, flags.twice or wish.twice
  end
  local several = d:chance(0.5) or flag.session or flag.outside or flag.carry
  local count = several and d:between(1, 3) or 1
  if flag.session or flag.carry then count = d:between(2, 3) end
  flags.retain = flags.gradients
  program.single = not several
  program.session = several and count > 1 and (flag.session or d:chance(0.2)) or nil
  local m = setmetatable({ d = d, net = net, flags = flags, count = 0, pool = {}, invoke = 0, invoke_count = count, hooked = {},
    alone = not several or program.session, points = #plain.points(net).list }, Maker)
  if flag.edit or d:chance(0.12) then
    program.edit = {}
    m.flags = { wishes = {} }
    -- A stored edit has no rows of its own: numbers and what it reads.
    m.pool_before, m.edit = m.pool, true
    m:write_edit(program.edit)
    m.flags, m.pool, m.edit = flags, {}, false
  end
  local total = 0
  for i = 1, count do
    local rows = d:chance(0.6) and 1 or 2
    if i > 1 then rows = 1 end -- never as many in all as a row has numbers
    total = total + rows
    program.invokes[i] = { input = { const = d:numbers { rows, 5 } }, rows = rows, body = {} }
  end
  if several and not program.session and (flag.outside or d:chance(0.3)) then program.invokes[count + 1] = { body = {} } end
  m.all_rows = total
  local weights = weights_of(flags)
  local lines = d:between(2, several and 8 or 14)
  for i, invoke in ipairs(program.invokes) do
    m.invoke = i
    m:write_body(invoke, lines, weights)
  end
  return program
end

local edit_makes = { { "inplace", 2 }, { "set", 2 }, { "replace", 3 }, { "calc", 2 } }

---The body of a stored edit: values of any number of rows, so no tensors of its own.
function Maker:write_edit(body)
  self.this, self.body, self.skipped = { input = true, rows = 1 }, body, {}
  for _ = 1, self.d:between(1, 3) do
    local p = self:place(function(p) return #p.shape == 2 end)
    local v = { name = self:name "e", shape = { p.shape[1], p.shape[2] }, axis = p.axis }
    self:add { op = "read", out = v.name, point = p.point }
    local what = self.d:weighted(edit_makes)
    if what == "inplace" then
      self:add { op = "inplace", f = "mul_", of = v.name, b = self:number_operand() }
    elseif what == "set" then
      self:add { op = "set", of = v.name, spec = v.axis == 0 and ":, 1:3" or "1:3", value = self:number_operand() }
    else
      local name = self:name "e"
      self:add { op = "calc", f = self.d:of { "mul", "add" }, a = { var = v.name }, b = self:number_operand(), out = name }
      local to = self:place(function(q) return q.number >= p.number and same_shape(q.shape, p.shape) and q.axis == p.axis end)
      self:add { op = "replace", point = to.point, value = { var = name } }
    end
  end
end

return generate
