-- What a forward may hold: constants, parameters, buffers, random numbers, modes, fields and upvalues. The numbers are
-- PyTorch 2.13's.
local ls = require "luasight"
local torch, nn, optim = ls.torch, ls.nn, ls.optim

local support = require "spec.support"
local near, refused = support.near, support.refused

---Makes a module with this forward; `init` sets its fields.
local function made(forward, init)
  local Made = nn.Module "Made"
  Made.forward, Made.init = forward, init
  return Made()
end

local one = torch.ones(1)

describe("calls of a module", function()
  it("case 6.7: that differ in a number's last digit, a sign or a text do not share a recording", function()
    local times = made(function(_, x, s) return x * s end)
    local x = torch.ones(1, { dtype = "float64" })
    assert.equal(0.3, times(x, 0.3):item())
    assert.equal(0.1 + 0.2, times(x, 0.1 + 0.2):item())
    assert.equal(1e14, times(x, 1e14):item())
    assert.equal(1e14 + 1, times(x, 1e14 + 1):item())
    assert.equal(3, times(x, 3LL):item())
    local said = made(function(_, y, a, b, options)
      return ls.tuple(y, a, b or "none", options and options.t and #options.t or -1)
    end)
    assert.equal("a", said(one, "a", "b")[1])
    assert.equal("b", said(one, "a", "b")[2])
    assert.equal("none", said(one, "a,s:b")[2])
    assert.equal("none", said(one, "a,s1:b")[2])
    assert.equal(2, said(one, "a", "b", { t = { 1, 2 } })[3])
    assert.equal(1, said(one, "a", "b", { t = { "1,2" } })[3])
    assert.equal(3, said(one, "a", "b", { t = { "1", "2", "3" } })[3])
  end)

  it("case 6.7: that have a table with the keys 1 and \"1\" do not share one", function()
    local which = made(function(_, x, o) return x * (o.at[1] or 0) + (o.at["1"] or 0) * 10 end)
    assert.equal(5, which(one, { at = { 5 } }):item())
    assert.equal(50, which(one, { at = { ["1"] = 5 } }):item())
    assert.equal(65, which(one, { at = { 5, ["1"] = 6 } }):item())
  end)

  it("case 6.17: with a table or a list that contains itself are refused", function()
    local a = {}
    a.me = a
    local same = made(function(_, x) return x end)
    for _, call in ipairs { function() same(one, a) end, function() same(a) end, function() same(one, { b = a }) end,
      function() ls.Model(same):trace(a, function() end) end } do
      refused("argument", "a table that contains itself", call)
    end
    local list = { 1 }
    list[2] = list
    refused("argument", "contains itself", function() one:view(list) end)
    refused("argument", "contains itself", function() ls.tuple(list) end)
    refused("argument", "cannot be below itself", function() local n = nn.ReLU() n.me = n end)
    refused("argument", "cannot be below itself", function() local n = nn.Sequential { nn.ReLU() } n[0].me = n end)
  end)
end)

describe("an expression of parameters or buffers alone", function()
  it("case 8.1: has gradients after a first call without autograd", function()
    local net = made(function(self, x) return torch.matmul(x, self.w:t()) end,
      function(self) self.w = nn.Parameter(torch.ones(2, 2)) end)
    torch.no_grad(net, torch.ones(1, 2))
    net(torch.ones(1, 2)):sum():backward()
    near({ { 1, 1 }, { 1, 1 } }, net.w.grad)
  end)

  it("case 8.1: is computed at each call, also after three steps of training", function()
    local net = made(function(self, x) return x * self.w:exp() end, function(self) self.w = nn.Parameter(torch.zeros(1)) end)
    assert.equal(1, net(one):item())
    torch.no_grad(function() net.w:fill_(1) end)
    near(2.718281828, net(one):item())
    torch.no_grad(function() net.w:fill_(0) end)
    local steps = optim.SGD(net:parameters(), { lr = 1 })
    for _ = 1, 3 do
      steps:zero_grad()
      net(one):sum():backward()
      steps:step()
    end
    near(-1.6225258, net.w:item())
  end)

  it("case 8.1: changes a buffer at each call, and in a trace for the trace alone", function()
    local net = made(function(self, x)
      self.mean:mul_(0.5):add_(x:mean() * 0.5)
      return x - self.mean
    end, function(self) self.mean = nn.Buffer(torch.zeros(1)) end)
    for i = 1, 3 do net(one * i) end
    near(2.125, net.mean:item())
    local model = ls.Model(net)
    local out = model:trace(one * 4, function() return model.output end)
    near(4 - 3.0625, out:item())
    near(2.125, net.mean:item())
  end)

  it("case 8.1: keeps in a trace what is changed through a view or an element", function()
    local net = made(function(self, x)
      self.b["0"]:add_(1)
      self.b:view(2, 1)[1] = 7
      self.b:t():mul_(2)
      return x + self.b
    end, function(self) self.b = nn.Buffer(torch.zeros(2)) end)
    local model = ls.Model(net)
    near({ 2, 14 }, model:trace(torch.zeros(2), function() return model.output end))
    near({ 0, 0 }, net.b)
    near({ 2, 14 }, net(torch.zeros(2)))
    near({ 6, 14 }, net(torch.zeros(2)))
  end)

  it("case 8.1: trains a weight norm beside a mean that is no part of autograd, as PyTorch does", function()
    local net = made(function(self, x)
      local w = self.v / self.v:norm(2, { 1 }, true) * self.g
      local y = torch.matmul(x, w:t())
      torch.no_grad(function() self.mean:mul_(0.5):add_(y:mean(0) * 0.5) end)
      return (y - self.mean):pow(2):sum()
    end, function(self)
      self.v = nn.Parameter(torch.tensor { { 3, 4 }, { 1, 0 } })
      self.g = nn.Parameter(torch.tensor { { 1 }, { 2 } })
      self.mean = nn.Buffer(torch.zeros(2))
    end)
    local steps, losses = optim.SGD(net:parameters(), { lr = 0.05 }), {}
    for i = 0, 2 do
      steps:zero_grad()
      local loss = net(torch.tensor { { 1, 2 }, { i, -1 } })
      loss:backward()
      steps:step()
      losses[#losses + 1] = loss:item()
    end
    near({ 7.24500036239624, 5.910800933837891, 4.194613933563232 }, torch.tensor(losses))
    assert.equal("tensor([[ 3.0352,  3.9735],\n        [ 1.3535, -0.0127]])", tostring(net.v:detach()))
    assert.equal("tensor([[0.2856],\n        [1.1653]])", tostring(net.g:detach()))
    assert.equal("tensor([0.4370, 1.4292])", tostring(net.mean))
  end)

  it("case 8.1: can be the argument of a child", function()
    local net = made(function(self, x) return x + self.l(self.prompt) end, function(self)
      self.l, self.prompt = nn.Linear(2, 2), nn.Parameter(torch.ones(2))
    end)
    net(torch.ones(2)):sum():backward()
    near(net.l.weight:sum(0), net.prompt.grad)
  end)

  it("tells its shape and dtype while it is recorded, and no number", function()
    local net = made(function(self, x)
      local rows, w = torch.zeros(2, 3), self.w:t()
      assert(w.shape[0] == 4 and w:size(-1) == 2 and w.dtype == "float32" and w.device == "cpu" and w:dim() == 2)
      assert(torch.rand(3):numel() == 3 and #w == 4)
      for i = 0, rows:size(0) - 1 do rows[i] = x * i end
      return rows
    end, function(self) self.w = nn.Parameter(torch.ones(2, 4)) end)
    local first = net(torch.ones(3))
    near({ { 0, 0, 0 }, { 2, 2, 2 } }, net(torch.ones(3) * 2))
    near({ { 0, 0, 0 }, { 1, 1, 1 } }, first)
    local p = function(self) self.p = nn.Parameter(torch.ones(1)) end
    for _, ask in ipairs { function(self) return self.p:item() end, function(self) return self.p:exp():item() end,
      function(self) return self.p:tolist() end, function(self) return torch.equal(self.p, self.p) end,
      function(self) return self.p.requires_grad end, function(self) return self.p.grad end,
      function() torch.manual_seed(1) end, torch.is_grad_enabled, function(self) self.p:requires_grad_(false) end } do
      local err = support.failure(function() made(function(self, x) ask(self) return x end, p)(one) end)
      assert.equal("state", err.code)
      assert.matches("recorded once and runs later", err.message, 1, true)
      assert.matches("dynamic = true", tostring(err), 1, true)
    end
  end)
end)

describe("what a forward makes", function()
  it("has the shape that an operator in place has given it", function()
    local net = made(function(self, x)
      local a, b, c, d = self.w:clone(), torch.zeros(2), torch.zeros(0), torch.zeros(2, 3)
      local flat, whole = a:view(6), a * 1
      a:t_()
      b:unsqueeze_(0)
      torch.add(torch.ones(4), torch.ones(4), { out = c })
      d:resize_as_(x)
      local known = a:size(0) + 10 * b:dim() + 100 * c:size(0) + 1000 * flat:size(0) + 1e4 * whole:size(0)
      return torch.ones(1) * known + 1e5 * d:size(0)
    end, function(self) self.w = nn.Parameter(torch.ones(2, 3)) end)
    assert.equal(526423, net(torch.zeros(5)):item())
    assert.equal(726423, net(torch.zeros(7)):item())
  end)

  it("case 6.8: is made at each call", function()
    local net = made(function(_, x)
      local sum = torch.zeros(2)
      sum:add_(x)
      return sum
    end)
    local model = ls.Model(net)
    local first = model:trace(torch.ones(2), function() return model.output end)
    near({ 1, 1 }, model:trace(torch.ones(2), function() return model.output end))
    near({ 1, 1 }, net(torch.ones(2)))
    near({ 1, 1 }, first)
    local listed = made(function(_, x) return torch.tensor({ 1, 2 }):add_(x) end)
    near({ 2, 3 }, listed(torch.ones(2)))
    near({ 2, 3 }, listed(torch.ones(2)))
  end)

  it("case 6.8: from random numbers is other at each call, PyTorch's under a seed", function()
    local net = made(function(_, x) return x + torch.rand(2) end)
    torch.manual_seed(3)
    local first, second = net(torch.zeros(2)), net(torch.zeros(2))
    torch.manual_seed(3)
    near(torch.rand(2), first)
    near(torch.rand(2), second)
    assert.equal("tensor([0.0043, 0.1056])", tostring(first))
    assert.equal("tensor([0.2858, 0.0270])", tostring(second))
  end)

  it("cannot require a gradient or be a parameter, which is said", function()
    refused("argument", "cannot require a gradient", function()
      made(function(_, x) return x + torch.ones(1, { requires_grad = true }) end)(one)
    end)
    refused("state", "cannot be made of a value of a forward", function()
      made(function(_, x) return x + nn.Parameter(torch.ones(1)) end)(one)
    end)
  end)

  it("has no numbers in a scan, and numbers after it", function()
    local by = torch.ones(2)
    local net = made(function(_, x) return x + by + torch.ones(2) + torch.tensor { 1, 2 } + torch.arange(2) end)
    local model, shape = ls.Model(net), nil
    model:scan(torch.zeros(2), function() shape = model.output.shape end)
    assert.same({ 2 }, shape:tolist())
    near({ 3, 5 }, model(torch.zeros(2)))
    near({ 3, 5 }, net(torch.zeros(2)))
  end)

  it("case 8.14: can have one size of an input", function()
    local net = made(function(_, x) return torch.ones(x:size(0)) + x:reshape(x:size(0)) + torch.zeros(x:size(0) * 1) end)
    near({ 2, 2, 2 }, net(torch.ones(3, 1)))
    near({ 2, 2 }, net(torch.ones(2, 1)))
  end)

  it("is made anew where a forward makes a module", function()
    local net = made(function(self, x)
      if not self.l then self.l = nn.Linear(1, 1) end
      return self.l(x)
    end)
    near(net(one), net(one))
    assert.equal(2, #net:parameters())
  end)
end)

describe("fields and upvalues of a forward", function()
  it("case 6.8: are those of now: nested tables, upvalues, upvalues of helpers, added elements", function()
    local by, list = 2, { 1 }
    local function helped(x) return x * by end
    local net = made(function(self, x)
      for i = 1, #list do x = x + list[i] end
      return helped(x) * self.o.deep.s
    end, function(self) self.o = { deep = { s = 2 } } end)
    local outer = nn.Sequential { net }
    assert.equal(8, outer(one):item())
    net.o.deep.s = 3
    assert.equal(12, outer(one):item())
    by = 5
    assert.equal(30, outer(one):item())
    list[2] = 10
    assert.equal(180, outer(one):item())
    local options = {}
    local late = made(function(_, x) return options.twice and x * 2 or x end)
    assert.equal(1, late(one):item())
    options.twice = true
    assert.equal(2, late(one):item())
  end)

  it("case 6.8: that a forward changes itself change at each call", function()
    local calls = 0
    local net = made(function(_, x)
      calls = calls + 1
      return x * calls
    end)
    assert.equal(1, net(one):item())
    assert.equal(2, net(one):item())
    assert.equal(3, net(one):item())
  end)

  it("that are modules are followed, with their modes", function()
    local inner = nn.Dropout(1)
    local net = made(function(_, x) return inner(x) end)
    assert.equal(0, net(one):item())
    inner:eval()
    assert.equal(1, net(one):item())
    inner = nn.Identity()
    inner:train()
    assert.equal(1, net(one):item())
    inner = nn.Dropout(1):eval()
    local outer = nn.Sequential { made(function(_, x) return inner(x) end) }
    for _, on in ipairs { false, true, false, true } do -- the first call knows of no module that the forward will call
      inner:train(on)
      assert.equal(on and 0 or 1, outer(one):item())
    end
  end)

  it("case 9.16: leave other models as they are, where they are set", function()
    local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) } }
    net:requires_grad_(false)
    local model, x = ls.Model(net), torch.ones(1, 2)
    local edited = model:edit(function() model.a.output = model.a.output * 0 end)
    local want = edited(x)
    local other = nn.Linear(2, 2)
    other(x)
    other.extra = 3
    near(want, edited(x))
    local out = model:trace(x, function()
      other.extra, other.weight = 4, nn.Parameter(torch.ones(2, 2))
      return model.b.output
    end)
    near(net(x), out)
    local tracer = model:scan(x, function()
      other.extra = 5
      return model.a.output.shape
    end)
    assert.same({ 1, 2 }, tracer:tolist())
    net.note = 5     -- its own fields too, as long as no tensor and no child changes
    net.a.note = 5
    near(want, edited(x))
  end)

  it("case 9.16: that are set elsewhere leave a generation and its saves", function()
    local model, other = ls.LanguageModel "models/pretrained/ioi", nn.Linear(1, 1)
    other(one)
    local saved = {}
    model:generate(support.john, { max_new_tokens = 3, eos_token_id = false }, function(tracer)
      for _ in tracer:all() do
        saved[#saved + 1] = model.lm_head.output["0, -1"]:argmax():save()
        tracer:apply(function(v)
          other.extra = (other.extra or 0) + 1
          return v
        end, model.lm_head.output["0, -1"]):save()
      end
    end)
    assert.equal(3, #saved)
    for _, v in ipairs(saved) do assert.is_true(v:is_set()) end
  end)
end)

describe("modes of autograd", function()
  it("case 8.4: act where they stand in a forward, and in the modules that it calls there", function()
    local net = made(function(_, x) return x * 2 + torch.no_grad(function() return x * 3 end) end)
    local x = torch.ones(1, { requires_grad = true })
    net(x):sum():backward()
    assert.equal(2, x.grad:item())
    local outer = made(function(self, v)
      return v * 2 + torch.no_grad(function()
        return self.l(v) * 3 + torch.enable_grad(function() return v * 5 end)
      end):clone()
    end, function(self) self.l = nn.Linear(1, 1) end)
    x.grad = nil
    for _ = 1, 2 do outer(x):sum():backward() end
    assert.equal(4, x.grad:item()) -- the sum of v * 5 with what has no gradient stands under no_grad: 2 a call
    assert.is_nil(outer.l.weight.grad)
    assert.is_true(torch.is_grad_enabled())
  end)

  it("case 8.4: act in a body, where a gradient is asked for", function()
    local net = nn.Sequential { { "a", nn.Identity() }, { "b", nn.Identity() } }
    local model = ls.Model(net)
    local grad = model:trace(one, function()
      local h = model.a.output
      local g = h.grad
      local loss = h * 2 + torch.no_grad(function() return h * 3 end)
      loss:sum():backward()
      return g
    end)
    assert.equal(2, grad:item())
  end)

  it("case 8.4: stay with a graph that is saved as a file, and with a stored edit", function()
    local net = made(function(_, x) return x * 2 + torch.no_grad(function() return x * 3 end) end)
    support.temporary(function(path)
      ls.Model(net):save_graph(path, one)
      local text = support.read(path)
      assert.is_truthy(text:find('"autograd":false', 1, true))
    end)
  end)

  it("case 8.6: a tensor that needs a gradient is no number", function()
    local net = made(function(self, x) return torch.elu(x, self.alpha) end,
      function(self) self.alpha = nn.Parameter(torch.tensor(1)) end)
    refused("argument", "a tensor that needs a gradient cannot be a number", function() net(one) end)
    refused("argument", "a tensor that needs a gradient cannot be a number", function() torch.elu(one, net.alpha) end)
    local given = made(function(_, x, a) return torch.elu(x, a) end)
    refused("argument", "a tensor that needs a gradient cannot be a number", function() given(one, net.alpha) end)
    assert.equal(1, given(one, net.alpha:detach()):item())
  end)
end)
