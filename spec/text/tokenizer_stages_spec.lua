-- Every stage of a tokenizer by itself, and models with post-processors, as the reference has them.
local cjson = require "cjson"
local ls = require "luasight"
local support = require "spec.support"

local function gunzip(path) return support.output("gzip -dc " .. path) end

---As `sum_up` in spec/reference/tokenizer_files.py.
local function sum_up(parts)
  local text, number = table.concat(parts, "|"), 0
  for i = 1, #text do number = (number * 257 + text:byte(i)) % 4294967291 end
  return number
end

local folder, reference, strings

---The tokenizer that these sections make.
local function load(sections)
  local whole = { version = "1.0", model = reference.model }
  for name, section in pairs(sections) do whole[name] = section end
  if whole.model == reference.model then
    whole.added_tokens = { { id = 257, content = "Mary", lstrip = true, normalized = true, special = false } }
  end
  local file = assert(io.open(folder .. "/tokenizer.json", "wb"))
  file:write((cjson.encode(whole):gsub('"merges":{}', '"merges":[]')))
  file:close()
  return ls.Tokenizer(folder)
end

describe("the stage", function()
  setup(function()
    folder = support.folder()
    reference = cjson.decode(gunzip "spec/reference/tokenizer_stages.json.gz")
    local all = {}
    for hex in gunzip("spec/reference/tokenizer_files/strings.gz"):gmatch "([^\n]*)\n" do
      all[#all + 1] = hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
    end
    strings = {}
    for _, range in ipairs { reference.first, reference["then"] } do
      for i = range[1], range[2], range[3] do strings[#strings + 1] = all[i] end
    end
  end)

  teardown(function() support.remove(folder) end)

  it("does to a text what it does there: normalizers and pre-tokenizers", function()
    for _, case in ipairs(reference.stages) do
      local tokenizer, wrong, first = load(case.sections), 0, nil
      assert.is_true(#case.sums > 300 and #case.sums <= #strings)
      for i, sum in ipairs(case.sums) do
        local out = tokenizer(strings[i], { return_offsets_mapping = true, return_word_ids = true })
        local places, words = {}, {}
        for k, place in ipairs(out.offset_mapping) do places[k] = place[1] .. "-" .. place[2] end
        for k, word in ipairs(out.word_ids) do words[k] = tostring(word or -1) end
        local parts = { table.concat(out.input_ids, " "), table.concat(places, " "), table.concat(words, " ") }
        if sum ~= cjson.null and sum_up(parts) ~= sum then
          wrong, first = wrong + 1, first or ("%q:\n%s"):format(strings[i], table.concat(parts, "\n"))
        end
      end
      assert(wrong == 0, ("%s: %d of %d differ, the first is %s"):format(cjson.encode(case.sections), wrong, #case.sums,
        first or ""))
      tokenizer:release()
    end
  end)

  it("makes the same text of ids: decoders", function()
    local vocab = {}
    for i, token in ipairs(reference.tokens) do vocab[token] = i - 1 end
    local model = { type = "WordLevel", unk_token = "a", vocab = vocab }
    for _, case in ipairs(reference.decoders) do
      local tokenizer = load { model = model, decoder = case.sections.decoder }
      assert.is_true(#case.rows > 30)
      for _, row in ipairs(case.rows) do
        assert.are.equal(row[2], tokenizer:decode(row[1]), cjson.encode(case.sections) .. cjson.encode(row))
      end
      tokenizer:release()
    end
  end)

  it("and the model make the same tokens of one text and of two, cut and whole", function()
    local refused, compared = 0, 0
    for _, case in ipairs(reference.whole) do
      local tokenizer = load(case.sections)
      for _, row in ipairs(case.rows) do
        local text, pair, limit, strategy, side, special, want = unpack(row)
        local none = cjson.null
        tokenizer.truncation_side = side
        local ok, out = pcall(tokenizer, text, {
          text_pair = pair ~= none and pair or nil, truncation = limit ~= none and strategy,
          max_length = limit ~= none and limit or nil, add_special_tokens = special,
          return_offsets_mapping = true, return_token_type_ids = true, return_special_tokens_mask = true,
        })
        if want == none then
          assert.is_false(ok)
          refused = refused + 1
        else
          assert(ok, tostring(out))
          assert.are.same(want, { out.input_ids, out.offset_mapping, out.token_type_ids, out.special_tokens_mask },
            cjson.encode { case.sections.model.type, case.sections.post_processor, row })
          compared = compared + 1
        end
      end
      tokenizer:release()
    end
    assert.is_true(refused > 0 and compared > 300)
  end)
end)
