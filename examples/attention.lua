-- Heads that move names: which heads write the answer at the last word, and what do they read?
--   bin/luasight examples/attention.lua [--out FILE]
--
-- Every head adds a vector to the residual stream. How much that vector favours one name over the other can be read off: the
-- final norm, once its scale is known, and the unembedding are linear. What all parts add sums up to the logit difference.
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local out = require "data.arguments".out()

local model = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, transformer, config = model.tokenizer, model.transformer, model.config
local ids = tokenizer:encode "When Mary and John went to the store, John gave a drink to"
local mary, john = tokenizer:encode " Mary"[1], tokenizer:encode " John"[1]

-- One run: at the last position what each part adds, and the attention patterns.
local z, mlp, pattern, embedded, final, difference = {}, {}, {}, nil, nil, nil
model:trace(ids, function()
  embedded = transformer.h[0].input[0][0]["0, -1"]:clone():save() -- C
  for layer, block in transformer.h:each() do
    z[layer] = block.attn.z["0, :, -1"]:save()                     -- H D
    pattern[layer] = block.attn.pattern["0"]:save()                -- H T T
    mlp[layer] = block.mlp.output["0, -1"]:save()                  -- C
  end
  final = transformer.ln_f.input[0][0]["0, -1"]:save()
  local logits = model.output.logits["0, -1"]
  difference = (logits[mary] - logits[john]):save()
end)

-- The direction in the residual stream that the logit difference is read from.
local norm = transformer.ln_f
local names = model.lm_head.weight[mary] - model.lm_head.weight[john]
local direction = names * norm.weight
direction = (direction - direction:mean()) / (final:var(false) + config.layer_norm_epsilon):sqrt()
local function favours(vector) return (vector * direction):sum():item() end

local heads, size = config.n_head, config.n_embd / config.n_head
local list, total = {}, favours(embedded) + (names * norm.bias):sum():item()
for layer, block in transformer.h:each() do
  local project = block.attn.c_proj.weight:view(heads, size, config.n_embd) -- H D C
  for head = 0, heads - 1 do
    local effect = favours(ls.torch.matmul(z[layer][head], project[head]))
    list[#list + 1] = { layer = layer, head = head, effect = effect }
    total = total + effect
  end
  total = total + favours(block.attn.c_proj.bias) + favours(mlp[layer])
end
print(("Mary minus John: %.3f in the logits, %.3f as the sum of all parts."):format(difference:item(), total))

-- The heads that favour the right name most, and where they look from the last word.
table.sort(list, function(a, b) return a.effect > b.effect end)
print("  head   adds    reads most, from the last word")
local tokens, patterns, titles = {}, {}, {}
for i, id in ipairs(ids) do tokens[i] = tokenizer:decode { id } end
for i = 1, 3 do
  local layer, head, effect = list[i].layer, list[i].head, list[i].effect
  local row = pattern[layer][head][-1] -- T
  local at = row:argmax():item()
  print(("  %d.%d   %5.2f    %q at position %d (%.0f %% of its attention)"):format(layer, head, effect, tokens[at + 1], at,
    100 * row[at]:item()))
  patterns[i], titles[i] = pattern[layer][head], ("head %d.%d adds %.2f"):format(layer, head, effect)
end
-- Head 0.0 is shown beside them: it reads both names from the second "John".
patterns[4], titles[4] = pattern[0][0], "head 0.0"
print [[
They all read the second " John". That it holds the answer has to do with the first layer: there, head 0.0 looks back from it
to both names (see examples/patching.lua for what happens when its content is exchanged).
]]

ls.plot.attention(ls.torch.stack(patterns), { title = "Heads that move the name to the last word", tokens = tokens,
  heads = titles }):show(out)
