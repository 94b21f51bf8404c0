/* Merges neighbouring symbols by rank: of all pairs of neighbours that have a merge, the pair whose merge was learned first is joined
   first; among equal pairs, the leftmost. */
#include <string.h>
#include "tokenizer/model.h"

enum { SHORT = 64 }; /* with up to 64 symbols, searching all pairs is faster than a heap of pairs */

static size_t merge_short(const ls__merges *m, ls__symbol *symbols, size_t count) {
  int32_t rank[SHORT], into[SHORT]; /* for each symbol: the rank of its merge with the next symbol, and the id that the merge makes */
#define look(i)                                                                      \
  do {                                                                               \
    const ls__merge *found = ls__merge_find(m, symbols[i].id, symbols[(i) + 1].id);  \
    rank[i] = found ? found->rank : INT32_MAX;                                       \
    into[i] = found ? found->into : 0;                                               \
  } while (0)
  for (size_t i = 0; i + 1 < count; i++) look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; i++)
      if (rank[i] < rank[best]) best = i;
    if (rank[best] == INT32_MAX) break;
    symbols[best] = (ls__symbol){into[best], symbols[best].length + symbols[best + 1].length};
    count--;
    size_t after = count - best - 1; /* the number of symbols behind the merged symbol */
    memmove(symbols + best + 1, symbols + best + 2, after * sizeof *symbols);
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
  int32_t rank, at, left, right, into; /* a merge of symbol `at` with the next symbol; valid while the two have the ids `left`, `right` */
} candidate;

typedef struct chain {
  const ls__merges *m;
  ls__symbol *symbols; /* the symbols; one has the id -1 once it is joined to the one before it */
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
  const ls__merge *found = ls__merge_find(c->m, c->symbols[at].id, c->symbols[next].id);
  if (!found) return;
  candidate new = {found->rank, at, c->symbols[at].id, c->symbols[next].id, found->into};
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
  c->symbols[at] = (ls__symbol){top->into, c->symbols[at].length + c->symbols[gone].length};
  c->symbols[gone].id = -1;
  c->next[at] = c->next[gone];
  if (c->next[at] < c->count) c->before[c->next[at]] = at;
  push(c, c->before[at]);
  push(c, at);
}

static size_t merge_long(const ls__merges *m, ls__symbol *symbols, size_t count, ls__text *work) {
  /* The heap begins with up to count - 1 candidates; each of at most count - 1 merges takes one candidate and adds up to two. */
  size_t heap_room = 3 * count, bytes = heap_room * sizeof(candidate) + 2 * count * sizeof(int32_t);
  work->length = 0;
  if (!ls__text_reserve(work, bytes)) return SIZE_MAX;
  candidate *heap = (candidate *)(void *)work->data;
  int32_t *next = (int32_t *)(void *)(heap + heap_room);
  chain c = {.m = m, .symbols = symbols, .next = next, .before = next + count, .heap = heap, .count = (int32_t)count};
  for (int32_t i = 0; i < c.count; i++) {
    c.next[i] = i + 1;
    c.before[i] = i - 1;
  }
  for (int32_t i = 0; i < c.count; i++) push(&c, i);
  while (c.heap_count) {
    candidate top = pop(&c);
    if (symbols[top.at].id != top.left || c.next[top.at] >= c.count || symbols[c.next[top.at]].id != top.right) continue;
    join(&c, &top);
  }
  size_t left = 0;
  for (int32_t i = 0; i < c.count; i = c.next[i]) symbols[left++] = symbols[i];
  return left;
}

size_t ls__merge_symbols(const ls__merges *m, ls__symbol *symbols, size_t count, ls__text *work) {
  return count <= SHORT ? merge_short(m, symbols, count) : merge_long(m, symbols, count, work);
}
