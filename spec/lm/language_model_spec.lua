-- What a language model can be given in a trace: text, ids, tensors, named arguments; and what it refuses.
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local gpt2 = require "luasight.models.gpt2"
local torch, nn = ls.torch, ls.nn

local text = "the cat sat on the mat"

-- One token a word: enough to see what becomes of options and rows.
local Words = {}
Words.__index = Words
local vocabulary = { "the", "cat", "sat", "on", "mat", "a", "dog", "<end>" }
function Words:__call(input, options)
  local ids = {}
  for word in input:gmatch "%S+" do
    for id, known in ipairs(vocabulary) do
      if known == word then ids[#ids + 1] = id - 1 end
    end
  end
  self.asked = options
  return { input_ids = ids }
end

local function words() return setmetatable({ eos_token_id = 7 }, Words) end

local function network()
  torch.manual_seed(1)
  local net = gpt2.new { vocab_size = 8, n_positions = 10, n_embd = 8, n_layer = 2, n_head = 2, initializer_range = 0.5,
    eos_token_id = 2 }
  net:eval()
  net:requires_grad_(false)
  return net
end

local function failure(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_nil(err.message:find("\n", 1, true))
  assert.matches("language_model_spec.lua", err.file)
  return err
end

describe("a language model", function()
  local net, model, tokenizer, expected
  local ids = { 0, 1, 2, 3, 0, 4 }

  ---A test with a model of its own: what was recorded in it goes with it.
  local function test(name, body)
    it(name, function()
      finally(function() net, model, tokenizer, expected = nil, nil, nil, nil end)
      net, tokenizer = network(), words()
      model = ls.LanguageModel(net, { tokenizer = tokenizer })
      expected = net(torch.tensor({ ids }, { dtype = "int64" })).logits
      body()
    end)
  end

  local function same(output) assert.is_true(torch.equal(expected, output.logits)) end

  ---The ids and the mask that the model reads for an input.
  local function read(input, options)
    local seen, mask
    model:trace(input, options or {}, function()
      seen = model.input[1].input_ids:save()
      if #model.input[1] > 1 then mask = model.input[1].attention_mask:save() end
    end)
    return seen:tolist(), mask and mask:tolist()
  end

  test("has its tokenizer and its configuration", function()
    assert.equal(tokenizer, model.tokenizer)
    assert.equal(2, model.config.n_layer)
    assert.matches("^GPT2LMHeadModel%(", tostring(model))
  end)

  test("reads text, ids, lists of them, tensors and named arguments alike", function()
    same(model(text))
    same(model(ids))
    same(model { ids })
    same(model { text })
    same(model(torch.tensor(ids, { dtype = "int64" })))
    same(model(torch.tensor({ ids }, { dtype = "int32" })))
    same(model { input_ids = torch.tensor({ ids }, { dtype = "int64" }) })
    same(model { input_ids = ids })
    same(model { input_ids = { ids } })
    same(model { input_ids = text })
    same(model:trace(text, { trace = false }))
    same(model:trace(ids, function() return model.output end))
    same(model:trace({ input_ids = ids }, function() return model.output end))
    same(model(tokenizer(text)))
  end)

  test("reads a value saved by another trace", function()
    local saved
    model:trace(text, function() saved = model.transformer.input[0][0]:save() end)
    same(model(saved))
  end)

  test("gives the ids at the transformer's input and by name at the model's own", function()
    local named, positional = model:trace(text, function()
      return model.input[1].input_ids, model.transformer.input[0][0]
    end)
    assert.same({ ids }, named:tolist())
    assert.same({ ids }, positional:tolist())
  end)

  test("pads rows on the left with the end of text, and masks that", function()
    local seen, mask = read { text, "a dog", "the mat" }
    assert.same({ ids, { 7, 7, 7, 7, 5, 6 }, { 7, 7, 7, 7, 0, 4 } }, seen)
    assert.same({ { 1, 1, 1, 1, 1, 1 }, { 0, 0, 0, 0, 1, 1 }, { 0, 0, 0, 0, 1, 1 } }, mask)
    assert.same(seen, (read { ids, { 5, 6 }, { 0, 4 } }))
    assert.same(seen, (read { input_ids = { ids, { 5, 6 }, { 0, 4 } } }))
  end)

  test("pads with the configuration's token where there is no tokenizer, else with 0", function()
    local alone = ls.LanguageModel(net)
    local seen = alone:trace({ { 1 }, { 1, 1 } }, function() return alone.input[1].input_ids end)
    assert.same({ { 2, 1 }, { 1, 1 } }, seen:tolist())
    local other = gpt2.new { vocab_size = 8, n_positions = 10, n_embd = 8, n_layer = 1, n_head = 2, eos_token_id = 50256 }
    alone = ls.LanguageModel(other)
    seen = alone:trace({ { 1 }, { 1, 1 } }, function() return alone.input[1].input_ids end)
    assert.same({ { 0, 1 }, { 1, 1 } }, seen:tolist())
  end)

  test("makes no mask for rows of one length", function()
    local seen, mask = read { "a dog", "the mat" }
    assert.same({ { 5, 6 }, { 0, 4 } }, seen)
    assert.is_nil(mask)
  end)

  test("takes masks and positions as lists and tensors", function()
    local padded = { input_ids = { { 7, 7, 5, 6 } }, attention_mask = { { 0, 0, 1, 1 } } }
    local alone = model({ 5, 6 }).logits
    near(alone, model(padded).logits[":, 2:"], nil, "order")
    padded.attention_mask = torch.tensor { { false, false, true, true } }
    near(alone, model(padded).logits[":, 2:"], nil, "order")
    local shifted = model { input_ids = { 5, 6 }, position_ids = { 3, 4 } }.logits
    assert.is_false(torch.equal(alone, shifted))
    assert.is_true(torch.equal(alone, model { input_ids = { 5, 6 }, position_ids = { 0, 1 } }.logits))
  end)

  test("shortens a prompt when told, among the options or in invoker_args", function()
    assert.same({ { 0, 1, 2 } }, (read(text, { truncation = true, max_length = 3 })))
    assert.same({ truncation = true, max_length = 3 }, tokenizer.asked)
    assert.same({ { 0, 1, 2 } }, (read(text, { invoker_args = { truncation = true, max_length = 3 } })))
    assert.same({ { 0, 1, 2 } }, (read(ids, { truncation = true, max_length = 3 })))
    assert.same({ { 0, 1, 2 }, { 7, 5, 6 } }, (read({ text, "a dog" }, { truncation = true, max_length = 3 })))
    assert.same({ { 0, 1, 2 } }, (read(torch.tensor(ids, { dtype = "int64" }), { truncation = true, max_length = 3 })))
    local long = {}
    for i = 1, 30 do long[i] = i % 8 end
    assert.equal(10, #read(long, { truncation = true })[1]) -- to what the model can read
  end)

  test("hands the tokenizer's options on", function()
    model:trace(text, { invoker_args = { add_special_tokens = false } }, function() end)
    assert.same({ add_special_tokens = false }, tokenizer.asked)
  end)

  test("refuses what it cannot read", function()
    local long = {}
    for i = 1, 11 do long[i] = 1 end
    for message, input in pairs {
      ["the prompt is empty: there is no token to read"] = "",
      ["prompt 2 is empty: there is no token"] = { text, "" },
      ["prompt 1 is empty"] = { {}, { 1 } },
      ["token id 8 is out of range: the model knows the ids 0 to 7"] = { 1, 8 },
      ["token id -1 is out of range"] = torch.tensor({ 1, -1 }, { dtype = "int64" }),
      ["the prompt has 11 tokens, the model reads at most 10"] = long,
      ["token ids are whole numbers (int64), this tensor is float32"] = torch.rand(2),
      ["token ids are [B, T] or [T], this tensor has 3 axes"] = torch.zeros(1, 1, 1, { dtype = "int64" }),
      ["the prompt is empty: there"] = torch.zeros(1, 0, { dtype = "int64" }),
      ["element 2 is 1.5; token ids are whole numbers"] = { 1, 1.5 },
      ["element 2 is a string; token ids"] = { 1, "cat" },
      ["element 2 of the model's input is a number"] = { "cat", 1 },
      ["element 1 of the model's input is a tensor"] = { torch.tensor({ 1 }, { dtype = "int64" }) },
      ["prompt 2: element 1 is a string"] = { { 1 }, { "cat" } },
      ['no argument "attention_maks" (did you mean "attention_mask"?)'] = { input_ids = ids, attention_maks = ids },
      ["attention_mask has the shape [1, 2], but the tokens have [1, 6]"] = { input_ids = ids, attention_mask = { 1, 1 } },
      ["attention_mask: element 2 is 0.5; a list has whole numbers"] = { input_ids = { 1, 2 }, attention_mask = { 1, 0.5 } },
      ["the argument position_ids: element 1 is 1.5"] = { input_ids = { { 1, 2 } }, position_ids = { { 1.5, 2 } } },
      ["the argument inputs_embeds is a tensor [B, T, C], not a table"] = { inputs_embeds = { { 1, 2 } } },
      ["the argument inputs_embeds is [B, T, C], not [2, 3]"] = { inputs_embeds = torch.zeros(2, 3) },
      ["position 10 is out of range: the positions are 0 to 9"] = { input_ids = { 1, 2 }, position_ids = { 9, 10 } },
      ["the rows of input_ids differ in length"] = { input_ids = { { 1 }, { 1, 1 } }, attention_mask = { { 0, 1 }, { 1, 1 } } },
      ["not a boolean"] = true,
    } do
      assert.matches(message, failure(model, input).message, 1, true)
      assert.matches(message, failure(model.trace, model, input, function() end).message, 1, true)
    end
    same(model(text))
  end)

  test("says what a prompt that is too long can do, and whose tokenizer is wrong", function()
    assert.matches("{ truncation = true, max_length = 10 }", failure(model, ("cat "):rep(11)).hint, 1, true)
    local other = ls.LanguageModel(net, { tokenizer = function() return { input_ids = { 1, 900 } } end })
    assert.matches("was trained with another tokenizer", failure(other, "x").hint, 1, true)
  end)

  test("refuses options that nobody reads, and calls without an input", function()
    for message, call in pairs {
      ['trace has no option "truncatoin" (did you mean "truncation"?)'] = function()
        model:trace(text, { truncatoin = true }, function() end)
      end,
      ['invoker_args has no option "max_lenght" (did you mean "max_length"?)'] = function()
        model:trace(text, { invoker_args = { max_lenght = 3 } }, function() end)
      end,
      ["max_length shortens a prompt only together with truncation"] = function()
        model:trace(text, { max_length = 3 }, function() end)
      end,
      ["max_length is a whole number above 0, not 0"] = function()
        model:trace(text, { truncation = true, max_length = 0 }, function() end)
      end,
      ["a trace needs an input"] = function() model:trace({ truncation = true }, function() end) end,
      ["the input of the model is an empty list"] = function() model:trace({}, function() end) end,
    } do
      assert.matches(message, failure(call).message, 1, true)
    end
  end)

  test("without a tokenizer asks for ids", function()
    local alone = ls.LanguageModel(net)
    same(alone(ids))
    assert.matches("this model has no tokenizer", failure(alone, text).message, 1, true)
    assert.matches("this model has no tokenizer", failure(function() return alone.tokenizer end).message, 1, true)
    assert.matches("a folder or a result of ls.Tokenizer", failure(ls.LanguageModel, net, { tokenizer = 5 }).message, 1, true)
  end)

  test("answers a wrong name with the nearest", function()
    assert.matches('did you mean "tokenizer"', failure(function() return model.tokeniser end).message, 1, true)
    assert.matches('did you mean "transformer"', failure(function() return model.transfomer end).message, 1, true)
  end)

  test("reads and edits inside, and is as before afterwards", function()
    local zero, logits = model:trace(text, function()
      model.transformer.h[-1].attn.output[0][":, -1"] = 0
      return model.transformer.h[1].attn.output[0][":, -1"], model.output.logits
    end)
    assert.equal(0, zero:abs():sum():item())
    assert.is_false(torch.equal(expected, logits))
    assert.is_true(torch.equal(expected[":, :-1"], logits[":, :-1"]))
    same(model(text))
    model:trace(text, function()
      model.output.logits = model.output.logits * 2
      logits = model.output.logits:save()
    end)
    assert.is_true(torch.equal(expected * 2, logits))
  end)

  test("refuses a tensor in the place of a block's tuple", function()
    local err = failure(function()
      model:trace(text, function() model.transformer.h[0].output = torch.zeros(1, 6, 8) end)
    end)
    assert.matches("ls.tuple", tostring(err), 1, true)
  end)
end)

describe("a network of one's own", function()
  it("is a language model when it reads input_ids", function()
    local Bigram = nn.Module "Bigram"
    function Bigram:init() self.next = nn.Embedding(8, 8) end
    function Bigram:forward(input_ids, options) return self.next(input_ids or options.input_ids) end
    local net = Bigram()
    local model = ls.LanguageModel(net, { tokenizer = words() })
    local out = model(text)
    assert.same({ 1, 6, 8 }, out:size():tolist())
  end)
end)

describe("a folder", function()
  local folder

  setup(function()
    folder = support.folder()
    local trained = ls.tokenizer_trainer.train({ text, text .. " and a dog sat" }, { vocab_size = 270 })
    local file = assert(io.open(folder .. "/tokenizer.json", "w"))
    file:write(trained:json())
    file:close()
    file = assert(io.open(folder .. "/config.json", "w"))
    file:write [[{ "model_type": "gpt2", "vocab_size": 271, "n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 2 }]]
    file:close()
    local net = gpt2.new { vocab_size = 271, n_positions = 32, n_embd = 8, n_layer = 1, n_head = 2 }
    local tensors = {}
    for name, p in net:named_parameters() do tensors[name] = p:detach() end
    ls.safetensors.save(folder .. "/model.safetensors", tensors)
  end)
  teardown(function() support.remove(folder) end)

  it("brings its tokenizer, which is loaded when it is needed", function()
    local model = ls.LanguageModel(folder)
    assert.equal(text, model.tokenizer:decode(model.tokenizer:encode(text)))
    assert.equal(model.tokenizer, model.tokenizer)
    local ids = model.tokenizer:encode(text)
    assert.is_true(torch.equal(model(ids).logits, model(text).logits))
    assert.is_true(torch.equal(model(ids).logits, model(model.tokenizer(text, { return_tensors = true }).input_ids).logits))
  end)

  it("works without a tokenizer as long as it is given ids", function()
    assert(os.rename(folder .. "/tokenizer.json", folder .. "/moved.json"))
    local model = ls.LanguageModel(folder)
    assert.equal(271, model({ 1, 2 }).logits.shape[2])
    assert.equal(271, model({ { 1, 2 }, { 3 } }).logits.shape[2])
    local err = failure(model, text)
    assert.matches("tokenizer.json", err.message, 1, true)
    assert(os.rename(folder .. "/moved.json", folder .. "/tokenizer.json"))
  end)

  it("takes another folder's tokenizer", function()
    local model = ls.LanguageModel("spec/reference/gpt2/new", { tokenizer = folder })
    assert.equal(text, model.tokenizer:decode(model.tokenizer:encode(text)))
    assert.matches("the tokenizer of " .. folder .. " makes the token id ", failure(model, text).message, 1, true)
    assert.matches("no such folder", failure(ls.LanguageModel, folder, { tokenizer = folder .. "/no" }).message, 1, true)
  end)
end)
