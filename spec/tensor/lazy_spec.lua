-- Lazy tensors, whose numbers are not those in memory: conjugates, negatives, and zeros that take none.
local ls = require "luasight"
local support = require "spec.support"
local failure, near = support.failure, support.near
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.tensor { { 1, 2 } }
end

local temporary = support.temporary

describe("lazy tensors", function()
  local z = torch.view_as_complex(torch.tensor { { 1, 2 }, { 3, 4 } })
  local negative, zeros = torch.imag(z:conj()), torch._efficientzerotensor({ 2, 2 })

  it("5.2: are printed and listed as the numbers that they stand for", function()
    assert.equal("tensor([-2., -4.])", tostring(negative))
    assert.same({ -2, -4 }, negative:tolist())
    assert.equal(-4, negative[1]:item())
    assert.equal("tensor([-1., -1., -1.], dtype=torch.float16)", tostring(torch.ones(3):half():_neg_view()))
    assert.matches("^tensor%(%[%-1%., %-1%., %-1%.,  %.%.%., %-1%., %-1%., %-1%.%]%)$", tostring(torch.ones(2000):_neg_view()))
    assert.equal("tensor([[0., 0.],\n        [0., 0.]])", tostring(zeros))
    assert.same({ { 0, 0 }, { 0, 0 } }, zeros:tolist())
    assert.equal(0, zeros[1][1]:item())
    assert.equal("tensor([0., 0., 0.,  ..., 0., 0., 0.])", tostring(torch._efficientzerotensor({ 2000 })))
  end)

  it("5.2: give no pointer to memory that does not hold their numbers", function()
    for _, t in ipairs { negative, zeros, z:conj() } do
      local e = failure(t.data_ptr, t)
      assert.equal("argument", e.code)
      assert.matches("x:clone() has memory of its own", e.message, 1, true)
    end
    assert.equal(-2, negative:clone():data_ptr()[0])
    assert.equal(0, zeros:clone():data_ptr()[3])
  end)

  it("5.2: are written to files as the numbers that they stand for", function()
    temporary(function(path)
      ls.safetensors.save(path, { negative = negative, zeros = zeros })
      local back = ls.safetensors.load(path)
      assert.same({ -2, -4 }, back.negative:tolist())
      assert.same({ { 0, 0 }, { 0, 0 } }, back.zeros:tolist())
    end)
    local model, net, x = small()
    local edited = model:edit(function() model.a.output = model.a.output * negative + torch._efficientzerotensor({ 2 }) end)
    temporary(function(path)
      edited:save_edits(path)
      model:load_edits(path)
      near(net.b(net.a(x) * torch.tensor { -2, -4 }), model(x))
    end)
  end)

  it("5.2: are multiplied and looked up as the numbers that they stand for", function()
    local w, x = torch.randn({ 1024, 1024 }), torch.randn({ 4, 1024 })
    local ones = torch.ones(1024)
    near(-torch.linear(x, w), torch.linear(x:_neg_view(), w), nil, "order")
    near(-torch.linear(x, w, ones), torch.linear(x, w:_neg_view(), ones:_neg_view()), nil, "order")
    assert.equal(0, torch.linear(x, torch._efficientzerotensor({ 1024, 1024 })):abs():max():item())
    local places = torch.tensor({ 1, 2 }, { dtype = "int64" }):_neg_view()
    local numbers = torch.arange(4)
    assert.same({ 3, 2 }, numbers[places]:tolist())
    assert.same({ 3, 2 }, torch.index(numbers, { places }):tolist())
    numbers[places] = 9
    assert.same({ 0, 1, 9, 9 }, numbers:tolist())
  end)

  it("5.2: are token ids and lines of plots as the numbers that they stand for", function()
    assert.equal(tostring(ls.plot.line(torch.tensor { -2, -4 })), tostring(ls.plot.line(negative)))
    assert.equal(tostring(ls.plot.heatmap(torch.zeros({ 2, 2 }))), tostring(ls.plot.heatmap(zeros)))
  end)
end)
