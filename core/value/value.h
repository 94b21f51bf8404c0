/* Functions for values: references, sequences, and argument streams (arrays of values). */
#ifndef LUASIGHT_VALUE_H
#define LUASIGHT_VALUE_H
#include <math.h>
#include "base/base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Gives every NaN the same bits. LuaJIT keeps the types of other values in the bits of NaNs, so that a NaN with other bits would
   reach a script as one of these values. */
static inline double ls__number(double x) { return isnan(x) ? (double)NAN : x; }

/* value.c */
static inline bool ls__is_sequence(int32_t kind) { return kind == LS_TUPLE || kind == LS_LIST || kind == LS_STRUCT; }
static inline bool ls__points(int32_t kind) { return kind == LS_STRING || kind == LS_KEY || (kind >= LS_TENSOR && kind <= LS_NODE); }
/* Makes `*v`, a borrowed value, a reference of its own: a text is interned, since its memory may be that of a caller. */
ls_status ls__value_keep(ls_value *v);
/* releases the value `*v` and puts `fresh` in its place; takes over the reference to `fresh` */
void ls__replace(ls_value *v, ls_value fresh);
/* calls `each` with each tensor in the value: the value itself or those inside its sequences; `each` may replace it */
void ls__value_each(ls_value *v, void (*each)(void *context, ls_value *tensor), void *context);
/* makes a sequence whose elements are all LS_NONE; a struct has room for the names of its elements */
ls_status ls__seq_new(int32_t kind, int32_t length, ls_value *out);
ls_value *ls__seq_items(const ls_value *seq);   /* the array of the sequence's elements, which the caller may read and set */
const char **ls__seq_keys(const ls_value *seq); /* the names of a struct's elements, each a reference; NULL for a tuple or a list */

/* The functions with which the core counts references to the things behind values of one kind: tensors (core/torch) or nodes
   (core/model). */
typedef struct ls__value_class {
  void (*retain)(void *thing, int32_t aux);
  void (*release)(void *thing, int32_t aux);
  int64_t (*bytes)(void *thing); /* returns the bytes of memory behind a value; NULL where values of the kind have none */
} ls__value_class;
/* sets the functions of `its` for all values of a kind; has to run before the first such value is made; `its` must stay valid */
void ls__value_define(int32_t kind, const ls__value_class *its);

/* stream.c */
/* returns the index in the stream of the item behind the value that begins at index `i` */
int32_t ls__stream_value(const ls_value *stream, int32_t i, int32_t n);
/* releases the values of a recorded stream, except for nodes, to which a recording has no references, and frees the stream */
void ls__stream_free(ls_value *stream, int32_t n);
/* Fails where an argument stream that a caller of the library passes is not well formed; all other readers of streams rely on this check.
   Whether the nodes in the stream exist is not checked. */
ls_status ls__stream_check(const ls_value *stream, int32_t n);

#ifdef __cplusplus
}
#endif
#endif
