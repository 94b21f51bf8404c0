-- The steps of several invokes in one generation.
local ls = require "luasight"
local near = require "spec.support".near
local loader = require "luasight.lm.loader"

describe("several invokes in a generation", function()
  it("have steps until their own texts end, as each has alone", function()
    local model = ls.LanguageModel(loader.network("spec/reference/families/llama", { dtype = "float32" }))
    local layer = model.model.layers[1]
    for _, options in ipairs { { max_new_tokens = 8, eos_token_id = 1, pad_token_id = 0 },
      { max_new_tokens = 5, eos_token_id = 1, pad_token_id = 0, num_beams = 2, early_stopping = true } } do
      local function body(tracer, seen)
        for step in tracer:all() do
          layer.output[0]["..., 0"] = 3
          seen[step + 1] = layer.output[0]["..., -1, :"]:save()
        end
        return seen
      end
      local alone, beside, ends = {}, {}, {}
      local prompts = { { 7, 3 }, { 4, 5, 6, 7, 8, 9, 3 }, { 11, 2, 9, 15 } }
      for i, prompt in ipairs(prompts) do
        model:generate(prompt, options, function(tracer) alone[i] = body(tracer, {}) end)
      end
      model:generate(options, function(tracer)
        for i, prompt in ipairs(prompts) do tracer:invoke(prompt, function() beside[i] = body(tracer, {}) end) end
      end)
      for i in ipairs(prompts) do
        for step, value in ipairs(alone[i]) do
          assert.equal(value:is_set(), beside[i][step]:is_set())
          if value:is_set() then
            ends[i] = step
            near(value.value, beside[i][step].value, "step " .. step, "whole_model")
          else
            assert.error_matches(function() return beside[i][step].value end, "did not run, since the text ended after "
              .. ends[i] .. " steps")
          end
        end
      end
      assert.is_true(math.min(unpack(ends)) < math.max(unpack(ends)))
    end
  end)
end)
