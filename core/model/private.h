/* The structures of modules, functions, programs and runs.

       ls_program                    ls_function
       instances[]: one per call     nodes[]: input op call tap ...
       points[]: numbered in the     dies[]: values that end after each node
       order a run reaches them      slots[]: what its calls, taps and choices of a form name */
#ifndef LUASIGHT_MODEL_PRIVATE_H
#define LUASIGHT_MODEL_PRIVATE_H
#include "model/model.h"

/* What a node with a slot names: a call, a tap, or a choice of two forms (LS__EITHER). */
typedef struct ls__slot {
  const char *name;      /* the name of a tap */
  ls_module *module;     /* the module that a call calls; retained */
  ls_function *callee;   /* the function that a call calls, or the plain form; retained */
  ls_function *fused;    /* the fused form; retained */
} ls__slot;

/* A range in `dies`: the values that no node behind this one uses. */
typedef struct ls__end {
  int32_t at, n;
} ls__end;

struct ls_function {
  ls__owner owner;
  ls_module *module;     /* retained */
  int32_t positional, inputs; /* `inputs` counts all inputs; they are the first nodes */
  const char **keywords; /* the keyword of each input; NULL for a positional one */
  ls__slot *slots;
  int32_t slot_count, slot_room;
  ls_value result;       /* a stream of one value */
  ls__end *ends;         /* for each node the values that no later node uses, as a range in `dies` */
  int32_t *dies;
  ls_value *values;      /* for each node its value, while the function is recorded with values */
  int32_t value_room;
  ls_value gave;         /* the result of a function recorded with values, until a caller takes it */
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
  const char **axis_points;  /* "output", "input", the name of a tap, or a field such as "input.mask" */
  int32_t *axis_numbers;     /* the axis of the rows at each of these; -1: no rows */
};

/* One call of a function while a program runs. */
typedef struct ls__instance {
  ls_function *function;
  ls_module *module;   /* NULL for the forms of an LS__EITHER, which belong to their parent's module */
  int32_t parent;
  int32_t number;      /* the how many-th call of the module this is, from 0 */
  int32_t input, output; /* the numbers of the call's input point and output point */
  int32_t slots;       /* an index into program.slots, where each slot of the function has its instance or tap point */
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
  int32_t depth;       /* the most frames that a run needs */
  int32_t values;      /* the most value cells that a run needs */
  bool in_place;       /* whether some node changes a value in place */
  ls_value *constants; /* tensors, or sequences of them, that forwards use and that belong to no module; borrowed */
  int32_t constant_count, constant_room;
  ls_value *changed;   /* the parameters, buffers and constants that a forward changes in place; borrowed */
  int32_t changed_count, changed_room;
  char *name;          /* the buffer of ls_program_point_name */
  ls__run *idle;       /* a finished run whose memory the next run uses */
};

struct ls__run {
  ls_program *program;
  const ls__watcher *watcher; /* NULL: no trace watches the run */
  void *who;               /* the first argument of the watcher's functions; borrowed */
  struct ls__frame *frames;
  int32_t depth;           /* the number of frames in use */
  ls_value *cells;
  int32_t cells_used;
  ls_value *arguments;     /* the stream of arguments */
  int32_t argument_count;
  int32_t target;          /* the next point at which the run pauses, -1: none */
  int32_t at;              /* the point at which the run is, -1: not begun; point_count: ended */
  bool standing;           /* whether the run is paused at that point */
  ls_value value;          /* the value at that point; at an input the pair ((positional), {keywords}) */
  ls_value result;         /* the result of the program */
  int32_t narrow_instance; /* the call whose argument is cut, -1: none */
};

/* eager.c: functions that are recorded with values */
ls_status ls__eager_run(ls_function *f, int32_t id);
void ls__eager_finish(ls_function *f);
ls_status ls__guard(const ls_value *now, const ls_value *then); /* fails where the two values differ */

/* arguments.c */
ls_status ls__fill_inputs(const ls_function *function, const ls_value *s, int32_t n, ls_value *cells);
ls_status ls__pair_of(const ls_function *function, ls_value *cells, ls_value *out);
void ls__pair_to_cells(const ls_function *function, const ls_value *pair, ls_value *cells);
#endif
