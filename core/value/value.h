/* Values: sequences, and what streams of arguments hold. */
#ifndef LUASIGHT_VALUE_H
#define LUASIGHT_VALUE_H
#include "base/base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* value.c */
typedef struct ls__seq {
  int32_t references;
  int32_t length;
  const char **keys; /* interned; NULL unless a struct */
  ls_value items[];
} ls__seq;
void ls__replace(ls_value *v, ls_value fresh); /* takes `fresh`, releases what was there */
ls_status ls__seq_new(int32_t kind, int32_t length, ls_value *out); /* items LS_NONE; keys allocated for LS_STRUCT */

/* What a value that points somewhere asks of the folder that owns the thing: of torch for tensors, of model for nodes. */
typedef struct ls__value_class {
  void (*retain)(void *thing, int32_t aux);
  void (*release)(void *thing, int32_t aux);
  int64_t (*bytes)(void *thing); /* NULL: none of its own */
} ls__value_class;
void ls__value_define(int32_t kind, const ls__value_class *its); /* before the first value of the kind; `its` is kept */

/* node.c: the place behind the value that begins at place i of a stream */
int32_t ls__stream_value(const ls_value *stream, int32_t i, int32_t n);

#ifdef __cplusplus
}
#endif
#endif
