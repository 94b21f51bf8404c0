-- Residual patching: where does the model hold what decides between two names?
--   bin/luasight examples/patching.lua [--out FILE]
--
-- Two prompts differ in one word and have different answers. We run the second and copy into it, at one layer and one
-- position at a time, the residual stream of the first. Where that brings the first answer back, what decides is there.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local out = require "data.arguments".out()

local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, blocks = model.tokenizer, model.transformer.h
local clean = tokenizer:encode "When Mary and John went to the store, John gave a drink to"     -- answer: Mary
local corrupted = tokenizer:encode "When Mary and John went to the store, Mary gave a drink to" -- answer: John
local mary, john = tokenizer:encode " Mary"[1], tokenizer:encode " John"[1]

-- How far the model prefers Mary to John at the last position.
local function difference(logits) return logits[("0, -1, %d"):format(mary)] - logits[("0, -1, %d"):format(john)] end

-- 1. The first prompt: the residual stream behind every block is kept.
local stream, best = {}, nil
model:trace(clean, function()
  for layer, block in blocks:each() do stream[layer] = block.output[0]:clone():save() end -- 1 T C
  best = difference(model.output.logits):save()
end)

-- 2. The second prompt, once as it is and once for each layer and position with the patch. All are rows of one batch.
local worst, patched = nil, {}
model:trace(function(tracer)
  tracer:invoke(corrupted, function() worst = difference(model.output.logits):save() end)
  for layer, block in blocks:each() do
    patched[layer + 1] = {}
    for position = 0, #corrupted - 1 do
      tracer:invoke(corrupted, function()
        local place = (":, %d"):format(position)
        block.output[0][place] = stream[layer][place]
        patched[layer + 1][position + 1] = difference(model.output.logits):save()
      end)
    end
  end
end)

-- 3. How much of the way from the second to the first answer each patch goes: 0 nothing, 1 all of it.
best, worst = best:item(), worst:item()
print(("Mary minus John: %.2f after the first prompt, %.2f after the second."):format(best, worst))
local restored, rows, columns = {}, {}, {}
for i, row in ipairs(patched) do
  restored[i], rows[i] = {}, "layer " .. i - 1
  for k, value in ipairs(row) do restored[i][k] = (value:item() - worst) / (best - worst) end
end
for k, id in ipairs(corrupted) do columns[k] = tokenizer:decode { id } end
columns[10] = " John/Mary" -- where the prompts differ

local function percent(layer, position) return ("%4.0f %%"):format(100 * restored[layer + 1][position + 1]) end
print("Restored by a patch behind a layer:  at the second name  at the last word")
for layer = 0, #blocks - 1 do
  print(("  layer %d                            %s             %s"):format(layer, percent(layer, 9), percent(layer, 13)))
end
print("What decides begins at the second name and has moved to the last word by the end.\n")

ls.plot.heatmap(restored, { title = "Logit difference restored by a patch of the residual stream", rows = rows,
  columns = columns, x = "position", value = "share restored" }):show(out)
