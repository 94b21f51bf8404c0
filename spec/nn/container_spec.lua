-- Containers: Sequential, ModuleList, ModuleDict.
local ls = require "luasight"
local support = require "spec.support"
local failure = support.failure
local torch, nn = ls.torch, ls.nn

local function collect(iterator)
  local names = {}
  for name in iterator do names[#names + 1] = name end
  return names
end

describe("a container", function()
  it("counts from 0, and from the end", function()
    local net = nn.Sequential { { "a", nn.Linear(2, 3) }, { "b", nn.ReLU() } }
    assert.equal(net.a, net[0])
    assert.equal(net.b, net[1])
    assert.equal(net.b, net[-1])
    assert.equal(2, net:len())
    local seen = {}
    for i, m in net:each() do seen[#seen + 1] = i .. m._class_name end
    assert.same({ "0Linear", "1ReLU" }, seen)
    local err = failure(function() return net[2] end)
    assert.equal("index", err.code)
    assert.matches("there are 2 modules, 0 to 1", err.message, 1, true)
  end)

  it("takes its modules as a list or one by one", function()
    assert.equal(2, nn.Sequential(nn.ReLU(), nn.Tanh()):len())
    assert.equal(2, nn.ModuleList({ nn.ReLU() }):append(nn.Tanh()):len())
    assert.equal(3, nn.ModuleList({ nn.ReLU() }):extend(nn.Sequential(nn.Tanh(), nn.Tanh())):len())
  end)

  it("lets a module be replaced by its position", function()
    local list = nn.ModuleList { nn.ReLU(), nn.Tanh() }
    list[-1] = nn.Linear(2, 3)
    assert.same({ "1.weight", "1.bias" }, collect(list:named_parameters()))
    assert.equal("index", failure(function() list[2] = nn.ReLU() end).code)
  end)

  it("keeps a dictionary's order", function()
    local dict = nn.ModuleDict { { "z", nn.ReLU() }, { "a", nn.Tanh() } }
    assert.same({ "z", "a" }, dict:keys())
    assert.same({ "a", "z" }, nn.ModuleDict({ z = nn.ReLU(), a = nn.Tanh() }):keys())
    assert.equal("Tanh()", tostring(dict.a))
    assert.same({ "z", "a" }, collect(dict:each()))
    assert.equal(2, dict:len())
  end)

  it("refuses what is no module", function()
    for _, wrong in ipairs {
      function() nn.Sequential { 3 } end, function() nn.Sequential(3) end, function() nn.Sequential { a = nn.ReLU() } end,
      function() nn.ModuleList { nn.ReLU(), "x" } end, function() nn.ModuleList(3) end,
      function() nn.ModuleList():append(3) end, function() nn.ModuleDict { a = 3 } end,
      function() nn.ModuleDict { nn.ReLU() } end, function() nn.ModuleDict(nn.ReLU()) end,
    } do
      local err = failure(wrong)
      assert.equal("argument", err.code)
      assert.matches("container_spec.lua$", err.file)
    end
    local twice = failure(function() nn.Sequential { { "a", nn.ReLU() }, { "a", nn.ReLU() } } end)
    assert.matches('two modules are called "a"', twice.message, 1, true)
  end)
end)

describe("case 8.12: a container", function()
  local function names(list)
    local all = {}
    for name in pairs(list:state_dict()) do all[#all + 1] = name end
    table.sort(all)
    return all
  end
  local function linear(n) return nn.Linear(n, n, { bias = false }) end

  it("counts on without a hole where a module is removed", function()
    for _, Class in ipairs { nn.Sequential, nn.ModuleList } do
      local a, b, c = linear(1), linear(2), linear(3)
      local list = Class { a, b }
      list[0] = nil
      list:append(c)
      assert.equal(2, list:len())
      assert.equal(b, list[0])
      assert.equal(c, list[1])
      assert.same({ "0.weight", "1.weight" }, names(list)) -- as after `del list[0]` in PyTorch
      list["1"] = nil
      assert.same({ "0.weight" }, names(list))
      list[-1] = nil
      assert.equal(0, list:len())
    end
    local named = nn.Sequential { { "first", linear(1) }, { "1", linear(2) }, { "last", linear(3) } }
    named[0] = nil
    assert.same({ "0.weight", "last.weight" }, names(named))
    support.refused("name", 'two modules are called "1"', function()
      nn.Sequential({ { "1", linear(1) } }):append(linear(1))
    end)
  end)

  it("runs a module that it has twice twice, and counts it once", function()
    local l, r = linear(2), nn.ReLU()
    local net = nn.Sequential { l, r, l }
    torch.no_grad(function() l.weight:copy_(torch.eye(2) * 2) end)
    assert.equal(3, net:len())
    assert.equal(2, #net:children())
    assert.equal(1, #net:parameters())
    assert.same({ "0.weight", "2.weight" }, names(net))
    assert.same({ { 4, 4 } }, net(torch.ones(1, 2)):tolist())
    local seen, calls = {}, 0
    for name in net:named_children() do seen[#seen + 1] = name end
    assert.same({ "0", "1" }, seen)
    net:apply(function() calls = calls + 1 end)
    assert.equal(3, calls)
    assert.equal(3, nn.ModuleList():extend(net):len())
    local paths = {}
    for name in net:named_parameters { remove_duplicate = false, prefix = "p" } do paths[#paths + 1] = name end
    assert.same({ "p.0.weight", "p.2.weight" }, paths)
    assert.same({}, net:parameters { recurse = false })
    assert.same({}, ls.Model(net):parameters { recurse = false })
  end)

  it("refuses names that its methods or its mode have", function()
    local Own = nn.Module "Own"
    function Own:grow() end -- luacheck: no unused args
    for _, name in ipairs { "training", "init", "parameters", "batch_axis", "dynamic", "_values", "_record" } do
      for _, make in ipairs {
        function() nn.Sequential { { name, nn.ReLU() } } end, function() nn.ModuleDict { { name, nn.ReLU() } } end,
      } do
        support.refused("name", "the name is taken by a", make)
      end
    end
    support.refused("name", "taken by a field that all modules have", function() Own().training = nn.ReLU() end)
    support.refused("name", "taken by a method of its class", function() nn.Sequential { { "forward", nn.ReLU() } } end)
    for _, name in ipairs { "len", "each", "append", "extend" } do
      support.refused("name", "taken by a method of its class", function() nn.Sequential { { name, nn.ReLU() } } end)
    end
    support.refused("name", "taken by a method of its class", function() nn.ModuleDict { keys = nn.ReLU() } end)
    support.refused("name", "taken by a method of its class", function() Own().grow = nn.ReLU() end)
    support.refused("name", "taken by a method of its class", function() Own().grow = nn.Parameter(torch.ones(1)) end)
    for _, wrong in ipairs { "yes", 1, {} } do
      support.refused("argument", "training is true or false", function() Own().training = wrong end)
      support.refused("argument", "on is true or false", function() Own():train(wrong) end)
    end
  end)

  it("refuses what it would leave out", function()
    support.refused("argument", "in order, not by name: act", function() nn.Sequential { linear(1), act = nn.ReLU() } end)
    support.refused("argument", "nn.ModuleDict takes modules by name", function() nn.ModuleList { act = nn.ReLU() } end)
    support.refused("argument", "takes a list of modules, not a number", function() nn.ModuleList():extend(3) end)
    support.refused("argument", "takes a list of modules, not a module", function() nn.ModuleList(nn.ReLU()) end)
    support.refused("argument", "one list of modules, or modules one by one", function()
      nn.Sequential({ linear(1) }, nn.ReLU())
    end)
    support.refused("argument", "not a module or a pair", function() nn.Sequential { { "a", linear(1), nn.ReLU() } } end)
    support.refused("argument", "have to be pairs", function() nn.ModuleDict { { "a", linear(1), nn.ReLU() } } end)
    support.refused("name", 'two modules are called "a"', function()
      nn.ModuleDict { { "a", linear(1) }, { "a", linear(2) } }
    end)
    support.refused("name", 'two modules are called "a"', function() nn.ModuleDict { { "a", linear(1) }, a = linear(2) } end)
  end)
end)
