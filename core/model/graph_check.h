/* What the files share that write, check and build graphs as JSON. */
#ifndef LUASIGHT_GRAPH_CHECK_H
#define LUASIGHT_GRAPH_CHECK_H
#include "model/model.h"

enum {
  LS__READ_DEPTH = 32,            /* the most brackets inside each other */
  LS__READ_VALUES = 1 << 22,      /* the most values in the whole text */
  LS__READ_ARGUMENT_DEPTH = 8,    /* the most lists inside each other in one argument */
  LS__READ_CALL_DEPTH = 64,       /* the most nested calls of functions, and nested modules */
  LS__READ_CALLS = 1 << 16,       /* the most calls that one run makes, and paths to modules */
  LS__READ_POINTS = 1 << 20,      /* the most points of one run: fewer than a time (LS__TIME) can hold */
  LS__READ_AXES = 64
};

typedef struct ls__check {
  ls__read_place at;
  ls__read_graph *graph;
  const json_t *node;
  uint8_t *gives;            /* for each node whether it has a value */
  int32_t kind;
  bool has_node;             /* whether an argument of the node is a node */
} ls__check;

/* function_json.c */
int32_t ls__json_form_tensor(struct ls__json_form *form, ls__json *out, const ls_value *tensor); /* the tensor's number */

/* graph_read.c */
/* Adds the place in the text to the present error, as ls__read_fail does. */
ls_status ls__read_failed(const ls__read_place *at, ls_status code);
/* False where `value` is not a whole number from `least` to `most`. */
bool ls__read_integer(const json_t *value, int64_t least, int64_t most, int64_t *out);
/* Reads the dtype, the shape and, with `numbers`, the numbers of a tensor; where `made` is NULL, they are only checked. */
ls_status ls__read_tensor(const ls__read_place *at, const json_t *object, bool numbers, ls_value *made);

/* graph_check_value.c */
ls_status ls__check_wrong(const ls__check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__ /* the analyzer cannot see into another file that ls__check_wrong never returns LS_OK */
#define ls__check_wrong(c, ...) ((ls__check_wrong)(c, __VA_ARGS__), LS_ERROR_FORMAT)
#endif
/* Checks one value. An argument itself has depth 0; with `index`, slices and "..." are allowed. */
ls_status ls__check_value(ls__check *c, const json_t *value, int depth, bool index);
ls_status ls__check_named(ls__check *c, const json_t *list, size_t i);      /* checks {"name": ..., "value": ...} except for the value */
ls_status ls__check_keyword(ls__check *c, const ls_op *op, const json_t *name);

/* graph_build.c */
ls_status ls__build_value(ls__build *b, const json_t *v); /* adds a value to the stream */
void ls__build_drop(ls__build *b);                        /* empties the stream */
#endif
