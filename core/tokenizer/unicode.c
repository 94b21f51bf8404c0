/* Unicode's normal forms (NFC, NFD, NFKC, NFKD) and lower case, made character by character, so that it is known from which place of
   the input each character of the result comes. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "tokenizer/line.h"

/* A character of the decomposed text. `change` is 1 minus the number of characters of the input that it replaces: 0 where it replaces one
   character, 1 where it is additional, -1 where it replaces two characters. */
typedef struct part {
  int32_t code, change, class;
  uint32_t order;
} part;

typedef struct form {
  ls__rewriter *r;
  bool composed;
  part *marks;    /* the last decomposed character and its marks, not yet sorted by combining class */
  size_t count, room;
  part base;      /* a character that may be composed with those behind it; code -1 if there is no such character */
  part *behind;   /* the combining characters behind `base` that Unicode normalization did not join with `base` */
  size_t behind_count, behind_room;
  int32_t last_class; /* the combining class of the last mark in `behind`, -1 where there is none */
} form;

static void emit(form *f, const part *p) {
  ls__rewrite_put(f->r, p->code, p->change > 0);
  if (p->change < 0) ls__rewrite_lose(f->r, (size_t)-p->change);
}

static bool push(part **list, size_t *count, size_t *room, const part *p) {
  part *data = ls__reserve(*list, room, *count, 1, sizeof **list);
  if (!data) return false;
  *list = data;
  data[(*count)++] = *p;
  return true;
}

/* ---- composing ----------------------------------------------------------------------------------------------------- */

static int32_t pair(int32_t a, int32_t b) {
  int32_t both[2] = {a, b};
  return utf8proc_normalize_utf32(both, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) == 1 ? both[0] : -1;
}

static void flush(form *f) {
  if (f->base.code >= 0) emit(f, &f->base);
  for (size_t i = 0; i < f->behind_count; i++) emit(f, &f->behind[i]);
  f->base.code = f->last_class = -1;
  f->behind_count = 0;
}

static void compose(form *f, const part *p) {
  if (f->base.code < 0) {
    if (p->class || !f->composed) emit(f, p);
    else f->base = *p;
    return;
  }
  if (f->last_class < p->class) { /* no mark between `base` and `p` keeps the two from being composed */
    int32_t one = pair(f->base.code, p->code);
    if (one >= 0) {
      f->base.code = one;
      f->base.change += p->change - 1;
      return;
    }
  }
  if (!p->class) {
    flush(f);
    f->base = *p;
    return;
  }
  if (!push(&f->behind, &f->behind_count, &f->behind_room, p)) f->r->no_memory = true;
  f->last_class = p->class;
}

/* ---- decomposing --------------------------------------------------------------------------------------------------- */

static int by_class(const void *a, const void *b) {
  const part *x = a, *y = b;
  return x->class != y->class ? x->class - y->class : (x->order > y->order) - (x->order < y->order);
}

/* Sorts the collected marks by their combining classes and hands them to compose(). */
static void settle(form *f) {
  bool ordered = true;
  for (size_t i = 1; i < f->count; i++) ordered &= f->marks[i - 1].class <= f->marks[i].class;
  if (!ordered) qsort(f->marks, f->count, sizeof *f->marks, by_class);
  for (size_t i = 0; i < f->count; i++) compose(f, &f->marks[i]);
  f->count = 0;
}

static void decompose(form *f, int32_t code, bool compatible) {
  int32_t parts[32];
  int boundary = 0;
  utf8proc_ssize_t n = utf8proc_decompose_char(code, parts, 32,
    UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0), &boundary);
  if (n < 1 || n > 32 || !ls__text_has_form(code)) parts[0] = code, n = 1; /* no character decomposes into more than 18 others */
  for (utf8proc_ssize_t i = 0; i < n; i++) {
    part p = {parts[i], i > 0, ls__text_combining_class(parts[i]), (uint32_t)f->count};
    if (!p.class) settle(f);
    p.order = (uint32_t)f->count;
    if (!push(&f->marks, &f->count, &f->room, &p)) f->r->no_memory = true;
  }
}

static bool is_inert(int32_t code) { /* true only for common characters that no normal form changes or joins */
  return code < 0x80 || (code >= 0x3400 && code < 0x4DC0) || (code >= 0x4E00 && code < 0xA000);
}

/* Writes the text in a normal form of Unicode. The characters that wait in `f` must be written before any text is copied, since the
   rewriter takes the place r->at as the origin of the next character that it writes. */
void ls__unicode_form(ls__rewriter *r, bool compatible, bool composed) {
  form f = {.r = r, .composed = composed, .base = {.code = -1}, .last_class = -1};
  size_t read = r->at; /* the byte up to which the input is read; the output replaces it up to byte r->at */
  while (read < r->end) {
    int32_t code;
    size_t next = read + ls__utf8_next(r->in->text.data + read, r->end - read, &code);
    if (is_inert(code)) {
      settle(&f);
      flush(&f);
      size_t last = read; /* the character at `last` may still be composed with a mark behind it */
      while (next < r->end) {
        size_t n = ls__utf8_next(r->in->text.data + next, r->end - next, &code);
        if (!is_inert(code)) break;
        last = next;
        next += n;
      }
      if (next == r->end) last = next;
      ls__rewrite_copy(r, last);
      read = last;
      if (read == r->end) break;
      next = read + ls__utf8_next(r->in->text.data + read, r->end - read, &code);
    }
    decompose(&f, code, compatible);
    read = next;
  }
  settle(&f);
  flush(&f);
  free(f.marks);
  free(f.behind);
}

/* ---- lower case ---------------------------------------------------------------------------------------------------- */

/* The lower case of letters that came with Unicode 16 and 17, which utf8proc before 2.10 and 2.11 does not know. */
static int32_t newer_lower(int32_t code) {
  if (code >= 0x10D50 && code <= 0x10D65) return code + 0x20;
  if (code >= 0x16EA0 && code <= 0x16EB8) return code + 0x1B;
  switch (code) {
  case 0x1C89: return 0x1C8A;
  case 0xA7CB: return 0x264;
  case 0xA7CC: case 0xA7CE: case 0xA7D2: case 0xA7D4: case 0xA7DA: return code + 1;
  case 0xA7DC: return 0x19B;
  default: return code;
  }
}

void ls__unicode_lower(ls__rewriter *r) {
  while (r->at < r->end) {
    size_t next;
    int32_t code = ls__rewrite_peek(r, &next), lower;
    if (code < 0x80) lower = code >= 'A' && code <= 'Z' ? code | 0x20 : code;
    else lower = newer_lower(utf8proc_tolower(code));
    if (code == 0x130) { /* the only character whose lower case has two characters */
      ls__rewrite_put(r, 'i', false);
      ls__rewrite_put(r, 0x307, true);
    } else if (lower == code) {
      ls__rewrite_copy(r, next);
    } else {
      ls__rewrite_put(r, lower, false);
    }
  }
}
