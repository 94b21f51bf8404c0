-- Steering: a vector added to the residual stream turns a generation from languages to capitals.
--   bin/luasight examples/steering.lua [--out FILE]
--
-- The model in the box continues "Spain : Spanish , France :" with French and "Spain : Madrid , France :" with Paris. The
-- mean difference of its residual stream between such prompts is a direction that means "capital, not language". It is
-- found on some countries and tried on others.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local countries = require "data.countries"
local out = require "data.arguments".out()

local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, block = model.tokenizer, model.transformer.h[1]
local seen, unseen = countries.seen, countries.unseen

-- The direction: where the last position is behind block 1, in the mean over prompts of each kind.
local function mean_stream(prompts)
  return model:trace(prompts, function() return block.output[0][":, -1"]:mean(0) end) -- C
end
local direction = mean_stream(countries.prompts(seen, "capital")) - mean_stream(countries.prompts(seen, "language"))

-- Does it work on countries that it was not made from? The answers to questions for the language, with a vector added.
local questions = countries.prompts(unseen, "language")
local function answers(vector)
  return model:trace(questions, function()
    block.output[0][":, -1"] = block.output[0][":, -1"] + vector
    return model.output.logits[":, -1"]:argmax(-1)
  end):tolist()
end

print(("%d countries gave the direction, %d others are asked for their language:"):format(#seen, #unseen))
print("  vector added             says the language   says the capital")
local function report(name, vector)
  local ids = answers(vector)
  local language = countries.share(ids, unseen, "language", tokenizer)
  local capital = countries.share(ids, unseen, "capital", tokenizer)
  print(("  %-24s %8.0f %%          %8.0f %%"):format(name, 100 * language, 100 * capital))
  return language, capital
end
local scales, by_language, by_capital = { 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4 }, {}, {}
for i, scale in ipairs(scales) do
  by_language[i], by_capital[i] = report(("%g times the direction"):format(scale), direction * scale)
end
ls.torch.manual_seed(0)
local random = ls.torch.randn(#direction)
report("a random one, as long", random * (direction:norm() / random:norm()))

-- A generation: the vector is added at every step, at the token that is read there.
local function generate(scale)
  local text
  model:generate(questions[1], { max_new_tokens = 3 }, function(tracer)
    for _ in tracer:all() do block.output[0][":, -1"] = block.output[0][":, -1"] + direction * scale end
    text = tracer.generator.output:save()
  end)
  return tokenizer:decode(text["0"])
end
print(("\nas it is: %s\nsteered:  %s\n"):format(generate(0), generate(1.5)))

ls.plot.line({ by_language, by_capital }, { title = "Answers of a model that is asked for languages", labels = scales,
  x = "times the direction is added behind block 1", y = "share of answers", legend = { "language", "capital" },
  range = { 0, 1 } }):show(out)
