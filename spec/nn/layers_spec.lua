-- Layers begin with PyTorch's numbers and compute PyTorch's numbers (spec/reference/nn.json).
local json = require "cjson"
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local torch, nn = ls.torch, ls.nn

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return json.decode(text)
end

local reference = read "spec/reference/nn.json"

local function evaluate(code, names)
  return setfenv(assert(loadstring(code)), setmetatable(names, { __index = { nn = nn, math = math } }))()
end

local function check(got, want, shape)
  if shape then assert.same(shape, got.shape:tolist()) end
  local numbers = {}
  for i, w in ipairs(want) do numbers[i] = tonumber(w) or -math.huge end
  near(numbers, got:flatten(), nil, "order")
end

describe("the layer", function()
  for i, case in ipairs(reference.forwards) do
    it(("begins with and gives PyTorch's numbers: %s (%d)"):format(case.lua, i), function()
      local x = case.x == json.null and torch.tensor(reference.x) or torch.tensor(case.x, { dtype = "int64" })
      torch.manual_seed(7)
      check(evaluate("return " .. case.lua, {})(x), case.y, case.shape)
    end)
  end

  it("serves every rank with one recording", function()
    local layer = nn.Conv1D(3, 2)
    for _, shape in ipairs { { 2 }, { 5, 2 }, { 2, 4, 2 }, { 2, 1, 3, 2 } } do
      local x = torch.rand(shape)
      shape[#shape] = 3
      local y = layer(x)
      assert.same(shape, y.shape:tolist())
      near(torch.linear(x, layer.weight:t(), layer.bias), y)
    end
  end)

  it("has PyTorch's gradients", function()
    torch.manual_seed(5)
    local net = nn.Sequential { nn.Linear(4, 3), nn.GELU(), nn.LayerNorm(3), nn.Conv1D(2, 3) }
    for _ = 1, 2 do -- the second time the recording is there
      net:zero_grad();
      (net(torch.tensor(reference.x)) ^ 2):sum():backward()
      for name, p in net:named_parameters() do check(p.grad, reference.gradients[name], p.shape:tolist()) end
    end
  end)
end)

describe("nn.init", function()
  for _, case in ipairs(reference.inits) do
    it("fills as PyTorch does: " .. case.lua, function()
      torch.manual_seed(3)
      local t = torch.empty(case.shape, { requires_grad = true })
      assert.is_true(rawequal(t, evaluate("return " .. case.lua, { init = nn.init, t = t })))
      check(t, case.y, case.shape)
      assert.is_true(t.requires_grad)
    end)
  end

  it("knows the gains", function()
    assert.equal(5 / 3, nn.init.calculate_gain "tanh")
    assert.equal(math.sqrt(2 / 1.04), nn.init.calculate_gain("leaky_relu", 0.2))
    local ok, err = pcall(nn.init.calculate_gain, "rleu")
    assert.is_false(ok)
    assert.matches('did you mean "relu"', err.message, 1, true)
    assert.equal(1, nn.init.calculate_gain "conv_transpose2d")
    support.refused("argument", "slope is a number", function() nn.init.calculate_gain("leaky_relu", "x") end)
    support.refused("argument", "trunc_normal_ needs", function() nn.init.trunc_normal_(torch.ones(1), 0 / 0) end)
  end)

  it("leaves the meta device alone", function()
    local t = torch.empty({ 2, 3 }, { device = "meta" })
    for _, name in ipairs { "normal_", "kaiming_uniform_", "orthogonal_", "trunc_normal_", "ones_" } do nn.init[name](t) end
    assert.equal("meta", t.device)
  end)
end)

local Attention = nn.Module "Attention"
function Attention:init(options) self.options = options end
function Attention:forward(q, k, v, mask)
  local options = { mask = mask }
  for name, value in pairs(self.options) do options[name] = value end
  return nn.scaled_dot_product_attention(q, k, v, options)
end

describe("scaled dot-product attention", function()
  local a = reference.attention
  local masks = { boolean = torch.tensor(a.boolean), numbers = torch.tensor(a.numbers), blind = torch.tensor(a.blind) }

  local function prepared(case, requires_grad)
    local options = evaluate("return " .. case.lua, masks)
    local mask = options.mask
    options.mask = nil
    local function leaf(numbers) return torch.tensor(numbers, { requires_grad = requires_grad }) end
    return Attention(options), leaf(a.q), leaf(a.k), leaf(a.v), mask
  end

  for _, case in ipairs(a.cases) do
    it("gives PyTorch's numbers and gradients: " .. case.lua, function()
      local net, q, k, v, mask = prepared(case, true)
      local z = net(q, k, v, mask)
      check(z, case.z, { 1, 2, 3, 4 });
      (z ^ 2):sum():backward()
      for i, leaf in ipairs { q, k, v } do check(leaf.grad, case.grad[i]) end
    end)

    it("shows its parts in a trace, where the unfused form runs: " .. case.lua, function()
      local net, q, k, v, mask = prepared(case)
      local model = ls.Model(net)
      local seen = model:trace(ls.args(q, k, v, mask), function()
        return { q = model.q, k = model.k, v = model.v, scores = model.scores, pattern = model.pattern, z = model.z,
          output = model.output }
      end)
      assert.is_true(torch.equal(q, seen.q))
      assert.is_true(torch.equal(k, seen.k))
      assert.is_true(torch.equal(v, seen.v))
      check(seen.scores, case.scores)
      check(seen.pattern, case.pattern)
      check(seen.z, case.z)
      check(seen.output, case.z)
    end)

    it("is the same in terms of older operators: " .. case.lua, function()
      local options = evaluate("return " .. case.lua, masks)
      options.attn_mask, options.mask = options.mask, nil
      local compat = require "luasight.tensor.compat".functions.scaled_dot_product_attention
      check(compat(torch.tensor(a.q), torch.tensor(a.k), torch.tensor(a.v), options), case.z)
    end)
  end

  it("lets its parts be set", function()
    local net, q, k, v = prepared(a.cases[1])
    local model = ls.Model(net)
    local input = ls.args(q, k, v)
    local z = model:trace(input, function()
      model.pattern = torch.ones_like(model.pattern) / 3
      return model.z
    end)
    near(v:mean(2, true):expand(1, 2, 3, 4), z)
    local again = model:trace(input, function()
      model.scores[":, :, :, 1:"] = -math.huge
      return model.output
    end)
    near(v[":, :, :1"]:expand(1, 2, 3, 4), again)
    local zero = model:trace(input, function()
      model.v = model.v * 0
      return model.output
    end)
    assert.equal(0, zero:abs():sum():item())
  end)

  it("drops out in training, as PyTorch's unfused form does", function()
    local _, q, k, v = prepared(a.cases[1])
    torch.manual_seed(4)
    local z = Attention({ dropout = 0.5 })(q, k, v)
    torch.manual_seed(4)
    local pattern = torch.dropout((q:matmul(k:transpose(-2, -1)) * 0.5):softmax(-1), 0.5, true)
    near(pattern:matmul(v), z)
  end)

  it("computes half precision in float32 where told", function()
    local _, q, k, v = prepared(a.cases[2])
    local h = { q:half(), k:half(), v:half() }
    local z = Attention({ is_causal = true, upcast = true })(h[1], h[2], h[3])
    assert.equal("float16", z.dtype)
    local want = torch.scaled_dot_product_attention(h[1]:float(), h[2]:float(), h[3]:float(), { is_causal = true }):half()
    near(want, z)
    local masked = Attention({ upcast = true })(h[1], h[2], h[3], torch.ones(3, 3, { dtype = "bool" }):tril())
    near(want, masked)
  end)

  it("counts heads from the end where there is no batch", function()
    local q, k = torch.rand(4, 3, 2), torch.rand(2, 3, 2)
    local z = nn.scaled_dot_product_attention(q, k, k, { groups = 2 })
    near(nn.scaled_dot_product_attention(q:unsqueeze(0), k:unsqueeze(0), k:unsqueeze(0), { groups = 2 })[0], z)
  end)

  it("a mask of whole numbers is refused in every form, and not added to the scores", function()
    if not require "luasight.tensor.operators".find "scaled_dot_product_attention" then return end -- libtorch before 2.0
    local Masked = nn.Module "Masked"
    function Masked:init(given) self.given = given end
    function Masked:forward(q, k, v, mask)
      return nn.scaled_dot_product_attention(q, k, v, { mask = mask, upcast = self.given.upcast, softcap = self.given.softcap })
    end
    local q = torch.randn(1, 1, 2, 4)
    for _, dtype in ipairs { "int64", "int32", "uint8", "bool", "float32" } do
      local mask, right = torch.ones(2, 2):tril():to(dtype), dtype == "bool" or dtype == "float32"
      for _, options in ipairs { {}, { upcast = true }, { softcap = 2 } } do
        local model = ls.Model(Masked(options))
        for _, point in ipairs { "output", "pattern" } do
          local ok, err = pcall(model.trace, model, ls.args(q, q, q, mask), function() return model[point] end)
          assert.equal(right, ok, dtype .. " " .. point)
          if not ok then assert.matches("attn_mask dtype", tostring(err), 1, true) end
        end
      end
    end
  end)

  it("refuses a mask beside is_causal, and unknown options", function()
    local _, q, k, v = prepared(a.cases[1])
    for _, case in ipairs {
      { { mask = masks.boolean, is_causal = true }, "cannot be used together" }, { { mask = 3 }, "mask is a tensor" },
      { { casual = true }, 'casual' }, { { dropout = 2 }, "dropout is a number from 0 to 1" },
      { { groups = 0 }, "groups is a whole number above 0" }, { { groups = 1.5 }, "groups is a whole number above 0" },
      { { softcap = 0 }, "softcap is a number above 0" }, { { softcap = math.huge }, "softcap is a number above 0" },
    } do
      local ok, err = pcall(function() nn.scaled_dot_product_attention(q, k, v, case[1]) end)
      assert.is_false(ok)
      assert.matches(case[2], err.message, 1, true)
      assert.matches("layers_spec.lua$", err.file)
    end
  end)
end)

describe("an operator that an older libtorch lacks", function()
  local compat = require "luasight.tensor.compat".functions

  it("is found by name where there is none", function()
    for name in pairs(compat) do assert.equal("function", type(torch[name])) end
  end)

  it("rms_norm gives the same numbers", function()
    for _, dtype in ipairs { "float32", "float64", "bfloat16" } do
      local x, w = torch.randn(2, 3, 4):to(dtype), torch.rand(3, 4):to(dtype)
      local want, got = torch.rms_norm(x, { 3, 4 }, w, 1e-3), compat.rms_norm(x, { 3, 4 }, w, 1e-3)
      assert.equal(dtype, got.dtype)
      near(want, got)
    end
    local x = torch.randn(2, 4)
    near(torch.rms_norm(x, { 4 }), compat.rms_norm(x, { 4 }))
    for dtype, want in pairs { float32 = 1e-4 / math.sqrt(1e-8 + 2 ^ -23), float64 = 1e-4 / math.sqrt(1e-8 + 2 ^ -52) } do
      local small = torch.full({ 2 }, 1e-4, { dtype = dtype })
      near({ want, want }, compat.rms_norm(small, { 2 }), "the default of eps, " .. dtype)
    end
  end)

  it("attention in steps keeps all digits of float64", function()
    local q = torch.arange(1, 4, { dtype = "float64" }):reshape { 1, 1, 1, 3 }
    local k = torch.tensor({ { { { 0.1, 0.2, 0.3 }, { 1, 0, 0 } } } }, { dtype = "float64" })
    local seen
    require "luasight.tensor.compat".attention(q, k, k, {}, function(name, value)
      if name == "scores" then seen = value end
      return value
    end)
    near({ 1.4 / math.sqrt(3), 1 / math.sqrt(3) }, seen:flatten())
  end)

  it("_safe_softmax gives zeros for a row of nothing", function()
    local x = torch.tensor({ { 1, 2 }, { -math.huge, -math.huge } }, { requires_grad = true })
    local y = compat._safe_softmax(x, -1)
    near(x[0]:softmax(-1), y[0])
    assert.same({ 0, 0 }, y[1]:tolist());
    (y ^ 2):sum():backward()
    assert.same({ 0, 0 }, x.grad[1]:tolist())
    assert.is_true(x.grad["0, 0"]:item() ~= 0)
  end)
end)
