-- What traces hold while they run and afterwards, in bytes of a process of their own (the size now, and the largest it had)
-- and in handles. Large blocks go back to the system at once there, so the sizes are those of what is held.
local ls = require "luasight"
local support = require "spec.support"
local torch, nn = ls.torch, ls.nn

local MB = 1024 -- sizes are in kB

local prelude = [[
local ls = require "luasight"
local torch, nn = ls.torch, ls.nn
torch.set_num_threads(1)
torch.manual_seed(1)
collectgarbage "stop" -- what a run lets go, it lets go without the collector
local function status(key)
  for line in io.lines "/proc/self/status" do
    local size = line:match("^" .. key .. ":%s*(%d+)")
    if size then return tonumber(size) end
  end
end
local function now() return status "RssAnon" or status "VmRSS" end -- without the pages of libraries
local function peak() return status "VmHWM" - status "VmRSS" + now() end
---A stack of layers whose outputs are so many MB each.
local function stack(layers, size)
  local list = {}
  for i = 1, layers do list[i] = nn.ReLU() end
  return ls.Model(nn.Sequential(unpack(list))), torch.rand(1024, 256 * size)
end
---The size when what nobody holds is gone.
local function settled()
  for _ = 1, 2 do collectgarbage() end
  return now()
end
]]

---What a script in a process of its own prints: numbers.
local function measure(script)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(prelude, script)
  file:close()
  local text = support.output("env MALLOC_MMAP_THRESHOLD_=65536 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_ARENA_MAX=1 bin/luasight "
    .. path)
  os.remove(path)
  local numbers = {}
  for number in text:gmatch "%S+" do
    numbers[#numbers + 1] = assert(tonumber(number), text)
  end
  return unpack(numbers)
end

describe("the size of a process #slow", function()
  if (os.getenv "LD_PRELOAD" or ""):find "asan" then
    pending("with traces (a sanitizer keeps what was freed)")
    return
  end

  it("at its largest is that of the plain batch, where many invokes save one logit each", function()
    -- A GPT-2 whose activations and logits are far larger than its weights.
    local gpt2 = [[
      local gpt2 = require "luasight.models.gpt2"
      local net = gpt2.new { vocab_size = 2000, n_positions = 128, n_embd = 128, n_layer = 3, n_head = 4 }
      net:requires_grad_(false)
      local model, N, T = ls.LanguageModel(net), 48, 128
      local ids = torch.randint(0, 2000, { N, T })
      model(ids["0:1"])
      local before = now()
    ]]
    local plain = measure(gpt2 .. "local out = model(ids) print(peak() - before)")
    local invokes = measure(gpt2 .. [[
      local saved = {}
      model:trace(function(tracer)
        for i = 0, N - 1 do
          tracer:invoke(ids[("%d:%d"):format(i, i + 1)], function() saved[i] = model.output.logits["0, -1, 5"]:save() end)
        end
      end)
      for i = 0, N - 1 do assert(saved[i]:is_set()) end
      print(peak() - before)
    ]])
    assert.is_true(plain > 48 * MB, plain .. " kB")
    assert.is_true(invokes <= 1.2 * plain, ("%d kB, the plain batch %d kB"):format(invokes, plain))
  end)

  it("afterwards has grown by what was saved, while the run held little more", function()
    local before, at_most, after, released, live = measure [[
      local model, x = stack(40, 1)
      model:trace(x, function() return model.output["0, 0"] end)
      local before = settled()
      local live = ls.live()
      local saved = {}
      model:trace(x, function()
        for i = 0, 11 do saved[i] = model[3 * i].output:save() end
        for i = 0, 39 do local h = model[i].output * 2 end
        saved.last = model.output["0, 0"]:clone():save()
      end)
      local after = now()
      local at_most = peak()
      for i = 0, 11 do assert(saved[i].shape[0] == 1024) end
      saved = nil
      local released = settled()
      print(before, at_most, after, released, ls.live() - live)
    ]]
    assert.is_true(after - before >= 12 * MB and after - before < 13 * MB, after - before .. " kB")
    assert.is_true(at_most - before < 20 * MB, at_most - before .. " kB")
    assert.is_true(released - before < 2 * MB, released - before .. " kB")
    assert.equal(0, live)
  end)

  it("is what it was after a trace that failed, was stopped or was abandoned, whatever the script still holds", function()
    local failed, stopped, abandoned, run, raised = measure [[
      local model, x = stack(40, 1)
      local values = {} -- the script holds on to all handles; what they stand for is gone
      local function all(tracer)
        for i = 0, 19 do values[#values + 1] = model[i].output * 2 end
        return values[#values]
      end
      local function open()
        local t = model:tracer(x)
        assert(all().shape[0] == 1024) -- stands in the middle, with all that is held
        assert(now() > before + 10 * 1024)
        return t
      end
      model(x)
      before = settled()
      local ok, problem = pcall(model.trace, model, x, function()
        all():save()
        assert(values[#values]:sum():item())
        model[30].output:matmul(torch.ones(3, 3)):save()
      end)
      assert(not ok and problem.message:find "matmul failed", problem)
      ok, problem = nil, nil
      local failed = settled() - before
      model:trace(x, function(tracer)
        all()
        tracer:stop()
        values[#values + 1] = model.output:save()
      end)
      local stopped = settled() - before
      open():abandon()
      local abandoned = settled() - before
      open():run()
      local run = settled() - before
      ok, problem = pcall(model.trace, model, x, function()
        assert(all().shape[0] == 1024)
        error "mine"
      end)
      assert(not ok and problem:find "mine", problem)
      print(failed, stopped, abandoned, run, settled() - before)
    ]]
    for what, size in pairs { failed = failed, stopped = stopped, abandoned = abandoned, run = run, raised = raised } do
      assert.is_true(size < 1 * MB, ("%s: %d kB more"):format(what, size))
    end
  end)

  it("after a session has grown by what was saved in it", function()
    local after, failed = measure [[
      local model, x = stack(10, 1)
      model(x)
      local before = now()
      local h, out
      local function session(ends)
        ls.session(function()
          for k = 1, 10 do
            model:trace(x, function()
              if h then model[2].output = model[2].output + h end
              h = model[8].output
              out = k == 10 and model.output:save()
            end)
          end
          ends()
        end)
      end
      session(function() end)
      assert(out.shape[0] == 1024)
      local after = now() - before
      h, out = nil, nil
      settled()
      assert(not pcall(session, error))
      print(after, settled() - before)
    ]]
    assert.is_true(after >= 1 * MB and after < 3 * MB, after .. " kB")
    assert.is_true(failed < 2 * MB, failed .. " kB")
  end)

  it("stays bounded in a sweep of 2,000 traces that nobody collects after", function()
    local grown, live = measure [[
      collectgarbage "restart"
      local model, x = stack(3, 0.25)
      model(x)
      local before, h, out = now(), nil, nil
      for k = 1, 2000 do
        model:trace(x, function()
          h = model[0].output:save()
          model[1].output = model[1].output * k
          out = model.output:save()
        end)
        assert(h:sum() and out.shape[0] == 1024)
      end
      local grown = peak() - before -- of 1 GB that was saved
      h, out = nil, nil
      print(grown, settled() - before)
    ]]
    assert.is_true(grown < 300 * MB, grown .. " kB")
    assert.is_true(live < 16 * MB, live .. " kB")
  end)
end)

describe("handles", function()
  local function settled()
    collectgarbage()
    collectgarbage()
    return ls.live()
  end

  local function small()
    local net = nn.Sequential { { "layer1", nn.Linear(5, 10) }, { "layer2", nn.Linear(10, 2) } }
    net:requires_grad_(false)
    local model, x = ls.Model(net), torch.rand(1, 5)
    model:trace(x, function() return model.output end)
    return model, x
  end

  it("of saved values are let go one by one, and those of unsaved ones hold nothing", function()
    local model, x = small()
    local before = settled()
    local a, b, unsaved
    model:trace(x, function()
      a, b = model.layer1.output:save(), model.layer2.output:save()
      unsaved = model.layer1.output * 3
    end)
    local both = a:sum() + b:sum()
    assert.equal("float32", both.dtype)
    both = nil -- luacheck: ignore
    assert.is_true(settled() <= before + 4) -- two tensors, the ended graph of `unsaved` and its trace
    assert.is_false(unsaved:is_set())
    unsaved = nil -- luacheck: ignore
    local two = settled()
    assert.equal(before + 2, two)
    a = nil -- luacheck: ignore
    assert.equal(before + 1, settled())
    assert.equal(2, b.shape[1])
  end)

  it("are back to their number after traces that stopped, failed, raised or were abandoned", function()
    local model, x = small()
    local cases = {
      function()
        model:trace(x, function(tracer)
          model.layer1.output:save()
          tracer:stop()
          model.output:save()
        end)
      end,
      function() pcall(model.trace, model, x, function() model.layer1.output:matmul(torch.ones(3, 3)):save() end) end,
      function() pcall(model.trace, model, x, function() error { model.output:save() } end) end,
      function()
        local t = model:tracer(x)
        assert.equal(10, model.layer1.output.shape[1])
        model.layer2.output = model.layer2.output * 2
        t:abandon()
      end,
      function()
        support.refused("shape", "cannot be one batch", function()
          model:trace(function(tracer)
            tracer:invoke(x, function() model.layer1.output[":"] = 0 end)
            tracer:invoke(torch.rand(2, 7), function() model.output:save() end)
          end)
        end)
      end,
      function()
        support.refused("torch", "matmul failed", function()
          ls.session(function()
            model:trace(x, function() model.output:save() end)
            model:trace(x, function() model.layer1.output:matmul(torch.ones(3, 3)):save() end)
          end)
        end)
      end,
    }
    for i, case in ipairs(cases) do
      case()
      local before = settled()
      for _ = 1, 5 do case() end
      assert.equal(before, settled(), "case " .. i)
    end
    assert.equal(2, model(x).shape[1])
  end)
end)
