-- Ablation of heads: which attention heads does the choice between two names need?
--   bin/luasight examples/heads.lua [--out FILE]
--
-- What a head brings is replaced by its mean over many prompts: it still says something, but nothing about this prompt. We
-- look at what that does to the logit difference between the right name and the wrong one.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local out = require "data.arguments".out()

local torch = ls.torch
local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, blocks = model.tokenizer, model.transformer.h

-- Pairs of names in both orders: "When Mary and John ..., John gave a drink to" and "..., Mary gave a drink to".
local names = { "Mary", "John", "Anna", "Tom", "Peter", "Laura", "Paul", "Emma", "David", "Sarah" }
local prompts, right, wrong = {}, {}, {}
for i, a in ipairs(names) do
  local b = names[i % #names + 1]
  for _, pair in ipairs { { a, b }, { b, a } } do
    prompts[#prompts + 1] = ("When %s and %s went to the store, %s gave a drink to"):format(a, b, pair[1])
    right[#right + 1], wrong[#wrong + 1] = tokenizer:encode(" " .. pair[2])[1], tokenizer:encode(" " .. pair[1])[1]
  end
end
right, wrong = torch.tensor(right, { dtype = "int64" }), torch.tensor(wrong, { dtype = "int64" })

-- The logit difference of each prompt; inside the body of a trace.
local function differences()
  local last = model.output.logits[":, -1"] -- B V
  return (last:gather(1, right:unsqueeze(1)) - last:gather(1, wrong:unsqueeze(1))):squeeze(1)
end

-- As it is, and the mean of what each head gives at each position.
local means = {}
local before = model:trace(prompts, function()
  for layer, block in blocks:each() do means[layer] = block.attn.z:mean(0, true):save() end -- 1 H T D
  return differences()
end)

local function ablated(layer, head)
  local place = (":, %d"):format(head)
  return model:trace(prompts, function()
    blocks[layer].attn.z[place] = means[layer][place]
    return differences()
  end)
end

print(("%d prompts. As it is the right name leads by %.2f, and in %.0f %% of them."):format(#prompts, before:mean():item(),
  100 * before:gt(0):double():mean():item()))
print("  without   change of the lead   right")
local change, rows, columns = {}, {}, {}
for layer = 0, #blocks - 1 do
  change[layer + 1], rows[layer + 1] = {}, "layer " .. layer
  for head = 0, model.config.n_head - 1 do
    local after = ablated(layer, head)
    change[layer + 1][head + 1] = (after - before):mean():item()
    columns[head + 1] = "head " .. head
    print(("  %d.%d       %8.2f          %6.0f %%"):format(layer, head, change[layer + 1][head + 1],
      100 * after:gt(0):double():mean():item()))
  end
end
print("No single head is indispensable: others carry the choice too.\n")

ls.plot.heatmap(change, { title = "Change of the logit difference without one head", rows = rows, columns = columns,
  text = true, value = "change" }):show(out)
