-- The key/value cache of GPT-2: with it every step gives what the whole text gives (gpt2_spec compares that with transformers).
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local loader = require "luasight.lm.loader"
local torch = ls.torch

local reference, cases = "spec/reference/gpt2/", { "new", "old", "inverse", "unscaled", "shared-names" }
local LENGTH, PROMPT = 12, 5
local FIRST = { 0, 3, 1 } -- the first real token of each row

local function text()
  torch.manual_seed(5)
  return torch.randint(0, 19, { #FIRST, LENGTH })
end

local function padding()
  local rows = {}
  for i, first in ipairs(FIRST) do
    rows[i] = {}
    for k = 1, LENGTH do rows[i][k] = k > first and 1 or 0 end
  end
  return torch.tensor(rows, { dtype = "int64" })
end

---The arguments of a step that makes the text `S` long; the first one reads the prompt.
local function step(ids, cache, mask, S)
  local continues = S > PROMPT or nil
  local from = continues and S - 1 or 0
  return { input_ids = ids:narrow(1, from, S - from), cache = cache:narrow(4, 0, S), continues = continues,
    attention_mask = mask and mask:narrow(1, 0, S) or nil }, from
end

local function each_step(net, ids, mask, f)
  local cache = net:new_cache(#FIRST, LENGTH)
  for S = PROMPT, LENGTH do f(step(ids, cache, mask, S)) end
end

local threads
setup(function()
  threads = torch.get_num_threads()
  torch.set_num_threads(1) -- faster for small numbers
end)
teardown(function() torch.set_num_threads(threads) end)

describe("a forward with a cache", function()
  for _, case in ipairs(cases) do
    it("gives the logits of the whole text, with padding and without: " .. case, function()
      torch.no_grad(function()
        local net, ids = loader.network(reference .. case), text()
        local whole = net(ids).logits
        each_step(net, ids, nil, function(arguments, from)
          local logits = net(arguments).logits
          near(whole:narrow(1, from, logits.shape[1]), logits, "from " .. from, "order")
        end)
        local mask = padding()
        each_step(net, ids, mask, function(arguments, from)
          local logits = net(arguments).logits
          for i, first in ipairs(FIRST) do
            local alone = net(ids[{ { i - 1, i }, { first } }]).logits
            local start = math.max(from, first)
            local T = from + logits.shape[1] - start
            near(alone[0]:narrow(0, start - first, T), logits[i - 1]:narrow(0, start - from, T), "row " .. i, "order")
          end
        end)
      end)
    end)
  end

  it("is a tensor of the shape L 2 R H N D", function()
    local cache = loader.network(reference .. "new"):new_cache(2, 9)
    assert.equal("[3, 2, 2, 4, 9, 4]", tostring(cache.shape))
    assert.equal("float32", cache.dtype)
  end)

  it("refuses sizes that do not fit", function()
    torch.no_grad(function()
      local net, ids = loader.network(reference .. "new"), text()
      local cache = net:new_cache(3, LENGTH)
      assert.error_matches(function() net { input_ids = ids[":, :5"], cache = cache:narrow(4, 0, 7) } end, "h.0.attn")
      assert.error_matches(function() net { input_ids = ids[":, :1"], cache = cache } end, "h.0.attn")
      assert.error_matches(function() net { input_ids = ids[":, :2"], cache = cache, continues = true } end, "h.0.attn")
      assert.error_matches(function() net { input_ids = ids[":1, :1"], cache = cache, continues = true } end, "h.0.attn")
      assert.error_matches(function() net { input_ids = ids, continues = true } end, "there is no cache")
    end)
  end)
end)

describe("a trace of a step with a cache", function()
  local taps = { "q", "k", "v", "scores", "pattern", "z" }

  local function traced(model, arguments, body)
    return model:trace(arguments, function() return body(model.transformer.h[1].attn) end)
  end

  it("has all taps, k and v over the whole text", function()
    local net, ids = loader.network(reference .. "new"), text()
    local model = ls.Model(net)
    for _, mask in ipairs { false, padding() } do
      mask = mask or nil
      local function all(attn)
        local list = {}
        for i, tap in ipairs(taps) do list[i] = attn[tap] end
        return unpack(list)
      end
      local whole = { traced(model, { input_ids = ids, attention_mask = mask }, all) }
      each_step(net, ids, mask, function(arguments, from)
        local S = arguments.cache.shape[4]
        for i, value in ipairs { traced(model, arguments, all) } do
          local tap, expected = taps[i], whole[i]
          if tap == "k" or tap == "v" then expected = expected:narrow(2, 0, S)
          else expected = expected:narrow(2, from, S - from) end
          if tap == "scores" or tap == "pattern" then expected = expected:narrow(3, 0, S) end
          if mask and from == 0 then expected, value = expected[0], value[0] end -- padding has no numbers that count
          if mask and from > 0 and (tap == "k" or tap == "v") then expected, value = expected[0], value[0] end
          local hidden = expected:isinf()
          assert.is_true(torch.equal(hidden, value:isinf()), tap)
          near(expected:masked_fill(hidden, 0), value:masked_fill(hidden, 0), tap .. " from " .. from, "order")
        end
      end)
    end
  end)

  it("changes the cache by what the model computes, and not by what is set at k or v", function()
    local net, ids = loader.network(reference .. "new"), text()
    local model = ls.Model(net)
    local cache, other = net:new_cache(3, LENGTH), net:new_cache(3, LENGTH)
    for S = PROMPT, PROMPT + 1 do
      local arguments, changed = step(ids, cache, nil, S), step(ids, other, nil, S)
      local z = traced(model, arguments, function(attn) return attn.z end)
      local edited = traced(model, changed, function(attn)
        attn.v[":"] = 0
        attn.k = attn.k * 2
        return attn.z
      end)
      assert.is_true(z:abs():max():item() > 0.01)
      assert.equal(0, edited:abs():max():item())
      assert.is_true(torch.equal(cache["1, :, :, :, " .. S - 1], other["1, :, :, :, " .. S - 1]))
    end
    -- what is set before the cache stays: the next step sees it
    model:trace(step(ids, other, nil, PROMPT + 2), function() model.transformer.h[1].attn.c_attn.output[":"] = 0 end)
    assert.equal(0, other["1, :, :, :, " .. PROMPT + 1]:abs():max():item())
    assert.is_true(other["1, :, :, :, " .. PROMPT]:abs():max():item() > 0)
  end)
end)
