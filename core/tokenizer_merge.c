/* Merging by rank: of all neighbours that a merge joins, the one learned first goes first, the leftmost among equals. */
#include <string.h>
#include "tokenizer.h"

enum { SHORT = 64 }; /* up to here looking at every pair is faster than keeping them in order */

static size_t merge_short(const ls__merges *m, int32_t *ids, size_t count) {
  int32_t rank[SHORT], into[SHORT]; /* of the pair that begins at each place */
#define look(i)                                                             \
  do {                                                                      \
    const ls__merge *found = ls__merge_find(m, ids[i], ids[(i) + 1]);       \
    rank[i] = found ? found->rank : INT32_MAX;                              \
    into[i] = found ? found->into : 0;                                      \
  } while (0)
  for (size_t i = 0; i + 1 < count; i++) look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; i++)
      if (rank[i] < rank[best]) best = i;
    if (rank[best] == INT32_MAX) break;
    ids[best] = into[best];
    count--;
    size_t after = count - best - 1; /* ids behind the merged one */
    memmove(ids + best + 1, ids + best + 2, after * sizeof *ids);
    if (after) {
      memmove(rank + best + 1, rank + best + 2, (after - 1) * sizeof *rank);
      memmove(into + best + 1, into + best + 2, (after - 1) * sizeof *into);
      look(best);
    }
    if (best) look(best - 1);
  }
#undef look
  return count;
}

/* ---- long pieces: a heap of pairs over a linked list ----------------------------------------------------------------- */

typedef struct candidate {
  int32_t rank, at, left, right, into; /* valid while the ids at `at` and behind it are still these */
} candidate;

typedef struct chain {
  const ls__merges *m;
  int32_t *ids; /* -1 where merged away */
  int32_t *next, *before;
  candidate *heap;
  size_t heap_count;
  int32_t count;
} chain;

static bool earlier(const candidate *a, const candidate *b) {
  return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void push(chain *c, int32_t at) {
  int32_t next = at < 0 ? c->count : c->next[at];
  if (next >= c->count) return;
  const ls__merge *found = ls__merge_find(c->m, c->ids[at], c->ids[next]);
  if (!found) return;
  candidate new = {found->rank, at, c->ids[at], c->ids[next], found->into};
  size_t i = c->heap_count++;
  for (; i > 0 && earlier(&new, &c->heap[(i - 1) / 2]); i = (i - 1) / 2) c->heap[i] = c->heap[(i - 1) / 2];
  c->heap[i] = new;
}

static candidate pop(chain *c) {
  candidate top = c->heap[0], last = c->heap[--c->heap_count];
  size_t i = 0;
  for (size_t child = 1; child < c->heap_count; i = child, child = 2 * i + 1) {
    if (child + 1 < c->heap_count && earlier(&c->heap[child + 1], &c->heap[child])) child++;
    if (!earlier(&c->heap[child], &last)) break;
    c->heap[i] = c->heap[child];
  }
  c->heap[i] = last;
  return top;
}

static void join(chain *c, const candidate *top) {
  int32_t at = top->at, gone = c->next[at];
  c->ids[at] = top->into;
  c->ids[gone] = -1;
  c->next[at] = c->next[gone];
  if (c->next[at] < c->count) c->before[c->next[at]] = at;
  push(c, c->before[at]);
  push(c, at);
}

static size_t merge_long(const ls__merges *m, int32_t *ids, size_t count, ls__text *work) {
  /* Each of the at most count - 1 joins takes one candidate and adds up to two. */
  size_t heap_room = 3 * count, bytes = heap_room * sizeof(candidate) + 2 * count * sizeof(int32_t);
  work->length = 0;
  if (!ls__text_reserve(work, bytes)) return SIZE_MAX;
  candidate *heap = (candidate *)(void *)work->data;
  int32_t *next = (int32_t *)(void *)(heap + heap_room);
  chain c = {.m = m, .ids = ids, .next = next, .before = next + count, .heap = heap, .count = (int32_t)count};
  for (int32_t i = 0; i < c.count; i++) {
    c.next[i] = i + 1;
    c.before[i] = i - 1;
  }
  for (int32_t i = 0; i < c.count; i++) push(&c, i);
  while (c.heap_count) {
    candidate top = pop(&c);
    if (ids[top.at] != top.left || c.next[top.at] >= c.count || ids[c.next[top.at]] != top.right) continue;
    join(&c, &top);
  }
  size_t left = 0;
  for (int32_t i = 0; i < c.count; i = c.next[i]) ids[left++] = ids[i];
  return left;
}

size_t ls__merge_ids(const ls__merges *m, int32_t *ids, size_t count, ls__text *work) {
  return count <= SHORT ? merge_short(m, ids, count) : merge_long(m, ids, count, work);
}
