-- What a forward reads besides its arguments: whatever of it a script changes, the next call has the values of now, as the same
-- function called on tensors has.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local support = require "spec.support"

---Makes a module with this forward; `init` sets its fields. Returns the class too.
local function made(forward, init)
  local Made = nn.Module "Made"
  Made.forward, Made.init = forward, init
  return Made(), Made
end

local one = torch.ones(1)

---Checks that a module and a module around it give `want` for 1.
local function gives(want, net)
  assert.equal(want, net(one):item())
  local outer = nn.Sequential { net }
  assert.equal(want, outer(one):item())
  return outer
end

describe("a forward that calls functions", function()
  it("calls those of now: an upvalue, a field, a function in a table, what these read", function()
    local by = 2
    local function act(x) return x * by end
    local helpers = { act = act }
    local nets = { made(function(_, x) return act(x) end), nil }
    nets[2] = made(function(_, x) return helpers.act(x) end)
    nets[3] = made(function(self, x) return self.act(x) end, function(self) self.act = act end)
    nets[4] = made(function(self, x) return self.o.deep.act(x) end, function(self) self.o = { deep = { act = act } } end)
    local outers = {}
    for i, net in ipairs(nets) do outers[i] = gives(2, net) end
    by = 3
    for i, net in ipairs(nets) do
      assert.equal(3, outers[i](one):item(), i)
      gives(3, net)
    end
    act = function(x) return x * 5 end
    helpers.act = act
    assert.equal(5, outers[1](one):item())
    assert.equal(5, outers[2](one):item())
    assert.equal(3, outers[3](one):item())
  end)

  it("calls the methods of its class that are there now, and those of the parent of its class", function()
    local net, Made = made(function(self, x) return self:help(x) end)
    function Made:help(x) return x * 2 end -- luacheck: ignore 212
    local Derived = nn.Module("Derived", Made)
    local derived = Derived()
    gives(2, net)
    gives(2, derived)
    function Made:help(x) return x * 3 end -- luacheck: ignore 212
    gives(3, net)
    gives(3, derived)
    function Made:forward(x) return self:help(x) + 1 end
    gives(4, net)
    gives(4, derived)
    function Derived:help(x) return x * 7 end -- luacheck: ignore 212
    gives(4, net)
    gives(8, derived)
  end)
end)

describe("a forward that reads tables", function()
  it("reads a field that is new, in a nested table and in an upvalue", function()
    local o = {}
    local net = made(function(self, x) return x * (self.o.s or 2) * (o.s or 1) end, function(self) self.o = { a = 1 } end)
    local outer = gives(2, net)
    net.o.s = 3
    assert.equal(3, outer(one):item())
    o.s = 2
    assert.equal(6, outer(one):item())
    o.s, net.o.s = nil, nil
    assert.equal(2, outer(one):item())
  end)

  it("reads the fields of its class and of tables with metatables as they are now", function()
    local net, Made = made(function(self, x) return x * self.scale * self.o.s * self.config.k end)
    local defaults = { k = 1 }
    Made.scale, Made.o, Made.config = 2, { s = 1 }, setmetatable({}, { __index = defaults })
    local outer = gives(2, net)
    Made.scale = 3
    assert.equal(3, outer(one):item())
    Made.o.s = 2
    assert.equal(6, outer(one):item())
    defaults.k = 2
    assert.equal(12, outer(one):item())
    Made.config.k = 3
    assert.equal(18, outer(one):item())
  end)

  it("reads tables that a script's own modules return to require", function()
    package.loaded["watch_spec.config"] = { s = 2 }
    local config = require "watch_spec.config"
    local net = made(function(_, x) return x * config.s end)
    local outer = gives(2, net)
    config.s = 3
    assert.equal(3, outer(one):item())
    package.loaded["watch_spec.config"] = nil
  end)

  it("is right beyond the number of values that are compared", function()
    local many = {}
    for i = 1, 3000 do many[i] = 1 end
    local net = made(function(_, x) return x * many[1] * many[3000] end)
    local outer = gives(1, net)
    many[3000] = 2
    assert.equal(2, outer(one):item())
    many[1] = 3
    assert.equal(6, outer(one):item())
  end)

  it("takes an upvalue of now that is a tensor, or NaN", function()
    local t = one * 2
    local net = made(function(_, x) return x * t end)
    local outer = gives(2, net)
    t = one * 3
    assert.equal(3, outer(one):item())
    t = 0 / 0
    assert.is_true(outer(one):isnan():item())
    t = 4
    assert.equal(4, outer(one):item())
  end)
end)

describe("a forward that reads another module", function()
  it("reads its fields, nested tables, parameters and mode as they are now, where it does not call it", function()
    local other = nn.Sequential { { "a", nn.Linear(1, 1) } }
    other.s, other.a.s, other.a.o = 2, 1, { s = 1 }
    other:requires_grad_(false)
    other.a.weight:fill_(1)
    local net = made(function(self, x)
      local a = self.list[1].a
      return x * other.s * a.s * a.o.s * a.weight[0][0] * (a.training and 1 or 10)
    end, function(self) self.list = { other } end)
    local outer = gives(2, net)
    other.s = 3
    assert.equal(3, outer(one):item())
    other.a.s = 2
    assert.equal(6, outer(one):item())
    other.a.weight = nn.Parameter(torch.ones(1, 1) * 2, { requires_grad = false })
    assert.equal(12, outer(one):item())
    other.a:eval()
    assert.equal(120, outer(one):item())
    other.a = nn.Linear(1, 1)
    other.a.s, other.a.o = 1, { s = 1 }
    torch.no_grad(function() other.a.weight:fill_(5) end)
    assert.equal(15, outer(one):item())
  end)

  it("takes the mode of now of a module that it calls and does not contain", function()
    local inner = nn.Dropout(1)
    inner:eval()
    local net = made(function(_, x) return inner(x) end)
    local outer = gives(1, net)
    inner:train()
    assert.equal(0, outer(one):item())
    inner:eval()
    assert.equal(1, outer(one):item())
  end)

  it("runs at each call a module that it calls and does not contain, where that changes itself", function()
    local inner = made(function(self, x)
      self.n = (self.n or 0) + 1
      return x * self.n
    end)
    local net = made(function(_, x) return inner(x) end)
    local outer = nn.Sequential { net }
    for i = 1, 4 do assert.equal(i, outer(one):item()) end
    local model = ls.Model(outer)
    for i = 5, 7 do support.near({ i }, model:trace(one, function() return model.output end)) end
  end)
end)

describe("values that a forward reads", function()
  it("are those of now where they are functions, objects, tensors or parts of a class", function()
    local object, f, by = setmetatable({ k = 2 }, { __index = {} }), torch.relu, torch.ones(1)
    local Base = nn.Module "Base"
    function Base:help(x) return x * self.by end -- luacheck: no unused args
    Base.by = 2
    local Own = nn.Module("Own", Base)
    function Own:forward(x) return f(self:help(x)) * object.k * by * self.list.f(x) end
    function Own:init() self.list = { f = function(x) return x / x * object.k end } end
    local outer, model = nn.Sequential { Own(), Own() }, ls.Model(nn.Sequential { Own() })
    local function check(want)
      assert.equal(want, outer[0](one):item())
      assert.equal(want * want, outer(one):item())
      assert.equal(want, model:trace(one, function() return model[0].output end):item())
    end
    check(8)
    object.k = 3
    check(18)
    Base.by = 3
    check(27)
    f = torch.neg
    assert.equal(-27, outer[0](one):item())
    f = torch.abs
    by = torch.ones(1) * 2
    check(54)
    function Base:help(x) return x end -- luacheck: no unused args
    check(18)
    function Own:forward(x) return x * 5 end -- luacheck: no unused args
    check(5)
  end)

  it("let a module go that was the first of its class", function()
    local Own = nn.Module "Own"
    function Own:init() self.w = nn.Parameter(torch.ones(1)) end
    function Own:forward(x) return x * self.w end
    local kept = setmetatable({ Own() }, { __mode = "v" })
    kept[1](one)
    collectgarbage()
    collectgarbage()
    assert.is_nil(kept[1])
    assert.equal(1, Own()(one):item())
  end)

  it("follows a replaced parameter that a forward reads through the handle of a model", function()
    local net = ls.nn.Sequential { { "inner", ls.nn.Linear(1, 1) } }
    local model, Reads = ls.Model(net), ls.nn.Module "Reads"
    function Reads:forward(x) return x * model.inner.weight end -- luacheck: ignore 212
    local reads, x1 = Reads(), ls.torch.ones(1, 1)
    reads(x1)
    net.inner.weight = ls.nn.Parameter(x1 * 9)
    assert.equal(9, reads(x1):item())
  end)
end)
