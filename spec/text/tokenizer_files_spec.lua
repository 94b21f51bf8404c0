-- Whole tokenizers of known models: every id, place, word and decoded text as the reference gives them.
local ls = require "luasight"
local support = require "spec.support"

local DATA = os.getenv "LUASIGHT_DATA" or "../shared/data"
local REFERENCE = "spec/reference/tokenizer_files/"

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

local function lines_of(path)
  local list = {}
  for line in support.output("gzip -dc " .. path):gmatch "([^\n]*)\n" do list[#list + 1] = line end
  return list
end

local function bytes(hex)
  return (hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end))
end

---As `sum_up` in spec/reference/tokenizer_files.py.
local function sum_up(parts)
  local number = 0
  for i = 1, #parts do
    for k = 1, #parts[i] do number = (number * 257 + parts[i]:byte(k)) % 4294967291 end
    if i < #parts then number = (number * 257 + 124) % 4294967291 end
  end
  return number
end

local function details(tokenizer, out)
  local places, words = {}, {}
  for i, place in ipairs(out.offset_mapping) do places[i] = place[1] .. "-" .. place[2] end
  for i, word in ipairs(out.word_ids) do words[i] = tostring(word or -1) end
  return { table.concat(places, " "), table.concat(words, " "), table.concat(out.token_type_ids, " "),
    table.concat(out.special_tokens_mask, " "), tokenizer:decode(out.input_ids),
    tokenizer:decode(out.input_ids, { skip_special_tokens = true }) }
end

local strings

local function check(name)
  local folder = DATA .. "/tokenizers/" .. name
  if not exists(folder .. "/tokenizer.json") then
    pending("LUASIGHT_DATA has no tokenizers/" .. name)
    return
  end
  strings = strings or lines_of(REFERENCE .. "strings.gz")
  assert.are.equal(5000, #strings)
  local tokenizer, wrong, first = ls.Tokenizer(folder), 0, nil
  for i, line in ipairs(lines_of(REFERENCE .. name .. ".gz")) do
    local ids, sum = line:match "^(.*)\t(%d+)$"
    local done, out = pcall(tokenizer, bytes(strings[i]), { add_special_tokens = i % 2 == 1, return_offsets_mapping = true,
      return_word_ids = true, return_special_tokens_mask = true, return_token_type_ids = true })
    if not done or not ids then
      assert(not ids and tostring(out):find("the vocabulary has no token for", 1, true), tostring(out))
      out = { input_ids = {}, offset_mapping = {}, word_ids = {}, token_type_ids = {}, special_tokens_mask = {} }
    end
    local got, parts = table.concat(out.input_ids, " "), details(tokenizer, out)
    if ids and (got ~= ids or sum_up(parts) ~= tonumber(sum)) then
      wrong = wrong + 1
      first = (first or "") .. ("string %d (%s):\n%s\nnot\n%s\n%s"):format(i, strings[i], got, ids, table.concat(parts, "\n"))
    end
  end
  assert(wrong == 0, ("%d strings differ, the first is %s"):format(wrong, first))
end

---The 47 published strings of a tokenizer and their ids, which have no special tokens around them.
local function golden(name, folder, each)
  local path = DATA .. "/tokenizers/golden/" .. name
  if not exists(path .. ".inp") or not exists(DATA .. "/tokenizers/" .. folder .. "/tokenizer.json") then
    pending("LUASIGHT_DATA has no tokenizers/golden/" .. name)
    return
  end
  local tokenizer, lines, count = ls.Tokenizer(DATA .. "/tokenizers/" .. folder), {}, 0
  for line in io.lines(path .. ".out") do lines[#lines + 1] = line end
  local file, mark = assert(io.open(path .. ".inp", "rb")), "\n__ggml_vocab_test__\n"
  for text in (file:read "*a" .. mark):gmatch("(.-)" .. mark) do
    count = count + 1
    local ids = {}
    for id in (lines[count] or ""):gmatch "%d+" do ids[#ids + 1] = tonumber(id) end
    assert.are.same(ids, tokenizer:encode(text, { add_special_tokens = false }), text)
    each(text, tokenizer:decode(ids))
  end
  file:close()
  assert.are.equal(47, count)
end

describe("the published strings", function()
  for name, folder in pairs { ["gpt-2"] = "gpt2", falcon = "falcon", ["phi-3"] = "phi-3-mini" } do
    it("have their ids with " .. folder .. ", and come back", function()
      golden(name, folder, function(text, back) assert.are.equal(text, back) end)
    end)
  end

  it("have their ids with bert-base-uncased, and come back without what BERT does not see", function()
    golden("bert-bge", "bert-base-uncased", function(text, back)
      if text:find "^[%l ]*$" then assert.are.equal(text:match "^ *(.-) *$":gsub("  +", " "), back) end
    end)
  end)
end)

describe("the tokenizer of", function()
  for _, name in ipairs { "gpt2", "gpt-neox-20b", "falcon", "phi-3-mini", "bert-base-uncased", "t5-small" } do
    it(name .. " agrees with the reference on 5000 strings", function() check(name) end)
  end
end)
