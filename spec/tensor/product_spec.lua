-- Products with a weight, by either library: LUASIGHT_ONEDNN is read once, so each runs in a process of its own.
local support = require "spec.support"

local program = [[
local ls = require "luasight"
local support = require "spec.support"
local torch = ls.torch
torch.manual_seed(1)
local function differs(got, x, w) -- from a batched product, which is always libtorch's own
  local flat = x:reshape { -1, w:size(0) }
  local wanted = torch.bmm(flat:unsqueeze(0), w:unsqueeze(0)):reshape_as(got)
  return (got - wanted):abs():max():item() / wanted:abs():max():item() > 1e-5
end
local function check(name, got, x, w)
  if differs(got, x, w) then print(name, got.shape, x:stride(), w:stride()) end
end
local function biases(m)
  return { strided = torch.randn(2 * m)["::2"], moved = torch.randn(m + 3)["3:"], repeated = torch.randn(1):expand(m),
    row = torch.randn(3, m)[1], column = torch.randn(m, 3)[":, 1"], negative = torch.randn(m):_neg_view() }
end
for _, size in ipairs { { 3, 5 }, { 512, 1100 }, { 1100, 512 } } do
  local n, m = size[1], size[2]
  local bias = torch.randn(m)
  for _, w in ipairs { torch.randn(n, m), torch.randn(m, n):t(), torch.randn(n, 2 * m)[":, ::2"],
    torch.randn(1, m):expand(n, m) } do
    for _, x in ipairs { torch.randn(1, n), torch.randn(14, n), torch.randn(n, 7):t(), torch.randn(2, 3, n),
      torch.randn(3, 2, n):transpose(0, 1), torch.randn(2, 1, n):expand(2, 5, n), torch.randn(1, 14, 2 * n)[":, :, ::2"] } do
      check("matmul", torch.matmul(x, w), x, w)
      check("linear", torch.linear(x, w:t()), x, w)
      check("linear with a bias", torch.linear(x, w:t(), bias) - bias, x, w)
      if x:dim() == 2 then check("mm", torch.mm(x, w), x, w) end
      for name, b in pairs(biases(m)) do
        check("linear with a bias: " .. name, torch.linear(x, w:t(), b) - b:contiguous(), x, w)
      end
    end
  end
end
local x, w = torch.randn(16, 512), torch.randn(512, 1100)
w:requires_grad_()
torch.matmul(x, w):sum():backward()
print(w.grad:allclose(x:sum(0):unsqueeze(1):expand(512, 1100), { rtol = 1e-4, atol = 1e-4 }))
print(torch.no_grad(function() return torch.matmul(x, w).requires_grad end))
print(torch.matmul(x:double(), w:double()).dtype, torch.linear(torch.randn(0, 512), w:t()).shape)
w = w:detach()
print(pcall(torch.linear, x, w:t(), torch.randn(3)))
print(torch.linear(x, w:t(), torch.ones(1)):sub(torch.matmul(x, w)):mean():item())
print(pcall(torch.matmul, x, torch.randn(511, 1100)))
]]

describe("products with a weight", function()
  for _, choice in ipairs { "0", "1" } do
    it("case 8.2: are those of libtorch, whatever the strides of bias, weight and input, LUASIGHT_ONEDNN=" .. choice, function()
      local path = os.tmpname()
      local file = assert(io.open(path, "w"))
      file:write(program)
      file:close()
      local said = support.run(("LUASIGHT_ONEDNN=%s bin/luasight %s 2>&1"):format(choice, path))
      os.remove(path)
      local sums, kept, types, wrong_bias, one, wrong_size = said:match(("(.-)\n"):rep(6))
      assert.equal("true", sums, said)
      assert.equal("false", kept)
      assert.equal("float64\t[0, 1100]", types)
      assert.matches("^false.*linear failed: The expanded size of the tensor", wrong_bias)
      support.near(1, tonumber(one), nil, "order")
      assert.matches("^false.*16x512 and 511x1100", wrong_size)
    end)
  end
end)
