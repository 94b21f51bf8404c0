--- Tokenizers of the core: convert texts to token ids and back.
local binding = require "luasight.ffi"
local constants = require "luasight.ffi.constants"

local C, ffi, alive = binding.C, binding.ffi, binding.alive
local release_tokenizer = binding.finalizer "ls_tokenizer_release"

local tokenizers = {
  ---Which text is cut where a pair of texts has more tokens than the limit: always the longer one, the first, or the second.
  cuts = { longest_first = constants.LS_CUT_LONGEST, only_first = constants.LS_CUT_FIRST,
    only_second = constants.LS_CUT_SECOND },
}

---Makes a tokenizer from the content of a tokenizer.json; the collector releases the tokenizer.
---@param text string  the content of the file
---@param path string  the name of the file in errors
---@return ffi.cdata*
function tokenizers.load(text, path)
  binding.check_open()
  local out = ffi.new "ls_tokenizer *[1]"
  binding.check(C.ls_tokenizer_load(text, #text, path, out))
  return ffi.gc(out[0], release_tokenizer)
end

---@param t ffi.cdata*
function tokenizers.release(t) C.ls_tokenizer_release(ffi.gc(alive(t), nil)) end

---Returns the number of tokens in the vocabulary, with the added tokens.
---@param t ffi.cdata*
---@return integer
function tokenizers.size(t) return C.ls_tokenizer_size(alive(t)) end

---Returns the id of a token, which is given as the vocabulary writes it; nil where the vocabulary has no such token.
---@param t ffi.cdata*
---@param token string
---@return integer?
function tokenizers.id(t, token)
  local id = tonumber(C.ls_tokenizer_id(alive(t), token))
  return id >= 0 and id or nil
end

---Returns the token that has an id, as the vocabulary writes it; nil where the vocabulary has no such id.
---@param t ffi.cdata*
---@param id integer|ffi.cdata*
---@return string?
function tokenizers.token(t, id)
  local token = C.ls_tokenizer_token(alive(t), id)
  return token ~= nil and ffi.string(token) or nil
end

---@class luasight.Encoding  the settings of an encoding
---@field special boolean  whether special tokens are added around the text
---@field places boolean   whether each token comes with its position in the text
---@field limit integer?   the largest number of tokens
---@field cut integer      one of `tokenizers.cuts`

local tokens_t, count_t, encoding_t = ffi.typeof "const ls_token *[1]", ffi.typeof "int32_t[1]", ffi.typeof "ls_encoding"

local tokens_array_t, token_size = ffi.typeof "ls_token[?]", ffi.sizeof "ls_token"

-- The number of calls of `encode` and `decode` so far. What the library returns is valid until the next call. It is copied at
-- once, unless a finalizer has made another call in between: then the call is made again.
local calls = 0

---Encodes a text, or a pair of texts. Returns an array of ls_token, and its length.
---@param t ffi.cdata*
---@param text string
---@param pair string?
---@param how luasight.Encoding
---@param cut_left boolean  whether the beginning of the text is cut, instead of its end
---@return ffi.cdata* tokens, integer n
function tokenizers.encode(t, text, pair, how, cut_left)
  local tokens_out, count_out, encoding = tokens_t(), count_t(), encoding_t()
  encoding.pair, encoding.pair_length = pair, pair and #pair or 0
  encoding.special, encoding.places = how.special and 1 or 0, how.places and 1 or 0
  encoding.limit, encoding.cut, encoding.cut_left = how.limit or 0, how.cut, cut_left and 1 or 0
  repeat
    calls = calls + 1
    local mine = calls
    binding.check(C.ls_tokenizer_encode(alive(t), text, #text, encoding, tokens_out, count_out))
    local tokens, n = tokens_out[0], count_out[0]
    local copied = tokens_array_t(n)
    if calls == mine then
      ffi.copy(copied, tokens, n * token_size)
      return copied, n
    end
  until false
end

local text_t, length_t = ffi.typeof "const char *[1]", ffi.typeof "size_t[1]"

---Converts token ids to text; bytes that are not UTF-8 become U+FFFD.
---@param t ffi.cdata*
---@param ids ffi.cdata*  an array of int64
---@param n integer
---@param skip_special boolean?  whether special tokens are left out
---@return string
function tokenizers.decode(t, ids, n, skip_special)
  local text_out, length_out = text_t(), length_t()
  repeat
    calls = calls + 1
    local mine = calls
    binding.check(C.ls_tokenizer_decode(alive(t), ids, n, skip_special and 1 or 0, text_out, length_out))
    local text, length = text_out[0], length_out[0]
    if calls == mine then return ffi.string(text, length) end
  until false
end

return tokenizers
