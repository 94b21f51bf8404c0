-- A linear probe: where in the model can it be read which of two people acts, the first or the second?
--   bin/luasight examples/probe.lua [--out FILE]
--
-- For each layer a straight cut through the space of the residual stream is learned that separates "When Mary and John went
-- to the store, Mary ..." from "..., John ...". It counts only what the probe says about prompts with names that it was not
-- trained on, and only against what a probe gets that was trained on labels in random order.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local out = require "data.arguments".out()

local torch = ls.torch
torch.manual_seed(0)
math.randomseed(1)
local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local blocks = model.transformer.h
local names = require "data.words".names

-- Prompts with names number `from` to `to`; 1 where the first of the two acts, else 0.
local function make(count, from, to)
  local prompts, first = {}, {}
  for i = 1, count do
    local a, b = math.random(from, to), math.random(from, to - 1)
    if b >= a then b = b + 1 end
    first[i] = i % 2
    prompts[i] = ("When %s and %s went to the store, %s gave a drink to"):format(names[a], names[b],
      names[first[i] == 1 and a or b])
  end
  return prompts, torch.tensor(first)
end
local train_prompts, train_labels = make(400, 1, 70)
local test_prompts, test_labels = make(200, 71, #names)

-- The residual stream at one position: before the first block and behind each.
local function streams(prompts, position)
  local place, list = (":, %d"):format(position), {}
  model:trace(prompts, function()
    list[1] = blocks[0].input[0][0][place]:clone():save() -- B C
    for layer, block in blocks:each() do list[layer + 2] = block.output[0][place]:clone():save() end
  end)
  return list
end

-- The cut by least squares, with a little weight on small numbers (ridge regression). Gives the share of right answers on the
-- test prompts.
local function accuracy(x, target, test)
  local mean, deviation = x:mean(0), x:std(0) + 1e-3
  x, test = (x - mean) / deviation, (test - mean) / deviation -- B C
  local square = torch.matmul(x:t(), x) + 10 * torch.eye(x.shape[1])
  local weights = torch.linalg_solve(square, torch.matmul(x:t(), target * 2 - 1)) -- C; the target is 1 or -1
  return torch.matmul(test, weights):gt(0):eq(test_labels:gt(0)):double():mean():item()
end

local labels = { right = train_labels, shuffled = train_labels[torch.randperm(#train_labels)] }
local places = { { "at the second name", 9 }, { "at the last word", 13 } }
local lines, legend = {}, {}
print("Right on 200 prompts with other names than those of the training (half right is chance):")
print("                                        embedding  layer 0   layer 1   layer 2   layer 3")
for _, place in ipairs(places) do
  local x, test = streams(train_prompts, place[2]), streams(test_prompts, place[2])
  for _, kind in ipairs { "right", "shuffled" } do
    local line, cells = {}, {}
    for i = 1, #x do
      line[i] = accuracy(x[i], labels[kind], test[i])
      cells[i] = ("%7.0f %%"):format(100 * line[i])
    end
    local name = kind == "right" and place[1] or place[1] .. ", labels shuffled"
    print(("  %-37s %s"):format(name, table.concat(cells, " ")))
    lines[#lines + 1], legend[#legend + 1] = line, name
  end
end
print "Who acts is known at the second name after one block, and at the last word only later.\n"

ls.plot.line(lines, { title = "Accuracy of a linear probe for who acts", labels = { "embedding", 0, 1, 2, 3 },
  x = "behind layer", y = "right on unseen names", legend = legend, range = { 0, 1 } }):show(out)
