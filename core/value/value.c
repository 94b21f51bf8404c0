/* Values: counts references to tensors, sequences and nodes, and builds values from argument streams. */
#include <stdlib.h>
#include <string.h>
#include "value/value.h"

typedef struct ls__seq {
  int32_t references;
  int32_t length;
  const char **keys; /* the interned names of the elements of a struct, each a reference; NULL in a tuple or a list */
  ls_value items[];
} ls__seq;

static const ls__value_class *tensors, *nodes;

void ls__value_define(int32_t kind, const ls__value_class *its) { *(kind == LS_TENSOR ? &tensors : &nodes) = its; }

void ls_value_retain(const ls_value *v) {
  if (!v || !v->as.p) return;
  if (v->kind == LS_TENSOR) {
    tensors->retain(v->as.p, v->aux);
  } else if (ls__is_sequence(v->kind)) {
    ((ls__seq *)v->as.p)->references++;
    ls__live_add(1);
  } else if (v->kind == LS_NODE) {
    nodes->retain(v->as.p, v->aux);
  } else if (v->kind == LS_STRING || v->kind == LS_KEY) {
    ls__text_retain(v->as.s);
  }
}

ls_status ls__value_keep(ls_value *v) {
  if (v->kind != LS_STRING && v->kind != LS_KEY) ls_value_retain(v);
  else if (!(v->as.s = ls__intern(v->as.s))) return ls__fail(LS_ERROR_MEMORY, "out of memory for a copy of a text");
  return LS_OK;
}

void ls_value_release(const ls_value *v) {
  if (!v || !v->as.p) return;
  if (v->kind == LS_TENSOR) {
    tensors->release(v->as.p, v->aux);
  } else if (ls__is_sequence(v->kind)) {
    ls__seq *seq = v->as.p;
    ls__live_add(-1);
    if (--seq->references) return;
    for (int32_t i = 0; i < seq->length; i++) ls_value_release(&seq->items[i]);
    for (int32_t i = 0; seq->keys && i < seq->length; i++) ls__text_release(seq->keys[i]);
    free(seq->keys);
    free(seq);
  } else if (v->kind == LS_NODE) {
    nodes->release(v->as.p, v->aux);
  } else if (v->kind == LS_STRING || v->kind == LS_KEY) {
    ls__text_release(v->as.s);
  }
}

void ls__replace(ls_value *v, ls_value fresh) {
  ls_value old = *v;
  *v = fresh;
  ls_value_release(&old);
}

void ls__value_each(ls_value *v, void (*each)(void *context, ls_value *tensor), void *context) {
  if (v->kind == LS_TENSOR) {
    each(context, v);
  } else if (v->kind == LS_TUPLE || v->kind == LS_STRUCT) {
    ls__seq *seq = v->as.p;
    for (int32_t i = 0; i < seq->length; i++) ls__value_each(&seq->items[i], each, context);
  }
}

int64_t ls_value_bytes(const ls_value *v) {
  if (!v || !v->as.p) return 0;
  if (v->kind == LS_TENSOR) return tensors->bytes(v->as.p);
  int64_t bytes = 0;
  const ls__seq *seq = ls__is_sequence(v->kind) ? v->as.p : NULL;
  for (int32_t i = 0; seq && i < seq->length; i++) bytes += ls_value_bytes(&seq->items[i]);
  return bytes;
}

ls_status ls__seq_new(int32_t kind, int32_t length, ls_value *out) {
  ls__seq *seq = calloc(1, sizeof *seq + sizeof *seq->items * (size_t)length);
  if (seq && kind == LS_STRUCT) {
    seq->keys = calloc((size_t)length + 1, sizeof *seq->keys);
    if (!seq->keys) {
      free(seq);
      seq = NULL;
    }
  }
  if (!seq) return ls__fail(LS_ERROR_MEMORY, "out of memory for a sequence of %d values", length);
  seq->references = 1;
  seq->length = length;
  ls__live_add(1);
  *out = (ls_value){.kind = kind, .as.p = seq};
  return LS_OK;
}

ls_value *ls__seq_items(const ls_value *seq) { return ((ls__seq *)seq->as.p)->items; }

const char **ls__seq_keys(const ls_value *seq) { return ((ls__seq *)seq->as.p)->keys; }

enum { DEEPEST = 100 }; /* the most sequences that may be inside each other */

/* Builds the value that begins at stream[*at], and moves *at behind the value. */
static ls_status build(const ls_value *stream, int32_t n, int32_t depth, int32_t *at, ls_value *out) {
  if (*at >= n) return ls__fail(LS_ERROR_ARGUMENT, "an argument stream ends in the middle of a value");
  const ls_value *v = &stream[(*at)++];
  if (v->kind == LS_STRING) {
    if (!v->as.s) return ls__fail(LS_ERROR_ARGUMENT, "a text in an argument stream has a NULL pointer");
    ls_value text = *v;
    ls_status status = ls__value_keep(&text);
    if (!status) *out = text;
    return status;
  }
  if (v->kind != LS_OPEN) {
    if (v->kind < LS_NONE || v->kind > LS_NODE)
      return ls__fail(LS_ERROR_ARGUMENT, "in an argument stream a slice or a name stands where a value must be");
    if (ls__points(v->kind) && !v->as.p)
      return ls__fail(LS_ERROR_ARGUMENT, "a value of kind %d in an argument stream has a NULL pointer", v->kind);
    *out = *v;
    ls_value_retain(v);
    return LS_OK;
  }
  if (!ls__is_sequence(v->aux) || v->as.i < 0 || v->as.i > n)
    return ls__fail(LS_ERROR_ARGUMENT, "a sequence in an argument stream has a wrong kind or length");
  if (depth == DEEPEST) return ls__fail(LS_ERROR_ARGUMENT, "the sequences in an argument stream are nested deeper than %d", DEEPEST);
  ls_value made;
  ls_status status = ls__seq_new(v->aux, (int32_t)v->as.i, &made); // NOLINT(clang-analyzer-unix.Malloc): `made` holds the new memory
  if (status) return status;
  ls__seq *seq = made.as.p;
  for (int32_t i = 0; i < seq->length && !status; i++) {
    if (seq->keys && *at < n && stream[*at].kind == LS_KEY && stream[*at].as.s) {
      seq->keys[i] = ls__intern(stream[*at].as.s);
      if (!seq->keys[i]) {
        status = ls__fail(LS_ERROR_MEMORY, "out of memory for the name of an element");
        break;
      }
      (*at)++;
    } else if (seq->keys) {
      status = ls__fail(LS_ERROR_ARGUMENT, "an element of a struct in an argument stream has no name");
      break;
    }
    status = build(stream, n, depth + 1, at, &seq->items[i]);
  }
  if (status) ls_value_release(&made);
  else *out = made;
  return status;
}

ls_status ls_value_build(const ls_value *stream, int32_t n, ls_value *out) {
  LS__NEED(stream && n > 0 && out);
  int32_t at = 0;
  ls_value made;
  ls_status status = build(stream, n, 0, &at, &made);
  if (status) return status;
  if (at != n) {
    ls_value_release(&made);
    return ls__fail(LS_ERROR_ARGUMENT, "an argument stream must hold exactly one value here, but holds more");
  }
  *out = made;
  return LS_OK;
}

/* Returns the sequence that a value refers to; NULL where the value is not a sequence. */
static const ls__seq *sequence(const ls_value *v) { return v && ls__is_sequence(v->kind) ? v->as.p : NULL; }

int32_t ls_seq_length(const ls_value *seq) {
  const ls__seq *s = sequence(seq);
  return s ? s->length : -1;
}

const char *ls_seq_key(const ls_value *seq, int32_t i) {
  const ls__seq *s = sequence(seq);
  return s && s->keys && i >= 0 && i < s->length ? s->keys[i] : NULL;
}

ls_status ls_seq_get(const ls_value *seq, int32_t i, ls_value *out) {
  LS__NEED(out);
  const ls__seq *s = sequence(seq);
  if (!s) return ls__fail(LS_ERROR_ARGUMENT, "only a tuple, a list or a struct has elements");
  if (i < 0 || i >= s->length) return ls__fail(LS_ERROR_INDEX, "index %d is out of range for %d elements", i, s->length);
  ls_value_retain(&s->items[i]);
  *out = s->items[i];
  return LS_OK;
}

int32_t ls_seq_find(const ls_value *seq, const char *key) {
  const ls__seq *s = sequence(seq);
  if (!s || !s->keys || !key) return -1;
  for (int32_t i = 0; i < s->length; i++)
    if (!strcmp(s->keys[i], key)) return i;
  return -1;
}
