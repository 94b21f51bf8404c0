/* Cuts a piece of text by a pattern, in the five ways (ls__behavior) that tokenizer.json can name. */
#include "tokenizer/line.h"

/* Collects the new pieces in order and drops empty ones. A match is a stretch of text that the pattern matches. If `inverted`
   is set, the stretches that the pattern does not match count as matches instead. */
typedef struct cutter {
  ls__spans *out;
  size_t base;          /* the byte of the line at which the piece begins */
  ls__behavior behavior;
  bool inverted, started, was_match, no_memory;
  ls__span last;        /* the last new piece, to which the next stretch may still be joined */
} cutter;

static void append_span(cutter *c) {
  if (c->started && c->last.from < c->last.to && !ls__spans_add(c->out, c->base + c->last.from, c->base + c->last.to)) c->no_memory = true;
}

static void take(cutter *c, size_t from, size_t to, bool match) {
  match = match != c->inverted;
  if (c->behavior == LS__ISOLATED || c->behavior == LS__REMOVED) {
    if (from < to && !(match && c->behavior == LS__REMOVED) && !ls__spans_add(c->out, c->base + from, c->base + to)) c->no_memory = true;
    return;
  }
  bool join = c->behavior == LS__CONTIGUOUS    ? match == c->was_match
              : c->behavior == LS__WITH_BEFORE ? match && !c->was_match
                                               : !match && c->was_match;
  if (c->started && join) {
    c->last.to = (uint32_t)to;
  } else {
    append_span(c);
    c->last = (ls__span){(uint32_t)from, (uint32_t)to};
  }
  c->started = true;
  c->was_match = match;
}

ls_status ls__cut(const ls__pattern *pattern, ls__behavior behavior, bool inverted, const char *text, ls__span piece, ls__spans *out) {
  size_t length = piece.to - piece.from, done = 0;
  cutter c = {.out = out, .base = piece.from, .behavior = behavior, .inverted = inverted};
  ls__matches m = {.pattern = pattern, .text = text + piece.from, .length = length, .last = SIZE_MAX};
  for (;;) {
    ls__span match;
    bool found;
    ls_status status = ls__matches_next(&m, &match, &found);
    if (status) return status;
    if (!found) break;
    if (match.from > done) take(&c, done, match.from, false);
    take(&c, match.from, match.to, true);
    done = match.to;
  }
  if (done < length) take(&c, done, length, false);
  if (behavior != LS__ISOLATED && behavior != LS__REMOVED) append_span(&c);
  return c.no_memory ? ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized") : LS_OK;
}
