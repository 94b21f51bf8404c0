-- The state of modules: reading, loading, replacing without a copy, converting.
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn

local support = require "spec.support"
local failure, near = support.failure, support.near

local function pair()
  return nn.Sequential { { "a", nn.Linear(2, 3) }, { "b", nn.Linear(3, 2, { bias = false }) } }
end

local Counter = nn.Module "Counter"
function Counter:init()
  self.seen = nn.Buffer(torch.zeros({}))
  self.weight = nn.Parameter(torch.ones(2))
  self.scratch = nn.Buffer(torch.zeros(2), { persistent = false })
  self.inner = nn.Linear(1, 1)
end

describe("the state", function()
  it("has parameters and persistent buffers in PyTorch's order", function()
    local counter, names = Counter(), {}
    local state = counter:state_dict()
    for name, t in counter:named_state() do
      names[#names + 1] = name
      assert.is_true(torch.equal(t, state[name]))
    end
    assert.same({ "weight", "seen", "inner.weight", "inner.bias" }, names)
    assert.is_false(state.weight.requires_grad)
    assert.is_nil(state.scratch)
    local net = pair()
    local own = net:state_dict { keep_vars = true, prefix = "net." }
    assert.equal(tostring(net.a.weight), tostring(own["net.a.weight"]))
    assert.is_true(own["net.a.weight"].requires_grad)
  end)

  it("shares memory with the module", function()
    local net = pair()
    net:state_dict()["a.bias"]:fill_(7)
    assert.same({ 7, 7, 7 }, net.a.bias:tolist())
  end)

  it("names a shared parameter in every place", function()
    local net = nn.Sequential { nn.Linear(2, 2), nn.Linear(2, 2) }
    net[1].weight = net[0].weight
    local state = net:state_dict()
    assert.is_true(torch.equal(state["0.weight"], state["1.weight"]))
  end)
end)

describe("loading a state", function()
  it("copies into the parameters that are there", function()
    local from, to = pair(), pair()
    local weight, x = to.a.weight, torch.rand(4, 2)
    to(x)
    assert.same({ missing_keys = {}, unexpected_keys = {} }, to:load_state_dict(from:state_dict()))
    assert.is_true(torch.equal(from(x), to(x)))
    assert.is_true(torch.equal(weight, from.a.weight))
    from.a.weight:requires_grad_(false):fill_(0)
    assert.is_false(torch.equal(weight, from.a.weight))
  end)

  it("reports what is missing, unexpected and of another size in one error, and changes nothing", function()
    local net, state = pair(), pair():state_dict()
    local before = net.b.weight:clone()
    state["a.bias"], state["a.bais"], state["a.weight"] = nil, torch.ones(3), torch.ones(2, 2)
    local err = failure(function() net:load_state_dict(state) end)
    assert.equal("format", err.code)
    assert.equal('Error(s) in loading state_dict for Sequential: Missing key(s) in state_dict: "a.bias". ' ..
      'Unexpected key(s) in state_dict: "a.bais". size mismatch for a.weight: copying a param with shape ' ..
      'torch.Size([2, 2]) from checkpoint, the shape in current model is torch.Size([3, 2]).', err.message)
    assert.same({ "a.bias" }, err.missing_keys)
    assert.same({ "a.bais" }, err.unexpected_keys)
    assert.matches("nn/state_spec.lua$", err.file)
    assert.is_true(torch.equal(before, net.b.weight))
  end)

  it("gives back the names that do not match where it is not strict", function()
    local net, state = pair(), pair():state_dict()
    state["a.bias"], state.other = nil, torch.ones(1)
    local report = net:load_state_dict(state, { strict = false })
    assert.same({ missing_keys = { "a.bias" }, unexpected_keys = { "other" } }, report)
    assert.is_true(torch.equal(net.a.weight, state["a.weight"]))
    state["a.weight"] = torch.ones(9)
    assert.matches("size mismatch for a.weight", failure(function()
      net:load_state_dict(state, { strict = false })
    end).message, 1, true)
  end)

  it("takes one number in a list where one without axes belongs", function()
    local net = Counter()
    local state = net:state_dict()
    state.seen = torch.ones(1) * 4
    net:load_state_dict(state)
    assert.equal(4, net.seen:item())
  end)

  it("leaves nothing half loaded where the numbers of one tensor cannot be taken", function()
    local net = nn.Sequential { nn.LayerNorm(2), nn.Linear(2, 2) }
    local ones = torch.ones(2, 2)
    local wrong = { ["no numbers"] = torch.ones(2, 2, { device = "meta" }), layouts = ones:to_sparse(), tuple = ls.tuple(ones) }
    for text, t in pairs(wrong) do
      local state = { ["0.weight"] = torch.zeros(2), ["0.bias"] = torch.ones(2), ["1.weight"] = t, ["1.bias"] = torch.ones(2) }
      support.refused("format", text, function() net:load_state_dict(state) end)
      assert.same({ 1, 1 }, net[0].weight:tolist())
    end
    support.refused("format", "a tensor of int64 cannot have", function()
      net:load_state_dict({ ["0.weight"] = torch.zeros(2), ["1.weight"] = ones:long() }, { assign = true, strict = false })
    end)
    assert.same({ 1, 1 }, net[0].weight:tolist())
    net[1].bias = nn.Parameter(torch.zeros(1):expand(2))
    support.refused("format", "elements of 1.bias share memory", function()
      net:load_state_dict({ ["0.weight"] = torch.zeros(2), ["1.bias"] = torch.ones(2) }, { strict = false })
    end)
    assert.same({ 1, 1 }, net[0].weight:tolist())
  end)

  it("refuses what is no state", function()
    local net = pair()
    assert.equal("argument", failure(function() net:load_state_dict(3) end).code)
    local state = net:state_dict()
    state["a.bias"] = 3
    assert.matches('the parameter named "a.bias", expected a tensor, received a number',
      failure(function() net:load_state_dict(state) end).message, 1, true)
    assert.matches('did you mean "assign"', failure(function() net:load_state_dict({}, { asign = true }) end).message, 1, true)
  end)
end)

describe("nn.skip_init", function()
  it("makes layers without memory, and without using up random numbers", function()
    torch.manual_seed(1)
    local net = nn.skip_init(pair)
    for _, p in net:named_parameters() do
      assert.equal("meta", p.device)
      assert.is_true(p.requires_grad)
    end
    local a = torch.rand(1):item()
    torch.manual_seed(1)
    assert.equal(a, torch.rand(1):item())
    assert.equal("cpu", nn.Linear(1, 1).weight.device)
    assert.equal(net, nn.skip_init(function(m) return m end, net))
  end)

  it("ends with the function, also when that fails", function()
    assert.matches("mine", failure(function() nn.skip_init(function() error("mine") end) end), 1, true)
    assert.equal("cpu", nn.Linear(1, 1).weight.device)
  end)

  it("opens a model that is larger than any memory, without numbers", function()
    local list = nn.skip_init(function()
      local list = nn.ModuleList()
      for _ = 1, 48 do list:append(nn.Linear(2 ^ 22, 2 ^ 22)) end -- 3 petabytes
      return list
    end)
    for i = 0, 47 do
      assert.equal("meta", list[i].weight.device)
      assert.same({ 2 ^ 22, 2 ^ 22 }, list[i].weight.shape:tolist())
    end
  end)

  it("is completed by tensors that become the parameters without a copy", function()
    local net, state = nn.skip_init(pair), pair():state_dict()
    assert.matches("pass { assign = true }", failure(function() net:load_state_dict(state) end).message, 1, true)
    net:load_state_dict(state, { assign = true })
    assert.same({ 1, 2 }, net(torch.ones(1, 2)).shape:tolist())
    assert.is_true(net.a.weight.requires_grad)
    state["a.weight"]:fill_(3)
    assert.same({ { 3, 3 }, { 3, 3 }, { 3, 3 } }, net.a.weight:tolist())
  end)

  it("keeps the dtype of what is assigned, and whether it trains", function()
    local net, state = pair(), pair():to("float64"):state_dict()
    net:requires_grad_(false)
    net(torch.ones(1, 2))
    net:load_state_dict(state, { assign = true })
    assert.equal("float64", net(torch.ones(1, 2, { dtype = "float64" })).dtype)
    assert.is_false(net.a.weight.requires_grad)
  end)

  it("keeps parameters shared that were shared", function()
    local function tied()
      local net = nn.Sequential { nn.Linear(2, 2, { bias = false }), nn.Linear(2, 2, { bias = false }) }
      net[1].weight = net[0].weight
      return net
    end
    local one = torch.ones(2, 2)
    for _, state in ipairs { { ["0.weight"] = one }, { ["1.weight"] = one }, { ["0.weight"] = one, ["1.weight"] = one },
      tied():state_dict() } do
      local net = nn.skip_init(tied)
      net:load_state_dict(state, { assign = true, strict = false })
      assert.equal(1, #net:parameters())
      assert.equal("cpu", net[1].weight.device)
      net[0].weight:requires_grad_(false):fill_(5)
      assert.equal(20, net[1].weight:sum():item())
    end
    local apart = nn.skip_init(tied)
    apart:load_state_dict({ ["0.weight"] = one, ["1.weight"] = torch.zeros(2, 2) }, { assign = true })
    assert.equal(2, #apart:parameters())
  end)
end)

describe("converting a module", function()
  it("keeps its tensors, for optimizers and ties", function()
    local net = pair()
    local weight, x = net.a.weight, torch.rand(1, 2)
    local want = net(x)
    net(x):sum():backward()
    assert.equal(net, net:to "float64")
    assert.equal("float64", weight.dtype)
    assert.equal("float64", weight.grad.dtype)
    assert.is_true(weight.requires_grad)
    local y = net(x:double())
    assert.equal("float64", y.dtype)
    near(want, y:float())
    net:half()
    assert.equal("float16", net.b.weight.dtype)
    net:to { dtype = "float32", device = "cpu" }
    local opt = ls.optim.SGD(net:parameters(), { lr = 1 })
    net:to("cpu", "float64")
    opt:zero_grad()
    net(x:double()):sum():backward()
    local before = net.b.weight:clone()
    opt:step()
    assert.is_false(torch.equal(before, net.b.weight))
  end)

  it("leaves whole numbers alone", function()
    local Table = nn.Module "Table"
    function Table:init() self.ids, self.mean = nn.Buffer(torch.arange(3)), nn.Buffer(torch.zeros(3)) end
    local t = Table():to "float64"
    assert.equal("int64", t.ids.dtype)
    assert.equal("float64", t.mean.dtype)
  end)

  it("refuses two dtypes", function()
    support.refused("argument", 'takes one dtype, not "float32" and "float64"', function() pair():to("float32", "float64") end)
  end)

  it("refuses to move what has no numbers", function()
    local net = nn.skip_init(pair)
    assert.equal("state", failure(function() net:to "cpu" end).code)
  end)
end)
