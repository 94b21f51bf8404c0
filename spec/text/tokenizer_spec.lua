-- Tokenizers: the same ids as the reference gives, text that comes back, and a reason for every file that is refused.
local cjson = require "cjson"
local ls = require "luasight"
local support = require "spec.support"
local torch = ls.torch

local DATA = os.getenv "LUASIGHT_DATA" or "../shared/data"
local GPT2 = DATA .. "/tokenizers/gpt2"

local folder

local function put(name, text) support.write(folder .. "/" .. name, text) end

local function bytes_of(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "*a"
  file:close()
  return bytes
end

---The error that a call gives: of this kind, in one line, and with this in its text or its hint.
local function fails(code, says, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok, says)
  assert.are.equal("table", type(err), tostring(err))
  assert.is_nil(err.message:find "%c", "the message has more than one line")
  assert.is_truthy(tostring(err):find(says, 1, true), tostring(err))
  assert.are.equal(code, err.code)
  return err
end

local reference = cjson.decode((bytes_of "spec/reference/tokenizer_added.json"))

---A tokenizer of 263 tokens with changes, as `apply` in spec/reference/tokenizer.py makes it.
local function small_json(changes)
  local whole, model, vocab, merges = {}, {}, {}, {}
  for name, part in pairs(reference.base) do whole[name] = part end
  for name, part in pairs(changes) do whole[name] = part end
  for name, part in pairs(reference.base.model) do model[name] = part end
  for name, part in pairs(changes.model or {}) do model[name] = part end
  local lacks = {}
  for _, token in ipairs(model.lacks or {}) do lacks[token] = true end
  model.lacks = nil
  for token, id in pairs(model.vocab) do vocab[lacks[token] and "lacks " .. token or token] = id end
  for _, merge in ipairs(model.merges) do
    local left, right = merge:match "^(.-) (.*)$"
    if not lacks[left] and not lacks[right] then merges[#merges + 1] = merge end
  end
  model.vocab, model.merges, whole.model = vocab, merges, model
  if #whole.added_tokens == 0 then whole.added_tokens = nil end
  return cjson.encode(whole)
end

---Writes it into the folder of the test and loads it from there.
local function small(changes, config)
  put("tokenizer.json", small_json(changes or {}))
  if config then put("tokenizer_config.json", config) end
  return ls.Tokenizer(folder)
end

local function special(id, content) return { id = id, content = content, special = true, normalized = false } end

local function around_text(name, id)
  return {
    type = "TemplateProcessing",
    single = { { SpecialToken = { id = name, type_id = 0 } }, { Sequence = { id = "A", type_id = 0 } },
      { SpecialToken = { id = name, type_id = 0 } } },
    special_tokens = { [name] = { id = name, ids = { id }, tokens = { name } } },
  }
end

describe("a tokenizer", function()
  local live

  before_each(function()
    collectgarbage()
    collectgarbage()
    live = ls.live()
    folder = support.folder()
  end)

  after_each(function()
    support.remove(folder)
    collectgarbage()
    collectgarbage()
    assert.are.equal(live, ls.live())
  end)

  describe("of GPT-2", function()
    local function gpt2()
      if bytes_of(GPT2 .. "/tokenizer.json") then return ls.Tokenizer(GPT2) end
      pending "LUASIGHT_DATA has no tokenizers/gpt2"
    end

    it("has the tokens and the end of text that the folder does not name", function()
      local tokenizer = gpt2()
      if not tokenizer then return end
      local ids = tokenizer:encode "When Mary and John went to the store, John gave a drink to"
      assert.are.same({ 2215, 5335, 290, 1757, 1816, 284, 262, 3650, 11, 1757, 2921, 257, 4144, 284 }, ids)
      assert.are.same({ "When", "ĠMary", "Ġand" }, tokenizer:convert_ids_to_tokens { ids[1], ids[2], ids[3] })
      assert.are.equal(5335, tokenizer(" Mary").input_ids[1])
      assert.are.equal(50257, tokenizer.vocab_size)
      assert.are.equal(50257, #tokenizer)
      assert.are.equal("<|endoftext|>", tokenizer.eos_token)
      assert.are.equal(50256, tokenizer.bos_token_id)
      assert.is_nil(tokenizer.pad_token)
      assert.are.same({ 50256, 31373 }, tokenizer:encode "<|endoftext|>hello")
    end)
  end)

  it("gives the ids and texts of the reference for every flag of added tokens and every setting", function()
    for i, case in ipairs(reference.cases) do
      local tokenizer = small(case.changes)
      for _, texts in ipairs(case.encoded) do
        assert.are.same(texts[2], tokenizer:encode(texts[1], { add_special_tokens = false }), i .. ": " .. texts[1])
        assert.are.same(texts[3], tokenizer:encode(texts[1]), i .. ": " .. texts[1])
      end
      for _, texts in ipairs(case.decoded) do
        assert.are.equal(texts[2], tokenizer:decode(texts[1]))
        assert.are.equal(texts[3], tokenizer:decode(texts[1], { skip_special_tokens = true }))
      end
      tokenizer:release()
    end
  end)

  it("reads merges as pairs of tokens, and a file with white space everywhere", function()
    local merges = {}
    for i, merge in ipairs(reference.base.model.merges) do merges[i] = { merge:match "^(.-) (.*)$" } end
    local text = small_json {}
    local list = cjson.encode(merges)
    local at, stop = text:find('"merges":%b[]')
    put("tokenizer.json", text:sub(1, at - 1) .. '"merges":' .. list:gsub("[%[%],]", "\n%0\t") .. text:sub(stop + 1) .. " \n")
    local paired = ls.Tokenizer(folder)
    assert.are.same(small():encode "the abab\195\169", paired:encode "the abab\195\169")
  end)

  describe("decodes", function()
    it("a list, a number, and tensors of no or one axis", function()
      local tokenizer = small()
      local ids = tokenizer:encode "the tab"
      assert.are.equal("the tab", tokenizer:decode(ids))
      local tensor = torch.tensor({ ids, ids }, { dtype = "int64" })
      assert.are.equal("the tab", tokenizer:decode(tensor[0]))
      assert.are.equal("the", tokenizer:decode(tensor[{ 0, 0 }]))
      assert.are.equal("thethe", tokenizer:decode(tensor:t()[0]))
      assert.are.equal("the", tokenizer:decode(ids[1]))
      assert.are.equal("the", tokenizer:decode(0LL + ids[1]))
      assert.are.equal("the", tokenizer:decode { tensor[{ 1, 0 }] })
      assert.are.equal("the tab", tokenizer:decode(tensor[1]:to "int32"))
      assert.are.equal("", tokenizer:decode {})
    end)

    it("bytes that are no UTF-8 to U+FFFD, as text of such bytes is read", function()
      local tokenizer = small()
      local broken = tokenizer:encode "\195\169"
      assert.are.equal(1, #broken)
      local first, second = unpack(tokenizer:convert_tokens_to_ids { "\195\131", "\194\169" })
      assert.are.equal("\239\191\189", tokenizer:decode(first))
      assert.are.equal("\195\169", tokenizer:decode { first, second })
      assert.are.same(tokenizer:encode "a\239\191\189b", tokenizer:encode "a\255b")
      assert.are.equal("a\0b", tokenizer:decode(tokenizer:encode "a\0b"))
    end)

    it("nothing else, and says what it was given", function()
      local tokenizer = small()
      local decode = tokenizer.decode
      fails("index", "token id 263 is out of range: the vocabulary has the ids 0 to 262", decode, tokenizer, { 1, 263 })
      fails("index", "token id -1", decode, tokenizer, -1)
      fails("index", "token id 999", tokenizer.convert_ids_to_tokens, tokenizer, { 999 })
      fails("argument", "1.5, which is element 2", decode, tokenizer, { 1, 1.5 })
      fails("argument", "not 1.5", decode, tokenizer, 1.5)
      fails("argument", "encode turns text into ids", decode, tokenizer, "1")
      fails("argument", "not a nil", decode, tokenizer)
      fails("argument", "a list of lists", decode, tokenizer, { { 1 } })
      fails("argument", "a table of names", decode, tokenizer, tokenizer("a", { return_tensors = true }))
      fails("argument", "a tensor of float32", decode, tokenizer, torch.tensor { 1, 2 })
      fails("argument", "ids[0]", decode, tokenizer, torch.tensor({ { 1 } }, { dtype = "int64" }))
      fails("name", 'did you mean "skip_special_tokens"?', decode, tokenizer, { 1 }, { skip_special_token = true })
      fails("argument", "the tokenizer is missing", decode, { 1 })
    end)
  end)

  describe("called", function()
    it("with a text gives a list, and with several lists and masks", function()
      local tokenizer = small()
      local ids = tokenizer:encode "the"
      assert.are.same({ input_ids = ids }, tokenizer "the")
      assert.are.same({ input_ids = { ids, { ids[1], ids[1] } }, attention_mask = { { 1 }, { 1, 1 } } },
        tokenizer { "the", "thethe" })
      assert.are.same({ input_ids = {} }, tokenizer "")
    end)

    it("for tensors gives int64 of [B, T]", function()
      local tokenizer = small()
      local out = tokenizer("thethe", { return_tensors = true })
      assert.are.equal("[1, 2]", tostring(out.input_ids.shape))
      assert.are.equal("int64", out.input_ids.dtype)
      assert.are.same({ { 1, 1 } }, out.attention_mask:tolist())
      assert.are.equal("[2, 1]", tostring(tokenizer({ "the", "ab" }, { return_tensors = "pt" }).input_ids.shape))
      assert.are.equal("[1, 0]", tostring(tokenizer("", { return_tensors = true }).input_ids.shape))
      local err = fails("shape", "1 to 2 tokens", tokenizer, { "the", "thethe" }, { return_tensors = true })
      assert.is_truthy(err.hint:find("padding", 1, true))
    end)

    it("pads on the side asked for with the pad token, else with the end of text", function()
      local tokenizer = small({ added_tokens = { special(263, "<pad>"), special(264, "<eos>") } }, '{"eos_token":"<eos>"}')
      local the = tokenizer:encode("the")[1]
      local texts = { "the", "thethe" }
      local out = tokenizer(texts, { padding = true })
      assert.are.same({ { 264, the }, { the, the } }, out.input_ids)
      assert.are.same({ { 0, 1 }, { 1, 1 } }, out.attention_mask)
      tokenizer.pad_token = "<pad>"
      assert.are.equal(263, tokenizer.pad_token_id)
      out = tokenizer(texts, { padding = "right", return_tensors = true })
      assert.are.same({ { the, 263 }, { the, the } }, out.input_ids:tolist())
      assert.are.same({ { 1, 0 }, { 1, 1 } }, out.attention_mask:tolist())
      tokenizer.padding_side = "right"
      assert.are.same({ { the, 263 }, { the, the } }, tokenizer(texts, { padding = true }).input_ids)
      tokenizer.pad_token, tokenizer.eos_token = nil, nil
      fails("state", "neither pad_token nor eos_token", tokenizer, texts, { padding = true })
      fails("name", "is not in its vocabulary", function() tokenizer.pad_token = "<no>" end)
      fails("argument", '"left" or "right"', function() tokenizer.padding_side = "both" end)
    end)

    it("truncates the text and keeps the special tokens around it", function()
      local tokenizer = small({ added_tokens = { special(263, "<s>") }, post_processor = around_text("<s>", 263) },
        '{"model_max_length":4}')
      local t, h, a = unpack(tokenizer:convert_tokens_to_ids { "t", "the", "ab" })
      assert.are.same({ 263, h, a, t, 263 }, tokenizer:encode "theabt")
      assert.are.same({ h, a, t }, tokenizer:encode("theabt", { add_special_tokens = false }))
      assert.are.same({ 263, h, a, 263 }, tokenizer:encode("theabt", { truncation = true }))
      assert.are.same({ 263, h, 263 }, tokenizer("theabt", { truncation = true, max_length = 3 }).input_ids)
      assert.are.same({ h, a }, tokenizer:encode("theabt", { truncation = true, max_length = 2, add_special_tokens = false }))
      assert.are.same({ 263, h, a, t, 263 }, tokenizer:encode("theabt", { max_length = 3 }))
      tokenizer.truncation_side = "left"
      assert.are.same({ 263, a, t, 263 }, tokenizer:encode("theabt", { truncation = true }))
      assert.are.same({ 263, 263 }, tokenizer:encode("theabt", { truncation = true, max_length = 2 }))
      fails("argument", "the special tokens alone are 2", tokenizer.encode, tokenizer, "the",
        { truncation = true, max_length = 1 })
      tokenizer.model_max_length = nil
      fails("argument", "truncation needs the option max_length", tokenizer.encode, tokenizer, "the", { truncation = true })
    end)

    it("wrongly says what is wrong", function()
      local tokenizer = small()
      fails("argument", "not a nil", tokenizer)
      fails("argument", "not a number", tokenizer, 5)
      fails("argument", "this list is empty", tokenizer, {})
      fails("argument", "a number at [2]", tokenizer, { "a", 1 })
      fails("argument", "a string, not a table", tokenizer.encode, tokenizer, { "a" })
      fails("argument", "are a table, not a string", tokenizer, "a", "pt")
      fails("name", 'did you mean "return_tensors"?', tokenizer, "a", { return_tensor = true })
      fails("name", 'encode has no option "padding"', tokenizer.encode, tokenizer, "a", { padding = true })
      fails("argument", "return_tensors is true or false", tokenizer, "a", { return_tensors = "np" })
      fails("argument", '"left", "right" or "max_length"', tokenizer, { "a" }, { padding = "both" })
      fails("argument", "max_length is a whole number", tokenizer, "a", { truncation = true, max_length = 0 })
      fails("argument", "truncation is true or false", tokenizer, "a", { truncation = 1 })
      fails("name", 'did you mean "eos_token"', function() return tokenizer.eos_tokn end)
      fails("argument", "the field vocab_size of a tokenizer cannot be set", function() tokenizer.vocab_size = 1 end)
    end)
  end)

  describe("knows its tokens", function()
    it("by id and by text, one or several", function()
      local tokenizer = small()
      local id = tokenizer:convert_tokens_to_ids "\196\160the"
      assert.are.equal("\196\160the", tokenizer:convert_ids_to_tokens(id))
      assert.are.same({ "\196\160the" }, tokenizer:convert_ids_to_tokens(torch.tensor({ id }, { dtype = "int64" })))
      assert.are.same({ id, id }, tokenizer:convert_tokens_to_ids { "\196\160the", "\196\160the" })
      assert.are.same({}, tokenizer:convert_tokens_to_ids {})
      local err = fails("name", 'no token " the"', tokenizer.convert_tokens_to_ids, tokenizer, " the")
      assert.is_truthy(err.hint:find("\196\160the", 1, true))
      fails("name", 'no token "xyz"', tokenizer.convert_tokens_to_ids, tokenizer, { "a", "xyz" })
      fails("argument", "a string, not a number", tokenizer.convert_tokens_to_ids, tokenizer, 1)
    end)

    it("that are special, as text, as object, as null, and from the older file", function()
      local changes = { added_tokens = { special(263, "<a>"), special(264, "<b>"), special(265, "<|endoftext|>") } }
      local tokenizer = small(changes, [[{"bos_token":{"__type":"AddedToken","content":"<a>"},"pad_token":null,
        "model_max_length":1000000000000000019884624838656,"padding_side":"right"}]])
      put("special_tokens_map.json", '{"pad_token":"<b>","mask_token":"<b>","bos_token":"<b>","unk_token":{"content":"<b>"}}')
      assert.are.equal("<a>", tokenizer.bos_token)
      assert.are.equal("<|endoftext|>", tokenizer.unk_token)
      tokenizer = ls.Tokenizer(folder)
      assert.are.equal(263, tokenizer.bos_token_id)
      assert.are.equal(264, tokenizer.unk_token_id)
      assert.are.equal(264, tokenizer.mask_token_id)
      assert.are.equal(265, tokenizer.eos_token_id)
      assert.is_nil(tokenizer.pad_token)
      assert.is_nil(tokenizer.model_max_length)
      assert.are.equal("right", tokenizer.padding_side)
      put("tokenizer_config.json", '{"tokenizer_class":"PreTrainedTokenizerFast","pad_token":"[PAD]"}')
      os.remove(folder .. "/special_tokens_map.json")
      tokenizer = ls.Tokenizer(folder)
      assert.is_nil(tokenizer.eos_token)
      assert.are.equal("[PAD]", tokenizer.pad_token)
      assert.is_nil(tokenizer.pad_token_id)
    end)

    it("and leaves out those with a role, though tokenizer.json does not call them special", function()
      local tokenizer = small({ added_tokens = { { id = 263, content = "<a>", special = false } } }, '{"eos_token":"<a>"}')
      local ids = tokenizer:encode "the<a>"
      assert.are.equal("the<a>", tokenizer:decode(ids))
      assert.are.equal("the", tokenizer:decode(ids, { skip_special_tokens = true }))
    end)

    it("and prints itself in one line", function()
      local tokenizer = small({}, '{"eos_token":"the","model_max_length":64}')
      assert.are.equal(("Tokenizer(%s: 263 tokens, eos \"the\", at most 64 in a text)"):format(folder), tostring(tokenizer))
      tokenizer:release()
      tokenizer:release()
      assert.are.equal(("Tokenizer(%s, released)"):format(folder), tostring(tokenizer))
      fails("state", "has been released", tokenizer.encode, tokenizer, "a")
    end)
  end)

  describe("refuses a folder", function()
    it("that is none, or lacks tokenizer.json, and says what it has", function()
      fails("argument", "a string, not a nil", ls.Tokenizer)
      fails("io", "there is no such folder", ls.Tokenizer, folder .. "/none")
      fails("io", "there is no tokenizer.json in this folder", ls.Tokenizer, folder)
      put("vocab.json", "{}")
      fails("io", "there is no tokenizer.json in this folder", ls.Tokenizer, folder)
      put("merges.txt", "")
      fails("format", "vocab.json, merges.txt: model.vocab[0]: the vocabulary is empty", ls.Tokenizer, folder)
      os.remove(folder .. "/merges.txt")
      put("tokenizer.model", "")
      fails("format", "is not a SentencePiece model", ls.Tokenizer, folder)
      put("tokenizer.json", small_json {})
      fails("io", "is a file, not a folder", ls.Tokenizer, folder .. "/tokenizer.json")
    end)

    it("whose configuration is broken or says otherwise than tokenizer.json", function()
      for config, says in pairs {
        ["{"] = "not valid JSON", [""] = "is empty", ["[]"] = "JSON object",
        ['{"eos_token":5}'] = '"eos_token" is neither a token nor null',
        ['{"model_max_length":"x"}'] = '"model_max_length" is not a number',
        ['{"padding_side":"up"}'] = '"padding_side" is neither',
        ['{"added_tokens_decoder":{"7":{"content":"<x>"}}}'] = "gives the id 7",
        ['{"add_prefix_space":true}'] = '"add_prefix_space" is true, but in tokenizer.json it is false',
      } do
        local err = fails("format", says, small, {}, config)
        assert.is_truthy(err.message:find("tokenizer_config.json", 1, true))
      end
      small({}, '{"add_prefix_space":false,"added_tokens_decoder":{}}')
    end)

    it("whose tokenizer.json is cut short anywhere", function()
      local whole = small_json { added_tokens = { special(263, "<s>") }, post_processor = around_text("<s>", 263) }
      put("tokenizer.json", "")
      fails("format", "tokenizer.json", ls.Tokenizer, folder)
      for n = 1, #whole - 1, 3 do
        put("tokenizer.json", whole:sub(1, n))
        local ok, err = pcall(ls.Tokenizer, folder)
        assert.is_false(ok)
        assert.are.equal("format", err.code)
      end
    end)

    it("whose tokenizer.json lies, each with the place", function()
      local model = reference.base.model
      local function vocab_with(token, id)
        local vocab = {}
        for t, i in pairs(model.vocab) do vocab[t] = i end
        vocab[token] = id
        return { model = { vocab = vocab } }
      end
      for says, changes in pairs {
        ["version: the version of the file is not"] = { version = "2.0" },
        ['"extra" is unknown'] = { extra = 1 },
        ["normalizer: the stage NFZ is not implemented"] = { normalizer = { type = "NFZ" } },
        ["pre_tokenizer: the stage FixedLength is not implemented"] = { pre_tokenizer = { type = "FixedLength" } },
        ["decoder: the stage Morse is not"] = { decoder = { type = "Sequence", decoders = { { type = "Morse" } } } },
        ["post_processor: the stage Sort is not implemented"] = { post_processor = { type = "Sort" } },
        ['the setting "sep" is not a list'] = { post_processor = { type = "BertProcessing", cls = { "a", 1 } } },
        ["post_processor: the post-processor has more than one stage"] = { post_processor = { type = "Sequence",
          processors = { around_text("a", 1), around_text("a", 1) } } },
        ["model.type: a model of type Markov is not implemented"] = { model = { type = "Markov" } },
        ["model.merges: this setting is not for a model of type WordLevel"] = { model = { type = "WordLevel" } },
        ["model.byte_fallback: this setting of the model is neither true nor false"] = { model = { byte_fallback = 1 } },
        ["model.dropout: merges dropped"] = { model = { dropout = 0.1 } },
        ["model.end_of_word_suffix[0]: a JSON string is missing"] = { model = { end_of_word_suffix = 5 } },
        ['model.unk_token: the token "<unk>" is not in the vocabulary'] = { model = { unk_token = "<unk>" } },
        ["normalizer: this part of tokenizer.json is not a JSON"] = { normalizer = { type = "Sequence", normalizers = { 1 } } },
        ['normalizer: setting "prepend" is missing'] = { normalizer = { type = "Prepend" } },
        ['normalizer: the member "lowercse" is unknown'] = { normalizer = { type = "BertNormalizer", lowercse = true } },
        ['"precompiled_charsmap" is not base64'] = { normalizer = { type = "Precompiled", precompiled_charsmap = "?" } },
        ['"precompiled_charsmap" is cut short'] = { normalizer = { type = "Precompiled", precompiled_charsmap = "AAAAgAAA" } },
        ["normalizer: \"(\" is not a valid regular expression: end pattern with unmatched parenthesis"] =
          { normalizer = { type = "Replace", pattern = { Regex = "(" }, content = "" } },
        ['pre_tokenizer: the "pattern" of a stage is neither'] = { pre_tokenizer = { type = "Split", behavior = "Isolated" } },
        ['has the value "Thrown", unknown'] = { pre_tokenizer = { type = "Split", pattern = "a", behavior = "Thrown" } },
        ['"replacement" is not one character'] = { pre_tokenizer = { type = "Metaspace", replacement = "ab" } },
        ["model.vocab"] = vocab_with("a", "b"),
        ["the id of a token is larger than the number of tokens"] = vocab_with("zz", 2 ^ 30),
        ["no token has the id 263"] = vocab_with("zz", 264),
        ["is taken by another token"] = vocab_with("zz", 5),
        ["a merge must be two tokens"] = { model = { merges = { "a b c" } } },
        ['"zz" is not in the vocabulary'] = { model = { merges = { "zz a" } } },
        ['"ac" is not in the vocabulary'] = { model = { merges = { "a c" } } },
        ['added_tokens: [0]: token "the" has the id 5, but'] = { added_tokens = { special(5, "the") } },
        ['added_tokens: the member "lstrp" is unknown'] = { added_tokens = { { id = 263, content = "x", lstrp = true } } },
        ['"content" of an added token is not a text'] = { added_tokens = { { id = 263, content = "" } } },
        ['"special_tokens" gives no ids for "<s>"'] = { post_processor = around_text("<s>", nil) },
        ['gives "<s>" an id that is not in the vocabulary'] = { post_processor = around_text("<s>", 999) },
      } do
        local err = fails("format", says, small, changes)
        assert.are.equal(folder .. "/tokenizer.json: ", err.message:sub(1, #folder + 17))
      end
    end)
  end)

  it("reads what the trainer writes", function()
    local trained = ls.tokenizer_trainer.train({ ("the cat sat "):rep(9) }, { vocab_size = 262 })
    put("tokenizer.json", trained:json())
    local tokenizer = ls.Tokenizer(folder)
    assert.are.equal(#trained.vocab, #tokenizer)
    assert.are.equal(trained.vocab[258], tokenizer:convert_ids_to_tokens(257))
    assert.are.equal(#trained.vocab - 1, tokenizer.eos_token_id)
    assert.are.equal("the cat\n\195\169", tokenizer:decode(tokenizer:encode "the cat\n\195\169"))
  end)
end)
