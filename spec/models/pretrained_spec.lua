-- The model in the box: its files, and that it can do what its card says.
local ls = require "luasight"

package.path = "examples/?.lua;" .. package.path
local abilities = require "data.abilities"

local folder = "models/pretrained/ioi"

local function size_of(name)
  local file = io.open(folder .. "/" .. name, "rb")
  if not file then return nil end
  local size = file:seek("end")
  file:close()
  return size
end

describe("the model in the box", function()
  if not size_of("model.safetensors") then
    pending("has its weights (they are made by examples/train_ioi.lua)")
    return
  end

  local model, tokenizer

  setup(function()
    model = ls.LanguageModel(folder)
    tokenizer = model.tokenizer
    for _ = 1, 6 do model "When" end -- what is made at the first runs stays with the model
  end)

  teardown(function()
    model, tokenizer = nil, nil
    jit.flush() -- compiled code may hold on to the model
    collectgarbage()
    collectgarbage()
  end)

  it("fits in 6 MB with all its files", function()
    local total = 0
    for _, name in ipairs { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md" } do
      total = total + assert(size_of(name), name .. " is missing")
    end
    assert.is_true(total <= 6e6)
  end)

  it("has a single token for every word of its stories and relations", function()
    local Corpus = require "data.corpus"
    for _, list in pairs(Corpus.words) do
      for _, word in ipairs(list) do assert.are.equal(1, #tokenizer:encode(" " .. word), word) end
    end
    for _, relation in ipairs(Corpus.relations) do
      for _, pair in ipairs(relation.pairs) do
        assert.are.equal(1, #tokenizer:encode(" " .. pair[1]), pair[1])
        assert.are.equal(1, #tokenizer:encode(" " .. pair[2]), pair[2])
      end
    end
  end)

  it("continues the prompt of the README with Mary", function()
    local logits = model("When Mary and John went to the store, John gave a drink to").logits
    assert.are.equal(" Mary", tokenizer:decode { logits["0, -1"]:argmax(-1):item() })
    logits = model("When Mary and John went to the store, Mary gave a drink to").logits
    assert.are.equal(" John", tokenizer:decode { logits["0, -1"]:argmax(-1):item() })
  end)

  it("answers a relation shown by four examples", function()
    for prompt, answer in pairs {
      ["hot : cold , up : down , old : young , wet : dry , big :"] = " small",
      ["Japan : Tokyo , Italy : Rome , Peru : Lima , Cuba : Havana , France :"] = " Paris",
      ["Japan : Japanese , Italy : Italian , Poland : Polish , China : Chinese , France :"] = " French",
      ["cat : cats , child : children , mouse : mice , tree : trees , foot :"] = " feet",
      ["go : went , see : saw , walk : walked , sing : sang , eat :"] = " ate",
    } do
      local logits = model(prompt).logits
      assert.are.equal(answer, tokenizer:decode { logits["0, -1"]:argmax(-1):item() }, prompt)
    end
  end)

  it("reaches the accuracies of its card in every ability", function()
    local vocabulary = model.transformer.wte.weight.shape[0]
    local predict = abilities.predictor(ls, model)
    for _, test in ipairs(abilities.tests(function(piece) return tokenizer:encode(piece) end, vocabulary)) do
      local share = abilities.measure(test, predict)
      assert.is_true(share >= test.needed,
        ("%s: %.1f %% right, %.0f %% needed"):format(test.name, share * 100, test.needed * 100))
    end
  end)
end)
