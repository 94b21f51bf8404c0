--- Reads the tokenizers of folders without a tokenizer.json: vocab.json with merges.txt, vocab.txt, or SentencePiece's
--- tokenizer.model. From these files, the text of the tokenizer.json that the tokenizer's class would write is made.
local binding = require "luasight.ffi"
local checkpoint = require "luasight.files.checkpoint"
local quoted = require("luasight.files.safetensors").quoted
local sentencepiece = require "luasight.text.tokenizer.sentencepiece"
local cjson = require("cjson").new()

local exists, null = checkpoint.exists, checkpoint.null

local older = {}

local function list(items) return #items > 0 and cjson.encode(items) or "[]" end

local function byte_level(prefix)
  return { type = "ByteLevel", add_prefix_space = prefix, trim_offsets = true, use_regex = true }
end

---Returns the tokenizer's class that tokenizer_config.json names, without the ending "Fast", or `default` where it names
---none; raises an error for a class that is not in `known`.
local function class_of(folder, config, known, default, files)
  local class = config.tokenizer_class
  if class == nil or class == null then class = default end
  class = tostring(class):gsub("Fast$", "")
  if not known[class] then
    binding.raise("format", ("%s: without tokenizer.json, a tokenizer of %s and of the class %s is not implemented")
      :format(folder, files, quoted(class)),
      { hint = "let transformers write a tokenizer.json: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)" })
  end
  return class
end

local function yes(value, default)
  if type(value) == "boolean" then return value end
  return default
end

---Returns the tokens to add to the vocabulary: those that the folder lists with ids, then the special tokens. A special token
---that is not in the vocabulary gets the next id behind it.
---@param folder string
---@param config table           tokenizer_config.json
---@param specials string[]      the texts of the special tokens
---@param id_of fun(token: string): integer?  returns the id of a token of the vocabulary
---@param size integer           the size of the vocabulary
local function added_tokens(folder, config, specials, id_of, size)
  local entries, seen, special = {}, {}, {}
  local function add(content, id, flags)
    if seen[content] then return end
    seen[content] = true
    size = math.max(size, id + 1)
    entries[#entries + 1] = { id = id, content = content, special = yes(flags.special, special[content] or false),
      lstrip = yes(flags.lstrip, false), rstrip = yes(flags.rstrip, false), single_word = yes(flags.single_word, false),
      normalized = yes(flags.normalized, not special[content]) }
  end
  for _, token in ipairs(specials) do special[token] = true end
  if type(config.added_tokens_decoder) == "table" then
    for id, entry in pairs(config.added_tokens_decoder) do
      local content = type(entry) == "table" and entry.content
      if tonumber(id) and type(content) == "string" then add(content, tonumber(id), entry) end
    end
  end
  local path = folder .. "/added_tokens.json"
  for token, id in pairs(exists(path) and checkpoint.object(path) or {}) do
    if type(id) == "number" then add(token, id, {}) end
  end
  for _, token in ipairs(specials) do
    if not seen[token] then add(token, id_of(token) or size, { special = true, normalized = false }) end
  end
  table.sort(entries, function(a, b) return a.id < b.id end)
  return entries
end

---Returns the text of a tokenizer.json made of its sections; `vocab` and `merges` are JSON texts already.
local function whole(sections, model, vocab, merges)
  local parts = { '{"version":"1.0"' }
  for _, name in ipairs { "normalizer", "pre_tokenizer", "post_processor", "decoder" } do
    if sections[name] then parts[#parts + 1] = (',"%s":%s'):format(name, cjson.encode(sections[name])) end
  end
  parts[#parts + 1] = ',"added_tokens":' .. list(sections.added_tokens)
  parts[#parts + 1] = ',"model":' .. cjson.encode(model):sub(1, -2) .. ',"vocab":' .. vocab
  if merges then parts[#parts + 1] = ',"merges":' .. merges end
  parts[#parts + 1] = "}}"
  return table.concat(parts)
end

-- ---- vocab.json and merges.txt -----------------------------------------------------------------------------------------

local QWEN = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
  .. "\\s+(?!\\S)|\\s+"

local pair_classes = { GPT2Tokenizer = true, RobertaTokenizer = true, BartTokenizer = true, Qwen2Tokenizer = true }

local function merges_of(path)
  local merges = {}
  for line in (checkpoint.text(path) .. "\n"):gmatch "([^\r\n]*)\r?\n" do
    if line ~= "" and not (#merges == 0 and line:find "^#version") then merges[#merges + 1] = line end
  end
  return list(merges)
end

local function from_pairs(folder, config, specials)
  local class = class_of(folder, config, pair_classes, "GPT2Tokenizer", "vocab.json and merges.txt")
  local vocab, size = checkpoint.object(folder .. "/vocab.json"), 0
  for _, id in pairs(vocab) do size = math.max(size, (tonumber(id) or 0) + 1) end
  local bert = class == "RobertaTokenizer" or class == "BartTokenizer"
  local prefix = yes(config.add_prefix_space, false)
  local split = byte_level(prefix)
  local sections = { pre_tokenizer = split, decoder = byte_level(true), post_processor = byte_level(false) }
  if class == "Qwen2Tokenizer" then
    split.use_regex = false
    sections.normalizer = { type = "NFC" }
    sections.pre_tokenizer = { type = "Sequence", pretokenizers = {
      { type = "Split", pattern = { Regex = QWEN }, behavior = "Isolated", invert = false }, split } }
  elseif bert then
    local cls, sep = config.cls_token or "<s>", config.sep_token or "</s>"
    sections.post_processor = { type = "RobertaProcessing", cls = { cls, vocab[cls] }, sep = { sep, vocab[sep] },
      trim_offsets = true, add_prefix_space = prefix }
  end
  sections.added_tokens = added_tokens(folder, config, specials, function(token) return vocab[token] end, size)
  for _, entry in ipairs(sections.added_tokens) do
    if bert and entry.content == "<mask>" then entry.lstrip = true end
  end
  return whole(sections, { type = "BPE" }, checkpoint.text(folder .. "/vocab.json"), merges_of(folder .. "/merges.txt"))
end

-- ---- vocab.txt ---------------------------------------------------------------------------------------------------------

local word_classes = { BertTokenizer = true, DistilBertTokenizer = true, ElectraTokenizer = true }

local function from_words(folder, config, specials)
  class_of(folder, config, word_classes, "BertTokenizer", "vocab.txt")
  local vocab, parts, size = {}, {}, 0
  for line in (checkpoint.text(folder .. "/vocab.txt") .. "\n"):gmatch "([^\n]*)\n" do
    line = line:gsub("\r$", "")
    if line ~= "" and not vocab[line] then
      vocab[line], parts[#parts + 1] = size, cjson.encode(line) .. ":" .. size
      size = size + 1
    end
  end
  local accents = config.strip_accents
  local sep, cls, unknown = config.sep_token or "[SEP]", config.cls_token or "[CLS]", config.unk_token or "[UNK]"
  return whole({
    normalizer = { type = "BertNormalizer", clean_text = true, handle_chinese_chars = yes(config.tokenize_chinese_chars, true),
      strip_accents = type(accents) == "boolean" and accents or accents == nil and null or null,
      lowercase = yes(config.do_lower_case, true) },
    pre_tokenizer = { type = "BertPreTokenizer" },
    post_processor = { type = "BertProcessing", sep = { sep, vocab[sep] }, cls = { cls, vocab[cls] } },
    decoder = { type = "WordPiece", prefix = "##", cleanup = true },
    added_tokens = added_tokens(folder, config, specials, function(token) return vocab[token] end, size),
  }, { type = "WordPiece", unk_token = unknown, continuing_subword_prefix = "##", max_input_chars_per_word = 100 },
    "{" .. table.concat(parts, ",") .. "}")
end

-- ---- tokenizer.model ---------------------------------------------------------------------------------------------------

local piece_classes = { LlamaTokenizer = { true, false }, GemmaTokenizer = { true, false }, T5Tokenizer = { false, true },
  [""] = { false, false } } -- for each class: is the token bos put before a text, and eos behind it?

local function around(config, class, ids)
  local items, known = {}, {}
  local defaults = piece_classes[class]
  local function special(name, id)
    if not id then return end
    items[#items + 1] = { SpecialToken = { id = name, type_id = 0 } }
    known[name] = { id = name, ids = { id }, tokens = { name } }
  end
  if yes(config.add_bos_token, defaults[1]) then special("bos", ids.bos) end
  items[#items + 1] = { Sequence = { id = "A", type_id = 0 } }
  if yes(config.add_eos_token, defaults[2]) then special("eos", ids.eos) end
  if #items == 1 then return nil end
  local both = {}
  for _, item in ipairs(items) do both[#both + 1] = item end
  for _, item in ipairs(items) do
    both[#both + 1] = item.Sequence and { Sequence = { id = "B", type_id = 1 } } or item
  end
  return { type = "TemplateProcessing", single = items, pair = both, special_tokens = known }
end

local function from_pieces(folder, config, specials, name)
  local class = class_of(folder, config, piece_classes, "", name)
  local model = sentencepiece.read(checkpoint.text(folder .. "/" .. name), folder .. "/" .. name)
  local names = {}
  for _, token in ipairs(model.controls) do names[#names + 1] = token end
  for _, token in ipairs(specials) do names[#names + 1] = token end
  if class == "T5Tokenizer" and type(config.added_tokens_decoder) ~= "table" then
    for i = (tonumber(config.extra_ids) or 100) - 1, 0, -1 do names[#names + 1] = ("<extra_id_%d>"):format(i) end
  end
  local added = added_tokens(folder, config, names, function(token) return model.ids[token] end, model.size)
  for _, token in ipairs(model.user_defined) do
    added[#added + 1] = { id = model.ids[token], content = token, special = false, normalized = false }
  end
  local sections = { normalizer = model.normalizer, decoder = model.decoder, added_tokens = added,
    post_processor = around(config, class, model) }
  return whole(sections, model.settings, model.vocab, model.merges)
end

-- ---- the choice of the files -------------------------------------------------------------------------------------------

---Returns the text of a tokenizer.json made of the folder's older files, and the path of the file that was used; nil where
---the folder has no such file.
---@param folder string
---@param config table     tokenizer_config.json
---@param specials string[]  the texts of the special tokens
---@return string? text, string? path
function older.text(folder, config, specials)
  local function has(name) return exists(folder .. "/" .. name) end
  if has "vocab.json" and has "merges.txt" then
    return from_pairs(folder, config, specials), folder .. "/vocab.json, merges.txt"
  end
  for _, name in ipairs { "tokenizer.model", "spiece.model" } do
    if has(name) then return from_pieces(folder, config, specials, name), folder .. "/" .. name end
  end
  if has "vocab.txt" then return from_words(folder, config, specials), folder .. "/vocab.txt" end
end

return older
