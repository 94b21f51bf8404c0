/* The structures of modules, functions, programs and runs.

       ls_program                    ls_function
       instances[]: one per call     nodes[]: input op call tap ...
       points[]: numbered in the     dies[]: values that end after each node
       order a run reaches them      slots[]: what its calls, taps and LS__TWO_FORMS refer to */
#ifndef LUASIGHT_MODEL_PRIVATE_H
#define LUASIGHT_MODEL_PRIVATE_H
#include "model/model.h"

/* What a node refers to that is a call, a tap, or a choice between a plain and a fused function (LS__TWO_FORMS). */
typedef struct ls__slot {
  const char *name;      /* where the node is a tap, its name */
  ls_module *module;     /* where the node is a call, the called module; retained */
  ls_function *callee;   /* the called function; where the node chooses between two functions, the plain one; retained */
  ls_function *fused;    /* where the node chooses between two functions, the fused one; retained */
} ls__slot;

/* For one node of a function, a range in the array `dies`: the nodes whose values no node after it uses. */
typedef struct ls__end {
  int32_t at, n;
} ls__end;

struct ls_function {
  ls__owner owner;
  ls_module *module;     /* retained */
  int32_t positional, inputs; /* the number of positional inputs and of all inputs, which are the first nodes */
  const char **keywords; /* for each input its keyword; NULL for a positional input */
  ls__slot *slots;
  int32_t slot_count, slot_room;
  ls_value result;       /* the function's result, as a stream of one value */
  ls__end *ends;         /* for each node the range in the array `dies` with the nodes whose values can be freed after this node */
  int32_t *dies;
  ls_value *values;      /* for each node its value, while a function is recorded whose nodes are computed at once (eager.c) */
  int32_t value_room;
  ls_value gave;         /* the result that was computed while the function was recorded, until a caller takes it */
  struct ls__rehearsal *rehearsal; /* what the recording, or the one around it, puts back at its end; NULL where the recording is the run */
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
  /* the points for which the module declares an axis of rows: "output", "input", the name of a tap, or a field such as "input.mask" */
  const char **axis_points;
  int32_t *axis_numbers;     /* for each entry of `axis_points` the axis of a batch's rows; -1 where the point has no rows */
};

/* One call of a function while a program runs. */
typedef struct ls__instance {
  ls_function *function;
  ls_module *module;   /* the called module; NULL for the two functions of an LS__TWO_FORMS node, which belong to their caller's module */
  int32_t parent;
  int32_t number;      /* the number of this call among the calls of the same module, from 0 */
  int32_t input, output; /* the numbers of the call's input point and output point */
  /* the index of the first entry for this call in program.slots. There is an entry for each slot of `function`: where the slot is a call,
     the number of the instance, and where it is a tap, the number of the point */
  int32_t slots;
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
  int32_t depth;       /* the most frames (nested calls) that a run needs at a time */
  int32_t values;      /* the most cells (values of nodes) that a run needs at a time */
  bool in_place;       /* whether some node changes a value in place */
  bool brief;          /* whether the last run was over within an instant of the kernel's coarse clock */
  ls_value *constants; /* the tensors and sequences that forwards use as constants and that belong to no module; borrowed */
  int32_t constant_count, constant_room;
  ls_value *changed;   /* the tensors (parameters, buffers and constants) that a forward changes in place; borrowed */
  int32_t changed_count, changed_room;
  char *name;          /* the text that ls_program_point_name returned last */
  ls__run *idle;       /* a finished run that is kept, so that the next run uses its memory; NULL where there is none */
};

struct ls__run {
  ls_program *program;
  const ls__watcher *watcher; /* the functions of the trace that watches the run; NULL where none does */
  void *who;               /* the trace that watches the run, passed to the watcher's functions; borrowed */
  struct ls__frame *frames;
  int32_t depth;           /* the number of frames in use */
  ls_value *cells;
  int32_t cells_used;
  int32_t autograd;        /* whether autograd is on around the run, as ls_grad_enabled says */
  ls_value *arguments;     /* the arguments of the program, as a stream */
  int32_t argument_count;
  int32_t target;          /* the next point at which the run pauses; -1 where it does not pause */
  int32_t at;              /* the last point at which the run paused; -1 before the run begins, the program's point_count after its end */
  bool standing;           /* whether the run is paused now, at the point `at` */
  ls_value value;          /* the value at the point `at`; at an input point the pair ((positional), {keywords}) */
  ls_value result;         /* the result of the program */
  /* the call that runs at some positions only, since the watcher cuts its argument to them; -1 where there is none */
  int32_t narrow_instance;
  const ls__origins *origins; /* the nodes whose values the watcher is told of; borrowed, NULL where there are none */
};

/* origin.c */
int32_t ls__origins_next(const ls__origins *o, const ls_function *function, int32_t instance, int32_t from);

/* The functions of eager.c record a function and compute each of its nodes at once. */
ls_status ls__eager_run(ls_function *f, int32_t id);
void ls__eager_finish(ls_function *f);
void ls__eager_put_back(ls_function *f); /* ends a recording that is a rehearsal; where it is none or over, does nothing */
/* fails where the value `now` differs from `then`, the value that chose a branch when the forward was recorded */
ls_status ls__guard(const ls_value *now, const ls_value *then);

/* Returns the call of a module that a point belongs to. A point in the plain form of an attention, which has no module, belongs to the call
   around it. */
int32_t ls__program_owner(const ls_program *p, int32_t point);

/* numbers.c: what arithmetic makes of numbers alone, such as sizes, is a number */
void ls__numbers_note(ls__nodes *nodes, int32_t id); /* notes on node `id` of a function whether it is such an operator */
bool ls__numbers_always(const ls__nodes *nodes, int32_t id);
bool ls__numbers_compute(const ls__node *node, const ls_value *values, ls_value *out); /* false where an argument is no number */

/* arguments.c */
ls_status ls__fill_inputs(const ls_function *function, const ls_value *s, int32_t n, ls_value *cells);
ls_status ls__pair_of(const ls_function *function, ls_value *cells, ls_value *out);
void ls__pair_to_cells(const ls_function *function, const ls_value *pair, ls_value *cells);
#endif
