/* Values: sequences, and what streams of arguments hold. */
#ifndef LUASIGHT_VALUE_H
#define LUASIGHT_VALUE_H
#include "base/base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* value.c */
static inline bool ls__is_sequence(int32_t kind) { return kind == LS_TUPLE || kind == LS_LIST || kind == LS_STRUCT; }
static inline bool ls__points(int32_t kind) { return kind == LS_STRING || kind == LS_KEY || (kind >= LS_TENSOR && kind <= LS_NODE); }
void ls__replace(ls_value *v, ls_value fresh); /* takes `fresh`, releases what was there */
void ls__value_swap(ls_value *v, void *old, const ls_value *fresh); /* one tensor for another, also inside of sequences */
ls_status ls__seq_new(int32_t kind, int32_t length, ls_value *out); /* items LS_NONE; keys allocated for LS_STRUCT */
ls_value *ls__seq_items(const ls_value *seq);   /* the elements, to read and to fill */
const char **ls__seq_keys(const ls_value *seq); /* their interned names; NULL unless a struct */

/* What a value that points somewhere asks of the folder that owns the thing: of torch for tensors, of model for nodes. */
typedef struct ls__value_class {
  void (*retain)(void *thing, int32_t aux);
  void (*release)(void *thing, int32_t aux);
  int64_t (*bytes)(void *thing); /* NULL: none of its own */
} ls__value_class;
void ls__value_define(int32_t kind, const ls__value_class *its); /* before the first value of the kind; `its` is kept */

/* stream.c */
int32_t ls__stream_value(const ls_value *stream, int32_t i, int32_t n); /* the place behind the value that begins at place i */
void ls__stream_free(ls_value *stream, int32_t n);                      /* its nodes are numbers and hold nothing */
/* Fails where a stream from outside is not well formed: what reads streams relies on it. Of a node it checks no number. */
ls_status ls__stream_check(const ls_value *stream, int32_t n);

#ifdef __cplusplus
}
#endif
#endif
