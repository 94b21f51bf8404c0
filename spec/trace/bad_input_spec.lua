-- What goes wrong while a model runs: no memory, Ctrl-C, a body that raises or asks for what is not there. Each is an
-- error of one line with what, where and what next; the process goes on and nothing stays behind. Loading has its own
-- specs: loader, checkpoint, safetensors, tokenizer, language_model.
local ls = require "luasight"
local support = require "spec.support"
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential { { "layer1", nn.Linear(5, 10) }, { "layer2", nn.Linear(10, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), torch.rand(1, 5), net
end

local function failure(f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  assert.is_nil(tostring(e.message):find "\n")
  return e
end

describe("without memory", function()
  it("an operator raises, with what was asked for and what to do", function()
    local e = failure(function()
      local huge = torch.empty(2 ^ 46)
      return huge
    end)
    assert.equal("memory", e.code)
    assert.matches("281474976710656 bytes", e.cause)
    assert.is_nil(e.cause:find "enforce fail")
    assert.truthy(e.hint)
    assert.matches("bad_input_spec", e.file)
  end)

  it("a body raises at its line, and the model still works", function()
    local model, x, net = small()
    local line = debug.getinfo(1, "l").currentline + 3
    local e = failure(function()
      model:trace(x, function()
        local huge = model.layer1.output:expand(2 ^ 38, -1) + 1
        return huge
      end)
    end)
    assert.equal("memory", e.code)
    assert.equal(line, e.line)
    assert.equal("layer1.output", e.point)
    assert.is_true(torch.equal(model(x), net(x)))
  end)
end)

describe("Ctrl-C", function()
  it("stops a run with an error, and the next run is whole", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write [[
      local ls = require "luasight"
      local torch, nn = ls.torch, ls.nn
      local Slow = nn.Module "Slow"
      function Slow:forward(x)
        for _ = 1, 20000 do x = torch.matmul(x, x):tanh() end
        return x
      end
      local model, x = ls.Model(Slow()), torch.randn(256, 256)
      model(torch.ones(1, 1)) -- records forward, so that what takes long is the run
      os.execute("(sleep 1; kill -INT " .. require "ffi".C.getpid() .. ") &")
      local ok, e = pcall(model, x)
      print(ok, e.code, tostring(e):find "\n" == nil)
      local small = ls.Model(nn.Identity())
      print(small(torch.ones(2)):sum():item())
    ]]
    file:close()
    local text = support.run(([[bin/luasight -e 'require "ffi".cdef "int getpid(void);" dofile "%s"' 2>&1]]):format(path))
    os.remove(path)
    assert.equal("false\tinterrupted\ttrue\n2\n", text)
  end)
end)

describe("a body", function()
  it("that raises passes its error on and leaves nothing", function()
    local model, x, net = small()
    local mine = { "mine" }
    local ok, e = pcall(model.trace, model, x, function()
      local _ = model.layer1.output:sum():item()
      model.layer2.output[":"] = 0
      error(mine)
    end)
    assert.is_false(ok)
    assert.equal(mine, e)
    assert.is_true(torch.equal(model(x), net(x)))
  end)

  it("cannot change a parameter in place", function()
    local model, x, net = small()
    local before = net.layer1.weight:clone()
    for _, change in ipairs {
      function() model.layer1.weight:mul_(0) end,
      function() model.layer1.weight[":"] = 0 end,
      function() torch.add_(model.layer1.weight, 1) end,
      function() model.layer1.weight:view(-1):zero_() end,
      function() model.layer1.weight[0]:zero_() end,
      function() model.layer1.weight:t()["0"][":"] = 0 end,
      function() model.layer1.weight = torch.zeros(10, 5) end,
      function() model.layer1.weight:mul_(model.layer1.output:sum()) end,
    } do
      local said = failure(model.trace, model, x, change).message
      assert.is_truthy(said:find "would change .*; clone .* first$" or said:find "can be read in a trace, but not set$", said)
      assert.is_true(torch.equal(before, net.layer1.weight))
    end
    local product = model:trace(x, function() return model.layer1.output:matmul(model.layer1.weight) end)
    assert.is_true(torch.equal(product, net.layer1(x):matmul(net.layer1.weight)))
  end)

  it("that asks for what the model lacks says so at its line", function()
    local model, x = small()
    local e = failure(model.trace, model, x, function() return model.layer1.pattern end)
    assert.equal("name", e.code)
    assert.matches("bad_input_spec", e.file)
    e = failure(model.trace, model, x, function() return model[7].output end)
    assert.matches("no numbered modules", e.message)
  end)

  it("with a wrong input says which module could not take it", function()
    local model, x = small()
    for _, wrong in ipairs { torch.rand(1, 6), torch.arange(5):unsqueeze(0) } do
      local e = failure(function() return (model:trace(wrong, function() return model.layer1.output end)) end)
      assert.equal("layer1.input", e.point)
      assert.truthy(e.cause)
    end
    assert.equal(2, model(x):size(-1))
  end)

  it("of a module that was replaced names the line of the replacement", function()
    local model, x = small()
    local line = debug.getinfo(1, "l").currentline + 2
    local e = failure(function()
      return (model:trace(x, function() model.layer1.output = torch.ones(1, 3) return model.output end))
    end)
    assert.matches(("bad_input_spec.lua:%d"):format(line), e.message, 1, true)
    local box = ls.LanguageModel "models/pretrained/ioi"
    e = failure(function()
      return (box:trace("Mary", function()
        box.layers[1].output[0] = torch.zeros(1, 1, 64)
        return box.output
      end))
    end)
    assert.matches(("see spec/trace/bad_input_spec.lua:%d"):format(line + 6), e.message, 1, true)
  end)
end)

describe("traces in a loop", function()
  if (os.getenv "LD_PRELOAD" or ""):find "asan" then
    pending("leave a process no larger (a sanitizer keeps what was freed)")
    return
  end

  -- How many kB a process grows between two numbers of traces.
  local function growth(first, last)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write((([[
      local ls = require "luasight"
      local torch, nn = ls.torch, ls.nn
      local net = nn.Sequential { { "layer1", nn.Linear(5, 10) }, { "layer2", nn.Linear(10, 2) } }
      local model, x = ls.Model(net), torch.rand(1, 5)
      local function some(n)
        for _ = 1, n do
          model:trace(x, function()
            model.layer1.output[":, 0"] = 0
            return model.layer1.output, model.output
          end)
        end
        local statm = io.open "/proc/self/statm"
        local _, pages = statm:read("*n", "*n")
        statm:close()
        return pages * 4 -- kB
      end
      local before = some(%d)
      print(some(%d) - before)
    ]]):format(first, last - first)))
    file:close()
    local more = tonumber(support.output("bin/luasight " .. path))
    os.remove(path)
    return more
  end

  it("leave a process no larger after 10,000 than after 100, but for what LuaJIT compiles meanwhile", function()
    local more = growth(100, 10000)
    -- of 115,000: compiled code, and what waits for the collector, which lets Lua's heap double
    assert.is_true(more < 1024, more .. " kB more")
  end)

  it("leave a process no larger after 20,000 than after 2,000", function() -- by then LuaJIT has compiled the loop
    local more = growth(2000, 20000)
    assert.is_true(more < 512, more .. " kB more") -- a trace leaves less than 30 bytes
  end)
end)
