/* What the files share that write, check and build functions and stored edits as JSON. */
#ifndef LUASIGHT_GRAPH_CHECK_H
#define LUASIGHT_GRAPH_CHECK_H
#include "model/model.h"

enum {
  LS__READ_DEPTH = 32,            /* the most brackets of the JSON text that may be inside each other */
  LS__READ_VALUES = 1 << 22,      /* the most values that the whole JSON text may have */
  LS__READ_ARGUMENT_DEPTH = 8,    /* the most lists that may be inside each other in one argument of a node */
  LS__READ_CALL_DEPTH = 64,       /* the most calls inside each other, and the most modules inside each other */
  LS__READ_CALLS = 1 << 16,       /* the most calls that one run may make; also the most paths that may lead to modules */
  LS__READ_POINTS = 1 << 20,      /* the most points of one run, fewer than a time (LS__TIME) can count */
  LS__READ_AXES = 64
};

typedef struct ls__check {
  ls__read_place at;
  ls__read_graph *graph;
  const json_t *node;
  uint8_t *gives;            /* for each node 1 where the node has a value that other nodes can use */
  int32_t kind;
  int32_t hook;              /* the number (`hook`) of the call with points of its own that the checked node belongs to; -1: none */
  int32_t awaited;           /* the number of such a call that the node before begins, and whose result this node has to be; -1: none */
  uint8_t *called;           /* for each number of such a call 1 where the edit has come to the call */
  bool has_node;             /* whether an argument of the checked node is another node */
} ls__check;

/* function_json.c */
/* returns the tensor's number in the list of tensors of the JSON text */
int32_t ls__json_form_tensor(struct ls__json_form *form, ls__json *out, const ls_value *tensor);

/* graph_read.c */
/* Adds the place `at` in the text to the error that was just set, as ls__read_fail does. */
ls_status ls__read_failed(const ls__read_place *at, ls_status code);
/* Reads a whole number from `least` to `most`; false where `value` is anything else. */
bool ls__read_integer(const json_t *value, int64_t least, int64_t most, int64_t *out);
/* Reads the dtype, the shape and, with `numbers`, the numbers of a tensor; where `made` is NULL, checks them and makes no tensor. */
ls_status ls__read_tensor(const ls__read_place *at, const json_t *object, bool numbers, ls_value *made);

/* The functions below are in graph_check_value.c. */
ls_status ls__check_wrong(const ls__check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__ /* tells clang's static analyzer that ls__check_wrong, which is in another file, does not return LS_OK */
#define ls__check_wrong(c, ...) ((ls__check_wrong)(c, __VA_ARGS__), LS_ERROR_FORMAT)
#endif
/* Checks one value among a node's arguments; `depth` counts the lists around the value. With `index`, slices and "..." are allowed. */
ls_status ls__check_value(ls__check *c, const json_t *value, int depth, bool index);
/* checks entry `i` of `list`, {"name": ..., "value": ...}, but not its value */
ls_status ls__check_named(ls__check *c, const json_t *list, size_t i);
ls_status ls__check_keyword(ls__check *c, const ls_op *op, const json_t *name);

/* graph_build.c */
/* adds a value of the JSON text to the arguments of the node that is being built */
ls_status ls__build_value(ls__build *b, const json_t *v);
void ls__build_drop(ls__build *b);                        /* removes the arguments of a node after the node was recorded */
#endif
