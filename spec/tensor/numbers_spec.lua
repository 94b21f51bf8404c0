-- Numbers between Lua and tensors: none wraps, none loses its fraction or its sign in silence. Right values are PyTorch 2.13's.
local ls = require "luasight"
local support = require "spec.support"
local torch = ls.torch

local function refused(text, f, ...)
  local args, n = { ... }, select("#", ...)
  return support.refused("argument", text, function() return f(unpack(args, 1, n)) end)
end

describe("a whole number that does not fit", function()
  it("case 6.11: is refused where a tensor is made of it", function()
    refused("above 2^63 - 1: int64 cannot hold it", torch.tensor, { 0xffffffffffffffffULL }, { dtype = "int64" })
    refused("above 2^63 - 1", torch.ones(1).add, torch.ones(1), 0xffffffffffffffffULL)
    for _, case in ipairs { { 0 / 0, "int64" }, { 1 / 0, "int32" }, { 2 ^ 63, "int64" }, { -2 ^ 64, "int64" }, { 300, "uint8" },
      { -300, "uint8" }, { 128, "int8" }, { -129, "int8" }, { 2 ^ 31, "int32" }, { 300LL, "uint8" }, { 2LL ^ 40, "int32" } } do
      refused("which " .. case[2] .. " cannot hold", torch.tensor, { 1, case[1] }, { dtype = case[2] })
    end
  end)

  it("case 6.11: is what PyTorch makes of it where it fits", function()
    assert.same({ 255, 255, 0 }, torch.tensor({ -1, 255, 0.7 }, { dtype = "uint8" }):tolist())
    assert.same({ -128, 127 }, torch.tensor({ -128, 127 }, { dtype = "int8" }):tolist())
    assert.same({ true, true, false }, torch.tensor({ 1.5, 300, 0 }, { dtype = "bool" }):tolist())
    if not pcall(torch.zeros, 1, { dtype = "uint64" }) then return end -- older libtorches have no such dtype
    local all = torch.tensor({ 0xffffffffffffffffULL, 1 }, { dtype = "uint64" })
    assert.is_true(all[0]:item() == 0xffffffffffffffffULL)
    assert.is_true(all:tolist()[1] == 0xffffffffffffffffULL)
    assert.equal(1, all:tolist()[2])
    assert.equal("tensor([18446744073709551615,                    1], dtype=torch.uint64)", tostring(all))
  end)

  it("case 8.8: is refused beside a tensor whose dtype would cut it off", function()
    local i, b = torch.tensor({ 1 }, { dtype = "int32" }), torch.tensor({ 50 }, { dtype = "int8" })
    for _, f in ipairs { function() return i * 1e10 end, function() return 1e10 * i end, function() return i + 2 ^ 40 end,
      function() return 2 ^ 40 - i end, function() return b % 300 end, function() return b:clone():add_(300) end,
      function() return torch.floor_divide(b, 300) end, function() return torch.bitwise_and(b, 300) end,
      function() return torch.div(b, 300, { rounding_mode = "floor" }) end, function() return torch.maximum(b, 300) end } do
      refused("does not fit into int", f)
    end
    local u = b:byte()
    for _, f in ipairs { function() return b:eq(306) end, function() return i:lt(2 ^ 40) end, function() return u:gt(-1) end,
      function() return u:eq(306) end, function() return torch.maximum(u, -1) end, function() return torch.isin(u, 306) end } do
      refused("does not fit into", f) -- 306 would be 50, and 2^40 would be 0
    end
    assert.same({ true, false, true }, { b:gt(-1):item(), u:gt(255):item(), b:bool():gt(-1):item() })
    assert.same({ 49, 206 }, { (b:byte() + -1):item(), (b:byte():add(6) * -1 + 6):item() }) -- 206 = 256 - 56 + 6
    assert.equal("int32", (i * 2 ^ 30).dtype)
    support.near(50 / 300, (b / 300):item())
    assert.equal(1e10, (i:long() * 1e10):item())
    local model = ls.Model(ls.nn.Identity())
    support.refused("argument", "does not fit into int8", function()
      model:trace(b, function() return model.output * 300 end)
    end)
    assert.same({ 150 }, model:trace(b:long(), function() return model.output * 3 end):tolist())
  end)
end)

describe("a fraction where a whole number belongs", function()
  it("case 6.11: is refused as an axis, as a bound of a slice and as a seed", function()
    local x = torch.ones(2, 3)
    support.refused("torch", "float32 stands where a whole number", function() return x:sum(torch.tensor(.7)) end)
    support.refused("torch", "float32 stands where a whole number", function() return x:view { torch.tensor(6.5) } end)
    assert.same({ 3, 3 }, x:sum(torch.tensor(1LL)):tolist())
    assert.has_error(function() return torch.arange(6)[{ { torch.tensor(1.7), 4 } }] end)
    assert.same({ 1, 2, 3 }, torch.arange(6)[{ { torch.tensor(1LL), 4 } }]:tolist())
    assert.same({ 1, 2, 3 }, torch.arange(6)[{ { torch.tensor(true), 4 } }]:tolist())
    for _, seed in ipairs { 0 / 0, 0.5, 2 ^ 64, "a", true } do refused("the seed is a whole", torch.manual_seed, seed) end
    refused("not nil", torch.manual_seed)
    refused("a whole number above 0", torch.set_num_threads, 0.5)
  end)

  it("case 8.10: is refused as the number of an axis, and by a mask or positions of whole numbers", function()
    refused("not 0.5", torch.ones(2).size, torch.ones(2), 0.5)
    refused('not "a"', torch.ones(2).size, torch.ones(2), "a")
    local x = torch.tensor({ 1, 2, 3 }, { dtype = "int64" })
    refused("float32 cannot be written to a tensor of dtype int64", function() x[x:gt(1)] = torch.tensor { 1.5, 2.5 } end)
    refused("float32 cannot be written", function() x["[0, 1]"] = torch.tensor { 1.5, 2.5 } end)
    assert.same({ 1, 2, 3 }, x:tolist())
    x[x:gt(1)] = torch.tensor({ 7, 8 }, { dtype = "int32" })
    assert.same({ 1, 7, 8 }, x:tolist())
    local half = torch.zeros(2):half()
    half[half:eq(0)] = torch.tensor { 1.5, 2.5 }
    assert.same({ 1.5, 2.5 }, half:tolist())
  end)

  it("case 8.10: makes a list of 64-bit integers one of fractions", function()
    local x = torch.tensor { 1LL, 2.5 }
    assert.equal("float32", x.dtype)
    assert.same({ 1, 2.5 }, x:tolist())
    assert.equal("int64", torch.tensor({ 1LL, 2 }).dtype)
    assert.same({ 1, 2 }, torch.tensor({ 1LL, 2.5 }, { dtype = "int64" }):tolist())
  end)
end)

describe("a negative zero", function()
  it("case 8.8: keeps its sign among fractions, and is a 0 among whole numbers", function()
    assert.same({ -1 / 0, -1 / 0 }, (torch.ones(2) / -0.0):tolist())
    assert.equal(-1 / 0, 1 / torch.full({ 1 }, -0.0, { dtype = "float32" }):item())
    local x = torch.zeros(1)
    x[0] = -0.0
    assert.equal(-1 / 0, 1 / x:item())
    local i, shift = torch.arange(3), 0
    assert.equal("int64", (i + -shift).dtype)
    assert.equal("int64", torch.full({ 2 }, -shift).dtype)
    assert.same({ 0, 1, 2 }, i:roll(-shift, -shift):tolist())
    assert.equal(0, i[-shift]:item())
    assert.same({ 0, 1 }, i[{ { -shift, 2 } }]:tolist())
    assert.same({ 0 }, i["[-0]"]:tolist())
    assert.same({ 0, 2 }, torch.zeros(-shift, 2).shape:tolist())
    local model = ls.Model(ls.nn.Identity())
    assert.same({ -1 / 0 }, model:trace(torch.ones(1), function() return model.output / -0.0 end):tolist())
    assert.equal("int64", model:trace(i, function() return model.output + -shift end).dtype)
  end)
end)

describe("numbers in memory", function()
  it("case 8.10: have the types of their dtypes", function()
    for dtype, text in pairs { uint64 = "uint64_t *", uint32 = "unsigned int *", uint16 = "unsigned short *",
      complex64 = "complex float *", complex128 = "complex *", float16 = "unsigned short *", int8 = "char *" } do
      if pcall(torch.empty, 1, { dtype = dtype }) then
        local p = torch.ones(2):to(dtype):data_ptr()
        assert.matches("cdata<" .. text:gsub("[*]", "%%*"), tostring(p):gsub("signed char", "char"), dtype)
      end
    end
    local z = torch.view_as_complex(torch.tensor { { 1, 2 }, { 3, 4 } }):data_ptr()
    assert.same({ 3, 4 }, { z[1].re, z[1].im })
  end)
end)

describe("a text", function()
  it("case 6.16: with a zero byte is refused and not cut", function()
    refused("no pair of a name and a value", ls.struct, { { "a\0b", 1 } })
    refused("zero byte", ls.tuple, "a\0b")
    refused("zero byte", torch.ones(2).sum, torch.ones(2), { ["dim\0"] = 1 })
    refused("zero byte", torch.gelu, torch.ones(2), { approximate = "tanh\0x" })
  end)

  it("case 6.16: names one value of a struct", function()
    support.refused("name", 'two values are called "a"', function() return ls.struct { { "a", 1 }, { "a", 2 } } end)
  end)

  it("case 6.17: of an index has no more lists inside each other than a tensor has axes", function()
    local function nested(n) return ("["):rep(n) .. "0" .. ("]"):rep(n) end
    for _, text in ipairs { ("["):rep(100000), nested(100000), nested(65) } do
      support.refused("index", "nested deeper than 64", function() return torch.ones(2)[text] end)
    end
    assert.same({ 1 }, torch.ones(2)[nested(3)]:flatten():tolist())
  end)

  it("case 5.7: is not nil", function()
    refused("the kind is a text", torch.device_count)
    refused("no pair of a name and a value", ls.struct, { { nil, 1 } })
    refused("takes a list of pairs", ls.struct)
    assert.equal(2, ls.nn.tap(nil, torch.ones(2)):numel())
    refused("tap", function()
      local M = ls.nn.Module "M"
      function M:forward(x) return ls.nn.tap(nil, x) end -- luacheck: ignore
      return M()(torch.ones(2))
    end)
  end)
end)

describe("a call that is written as in Python", function()
  it("case 8.16: is answered with what to write", function()
    local function answer(hint, f, ...)
      local e = support.failure(f, ...)
      assert.equal("table", type(e), tostring(e))
      assert.matches(hint, tostring(e), 1, true)
    end
    local p = torch.ones(2, { requires_grad = true })
    answer("{ device = ..., dtype = ..., requires_grad = ... }", torch.tensor, { 1 }, "int64")
    answer("lr = ..., ", ls.optim.SGD, { p }, 0.1)
    answer("the number of a GPU", p.cuda, p, "a")
    answer("its argument is a function", ls.nn.ReLU().apply, ls.nn.ReLU())
    answer("ls.struct takes a list of pairs", ls.struct, nil)
    answer("x:each()", ipairs, p.shape)
    answer("x:each()", pairs, p)
    answer('its name is "float32"', torch.ones, 2, { dtype = "float" })
    answer('its name is "int64"', p.to, p, "long")
    answer("x:is_same_size(y)", function() return p.shape == p.shape end)
    answer("dynamic = true", function()
      local M = ls.nn.Module "M"
      function M:forward(x) -- luacheck: ignore
        for _ = 1, x:size(0) do x = x + 1 end
        return x
      end
      return M()(torch.ones(2))
    end)
    assert.equal("Flatten(start_dim=0, end_dim=-1)", tostring(ls.nn.Flatten { start_dim = 0 }))
    assert.same({ 4 }, ls.nn.Flatten { start_dim = 0 }(torch.ones(2, 2)).shape:tolist())
  end)
end)
