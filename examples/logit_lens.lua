-- Looks inside a language model while it decides on one word: a logit lens, an ablation and a patch.
--   bin/luasight examples/logit_lens.lua [--out FILE] [FOLDER [PROMPT [CORRUPTED_PROMPT]]]
-- FOLDER is a language model; without it, the one in the box. The corrupted prompt has as many tokens and another answer.
local ls = require "luasight"

local here = debug.getinfo(1, "S").source:match("^@(.*)[/\\]") or "."
package.path = here .. "/?.lua;" .. package.path
local arguments = require "data.arguments"
local picture_option = { default = "logit_lens.svg", value = "FILE", unpack(arguments.picture) }
local options, words = arguments.read({ picture_option }, 3)
local folder = words[1] or here .. "/../models/pretrained/ioi"
local prompt = words[2] or "When Mary and John went to the store, John gave a drink to"

local model = ls.LanguageModel(folder)
local tokenizer = model.tokenizer
local blocks = model.layers

local function section(title)
  print(("\n%s\n%s"):format(title, ("─"):rep(#title)))
end

local function quoted(id)
  return '"' .. tokenizer:decode { id } .. '"'
end

-- The most likely next token and its probability, from the probabilities of all tokens.
local function top(p)
  local id = p:argmax(-1):item()
  return id, p[id]:item()
end

-- ---- what the model reads and says ---------------------------------------------------------------------------------

local ids = tokenizer:encode(prompt)
local last = #ids - 1 -- positions and layers count from 0
print("A language model reads a text and guesses the next token (a word, or a piece of one). Here we look inside while it"
  .. "\ndecides. Layers and positions count from 0.")
section("The prompt")
print(prompt .. " ...")
local shown = {}
for i, id in ipairs(ids) do shown[i] = (i - 1) .. ":" .. quoted(id) end
print(("The model reads it as %d tokens: %s"):format(#ids, table.concat(shown, " ")))

local function decoder(h) return model.head(model.norm(h))["0, -1"]:softmax(-1) end

local lens, clean = {}, {} -- clean[layer]: the residual stream after that layer, 1 T C
model:trace(ids, function()
  lens[1] = decoder(blocks[0].resid_pre):save()
  for i, block in blocks:each() do
    clean[i] = block.resid_post:clone():save()
    lens[i + 2] = decoder(block.resid_post):save()
  end
end)
local answer, sure = top(lens[#lens])
print(("It continues with %s (probability %.3f)."):format(quoted(answer), sure))

section("The logit lens: what would it say if it stopped after each layer?")
print("Each layer adds something to a vector at every position, the residual stream. We read the vector of the last position"
  .. "\nafter each layer with the part of the model that normally reads only the last one.")
local layers, labels, curve = #blocks, {}, {}
print(("  %-12s %-16s %-12s %s"):format("after", "top token", "probability", "P(" .. quoted(answer) .. ")"))
for i, p in ipairs(lens) do
  local id, share = top(p)
  labels[i] = i == 1 and "embed" or tostring(i - 2)
  curve[i] = p[answer]:item()
  print(("  %-12s %-16s %-12.3f %.3f"):format(i == 1 and "embedding" or "layer " .. labels[i], quoted(id), share, curve[i]))
end
print()
local picture = ls.plot.line(curve, { title = "Probability of " .. quoted(answer) .. " after each layer",
  x = "layer", y = "probability", labels = labels, range = { 0, 1 } })
io.write(tostring(picture))
picture:save(options.out)
print(("(the same picture is in %s)"):format(options.out))

-- ---- ablation: what happens without one part? ----------------------------------------------------------------------

-- Runs the model with an edit and gives the probabilities of the next token.
local function run(input, edit)
  local p
  model:trace(input, function()
    edit()
    p = model.output.logits["0, -1"]:softmax(-1):save()
  end)
  return p
end

section("Ablation: which layer's attention does the answer need?")
print("Attention carries information from earlier positions to the last one. We set to 0 what it brings there, one layer"
  .. "\nat a time:")
-- Sets what the attention of these layers brings to the last position to 0; gives the answer and P(answer).
local function without(list)
  local p = run(ids, function()
    for _, layer in ipairs(list) do blocks[layer].attn_out[":, -1"] = 0 end
  end)
  local id, share = top(p)
  local left = p[answer]:item()
  local names = table.concat(list, " and ")
  print(("  without the attention of layer %-8s P(%s) = %.3f   it says %s (%.3f)"):format(names, quoted(answer), left,
    quoted(id), share))
  return id, left
end

local by_effect, changed_by = {}, nil
for layer = 0, layers - 1 do
  local id, left = without { layer }
  by_effect[layer + 1] = { layer, left }
  if id ~= answer and not changed_by then changed_by = { layer, id } end
end
table.sort(by_effect, function(x, y) return x[2] < y[2] or x[2] == y[2] and x[1] < y[1] end)
if changed_by then
  print(("Taking away the attention of layer %d is enough to change the answer: the model then says %s."):format(changed_by[1],
    quoted(changed_by[2])))
else
  print(("No single one changes the answer; layer %d matters most. Others can do its work, so take more away:"):format(
    by_effect[1][1]))
  local gone = { by_effect[1][1] }
  for i = 2, layers do
    gone[i] = by_effect[i][1]
    table.sort(gone)
    local id = without(gone)
    if id ~= answer then
      print(("Without these the model says %s."):format(quoted(id)))
      break
    end
  end
end

-- ---- patching: where is the deciding information? ------------------------------------------------------------------

-- Another prompt of the same length with another answer: given, or the last repeated word exchanged for the answer
-- (John gave -> Mary gave).
local function corrupted_ids()
  if words[3] then return tokenizer:encode(words[3]) end
  for i = #ids, 2, -1 do
    for k = 1, i - 1 do
      if ids[k] == ids[i] and ids[i] ~= answer and tokenizer:decode({ ids[i] }):find("^ %u") then
        local copy = { unpack(ids) }
        copy[i] = answer
        return copy
      end
    end
  end
end

section("Patching: where is the deciding information?")
local corrupted = corrupted_ids()
local changed
for i, id in ipairs(corrupted or {}) do
  if #corrupted == #ids and id ~= ids[i] then changed = i - 1 end
end
if not changed then
  print("Give a second prompt with as many tokens and another answer to see this part:")
  print("  bin/luasight examples/logit_lens.lua MODEL PROMPT CORRUPTED_PROMPT")
  return
end
local other, other_share = top(run(corrupted, function() end))
print("Now the model reads: " .. tokenizer:decode(corrupted) .. " ...")
print(("and says %s (%.3f). Into this run we copy one vector of the first run, the residual stream at one position after"
  .. " one\nlayer, and look at P(%s) again:"):format(quoted(other), other_share, quoted(answer)))

local function patched(layer, position)
  local place = (":, %d"):format(position)
  return run(corrupted, function() blocks[layer].resid_post[place] = clean[layer][place] end)
end

local at_word, at_end = {}, {} -- the layers after which a patch at this position restores the answer
print(("  %-10s at %d:%-12s at %d:%s"):format("after", changed, quoted(ids[changed + 1]), last, quoted(ids[last + 1])))
for layer = 0, layers - 1 do
  local word, ending = patched(layer, changed), patched(layer, last)
  print(("  layer %-4d    %-12.3f    %.3f"):format(layer, word[answer]:item(), ending[answer]:item()))
  if top(word) == answer then at_word[#at_word + 1] = layer end
  if top(ending) == answer then at_end[#at_end + 1] = layer end
end

local function restores(position, list)
  local first, final = list[1], list[#list]
  local text = #list == 1 and "layer " .. first
    or #list > 2 and final - first == #list - 1 and ("layers %d to %d"):format(first, final)
    or "layers " .. table.concat(list, ", ", 1, #list - 1) .. " and " .. final
  return ("a patch at position %d after %s"):format(position, text)
end
local restoring = {}
if #at_word > 0 then restoring[1] = restores(changed, at_word) end
if #at_end > 0 and last ~= changed then table.insert(restoring, restores(last, at_end)) end
if #restoring == 0 then
  print(("None of these patches restores %s."):format(quoted(answer)))
else
  print(("%s is restored by %s."):format(quoted(answer), table.concat(restoring, ", and by ")))
end
if #restoring == 2 and at_word[#at_word] < at_end[1] then
  print(("So what decides is at %s up to layer %d; by layer %d it has moved to the last position, from where the next word"
    .. "\nis read."):format(quoted(ids[changed + 1]), at_word[#at_word], at_end[1]))
end

section("What to try next")
print([[
  bin/luasight examples/logit_lens.lua models/pretrained/ioi "After Anna and Tom left the park, Tom sent a letter to"
  bin/luasight examples/logit_lens.lua models/pretrained/ioi "hot : cold , up : down , old : young , big :"
  bin/luasight examples/train_ioi.lua    trains this model from nothing, in about ten minutes on two cores
  bin/luasight                           a prompt of your own: model = ls.LanguageModel("models/pretrained/ioi")]])
