/* The model WordPiece: a word becomes the longest token with which the word begins, then the longest token with which the rest begins, and
   so on. The model WordLevel: a word is one token. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/model.h"

enum { LONGEST_WORD = 100 }; /* a word of more characters is unknown; tokenizer.json may set another limit */

ls_status ls__wordpiece_read(ls__wordpiece *w, ls__vocab *v, const ls__part *m) {
  const ls__part *longest = &m[LS__MODEL_LONGEST_WORD];
  ls__cursor cursor = {.part = longest};
  int64_t characters = LONGEST_WORD;
  ls_status status = ls__vocab_read(v, &m[LS__MODEL_VOCAB]);
  if (!status) status = ls__model_token(&m[LS__MODEL_UNKNOWN], v, &w->unknown);
  if (!status) status = ls__model_text(&m[LS__MODEL_PREFIX], &w->prefix);
  if (!status && !ls__part_is_null(longest)) status = ls__cursor_integer(&cursor, 0, &characters);
  w->longest_word = (size_t)characters;
  for (int32_t id = 0; id < v->size; id++)
    if (v->token[id].at != LS__NO_TOKEN && v->token[id].length > w->longest_token) w->longest_token = v->token[id].length;
  return status;
}

void ls__wordpiece_free(ls__wordpiece *w) {
  free(w->prefix.data);
  free(w->spelled.data);
}

static ls_status unknown(const ls__wordpiece *w, const char *piece, size_t length, ls__tokens *out) {
  char shown[80];
  if (w->unknown >= 0) return ls__tokens_add(out, w->unknown, 0, length);
  return ls__fail(LS_ERROR_ARGUMENT, "the vocabulary has no token for \"%s\", and the tokenizer no unknown token",
                  ls__printable(piece, length, shown, sizeof shown));
}

/* The id of the longest token with which the piece continues at byte `from`, -1 where there is none; `*to` is the end of that token. */
static int32_t longest(ls__wordpiece *w, const ls__vocab *v, const char *piece, size_t length, size_t from, size_t *to) {
  size_t before = from ? w->prefix.length : 0, end = length;
  if (end - from > w->longest_token) end = from + w->longest_token;
  memcpy(w->spelled.data + before, piece + from, end - from);
  for (; end > from; end--) {
    if (end < length && ((unsigned char)piece[end] & 0xC0) == 0x80) continue; /* byte `end` is within a character */
    int32_t id = ls__vocab_find(v, w->spelled.data, before + end - from);
    *to = end;
    if (id >= 0) return id;
  }
  return -1;
}

ls_status ls__wordpiece_encode(ls__wordpiece *w, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out) {
  size_t characters = 0, before = out->count, size = w->prefix.length + w->longest_token;
  for (size_t i = 0; i < length; i++) characters += ((unsigned char)piece[i] & 0xC0) != 0x80;
  if (characters > w->longest_word) return unknown(w, piece, length, out);
  w->spelled.length = 0;
  if (!ls__text_reserve(&w->spelled, size)) return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized");
  for (size_t at = 0, end; at < length; at = end) {
    if (at && w->prefix.length) memcpy(w->spelled.data, w->prefix.data, w->prefix.length);
    int32_t id = longest(w, v, piece, length, at, &end);
    if (id < 0) {
      out->count = before;
      return unknown(w, piece, length, out);
    }
    ls_status status = ls__tokens_add(out, id, at, end);
    if (status) return status;
  }
  return LS_OK;
}

ls_status ls__wordlevel_encode(const ls__wordpiece *w, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out) {
  int32_t id = ls__vocab_find(v, piece, length);
  return id < 0 ? unknown(w, piece, length, out) : ls__tokens_add(out, id, 0, length);
}
