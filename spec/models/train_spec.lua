-- Training: a few dozen steps make the loss fall, and what was stopped goes on to the same result.
local ls = require "luasight"
local support = require "spec.support"

package.path = "examples/?.lua;" .. package.path
local Corpus = require "data.corpus"
local Random = require "data.random"
local trainee = require "data.trainee"

describe("training the model in the box", function()
  local folder, tokenizer, vocabulary

  local function corpus()
    return Corpus.new(Random.new(0), function(piece) return tokenizer:encode(piece) end, vocabulary)
  end

  setup(function()
    folder = support.folder()
    trainee.write_tokenizer(folder, 1)
    tokenizer = ls.Tokenizer(folder)
    vocabulary = trainee.vocabulary(tokenizer)
  end)

  teardown(function()
    tokenizer = nil
    collectgarbage()
    collectgarbage()
    support.remove(folder)
  end)

  it("gives every name a token of its own", function()
    for _, name in ipairs(Corpus.words.names) do assert.are.equal(1, #tokenizer:encode(" " .. name), name) end
    local text = "When Mary and John went to the store, John gave a drink to Mary."
    assert.are.equal(text, tokenizer:decode(tokenizer:encode(text)))
  end)

  it("lowers the loss within forty steps", function()
    local job, texts = trainee.start(tokenizer, { steps = 1000, seed = 1 }), corpus()
    job:advance(texts)
    local first = job.loss
    for step = 2, 40 do
      if step == 30 then job.loss = nil end -- what is smoothed begins anew
      job:advance(texts)
    end
    assert.is_true(first > math.log(vocabulary) * 0.9)
    assert.is_true(job.loss < first - 0.5, ("%.3f after %.3f"):format(job.loss, first))
  end)

  it("goes on from its notes to the same numbers", function()
    local path = folder .. "/checkpoint.safetensors"
    local texts = corpus()
    local job = trainee.start(tokenizer, { steps = 20, seed = 2 })
    for _ = 1, 4 do job:advance(texts) end
    job:save(path)
    for _ = 1, 4 do job:advance(texts) end

    local again = trainee.resume(path)
    assert.are.equal(4, again.step)
    for _ = 1, 4 do again:advance(texts) end
    assert.are.equal(job.loss, again.loss)
    local other = {}
    for name, parameter in again.net:named_parameters() do other[name] = parameter end
    for name, parameter in job.net:named_parameters() do
      assert.is_true(ls.torch.equal(parameter, other[name]), name)
    end
  end)

  it("writes a folder that loads as a language model", function()
    local job = trainee.start(tokenizer, { steps = 10, seed = 3 })
    job:write_model(folder)
    local model = ls.LanguageModel(folder)
    local logits = model("When Mary and John went to the store").logits
    assert.are.equal(vocabulary, logits.shape[2])
  end)
end)
