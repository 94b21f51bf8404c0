-- Measures luasight on a GPT-2: luasight spec/bench/product.lua MODEL_FOLDER [cold]
-- Prints lines `luasight <metric> <value>`; the end of a metric's name is its unit, smaller is better. Times are minima
-- over repeats. With `cold` it does one logit lens and ends, to be timed from outside.
local ls = require "luasight"
local system = require "luasight.ffi.system"
local torch, nn = ls.torch, ls.nn

local PROMPT = "When Mary and John went to the store, John gave a drink to"
local CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
local folder, cold = arg[1], arg[2] == "cold"
if not folder then error("usage: luasight spec/bench/product.lua MODEL_FOLDER [cold]", 0) end

local model = ls.LanguageModel(folder)
local blocks, head, norm = model.transformer.h, model.lm_head, model.transformer.ln_f

local function lens()
  local probabilities = {}
  model:trace(PROMPT, function()
    for i, block in blocks:each() do
      probabilities[i] = head(norm(block.output[0]))["0, -1"]:softmax(-1):save()
    end
  end)
  return probabilities
end

if cold then
  lens()
  return
end

-- ---- measuring -------------------------------------------------------------------------------------------------------

local scale = { us = 1e6, ms = 1e3 }

---Prints the least time of each of several jobs, which take turns, so that all see the same states of the machine. Each turn
---begins without what the one before left to the collector: what that gives back to the system has to be had from it again.
---Every second round goes the other way, since what ran before makes a difference of a hundredth.
---@param rounds integer
---@param repeats integer  calls of a job in each of its turns
---@param jobs { [1]: string, [2]: fun(): ... }[]  metric and work
---@param parts integer?  of a job: what is printed is the time of one
local function measure(rounds, repeats, jobs, parts)
  local least = {}
  for round = 0, rounds do -- round 0 warms up
    for k = 1, #jobs do
      local i = round % 2 == 0 and k or #jobs + 1 - k
      local job = jobs[i]
      collectgarbage()
      for _ = 1, repeats do
        local start = system.now()
        job[2]()
        if round > 0 then least[i] = math.min(least[i] or math.huge, system.now() - start) end
      end
    end
  end
  for i, job in ipairs(jobs) do
    local one = least[i] / (parts or 1) * scale[job[1]:match "_(%a+)$"]
    print(("luasight %s %.4f"):format(job[1], one))
  end
  io.stdout:flush()
end

local function peak_mb()
  for line in io.lines "/proc/self/status" do
    local kilobytes = line:match "^VmHWM:%s*(%d+)"
    if kilobytes then return tonumber(kilobytes) / 1024 end
  end
end

-- ---- a small network -------------------------------------------------------------------------------------------------

local net = nn.Sequential { { "layer1", nn.Linear(5, 10) }, { "layer2", nn.Linear(10, 2) } }
net:requires_grad_(false)
local tiny, x = ls.Model(net), torch.rand(1, 5)
local a, b -- luacheck: ignore 231

measure(8, 500, {
  { "tiny_forward_us", function() return tiny(x) end },
  { "tiny_empty_us", function() return tiny:trace(x, function() return tiny.output end) end },
  { "tiny_read_us", function()
    tiny:trace(x, function() a, b = tiny.layer1.output:save(), tiny.layer2.output:save() end)
  end },
  { "tiny_edit_us", function()
    tiny:trace(x, function()
      tiny.layer1.output[":, 0"] = 0
      a = tiny.output:save()
    end)
  end },
})

-- ---- the language model ----------------------------------------------------------------------------------------------

local ids, corrupt = model.tokenizer:encode(PROMPT), model.tokenizer:encode(CORRUPT)
local answer, wrong = model.tokenizer:encode(" Mary")[1], model.tokenizer:encode(" John")[1]
local layers, positions = #blocks, #ids
local prompt = torch.tensor({ ids }, { dtype = "int64" })
local long = torch.arange(256):unsqueeze(0)

local function resid()
  local kept = {}
  model:trace(prompt, function()
    for i, block in blocks:each() do kept[i] = block.output[0]:save() end
    kept.logits = head.output:save()
  end)
  return kept
end

local jobs = {
  { "fwd14_ms", function() return model(prompt) end },
  { "resid_ms", resid },
  { "stop_ms", function() model:trace(prompt, function() a = blocks[2].output[0]:save() end) end },
  { "lens_ms", lens },
}
measure(60, 3, jobs)
if model.config.n_positions >= 256 then measure(12, 3, { { "fwd256_ms", function() return model(long) end } }) end

-- Every patch is an invoke; all of them are the rows of one batch.
local function sweep()
  local clean, differences = {}, {}
  model:trace(prompt, function()
    for i, block in blocks:each() do clean[i] = block.output[0]:save() end
  end)
  model:trace(function(tracer)
    for layer, block in blocks:each() do
      for p = 0, positions - 1 do
        tracer:invoke(corrupt, function()
          block.output[0].t[p] = clean[layer][("0, %d"):format(p)]
          local last = head.output["0, -1"]
          differences[#differences + 1] = (last[answer] - last[wrong]):save()
        end)
      end
    end
  end)
  return differences
end
measure(3, 1, { { "sweep_ms", sweep } })

-- ---- generation and gradients ----------------------------------------------------------------------------------------

local STEPS = 50
local greedy = { max_new_tokens = STEPS, min_new_tokens = STEPS, do_sample = false }
if model.config.n_positions >= positions + STEPS then
  measure(4, 1, {
    { "decode_ms", function() return model:generate(prompt, greedy) end },
    { "decode_read_ms", function()
      local kept = {}
      model:generate(prompt, greedy, function(tracer)
        for step in tracer:all() do kept[step] = blocks[6].output[0][":, -1"]:save() end
      end)
      return kept
    end },
  }, STEPS)
end

measure(4, 1, {
  { "grads_ms", function()
    local gradients = {}
    model:trace(prompt, function()
      local hidden = {}
      for i, block in blocks:each() do hidden[i] = block.output[0] end
      local loss = head.output[("0, -1, %d"):format(answer)]
      for i = 0, layers - 1 do gradients[i] = hidden[i].grad:save() end
      loss:backward()
    end)
    return gradients
  end },
})

print(("luasight peak_mb %.0f"):format(peak_mb()))
