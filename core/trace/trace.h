/* The structures of a trace. A trace has three layers, each in arrays of its own:

       the recording   what the script said          owner.nodes, invokes       written while a body is recorded
       the plan        when each node runs, and why  plan.nodes, plan.invokes   made from the recording, again and again
       the run         how far it is                 run.nodes, run.values,     thrown away at the end
                                                     run.invokes

   The plan and the run only read what is recorded; so a recording can be printed, sent, and planned and run again.

   A trace runs in passes, one after the other; a pass has one step (one run of the program) or, in a generation, several.
   An invoke is a body with its rows: it belongs to one pass. The time of a node is the pass, the step and the point at which
   the last of its inputs exists.

   The README says what each file does. */
#ifndef LUASIGHT_TRACE_H
#define LUASIGHT_TRACE_H
#include "model/model.h"

/* ---- times ------------------------------------------------------------------------------------------------------ */

/* A time is one number: the lowest 21 bits are the point, the next 21 bits the step, the bits above them the pass. */
enum { LS__POINT_BITS = 21, LS__LAST = (1 << LS__POINT_BITS) - 1 };
#define LS__TIME(pass, step, point) \
  ((int64_t)(pass) * ((int64_t)1 << 2 * LS__POINT_BITS) + (int64_t)(step) * ((int64_t)1 << LS__POINT_BITS) + (int64_t)(point))
static inline int32_t ls__pass_of(int64_t time) { return (int32_t)(time >> 2 * LS__POINT_BITS); }
static inline int32_t ls__step_of(int64_t time) { return (int32_t)(time >> LS__POINT_BITS) & LS__LAST; }
static inline int32_t ls__point_of(int64_t time) { return (int32_t)time & LS__LAST; }

/* ---- the recording ---------------------------------------------------------------------------------------------- */

/* A body and its input. The nodes of all bodies are in the trace's owner (model.h). */
typedef struct ls__invoke {
  int32_t kind;          /* one of LS_INVOKE_* */
  ls_program *program;   /* the program whose numbers name the points; retained */
  ls_value *arguments;   /* a stream: the input that the caller passed */
  int32_t argument_count;
  int32_t least;         /* the first pass that the invoke may join; earlier passes had begun, or are closed to it */
  int32_t steps;         /* the most steps of a generation, 0 where the invoke does not generate */
  int32_t begin;         /* no node of the body comes before this one */
  int64_t stop;          /* the time (without the pass) behind which nothing of the body runs, -1 where the body has no stop */
} ls__invoke;

/* ---- the plan --------------------------------------------------------------------------------------------------- */

typedef struct ls__planned {
  int64_t time;      /* the time at which the node runs */
  int32_t rank;      /* the node's place among the nodes of the same time */
  int32_t latest;    /* the input that exists last, -1 where the node has no input */
  int32_t root;      /* the first node whose memory this node's value may share (for reads the first read of the point), else -1 */
  int32_t edited;    /* of a root: the last node that changes the root's memory in place, else -1 */
  int32_t earlier;   /* of such a node: the node before it that changes the same root in place, else -1 */
  int32_t uses;      /* the number of needed nodes that still wait for the value */
  int32_t narrow;    /* of a call: the indexing node after which the call's argument is cut, else -1 */
  int32_t backward;  /* of a gradient: the backward that computes it */
  uint8_t needed;    /* 1 where another node, or the script, waits for the value */
  uint8_t never;     /* 1 where the node lies behind a stop or inside a skipped module, so that it does not run */
  uint8_t tracked;   /* LS__ASKED where the gradient of the value is asked for, with LS__EDITED where the gradient is also set or edited */
} ls__planned;

static const ls__planned ls__unplanned = {.latest = -1, .root = -1, .edited = -1, .earlier = -1, .narrow = -1, .backward = -1};

enum { LS__ASKED = 1, LS__EDITED = 2 };

typedef struct ls__planned_invoke {
  int32_t pass;      /* the pass in which the invoke runs, as far as known */
  int32_t cause;     /* the edit that moved the invoke to a later pass, -1 where none did */
} ls__planned_invoke;

typedef struct ls__plan {
  ls__planned *nodes;
  ls__planned_invoke *invokes;
  int32_t *order;    /* the needed nodes, sorted by time */
  int32_t ordered, order_room;
  bool holds;        /* whether the order includes all nodes that are recorded so far */
  bool passes;       /* whether an invoke was moved to a later pass, so that all times have to be found again */
  int64_t track;     /* the time from which autograd records, -1 where it records nothing */
  int32_t narrow_instance, narrow_item; /* where the model's own head is narrowed: its call, and the indexing node whose positions it
                                           keeps; else -1 */
} ls__plan;

/* ---- the run ---------------------------------------------------------------------------------------------------- */

typedef struct ls__ran {
  ls__node *instead;     /* the node as this run has it, where an edit or a cut changed it; NULL: as recorded */
  ls__capture *capture;  /* the hook that takes the gradient of the node's value */
  uint8_t done;          /* 1 once the node is executed */
  uint8_t keeps_above;   /* 1 where the value is a view and keeps the value in whose memory it lies */
  uint8_t lent;          /* of a parameter's gradient: the parameter does not train, and autograd stops recording it when the trace ends */
} ls__ran;

typedef struct ls__running_invoke {
  int32_t came;          /* how many steps the invoke has begun */
  int32_t first, rows;   /* the rows of the invoke in the batch of its pass, known once the pass has begun */
  int32_t pad;           /* the number of padding columns to the left of the invoke's own columns in the pass */
} ls__running_invoke;

typedef struct ls__progress {
  ls__ran *nodes;
  ls_value *values;      /* the value of each node */
  ls__running_invoke *invokes;
  ls__run *model;        /* the model's run in the current pass and step, NULL between two of them */
  ls_program *program;   /* the program whose numbers name the points of the current pass; borrowed */
  int32_t *map;          /* maps the points of `program` to those of `model`; NULL where both are the same */
  int64_t now;           /* the time that the run has reached, -1 before it begins */
  bool standing;         /* whether the model is paused at the point of `now`, with nodes of that time still to run */
  int32_t next;          /* the index in the plan's order of the next node to run */
  int32_t rows;          /* the number of rows in the batch of the pass */
  ls_value text;         /* the token ids that the generation of the pass made */
  ls__mode *mode;        /* the thread's autograd state to be restored after the run; NULL while nothing runs */
  struct ls__cut *cuts;  /* the cuts of the autograd graph; see grad.c */
  int32_t cut_count, cut_room;
  ls_value *kept;        /* the model's tensors that its forward changes, each followed by a copy from before; see own.c */
  int32_t kept_count, kept_room;
  int64_t demand_site;   /* the script line of the last demand, 0 where there was none */
  bool demand_open;      /* while a demand runs, every value to which the script has a handle stays */
} ls__progress;

/* ---- the trace -------------------------------------------------------------------------------------------------- */

struct ls_trace {
  ls__owner owner;
  ls_module *module;     /* the module of the first invoke; retained */
  ls__invoke *invokes;
  int32_t invoke_count, invoke_room;
  int32_t fence;         /* the first pass that a new invoke may join; ls_trace_fence moves it */
  int32_t steps;         /* the most steps of an invoke that is opened now, 0: no generation */
  bool gradients;        /* whether any node is about gradients */
  bool kept;             /* whether the recording stays when the trace ends */
  int32_t room;          /* the length of `handles` and of the arrays by node in the plan and the run */
  int32_t *handles;      /* for each node the number of handles to it */
  ls__plan plan;
  ls__progress run;
};

/* The node as this run has it: changed by an edit or a cut, or as recorded. */
static inline const ls__node *ls__seen(const ls_trace *t, int32_t id) {
  const ls__node *instead = t->run.nodes[id].instead;
  return instead ? instead : &t->owner.nodes.at[id];
}

/* trace.c */
ls_status ls__trace_check_open(const ls_trace *t);
ls_trace *ls__trace_of(const ls_value *node);           /* NULL where the node belongs to a function */
void ls__trace_close(ls_trace *t, bool keep);           /* with `keep`, saved values that still have a handle stay */
void ls__trace_forget(ls_trace *t);                     /* forgets the run so far: values and the place in the model */
bool ls__trace_make_room(ls_trace *t);                  /* for a node just added, in the arrays of the plan and the run */
ls__node *ls__trace_own_node(ls_trace *t, int32_t id);  /* the run's own copy of a node, which may be changed; NULL: out of memory */
const char *ls__trace_point_name(const ls_trace *t, int32_t invoke, int32_t point);
ls__point_info ls__trace_point(const ls_trace *t, const ls__node *node); /* the point of a read or a write */

/* record.c */
ls_status ls__trace_record(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
ls_status ls__trace_record_handle(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, ls_value *out);

/* points.c */
/* Fails where node `id` is a struct that is known to have no field `name`. */
ls_status ls__trace_check_field(const ls_trace *t, int32_t id, const char *name);

/* time.c */
int32_t ls__trace_above(const ls_trace *t, int32_t id); /* the node of which the value of `id` is a view or an element, -1: none */
int32_t ls__point_node(const ls_trace *t, int32_t id);  /* the root of what an edit in place changes; for any other node `id` itself */
int64_t ls__own_time(const ls_trace *t, int32_t id);    /* the time of a node that is tied to a point, else -1 */
int64_t ls__edit_time(const ls_trace *t, const ls__node *node); /* the time of the first point whose value the node changes in place,
                                                                   else -1 */
bool ls__time_passed(const ls_trace *t, int64_t time);
/* The time at which the value of node `id` has all edits that nodes before the node `before` make. */
int64_t ls__settled_time(const ls_trace *t, int32_t id, int32_t before);
void ls__time_root(ls_trace *t, int32_t id);            /* finds the root of a node just recorded (ls__planned.root) */
ls_status ls__time_new(ls_trace *t, int32_t id);  /* finds the time of a node just recorded; may move the node's invoke to a later pass */
ls_status ls__time_all(ls_trace *t, int32_t count);     /* finds the times of the first `count` nodes, until no invoke moves any more */
ls_status ls__time_again(ls_trace *t);                  /* finds all times again, as if the recording had just been written */

/* plan.c */
ls_status ls__plan_make(ls_trace *t, int32_t demanded); /* `demanded` is a node, or -1 at the end of the trace */

/* pass.c */
/* Moves the model on until it is paused at the time of node `id`, is past that time, or the script has to act (`event`). */
ls_status ls__pass_reach(ls_trace *t, int32_t id, ls_event *event);

/* execute.c */
bool ls__has_inputs(const ls_trace *t, int32_t id);     /* whether all inputs of the node have values */
void ls__trace_let_go(ls_trace *t, int32_t id);         /* releases the value of a node where nothing waits for it */
ls_status ls__execute_now(ls_trace *t, int32_t id);     /* executes one node at once, whatever the order says */

/* edit.c */
ls_status ls__edit_write(ls_trace *t, int32_t id);                      /* replaces the value at a point */
ls_status ls__edit_value(ls_trace *t, int32_t id, ls_value *out);       /* executes an operator in place, or self[index] = value */
void ls__edit_everywhere(ls_trace *t, void *old, const ls_value *fresh); /* replaces one tensor by another in all that the run holds */
ls_status ls__edit_protect(ls_trace *t, void *tensor);  /* the model is about to change `tensor`: values that were read get copies */

/* own.c: memory of the caller or of the model, which a run may not change */
bool ls__own_foreign(const ls_trace *t, void *tensor);  /* whether the tensor's memory is the caller's or the model's */
ls_status ls__own_unchanged(const ls__node *node); /* fails where a tensor in the node's arguments was changed after the line was written */
ls_status ls__own_inputs(ls_trace *t);                  /* copies the inputs of a model that changes values in place */
/* Copies the arguments of a module that a body calls, where the module could change them. */
ls_status ls__own_arguments(ls_trace *t, const ls__node *node, ls_value *s, ls_value *own);
ls_status ls__own_keep(ls_trace *t, const ls_program *p); /* copies the parameters and buffers that the forward changes */
ls_status ls__own_inside(const ls_trace *t, const ls__node *node); /* fails where an operator could reach the memory of another invoke's
                                                                      rows */
void ls__own_put_back(ls_trace *t);                     /* restores the parameters and buffers that the forward changed */

/* rows.c */
ls_status ls__rows_take(ls_trace *t, int32_t id, const ls_value *whole, ls_value *out);
/* Puts the rows of one invoke into the tensors of a whole value. */
ls_status ls__rows_put(ls_trace *t, int32_t id, ls_value *whole, const ls_value *part);
bool ls__rows_all(const ls_trace *t, int32_t invoke);   /* whether the invoke's rows are all rows of the pass */
bool ls__rows_several(const ls_trace *t);               /* whether several invokes share a batch, so that a value may be a part of it */
ls_value *ls__rows_whole(ls_trace *t, int32_t id);      /* the value at the point of which the node's value is the rows or an element,
                                                           else the node's own value */

/* grad_plan.c, grad.c */
ls_status ls__grad_plan(ls_trace *t);  /* finds which backward computes each gradient, and the time at which autograd begins */
bool ls__grad_records(const ls_trace *t);               /* whether autograd records at the current time */
ls_status ls__grad_arrive(ls_trace *t);                 /* at a new point: makes leaves of the values whose gradients are asked for */
ls_status ls__grad_watch(ls_trace *t, int32_t id);      /* attaches a hook to a new value whose gradient is asked for */
ls_status ls__grad_backward(ls_trace *t, int32_t id);
void ls__grad_close(ls_trace *t);

/* narrow.c */
void ls__narrow_plan(ls_trace *t);
ls_status ls__narrow_cut(ls_trace *t, int32_t item, const ls_value *argument, ls_value *out); /* `out` is a new reference */
#endif
