/* Byte pair encoding over bytes: the model section of the file, and a piece of text as token ids. */
#include <stdlib.h>
#include <string.h>
#include "json_util.h"
#include "tokenizer.h"

/* A piece seen before. The table is looked up at one place only: a newer piece puts out an older one. */
typedef struct ls__word {
  uint32_t hash;
  uint8_t length, count; /* length 0: empty */
  char text[26];
  int32_t ids[8];
} ls__word;

enum { WORDS = 32768 };

_Static_assert(sizeof(ls__word) == 64, "a word is one cache line");

/* ---- merges -------------------------------------------------------------------------------------------------------- */

static ls_status unknown_token(ls__cursor *c, size_t item, const char *text, size_t length) {
  char shown[80], what[160];
  snprintf(what, sizeof what, "\"%s\" is not in the vocabulary", ls__printable(text, length, shown, sizeof shown));
  return ls__cursor_fail(c, item, what);
}

/* "left right", or ["left", "right"] in newer files. `*skip` where the line is the comment that old files begin with. */
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
      return ls__cursor_fail(c, item, "a merge is two tokens with one space between");
    first = (size_t)(space - text);
  }
  *left = ls__vocab_find(v, text, first);
  if (*left < 0) return unknown_token(c, item, text, first);
  if (!list) {
    text += first + 1;
    length -= first + 1;
  } else {
    if (!ls__cursor_take(c, ',')) return ls__cursor_fail(c, item, "a merge is a list of two tokens");
    status = ls__cursor_string(c, item, &text, &length);
    if (status) return status;
    if (!ls__cursor_take(c, ']')) return ls__cursor_fail(c, item, "a merge is a list of two tokens");
  }
  *right = ls__vocab_find(v, text, length);
  return *right < 0 ? unknown_token(c, item, text, length) : LS_OK;
}

/* Tokens are mostly numbered in the order in which they were learned: the one of a merge is behind that of the merge before. */
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
  int32_t into = m->count ? m->merge[m->count - 1].into + 1 : 256;
  if (!is_joined(v, into, text, length)) {
    b->spelled.length = 0;
    if (!ls__text_add(&b->spelled, text[0], length[0]) || !ls__text_add(&b->spelled, text[1], length[1]))
      return ls__part_memory(c->part);
    into = ls__vocab_find(v, b->spelled.data, b->spelled.length);
    if (into < 0) return unknown_token(c, item, b->spelled.data, b->spelled.length);
  }
  if (m->count == m->room) {
    int32_t room = m->room + m->room / 2 + 1024; /* a file has fewer bytes than would make this overflow */
    ls__merge *merge = realloc(m->merge, (size_t)room * sizeof *merge);
    if (!merge) return ls__part_memory(c->part);
    m->merge = merge;
    m->room = room;
  }
  m->merge[m->count] = (ls__merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, m->count, into};
  m->count++;
  return LS_OK;
}

static ls_status read_list(ls__bpe *b, const ls__vocab *v, ls__cursor *c) {
  if (!ls__cursor_take(c, '[')) return ls__cursor_fail(c, 0, "the merges are not a list");
  for (size_t item = 0; !ls__cursor_take(c, ']'); item++) {
    int32_t left = -1, right = -1;
    bool skip;
    if (item && !ls__cursor_take(c, ',')) return ls__cursor_fail(c, item, "a comma is missing");
    ls_status status = read_pair(c, v, item, &left, &right, &skip);
    if (!status && !skip) status = add_merge(b, v, c, item, left, right);
    if (status) return status;
  }
  return LS_OK;
}

/* Where a pair stands twice the later rank holds, as in the reference. */
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
  if (!part->text) return ls__part_fail(part, "is missing");
  ls__cursor cursor = {.part = part};
  ls_status status = read_list(b, v, &cursor);
  if (!status && !fill_table(&b->merges)) status = ls__part_memory(part);
  free(cursor.scratch.data);
  return status;
}

/* ---- the section --------------------------------------------------------------------------------------------------- */

static bool is_text(const ls__part *part, const char *text) {
  return part->text && part->length == strlen(text) && !memcmp(part->text, text, part->length);
}

static ls_status read_flag(const ls__part *part, bool *out) {
  if (!ls__part_is_null(part) && !is_text(part, "true") && !is_text(part, "false"))
    return ls__part_fail(part, "is not true or false");
  *out = is_text(part, "true");
  return LS_OK;
}

static ls_status read_unknown(ls__bpe *b, const ls__vocab *v, const ls__part *part) {
  b->unknown = -1;
  if (ls__part_is_null(part)) return LS_OK;
  ls__cursor cursor = {.part = part};
  const char *text;
  size_t length;
  ls_status status = ls__cursor_string(&cursor, 0, &text, &length);
  if (!status) b->unknown = ls__vocab_find(v, text, length);
  if (!status && b->unknown < 0) status = unknown_token(&cursor, 0, text, length);
  free(cursor.scratch.data);
  return status;
}

/* Settings that change ids and that luasight does not have: only the value that means "off" is read. */
static ls_status refuse_settings(const ls__part *m) {
  const ls__part *dropout = &m[LS__MODEL_DROPOUT];
  if (!ls__part_is_null(dropout) && !is_text(dropout, "0") && !is_text(dropout, "0.0"))
    return ls__part_fail(dropout, "merges dropped at random are not implemented in this version of luasight");
  static const int32_t affixes[] = {LS__MODEL_PREFIX, LS__MODEL_SUFFIX};
  for (int i = 0; i < 2; i++)
    if (!ls__part_is_null(&m[affixes[i]]) && !is_text(&m[affixes[i]], "\"\""))
      return ls__part_fail(&m[affixes[i]], "a mark on parts of words is not implemented in this version of luasight");
  bool fallback = false;
  ls_status status = read_flag(&m[LS__MODEL_BYTE_FALLBACK], &fallback);
  if (status) return status;
  if (fallback) return ls__part_fail(&m[LS__MODEL_BYTE_FALLBACK], "is not implemented in this version of luasight");
  static const int32_t foreign[] = {LS__MODEL_LONGEST_WORD, LS__MODEL_UNKNOWN_ID};
  for (int i = 0; i < 2; i++)
    if (m[foreign[i]].text) return ls__part_fail(&m[foreign[i]], "does not belong to a model of type BPE");
  return LS_OK;
}

ls_status ls__bpe_read(ls__bpe *b, ls__vocab *v, const ls__part *m) {
  ls_status status = refuse_settings(m);
  if (!status) status = read_flag(&m[LS__MODEL_FUSE_UNKNOWN], &b->fuse_unknown);
  if (!status) status = read_flag(&m[LS__MODEL_IGNORE_MERGES], &b->whole_first);
  if (!status) status = ls__vocab_read(v, &m[LS__MODEL_VOCAB]);
  if (!status) status = read_unknown(b, v, &m[LS__MODEL_UNKNOWN]);
  if (!status) status = read_merges(b, v, &m[LS__MODEL_MERGES]);
  if (status) return status;
  for (int byte = 0; byte < 256; byte++) {
    char text[2];
    b->byte_id[byte] = ls__vocab_find(v, text, ls__byte_stand_in((unsigned char)byte, text));
  }
  b->cache = calloc(WORDS, sizeof *b->cache);
  return b->cache ? LS_OK : ls__part_memory(m);
}

void ls__bpe_free(ls__bpe *b) {
  free(b->merges.merge);
  free(b->merges.slot);
  free(b->cache);
  free(b->spelled.data);
  free(b->work.data);
}

/* ---- encoding ------------------------------------------------------------------------------------------------------ */

static ls_status no_memory(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized"); }

static ls_status give(const int32_t *ids, size_t count, ls__ids *out) {
  if (!ls__ids_reserve(out, count)) return no_memory();
  for (size_t i = 0; i < count; i++) out->data[out->count++] = ids[i];
  return LS_OK;
}

/* The token that is the whole piece, -1 where there is none. */
static int32_t whole(ls__bpe *b, const ls__vocab *v, const char *piece, size_t length) {
  b->spelled.length = 0;
  if (!ls__text_reserve(&b->spelled, 2 * length)) return -1; /* the merges find it or run out of memory themselves */
  for (size_t i = 0; i < length; i++)
    b->spelled.length += ls__byte_stand_in((unsigned char)piece[i], b->spelled.data + b->spelled.length);
  return ls__vocab_find(v, b->spelled.data, b->spelled.length);
}

static ls_status merge_piece(ls__bpe *b, const char *piece, size_t length, int32_t *ids, size_t *count) {
  size_t n = 0;
  bool was_unknown = false;
  for (size_t i = 0; i < length; i++) {
    int32_t id = b->byte_id[(unsigned char)piece[i]];
    if (id < 0 && b->unknown < 0)
      return ls__fail(LS_ERROR_ARGUMENT, "the vocabulary has no token for the byte 0x%02X of this text, and no unk_token",
                      (unsigned char)piece[i]);
    if (id >= 0) ids[n++] = id;
    else if (!was_unknown || !b->fuse_unknown) ids[n++] = b->unknown;
    was_unknown = id < 0;
  }
  *count = ls__merge_ids(&b->merges, ids, n, &b->work);
  return *count == SIZE_MAX ? no_memory() : LS_OK;
}

ls_status ls__bpe_encode(ls__bpe *b, const ls__vocab *v, const char *piece, size_t length, ls__ids *out) {
  uint64_t hash = ls__hash(piece, length, b->merges.seed);
  ls__word *word = &b->cache[hash % WORDS];
  bool fits = length <= sizeof word->text;
  if (fits && word->length == length && word->hash == hash >> 32 && !memcmp(word->text, piece, length))
    return give(word->ids, word->count, out);
  int32_t few[64], *ids = few;
  size_t count = 1;
  int32_t one = b->whole_first ? whole(b, v, piece, length) : -1;
  if (one >= 0) {
    few[0] = one;
  } else {
    if (length > sizeof few / sizeof *few) {
      b->spelled.length = 0;
      if (!ls__text_reserve(&b->spelled, length * sizeof *ids)) return no_memory();
      ids = (int32_t *)(void *)b->spelled.data;
    }
    ls_status status = merge_piece(b, piece, length, ids, &count);
    if (status) return status;
  }
  if (fits && count <= sizeof word->ids / sizeof *word->ids) {
    word->hash = (uint32_t)(hash >> 32);
    word->length = (uint8_t)length;
    word->count = (uint8_t)count;
    memcpy(word->text, piece, length);
    memcpy(word->ids, ids, count * sizeof *ids);
  }
  return give(ids, count, out);
}
