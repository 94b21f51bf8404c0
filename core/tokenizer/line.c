/* Lines, which are texts that store for each byte its origin in the original text; and the rewriting of one line into another. */
#include "tokenizer/line.h"
#include <stdlib.h>
#include <string.h>

bool ls__spans_add(ls__spans *s, size_t from, size_t to) {
  ls__span *data = ls__reserve(s->data, &s->room, s->count, 1, sizeof *data);
  if (!data) return false;
  s->data = data;
  data[s->count++] = (ls__span){(uint32_t)from, (uint32_t)to};
  return true;
}

/* ---- lines --------------------------------------------------------------------------------------------------------- */

void ls__line_clear(ls__line *line, bool tracked) {
  line->text.length = line->origin.count = 0;
  line->tracked = tracked;
}

void ls__line_free(ls__line *line) {
  free(line->text.data);
  free(line->origin.data);
}

static ls__span *reserve_origin(ls__line *line, size_t more) {
  ls__spans *s = &line->origin;
  ls__span *data = ls__reserve(s->data, &s->room, s->count, more, sizeof *data);
  if (!data) return NULL;
  s->data = data;
  return data + s->count;
}

bool ls__line_add(ls__line *line, const char *text, size_t length, size_t from) {
  if (!ls__text_add(&line->text, text, length)) return false;
  if (!line->tracked) return true;
  ls__span *origin = reserve_origin(line, length);
  if (!origin) return false;
  for (size_t at = 0, n; at < length; at += n) {
    int32_t code;
    n = ls__utf8_next(text + at, length - at, &code);
    for (size_t i = 0; i < n; i++) origin[at + i] = (ls__span){(uint32_t)(from + at), (uint32_t)(from + at + n)};
  }
  line->origin.count += length;
  return true;
}

/* Appends text to the line that is written; all bytes of the text get the same origin. */
static void append(ls__rewriter *r, const char *text, size_t length, ls__span origin) {
  r->any = true;
  if (!ls__text_add(&r->out->text, text, length)) r->no_memory = true;
  if (r->no_memory || !r->out->tracked) return;
  ls__span *to = reserve_origin(r->out, length);
  if (!to) r->no_memory = true;
  else for (size_t i = 0; i < length; i++) to[i] = origin;
  if (to) r->out->origin.count += length;
}

/* ---- rewriting ----------------------------------------------------------------------------------------------------- */

void ls__rewrite_copy(ls__rewriter *r, size_t to) {
  size_t length = to - r->at;
  if (!length) return;
  r->any = true;
  if (!ls__text_add(&r->out->text, r->in->text.data + r->at, length)) r->no_memory = true;
  if (!r->no_memory && r->out->tracked) {
    ls__span *origin = reserve_origin(r->out, length);
    if (!origin) r->no_memory = true;
    else memcpy(origin, r->in->origin.data + r->at, length * sizeof *origin);
    if (origin) r->out->origin.count += length;
  }
  r->at = to;
}

void ls__rewrite_skip(ls__rewriter *r, size_t to) { r->at = to; }

/* Returns the origin of the character before r->at. Where r->at is 0, returns an empty range at the byte of the original text at which the
   line begins. */
static ls__span origin_before(const ls__rewriter *r) {
  const ls__spans *origin = &r->in->origin;
  if (!r->in->tracked || !origin->count) return (ls__span){0, 0};
  if (r->at) return origin->data[r->at - 1];
  return (ls__span){origin->data[0].from, origin->data[0].from};
}

void ls__rewrite_put(ls__rewriter *r, int32_t code, bool added) {
  char text[4];
  ls__span origin = added || r->at >= r->end || !r->in->tracked ? origin_before(r) : r->in->origin.data[r->at];
  if (!added && r->at < r->end) (void)ls__rewrite_peek(r, &r->at);
  append(r, text, ls__utf8_put(code, text), origin);
}

void ls__rewrite_add(ls__rewriter *r, const char *text, size_t length) { append(r, text, length, origin_before(r)); }

void ls__rewrite_front(ls__rewriter *r, const char *text, size_t length) {
  append(r, text, length, r->in->tracked ? r->in->origin.data[r->at] : (ls__span){0, 0});
}

void ls__rewrite_lose(ls__rewriter *r, size_t characters) {
  for (; r->any && characters && r->at < r->end; characters--) (void)ls__rewrite_peek(r, &r->at);
}
