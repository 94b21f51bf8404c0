-- Folders without tokenizer.json: the same tokens as with the tokenizer.json that they correspond to.
local cjson = require "cjson"
local ls = require "luasight"
local support = require "spec.support"

local DATA = (os.getenv "LUASIGHT_DATA" or "../shared/data") .. "/tokenizers/"
local folder

local function bytes_of(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "*a"
  file:close()
  return bytes
end

local function put(name, text) support.write(folder .. "/" .. name, text) end

---The parsed tokenizer.json of a name, or nil and the test is pending.
local function parsed(name)
  local text = bytes_of(DATA .. name .. "/tokenizer.json")
  if text then return cjson.decode(text) end
  pending("LUASIGHT_DATA has no tokenizers/" .. name)
end

local function by_id(vocab)
  local list = {}
  for token, id in pairs(vocab) do list[id + 1] = token end
  return list
end

local texts = { "", "Hello world", " two  spaces ", "<unk> </s> [MASK] <|endoftext|> x",
  "caf\195\169 \226\130\172 \240\159\152\128\n\tx",
  "the cat's 1234 tokens, aren't they?",  "\228\184\173\230\150\135 \208\159\209\128\208\184\208\178\208\181\209\130" }

local function same(name, options)
  local json, old = ls.Tokenizer(DATA .. name), ls.Tokenizer(folder)
  for _, text in ipairs(texts) do
    assert.are.same(json:encode(text, options), old:encode(text, options), name .. ": " .. text)
    assert.are.equal(json:decode(json:encode(text)), old:decode(json:encode(text)), name .. ": " .. text)
  end
  assert.are.equal(#json, #old)
end

-- ---- writing a tokenizer.model -------------------------------------------------------------------------------------------

local ffi = require "ffi"
local cell = ffi.new "union { char bytes[4]; float value; }"

local function number(n)
  local out = ""
  repeat
    local low = n % 128
    n = math.floor(n / 128)
    out = out .. string.char(n > 0 and low + 128 or low)
  until n == 0
  return out
end

local function bytes_field(field, bytes) return number(field * 8 + 2) .. number(#bytes) .. bytes end
local function number_field(field, n) return number(field * 8) .. number(n) end
local function float_field(field, x)
  cell.value = x
  return number(field * 8 + 5) .. ffi.string(cell.bytes, 4)
end

---A model of pieces { text, score, kind }.
local function model_of(pieces, trainer, normalizer)
  local parts = {}
  for i, piece in ipairs(pieces) do
    parts[i] = bytes_field(1, bytes_field(1, piece[1]) .. float_field(2, piece[2]) .. number_field(3, piece[3]))
  end
  return table.concat(parts) .. bytes_field(2, trainer) .. bytes_field(3, normalizer)
end

local function kind_of(token, controls)
  return token == "<unk>" and 2 or controls[token] and 3 or token:find "^<0x%x%x>$" and 6 or 1
end

describe("a folder without tokenizer.json", function()
  before_each(function()
    folder = support.folder()
  end)

  after_each(function() support.remove(folder) end)

  it("with vocab.json and merges.txt is read as GPT-2's", function()
    local json = parsed "gpt2"
    if not json then return end
    put("vocab.json", cjson.encode(json.model.vocab))
    put("merges.txt", "#version: 0.2\n" .. table.concat(json.model.merges, "\n") .. "\n")
    put("tokenizer_config.json", '{"eos_token":"<|endoftext|>","bos_token":"<|endoftext|>","unk_token":"<|endoftext|>"}')
    same "gpt2"
    assert.are.equal(50256, ls.Tokenizer(folder).eos_token_id)
    put("tokenizer_config.json", '{"tokenizer_class":"CLIPTokenizer"}')
    assert.matches('of the class "CLIPTokenizer" is not implemented', support.failure(ls.Tokenizer, folder).message, 1, true)
  end)

  it("with vocab.txt is read as BERT's", function()
    local json = parsed "bert-base-uncased"
    if not json then return end
    put("vocab.txt", table.concat(by_id(json.model.vocab), "\n") .. "\n")
    put("tokenizer_config.json", '{"do_lower_case":true,"unk_token":"[UNK]","sep_token":"[SEP]","pad_token":"[PAD]",'
      .. '"cls_token":"[CLS]","mask_token":"[MASK]"}')
    same "bert-base-uncased"
  end)

  it("with the BPE tokenizer.model of SentencePiece is read as Llama's", function()
    local json = parsed "phi-3-mini"
    if not json then return end
    local pieces, controls, score = {}, { ["<s>"] = true, ["</s>"] = true }, {}
    for rank, merge in ipairs(json.model.merges) do -- what was learned first scores best
      local joined = merge:gsub(" ", "")
      score[joined] = score[joined] or -rank
    end
    for i, token in ipairs(by_id(json.model.vocab)) do
      if i <= 32000 then pieces[i] = { token, score[token] or 0, kind_of(token, controls) } end
    end
    put("tokenizer.model", model_of(pieces, number_field(3, 2) .. number_field(35, 1),
      number_field(3, 1) .. number_field(4, 0)))
    local old, new = ls.Tokenizer(folder), ls.Tokenizer(DATA .. "phi-3-mini")
    for _, text in ipairs(texts) do
      if not text:find "</s>" then -- which strips what follows in the newer file
        assert.are.same(new:encode(text, { add_special_tokens = false }), old:encode(text), text)
        assert.are.equal(text, old:decode(old:encode(text)))
      end
    end
    put("tokenizer_config.json", '{"tokenizer_class":"LlamaTokenizer"}')
    assert.are.same({ 1, 15043, 3186 }, ls.Tokenizer(folder):encode "Hello world")
  end)

  it("with the Unigram model of SentencePiece is read as T5's", function()
    local json = parsed "t5-small"
    if not json then return end
    local pieces, controls = {}, { ["<pad>"] = true, ["</s>"] = true }
    for i, pair in ipairs(json.model.vocab) do
      if i <= 32000 then pieces[i] = { pair[1], pair[2], kind_of(pair[1], controls) } end
    end
    local map = json.normalizer.precompiled_charsmap
    put("base64", map)
    support.output(("base64 -d <%s/base64 >%s/map"):format(folder, folder))
    put("spiece.model", model_of(pieces, number_field(40, 2) .. number_field(42, 1),
      bytes_field(2, (bytes_of(folder .. "/map")))))
    put("tokenizer_config.json", '{"tokenizer_class":"T5Tokenizer"}')
    same "t5-small"
  end)

  it("is refused where the model is broken, and where there is nothing", function()
    local function message()
      local ok, err = pcall(ls.Tokenizer, folder)
      assert.is_false(ok)
      return err.message
    end
    assert.is_truthy(message():find("there is no tokenizer.json in this folder, nor are there the files of an older", 1, true))
    local whole = model_of({ { "<unk>", 0, 2 }, { "a", -1, 1 } }, number_field(3, 1), number_field(3, 1))
    put("tokenizer.model", whole)
    assert.are.same({ 0, 1 }, ls.Tokenizer(folder):encode "a")
    for n = 0, #whole - 1 do
      put("tokenizer.model", whole:sub(1, n))
      local ok, err = pcall(ls.Tokenizer, folder)
      assert(ok or err.code == "format", tostring(err))
    end
    put("tokenizer.model", model_of({ { "<unk>", 0, 2 } }, number_field(3, 3), ""))
    assert.is_truthy(message():find("of the type word or char is not implemented", 1, true))
  end)
end)
