-- Steering: a vector added to the residual stream turns a generation from languages to capitals.
--   luasight examples/steering.lua [--out picture.svg|png|html]
--
-- The model in the box continues "Spain : Spanish , France :" with French and "Spain : Madrid , France :" with Paris. The
-- mean difference of its residual stream between such prompts is a direction that means "capital, not language". It is
-- found on some countries and tried on others.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local out = require "data.arguments".out

local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, block = model.tokenizer, model.transformer.h[1]

-- ---- prompts -----------------------------------------------------------------------------------------------------------

local relations = require "data.relations"
local capital, language, countries = {}, {}, {}
for _, pair in ipairs(relations[1].pairs) do capital[pair[1]] = pair[2] end
for _, pair in ipairs(relations[2].pairs) do
  if capital[pair[1]] then
    language[pair[1]] = pair[2]
    countries[#countries + 1] = pair[1]
  end
end

-- One prompt for each country of a list; three others of the list are its examples.
local function prompts(list, answers)
  local all = {}
  for i, country in ipairs(list) do
    local text = ""
    for k = 3, 9, 3 do
      local other = list[(i + k - 1) % #list + 1]
      text = ("%s%s : %s , "):format(text, other, answers[other])
    end
    all[i] = text .. country .. " :"
  end
  return all
end

local half = math.floor(#countries / 2)
local seen, unseen = { unpack(countries, 1, half) }, { unpack(countries, half + 1) }

-- ---- the direction -----------------------------------------------------------------------------------------------------

local function mean_stream(list)
  return model:trace(list, function() return block.output[0][":, -1"]:mean(0) end) -- C
end
local direction = mean_stream(prompts(seen, capital)) - mean_stream(prompts(seen, language))

-- ---- does it work on countries that it was not made from? --------------------------------------------------------------

local asks_language = prompts(unseen, language)

-- The share of answers that are the language, and the capital, with the direction added `scale` times.
local function shares(scale)
  local ids = model:trace(asks_language, function()
    block.output[0][":, -1"] = block.output[0][":, -1"] + direction * scale
    return model.output.logits[":, -1"]:argmax(-1)
  end):tolist()
  local right = { language = 0, capital = 0 }
  for i, id in ipairs(ids) do
    local word = tokenizer:decode { id }
    if word == " " .. language[unseen[i]] then right.language = right.language + 1 / #unseen end
    if word == " " .. capital[unseen[i]] then right.capital = right.capital + 1 / #unseen end
  end
  return right
end

print(("%d countries gave the direction, %d others are asked for their language:"):format(#seen, #unseen))
print("  scale   says the language   says the capital")
local scales, by_language, by_capital = { 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4 }, {}, {}
for i, scale in ipairs(scales) do
  local right = shares(scale)
  by_language[i], by_capital[i] = right.language, right.capital
  print(("  %-7g %8.0f %%          %8.0f %%"):format(scale, 100 * right.language, 100 * right.capital))
end

-- ---- a generation ------------------------------------------------------------------------------------------------------

local prompt = asks_language[1]
local function generate(scale)
  local text
  model:generate(prompt, { max_new_tokens = 3 }, function(tracer)
    for _ in tracer:all() do
      block.output[0][":, -1"] = block.output[0][":, -1"] + direction * scale
    end
    text = tracer.generator.output:save()
  end)
  return tokenizer:decode(text["0"])
end
print(("\nas it is: %s\nsteered:  %s"):format(generate(0), generate(1.5)))

ls.plot.line({ by_language, by_capital }, { title = "Answers of a model that is asked for languages", labels = scales,
  x = "times the direction is added behind block 1", y = "share of answers", legend = { "language", "capital" },
  range = { 0, 1 } }):show(out)
