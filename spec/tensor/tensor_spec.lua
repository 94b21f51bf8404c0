-- Tensors as Lua values: making them, their fields, arithmetic, comparison, autograd, memory.
local ls = require "luasight"
local support = require "spec.support"
local torch = ls.torch

local function failure(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

describe("torch.tensor", function()
  it("makes float32 of numbers and bool of booleans", function()
    local x = torch.tensor { { 1, 2 }, { 3, 4 } }
    assert.equal("float32", x.dtype)
    assert.same({ { 1, 2 }, { 3, 4 } }, x:tolist())
    assert.equal("bool", torch.tensor({ true, false }).dtype)
    assert.equal("int64", torch.tensor({ 1, 2 }, { dtype = "int64" }).dtype)
    assert.equal(3.5, torch.tensor(3.5):item())
    assert.same({ 0 }, torch.tensor({}).shape:tolist())
    assert.same({ 2, 0 }, torch.tensor({ {}, {} }).shape:tolist())
  end)

  it("keeps 64-bit integers whole", function()
    local big = 9007199254740993LL
    local x = torch.tensor { big, -1 }
    assert.equal("int64", x.dtype)
    assert.is_true(x[0]:item() == big)
    assert.is_true(x:tolist()[1] == big)
    assert.equal(-1, x:tolist()[2])
  end)

  it("refuses ragged lists and names the place", function()
    local err = failure(torch.tensor, { { 1, 2 }, { 3 } })
    assert.equal("shape", err.code)
    assert.matches("%[2%]", err.message)
    assert.matches("%[1%]%[2%]", failure(torch.tensor, { { 1, { 2 } } }).message)
    assert.equal("shape", failure(torch.tensor, { { 1 }, 2 }).code)
    assert.equal("argument", failure(torch.tensor, { 1, "a" }).code)
    assert.equal("argument", failure(torch.tensor, { 1, true }).code)
    assert.equal("argument", failure(torch.tensor, nil).code)
    assert.equal("name", failure(torch.tensor, { 1 }, { dtpye = "int64" }).code)
    assert.matches("stack", failure(torch.tensor, { torch.tensor(1) }).hint)
  end)

  it("copies a tensor", function()
    local x = torch.ones(2)
    local y = torch.tensor(x)
    y:fill_(5)
    assert.same({ 1, 1 }, x:tolist())
  end)
end)

describe("a tensor", function()
  it("has fields", function()
    local x = torch.zeros(1, 10)
    assert.equal("[1, 10]", tostring(x.shape))
    assert.equal("float32", x.dtype)
    assert.equal("cpu", x.device)
    assert.is_false(x.requires_grad)
    assert.is_nil(x.grad)
    assert.equal(1, #x)
    assert.equal(10, x:size(-1))
    assert.equal(2, x:dim())
    assert.equal(10, x:numel())
    assert.is_true(x:is_contiguous())
    assert.is_false(torch.zeros(2, 3):t():is_contiguous())
    assert.equal("index", failure(function() return x:size(2) end).code)
    assert.equal("shape", failure(function() return #torch.tensor(1) end).code)
    assert.is_true(torch.equal(x, x.value))
  end)

  it("computes with operators, numbers on either side", function()
    local x = torch.tensor { 1, 2, 4 }
    for _, pair in ipairs {
      { x + 1, { 2, 3, 5 } }, { 1 + x, { 2, 3, 5 } }, { x - 1, { 0, 1, 3 } }, { 1 - x, { 0, -1, -3 } }, { x * 2, { 2, 4, 8 } },
      { 2 * x, { 2, 4, 8 } }, { x / 2, { 0.5, 1, 2 } }, { 2 / x, { 2, 1, 0.5 } }, { x ^ 2, { 1, 4, 16 } },
      { 2 ^ x, { 2, 4, 16 } }, { -x, { -1, -2, -4 } }, { x % 3, { 1, 2, 1 } }, { 5 % x, { 0, 1, 1 } }, { x + x, { 2, 4, 8 } },
      { x - x, { 0, 0, 0 } }, { -x % 3, { 2, 1, 2 } },
    } do
      assert.same(pair[2], pair[1]:tolist())
    end
  end)

  it("compares with nothing but nil", function()
    local x = torch.ones(2)
    assert.is_false(x == nil)
    assert.is_true(x ~= nil)
    for _, f in ipairs { function() return x == x + 0 end, function() return x == 0 end, function() return x < 1 end,
      function() return x <= x end } do
      local err = failure(f)
      assert.equal("argument", err.code)
      assert.matches("item", err.hint)
    end
  end)

  it("converts", function()
    local x = torch.tensor { 1.5, 0 }
    assert.equal("float64", x:to("float64").dtype)
    assert.equal("float64", x:to{ dtype = "float64" }.dtype)
    assert.equal("float16", x:to("cpu", "float16").dtype)
    assert.equal("int64", x:long().dtype)
    assert.equal("bool", x:bool().dtype)
    assert.equal("int64", x:to(torch.arange(2)).dtype)
    for _, wrong in ipairs { { "int64", "float64" }, { "int64", { dtype = "int8" } }, { "cpu", "cuda" }, { 5 } } do
      assert.equal("argument", failure(function() return x:to(unpack(wrong)) end).code)
    end
    assert.same({ true, false }, x:bool():tolist())
    assert.equal("float32", x:double():float().dtype)
    assert.same({ 1.5, 0 }, x:half():tolist())
    assert.same({ 2, 3 }, torch.ones(3, 2):t().shape:tolist())
  end)

  it("walks its rows and gives typed memory", function()
    local x = torch.tensor { { 1, 2 }, { 3, 4 } }
    local seen = {}
    for i, row in x:each() do seen[i + 1] = row:sum():item() end
    assert.same({ 3, 7 }, seen)
    local p = x:data_ptr()
    p[3] = 9
    assert.equal(9, x["1, 1"]:item())
    assert.same({ { 1, 3 }, { 2, 9 } }, x:t():tolist())
  end)

  it("says what is wrong", function()
    local x = torch.ones(2)
    assert.equal("name", failure(function() x.foo = 1 end).code)
    assert.equal("argument", failure(function() x.shape = 1 end).code)
    assert.equal("argument", failure(function() x[0] = { 1 } end).code)
    assert.equal("argument", failure(function() return x(0) end).code)
    assert.equal("state", failure(function() return x.t[0] end).code)
    local err = failure(function() return ls.tuple(x).shape end)
    assert.equal("name", err.code)
    assert.matches("x%[0%]", err.hint)
    assert.is_nil(tostring(failure(function() return x:item() end)):find "\n")
  end)
end)

describe("autograd", function()
  it("runs backward and keeps gradients", function()
    local w = torch.tensor({ 1, 2 }, { requires_grad = true })
    local y = (w * w):sum()
    y:backward{ retain_graph = true }
    assert.same({ 2, 4 }, w.grad:tolist())
    y:backward()
    assert.same({ 4, 8 }, w.grad:tolist())
    w.grad = nil
    assert.is_nil(w.grad)
    w.grad = torch.zeros(2)
    assert.same({ 0, 0 }, w.grad:tolist());
    (w * 3):backward(torch.tensor { 1, 10 })
    assert.same({ 3, 30 }, w.grad:tolist())
    assert.is_false(w:detach().requires_grad)
    for _, given in ipairs { torch.ones(3, 2), torch.ones(1), torch.tensor(1) } do -- neither summed nor expanded
      assert.equal("shape", failure(function() (w * 3):backward(given) end).code)
    end
    assert.same({ 3, 30 }, w.grad:tolist())
    local model = ls.Model(ls.nn.ReLU())
    local err = failure(model.trace, model, torch.ones(2), function()
      model.input[0][0].grad:save()
      model.output:backward(torch.ones(3, 2))
    end)
    assert.equal("shape", err.code)
  end)

  it("is off in no_grad, and on again after an error in it", function()
    local w = torch.ones(1, { requires_grad = true })
    assert.is_false(torch.no_grad(function() return (w * 2).requires_grad end))
    assert.is_true((w * 2).requires_grad)
    assert.is_true(torch.no_grad(function() return torch.enable_grad(function() return (w * 2).requires_grad end) end))
    assert.equal("oops", failure(torch.no_grad, function() error("oops", 0) end))
    assert.is_true(torch.is_grad_enabled())
  end)

  it("can be switched on and off for a tensor", function()
    local w = torch.ones(1)
    w.requires_grad = true
    assert.is_true(w.requires_grad)
    assert.is_false(w:requires_grad_(false).requires_grad)
    assert.is_true(torch.ones(1):requires_grad_().requires_grad)
  end)

  it("draws the same numbers from the same seed", function()
    torch.manual_seed(7)
    local a = torch.rand(4)
    torch.manual_seed(7)
    assert.is_true(torch.equal(a, torch.rand(4)))
  end)
end)

describe("memory", function()
  local function settle()
    collectgarbage()
    collectgarbage()
    return ls.live()
  end

  it("is released at once by release, twice safely, and then says so", function()
    local before = settle()
    local x = torch.ones(3)
    assert.equal(before + 1, ls.live())
    x:release()
    assert.equal(before, ls.live())
    x:release()
    assert.equal("state", failure(function() return x:sum() end).code)
    assert.equal("state", failure(function() return x + 1 end).code)
    assert.equal("state", failure(function() return torch.sum(x) end).code)
    assert.equal("(released)", tostring(x))
  end)

  it("is released by the end of a scope, except for what it returns", function()
    local before = settle()
    local a, list = ls.scope(function()
      local x = torch.ones(3)
      for _ = 1, 10 do x = x + 1 end
      return x, { x * 2, "text" }
    end)
    assert.equal(before + 2, ls.live())
    assert.same({ 11, 11, 11 }, a:tolist())
    assert.same({ 22, 22, 22 }, list[1]:tolist())
  end)

  it("is released by a scope that fails or has scopes inside", function()
    local before = settle()
    assert.equal("oops", failure(ls.scope, function()
      local _ = torch.ones(3) + 1
      error("oops", 0)
    end))
    assert.equal(before, ls.live())
    local kept = ls.scope(function()
      local inner = ls.scope(function() return torch.ones(1) + 1 end)
      return inner + 1
    end)
    assert.equal(3, kept:item())
    assert.equal(before + 1, ls.live())
  end)

  it("comes back by itself in a loop of large tensors", function()
    local before = settle()
    local x, most = torch.ones(1024, 1024), 0
    for _ = 1, 200 do
      x = x + 1
      most = math.max(most, ls.live())
    end
    assert.is_true(most - before < 100)
    x = nil -- luacheck: ignore
    assert.equal(before, settle())
  end)

  it("leaves nothing after errors", function()
    local before = settle()
    for _ = 1, 50 do
      pcall(function() return torch.ones(2):view(7) end)
      pcall(function() return torch.ones(2)[9] end)
    end
    assert.equal(before, settle())
  end)
end)

describe("a NaN with other bits than usual", function()
  -- LuaJIT keeps the types of other values in such bits: read as it stands in memory, the first would be nil, others pointers.
  local high = { -1, -2, -3, -4, -6, -9, -524288, -524287, 2146959361, 2147483647, -1048575 }

  it("case 1.1: is a NaN for scripts, in every way that a number leaves a tensor", function()
    for _, half in ipairs(high) do
      local bits = torch.tensor({ -1, half }, { dtype = "int32" })
      for _, t in ipairs { bits:view "float64", torch.tensor({ half }, { dtype = "int32" }):view "float32" } do
        local one, list = t:item(), t:tolist()
        assert.is_true(type(one) == "number" and one ~= one, tostring(half))
        assert.is_true(#list == 1 and type(list[1]) == "number" and list[1] ~= list[1], tostring(half))
        assert.matches("tensor%(%[nan%]", tostring(t))
        assert.matches("nan", tostring(t[0]))
      end
    end
    assert.is_true(torch.tensor({ 1, 0 / 0 }, { dtype = "float64" }):abs():max():item() ~= 0)
    assert.equal("number", type(torch.tensor({ 1, 0 / 0 }, { dtype = "float64" }):abs():max():item()))
  end)

  local binding = require "luasight.ffi"

  it("case 1.1: is a NaN for scripts, in every way that a number leaves a file or a call", function()
    local nan = torch.tensor({ -1, -9 }, { dtype = "int32" }):view "float64"
    for _, v in ipairs { binding.float_of "\255\255\255\255", torch.tensor(-1LL, { dtype = "int32" }):view("float32"):item(),
      torch.nan_to_num(nan, { nan = nan:item() })[0]:item(), nan:half():item(), nan:bfloat16():item(), (nan * 2):tolist()[1],
      torch.view_as_complex(nan:repeat_interleave(2)):real():item(), nan:max():item() } do
      assert.is_true(type(v) == "number" and v ~= v)
    end
    assert.matches("nan%+nanj", tostring(torch.view_as_complex(nan:repeat_interleave(2))))
    support.temporary(function(path)
      ls.safetensors.save(path, { a = nan, b = nan:float() })
      for _, t in pairs(ls.safetensors.load(path)) do assert.is_true(t:item() ~= t:item() and type(t:item()) == "number") end
    end)
    local model = ls.Model(ls.nn.Identity())
    local out = model:trace(nan, function() return model.output:item(), model.output:tolist() end)
    assert.is_true(type(out) == "number" and out ~= out)
  end)
end)
