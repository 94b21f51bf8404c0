-- Modules: classes, fields, containers, the words of every module, and their text (spec/reference/nn.json).
local json = require "cjson"
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return json.decode(text)
end

local reference = read "spec/reference/nn.json"

local support = require "spec.support"
local failure, near = support.failure, support.near

local function collect(iterator)
  local names = {}
  for name in iterator do names[#names + 1] = name end
  return names
end

local MLP = nn.Module "MLP"
function MLP:init(width, inner)
  self.width = width
  self.first = nn.Linear(width, inner)
  self.scale = nn.Parameter(torch.ones(1))
  self.mean = nn.Buffer(torch.zeros(width))
  self.scratch = nn.Buffer(torch.zeros(2), { persistent = false })
  self.second = nn.Linear(inner, width, { bias = false })
end
function MLP:forward(x) return self.second(self.first(x - self.mean):relu()) * self.scale end

describe("a class of modules", function()
  it("makes objects with an init and a forward", function()
    local net = MLP(3, 4)
    local x = torch.rand(2, 3)
    local want = torch.linear(torch.linear(x, net.first.weight, net.first.bias):relu(), net.second.weight)
    assert.is_true(torch.equal(net(x), want))
    assert.equal(3, net.width)
    assert.is_nil(net.nothing)
  end)

  it("passes positional and keyword arguments on", function()
    local Add = nn.Module "Add"
    function Add:forward(x, y, options)
      x = x + y
      return options and options.twice and x * 2 or x
    end
    local add = Add()
    assert.same({ 3 }, add(torch.ones(1), torch.ones(1) * 2):tolist())
    assert.same({ 6 }, add(torch.ones(1), torch.ones(1) * 2, { twice = true }):tolist())
  end)

  it("makes a tuple of several results", function()
    local Two = nn.Module "Two"
    function Two:forward(x) return x, x * 2 end
    assert.equal("(tensor([1.]), tensor([2.]))", tostring(Two()(torch.ones(1))))
  end)

  it("can lend what it defines to another class", function()
    local Louder = nn.Module("Louder", MLP)
    function Louder:forward(x) return MLP.forward(self, x) * 10 end
    local net = Louder(3, 4)
    local x = torch.rand(1, 3)
    local loud = net(x)
    near(net.second(net.first(x):relu()) * 10, loud)
    assert.matches("^Louder%(", tostring(net))
  end)

  it("says what is wrong with its name, its parent or a module without forward", function()
    for _, wrong in ipairs { function() nn.Module(3) end, function() nn.Module "" end, function() nn.Module("A", {}) end } do
      local err = failure(wrong)
      assert.equal("argument", err.code)
      assert.matches("nn_spec.lua$", err.file)
    end
    local err = failure(function() nn.ModuleList { nn.ReLU() } (torch.ones(1)) end)
    assert.matches("ModuleList has no forward", err.message, 1, true)
  end)
end)

describe("the fields of a module", function()
  it("are found in the order in which they were set", function()
    local net = MLP(3, 4)
    assert.same({ "scale", "first.weight", "first.bias", "second.weight" }, collect(net:named_parameters()))
    assert.same({ "mean", "scratch" }, collect(net:named_buffers()))
    assert.same({ "", "first", "second" }, collect(net:named_modules()))
    assert.equal(4, #net:parameters())
    assert.equal(2, #net:children())
    assert.same({ "scale", "mean", "scratch" }, collect(net:_tensors()))
    assert.same({ "first", "second" }, collect(net:_children()))
  end)

  it("can be replaced after a run, and the next run knows", function()
    local net = MLP(3, 4)
    local x = torch.rand(1, 3)
    net(x)
    net.second = nn.Linear(4, 2)
    assert.same({ 1, 2 }, net(x).shape:tolist())
    net.scale = nn.Parameter(torch.zeros(1))
    assert.equal(0, net(x):sum():item())
    net.second.bias = nil
    assert.is_nil(net.second.bias)
    assert.same({ "weight" }, collect(net.second:named_parameters()))
    assert.equal("Linear(in_features=4, out_features=2, bias=False)", tostring(net.second))
  end)

  it("of a plain kind belong to what was recorded too", function()
    local Times = nn.Module "Times"
    function Times:init(n) self.n = n end
    function Times:forward(x) return x * self.n end
    local times = Times(2)
    assert.equal(2, times(torch.ones(1)):item())
    times.n = 5
    assert.equal(5, times(torch.ones(1)):item())
  end)

  it("share a parameter that is set in two places", function()
    local net = nn.Sequential { { "a", nn.Linear(3, 3, { bias = false }) }, { "b", nn.Linear(3, 3, { bias = false }) } }
    net.b.weight = net.a.weight
    assert.same({ "a.weight" }, collect(net:named_parameters()))
    assert.equal(1, #net:parameters())
    net(torch.ones(1, 3)):sum():backward()
    assert.same({ 3, 3 }, net.b.weight.grad.shape:tolist())
  end)

  it("count a shared module once", function()
    local act = nn.PReLU()
    local net = nn.Sequential { act, nn.Identity(), act }
    assert.same({ "", "0", "1" }, collect(net:named_modules()))
    assert.same({ "0.weight" }, collect(net:named_parameters()))
    assert.equal(-0.0625, net(torch.ones(1) * -1):item())
  end)

  it("are marked tensors; plain ones are constants and no parameters", function()
    local Shift = nn.Module "Shift"
    function Shift:init() self.by = torch.ones(2) end
    function Shift:forward(x) return x + self.by end
    local shift = Shift()
    assert.same({}, collect(shift:named_parameters()))
    assert.same({ 2, 2 }, shift(torch.ones(2)):tolist())
    local p = nn.Parameter(torch.ones(2))
    assert.is_true(p.requires_grad)
    assert.is_false(nn.Parameter(torch.ones(2), { requires_grad = false }).requires_grad)
    assert.is_false(nn.Buffer(torch.ones(2)).requires_grad)
  end)

  it("stay parameters and buffers behind an operator in place, and behind a conversion that has nothing to convert", function()
    local Own = nn.Module "Own"
    local own = Own()
    torch.no_grad(function()
      own.a = nn.Parameter(torch.ones(2)):zero_()
      own.b = nn.Parameter(torch.ones(2)):float():cpu():contiguous()
      own.c = nn.Buffer(torch.ones(2)):fill_(3)
    end)
    own.d = own.a:requires_grad_(false):add_(1)
    assert.same({ "a", "b" }, collect(own:named_parameters()))
    assert.same({ "a", "b", "d", "c" }, collect(own:named_state()))
    local x = torch.ones(2)
    assert.is_true(rawequal(x, x:mul_(2)))
    assert.is_true(rawequal(x, torch.add_(x, x)))
    assert.is_true(rawequal(x, x:to(x)))
    assert.is_false(rawequal(x, x:double()))
    assert.same({ 4, 4 }, x:tolist())
  end)

  it("take the value of a proxy for a buffer, and no value of a forward", function()
    local Keep = nn.Module "Keep"
    function Keep:init() self.mean = nn.Buffer(torch.zeros(2)) end
    function Keep:forward(x)
      if self.wrong then self.mean = x * 2 end
      return x + self.mean
    end
    local keep, model = Keep(), ls.Model(nn.Identity())
    local saved
    model:trace(torch.ones(2), function() saved = model.output:save() end)
    keep.mean = saved
    assert.same({ 2, 2 }, keep(torch.ones(2)):tolist())
    keep.wrong = true
    support.refused("state", "the buffer Keep.mean cannot be made of a value of a forward", function() keep(torch.ones(2)) end)
    support.refused("argument", "takes a tensor, not a tuple", function() keep.mean = ls.tuple(torch.ones(2)) end)
    keep.wrong = false
    assert.same({ 2, 2 }, keep(torch.ones(2)):tolist())
  end)

  it("refuse what does not belong there", function()
    local net = MLP(3, 4)
    for _, case in ipairs {
      { function() net.scale = torch.ones(1) end, "argument", "MLP.scale is a parameter" },
      { function() net.scale = 3 end, "argument", "MLP.scale is a parameter: a number" },
      { function() net.first = 3 end, "argument", "MLP.first is a module: a number" },
      { function() net.first = torch.ones(1) end, "argument", "MLP.first is a module: a tensor" },
      { function() net.train = nn.ReLU() end, "name", "MLP.train: the name is taken" },
      { function() net["a.b"] = nn.ReLU() end, "name", '"a.b"' },
      { function() nn.Parameter(3) end, "argument", "nn.Parameter takes a tensor, not a number" },
      { function() nn.Buffer(torch.ones(1), { persistant = true }) end, "name", 'did you mean "persistent"' },
    } do
      local err = failure(case[1])
      assert.equal(case[2], err.code)
      assert.matches(case[3], err.message, 1, true)
      assert.matches("nn_spec.lua$", err.file)
    end
    assert.equal(1, net.scale:item())
  end)

  it("take a plain tensor where a buffer is", function()
    local net = MLP(3, 4)
    net.mean = torch.ones(3)
    assert.same({ "mean", "scratch" }, collect(net:named_buffers()))
    assert.is_true(torch.equal(net(torch.ones(1, 3)), net(torch.ones(1, 3))))
  end)
end)

describe("case 8.13: what a call does not take", function()
  it("is refused by backward, by name", function()
    local x = torch.ones(2, { requires_grad = true })
    for name, hint in pairs { retain_grph = 'did you mean "retain_graph"', create_graph = 'no option "create_graph"',
      inputs = "its options are gradient, retain_graph" } do
      support.refused("name", hint, function() x:sum():backward { [name] = true } end)
      local net = nn.Linear(2, 1)
      support.refused("name", hint, function()
        ls.Model(net):trace(torch.ones(1, 2), function(tracer) tracer.output:sum():backward { [name] = true } end)
      end)
    end
  end)

  it("is refused by a module", function()
    local x = torch.ones(1, 2)
    local net = nn.Linear(2, 2)
    support.refused("argument", "the forward of Linear takes 1 argument, not 2", function() net(x, x) end)
    support.refused("argument", "the forward of Linear takes 1 argument, not 2", function() net(x, 3) end)
    support.refused("name", 'no options, so it has no "mask"', function() net(x, { mask = x }) end)
    support.refused("argument", "the forward of Linear takes 1 argument, not 2", function()
      ls.Model(nn.Sequential { net }):trace(x, function() return net(x, x) end)
    end)
    support.refused("argument", "the forward of Sequential takes 1 argument, not 2", function() nn.Sequential { net }(x, x) end)
    assert.equal("[1, 2]", tostring(net(x, nil).shape))
  end)

  it("is refused where a module is made", function()
    for _, case in ipairs {
      { "name", 'ReLU has no option "inplace"', function() nn.ReLU { inplace = true } end },
      { "argument", "ReLU takes no arguments, not 1", function() nn.ReLU(true) end },
      { "name", 'nn.Dropout has no option "inplace"', function() nn.Dropout(0.1, { inplace = true }) end },
      { "argument", "Dropout takes at most 1 settings, not 2", function() nn.Dropout(0.1, true) end },
      { "argument", "Linear takes at most 3 arguments, not 4", function() nn.Linear(1, 1, {}, 1) end },
      { "argument", "Own takes no arguments, not 1", function() nn.Module "Own"(1) end },
      { "name", 'did you mean "start_dim"', function() nn.Flatten { start_dm = 0 } end },
      { "argument", "start_dim is a whole number", function() nn.Flatten(0.5) end },
      { "argument", "dim is a whole number", function() nn.GLU(0.5) end },
      { "argument", "its argument is a function, not nil", function() nn.ReLU():apply() end },
    } do
      support.refused(case[1], case[2], case[3])
    end
    assert.equal("[4]", tostring(nn.Flatten { start_dim = 0 }(torch.ones(2, 2)).shape))
    assert.equal("Identity()", tostring(nn.Identity(1, { a = 2 })))
  end)

  it("is refused by the methods of a module", function()
    local net = nn.Sequential { nn.Linear(1, 1) }
    for _, method in ipairs { "modules", "named_modules", "children", "named_children" } do
      support.refused("name", "recurse", function() net[method](net, { recurse = false }) end)
    end
  end)
end)

describe("every module", function()
  it("trains or not, with all below, and programs follow", function()
    torch.manual_seed(1)
    local net = nn.Sequential { nn.Linear(50, 50), nn.Sequential { nn.Dropout(0.5) } }
    local x = torch.ones(1, 50)
    assert.is_true(net.training)
    assert.is_true(net(x):eq(0):sum():item() > 5)
    assert.equal(net, net:eval())
    assert.is_false(net[1][0].training)
    assert.equal(0, net(x):eq(0):sum():item())
    net[1][0].training = true
    assert.is_true(net(x):eq(0):sum():item() > 5)
    net:train()
    assert.is_true(net[0].training)
  end)

  it("trains or not as its modules do that have come since", function()
    local net, x = nn.Sequential { nn.Sequential { nn.Sequential { nn.Dropout(1) } } }:eval(), torch.ones(1)
    local function seen(on)
      if on ~= nil then net[0][0][0]:train(on) end
      return net(x):item()
    end
    assert.same({ 1, 0, 1 }, { seen(), seen(true), seen(false) })
    net[0][0][0] = nn.Dropout(1)
    assert.same({ 0, 1, 0 }, { seen(), seen(false), seen(true) })
    net:eval()
    seen()
    net[0][0][0] = nn.Dropout(1)
    assert.same({ 0, 1, 0 }, { seen(), seen(false), seen(true) })
  end)

  it("turns gradients on and off, and forgets them", function()
    local net = MLP(3, 4)
    net:requires_grad_(false)
    assert.is_false(net(torch.ones(1, 3)).requires_grad)
    net:requires_grad_()
    net(torch.ones(1, 3)):sum():backward()
    assert.same({ 1 }, net.scale.grad.shape:tolist())
    net:zero_grad()
    assert.is_nil(net.scale.grad)
  end)

  it("visits children first when a function is applied", function()
    local net, seen = nn.Sequential { nn.ReLU(), nn.Sequential { nn.Tanh() } }, {}
    assert.equal(net, net:apply(function(m) seen[#seen + 1] = m._class_name end))
    assert.same({ "ReLU", "Tanh", "Sequential", "Sequential" }, seen)
  end)

  it("finds a module by its path", function()
    local net = nn.Sequential { { "a", nn.Sequential { nn.ReLU(), nn.Tanh() } } }
    assert.equal(net.a[1], net:get_submodule "a.1")
    assert.matches('there is no module "b" in Sequential', failure(function() net:get_submodule "b" end).message, 1, true)
  end)

  it("is let go with all that was recorded", function()
    collectgarbage() collectgarbage()
    local before = ls.live()
    for _ = 1, 20 do MLP(3, 4)(torch.ones(1, 3)) end
    collectgarbage() collectgarbage()
    assert.equal(before, ls.live())
  end)
end)

describe("a wrong call", function()
  it("is an error at its line, with near misses", function()
    for _, case in ipairs {
      { function() return nn.Liner end, 'did you mean "Linear"' },
      { function() nn.Linear(2) end, "out_features is a whole number from 0 on, not nil" },
      { function() nn.Linear(2, 2.5) end, "not 2.5" },
      { function() nn.Linear(2, 3, { bais = false }) end, 'did you mean "bias"' },
      { function() nn.Linear(2, 3, { bias = 1 }) end, "nn.Linear: bias is true or false, not 1" },
      { function() nn.Linear(2, 3, false) end, "the options of nn.Linear are a table, not a boolean" },
      { function() nn.Embedding(3, 2, { padding_idx = 3 }) end, "padding_idx is 3, but the weight has 3 rows" },
      { function() nn.Dropout(1.5) end, "p is a number from 0 to 1, not 1.5" },
      { function() nn.LayerNorm {} end, "normalized_shape" },
      { function() nn.GELU { approximate = "tan" } end, 'did you mean "tanh"' },
      { function() nn.Softmax() end, "nn.Softmax: dim is a whole number, not nil" },
      { function() nn.LeakyReLU(1, 2) end, "at most 1 settings" },
      { function() nn.init.constant_(torch.ones(1)) end, "val is a number, not nil" },
      { function() nn.init.normal_(3) end, "fills a tensor, not a number" },
      { function() nn.init.normal_(torch.ones(1), { sdt = 1 }) end, 'did you mean "std"' },
      { function() nn.init.kaiming_uniform_(torch.ones(3)) end, "fewer than 2 dimensions" },
      { function() nn.ReLU():to "int64" end, "floating-point" },
      { function() nn.ReLU():to { dtpye = "float64" } end, 'did you mean "dtype"' },
    } do
      local err = failure(case[1])
      assert.matches(case[2], tostring(err), 1, true)
      assert.matches("nn_spec.lua$", err.file)
    end
  end)

  it("of a layer's shapes names the operator's reason and the line", function()
    local net = nn.Sequential { nn.Linear(3, 4) }
    local err = failure(function() net(torch.ones(2, 5)) end)
    assert.matches("mat1 and mat2 shapes cannot be multiplied %(2x5 and 3x4%)", tostring(err))
    assert.matches("nn_spec.lua$", err.file)
  end)
end)

describe("the text of a module", function()
  local Block = nn.Module "Block"
  function Block:init()
    self.ln = nn.LayerNorm(4)
    self.fc = nn.Linear(4, 4)
  end
  local Net = nn.Module "Net"
  function Net:init()
    self.h = nn.ModuleList { Block(), Block(), Block(), nn.ReLU() }
    self.names = nn.ModuleDict { { "a", nn.Tanh() }, { "b", nn.Dropout(0.1) } }
  end
  local Noted = nn.Module "Noted"
  function Noted:init() self.act = nn.ReLU() end
  function Noted:extra_repr() return "width=3\ndeep=True" end -- luacheck: ignore self

  for _, case in ipairs(reference.texts) do
    it("is PyTorch's: " .. case.lua, function()
      local make = setfenv(loadstring("return " .. case.lua), { nn = nn, Net = Net, Noted = Noted })
      assert.equal(case.text, tostring(make()))
    end)
  end

  it("writes numbers as Python does", function()
    local text = require "luasight.nn.text"
    for _, want in ipairs(reference.floats) do assert.equal(want, text.float(tonumber(want))) end
    assert.equal("inf", text.float(math.huge))
    assert.equal("nan", text.float(0 / 0))
  end)
end)
