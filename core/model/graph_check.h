/* What the files of the model share that write, check and build graphs as JSON. */
#ifndef LUASIGHT_GRAPH_CHECK_H
#define LUASIGHT_GRAPH_CHECK_H
#include "model/model.h"

enum {
  LS__READ_DEPTH = 32,            /* brackets inside brackets */
  LS__READ_VALUES = 1 << 22,      /* values in the whole text */
  LS__READ_ARGUMENT_DEPTH = 8,    /* lists inside lists of one argument */
  LS__READ_CALL_DEPTH = 64,       /* functions that call functions, modules below modules */
  LS__READ_CALLS = 1 << 16,       /* calls that one run makes, and paths to modules */
  LS__READ_POINTS = 1 << 20,      /* points of one run: fewer than a time can hold */
  LS__READ_AXES = 64
};

typedef struct ls__check {
  ls__read_place at;
  ls__read_graph *graph;
  const json_t *node;
  uint8_t *gives;            /* by node: whether it has a value */
  int32_t kind;
  bool has_node;             /* an argument of the node names a node */
} ls__check;

/* function_json.c */
int32_t ls__json_form_tensor(struct ls__json_form *form, ls__json *out, const ls_value *tensor); /* its number */

/* graph_read.c */
/* The same as ls__read_fail, in front of the error that there is. */
ls_status ls__read_failed(const ls__read_place *at, ls_status code);
bool ls__read_integer(const json_t *value, int64_t least, int64_t most, int64_t *out); /* a whole number from `least` to `most` */
/* The dtype, shape and, where `numbers`, the numbers of a tensor; `made` NULL: they are only checked. */
ls_status ls__read_tensor(const ls__read_place *at, const json_t *object, bool numbers, ls_value *made);

/* graph_check_value.c */
ls_status ls__check_wrong(const ls__check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__ /* it cannot see into another file that this is never LS_OK */
#define ls__check_wrong(c, ...) ((ls__check_wrong)(c, __VA_ARGS__), LS_ERROR_FORMAT)
#endif
/* One value: depth 0 stands in the arguments themselves; `index`: slices and "..." may stand here. */
ls_status ls__check_value(ls__check *c, const json_t *value, int depth, bool index);
ls_status ls__check_named(ls__check *c, const json_t *list, size_t i);      /* {"name": ..., "value": ...}, all but its value */
ls_status ls__check_keyword(ls__check *c, const ls_op *op, const json_t *name);

/* graph_build.c */
ls_status ls__build_value(ls__build *b, const json_t *v); /* onto the stream */
void ls__build_drop(ls__build *b);                        /* the stream is empty again */
#endif
