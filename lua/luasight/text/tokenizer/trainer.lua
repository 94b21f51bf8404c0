--- Trains a byte-level BPE tokenizer like GPT-2's and writes it as tokenizer.json.
local failure = require "luasight.base.error"
local options_of = require "luasight.base.options"

---@class luasight.TokenizerTrainer
local trainer = {}

-- The printable character that stands for each byte in the vocabulary: the character of Latin-1 that the byte
-- encodes where this is printable, else the next unused character from U+0100 on.
local stand_in = {}
do
  local function utf8(code)
    if code < 128 then return string.char(code) end
    return string.char(192 + math.floor(code / 64), 128 + code % 64)
  end
  local free = 256
  for byte = 0, 255 do
    local printable = byte >= 33 and byte <= 126 or byte >= 161 and byte ~= 173
    stand_in[byte] = utf8(printable and byte or free)
    if not printable then free = free + 1 end
  end
end

local letter, digit, space = "[%a\128-\255]", "%d", "%s"
local contractions = {
  ["'s"] = true, ["'t"] = true, ["'re"] = true, ["'ve"] = true, ["'m"] = true, ["'ll"] = true, ["'d"] = true,
}

--- Cuts a text as GPT-2 does before merging: into words, numbers and signs, each with the space before it, and runs of white
--- space. Bytes above 127 count as letters, which only influences which merges are learned.
---@param text string
---@param each fun(piece: string)
function trainer.split(text, each)
  local at, size = 1, #text
  while at <= size do
    local three, two = text:sub(at, at + 2), text:sub(at, at + 1)
    local stop
    if contractions[three] then
      stop = at + 2
    elseif contractions[two] then
      stop = at + 1
    else
      stop = select(2, text:find("^ ?" .. letter .. "+", at)) or select(2, text:find("^ ?" .. digit .. "+", at))
        or select(2, text:find("^ ?[^%s%w\128-\255]+", at))
    end
    if not stop then
      stop = select(2, text:find("^" .. space .. "+", at))
      if stop < size and stop > at then stop = stop - 1 end -- the last of several blanks is part of the next word
    end
    each(text:sub(at, stop))
    at = stop + 1
  end
end

-- Counts the distinct words, numbers and signs of the texts; returns each as a list of token ids (at first, its bytes) with
-- its count.
local function count_pieces(texts)
  local counts, order = {}, {}
  for _, text in ipairs(texts) do
    trainer.split(text, function(piece)
      if not counts[piece] then order[#order + 1] = piece end
      counts[piece] = (counts[piece] or 0) + 1
    end)
  end
  local pieces = {}
  for i, piece in ipairs(order) do
    pieces[i] = { count = counts[piece], place = i, piece:byte(1, -1) }
  end
  return pieces
end

-- Makes the table of the pairs of neighbouring tokens: parallel arrays, so that LuaJIT compiles the search for the most
-- frequent pair, and for each pair the set of the words that contain it.
local function new_pairs()
  return { index = {}, first = {}, second = {}, count = {}, pieces = {} }
end

local function add_pair(pairs_, a, b, count, piece)
  local key = a * 1048576 + b
  local i = pairs_.index[key]
  if not i then
    i = #pairs_.first + 1
    pairs_.index[key], pairs_.first[i], pairs_.second[i], pairs_.count[i], pairs_.pieces[i] = i, a, b, 0, {}
  end
  pairs_.count[i] = pairs_.count[i] + count
  if count > 0 then pairs_.pieces[i][piece] = true end
end

local function add_piece(pairs_, piece, sign)
  for k = 1, #piece - 1 do add_pair(pairs_, piece[k], piece[k + 1], sign * piece.count, piece) end
end

local function merge_in(piece, a, b, new)
  local to, from, n = 1, 1, #piece
  while from <= n do
    if piece[from] == a and piece[from + 1] == b then
      piece[to], from = new, from + 2
    else
      piece[to], from = piece[from], from + 1
    end
    to = to + 1
  end
  for k = n, to, -1 do piece[k] = nil end
end

---@class luasight.TrainedTokenizer  the result of training a tokenizer
---@field vocab string[]  the tokens in the order of their ids; id 0 is at [1]
---@field merges string[][]  pairs of tokens, in the order in which they are applied
---@field special_tokens string[]  the special tokens, which have the last ids
local Trained = {}
Trained.__index = Trained

---Checks the arguments of the trainer; returns the size of the vocabulary without special tokens, and the special tokens.
local function check(texts, options)
  if type(texts) ~= "table" then
    failure.raise("argument", "the trainer of a tokenizer takes a list of texts, not a " .. type(texts))
  end
  for i, text in ipairs(texts) do
    if type(text) ~= "string" then
      failure.raise("argument", ("the trainer takes a list of texts, but there is a %s at index %d"):format(type(text), i))
    end
  end
  options = options_of.read("the trainer", options, { vocab_size = "number", special_tokens = "table" })
  local size = options.vocab_size
  if not size then
    failure.raise("argument", "the trainer of a tokenizer needs the option vocab_size, the number of tokens")
  end
  local special = options.special_tokens or { "<|endoftext|>" }
  if size - #special < 256 then
    failure.raise("argument", ("vocab_size %d is too small: the 256 bytes and %d special tokens need an id each"):format(
      size, #special))
  end
  return size - #special, special
end

--- Learns merges of two tokens until the vocabulary has `vocab_size` tokens, or until no pair of tokens occurs twice.
---@param texts string[]
---@param options { vocab_size: integer, special_tokens?: string[] }
---@return luasight.TrainedTokenizer
function trainer.train(texts, options)
  local limit, special = check(texts, options)
  local tokens, merges, bytes_in_order = {}, {}, {}
  for byte = 0, 255 do bytes_in_order[byte + 1] = byte end
  table.sort(bytes_in_order, function(a, b) return stand_in[a] < stand_in[b] end)
  local id_of_byte, id_of = {}, {}
  for i, byte in ipairs(bytes_in_order) do
    id_of_byte[byte], tokens[i], id_of[stand_in[byte]] = i, stand_in[byte], i
  end

  local pieces, known = count_pieces(texts), new_pairs()
  for _, piece in ipairs(pieces) do
    for k = 1, #piece do piece[k] = id_of_byte[piece[k]] end
    add_piece(known, piece, 1)
  end
  while #tokens < limit do
    local best, most = nil, 1
    for i = 1, #known.count do
      if known.count[i] > most then best, most = i, known.count[i] end
    end
    if not best then break end
    local a, b = known.first[best], known.second[best]
    local joined = tokens[a] .. tokens[b]
    local new = id_of[joined] or #tokens + 1 -- two pairs can join to one token: "aa" "aaa" and "aaaa" "a"
    tokens[new], id_of[joined] = joined, new
    merges[#merges + 1] = { tokens[a], tokens[b] }
    local touched = {}
    for piece in pairs(known.pieces[best]) do touched[#touched + 1] = piece end
    table.sort(touched, function(p, q) return p.place < q.place end)
    for _, piece in ipairs(touched) do
      add_piece(known, piece, -1)
      merge_in(piece, a, b, new)
      add_piece(known, piece, 1)
    end
    known.count[best] = 0
  end
  for _, token in ipairs(special) do tokens[#tokens + 1] = token end
  return setmetatable({ vocab = tokens, merges = merges, special_tokens = special }, Trained)
end

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return (c == '"' or c == "\\") and "\\" .. c or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function listed(list, each)
  local out = {}
  for i, value in ipairs(list) do out[i] = each(value, i) end
  return table.concat(out, ",\n      ")
end

--- Returns the trained tokenizer as the text of a tokenizer.json.
---@return string
function Trained:json()
  local ordinary = #self.vocab - #self.special_tokens
  local byte_level = '{ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }'
  local text = ([[
{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
      $added
  ],
  "normalizer": null,
  "pre_tokenizer": $byte_level,
  "post_processor": $byte_level,
  "decoder": $byte_level,
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": "",
    "end_of_word_suffix": "",
    "fuse_unk": false,
    "byte_fallback": false,
    "vocab": {
      $vocab
    },
    "merges": [
      $merges
    ]
  }
}
]]):gsub("%$([%w_]+)", {
    byte_level = byte_level,
    added = listed(self.special_tokens, function(token, i)
      return ('{ "id": %d, "content": %s, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,'
        .. ' "special": true }'):format(ordinary + i - 1, quote(token))
    end),
    vocab = listed(self.vocab, function(token, i) return quote(token) .. ": " .. (i - 1) end),
    merges = listed(self.merges, function(pair) return quote(pair[1] .. " " .. pair[2]) end),
  })
  return text
end

return trainer
