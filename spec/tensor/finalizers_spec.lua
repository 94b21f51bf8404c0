-- Finalizers that call operators, whatever they interrupt: calls, small heaps, the end of a process.
local ls = require "luasight"
local support = require "spec.support"
local torch, nn = ls.torch, ls.nn

local function small()
  local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) } }
  net:requires_grad_(false)
  return ls.Model(net), net, torch.tensor { { 1, 2 } }
end

local temporary = support.temporary

describe("a finalizer that calls operators", function()
  -- The collector runs a finalizer at any moment. A hook that counts instructions interrupts as a finalizer does, and
  -- does it everywhere: `during` calls f while `work` comes in between every so many instructions.
  local function during(every, work, f)
    local runs, problem = 0, nil
    jit.off()
    debug.sethook(function()
      runs = runs + 1
      local ok, why = pcall(work)
      if not ok then problem = problem or why end
    end, "", every)
    local ok, why = pcall(f)
    debug.sethook()
    jit.on()
    if not ok then error(why, 0) end
    assert.is_nil(problem)
    assert.is_true(runs > 100, ("it came in between %d times"):format(runs))
  end

  local seven, eight = torch.tensor { { 7, 7 } }, torch.tensor { 8, 8, 8 }
  local function work()
    local y = seven * 2 + 100
    local s = y["0, 1"]
    y[0] = 5
    assert(s:item() == 5 and eight:size(0) == 3 and y.dtype == "float32" and tostring(eight.shape) == "[3]")
    assert(torch.cat({ eight, eight }):sum():item() == 48)
    local low, at = seven:max(-1)
    assert(low[0]:item() == 7 and at:numel() == 1)
    assert(ls.tuple(eight, 1)[0]:sum():item() == 24)
  end

  it("5.6: does not change what another call was given or gives", function()
    during(41, work, function()
      local x = torch.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
      for i = 1, 6 do
        assert((x + i):sum():item() == 21 + 6 * i)
        assert((x * 2)["1, 2"]:item() == 12)
        assert(x.shape[0] == 2 and x:size(1) == 3 and x:dim() == 2 and x:numel() == 6)
        local y = x:clone()
        y[{ 0, { 0, 2 } }] = i
        assert(y:sum():item() == 18 + 2 * i)
        local high, at = x:max(1)
        assert(high:sum():item() == 9 and at:sum():item() == 4)
        assert(torch.cat({ x, x, y }, 0):size(0) == 6)
        assert(torch.full({ 2, 2 }, i, { dtype = "int64" })[1][1]:item() == i)
        local pair = ls.struct { { "x", x }, { "i", i } }
        assert(pair.i == i and pair.x:sum():item() == 21)
      end
      assert(tostring(x) == "tensor([[1., 2., 3.],\n        [4., 5., 6.]])")
    end)
  end)

  it("5.6: does not change a trace that is recorded or runs, though it traces itself", function()
    local model, net, x = small()
    local other, other_net = small()
    local right = other_net.a(x)
    local want = net.b(net.a(x) * 2)
    model(x) -- no finalizer comes in between while a forward is recorded, since the collector stands still meanwhile
    other(x)
    during(97, function()
      local seen = other:trace(x, function() return other.a.output end)
      assert(torch.equal(seen, right))
      work()
    end, function()
      for _ = 1, 12 do
        local seen, sum = model:trace(x, function()
          local h = model.a.output
          model.a.output = h * 2
          return model.output, h.shape[1] + model.b.output:sum():item()
        end)
        assert(torch.equal(seen, want))
        assert(sum == 2 + want:sum():item())
      end
    end)
  end)
end)

describe("finalizers of a process with a small heap", function()
  local script = [[
local ls = require "luasight"
local torch = ls.torch
local seven, runs, problem = torch.tensor { { 7, 7 } }, 0, nil
local function arm()
  getmetatable(newproxy(true)).__gc = function()
    runs = runs + 1
    local y = seven * 2 + 100
    local low, at = y:max(-1)
    if y["0, 1"]:item() ~= 114 or low[0]:item() ~= 114 or at:size(0) ~= 1 then problem = "a finalizer has wrong numbers" end
    if runs < 600 then arm() end
  end
end
if arg[1] == "interpreted" then jit.off() end
collectgarbage()
collectgarbage("setpause", 10)
for _ = 1, 40 do arm() end
local x = torch.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
local rounds = 0
while runs < 600 do
  rounds = rounds + 1
  for i = 1, 50 do
    assert((x + i):sum():item() == 21 + 6 * i)
    assert((x * 2)["1, 2"]:item() == 12 and x.shape[0] == 2 and x:numel() == 6)
    local high, at = x:max(1)
    assert(high:sum():item() == 9 and at:sum():item() == 4)
    assert(torch.full({ 2, 2 }, i, { dtype = "int64" })[1][1]:item() == i)
    local y = x:clone()
    y[{ 0, { 0, 2 } }] = i
    assert(y:sum():item() == 18 + 2 * i)
  end
  assert(rounds < 2000, "the collector does not come")
end
print(problem or "right")
]]

  for _, how in ipairs { "interpreted", "compiled" } do
    it("5.6: change nothing of the calls that they interrupt, where code is " .. how, function()
      temporary(function(path)
        local file = assert(io.open(path, "w"))
        file:write(script)
        file:close()
        assert.equal("right\n", (support.run("bin/luasight " .. path .. " " .. how .. " 2>&1")))
      end)
    end)
  end
end)

describe("finalizers that ask for texts, in a process with a small heap", function()
  local script = [[
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
local m, x = ls.Model(nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) } }), torch.ones(1, 2)
local tokenizer = ls.LanguageModel "models/pretrained/ioi".tokenizer
local one, two = m:tracer(x), m:tracer(x)
for i = 1, 40 do local _ = two.output * i end
local function texts(t, text)
  local ids = tokenizer:encode(text)
  return tostring(t:graph()) .. t:graph():json() .. table.concat(ids, " ") .. tokenizer:decode(ids)
end
local short, long = texts(one, "hot : cold"), texts(two, ("hot : cold , big : small "):rep(40))
local runs, problem = 0, nil
local function arm()
  getmetatable(newproxy(true)).__gc = function()
    runs = runs + 1
    if texts(two, ("hot : cold , big : small "):rep(40)) ~= long then problem = "a finalizer has another text" end
    if runs < 300 then arm() end
  end
end
collectgarbage()
collectgarbage("setpause", 10)
for _ = 1, 20 do arm() end
for _ = 1, 5000 do
  if runs >= 300 then break end
  assert(texts(one, "hot : cold") == short)
end
print(problem or runs >= 300 and "right" or "the collector does not come")
]]

  it("5.6: change no text that they interrupt", function()
    temporary(function(path)
      support.write(path, script)
      assert.equal("right\n", (support.run("bin/luasight " .. path .. " 2>&1")))
    end)
  end)
end)

describe("the error of a call", function()
  local script = [[
local ls = require "luasight"
local torch = ls.torch
local two, three, runs, over = torch.ones(2), torch.ones(3), 0, false
local function arm()
  getmetatable(newproxy(true)).__gc = function()
    runs = runs + 1
    local ok, e = pcall(torch.matmul, two, three)
    if not over and (ok or not tostring(e):find("matmul", 1, true)) then print("a finalizer has another error", e) end
    if runs < 3000 then arm() end
  end
end
if arg[1] == "interpreted" then jit.off() end
collectgarbage()
collectgarbage("setpause", 10)
for _ = 1, 200 do arm() end
local rounds = 0
while runs < 3000 do
  rounds = rounds + 1
  local ok, e = pcall(torch.add, two, three)
  if ok or e.code ~= "torch" or not tostring(e):find("add failed: The size of tensor a (2)", 1, true) then print(e) end
  assert(rounds < 50000, "the collector does not come")
end
over = true
]]

  for _, how in ipairs { "interpreted", "compiled" } do
    it("is not replaced by that of a finalizer's call which fails meanwhile, where code is " .. how, function()
      temporary(function(path)
        support.write(path, script)
        assert.equal("", (support.run("bin/luasight " .. path .. " " .. how .. " 2>&1")))
      end)
    end)
  end
end)

describe("a finalizer at the end of a process", function()
  it("gets an error where it traces, encodes or ends a trace, before anything is released and after", function()
    temporary(function(path)
      support.write(path, [[
local ls = require "luasight"
local ffi = require "ffi"
local net = ls.nn.Sequential { { "a", ls.nn.Linear(2, 2) } }
local m, x = ls.Model(net), ls.torch.ones(1, 2)
local tokenizer = ls.LanguageModel "models/pretrained/ioi".tokenizer
local t = m:tracer(x)
local said, over = {}, "luasight cannot be used any more: the program ends, and what it used is released"
local function work()
  for _, f in ipairs { function() m:trace(x, function() end) end, function() tokenizer:encode "hot" end,
    function() t:run() end } do
    local ok, e = pcall(f)
    local text = ok and "no error" or type(e) == "table" and e.message or e
    if text == "this trace has already ended" then text = over end -- the trace that the end of the state has taken away
    if not said[text] then print(text) end
    said[text] = true
  end
end
work() -- while there is no end: the last one ends the trace that was left open
t = m:tracer(x)
pointers = {}
for i = 1, 100 do pointers[i] = ffi.gc(ffi.new "int[1]", work) end
]])
      assert.equal("no error\nluasight cannot be used any more: the program ends, and what it used is released\n",
        (support.run("bin/luasight " .. path .. " 2>&1")))
    end)
  end)

  it("5.6: finds a handle whose own finalizer has run released, not its memory", function()
    temporary(function(path)
      local file = assert(io.open(path, "w"))
      file:write [[
local ls = require "luasight"
local seven = ls.torch.tensor { { 7, 7 } }
for i = 1, 50 do
  getmetatable(newproxy(true)).__gc = function()
    local ok, said = pcall(function() return (seven * 2):sum():item() end)
    if (ok and said ~= 28) or (not ok and not tostring(said):find("released", 1, true)) then print(ok, said) end
  end
end
]]
      file:close()
      assert.equal("", (support.run("bin/luasight " .. path .. " 2>&1")))
    end)
  end)

  -- The finalizers of a Lua state that is closed run in any order, before and after those of what they use.
  local script = [[
local early = {}
for i = 1, 10 do early[i] = newproxy(true) end
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
local net = nn.Sequential { { "a", nn.Linear(2, 2) }, { "b", nn.Linear(2, 2) } }
net:requires_grad_(false)
local m, x = ls.Model(net), torch.tensor { { 1, 2 } }
local edited = m:edit(function() m.a.output[":"] = 0 end)
local t = m:tracer(x)
local tokenizer = ls.LanguageModel "models/pretrained/ioi".tokenizer
local works = {
  function() return m:trace(x, function() return m.output end) end,
  function() return m(x) end,
  function() return net(x) end,
  function() return edited(x) end,
  function() return t:graph() end,
  function() t:run() end,
  function() t:abandon() end,
  function() return tokenizer:encode "hot : cold" end,
  function() return tokenizer:decode { 1, 2 } end,
  function() return m.a:points(x) end,
  function() m:save_edits "/nowhere/edits" end,
}
local function work()
  for i, f in ipairs(works) do
    local ok, problem = pcall(f)
    if not ok and type(problem) ~= "table" then print(i, problem) end
  end
end
local mode, rounds = arg[1], tonumber(arg[2])
for _ = 1, rounds do
  for i, f in ipairs(works) do if i < 5 or i == 8 or i == 9 then f() end end
end
for i = 1, 10 do getmetatable(early[i]).__gc = work end
for i = 1, 10 do getmetatable(newproxy(true)).__gc = work end
local ffi = require "ffi"
pointers = {}
for i = 1, 10 do pointers[i] = ffi.gc(ffi.new "int[1]", work) end
if mode == "error" then error "mine" end
if mode == "exit" then os.exit(3) end
if mode == "close" then os.exit(3, true) end
]]

  for mode, status in pairs { normal = 0, error = 1, exit = 3, close = 3 } do
    it("5.6: may trace, run and encode, where the process ends by way of " .. mode, function()
      temporary(function(path)
        support.write(path, script)
        local rounds = mode == "normal" and 100 or 1 -- with 100, the finalizers run compiled code
        local said = support.run(("ASAN_OPTIONS=detect_leaks=0 bin/luasight %s %s %d 2>&1; echo $?"):format(path, mode, rounds))
        assert.equal(status .. "\n", (said:gsub("^luasight: [^\n]*: mine\n", "")))
      end)
    end)
  end
end)
