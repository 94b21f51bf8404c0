-- What a forward may ask of its values and how it may name them.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local refused = require "spec.support".refused

local function made(forward)
  local Made = nn.Module "Made"
  Made.forward = forward
  return Made()
end

local one = torch.ones(1)

---Checks that a call is refused.
local function call_refused(code, text, net, ...)
  local arguments, n = { ... }, select("#", ...)
  refused(code, text, function() return net(unpack(arguments, 1, n)) end)
end

describe("a question whether a value is a tensor", function()
  it("is answered for proxies and for what a forward has made, and refused for its arguments", function()
    local net = made(function(_, x)
      if torch.is_tensor(x * 2) and not torch.is_tensor(ls.tuple(x)) then return x * 2 end
      return x
    end)
    assert.equal(2, net(one):item())
    local saved, pair
    local model = ls.Model(net)
    model:trace(one, function()
      pair, saved = model.input:save(), model.output:save()
      assert.is_true(torch.is_tensor(saved * 2))
      assert.is_false(torch.is_tensor(pair))
      assert.is_true(torch.is_tensor(saved))
    end)
    assert.is_true(torch.is_tensor(saved))
    assert.is_false(torch.is_tensor(pair))
    local asks = made(function(_, x) return torch.is_tensor(x) and x or x[0] end)
    refused("state", "torch.is_tensor cannot be asked of an argument", function() asks(one) end)
    asks.dynamic = true
    assert.equal(1, asks(ls.tuple(one)):item())
    assert.equal(1, asks(one):item())
  end)
end)

describe("a table that is an argument of a forward", function()
  it("is refused where a recording cannot hold it: with a metatable, or a module", function()
    local net = made(function(_, x, o) return x * (o.s or 0) end)
    assert.equal(5, net(one, { s = 5 }):item())
    for _, o in ipairs { setmetatable({}, { __index = { s = 5 } }), setmetatable({ s = 5 }, {}) } do
      call_refused("argument", "a table with a metatable cannot be an argument", net, one, o)
      call_refused("argument", "a table with a metatable cannot be an argument", net, one, { o })
    end
    call_refused("argument", "a module cannot be an argument of a module", net, one, nn.Identity())
    call_refused("argument", "a module cannot be an argument of a module", net, one, { s = nn.Identity() })
  end)

  it("cannot take values from it, which the caller would not get", function()
    for _, o in ipairs { { s = {} }, { {} } } do
      call_refused("state", "a forward puts a value into a table", made(function(_, x, t)
        local at = t.s or t[1]
        at.seen = x * 2
        return x
      end), one, o)
    end
    local own = made(function(_, x, o) -- options of its own, and values that it was given
      o.s, o.t, o.me = o.s or 2, x, o
      return o.t * o.s
    end)
    assert.equal(2, own(one, { k = 1 }):item())
  end)
end)

describe("the name of a value or a module", function()
  it("is refused where no point could be found by it: a second value of the name, one that reads as another point", function()
    local function named(name) return function() made(function(_, x) return nn.tap(name, x * 2) end)(one) end end
    for _, name in ipairs { "", "a.b", "a.output", "a\0b", "x (call 1)" } do
      refused("name", "nn.tap: the name of a value is a text without dots", named(name))
    end
    for _, name in ipairs { 5, false } do refused("argument", "nn.tap: the name of a value is a text", named(name)) end
    for _, name in ipairs { "input", "output" } do refused("name", "every module has a value of the name", named(name)) end
    refused("name", 'this forward has named another value "t" already', function()
      made(function(_, x)
        for i = 1, 2 do x = nn.tap("t", x * i) end
        return x
      end)(one)
    end)
    refused("name", "is a text without dots", function() nn.Sequential { { "a (call 1)", nn.Identity() } } end)
  end)

  it("may be one that another module uses too", function()
    local a, b = made(function(_, x) return nn.tap("t", x * 2) end), made(function(_, x) return nn.tap("t", x * 5) end)
    local model = ls.Model(nn.Sequential { { "a", a }, { "b", b } })
    local first, second = model:trace(one, function() return model.a.t, model.b.t end)
    assert.same({ 2, 10 }, { first:item(), second:item() })
  end)
end)
