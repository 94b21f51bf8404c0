-- The byte-level BPE trainer: how text is cut, what is merged, what the file says.
package.path = "lua/?.lua;" .. package.path
local trainer = require "luasight.text.tokenizer.trainer"

local function split(text)
  local pieces = {}
  trainer.split(text, function(piece) pieces[#pieces + 1] = piece end)
  return pieces
end

describe("the tokenizer trainer", function()
  it("cuts text as GPT-2 does", function()
    assert.are.same({ "When", " Mary", " and", " John", "," }, split("When Mary and John,"))
    assert.are.same({ "don", "'t", " we", "'ll", " see", " 12", "!?" }, split("don't we'll see 12!?"))
    assert.are.same({ "a", "  ", " b", "\n", "\n", "c", "  " }, split("a   b\n\nc  "))
    assert.are.same({ "caf\195\169", " _", "x" }, split("caf\195\169 _x"))
    assert.are.same({}, split(""))
  end)

  it("merges the most frequent pair first", function()
    local trained = trainer.train({ "abab abab ab" }, { vocab_size = 300 })
    assert.are.same({ "a", "b" }, trained.merges[1])
    assert.are.equal("ab", trained.vocab[257])
    assert.are.equal("<|endoftext|>", trained.vocab[#trained.vocab])
  end)

  -- Counts every pair anew before each merge, as the method is defined; the trainer keeps counts up to date instead.
  it("merges at each step a pair that no other beats", function()
    local text = ("she sells sea shells; the shells she sells are sea shells, I'm sure. aaaa aaaaa aaa "):rep(2)
    local merges = trainer.train({ text, "sea shells" }, { vocab_size = 300 }).merges
    local pieces = {}
    for _, whole in ipairs { text, "sea shells" } do
      trainer.split(whole, function(piece)
        local tokens = {}
        for byte in piece:gmatch "." do tokens[#tokens + 1] = byte == " " and "\196\160" or byte end
        pieces[#pieces + 1] = tokens
      end)
    end
    for _, merge in ipairs(merges) do
      local counts, most = {}, 0
      for _, tokens in ipairs(pieces) do
        for k = 1, #tokens - 1 do
          local pair = tokens[k] .. "\0" .. tokens[k + 1]
          counts[pair] = (counts[pair] or 0) + 1
          most = math.max(most, counts[pair])
        end
      end
      assert.are.equal(most, counts[merge[1] .. "\0" .. merge[2]])
      for i, tokens in ipairs(pieces) do
        local joined, k = {}, 1
        while k <= #tokens do
          local both = tokens[k] == merge[1] and tokens[k + 1] == merge[2]
          joined[#joined + 1] = both and merge[1] .. merge[2] or tokens[k]
          k = k + (both and 2 or 1)
        end
        pieces[i] = joined
      end
    end
    assert.is_true(#merges > 20, #merges .. " merges")
  end)

  it("stops at the size asked for, or when no pair occurs twice", function()
    assert.are.equal(260, #trainer.train({ ("one two three "):rep(9) }, { vocab_size = 260 }).vocab)
    assert.are.equal(257, #trainer.train({ "abcdefg" }, { vocab_size = 300 }).vocab)
  end)

  it("refuses a size without room for all bytes", function()
    local ok, err = pcall(trainer.train, { "a" }, { vocab_size = 100 })
    assert.is_false(ok)
    assert.are.equal("argument", err.code)
    assert.is_truthy(err.message:find("100 is too small", 1, true))
  end)

  it("refuses what is no list of texts, and no size", function()
    for _, arguments in ipairs { { nil, { vocab_size = 300 } }, { "a", { vocab_size = 300 } }, { { 1 }, { vocab_size = 300 } },
      { { "a" }, nil }, { { "a" }, {} } } do
      local ok, err = pcall(trainer.train, arguments[1], arguments[2])
      assert.is_false(ok)
      assert.are.equal("argument", err.code)
    end
  end)

  it("gives the same merges for the same text", function()
    local text = { "the cat and the dog and the bird sat at the table", "the dog had the hat" }
    assert.are.same(trainer.train(text, { vocab_size = 300 }).merges, trainer.train(text, { vocab_size = 300 }).merges)
  end)

  it("writes tokenizer.json", function()
    local cjson = require "cjson"
    local trained = trainer.train({ 'say "hi" \\ hi hi' }, { vocab_size = 262, special_tokens = { "<|endoftext|>" } })
    local file = cjson.decode(trained:json())
    assert.are.equal("BPE", file.model.type)
    assert.are.equal("ByteLevel", file.pre_tokenizer.type)
    assert.are.equal("<|endoftext|>", file.added_tokens[1].content)
    assert.are.equal(file.model.vocab["<|endoftext|>"], file.added_tokens[1].id)
    local count = 0
    for _ in pairs(file.model.vocab) do count = count + 1 end
    assert.are.equal(#trained.vocab, count)
    assert.are.equal(trained.merges[1][1] .. " " .. trained.merges[1][2], file.model.merges[1])
  end)
end)
