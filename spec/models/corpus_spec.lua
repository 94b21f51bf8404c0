-- The text that the model in the box is trained on: the same for a seed, and never with a pair of names held out.
package.path = "examples/?.lua;" .. package.path
local Corpus = require "data.corpus"
local Random = require "data.random"

-- A token id for every piece, in the order they come.
local function numbering()
  local ids, count = {}, 0
  return function(piece)
    if not ids[piece] then
      count = count + 1
      ids[piece] = { count }
    end
    return ids[piece]
  end
end

local mix = { stories = 2, induction = 2, relations = 2, length = 32, period = 8 }

describe("the random generator", function()
  it("goes on from its state as if it had not been stopped", function()
    local random = Random.new(5)
    for _ = 1, 10 do random:number() end
    local twin = Random.resume(random.state)
    for _ = 1, 100 do assert.are.equal(random:number(), twin:number()) end
  end)

  it("spreads its numbers evenly", function()
    local random, counts = Random.new(6), {}
    for _ = 1, 20000 do
      local n = random:integer(10)
      counts[n] = (counts[n] or 0) + 1
    end
    for n = 1, 10 do assert.is_true(math.abs(counts[n] - 2000) < 200) end
    assert.are.equal(10, #counts)
  end)
end)

describe("the corpus", function()
  it("is the same for the same seed and another for another", function()
    local function text(seed)
      local corpus, out = Corpus.new(Random.new(seed)), {}
      for i = 1, 20 do out[i] = table.concat((corpus:story())) .. table.concat((corpus:examples(4))) end
      return table.concat(out, "\n")
    end
    assert.are.equal(text(1), text(1))
    assert.are_not.equal(text(1), text(2))
  end)

  it("holds out Mary and John and about one pair of names in eight", function()
    assert.is_true(Corpus.is_held_out("Mary", "John"))
    assert.is_true(Corpus.is_held_out("John", "Mary"))
    local names, held, all = Corpus.words.names, 0, 0
    for i = 1, #names do
      for k = i + 1, #names do
        all, held = all + 1, held + (Corpus.is_held_out(names[i], names[k]) and 1 or 0)
      end
    end
    assert.is_true(held / all > 0.1 and held / all < 0.15)
  end)

  it("tells in training only stories about other pairs, and in tests only about these", function()
    local corpus = Corpus.new(Random.new(3))
    local is_name = {}
    for _, name in ipairs(Corpus.words.names) do is_name[name] = true end
    for i = 1, 400 do
      local held_out = i % 2 == 0
      local pieces, _, receiver, actor = corpus:story { held_out = held_out, prompt = true }
      assert.are.equal(held_out, Corpus.is_held_out(receiver, actor))
      local seen = {}
      for _, piece in ipairs(pieces) do
        local name = piece:match("%a+")
        if is_name[name] then seen[name] = (seen[name] or 0) + 1 end
      end
      assert.are.equal(1, seen[receiver])
      assert.are.equal(2, seen[actor])
    end
  end)

  it("names first whom the order says", function()
    local corpus = Corpus.new(Random.new(4))
    for _, order in ipairs { "ABBA", "BABA" } do
      for _ = 1, 50 do
        local pieces, _, receiver, actor = corpus:story { order = order, prompt = true }
        local text = table.concat(pieces)
        local first = order == "ABBA" and receiver or actor
        local second = order == "ABBA" and actor or receiver
        assert.is_true(text:find(first, 1, true) < text:find(second, 1, true))
      end
    end
  end)

  it("marks the answers", function()
    local corpus = Corpus.new(Random.new(8))
    local pieces, marked = corpus:examples(4)
    for i = 1, #pieces do assert.are.equal(i % 4 == 3 and i > 3, marked[i] or false) end
    pieces, marked = corpus:story()
    local answers = 0
    for i in pairs(marked) do
      answers = answers + 1
      assert.is_truthy(pieces[i]:find("^ %u%l+$"))
      assert.is_truthy(pieces[i - 1] == " to")
    end
    assert.is_true(answers >= 1)
  end)

  it("knows many words that mean different answers in different relations", function()
    local answers, ambiguous = {}, 0
    for _, relation in ipairs(Corpus.relations) do
      assert.is_true(#relation.pairs >= 30)
      for _, pair in ipairs(relation.pairs) do
        local before = answers[pair[1]]
        if before and before ~= pair[2] then ambiguous = ambiguous + 1 end
        answers[pair[1]] = pair[2]
      end
    end
    assert.is_true(ambiguous > 60)
  end)

  it("makes batches whose targets are the next tokens and whose weights sum to one", function()
    local corpus = Corpus.new(Random.new(9), numbering(), 2000)
    local batch = corpus:batch(mix)
    assert.are.equal(6, batch.rows)
    assert.are.equal(6 * 32, #batch.inputs)
    local total = 0
    for i, position in ipairs(batch.positions) do
      total = total + batch.weights[i]
      if position % 32 < 31 then assert.are.equal(batch.inputs[position + 2], batch.targets[i]) end
    end
    assert.is_true(math.abs(total - 1) < 1e-9)
  end)

  it("repeats random tokens with their period", function()
    local corpus = Corpus.new(Random.new(10), nil, 500)
    local row, weights = corpus:induction_row(20, 6)
    for i = 7, 20 do assert.are.equal(row[i - 6], row[i]) end
    for i = 1, 20 do assert.are.equal(i > 7 and 1 or 0, weights[i]) end
  end)
end)
