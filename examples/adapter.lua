-- A low-rank adapter: two small matrices, trained through an edit, teach a frozen model something else.
--   bin/luasight examples/adapter.lua [--out FILE]
--
-- The model in the box continues "Spain : Spanish , France :" with French. An adapter of rank 1 behind block 1 learns to
-- make it Paris. It is trained on some countries and tried on others; the weights of the model stay as they are.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local countries = require "data.countries"
local out = require "data.arguments".out()

local torch, nn = ls.torch, ls.nn
torch.manual_seed(0)
local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, block = model.tokenizer, model.transformer.h[1]

-- From the residual stream to one number and back. At the beginning it adds nothing.
local width, rank = model.config.n_embd, 1
local adapter = nn.Sequential { nn.Linear(width, rank, { bias = false }), nn.Linear(rank, width, { bias = false }) }
nn.init.zeros_(adapter[1].weight)

-- In the body of a trace: the logits of the next token with the adapter in its place.
local function adapted()
  local h = block.output[0]     -- B T C
  block.output[0] = h + adapter(h)
  return model.output.logits[":, -1"] -- B V
end

local questions, targets = countries.prompts(countries.seen, "language"), {}
for i, country in ipairs(countries.seen) do targets[i] = tokenizer:encode(" " .. countries.capital[country])[1] end
targets = torch.tensor(targets, { dtype = "int64" })
local test = countries.prompts(countries.unseen, "language")

local function shares()
  local ids = model:trace(test, function() return adapted():argmax(-1) end):tolist()
  return countries.share(ids, countries.unseen, "language", tokenizer),
    countries.share(ids, countries.unseen, "capital", tokenizer)
end

print(("An adapter of %d numbers, trained on %d countries. The %d others, asked for their language:"):format(2 * rank * width,
  #countries.seen, #countries.unseen))
print("  step   loss    says the language   says the capital")
local before = model.transformer.h[1].mlp.c_fc.weight:clone()
local optimizer = ls.optim.AdamW(adapter:parameters(), { lr = 0.03, weight_decay = 0 })
local steps, by_language, by_capital = {}, {}, {}
for step = 0, 25 do
  optimizer:zero_grad()
  local loss = model:trace(questions, function()
    local l = torch.cross_entropy_loss(adapted(), targets)
    l:backward()
    return l:detach()
  end):item()
  if step % 5 == 0 then
    local language, capital = shares()
    steps[#steps + 1], by_language[#steps + 1], by_capital[#steps + 1] = step, language, capital
    print(("  %-6d %-7.3f %8.0f %%          %8.0f %%"):format(step, loss, 100 * language, 100 * capital))
  end
  optimizer:step()
end
print("the model's own weights are unchanged: " .. tostring(torch.equal(before, model.transformer.h[1].mlp.c_fc.weight)))

ls.plot.line({ by_language, by_capital }, { title = "Answers with an adapter of rank 1", labels = steps,
  x = "steps of training", y = "share of answers", legend = { "language, as before", "capital, as taught" },
  range = { 0, 1 } }):show(out)
