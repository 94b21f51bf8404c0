-- Generations in which a layer runs in one step and not in another (case 1.5): never a number from keys that were not computed.
local ls = require "luasight"
local loader = require "luasight.lm.loader"
local support = require "spec.support"
local torch = ls.torch

local function tiny(name) return ls.LanguageModel(loader.network("spec/reference/families/" .. name, { dtype = "float32" })) end

---Generates three tokens; `act` is called in the steps `from` to `to`.
local function generate(model, act, from, to, options)
  options = options or {}
  options.max_new_tokens = 3
  return model:generate({ { 3, 4, 5 }, { 6, 7 } }, options, function(tracer)
    for step in tracer:iter(0, 3) do
      if step >= from and step <= to then act() end
    end
    return model.generator.output
  end):tolist()
end

describe("a layer that is left out in one step of a generation", function()
  for name, acts in pairs {
    ["a skipped block"] = function(model) model.model.layers[1]:skip(ls.tuple(model.model.layers[0].output[0])) end,
    ["a replaced block"] = function(model) model.model.layers[1].output = ls.tuple(model.model.layers[0].output[0] * 1) end,
    ["a skipped attention"] = function(model)
      model.model.layers[1].self_attn:skip(ls.tuple(model.model.layers[0].output[0] * 0))
    end,
  } do
    it("case 1.5: is refused where a later step would read its keys from the cache: " .. name, function()
      local model = tiny "llama"
      local function act() acts(model) end
      for _, options in ipairs { {}, { num_beams = 2 } } do
        support.refused("state", "step 1 reads in layer 1 what step 0 would have left in the cache", function()
          generate(model, act, 0, 0, options)
        end)
      end
      support.refused("state", "step 2 reads in layer 1 what step 1 would have left in the cache", function()
        generate(model, act, 1, 1)
      end)
    end)

    it("case 1.5: is none where it is left out in all steps, in the last, or without a cache: " .. name, function()
      local model = tiny "llama"
      local function act() acts(model) end
      assert.same(generate(model, act, 0, 2, { use_cache = false }), generate(model, act, 0, 2))
      generate(model, act, 2, 2)
      generate(model, act, 0, 0, { use_cache = false })
    end)
  end

  it("case 1.5: may have its output edited, since its keys are computed all the same", function()
    local model = tiny "llama"
    local function act() model.model.layers[1].self_attn.output[0] = model.model.layers[0].output[0] * 0 end
    assert.same(generate(model, act, 0, 0, { use_cache = false }), generate(model, act, 0, 0))
  end)

  it("case 1.5: is refused in a state space too", function()
    local model = tiny "mamba"
    local function act() model.backbone.layers[1]:skip(ls.tuple(model.backbone.layers[0].output[0] * 1)) end
    support.refused("state", "step 1 reads in layer 1 what step 0 would have left in the cache", function()
      generate(model, act, 0, 0)
    end)
    assert.same(3, torch.tensor(generate(model, act, 0, 2)).shape[1] - 3)
  end)

  it("case 1.5: is refused where an attention to an encoder alone is left out in step 0 and runs later", function()
    local model = tiny "t5-old"
    local cross = model.decoder.block[0].layer[1]
    for _, act in ipairs { function() cross:skip(ls.tuple(cross.input[0][0] * 1)) end,
      function() cross.EncDecAttention:skip(ls.tuple(cross.layer_norm.output * 0)) end } do
      for _, options in ipairs { {}, { num_beams = 2 } } do
        support.refused("state", "step 1 reads in layer 0 what step 0 would have left in the cache", function()
          generate(model, act, 0, 0, options)
        end)
      end
      assert.same(generate(model, act, 0, 2, { use_cache = false }), generate(model, act, 0, 2))
      generate(model, act, 1, 1)
      generate(model, act, 0, 0, { use_cache = false })
    end
  end)
end)

describe("keys and values that a script changes in place in each step", function()
  for _, name in ipairs { "llama", "gpt_neo", "t5-old" } do
    it("are changed for that step alone, with a cache as without: " .. name, function()
      local model = tiny(name)
      local function logits(use_cache)
        local seen = {}
        local options = { max_new_tokens = 4, eos_token_id = false, use_cache = use_cache }
        model:generate({ { 5, 6, 7 }, { 8, 9, 3 } }, options, function(tracer)
          for step in tracer:iter(0, 4) do
            local places = { model.layers[0] }
            if name == "t5-old" then places[2] = model.decoder.block[0].layer[1].EncDecAttention end
            for _, place in ipairs(places) do
              place.k:mul_(3)
              place.v[":, :, 0"] = 5
            end
            seen[step + 1] = model.output.logits[":, -1"]:save()
          end
        end)
        return seen
      end
      local cached, whole = logits(true), logits(false)
      for step = 1, 4 do support.near(whole[step].value, cached[step].value, "step " .. step - 1, "whole_model") end
    end)
  end
end)
