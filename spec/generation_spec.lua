-- Text generation against transformers (spec/reference/generation.py made the numbers).
local ls = require "luasight"
local choose = require "luasight.generation.choose"
local generation = require "luasight.generation"
local loader = require "luasight.loader"
local cjson = require("cjson").new()
local torch = ls.torch

local reference = "spec/reference/generation/"
local box = "models/pretrained/ioi"

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

describe("the text of transformers", function()
  for _, case in ipairs(cases().texts) do
    it("comes with a cache and without: " .. described(case), function()
      local net, reader = open(case.model)
      for _, use_cache in ipairs { true, false } do
        local settings = generation.settings(options_of(case, { use_cache = use_cache }), net, reader)
        assert.same(case.text, generation.generate(net, settings, inputs_of(case)):tolist())
      end
    end)
  end

  it("ends at stop strings, which may lie across tokens and begin in the prompt", function()
    local tokenizer = ls.Tokenizer(box)
    local net, reader = open(box, function() return tokenizer end)
    for _, case in ipairs(cases().stops) do
      local settings = generation.settings(case.options, net, reader)
      assert.same(case.text, generation.generate(net, settings, inputs_of(case)):tolist())
    end
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
      local probabilities = choose.filter(torch.tensor(scores), generation.settings(given, net)):softmax(-1)
      local expected = torch.tensor(case.probabilities)
      assert.is_true((probabilities - expected):abs():max():item() < 1e-6)
      assert.is_true(torch.equal(expected:eq(0), probabilities:eq(0)))
    end
  end)

  it("gives each token as often as its probability says", function()
    local scores = torch.tensor { { 0, 1, -math.huge, 2, 0.5 } }
    local n, counts = 4000, { 0, 0, 0, 0, 0 }
    local all = scores:expand(n, 5)
    local numbers = choose.uniform(11, n, 3)
    for _, id in ipairs(choose.draw(all, numbers):tolist()) do counts[id + 1] = counts[id + 1] + 1 end
    for i, p in ipairs(scores[0]:softmax(-1):tolist()) do
      assert.near(p, counts[i] / n, 4 * math.sqrt(p * (1 - p) / n))
    end
    assert.equal(0, counts[3])
  end)

  it("never gives a token without probability, whatever the number", function()
    local scores = torch.tensor { { -math.huge, 0, -math.huge, 0, -math.huge } }
    for _, number_given in ipairs { 0, 0.49, 0.5, 0.999, 1 - 2 ^ -48 } do
      local id = choose.draw(scores, { number_given }):item()
      assert.equal(number_given < 0.5 and 1 or 3, id)
    end
  end)

  it("gives the same text for the same seed, whatever else draws numbers, and other texts for other seeds", function()
    local net, reader = open "plain"
    local function text(options, rows)
      options.do_sample, options.max_new_tokens, options.temperature = true, 20, 2
      return generation.generate(net, generation.settings(options, net, reader), { input_ids = ids(rows) }):tolist()
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
    local settings = generation.settings({ max_new_tokens = 3, do_sample = true, num_return_sequences = 2, seed = 1 }, net, reader)
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
    assert.error_matches(function() run:advance(torch.zeros(4, 1, 29)) end, "this generation is over")
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
    local text = generation.generate(net, generation.settings({ max_new_tokens = 4, eos_token_id = 7 }, net),
      { input_ids = ids { { 5, 2 }, { 1, 5 } } })
    assert.same({ { 5, 2, 3, 4, 5, 6 }, { 1, 5, 6, 7, 7, 7 } }, text:tolist())
    assert.error_matches(function() generation.settings({ use_cache = true }, net) end, "has no cache")
  end)
end)
