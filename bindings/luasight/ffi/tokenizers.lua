--- Tokenizers of the core: texts to token ids and back.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi = binding.C, binding.ffi

local tokenizers = {
  ---Which of two texts gives way to a limit.
  cuts = { longest_first = constants.LS_CUT_LONGEST, only_first = constants.LS_CUT_FIRST,
    only_second = constants.LS_CUT_SECOND },
}

---The tokenizer of a tokenizer.json; the collector lets it go where nobody does.
---@param text string  of the file
---@param path string  for errors
---@return ffi.cdata*
function tokenizers.load(text, path)
  local out = ffi.new "ls_tokenizer *[1]"
  binding.check(C.ls_tokenizer_load(text, #text, path, out))
  return ffi.gc(out[0], C.ls_tokenizer_release)
end

---@param t ffi.cdata*
function tokenizers.release(t) C.ls_tokenizer_release(ffi.gc(t, nil)) end

---The number of tokens, the added ones among them.
---@param t ffi.cdata*
---@return integer
function tokenizers.size(t) return C.ls_tokenizer_size(t) end

---The id of a token as the vocabulary writes it, nil where there is none.
---@param t ffi.cdata*
---@param token string
---@return integer?
function tokenizers.id(t, token)
  local id = tonumber(C.ls_tokenizer_id(t, token))
  return id >= 0 and id or nil
end

---The token of an id, nil where there is none.
---@param t ffi.cdata*
---@param id integer|ffi.cdata*
---@return string?
function tokenizers.token(t, id)
  local token = C.ls_tokenizer_token(t, id)
  return token ~= nil and ffi.string(token) or nil
end

---@class luasight.Encoding  how a text becomes tokens
---@field special boolean  with special tokens around it
---@field places boolean   with the places in the text
---@field limit integer?   most tokens
---@field cut integer      of `tokenizers.cuts`

local tokens_t, count_t, encoding_t = ffi.typeof "const ls_token *[1]", ffi.typeof "int32_t[1]", ffi.typeof "ls_encoding"

---The tokens of a text, or of a pair of texts: an array of ls_token, valid until the next call, and how many.
---@param t ffi.cdata*
---@param text string
---@param pair string?
---@param how luasight.Encoding
---@param cut_left boolean  at the beginning of the text
---@return ffi.cdata* tokens, integer n
function tokenizers.encode(t, text, pair, how, cut_left)
  local tokens_out, count_out, encoding = tokens_t(), count_t(), encoding_t()
  encoding.pair, encoding.pair_length = pair, pair and #pair or 0
  encoding.special, encoding.places = how.special and 1 or 0, how.places and 1 or 0
  encoding.limit, encoding.cut, encoding.cut_left = how.limit or 0, how.cut, cut_left and 1 or 0
  binding.check(C.ls_tokenizer_encode(t, text, #text, encoding, tokens_out, count_out))
  return tokens_out[0], count_out[0]
end

local text_t, length_t = ffi.typeof "const char *[1]", ffi.typeof "size_t[1]"

---The text of ids; bytes that are no UTF-8 become U+FFFD.
---@param t ffi.cdata*
---@param ids ffi.cdata*  an array of int64
---@param n integer
---@param skip_special boolean?  without special tokens
---@return string
function tokenizers.decode(t, ids, n, skip_special)
  local text_out, length_out = text_t(), length_t()
  binding.check(C.ls_tokenizer_decode(t, ids, n, skip_special and 1 or 0, text_out, length_out))
  return ffi.string(text_out[0], length_out[0])
end

return tokenizers
