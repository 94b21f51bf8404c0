-- Numbers that exist only when a forward runs: the sizes of its values, and what arithmetic makes of them. The right ones are
-- those of the same lines on plain Lua numbers.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local refused = require "spec.support".refused

---Makes a module with this forward; `init` sets its fields.
local function made(forward, init)
  local Made = nn.Module "Made"
  Made.forward, Made.init = forward, init
  return Made()
end

describe("the sizes of a forward's values", function()
  local x = torch.ones(5, 3)

  it("are numbers to arithmetic, in double precision", function()
    local forms = {
      function(a, b) return 7 / a + b end, function(a, b) return a / b end, function(a, b) return a % b end,
      function(a, b) return -a % b end, function(a) return a ^ 40 end,
      function(a) return a ^ -1 end, function(a) return 2 ^ a end,
      function(a, b) return (1 - a) * b end, function(a) return a * 1e300 end, function(a) return a * 1e9 * 1e9 * 1e9 end,
      function(a) return 49 / (a * 9.8) end, function(a, b) return (a - a % 2) / 2 + b / 3 end, function(a) return a ^ 0.5 end,
      function(a, b) return a % -b end, function(a) return 0 / (a - 5) end,
    }
    for i, form in ipairs(forms) do
      local want, got = form(5, 3), made(function(_, v) return form(v:size(0), v.shape[1]) end)(x)
      assert.equal("number", type(got), i)
      assert.is_true(got == want or got ~= got and want ~= want, i)
    end
    assert.equal(math.sqrt(5), made(function(_, v) return v:size(0):sqrt() end)(x))
    assert.equal(2, made(function(_, v) return (v:size(0) / 2):floor() end)(x))
  end)

  it("leave the dtype of a tensor as a number does, also one without axes", function()
    local y = made(function(_, v) return v:half():sum() * (1 / v:size(0)) end)(x)
    assert.equal("float16", y.dtype)
    assert.equal(3, y:item())
    assert.equal(1 / 5, made(function(_, v) return v:double() * (1 / v:size(0)) end)(x)["0, 0"]:item())
  end)

  it("are numbers in a called module, a trace, a scan and a dynamic module", function()
    local inner = made(function(_, v, n) return v * (n / 7) end)
    local outer = made(function(self, v) return self.inner(v, v:size(0)) end, function(self) self.inner = inner end)
    assert.equal(5 / 7, outer(x:double())["0, 0"]:item())
    local function forward(_, v) return v:double() * (7 / v:size(0)) end
    local model = ls.Model(made(forward))
    assert.equal(1.4, model:trace(x, function() return model.output["0, 0"] end):item())
    assert.equal(1.4, made(forward, function(self) self.dynamic = true end)(x)["0, 0"]:item())
    local shaped = ls.Model(made(function(_, v) return torch.zeros((v:size(0) - 1) / 2, v:size(1) * 2) end))
    local shape
    shaped:scan(x, function() shape = tostring(shaped.output.shape) end)
    assert.equal("[2, 6]", shape)
  end)

  it("can be indices, bounds and shapes where they are whole", function()
    local half = made(function(_, v) return v[{ { 0, (v:size(0) - 1) / 2 } }] end)
    assert.equal("[2, 3]", tostring(half(x).shape))
    refused("index", "whole number", function() half(torch.ones(4, 3)) end)
    assert.equal("[2]", tostring(made(function(_, v) return torch.zeros((v:size(0) - 1) / 2) end)(x).shape))
  end)

  it("are checked beside a tensor whose dtype is too small for them, and cannot change in place", function()
    local sum = made(function(_, v) return v:to "int8" + v:size(0) end)
    assert.equal(6, sum(x)["0, 0"]:item())
    refused("argument", "the number 300 does not fit into int8", function() sum(torch.ones(300, 1)) end)
    refused("argument", "cannot be changed in place", function() made(function(_, v) return v:size(0):add_(1) end)(x) end)
    refused("argument", "cannot be changed in place", function() made(function(_, v) return (v:size(0) * 2):add_(1) end)(x) end)
  end)

  it("have no text before the forward runs, as its other values", function()
    refused("state", "has no text yet", function() made(function(_, v) return #tostring(v:size(0)) end)(x) end)
    refused("state", "has no text yet", function() made(function(_, v) return nn.tap("at " .. v, v) end)(x) end)
    local dynamic = made(function(_, v) return v * tonumber(tostring(v:size(0))) end, function(self) self.dynamic = true end)
    assert.equal(5, dynamic(x)["0, 0"]:item())
  end)
end)
