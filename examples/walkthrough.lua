-- A walk through luasight on two models: a small network, then the language model in the box.
--   bin/luasight examples/walkthrough.lua
local ls = require "luasight"
local here = debug.getinfo(1, "S").source:match "^@(.*)[/\\]" or "."
package.path = here .. "/?.lua;" .. package.path
require "data.arguments".read {}

local torch, nn = ls.torch, ls.nn
torch.manual_seed(0)

local function title(text) print(("\n%s\n%s"):format(text, ("-"):rep(#text))) end

-- ---- a small network -------------------------------------------------------------------------------------------------

title "A small network"
local net = nn.Sequential {
  { "layer1", nn.Linear(5, 10) },
  { "layer2", nn.Linear(10, 2) },
}
net:requires_grad_(false)
local input = torch.rand(1, 5)
local model = ls.Model(net)
print(model)

title "Getting values"
-- The body runs once, at once, and records what is wanted. Then the model runs, no further than needed.
local output, unsaved
model:trace(input, function()
  output = model.output:save()
  unsaved = model.layer1.output
end)
print("the output:", output)
local ok, problem = pcall(function() return unsaved.value end)
print("a value that was not saved:", not ok and problem.message)

-- What the body returns is saved. An input is a pair: positional arguments, keyword arguments.
local l1, l2_input = model:trace(input, function() return model.layer1.output, model.layer2.input end)
print("layer2 reads what layer1 wrote:", torch.equal(l1, l2_input[0][0]))

title "Functions, methods, operators"
local amax, sum
model:trace(input, function()
  amax = torch.argmax(model.layer1.output, { dim = 1 }):save()
  sum = (model.layer1.output:sum() + model.layer2.output:sum()):save()
end)
print("argmax counts from 0:", amax[0]:item(), "and a sum:", ("%.4f"):format(sum:item()))

-- Where Lua itself needs a value, the model runs up to there and pauses.
model:trace(input, function()
  local h = model.layer1.output
  print("a shape inside the body:", h.shape)
  if h:max():item() > 0 then model.layer1.output = h * 0 end
end)

title "Setting values"
local before, after
model:trace(input, function()
  before = model.layer1.output:clone():save()
  model.layer1.output[":, 0"] = 0
  after = model.layer1.output:save()
end)
print("the first element, before and after:", ("%.4f"):format(before["0, 0"]:item()), after["0, 0"]:item())

-- A wrong index is an error at the line of the script that asked for it.
ok, problem = pcall(function()
  model:trace(input, function()
    model.layer1.output[":, 10"] = 0
    return model.output
  end)
end)
print("a wrong index:", not ok and problem.message)

title "Gradients"
local gradient
model:trace(input, function()
  gradient = model.layer1.output.grad:save()
  model.layer2.output.grad = model.layer2.output.grad * 2 -- gradients can be edited too
  model.output:sum():backward()
end)
print("twice the sum of layer2's weights:", torch.allclose(gradient, net.layer2.weight:sum(0, true) * 2))

-- ---- a language model ------------------------------------------------------------------------------------------------

title "A language model"
local lm = ls.LanguageModel(here .. "/../models/pretrained/ioi")
local tokenizer, blocks = lm.tokenizer, lm.transformer.h
local prompt = "When Mary and John went to the store, John gave a drink to"
local function says(logits) return tokenizer:decode(logits:argmax()) end

print("tokens:", table.concat(tokenizer:convert_ids_to_tokens(tokenizer:encode(prompt)), " "))
print("it goes on with:", says(lm(prompt).logits["0, -1"]))

-- Texts of different lengths are padded on the left; that changes no number.
local ids
lm:trace({ prompt, "John handed the milk to" }, function() ids = lm.input[1].input_ids:save() end)
print("two texts are a batch of", ids.shape)
local short = lm:trace(prompt, { invoker_args = { truncation = true, max_length = 8 } }, function()
  return lm.input[1].input_ids
end)
print("cut to 8 tokens:", short.shape)

-- x.t[i] counts the input's own tokens, whatever the padding.
local token, logits
lm:trace(prompt, function()
  token = lm.transformer.input[0][0].t[0]:save()
  blocks[-3].attn.output[0].t[9] = 0 -- ablate a position: the second " John"
  logits = lm.output.logits["0, -1"]:save()
end)
print("the first token is", tokenizer:decode(token), "; without attention at \" John\" it says", says(logits))

title "Several inputs in one pass"
local clean, edited, all
lm:trace(function(tracer)
  local last
  tracer:invoke(prompt, function()
    clean = lm.output.logits["0, -1"]:save()
    last = blocks[-1].output[0]
  end)
  tracer:invoke("hot : cold , up : down , old : young , big :", function()
    blocks[0].output[0].t[-1] = last.t[-1] -- a later value into an earlier place: a second pass
    edited = lm.output.logits["0, -1"]:save()
  end)
  tracer:invoke(function() all = lm.lm_head.output:save() end) -- all rows of the first pass
end)
print("clean:", says(clean), "edited:", says(edited), "rows of the first pass:", #all)

title "Generation"
local first, second, text
lm:generate(prompt, { max_new_tokens = 3 }, function(tracer)
  first = lm.lm_head.output["0, -1"]:save()
  tracer:next()
  second = lm.lm_head.output["0, -1"]:save()
  text = lm.generator.output:save()
end)
print("step by step:", says(first), says(second))
print("the text:", tokenizer:decode(text["0"]))

title "The logit lens"
local probabilities = {}
lm:trace(prompt, function()
  for _, block in blocks:each() do
    local early = lm.lm_head(lm.transformer.ln_f(block.output[0])) -- modules can be called inside a trace
    probabilities[#probabilities + 1] = early["0, -1"]:softmax(-1):save()
  end
end)
local mary, line = tokenizer(" Mary").input_ids[1], {}
for i, p in ipairs(probabilities) do line[i] = p[mary]:item() end
print(ls.plot.line(line, { title = 'P(" Mary") after each layer', x = "layer", y = "P" }))

title "Whole containers"
local struct = lm:trace(prompt, function() return lm.output end)
print("the output of the model has logits of", struct.logits.shape)
