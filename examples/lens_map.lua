-- The logit lens at every position: what would the model say next if it stopped after each layer?
--   bin/luasight examples/lens_map.lua [--out FILE]
--
-- The residual stream behind each block goes through the final norm and the unembedding, which normally read only the last
-- one. Each cell of the picture has the most likely next token there; its colour says how sure the model is.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local out = require "data.arguments".out()

local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, blocks, norm, head = model.tokenizer, model.transformer.h, model.transformer.ln_f, model.lm_head
local ids = tokenizer:encode "When Mary and John went to the store, John gave a drink to"

local tops = {}
model:trace(ids, function()
  local function read(h) -- 1 T C
    local values, tokens = head(norm(h))["0"]:softmax(-1):max { dim = 1 } -- T
    tops[#tops + 1] = { values:save(), tokens:save() }
  end
  read(blocks[0].input[0][0])
  for _, block in blocks:each() do read(block.output[0]) end
end)

local probability, text, rows, columns = {}, {}, {}, {}
for i, top in ipairs(tops) do
  rows[i] = i == 1 and "embedding" or "layer " .. i - 2
  probability[i], text[i] = top[1]:tolist(), {}
  for k, id in ipairs(top[2]:tolist()) do text[i][k] = tokenizer:decode { id } end
  print(("%-10s the next token is %-10q (%.3f)"):format(rows[i], text[i][#ids], probability[i][#ids]))
end
for k, id in ipairs(ids) do columns[k] = tokenizer:decode { id } end
print()

ls.plot.heatmap(probability, { title = "Most likely next token after each layer", rows = rows, columns = columns, text = text,
  x = "after reading", value = "probability", range = { 0, 1 } }):show(out)
