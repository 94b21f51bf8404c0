/* Reads the section "model" of tokenizer.json where the model is byte pair encoding: its merges and settings. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/line.h"
#include "tokenizer/model.h"

#define SIGN "\xE2\x96\x81" /* U+2581, the character that stands for a space in tokens */

/* ---- merges -------------------------------------------------------------------------------------------------------- */

static ls_status unknown_token(ls__cursor *c, size_t item, const char *text, size_t length) {
  char shown[80], what[160];
  snprintf(what, sizeof what, "\"%s\" is not in the vocabulary", ls__printable(text, length, shown, sizeof shown));
  return ls__cursor_fail(c, item, what);
}

/* Reads one merge: "left right", or ["left", "right"] in newer files. Sets `*skip` where the item is no merge but the
   comment "#version" with which old files begin. */
static ls_status read_pair(ls__cursor *c, const ls__vocab *v, size_t item, int32_t *left, int32_t *right, bool *skip) {
  const char *text;
  size_t length;
  bool list = ls__cursor_take(c, '[');
  ls_status status = ls__cursor_string(c, item, &text, &length);
  if (status) return status;
  *skip = !list && length >= 8 && !memcmp(text, "#version", 8);
  if (*skip) return LS_OK;
  size_t first = length;
  if (!list) {
    const char *space = memchr(text, ' ', length);
    if (!space || memchr(space + 1, ' ', length - (size_t)(space + 1 - text)))
      return ls__cursor_fail(c, item, "a merge must be two tokens with one space between them");
    first = (size_t)(space - text);
  }
  *left = ls__vocab_find(v, text, first);
  if (*left < 0) return unknown_token(c, item, text, first);
  if (!list) {
    text += first + 1;
    length -= first + 1;
  } else {
    if (!ls__cursor_take(c, ',')) return ls__cursor_fail(c, item, "a merge must be a list of two tokens");
    status = ls__cursor_string(c, item, &text, &length);
    if (status) return status;
    if (!ls__cursor_take(c, ']')) return ls__cursor_fail(c, item, "a merge must be a list of two tokens");
  }
  *right = ls__vocab_find(v, text, length);
  return *right < 0 ? unknown_token(c, item, text, length) : LS_OK;
}

/* Whether the text of token `id` is text[0] followed by text[1]. The caller first tries the id of the last merged token plus one,
   since ids mostly follow the order of the merges. */
static bool is_joined(const ls__vocab *v, int32_t id, const char *const text[2], const size_t length[2]) {
  size_t size;
  const char *token = ls__vocab_token(v, id, &size);
  return token && size == length[0] + length[1] && !memcmp(token, text[0], length[0]) &&
         !memcmp(token + length[0], text[1], length[1]);
}

static ls_status add_merge(ls__bpe *b, const ls__vocab *v, ls__cursor *c, size_t item, int32_t left, int32_t right) {
  ls__merges *m = &b->merges;
  size_t length[2];
  const char *text[2] = {ls__vocab_token(v, left, &length[0]), ls__vocab_token(v, right, &length[1])};
  if (length[1] >= 3 && !memcmp(text[1], SIGN, 3) && (length[0] < 3 || memcmp(text[0] + length[0] - 3, SIGN, 3)))
    b->words_apart = false;
  if (b->prefix.length && length[1] >= b->prefix.length && !memcmp(text[1], b->prefix.data, b->prefix.length)) {
    text[1] += b->prefix.length; /* the text of a merged token lacks the prefix of its right part */
    length[1] -= b->prefix.length;
  }
  int32_t into = m->count ? m->merge[m->count - 1].into + 1 : 256;
  if (!is_joined(v, into, text, length)) {
    b->spelled.length = 0;
    if (!ls__text_add(&b->spelled, text[0], length[0]) || !ls__text_add(&b->spelled, text[1], length[1]))
      return ls__part_memory(c->part);
    into = ls__vocab_find(v, b->spelled.data, b->spelled.length);
    if (into < 0) return unknown_token(c, item, b->spelled.data, b->spelled.length);
  }
  ls__merge *merge = ls__reserve(m->merge, &m->room, (size_t)m->count, 1, sizeof *merge);
  if (!merge) return ls__part_memory(c->part);
  m->merge = merge;
  merge[m->count] = (ls__merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, m->count, into};
  m->count++;
  return LS_OK;
}

static ls_status read_list(ls__bpe *b, const ls__vocab *v, ls__cursor *c) {
  if (!ls__cursor_take(c, '[')) return ls__cursor_fail(c, 0, "the merges of the model are not a JSON list");
  for (size_t item = 0; !ls__cursor_take(c, ']'); item++) {
    int32_t left = -1, right = -1;
    bool skip;
    if (item && !ls__cursor_take(c, ',')) return ls__cursor_fail(c, item, "a comma is missing between two merges");
    ls_status status = read_pair(c, v, item, &left, &right, &skip);
    if (!status && !skip) status = add_merge(b, v, c, item, left, right);
    if (status) return status;
  }
  return LS_OK;
}

/* Fills the hash table of merges. Where a pair of tokens has two merges, the later one counts, as in Hugging Face's tokenizers. */
static bool fill_table(ls__merges *m) {
  uint64_t size = 16;
  while (size < (uint64_t)m->count * 2) size *= 2;
  m->slot = calloc(size, sizeof *m->slot);
  if (!m->slot) return false;
  m->mask = size - 1;
  m->seed = ls__hash_seed();
  for (int32_t rank = 0; rank < m->count; rank++) {
    uint64_t hash = ls__hash_pair(m->merge[rank].pair, m->seed), at = hash & m->mask;
    while (m->slot[at] && m->merge[(uint32_t)m->slot[at] - 1].pair != m->merge[rank].pair) at = (at + 1) & m->mask;
    m->slot[at] = (hash >> 32) << 32 | (uint32_t)(rank + 1);
  }
  return true;
}

static ls_status read_merges(ls__bpe *b, const ls__vocab *v, const ls__part *part) {
  if (!part->text) return ls__part_fail(part, "the model has no merges");
  ls__cursor cursor = {.part = part};
  ls_status status = read_list(b, v, &cursor);
  if (!status && !fill_table(&b->merges)) status = ls__part_memory(part);
  free(cursor.scratch.data);
  return status;
}

/* ---- the section --------------------------------------------------------------------------------------------------- */

/* Reads the settings of the model. "dropout" leaves out merges at random during training; only the values that turn it off are accepted. */
static ls_status read_settings(ls__bpe *b, const ls__part *m) {
  const ls__part *dropout = &m[LS__MODEL_DROPOUT];
  if (!ls__part_is_null(dropout) && !(dropout->length == 1 && dropout->text[0] == '0') &&
      !(dropout->length == 3 && !memcmp(dropout->text, "0.0", 3)))
    return ls__part_fail(dropout, "merges dropped at random (dropout) are not implemented in this version of luasight");
  ls_status status = ls__model_flag(&m[LS__MODEL_FUSE_UNKNOWN], &b->fuse_unknown);
  if (!status) status = ls__model_flag(&m[LS__MODEL_IGNORE_MERGES], &b->whole_first);
  if (!status) status = ls__model_flag(&m[LS__MODEL_BYTE_FALLBACK], &b->byte_fallback);
  if (!status) status = ls__model_text(&m[LS__MODEL_PREFIX], &b->prefix);
  return status ? status : ls__model_text(&m[LS__MODEL_SUFFIX], &b->suffix);
}

ls_status ls__bpe_read(ls__bpe *b, ls__vocab *v, const ls__part *m) {
  ls_status status = read_settings(b, m);
  if (!status) status = ls__vocab_read(v, &m[LS__MODEL_VOCAB]);
  if (!status) status = ls__model_token(&m[LS__MODEL_UNKNOWN], v, &b->unknown);
  if (status) return status;
  b->words_apart = !b->whole_first && !b->prefix.length && !b->suffix.length && ls__vocab_find(v, SIGN, 3) >= 0;
  status = read_merges(b, v, &m[LS__MODEL_MERGES]);
  for (int byte = 0; byte < 256; byte++) {
    char text[2];
    b->stand_in[byte] = ls__vocab_find(v, text, ls__byte_stand_in((unsigned char)byte, text));
  }
  ls__vocab_byte_tokens(v, b->byte);
  return status;
}

void ls__bpe_free(ls__bpe *b) {
  free(b->merges.merge);
  free(b->merges.slot);
  free(b->prefix.data);
  free(b->suffix.data);
  free(b->spelled.data);
  free(b->work.data);
  free(b->symbols.data);
}
