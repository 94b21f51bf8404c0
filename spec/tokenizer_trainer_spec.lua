-- The byte-level BPE trainer: how text is cut, what is merged, what the file says.
package.path = "lua/?.lua;" .. package.path
local trainer = require "luasight.tokenizer_trainer"

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

  it("stops at the size asked for, or when no pair occurs twice", function()
    assert.are.equal(260, #trainer.train({ ("one two three "):rep(9) }, { vocab_size = 260 }).vocab)
    assert.are.equal(257, #trainer.train({ "abcdefg" }, { vocab_size = 300 }).vocab)
  end)

  it("refuses a size without room for all bytes", function()
    assert.has_error(function() trainer.train({ "a" }, { vocab_size = 100 }) end)
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
