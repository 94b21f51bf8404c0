/* Reads the section "model" of tokenizer.json: which of the four kinds of model it is, and the settings that several kinds have. Also a
   cache of pieces of text that are already encoded. */
#include "tokenizer/model.h"
#include <stdlib.h>
#include <string.h>

const char *const ls__model_parts[] = {"type", "vocab", "unk_token", "merges", "dropout", "continuing_subword_prefix",
                                       "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges",
                                       "max_input_chars_per_word", "unk_id", NULL};

static const char *const kinds[LS__MODELS] = {"BPE", "WordPiece", "WordLevel", "Unigram"};

/* ---- tokens of a piece --------------------------------------------------------------------------------------------- */

bool ls__tokens_reserve(ls__tokens *t, size_t more) {
  ls__piece_token *data = ls__reserve(t->data, &t->room, t->count, more, sizeof *data);
  if (data) t->data = data;
  return data;
}

ls_status ls__tokens_add(ls__tokens *t, int32_t id, size_t from, size_t to) {
  if (!ls__tokens_reserve(t, 1)) return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized");
  t->data[t->count++] = (ls__piece_token){id, (uint32_t)from, (uint32_t)to};
  return LS_OK;
}

/* ---- settings ------------------------------------------------------------------------------------------------------ */

static bool is_text(const ls__part *part, const char *text) {
  return part->text && part->length == strlen(text) && !memcmp(part->text, text, part->length);
}

ls_status ls__model_flag(const ls__part *part, bool *out) {
  if (!ls__part_is_null(part) && !is_text(part, "true") && !is_text(part, "false"))
    return ls__part_fail(part, "this setting of the model is neither true nor false");
  *out = is_text(part, "true");
  return LS_OK;
}

ls_status ls__model_text(const ls__part *part, ls__text *out) {
  if (ls__part_is_null(part)) return LS_OK;
  ls__cursor cursor = {.part = part};
  const char *text;
  size_t length;
  ls_status status = ls__cursor_string(&cursor, 0, &text, &length);
  if (!status && !ls__text_add(out, text, length)) status = ls__part_memory(part);
  free(cursor.scratch.data);
  return status;
}

ls_status ls__model_token(const ls__part *part, const ls__vocab *v, int32_t *out) {
  ls__text text = {0};
  char shown[80];
  *out = -1;
  if (ls__part_is_null(part)) return LS_OK;
  ls_status status = ls__model_text(part, &text);
  if (!status) *out = ls__vocab_find(v, text.data, text.length);
  if (!status && *out < 0)
    status = ls__part_fail(part, "the token \"%s\" is not in the vocabulary", ls__printable(text.data, text.length, shown, sizeof shown));
  free(text.data);
  return status;
}

/* ---- the kind ------------------------------------------------------------------------------------------------------ */

/* Guesses the kind of the model from the members that its section has, since old files do not name the kind. */
static ls__model_kind guess(const ls__part *parts) {
  if (parts[LS__MODEL_VOCAB].text && parts[LS__MODEL_VOCAB].text[0] == '[') return LS__UNIGRAM;
  if (parts[LS__MODEL_MERGES].text) return LS__BPE;
  return parts[LS__MODEL_LONGEST_WORD].text || parts[LS__MODEL_PREFIX].text ? LS__WORDPIECE : LS__WORDLEVEL;
}

static ls_status read_kind(ls__model *m, const ls__part *parts) {
  const ls__part *type = &parts[LS__MODEL_TYPE];
  m->kind = LS__MODELS;
  if (!type->text) m->kind = guess(parts);
  for (int32_t i = 0; type->text && i < LS__MODELS; i++) {
    char quoted[16];
    snprintf(quoted, sizeof quoted, "\"%s\"", kinds[i]);
    if (is_text(type, quoted)) m->kind = (ls__model_kind)i;
  }
  if (m->kind < LS__MODELS) return LS_OK;
  json_t *name;
  ls_status status = ls__part_parse(type, &name);
  if (status) return status;
  char shown[80];
  const char *text = json_string_value(name);
  if (!text) status = ls__part_fail(type, "the type of the model is not a text");
  else
    status = ls__part_fail(type, "a model of type %s is not implemented in this version of luasight",
                           ls__printable(text, strlen(text), shown, sizeof shown));
  json_decref(name);
  return status;
}

/* Fails for members that belong to another kind of model; to ignore one would be wrong, since it changes what the model does. */
static ls_status check_members(ls__model_kind kind, const ls__part *parts) {
  static const uint32_t own[LS__MODELS] = {
    [LS__BPE] = 1 << LS__MODEL_UNKNOWN | 1 << LS__MODEL_MERGES | 1 << LS__MODEL_DROPOUT | 1 << LS__MODEL_PREFIX | 1 << LS__MODEL_SUFFIX |
                1 << LS__MODEL_FUSE_UNKNOWN | 1 << LS__MODEL_BYTE_FALLBACK | 1 << LS__MODEL_IGNORE_MERGES,
    [LS__WORDPIECE] = 1 << LS__MODEL_UNKNOWN | 1 << LS__MODEL_PREFIX | 1 << LS__MODEL_LONGEST_WORD,
    [LS__WORDLEVEL] = 1 << LS__MODEL_UNKNOWN,
    [LS__UNIGRAM] = 1 << LS__MODEL_UNKNOWN_ID | 1 << LS__MODEL_BYTE_FALLBACK,
  };
  for (int32_t i = LS__MODEL_UNKNOWN; i < LS__MODEL_PARTS; i++)
    if (parts[i].text && !(own[kind] >> i & 1)) return ls__part_fail(&parts[i], "this setting is not for a model of type %s", kinds[kind]);
  return LS_OK;
}

/* ---- pieces seen --------------------------------------------------------------------------------------------------- */

/* A piece of text with its tokens, as the cache of a model stores it. Each piece has one possible place in the cache, and a newer piece
   replaces an older one there. */
typedef struct ls__word {
  uint32_t hash;
  uint8_t length, count; /* the number of bytes of the text, 0 where this place of the cache is empty; the number of tokens */
  char text[26];
  int32_t id[6];
  uint8_t to[6];         /* for each token the byte of the piece at which it ends */
} ls__word;

enum { WORDS = 32768 };

_Static_assert(sizeof(ls__word) == 64, "a word is one cache line");

static void remember(ls__word *word, uint32_t hash, const char *piece, size_t length, const ls__piece_token *tokens, size_t count) {
  for (size_t i = 0, at = 0; i < count; at = tokens[i++].to)
    if (tokens[i].from != at || tokens[i].to > length) return; /* tokens with gaps or overlaps are not stored in the cache */
  word->hash = hash;
  word->length = (uint8_t)length;
  word->count = (uint8_t)count;
  memcpy(word->text, piece, length);
  for (size_t i = 0; i < count; i++) {
    word->id[i] = tokens[i].id;
    word->to[i] = (uint8_t)tokens[i].to;
  }
}

static ls_status recall(const ls__word *word, size_t base, ls__tokens *out) {
  if (!ls__tokens_reserve(out, word->count)) return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized");
  ls__piece_token *to = out->data + out->count;
  uint32_t at = 0;
  for (size_t i = 0; i < word->count; at = word->to[i++])
    to[i] = (ls__piece_token){word->id[i], (uint32_t)base + at, (uint32_t)base + word->to[i]};
  out->count += word->count;
  return LS_OK;
}

static ls_status encode(ls__model *m, const char *piece, size_t length, ls__tokens *out) {
  switch (m->kind) {
  case LS__BPE: return ls__bpe_encode(&m->bpe, m->vocab, piece, length, out);
  case LS__UNIGRAM: return ls__unigram_encode(&m->unigram, m->vocab, piece, length, out);
  case LS__WORDPIECE: return ls__wordpiece_encode(&m->wordpiece, m->vocab, piece, length, out);
  default: return ls__wordlevel_encode(&m->wordpiece, m->vocab, piece, length, out);
  }
}

/* Encodes a stretch of text that begins at byte `base` of its piece; takes the tokens from the cache if the cache has the stretch. */
static ls_status encode_seen(ls__model *m, const char *text, size_t length, size_t base, ls__tokens *out) {
  uint64_t hash = ls__hash(text, length, m->seed);
  ls__word *word = &m->seen[hash % WORDS];
  bool fits = length <= sizeof word->text;
  if (fits && word->length == length && word->hash == hash >> 32 && !memcmp(word->text, text, length)) return recall(word, base, out);
  size_t before = out->count, count;
  ls_status status = encode(m, text, length, out);
  if (status) return status;
  count = out->count - before;
  if (fits && count <= sizeof word->to) remember(word, (uint32_t)(hash >> 32), text, length, out->data + before, count);
  for (size_t i = before; base && i < out->count; i++) {
    out->data[i].from += (uint32_t)base;
    out->data[i].to += (uint32_t)base;
  }
  return LS_OK;
}

ls_status ls__model_encode(ls__model *m, const char *piece, size_t length, ls__tokens *out) {
  if (m->kind != LS__BPE || !m->bpe.words_apart) return encode_seen(m, piece, length, 0, out);
  static const char sign[] = "\xE2\x96\x81";
  for (size_t at = 0, end; at < length; at = end) { /* a stretch begins at each U+2581 that follows another character */
    bool in_signs = true;
    for (end = at; end < length; end++) {
      const char *next = memchr(piece + end, sign[0], length - end);
      size_t to = next ? (size_t)(next - piece) : length;
      if (to > end) in_signs = false;
      end = to;
      bool here = length - end >= 3 && !memcmp(piece + end, sign, 3);
      if (end == length || (here && !in_signs)) break;
      in_signs &= here;
      if (here) end += 2;
    }
    ls_status status = encode_seen(m, piece + at, end - at, at, out);
    if (status) return status;
  }
  return LS_OK;
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

ls_status ls__model_read(ls__model *m, ls__vocab *v, const ls__part *part, const ls__part *parts) {
  if (!part->text) return ls__part_fail(part, "the tokenizer has no model");
  if (part->text[0] != '{') return ls__part_fail(part, "the model of the tokenizer is not a JSON object");
  m->vocab = v;
  ls_status status = read_kind(m, parts);
  if (!status) status = check_members(m->kind, parts);
  if (status) return status;
  if (m->kind == LS__UNIGRAM) status = ls__unigram_read(&m->unigram, v, parts);
  else if (m->kind == LS__BPE) status = ls__bpe_read(&m->bpe, v, parts);
  else status = ls__wordpiece_read(&m->wordpiece, v, parts);
  m->seed = ls__hash_seed();
  if (!status && !(m->seen = calloc(WORDS, sizeof *m->seen))) status = ls__part_memory(part);
  return status;
}

void ls__model_free(ls__model *m) {
  ls__bpe_free(&m->bpe);
  ls__wordpiece_free(&m->wordpiece);
  ls__unigram_free(&m->unigram);
  free(m->seen);
}
