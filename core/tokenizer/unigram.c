/* The model Unigram: of all ways to cut a piece of text into tokens, it chooses the way with the highest sum of scores of its tokens. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/model.h"

static const double penalty = 10; /* the score of an unknown character is so much below the lowest score of a token */

/* ---- the trie ------------------------------------------------------------------------------------------------------ */

enum { NODES = 1 << 24 };

static uint64_t *edge_of(const ls__unigram *u, uint32_t node, unsigned char byte) {
  uint32_t key = node << 8 | byte;
  uint64_t at = ls__hash_pair(key, 0x9E3779B97F4A7C15u) >> 20 & u->mask;
  while (u->edge[at] && u->edge[at] >> 32 != key) at = (at + 1) & u->mask;
  return &u->edge[at];
}

static bool add_node(ls__unigram *u) {
  int32_t *data = ls__reserve(u->node_id, &u->node_room, u->nodes, 1, sizeof *data);
  if (!data) return false;
  u->node_id = data;
  data[u->nodes++] = -1;
  return true;
}

static ls_status plant(ls__unigram *u, const ls__vocab *v, const ls__part *part) {
  uint64_t size = 1024;
  while (size < (uint64_t)v->text.length * 2) size *= 2;
  u->edge = calloc(size, sizeof *u->edge);
  u->mask = size - 1;
  if (!u->edge || !add_node(u)) return ls__part_memory(part);
  for (int32_t id = 0; id < v->size; id++) {
    size_t length;
    const char *token = ls__vocab_token(v, id, &length);
    uint32_t node = 0;
    for (size_t i = 0; token && i < length; i++) {
      uint64_t *edge = edge_of(u, node, (unsigned char)token[i]);
      if (!*edge) {
        if (u->nodes == NODES) return ls__part_fail(part, "the vocabulary has more text than this version of luasight can read");
        *edge = (uint64_t)(node << 8 | (unsigned char)token[i]) << 32 | u->nodes;
        if (!add_node(u)) return ls__part_memory(part);
      }
      node = (uint32_t)*edge;
    }
    if (node) u->node_id[node] = id;
  }
  return LS_OK;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

ls_status ls__unigram_read(ls__unigram *u, ls__vocab *v, const ls__part *m) {
  const ls__part *unknown = &m[LS__MODEL_UNKNOWN_ID];
  ls__cursor cursor = {.part = unknown};
  int64_t id = -1;
  ls_status status = ls__vocab_read_scored(v, &m[LS__MODEL_VOCAB], &u->score);
  if (!status && !ls__part_is_null(unknown)) status = ls__cursor_integer(&cursor, 0, &id);
  if (!status && id >= v->size) status = ls__part_fail(unknown, "the unknown token's id %lld is not in the vocabulary", (long long)id);
  if (!status) status = ls__model_flag(&m[LS__MODEL_BYTE_FALLBACK], &u->byte_fallback);
  if (!status) status = plant(u, v, &m[LS__MODEL_VOCAB]);
  if (status) return status;
  u->unknown = (int32_t)id;
  for (int32_t i = 0; i < v->size; i++)
    if (!i || u->score[i] - penalty < u->unknown_score) u->unknown_score = u->score[i] - penalty;
  ls__vocab_byte_tokens(v, u->byte);
  return LS_OK;
}

void ls__unigram_free(ls__unigram *u) {
  free(u->score);
  free(u->edge);
  free(u->node_id);
  free(u->path.data);
  free(u->back.data);
}

/* ---- encoding ------------------------------------------------------------------------------------------------------ */

/* The best way (that of the highest score) to cut the first bytes of a piece of text into tokens. */
typedef struct step {
  double score;
  int32_t id;
  uint32_t from; /* the byte of the piece at which the last token begins */
  bool reached;
} step;

static void reach(step *to, double score, int32_t id, size_t from) {
  if (to->reached && score <= to->score) return;
  *to = (step){score, id, (uint32_t)from, true};
}

static ls_status no_unknown(const char *text, size_t length) {
  char shown[80];
  return ls__fail(LS_ERROR_ARGUMENT, "the vocabulary has no token for \"%s\", and the tokenizer no unknown token",
                  ls__printable(text, length, shown, sizeof shown));
}

static ls_status search(const ls__unigram *u, const char *piece, size_t length, step *best) {
  for (size_t at = 0, next; at < length; at = next) {
    int32_t code;
    bool single = false;
    uint32_t node = 0;
    double here = best[at].score;
    next = at + ls__utf8_next(piece + at, length - at, &code);
    for (size_t end = at; end < length;) {
      node = (uint32_t)*edge_of(u, node, (unsigned char)piece[end++]);
      if (!node) break;
      int32_t id = u->node_id[node];
      if (id < 0) continue;
      reach(&best[end], here + u->score[id], id, at);
      single |= end == next;
    }
    if (single) continue;
    if (u->unknown < 0) return no_unknown(piece + at, next - at);
    reach(&best[next], here + u->unknown_score, u->unknown, at);
  }
  return LS_OK;
}

/* Adds the tokens of a stretch of unknown characters: the tokens of its bytes where each byte has a token, else the unknown token. */
static ls_status append_unknown(const ls__unigram *u, const ls__vocab *v, const char *piece, size_t from, size_t to, ls__tokens *out) {
  int32_t id = ls__vocab_find(v, piece + from, to - from); /* several unknown characters together may be a token */
  bool all = u->byte_fallback && id < 0;
  for (size_t i = from; all && i < to; i++) all = u->byte[(unsigned char)piece[i]] >= 0;
  if (!all) return ls__tokens_add(out, id < 0 ? u->unknown : id, from, to);
  ls_status status = LS_OK;
  for (size_t i = from; !status && i < to; i++) status = ls__tokens_add(out, u->byte[(unsigned char)piece[i]], from, to);
  return status;
}

ls_status ls__unigram_encode(ls__unigram *u, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out) {
  size_t bytes = (length + 1) * sizeof(step);
  u->path.length = u->back.count = 0;
  if (!ls__text_reserve(&u->path, bytes)) return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized");
  step *best = memset(u->path.data, 0, bytes);
  ls_status status = search(u, piece, length, best);
  for (size_t end = length; !status && end; end = best[end].from) { /* follows the best tokens back from the end of
                                                                       the piece; joins neighbouring unknown ones */
    ls__piece_token *last = u->back.count ? &u->back.data[u->back.count - 1] : NULL;
    bool unknown = best[end].id == u->unknown;
    if (unknown && last && last->id == u->unknown) last->from = best[end].from;
    else status = ls__tokens_add(&u->back, best[end].id, best[end].from, end);
  }
  for (size_t i = u->back.count; !status && i-- > 0;) {
    const ls__piece_token *t = &u->back.data[i];
    if (t->id == u->unknown) status = append_unknown(u, v, piece, t->from, t->to, out);
    else status = ls__tokens_add(out, t->id, t->from, t->to);
  }
  return status;
}
