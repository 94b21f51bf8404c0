/* Modules, functions, programs and runs from inside.

       ls_program                    ls_function
       instances[]: one per call     nodes[]: input op call tap ...
       points[]: numbered in the     dies[]: values that end after each node
       order a run reaches them      slots[]: what its calls, taps and eithers name */
#ifndef LUASIGHT_MODEL_PRIVATE_H
#define LUASIGHT_MODEL_PRIVATE_H
#include "model/model.h"

/* What a call, a tap or an either names. */
typedef struct ls__slot {
  const char *name;      /* of a tap */
  ls_module *module;     /* that a call calls; retained */
  ls_function *callee;   /* of an either the plain form; retained */
  ls_function *fused;    /* of an either the other one; retained */
} ls__slot;

/* Into `dies`: the values that nobody uses behind a node. */
typedef struct ls__end {
  int32_t at, n;
} ls__end;

struct ls_function {
  ls__owner owner;
  ls_module *module;     /* retained */
  int32_t positional, inputs; /* inputs: all of them, the first nodes */
  const char **keywords; /* of the inputs; NULL of a positional one */
  ls__slot *slots;
  int32_t slot_count, slot_room;
  ls_value result;       /* a stream of one value */
  ls__end *ends;         /* by node */
  int32_t *dies;
  ls_value *values;      /* by node, while it is recorded with values */
  int32_t value_room;
  ls_value gave;         /* of a function recorded with values: its result, until somebody takes it */
};

struct ls_module {
  int32_t references;
  const char *class_name;
  int32_t tensors, children;
  const char **tensor_names;
  ls_value *tensor_values;
  const char **child_names;
  ls_module **child_modules; /* retained */
  int32_t axes;
  const char **axis_points;  /* "output", "input", a tap, or "input.mask": a piece */
  int32_t *axis_numbers;     /* where the rows are; -1: nowhere */
};

/* One call of a function while a program runs. */
typedef struct ls__instance {
  ls_function *function;
  ls_module *module;   /* NULL for the forms of an LS__EITHER, which belong to their parent's module */
  int32_t parent;
  int32_t number;      /* which call of its module, from 0 */
  int32_t input, output; /* points */
  int32_t slots;       /* into program.slots: for each slot of the function the instance or tap point */
} ls__instance;

typedef struct ls__point {
  int32_t instance;
  int32_t kind;
  const char *tap;
} ls__point;

struct ls_program {
  int32_t references;
  ls_function *function;
  ls__instance *instances;
  int32_t instance_count, instance_room;
  ls__point *points;
  int32_t point_count, point_room;
  int32_t *slots;
  int32_t slot_count, slot_room;
  int32_t depth;       /* frames a run needs at most */
  int32_t values;      /* value cells a run needs at most */
  bool in_place;       /* some node changes a value in place */
  ls_value *constants; /* tensors, or sequences of them, that forwards use and no module has; borrowed */
  int32_t constant_count, constant_room;
  ls_value *changed;   /* parameters, buffers and constants that a forward changes in place; borrowed */
  int32_t changed_count, changed_room;
  char *name;          /* buffer of ls_program_point_name */
  ls__run *idle;       /* a run kept for the next time */
};

struct ls__run {
  ls_program *program;
  const ls__watcher *watcher; /* NULL: nobody looks on */
  void *who;               /* borrowed */
  struct ls__frame *frames;
  int32_t depth;           /* frames in use */
  ls_value *cells;
  int32_t cells_used;
  ls_value *arguments;     /* stream */
  int32_t argument_count;
  int32_t target;          /* the point to stand at next, -1: none */
  int32_t at;              /* the point the run stands at, -1: not begun; point_count: ended */
  bool standing;           /* at a point, between its nodes and what follows it */
  ls_value value;          /* the value at that point; for an input the pair */
  ls_value result;         /* of the program */
  int32_t narrow_instance; /* the argument of this call is cut, -1: none */
};

/* eager.c: functions recorded with values */
ls_status ls__eager_run(ls_function *f, int32_t id);
void ls__eager_finish(ls_function *f);
ls_status ls__guard(const ls_value *now, const ls_value *then); /* fails where they differ */

/* arguments.c */
ls_status ls__fill_inputs(const ls_function *function, const ls_value *s, int32_t n, ls_value *cells);
ls_status ls__pair_of(const ls_function *function, ls_value *cells, ls_value *out);
void ls__pair_to_cells(const ls_function *function, const ls_value *pair, ls_value *cells);
#endif
