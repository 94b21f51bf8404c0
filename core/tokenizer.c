/* Tokenizers: text to token ids and back, as the tokenizer.json of a model says. Text that is not UTF-8 is read as if each
   broken stretch were U+FFFD, and ids whose bytes are no UTF-8 are written so: both as Python's errors="replace". */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST_TEXT = 268435456 }; /* bytes; with every byte replaced its places still fit in 32 bits */

static ls_status no_memory(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized"); }

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static void free_tokenizer(ls_tokenizer *t) {
  ls__bpe_free(&t->bpe);
  ls__post_free(&t->post);
  ls__added_free(&t->added);
  ls__vocab_free(&t->vocab);
  free(t->ids.data);
  free(t->text.data);
  free(t->replaced.data);
  free(t->clean.data);
  free(t->spaced.data);
  free(t);
}

ls_status ls_tokenizer_load(const char *json, size_t length, const char *name, ls_tokenizer **out) {
  ls_tokenizer *t = calloc(1, sizeof *t);
  if (!t) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the tokenizer", name);
  ls_status status = ls__tokenizer_read(t, json, length, name);
  if (status) {
    free_tokenizer(t);
    return status;
  }
  ls__live_add(1);
  *out = t;
  return LS_OK;
}

void ls_tokenizer_release(ls_tokenizer *t) {
  if (!t) return;
  free_tokenizer(t);
  ls__live_add(-1);
}

/* ---- encoding ------------------------------------------------------------------------------------------------------ */

static ls_status encode_plain(ls_tokenizer *t, const char *text, size_t length) {
  if (t->byte_level.add_prefix_space && text[0] != ' ') {
    t->spaced.length = 0;
    if (!ls__text_add(&t->spaced, " ", 1) || !ls__text_add(&t->spaced, text, length)) return no_memory();
    text = t->spaced.data;
    length = t->spaced.length;
  }
  if (!t->byte_level.use_regex) return ls__bpe_encode(&t->bpe, &t->vocab, text, length, &t->ids);
  for (size_t at = 0, end; at < length; at = end) {
    end = ls__byte_level_cut(text, length, at);
    ls_status status = ls__bpe_encode(&t->bpe, &t->vocab, text + at, end - at, &t->ids);
    if (status) return status;
  }
  return LS_OK;
}

/* Cuts out the tokens of `set`; what lies between goes to the next set, and behind the last one to the model. */
static ls_status encode_between(ls_tokenizer *t, const ls__added_set *set, const char *text, size_t length) {
  ls__added_search search = {.set = set, .text = text, .length = length};
  ls__stretch s;
  ls_status status = LS_OK;
  while (!status && ls__added_next(&search, &s)) {
    const char *from = text + s.from;
    if (s.id >= 0) status = ls__ids_add(&t->ids, s.id) ? LS_OK : no_memory();
    else if (set == &t->added.raw) status = encode_between(t, &t->added.normalized, from, s.to - s.from);
    else status = encode_plain(t, from, s.to - s.from);
  }
  return status;
}

static bool add_all(ls__ids *out, const ls__ids *ids) {
  for (size_t i = 0; i < ids->count; i++)
    if (!ls__ids_add(out, ids->data[i])) return false;
  return true;
}

ls_status ls_tokenizer_encode(ls_tokenizer *t, const char *text, size_t length, int32_t special, const int64_t **ids,
                              int32_t *count) {
  if (length > LONGEST_TEXT)
    return ls__fail(LS_ERROR_ARGUMENT, "a text of %zu bytes is too long to tokenize at once: give it in parts", length);
  if (ls__utf8_valid(text, length) != length) {
    t->clean.length = 0;
    if (!ls__text_add_replaced(&t->clean, text, length)) return no_memory();
    text = t->clean.data;
    length = t->clean.length;
  }
  t->ids.count = 0;
  if (!ls__ids_reserve(&t->ids, length / 4 + 16)) return no_memory();
  if (special && !add_all(&t->ids, &t->post.before)) return no_memory();
  ls_status status = encode_between(t, &t->added.raw, text, length);
  if (status) return status;
  if (special && !add_all(&t->ids, &t->post.after)) return no_memory();
  *ids = t->ids.data;
  *count = (int32_t)t->ids.count;
  return LS_OK;
}

/* ---- decoding ------------------------------------------------------------------------------------------------------ */

static ls_status decode_one(ls_tokenizer *t, int64_t id, bool first) {
  size_t length;
  const char *token = ls__vocab_token(&t->vocab, id, &length);
  bool added = t->decodes_bytes ? ls__byte_level_decode(token, length, &t->text)
                                : (first || ls__text_add(&t->text, " ", 1)) && ls__text_add(&t->text, token, length);
  return added ? LS_OK : no_memory();
}

ls_status ls_tokenizer_decode(ls_tokenizer *t, const int64_t *ids, int32_t n, int32_t skip_special, const char **text,
                              size_t *length) {
  bool first = true;
  t->text.length = 0;
  for (int32_t i = 0; i < n; i++) {
    if (ids[i] < 0 || ids[i] >= t->vocab.size)
      return ls__fail(LS_ERROR_INDEX, "token id %lld is out of range: the vocabulary has 0 to %d", (long long)ids[i],
                      t->vocab.size - 1);
    if (skip_special && t->added.special[ids[i]]) continue;
    ls_status status = decode_one(t, ids[i], first);
    if (status) return status;
    first = false;
  }
  ls__text *result = &t->text;
  if (ls__utf8_valid(t->text.data, t->text.length) != t->text.length) {
    result = &t->replaced;
    result->length = 0;
    if (!ls__text_add_replaced(result, t->text.data, t->text.length)) return no_memory();
  }
  if (!ls__text_reserve(result, 1)) return no_memory();
  result->data[result->length] = 0;
  *text = result->data;
  *length = result->length;
  return LS_OK;
}

/* ---- tokens -------------------------------------------------------------------------------------------------------- */

int32_t ls_tokenizer_size(ls_tokenizer *t) { return t->vocab.size; }

const char *ls_tokenizer_token(ls_tokenizer *t, int64_t id) {
  size_t length;
  return ls__vocab_token(&t->vocab, id, &length);
}

int64_t ls_tokenizer_id(ls_tokenizer *t, const char *token) { return ls__vocab_find(&t->vocab, token, strlen(token)); }
