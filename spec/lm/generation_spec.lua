-- Text generation against transformers (spec/reference/generation.py made the numbers).
local ls = require "luasight"
local support = require "spec.support"
local near = support.near
local choose = require "luasight.lm.generation.choose"
local generation = require "luasight.lm.generation"
local lengths = require("luasight.lm.generation.settings").lengths
local loader = require "luasight.lm.loader"
local pieces = require "luasight.lm.generation.detokenizer"
local cjson = require("cjson").new()
local torch = ls.torch

local function generate(...) return generation.text(generation.alone(...)) end
local function stream_of(...) return generation.tokens(generation.alone(...)) end

local reference = "spec/reference/generation/"
local box = "models/pretrained/ioi"
local sorter = (os.getenv "LUASIGHT_DATA" or "../shared/data") .. "/models/nano-sort"

local function plain(v)
  if v == cjson.null then return nil end
  if type(v) ~= "table" then return v end
  local copy = {}
  for key, element in pairs(v) do copy[key] = plain(element) end
  return copy
end

local function cases()
  local file = assert(io.open(reference .. "cases.json"))
  local all = plain(cjson.decode(file:read "*a"))
  file:close()
  return all
end

local function ids(rows) return torch.tensor(rows, { dtype = "int64" }) end

local function inputs_of(case)
  return { input_ids = ids(case.input_ids), attention_mask = case.attention_mask and ids(case.attention_mask) }
end

local function options_of(case, more)
  local options = { pad_token_id = 28 }
  for name, v in pairs(case.options) do options[name] = v end
  for name, v in pairs(more or {}) do options[name] = v end
  return options
end

local function open(name, tokenizer)
  local net = loader.network(name:find "/" and name or reference .. name)
  return net, { context = net.config.n_positions, vocabulary = net.config.vocab_size, tokenizer = tokenizer }
end

local function described(case)
  local names = {}
  for name, v in pairs(case.options) do
    names[#names + 1] = name .. " = " .. (type(v) == "table" and table.concat(v, "/") or tostring(v))
  end
  table.sort(names)
  return ("%s, %d rows, %s"):format(case.model or "ioi", #case.input_ids, table.concat(names, ", "))
end

local threads
setup(function()
  threads = torch.get_num_threads()
  torch.set_num_threads(1) -- faster for small numbers
end)
teardown(function() torch.set_num_threads(threads) end)

describe("the text of transformers", function()
  for _, case in ipairs(cases().texts) do
    it("comes with a cache and without: " .. described(case), function()
      local net, reader = open(case.model)
      for _, use_cache in ipairs { true, false } do
        local settings = generation.settings(options_of(case, { use_cache = use_cache }), net, reader)
        assert.same(case.text, generate(net, settings, inputs_of(case)):tolist())
      end
    end)
  end

  it("ends at stop strings, which may lie across tokens and begin in the prompt", function()
    local tokenizer = ls.Tokenizer(box)
    local net, reader = open(box, function() return tokenizer end)
    for _, case in ipairs(cases().stops) do
      local settings = generation.settings(case.options, net, reader)
      assert.same(case.text, generate(net, settings, inputs_of(case)):tolist())
    end
  end)
end)

describe("nano-sort, a trained GPT-2", function()
  local file = io.open(sorter .. "/config.json")
  if not file then
    pending("sorts all 729 inputs with a cache (no " .. sorter .. ")")
    return
  end
  file:close()

  it("sorts all 729 inputs with a cache", function()
    local net, reader = open(sorter)
    local digits = torch.arange(3)
    local letters = torch.cartesian_prod(digits, digits, digits, digits, digits, digits)
    local settings = generation.settings({ max_new_tokens = 6 }, net, reader)
    local text = generate(net, settings, { input_ids = letters })
    assert.is_true(torch.equal(letters:sort(1), text[":, 6:"]))
  end)
end)

describe("sampling", function()
  local function number(v) return v == "-inf" and -math.huge or v end

  it("draws from the probabilities that transformers draws from", function()
    local net = open "plain"
    for _, case in ipairs(cases().filters) do
      local scores = {}
      for i, row in ipairs(case.scores) do
        scores[i] = {}
        for k, v in ipairs(row) do scores[i][k] = number(v) end
      end
      local given = { do_sample = true, top_k = case.options.top_k or 0 }
      for name, v in pairs(case.options) do given[name] = v end
      local left, places = choose.filter(torch.tensor(scores), generation.settings(given, net))
      local probabilities = left:softmax(-1)
      if places then probabilities = torch.zeros(#scores, 29):scatter(1, places, probabilities) end
      local expected = torch.tensor(case.probabilities)
      near(expected, probabilities)
      assert.is_true(torch.equal(expected:eq(0), probabilities:eq(0)))
    end
  end)

  it("gives each token as often as its probability says", function()
    local scores = torch.tensor { { 0, 1, -math.huge, 2, 0.5 } }
    local n, counts = 4000, { 0, 0, 0, 0, 0 }
    local all = scores:expand(n, 5)
    local numbers = choose.uniform(11, n, 3)
    for _, id in ipairs(choose.draw(all, nil, numbers):tolist()) do counts[id + 1] = counts[id + 1] + 1 end
    for i, p in ipairs(scores[0]:softmax(-1):tolist()) do
      assert.near(p, counts[i] / n, 4 * math.sqrt(p * (1 - p) / n))
    end
    assert.equal(0, counts[3])
  end)

  it("never gives a token without probability, whatever the number", function()
    local scores = torch.tensor { { -math.huge, 0, -math.huge, 0, -math.huge } }
    for _, number_given in ipairs { 0, 0.49, 0.5, 0.999, 1 - 2 ^ -48 } do
      local id = choose.draw(scores, nil, { number_given }):item()
      assert.equal(number_given < 0.5 and 1 or 3, id)
    end
  end)

  it("gives the same text for the same seed, whatever else draws numbers, and other texts for other seeds", function()
    local net, reader = open "plain"
    local function text(options, rows)
      options.do_sample, options.max_new_tokens, options.temperature = true, 20, 2
      return generate(net, generation.settings(options, net, reader), { input_ids = ids(rows) }):tolist()
    end
    local one = text({ seed = 3 }, { { 1, 2 } })
    torch.rand(5)
    assert.same(one, text({ seed = 3 }, { { 1, 2 } }))
    assert.same(one[1], text({ seed = 3 }, { { 1, 2 }, { 3, 4 } })[1])
    assert.not_same(one, text({ seed = 4 }, { { 1, 2 } }))
    local several = text({ seed = 3, num_return_sequences = 3 }, { { 1, 2 }, { 3, 4 } })
    assert.equal(6, #several)
    assert.same({ 1, 2 }, { several[3][1], several[3][2] })
    assert.same({ 3, 4 }, { several[4][1], several[4][2] })
    assert.not_same(several[1], several[2])
    torch.manual_seed(7)
    local a, b = text({}, { { 1, 2 } }), text({}, { { 1, 2 } })
    torch.manual_seed(7)
    assert.same(a, text({}, { { 1, 2 } }))
    assert.not_same(a, b)
  end)
end)

describe("a run", function()
  it("is driven step by step, and says what the model is given", function()
    local net, reader = open "plain"
    local settings = generation.settings({ max_new_tokens = 3, do_sample = true, num_return_sequences = 2, seed = 1 }, net,
      reader)
    local run = generation.start(net, settings, { input_ids = ids { { 1, 2, 3 }, { 0, 4, 5 } },
      attention_mask = ids { { 1, 1, 1 }, { 0, 1, 1 } } })
    assert.equal(4, run.rows)
    assert.equal(3, run.steps)
    local arguments, steps = run:arguments(), 0
    assert.same({ { 1, 2, 3 }, { 1, 2, 3 }, { 0, 4, 5 }, { 0, 4, 5 } }, arguments.input_ids:tolist())
    while arguments do
      assert.equal(steps > 0 or nil, arguments.continues)
      assert.same({ 4, steps > 0 and 1 or 3 }, { arguments.input_ids.shape[0], arguments.input_ids.shape[1] })
      assert.same({ 4, 3 + steps }, { arguments.attention_mask.shape[0], arguments.attention_mask.shape[1] })
      assert.equal(3 + steps, arguments.cache.shape[4])
      assert.is_true(arguments.attention_mask[":, 3:"]:ne(0):all():item())
      arguments = run:advance(torch.no_grad(net, arguments).logits)
      steps = steps + 1
      assert.same(run:new_tokens(), run:text()[":, -1"]:tolist())
    end
    assert.equal(3, steps)
    assert.equal(run.step, steps)
    assert.same({ 4, 6 }, { run:text().shape[0], run:text().shape[1] })
    assert.error_matches(function() run:advance(torch.zeros(4, 1, 29)) end, "this generation has already ended")
  end)

  it("can be driven by traces, which see each step and may save what is in the cache", function()
    local net, reader = open "odd"
    local model = ls.Model(net)
    local inputs = { input_ids = ids { { 3, 1, 4 }, { 0, 5, 9 } }, attention_mask = ids { { 1, 1, 1 }, { 0, 1, 1 } } }
    for _, options in ipairs { { max_new_tokens = 6 }, { max_new_tokens = 6, num_beams = 3 } } do
      local settings = generation.settings(options, net, reader)
      local run, kept = generation.start(net, settings, inputs), {}
      local arguments = run:arguments()
      while arguments do
        local logits, k = model:trace(arguments, function()
          return model.output.logits[":, -1:"], model.transformer.h[1].attn.k
        end)
        assert.equal(run.length, k.shape[2])
        kept[#kept + 1] = { k, k:clone() }
        arguments = run:advance(logits)
      end
      assert.equal(6, #kept)
      for _, pair in ipairs(kept) do assert.is_true(torch.equal(pair[1], pair[2])) end
      assert.same(generate(net, settings, inputs):tolist(), run:text():tolist())
    end
  end)

  it("does without a cache in a network that has none", function()
    local nn = ls.nn
    local Net = nn.Module "Net" -- after n comes n + 1
    function Net:init() self.embed = nn.Embedding(10, 10) end
    function Net:forward(options)
      return require "luasight.tensor".struct { { "logits", self.embed(options.input_ids) } }
    end
    local net = Net()
    torch.no_grad(function() net.embed.weight:copy_(torch.eye(10):roll(1, 1)) end)
    local text = generate(net, generation.settings({ max_new_tokens = 4, eos_token_id = 7 }, net),
      { input_ids = ids { { 5, 2 }, { 1, 5 } } })
    assert.same({ { 5, 2, 3, 4, 5, 6 }, { 1, 5, 6, 7, 7, 7 } }, text:tolist())
    assert.error_matches(function() generation.settings({ use_cache = true }, net) end, "has no cache")
  end)
end)

describe("a stream", function()
  local function of_box(options, prompt)
    local tokenizer = ls.Tokenizer(box)
    local net, reader = open(box, function() return tokenizer end)
    local inputs = { input_ids = tokenizer(prompt, { return_tensors = true }).input_ids }
    return net, generation.settings(options, net, reader), inputs, tokenizer
  end

  it("gives the tokens of generate with their text, and none for the end of text", function()
    local net, settings, inputs, tokenizer = of_box({ max_new_tokens = 40 }, "When Mary and John went to the store, John gave")
    local new = generate(net, settings, inputs)[0]:tolist()
    local tokens, texts = {}, {}
    for id, text in stream_of(net, settings, inputs) do
      tokens[#tokens + 1], texts[#texts + 1] = id, text
    end
    local T = inputs.input_ids.shape[1]
    assert.same({ unpack(new, T + 1) }, tokens)
    assert.equal(1949, tokens[#tokens])
    assert.is_true(#tokens > 3)
    assert.equal("", texts[#texts])
    assert.equal(tokenizer:decode(tokens, { skip_special_tokens = true }), table.concat(texts))
  end)

  it("gives characters when they are whole", function()
    local tokenizer = ls.Tokenizer(box)
    local text = "a\195\169\226\130\172 \240\159\153\130b"
    local tokens, out = tokenizer:encode(text), {}
    local stream = pieces.new(tokenizer)
    for i, id in ipairs(tokens) do out[i] = stream:add(id, i == #tokens) end
    assert.equal(text, table.concat(out))
    for _, piece in ipairs(out) do assert.is_nil(piece:find "\239\191\189") end
    assert.is_true(#tokens > 6) -- else no character was in several tokens
    local broken = pieces.new(tokenizer)
    assert.equal("", broken:add(tokens[2]))
    assert.equal("\239\191\189", pieces.new(tokenizer):add(tokens[2], true))
  end)

  it("is of one text", function()
    local net, settings, inputs = of_box({ num_beams = 2 }, "Mary")
    assert.error_matches(function() stream_of(net, settings, inputs) end, "one text")
    net, settings, inputs = of_box({ do_sample = true, num_return_sequences = 2 }, "Mary")
    assert.error_matches(function() stream_of(net, settings, inputs) end, "one text")
  end)
end)

describe("the options of a generation", function()
  local net = { config = { n_positions = 20, vocab_size = 29 }, new_cache = function() end }
  local reader = { context = 20, vocabulary = 29, pad = function() return 4 end }
  local function read(given, file)
    net.generation_config = file
    return generation.settings(given, net, reader)
  end

  it("case 1.13: come from the call, else from generation_config.json or the configuration, else from transformers", function()
    local s = read()
    assert.same({ false, 1, 50, 1, 1, 1, 1, 0, 4 }, { s.do_sample, s.temperature, s.top_k, s.top_p, s.num_beams,
      s.num_return_sequences, s.length_penalty, s.min_new_tokens, s.pad })
    assert.same({ 20, 0 }, { lengths(s, 1) })
    assert.same({}, s.ends)
    s = read({ do_sample = true }, { temperature = 0.6, top_k = 7, max_length = 12, eos_token_id = { 3, 28, 29 },
      pad_token_id = 9 })
    assert.same({ 0.6, 7, 9 }, { s.temperature, s.top_k, s.pad })
    assert.same({ 3, 28 }, s.ends) -- there is no 29
    assert.same({ 7, 0 }, { lengths(s, 5) })
    s = read({ do_sample = true, temperature = 2, max_new_tokens = 3, min_new_tokens = 2, eos_token_id = 5,
      pad_token_id = 6 }, { temperature = 0.6, eos_token_id = 3, pad_token_id = 9, max_length = 12 })
    assert.same({ 2, 6, { 5 } }, { s.temperature, s.pad, s.ends })
    assert.same({ 3, 2 }, { lengths(s, 5) })
    assert.same({}, read({ eos_token_id = false }, { eos_token_id = 3 }).ends)
    net.config.eos_token_id, net.config.max_new_tokens = 8, 2
    assert.same({}, read({}, {}).ends) -- a generation_config.json that is silent does not leave the word to config.json
    assert.same({ 15, 0 }, { lengths(read({}, {}), 6) })
    assert.same({ 8 }, read {}.ends)
    assert.same({ 2, 0 }, { lengths(read {}, 5) })
    net.config.eos_token_id, net.config.max_new_tokens, net.config.bad_words_ids = nil, nil, { { 3 } }
    assert.error_matches(function() read {} end, "config.json: the setting bad_words_ids = a table is not implemented")
    read({}, {}) -- as in transformers, which then does not look into config.json
    net.config.bad_words_ids, net.config.seed = nil, 3
    assert.is_nil(read { do_sample = true }.seed)
    net.config.seed = nil
  end)

  it("make the text no longer than the model reads, unless more is asked for", function()
    assert.same({ 3, 0 }, { lengths(read {}, 18) })
    assert.same({ 3, 0 }, { lengths(read { max_new_tokens = 3 }, 18) })
    assert.error_matches(function() lengths(read { max_new_tokens = 4 }, 18) end, "at most 20")
    assert.same({ 2, 1 }, { lengths(read { max_length = 20, min_length = 19 }, 18) })
  end)

  for message, given in pairs {
    ['no option "max_new_token" %(did you mean "max_new_tokens"'] = { max_new_token = 3 },
    ["temperature is a number above 0, not 0"] = { do_sample = true, temperature = 0 },
    ["top_k is a whole number from 0 on, not 1.5"] = { do_sample = true, top_k = 1.5 },
    ["top_p is a number from 0 to 1, not 2"] = { do_sample = true, top_p = 2 },
    ["do_sample is true or false, not 1"] = { do_sample = 1 },
    ["num_beams is a whole number above 0, not 0"] = { num_beams = 0 },
    ['early_stopping is true, false or "never", not "always"'] = { num_beams = 2, early_stopping = "always" },
    ["eos_token_id is a token id, a list of them, or false for none, not a table"] = { eos_token_id = { 3, "a" } },
    ["eos_token_id: there is no token 29, the model knows 0 to 28"] = { eos_token_id = 29 },
    ["pad_token_id: there is no token 30"] = { pad_token_id = 30 },
    ["stop_strings is a text or a list of texts, not a table"] = { stop_strings = { "" } },
    ["stop_strings needs a tokenizer"] = { stop_strings = "." },
    ["temperature acts only with do_sample = true"] = { temperature = 0.5 },
    ["seed acts only with do_sample = true"] = { seed = 1 },
    ["length_penalty acts only with num_beams above 1"] = { length_penalty = 2 },
    ["max_new_tokens and max_length both"] = { max_new_tokens = 3, max_length = 9 },
    ["num_return_sequences is 3, but a search with num_beams = 2 has only as many"] =
      { num_beams = 2, num_return_sequences = 3 },
    ["num_return_sequences is 2, but without sampling or beams"] = { num_return_sequences = 2 },
    ["sampling with beams is not implemented"] = { do_sample = true, num_beams = 2 },
  } do
    it("are refused: " .. message:gsub("%%", ""), function()
      assert.error_matches(function() read(given) end, message)
    end)
  end

  it("case 10.2: do not go on behind padding on the right, where no token is, but in an encoder's prompt", function()
    local model, rows = ls.LanguageModel(box), ids { { 5, 6, 7 }, { 5, 6, 7 } }
    for _, mask in ipairs { ids { { 1, 1, 1 }, { 1, 1, 0 } }, torch.tensor { { true, true, true }, { true, false, false } } } do
      for _, run in ipairs { model.generate, model.stream } do
        support.refused("argument", "the attention_mask of row 1 leaves the last column out", function()
          run(model, { input_ids = rows, attention_mask = mask }, { max_new_tokens = 2 })
        end)
      end
    end
    local t5 = ls.LanguageModel(loader.network("spec/reference/families/t5-old", { dtype = "float32" }))
    local given = { max_new_tokens = 4, eos_token_id = false }
    assert.same(t5:generate({ 5, 6, 7 }, given):tolist(),
      t5:generate({ input_ids = ids { { 5, 6, 7, 0, 0 } }, attention_mask = ids { { 1, 1, 1, 0, 0 } } }, given):tolist())
  end)

  it("are refused where a prompt leaves no room, or the least is more than the most", function()
    assert.error_matches(function() lengths(read { max_length = 5 }, 5) end, "the prompt alone has 5 tokens")
    assert.error_matches(function() lengths(read { max_new_tokens = 3, min_new_tokens = 4 }, 5) end,
      "at least 4 new tokens are asked for, and at most 3")
  end)

  it("of a generation_config.json are refused where they change the text and are not implemented", function()
    assert.error_matches(function() read({}, { no_repeat_ngram_size = 3 }) end,
      "generation_config.json: the setting no_repeat_ngram_size = 3 is not implemented")
    assert.error_matches(function() read({}, { suppress_tokens = { 1 } }) end, "suppress_tokens = a table is not implemented")
    assert.error_matches(function() read({}, { top_p = "x" }) end,
      'generation_config.json: the setting top_p is a number from 0 to 1, not "x"')
    read({}, { no_repeat_ngram_size = 0, suppress_tokens = {}, transformers_version = "5.0", bos_token_id = 1 })
  end)

  it("stand in the folder of a model", function()
    local folder = os.tmpname()
    os.remove(folder)
    support.output(("cp -r %splain %s"):format(reference, folder))
    assert.is_nil(loader.network(folder).generation_config)
    local file = assert(io.open(folder .. "/generation_config.json", "w"))
    file:write '{"max_new_tokens": 3, "eos_token_id": null, "do_sample": false}'
    file:close()
    local network = loader.network(folder)
    support.remove(folder)
    assert.same({ max_new_tokens = 3, do_sample = false }, network.generation_config)
    local text = generate(network, generation.settings(nil, network), { input_ids = ids { { 1, 2 } } })
    assert.equal(5, text.shape[1])
  end)
end)
