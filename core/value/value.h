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
void ls__replace(ls_value *v, ls_value fresh); /* releases the old value and takes over the reference `fresh` */
void ls__value_swap(ls_value *v, void *old, const ls_value *fresh); /* replaces one tensor by another, inside sequences too */
ls_status ls__seq_new(int32_t kind, int32_t length, ls_value *out); /* the items are LS_NONE; a struct has room for names */
ls_value *ls__seq_items(const ls_value *seq);   /* the elements, which the caller may read and set */
const char **ls__seq_keys(const ls_value *seq); /* the interned names of the elements; NULL unless a struct */

/* How the folder that owns tensors (torch) or nodes (model) counts references to them. */
typedef struct ls__value_class {
  void (*retain)(void *thing, int32_t aux);
  void (*release)(void *thing, int32_t aux);
  int64_t (*bytes)(void *thing); /* the bytes of its memory; NULL: it has none */
} ls__value_class;
void ls__value_define(int32_t kind, const ls__value_class *its); /* before the first value of the kind is made; `its` must stay valid */

/* stream.c */
int32_t ls__stream_value(const ls_value *stream, int32_t i, int32_t n); /* the place behind the value that begins at place i */
void ls__stream_free(ls_value *stream, int32_t n);  /* releases all values but nodes, which are only numbers in a recording */
/* Fails where a stream from outside is not well formed, which all readers of streams rely on. It does not check the numbers of nodes. */
ls_status ls__stream_check(const ls_value *stream, int32_t n);

#ifdef __cplusplus
}
#endif
#endif
