-- Measures what the model in the box can do: indirect objects, induction, relations from examples.
local Corpus = require "data.corpus"
local Random = require "data.random"

local abilities = {}

---@class AbilityTest
---@field name string
---@field needed number the share of right answers that the model must reach
---@field rows integer[][] prompts as token ids
---@field answers integer[] the token that must be the most likely next one

local function single(corpus, piece)
  local ids = corpus.ids[piece]
  assert(#ids == 1, "not a single token: " .. piece)
  return ids[1]
end

local function ids_of(corpus, pieces)
  local row = {}
  for _, piece in ipairs(pieces) do
    for _, id in ipairs(corpus.ids[piece]) do row[#row + 1] = id end
  end
  return row
end

-- Half of the stories have no distractor, half may have one; no pair of names was ever seen in training.
local function stories(corpus, order, count)
  local test = { name = "indirect object " .. order, needed = 0.98, rows = {}, answers = {} }
  for i = 1, count do
    local pieces, _, receiver = corpus:story { held_out = true, order = order, prompt = true, distractors = i % 2 == 0 }
    test.rows[i], test.answers[i] = ids_of(corpus, pieces), single(corpus, " " .. receiver)
  end
  return test
end

-- Random tokens, all of them again, cut at a random place of the second time.
local function induction(corpus, count)
  local test = { name = "induction", needed = 0.95, rows = {}, answers = {} }
  for i = 1, count do
    local period = 7 + corpus.random:integer(17)
    local row = corpus:induction_row(2 * period, period)
    local cut = period + corpus.random:integer(period - 1)
    test.answers[i] = row[cut + 1]
    test.rows[i] = {}
    for k = 1, cut do test.rows[i][k] = row[k] end
  end
  return test
end

local function relation(corpus, entry, shots, count)
  local test = { name = entry.name, needed = 0.9, rows = {}, answers = {} }
  for i = 1, count do
    local pieces = corpus:examples(shots + 1, entry)
    test.answers[i] = single(corpus, pieces[#pieces])
    pieces[#pieces] = nil
    test.rows[i] = ids_of(corpus, pieces)
  end
  return test
end

--- The tests, always the same ones for a seed.
---@param encode fun(piece: string): integer[]
---@param vocabulary integer
---@param options? { seed?: integer, count?: integer }
---@return AbilityTest[]
function abilities.tests(encode, vocabulary, options)
  local count = options and options.count or 200
  local corpus = Corpus.new(Random.new(options and options.seed or 20000), encode, vocabulary)
  local tests = { stories(corpus, "ABBA", count), stories(corpus, "BABA", count), induction(corpus, count) }
  for _, entry in ipairs(Corpus.relations) do tests[#tests + 1] = relation(corpus, entry, 4, count) end
  return tests
end

--- The share of right answers of one test.
---@param test AbilityTest
---@param predict fun(rows: integer[][]): integer[] the most likely next token of each row
---@return number
function abilities.measure(test, predict)
  local right = 0
  for first = 1, #test.rows, 50 do
    local rows = {}
    for i = first, math.min(first + 49, #test.rows) do rows[#rows + 1] = test.rows[i] end
    for i, id in ipairs(predict(rows)) do
      if id == test.answers[first + i - 1] then right = right + 1 end
    end
  end
  return right / #test.rows
end

--- A `predict` for a language model: rows are filled up on the right, which a causal model does not see.
---@param ls table the luasight module
---@param model table what answers `model(ids).logits`
---@return fun(rows: integer[][]): integer[]
function abilities.predictor(ls, model)
  return function(rows)
    local longest, filled, last = 0, {}, {}
    for _, row in ipairs(rows) do longest = math.max(longest, #row) end
    for r, row in ipairs(rows) do
      local copy = {}
      for i = 1, longest do copy[i] = row[i] or 0 end
      filled[r], last[r] = copy, (r - 1) * longest + #row - 1
    end
    return ls.torch.no_grad(function()
      local logits = model(ls.torch.tensor(filled, { dtype = "int64" })).logits -- B T V
      local at_last = logits:flatten(0, 1):index_select(0, ls.torch.tensor(last, { dtype = "int64" }))
      return at_last:argmax(-1):tolist()
    end)
  end
end

return abilities
