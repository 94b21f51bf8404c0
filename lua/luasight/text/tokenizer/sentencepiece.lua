--- Reads a tokenizer.model, SentencePiece's file format: the fields of this protobuf file that say how a text is cut into
--- tokens.
local binding = require "luasight.ffi"
local cjson = require("cjson").new()

local sentencepiece = {}

local SIGN = "\226\150\129" -- U+2581, which stands for a space in tokens

-- ---- protobuf --------------------------------------------------------------------------------------------------------

local function broken(path) binding.raise("format", path .. ": the file is not a SentencePiece model, or its end is missing",
  { hint = "download the file again" }) end

local function varint(text, at, path)
  local value, scale = 0, 1
  for i = at, at + 9 do
    local byte = text:byte(i)
    if not byte then break end
    value = value + byte % 128 * scale
    if byte < 128 then return value, i + 1 end
    scale = scale * 128
  end
  broken(path)
end

---Calls `each(field, value)` for each field of a protobuf message: the field's number, and its value as a number or, for
---other types, as a string of its bytes.
local function fields(text, path, each)
  local at = 1
  while at <= #text do
    local key, size, value
    key, at = varint(text, at, path)
    local kind, field = key % 8, math.floor(key / 8)
    if kind == 0 then
      value, at = varint(text, at, path)
    else
      if kind == 2 then size, at = varint(text, at, path)
      elseif kind == 5 then size = 4
      elseif kind == 1 then size = 8
      else broken(path) end
      value = text:sub(at, at + size - 1)
      if #value ~= size then broken(path) end
      at = at + size
    end
    each(field, value)
  end
end

-- ---- the model -------------------------------------------------------------------------------------------------------

local NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 3, 0, -1 do
      local digit = math.floor(n / 64 ^ k) % 64 + 1
      out[#out + 1] = (k == 0 and not c or k == 1 and not b) and "=" or BASE64:sub(digit, digit)
    end
  end
  return table.concat(out)
end

local function read_parts(text, path)
  local pieces = {}
  local trainer = { model_type = 1, unk_id = 0, bos_id = 1, eos_id = 2, byte_fallback = 0 }
  local normalizer = { charsmap = "", prefix = 1, collapse = 1 }
  local trainer_fields = { [3] = "model_type", [35] = "byte_fallback", [40] = "unk_id", [41] = "bos_id", [42] = "eos_id" }
  local normalizer_fields = { [2] = "charsmap", [3] = "prefix", [4] = "collapse" }
  fields(text, path, function(field, value)
    if type(value) ~= "string" then return end
    if field == 1 then
      local piece = { score = 0, kind = NORMAL }
      fields(value, path, function(f, v)
        if f == 1 then piece.text = v
        elseif f == 2 then piece.score = type(v) == "string" and #v == 4 and binding.float_of(v) or broken(path)
        elseif f == 3 then piece.kind = v end
      end)
      if type(piece.text) ~= "string" then broken(path) end
      pieces[#pieces + 1] = piece
    elseif field == 2 then
      fields(value, path, function(f, v) if trainer_fields[f] then trainer[trainer_fields[f]] = v end end)
    elseif field == 3 then
      fields(value, path, function(f, v) if normalizer_fields[f] then normalizer[normalizer_fields[f]] = v end end)
    end
  end)
  if #pieces == 0 then broken(path) end
  return pieces, trainer, normalizer
end

---Returns the merges of BPE as JSON, which SentencePiece does not store: each pair of tokens that join to a third token,
---sorted by the score of the joined token, the best first.
local function merges_of(pieces, ids)
  local merges = {}
  for rank, piece in ipairs(pieces) do
    local text = piece.text
    for at = 2, piece.kind == NORMAL and #text or 0 do
      local byte = text:byte(at)
      if byte < 128 or byte >= 192 then
        local left, right = text:sub(1, at - 1), text:sub(at)
        if ids[left] and ids[right] then
          merges[#merges + 1] = { left, right, score = piece.score, rank = rank }
        end
      end
    end
  end
  table.sort(merges, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    if a.rank ~= b.rank then return a.rank < b.rank end
    return #a[1] > #b[1]
  end)
  local parts = {}
  for i, merge in ipairs(merges) do parts[i] = cjson.encode { merge[1], merge[2] } end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function normalizer_of(settings)
  local stages = {}
  local function add(stage) stages[#stages + 1] = stage end
  local function replace(pattern, content) add { type = "Replace", pattern = pattern, content = content } end
  if settings.charsmap ~= "" then add { type = "Precompiled", precompiled_charsmap = base64(settings.charsmap) } end
  if settings.collapse ~= 0 then
    replace({ Regex = "^ +| +$" }, "")
    replace({ Regex = " {2,}" }, " ")
  end
  if settings.prefix ~= 0 then add { type = "Prepend", prepend = SIGN } end
  replace({ String = " " }, SIGN)
  return { type = "Sequence", normalizers = stages }
end

local function decoder_of(settings)
  local spaces = { type = "Replace", pattern = { String = SIGN }, content = " " }
  local stages = { spaces, { type = "ByteFallback" }, { type = "Fuse" } }
  if settings.prefix ~= 0 then stages[4] = { type = "Strip", content = " ", start = 1, stop = 0 } end
  return { type = "Sequence", decoders = stages }
end

---Reads a SentencePiece model; returns what is needed to write a tokenizer.json of the same tokenizer. In the result `vocab`
---and `merges` are JSON texts; ids count from 0.
---@param text string
---@param path string  the name of the file in errors
---@return { settings: table, vocab: string, merges: string?, normalizer: table, decoder: table, ids: table, size: integer,
---  controls: string[], user_defined: string[], bos: integer?, eos: integer? }
function sentencepiece.read(text, path)
  local pieces, trainer, settings = read_parts(text, path)
  local ids, controls, user_defined, scored, numbered, has_bytes = {}, {}, {}, {}, {}, false
  for i, piece in ipairs(pieces) do
    ids[piece.text] = i - 1
    if piece.kind == CONTROL or piece.kind == UNKNOWN then controls[#controls + 1] = piece.text end
    if piece.kind == USER_DEFINED then user_defined[#user_defined + 1] = piece.text end
    has_bytes = has_bytes or piece.kind == BYTE
    scored[i] = ("[%s,%s]"):format(cjson.encode(piece.text), binding.format("%.17g", piece.score))
    numbered[i] = cjson.encode(piece.text) .. ":" .. i - 1
  end
  local unknown = pieces[trainer.unk_id + 1]
  if not unknown then broken(path) end
  local out = { normalizer = normalizer_of(settings), decoder = decoder_of(settings), ids = ids, size = #pieces,
    controls = controls, user_defined = user_defined, bos = pieces[trainer.bos_id + 1] and trainer.bos_id,
    eos = pieces[trainer.eos_id + 1] and trainer.eos_id }
  if trainer.model_type == 1 then
    out.settings = { type = "Unigram", unk_id = trainer.unk_id, byte_fallback = has_bytes }
    out.vocab = "[" .. table.concat(scored, ",") .. "]"
  elseif trainer.model_type == 2 then
    out.settings = { type = "BPE", unk_token = unknown.text, fuse_unk = true, byte_fallback = has_bytes }
    out.vocab, out.merges = "{" .. table.concat(numbered, ",") .. "}", merges_of(pieces, ids)
  else
    binding.raise("format", ("%s: a SentencePiece model of the type word or char is not implemented")
      :format(path))
  end
  return out
end

return sentencepiece
