-- Operators called from Lua give PyTorch's numbers (spec/reference/operators.json).
local json = require "cjson"
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local torch = ls.torch

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return json.decode(text)
end

local function is_tensor(v) return type(v) == "table" and v.t ~= nil end

local function number(v)
  if type(v) ~= "string" then return v end
  return v == "nan" and 0 / 0 or v == "inf" and math.huge or -math.huge
end

local function unpack_value(v)
  if v == json.null then return nil end
  if type(v) ~= "table" then return v end
  if not is_tensor(v) then
    local list = {}
    for i, inner in ipairs(v) do list[i] = unpack_value(inner) end
    return list
  end
  local flat = {}
  for i, x in ipairs(v.d) do flat[i] = number(x) end
  return torch.tensor(flat, { dtype = v.t }):reshape(v.s)
end

---Each number by itself; NaN where NaN is wanted.
local function check_number(want, got, what)
  if type(want) == "number" and want == want then return near(want, got, what, "order", 1) end
  assert.is_true(got == want or got ~= got and want ~= want, ("%s: %s is not %s"):format(what, tostring(got), tostring(want)))
end

local function check(got, want)
  if not is_tensor(want) then
    if type(want) == "table" then
      for i, inner in ipairs(want) do check(got[i - 1], inner) end
      return
    end
    return check_number(want, got)
  end
  assert.equal(want.t, got.dtype)
  assert.same(want.s, got.shape:tolist())
  local flat = got:reshape({ -1 }):tolist()
  for i, x in ipairs(want.d) do
    check_number(number(x), flat[i], "element " .. i)
  end
end

-- Lists of tensors come back as one tuple.
local lists = { unbind = true, split = true, chunk = true }

describe("the operator", function()
  for place, case in ipairs(read "spec/reference/operators.json") do
    it(("%s gives PyTorch's numbers (%d)"):format(case.op, place), function()
      local args, n = {}, #case.args
      for i = 1, n do args[i] = unpack_value(case.args[i]) end
      local options
      for name, v in pairs(case.kwargs) do
        options = options or {}
        options[name] = unpack_value(v)
      end
      if options then n = n + 1 end
      if options then args[n] = options end
      local results = { torch[case.op](unpack(args, 1, n)) }
      if lists[case.op] then return check(results[1], case.out) end
      assert.equal(#case.out, #results)
      for i, want in ipairs(case.out) do check(results[i], want) end
    end)
  end
end)

describe("calling operators", function()
  local x = torch.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("works as function and as method", function()
    assert.equal(21, torch.sum(x):item())
    assert.equal(21, x:sum():item())
  end)

  it("takes keyword arguments in a trailing table and skips trailing nils", function()
    assert.same({ 2, 2 }, x:argmax{ dim = 1 }:tolist())
    assert.same({ 5, 7, 9 }, x:sum(0, nil, nil):tolist())
    assert.equal("float64", torch.rand(1, 5, { dtype = "float64" }).dtype)
  end)

  it("leaves out values that may be none, also those without a default", function()
    assert.same({ 5, 13 }, torch.tensor({ { 3, 4 }, { 5, 12 } }):norm{ dim = -1 }:tolist())
    assert.same({ { 21 } }, x:sum{ keepdim = true }:tolist())
    local y = torch.tensor { { 3, 0 }, { 0, 4 } }
    for _, got in ipairs { y:norm { keepdim = true }, y:norm(2, nil, true), y:norm { p = "fro", keepdim = true } } do
      assert.same({ { 5 } }, got:tolist())
    end
    assert.same({ { 7 } }, y:norm(1, nil, true, { dtype = "float64" }):tolist())
    assert.equal(7, y:norm("nuc"):item())
    assert.is_false(pcall(torch.norm, torch.ones(2, 2, 2), "nuc")) -- the norm is that of a matrix
  end)

  it("gives several results as several Lua values", function()
    local largest, at = x:max{ dim = 1 }
    assert.same({ 3, 6 }, largest:tolist())
    assert.same({ 2, 2 }, at:tolist())
  end)

  it("takes lists written out where an operator has one list", function()
    assert.same({ 3, 2 }, x:view(3, 2).shape:tolist())
    assert.same({ 3, 2 }, x:view({ 3, 2 }).shape:tolist())
    assert.same({ 6 }, x:reshape(-1).shape:tolist())
    assert.same({ 3, 2 }, x:permute(1, 0).shape:tolist())
    assert.same({ 2, 2, 3 }, x:expand(2, -1, -1).shape:tolist())
    assert.same({ 4, 3 }, torch["repeat"](x, 2, 1).shape:tolist())
    assert.same({ 2, 3 }, torch.zeros(2, 3).shape:tolist())
    assert.same({}, torch.zeros({}).shape:tolist())
    assert.same({ 2, 3 }, x:view(x.shape).shape:tolist())
    assert.same({ 6 }, torch.cat({ x:view(3, 2), x:view(3, 2) }, 1)[":, 0"]:repeat_interleave(2).shape:tolist())
    assert.same({ 2, 2 }, torch.einsum("ij,kj->ik", x, x).shape:tolist())
  end)

  it("makes factories that need gradients", function()
    assert.is_true(torch.ones(2, { requires_grad = true }).requires_grad)
    assert.is_true(torch.zeros(2, 2, { dtype = "float64", requires_grad = true }).requires_grad)
    assert.is_false(torch.ones(2, { requires_grad = false }).requires_grad)
  end)

  it("keeps whole numbers whole and lets fractions promote", function()
    local i = torch.arange(3)
    assert.equal("int64", (i + 1).dtype)
    assert.equal("float32", (i * 0.5).dtype)
  end)

  it("gives dtypes as texts, to proxies and in a forward too", function()
    assert.equal("float32", torch.result_type(x, 2))
    local model = ls.Model(ls.nn.Identity())
    local name, converted, made = model:trace(x, function()
      local dtype = torch.result_type(model.output, 2)
      return dtype, torch.arange(2):to(dtype), torch.zeros(2, { dtype = torch.result_type(model.output:long(), 0.5) })
    end)
    assert.equal("float32", name.value)
    assert.equal("float32", converted.dtype)
    assert.equal("float32", made.dtype)
    local Convert = ls.nn.Module "Convert"
    function Convert:forward(v) return v:long():to(torch.result_type(v, 2.5)) end -- luacheck: ignore self
    assert.equal("float64", ls.Model(Convert())(x:double()).dtype)
  end)

  it("binary_cross_entropy refuses a target of another shape, as PyTorch does, also in a body", function()
    local p, y = torch.tensor { 0.2, 0.7, 0.9 }, torch.tensor { 0, 1, 1 }
    near(0.22839303, torch.binary_cross_entropy(p, y))
    near(0.68517911, torch.binary_cross_entropy(p, y, nil, "sum"))
    near(0.41752505, p:binary_cross_entropy(y, { weight = torch.tensor { 1, 2, 3 } }))
    near(0.51415962, torch.binary_cross_entropy_with_logits(p, y))
    near(2.62797260, torch.binary_cross_entropy_with_logits { input = p, target = y, pos_weight = torch.tensor { 1, 2, 3 },
      reduction = "sum" })
    local model = ls.Model(ls.nn.Identity())
    for _, name in ipairs { "binary_cross_entropy", "binary_cross_entropy_with_logits" } do
      for _, shapes in ipairs { { { 3, 1 }, { 3 } }, { { 1, 3 }, { 3 } }, { { 3 }, { 1 } }, { { 2, 3 }, { 1, 3 } } } do
        for i = 1, 2 do
          local a, b = torch.rand(shapes[i]), torch.rand(shapes[3 - i])
          support.refused("shape", name .. ": the target has shape", function() torch[name](a, b) end)
          support.refused("torch", "expand", function()
            model:trace(a, function() return torch[name](model.output, b) end)
          end)
        end
      end
      assert.same({}, model:trace(p, function() return torch[name](model.output, y) end).shape:tolist())
    end
  end)

  it("has PyTorch's names for losses, with the reduction as text", function()
    local target = torch.tensor({ 0, 1 }, { dtype = "int64" })
    assert.same({ 2 }, torch.cross_entropy(x, target, { reduction = "none" }).shape:tolist())
    local total, mean = torch.mse_loss(x, x + 1, { reduction = "sum" }), torch.mse_loss(x, x + 1)
    assert.equal(6, total:item())
    assert.equal(1, mean:item())
  end)

  it("answers unknown names with near ones, at the script's line", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, err = pcall(function() return torch.sofmax(x, 0) end)
    assert.is_false(ok)
    assert.equal("name", err.code)
    assert.equal(line, err.line)
    assert.matches("operators_spec.lua$", err.file)
    assert.matches("softmax", err.message)
    ok, err = pcall(function() return x:sofmax(0) end)
    assert.is_false(ok)
    assert.matches("softmax", err.message)
  end)

  it("answers wrong calls with libtorch's first line, at the script's line", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, err = pcall(function() return x:view(7) end)
    assert.is_false(ok)
    assert.equal("torch", err.code)
    assert.equal(line, err.line)
    assert.matches("invalid for input of size 6", tostring(err))
    assert.is_nil(tostring(err):find "\n.*\n")
    for _, wrong in ipairs { function() return x:sum{ dmi = 1 } end, function() return x:add() end,
      function() return x:add(print) end, function() return x:add(x, { 1, a = 2 }) end } do
      ok, err = pcall(wrong)
      assert.is_false(ok)
      assert.equal("argument", err.code)
    end
  end)
end)
