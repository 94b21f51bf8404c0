/* The vocabulary of a tokenizer: finds tokens by their ids and ids by their tokens. */
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tokenizer/model.h"

/* ---- hashing ------------------------------------------------------------------------------------------------------- */

static uint64_t fold(uint64_t a, uint64_t b) {
  __uint128_t product = (__uint128_t)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t ls__hash_pair(uint64_t pair, uint64_t seed) { return fold(pair ^ seed, 0x9E3779B97F4A7C15u); }

uint64_t ls__hash(const char *text, size_t length, uint64_t seed) {
  uint64_t hash = seed ^ length, word;
  for (; length >= 8; text += 8, length -= 8) {
    memcpy(&word, text, 8);
    hash = fold(hash ^ word, 0x9E3779B97F4A7C15u);
  }
  word = 0;
  if (length >= 4) { /* the first and the last 4 bytes, which overlap where the length is below 8 */
    uint32_t first, last;
    memcpy(&first, text, 4);
    memcpy(&last, text + length - 4, 4);
    word = (uint64_t)first << 32 | last;
  } else if (length) {
    const unsigned char *s = (const unsigned char *)text;
    word = (uint64_t)s[0] << 16 | (uint64_t)s[length / 2] << 8 | s[length - 1];
  }
  return fold(hash ^ word, 0xD6E8FEB86659FD93u);
}

/* Makes a seed for hashes from the clock and an address of this process: not secret, but the writer of a file cannot know it. */
uint64_t ls__hash_seed(void) {
  struct timespec now = {0};
  timespec_get(&now, TIME_UTC);
  return fold((uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)&now, 0xD6E8FEB86659FD93u ^ (uint64_t)now.tv_sec) | 1;
}

/* ---- the table ----------------------------------------------------------------------------------------------------- */

static int32_t id_in(uint64_t slot) { return (int32_t)(uint32_t)slot - 1; }

/* The index in the hash table at which a token is, or the free one where the token belongs. */
static uint32_t place_of(const ls__vocab *v, uint32_t hash, const char *text, size_t length) {
  uint32_t i = hash & v->mask;
  for (; v->slot[i]; i = (i + 1) & v->mask) {
    if (v->slot[i] >> 32 != hash) continue; /* the hash tells most tokens apart, without their texts */
    const ls__token *token = &v->token[id_in(v->slot[i])];
    if (token->length == length && !memcmp(v->text.data + token->at, text, length)) break;
  }
  return i;
}

static bool widen(ls__vocab *v, uint32_t mask) {
  uint64_t *slot = calloc((size_t)mask + 1, sizeof *slot);
  if (!slot) return false;
  for (uint32_t i = 0; v->slot && i <= v->mask; i++) {
    if (!v->slot[i]) continue;
    uint32_t to = (uint32_t)(v->slot[i] >> 32) & mask;
    while (slot[to]) to = (to + 1) & mask;
    slot[to] = v->slot[i];
  }
  free(v->slot);
  v->slot = slot;
  v->mask = mask;
  return true;
}

/* Makes room for about as many tokens as `bytes` bytes of JSON have. Out of memory, this function does nothing, and ls__vocab_add
   fails later. */
static void expect(ls__vocab *v, size_t bytes) {
  uint32_t mask = 1023;
  while (mask < bytes / 16 && mask < UINT32_MAX / 4) mask = mask * 2 + 1;
  if (!v->seed) v->seed = ls__hash_seed();
  if (!v->slot) widen(v, mask);
  ls__text_reserve(&v->text, bytes / 2);
}

static bool reach(ls__vocab *v, int64_t id) {
  if (id >= v->room) {
    int64_t room = id + 1 + id / 2 + 256;
    ls__token *token = realloc(v->token, (size_t)room * sizeof *token);
    if (!token) return false;
    v->token = token;
    v->room = (int32_t)room;
  }
  for (; v->size <= id; v->size++) v->token[v->size] = (ls__token){LS__NO_TOKEN, 0};
  return true;
}

ls__added ls__vocab_add(ls__vocab *v, const char *text, size_t length, int64_t id) {
  if (!v->seed) v->seed = ls__hash_seed();
  if ((!v->slot || v->used > v->mask / 16 * 13) && !widen(v, v->slot ? v->mask * 2 + 1 : 1023)) return LS__ADDED_NO_MEMORY;
  uint32_t hash = (uint32_t)ls__hash(text, length, v->seed), place = place_of(v, hash, text, length);
  if (v->slot[place]) return LS__ADDED_TOKEN_TWICE;
  if (id < v->size && v->token[id].at != LS__NO_TOKEN) return LS__ADDED_ID_TWICE;
  if (!reach(v, id) || !ls__text_reserve(&v->text, length + 1)) return LS__ADDED_NO_MEMORY;
  v->token[id] = (ls__token){(uint32_t)v->text.length, (uint32_t)length};
  ls__text_add(&v->text, text, length);
  v->text.data[v->text.length++] = 0;
  v->slot[place] = (uint64_t)hash << 32 | (uint32_t)(id + 1);
  v->used++;
  return LS__ADDED;
}

int32_t ls__vocab_find(const ls__vocab *v, const char *text, size_t length) {
  return v->slot ? id_in(v->slot[place_of(v, (uint32_t)ls__hash(text, length, v->seed), text, length)]) : -1;
}

int32_t ls__vocab_hole(const ls__vocab *v) {
  if (v->used == (uint32_t)v->size) return -1;
  int32_t id = 0;
  while (v->token[id].at != LS__NO_TOKEN) id++;
  return id;
}

const char *ls__vocab_token(const ls__vocab *v, int64_t id, size_t *length) {
  if (id < 0 || id >= v->size || v->token[id].at == LS__NO_TOKEN) return NULL;
  *length = v->token[id].length;
  return v->text.data + v->token[id].at;
}

void ls__vocab_byte_tokens(const ls__vocab *v, int32_t out[256]) {
  for (int byte = 0; byte < 256; byte++) {
    char text[8];
    int length = snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
    out[byte] = ls__vocab_find(v, text, (size_t)length);
  }
}

void ls__vocab_free(ls__vocab *v) {
  free(v->text.data);
  free(v->token);
  free(v->slot);
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static ls_status add(ls__vocab *v, ls__cursor *c, size_t item, const char *text, size_t length, int64_t id) {
  char shown[80], what[200];
  /* An entry of the vocabulary has at least five bytes of JSON. A larger id leaves ids without tokens, and its table would waste memory. */
  if ((uint64_t)id >= c->part->length / 5 + 1) return ls__cursor_fail(c, item, "the id of a token is larger than the number of tokens");
  ls__added added = ls__vocab_add(v, text, length, id);
  if (added == LS__ADDED) return LS_OK;
  if (added == LS__ADDED_NO_MEMORY) return ls__part_memory(c->part);
  ls__printable(text, length, shown, sizeof shown);
  if (added == LS__ADDED_TOKEN_TWICE) snprintf(what, sizeof what, "the token \"%s\" occurs twice", shown);
  else snprintf(what, sizeof what, "the id %lld of \"%s\" is taken by another token", (long long)id, shown);
  return ls__cursor_fail(c, item, what);
}

static ls_status read_entries(ls__vocab *v, ls__cursor *c) {
  if (!ls__cursor_take(c, '{')) return ls__cursor_fail(c, 0, "the vocabulary is not a JSON object of tokens and ids");
  size_t item = 0;
  for (; ls__cursor_peek(c) != '}'; item++) {
    const char *text;
    size_t length;
    int64_t id;
    if (item && !ls__cursor_take(c, ',')) return ls__cursor_fail(c, item, "a comma is missing in the vocabulary");
    ls_status status = ls__cursor_string(c, item, &text, &length);
    if (!status && !ls__cursor_take(c, ':')) return ls__cursor_fail(c, item, "a colon is missing in the vocabulary");
    /* `text` stays valid here, since reading a number does not use the memory of the string. */
    if (!status) status = ls__cursor_integer(c, item, &id);
    if (!status) status = add(v, c, item, text, length, id);
    if (status) return status;
  }
  return item ? LS_OK : ls__cursor_fail(c, 0, "the vocabulary is empty");
}

/* Reads a JSON number. Its decimal point is replaced by that of the locale, which strtod needs. */
static ls_status read_score(ls__cursor *c, size_t item, double *out) {
  char number[64];
  size_t n = 0;
  const char *point = localeconv()->decimal_point;
  for (char sign = ls__cursor_peek(c); sign && strchr("+-.eE0123456789", sign); sign = c->at < c->part->length ? c->part->text[c->at] : 0) {
    if (n + 1 >= sizeof number) return ls__cursor_fail(c, item, "the score of a token is not a number");
    number[n++] = sign == '.' && point[0] && !point[1] ? point[0] : sign;
    c->at++;
  }
  number[n] = 0;
  char *end = number;
  *out = strtod(number, &end);
  return n && !*end && *out > -1e30 && *out < 1e30 ? LS_OK : ls__cursor_fail(c, item, "the score of a token is not a number");
}

static ls_status read_scored(ls__vocab *v, ls__cursor *c, double **scores) {
  size_t room = 0;
  if (!ls__cursor_take(c, '[')) return ls__cursor_fail(c, 0, "the vocabulary is not a JSON list of tokens and scores");
  size_t item = 0;
  for (; ls__cursor_peek(c) != ']'; item++) {
    const char *text;
    size_t length;
    if (item && !ls__cursor_take(c, ',')) return ls__cursor_fail(c, item, "a comma is missing in the vocabulary");
    double *score = ls__reserve(*scores, &room, item, 1, sizeof *score);
    if (!score) return ls__part_memory(c->part);
    *scores = score;
    if (!ls__cursor_take(c, '[')) return ls__cursor_fail(c, item, "an entry of the vocabulary is not a token and its score");
    ls_status status = ls__cursor_string(c, item, &text, &length);
    if (!status && !ls__cursor_take(c, ',')) return ls__cursor_fail(c, item, "an entry of the vocabulary is not a token and its score");
    if (!status) status = read_score(c, item, &score[item]);
    if (!status && !ls__cursor_take(c, ']')) return ls__cursor_fail(c, item, "an entry of the vocabulary is not a token and its score");
    if (!status) status = add(v, c, item, text, length, (int64_t)item);
    if (status) return status;
  }
  return item ? LS_OK : ls__cursor_fail(c, 0, "the vocabulary is empty");
}

ls_status ls__vocab_read_scored(ls__vocab *v, const ls__part *part, double **scores) {
  if (!part->text) return ls__part_fail(part, "the model has no vocabulary");
  ls__cursor cursor = {.part = part};
  expect(v, part->length);
  ls_status status = read_scored(v, &cursor, scores);
  free(cursor.scratch.data);
  return status;
}

ls_status ls__vocab_read(ls__vocab *v, const ls__part *part) {
  if (!part->text) return ls__part_fail(part, "the model has no vocabulary");
  ls__cursor cursor = {.part = part};
  expect(v, part->length);
  ls_status status = read_entries(v, &cursor);
  free(cursor.scratch.data);
  return status;
}
