-- A low-rank adapter: two small matrices, trained through an edit, teach a frozen model something else.
--   luasight examples/adapter.lua [--out picture.svg|png|html]
--
-- The model in the box ends "When Mary and John went to the store, John gave a drink to" with Mary. An adapter of rank 1
-- behind block 1 shall make it say the other name, John. The weights of the model stay as they are.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local out = require "data.arguments".out

local torch, nn = ls.torch, ls.nn
torch.manual_seed(0)
math.randomseed(0)
local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, block = model.tokenizer, model.transformer.h[1]
local names = require "data.words".names
local learned_names = 70 -- of the 100; the others are for the test

-- Prompts with names number `from` to `to`, and the name that the model says, and the one that it shall say.
local function batch(count, from, to)
  local texts, says, shall = {}, {}, {}
  for i = 1, count do
    local a, b = math.random(from, to), math.random(from, to - 1)
    if b >= a then b = b + 1 end
    local giver, taker = a, b
    if math.random() < 0.5 then giver, taker = b, a end
    texts[i] = ("When %s and %s went to the store, %s gave a drink to"):format(names[a], names[b], names[giver])
    says[i], shall[i] = tokenizer:encode(" " .. names[taker])[1], tokenizer:encode(" " .. names[giver])[1]
  end
  return texts, torch.tensor(says, { dtype = "int64" }), torch.tensor(shall, { dtype = "int64" })
end

-- ---- the adapter -------------------------------------------------------------------------------------------------------

local rank, width = 1, model.config.n_embd
local adapter = nn.Sequential { nn.Linear(width, rank, { bias = false }), nn.Linear(rank, width, { bias = false }) }
nn.init.zeros_(adapter[1].weight) -- at the beginning it adds nothing

-- Runs the model with the adapter and gives the logits of the next token; inside the body of a trace.
local function adapted()
  local h = block.output[0]
  block.output[0] = h + adapter(h)
  return model.output.logits[":, -1"] -- B V
end

-- ---- training ----------------------------------------------------------------------------------------------------------

local test, test_says, test_shall = batch(200, learned_names + 1, #names)

-- The share of test prompts that are answered with one name, and with the other.
local function shares()
  local ids = model:trace(test, function() return adapted():argmax(-1) end)
  return ids:eq(test_says):double():mean():item(), ids:eq(test_shall):double():mean():item()
end

local optimizer = ls.optim.AdamW(adapter:parameters(), { lr = 0.02, weight_decay = 0 })
print(("The adapter has %d numbers, the model 1,051,136. On prompts with names it was not trained on:"):format(2 * rank * width))
print("  step   loss    says the taker   says the giver")
local steps, by_taker, by_giver, loss = {}, {}, {}, nil
for step = 0, 60 do
  if step % 10 == 0 then
    local taker, giver = shares()
    steps[#steps + 1], by_taker[#steps + 1], by_giver[#steps + 1] = step, taker, giver
    print(("  %-6d %-7s %6.1f %%         %6.1f %%"):format(step, loss and ("%.3f"):format(loss) or "", 100 * taker, 100 * giver))
  end
  local texts, _, shall = batch(32, 1, learned_names)
  optimizer:zero_grad()
  loss = model:trace(texts, function()
    local l = torch.cross_entropy_loss(adapted(), shall)
    l:backward()
    return l:detach()
  end):item()
  optimizer:step()
end

ls.plot.line({ by_taker, by_giver }, { title = "What a model with an adapter of rank 1 says", labels = steps,
  x = "steps of training", y = "share of answers", legend = { "the taker, as before", "the giver, as taught" },
  range = { 0, 1 } }):show(out)
