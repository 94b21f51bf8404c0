-- Tensors print byte for byte as PyTorch prints them (spec/reference/print.jsonl).
local json = require "cjson"
local ls = require "luasight"
local torch = ls.torch

local function exact(text, dtype)
  if dtype == "bool" then return text == "1" end
  if dtype == "int64" then return loadstring("return " .. text .. "LL")() end
  if dtype == "uint64" then return loadstring("return " .. text .. "ULL")() end
  if text:find "nan" then return 0 / 0 end
  if text:find "inf" then return text:sub(1, 1) == "-" and -math.huge or math.huge end
  return tonumber(text)
end

local function numbers_of(case)
  local list = {}
  if case.data then
    for word in case.data:gmatch "%S+" do list[#list + 1] = exact(word, case.dtype) end
    return list
  end
  local a, b, m, n = case.rule[1], case.rule[2], case.rule[3], 1
  for _, size in ipairs(case.shape) do n = n * size end
  for i = 0, n - 1 do
    list[i + 1] = a + b * (i * i % m)
    if case.dtype == "bool" then list[i + 1] = list[i + 1] ~= 0 end
  end
  return list
end

local function has(dtype) return (pcall(torch.empty, 1, { dtype = dtype })) end

local parts = { complex32 = "float32", complex64 = "float32", complex128 = "float64" }

local function made(case)
  if not parts[case.dtype] then return torch.tensor(numbers_of(case), { dtype = case.dtype }):reshape(case.shape) end
  local shape = { unpack(case.shape) }
  shape[#shape + 1] = 2
  local pairs_of = torch.tensor(numbers_of(case), { dtype = parts[case.dtype] }):reshape(shape)
  return torch.view_as_complex(pairs_of):to(case.dtype)
end

local function compare(case)
  local t = made(case)
  if case.requires_grad then t = t:detach():requires_grad_() end
  if case.more ~= true and case.more then t = t[case.more](t) end
  assert.equal(case.text, tostring(t))
end

describe("a printed tensor", function()
  it("is what PyTorch prints, for every reference case", function()
    local count = 0
    for line in io.lines "spec/reference/print.jsonl" do
      local case = json.decode(line)
      if not case.more then compare(case) end
      count = count + 1
    end
    assert.is_true(count > 300)
  end)

  it("case 8.15: is what PyTorch prints of complex numbers, unsigned ones, float8, sparse and other layouts", function()
    for line in io.lines "spec/reference/print.jsonl" do
      local case = json.decode(line)
      if case.more and has(case.dtype) then compare(case) end
    end
  end)

  it("follows strides", function()
    local x = torch.arange(6):view(2, 3)
    assert.equal("tensor([[0, 3],\n        [1, 4],\n        [2, 5]])", tostring(x:t()))
    assert.equal("tensor([0, 2])", tostring(x["0, ::2"]))
  end)

  it("names what made it where it needs gradients", function()
    local x = torch.ones(2, { requires_grad = true })
    assert.equal("tensor([1., 1.], requires_grad=True)", tostring(x))
    assert.equal("tensor(2., grad_fn=<SumBackward0>)", tostring(x:sum()))
    assert.equal("tensor([-1., -1.], grad_fn=<NegBackward0>)", tostring(-x))
  end)

  it("looks at no more of a large one than it shows", function()
    local x = torch.zeros(1, 1, { dtype = "float16" }):expand(1000000, 1000000) -- all of it would be 2 terabytes
    local row = "[0., 0., 0.,  ..., 0., 0., 0.]"
    local rows = table.concat({ row, row, row, "...", row, row, row }, ",\n        ")
    assert.equal("tensor([" .. rows .. "], dtype=torch.float16)", tostring(x))
  end)

  it("stands inside printed tuples and after ..", function()
    local x = torch.tensor { 1, 2 }
    assert.equal("(tensor([1., 2.]), 3)", tostring(ls.tuple(x, 3)))
    assert.equal("((tensor([1., 2.]),), ())", tostring(ls.tuple(ls.tuple(x), ls.tuple())))
    assert.equal("x = tensor([1., 2.])!", "x = " .. x .. "!")
    assert.equal("[1, 2]", tostring(torch.zeros(1, 2).shape))
  end)
end)
