/* Tokenizers: text to token ids and back, as the tokenizer.json of a model says. Bytes that are not UTF-8 become U+FFFD, in a text to
   encode as in a decoded one, as with Python's errors="replace". */
#include "tokenizer/tokenizer.h"
#include <stdlib.h>
#include <string.h>

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static void free_found(ls__found *f) {
  free(f->token);
  free(f->trim.data);
}

static void free_tokenizer(ls_tokenizer *t) {
  ls__model_free(&t->model);
  ls__post_free(&t->post);
  ls__pre_free(&t->pre);
  ls__normalizers_free(&t->normalizers);
  ls__decoder_free(&t->decoder);
  ls__added_free(&t->added);
  ls__vocab_free(&t->vocab);
  free_found(&t->text_found[0]);
  free_found(&t->text_found[1]);
  free_found(&t->found);
  ls__line_free(&t->line);
  ls__line_free(&t->cut);
  ls__line_free(&t->work);
  free(t->text.data);
  free(t->replaced.data);
  free(t->clean.data);
  free(t->characters.data);
  free(t->pieces.data);
  free(t->spare.data);
  free(t->tokens.data);
  free(t);
}

ls_status ls_tokenizer_load(const char *json, size_t length, const char *name, ls_tokenizer **out) {
  LS__NEED(json && name && out);
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

/* ---- decoding ------------------------------------------------------------------------------------------------------ */

static ls_status no_memory(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory while token ids are decoded"); }

ls_status ls_tokenizer_decode(ls_tokenizer *t, const int64_t *ids, int32_t n, int32_t skip_special, const char **text,
                              size_t *length) {
  LS__NEED(t && n >= 0 && (ids || !n) && text && length);
  ls__texts *texts = &t->decoder.texts;
  texts->text.length = texts->at.count = t->text.length = 0;
  for (int32_t i = 0; i < n; i++) {
    size_t size;
    const char *token = ls__vocab_token(&t->vocab, ids[i], &size);
    if (!token)
      return ls__fail(LS_ERROR_INDEX, "token id %lld is out of range: the vocabulary has 0 to %d", (long long)ids[i],
                      t->vocab.size - 1);
    if (skip_special && t->added.special[ids[i]]) continue;
    if (!ls__texts_add(texts, token, size)) return no_memory();
  }
  ls_status status = ls__decode(&t->decoder, &t->text);
  if (status) return status;
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

int32_t ls_tokenizer_size(ls_tokenizer *t) { return t ? t->vocab.size : -1; }

const char *ls_tokenizer_token(ls_tokenizer *t, int64_t id) {
  size_t length;
  if (!t) return NULL;
  return ls__vocab_token(&t->vocab, id, &length);
}

int64_t ls_tokenizer_id(ls_tokenizer *t, const char *token) {
  return t && token ? ls__vocab_find(&t->vocab, token, strlen(token)) : -1;
}
