/* Traces from inside. A trace has three layers, each in arrays of its own:

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

/* A time: 21 bits each for the step and the point, the pass above. */
enum { LS__POINT_BITS = 21, LS__LAST = (1 << LS__POINT_BITS) - 1 };
#define LS__TIME(pass, step, point) \
  ((int64_t)(pass) * ((int64_t)1 << 2 * LS__POINT_BITS) + (int64_t)(step) * ((int64_t)1 << LS__POINT_BITS) + (int64_t)(point))
static inline int32_t ls__pass_of(int64_t time) { return (int32_t)(time >> 2 * LS__POINT_BITS); }
static inline int32_t ls__step_of(int64_t time) { return (int32_t)(time >> LS__POINT_BITS) & LS__LAST; }
static inline int32_t ls__point_of(int64_t time) { return (int32_t)time & LS__LAST; }

/* ---- the recording ---------------------------------------------------------------------------------------------- */

/* A body and its input. The nodes are those of the owner (model.h). */
typedef struct ls__invoke {
  int32_t kind;          /* LS_INVOKE_* */
  ls_program *program;   /* its numbers name the points; retained */
  ls_value *arguments;   /* stream; what the caller gave */
  int32_t argument_count;
  int32_t least;         /* the first pass that it may join: those before had begun, or are closed to it */
  int32_t steps;         /* of a generation the most, 0: no generation */
  int32_t begin;         /* its first node, or one before */
  int64_t stop;          /* nothing behind this time, its pass left out; -1: no stop */
} ls__invoke;

/* ---- the plan --------------------------------------------------------------------------------------------------- */

typedef struct ls__planned {
  int64_t time;      /* at which the node runs */
  int32_t rank;      /* among the nodes of its time */
  int32_t latest;    /* the input that exists last, -1: none */
  int32_t root;      /* the first node whose memory its value may share, of reads that of the point; else -1 */
  int32_t edited;    /* of a root the last node that changes its memory in place, else -1 */
  int32_t earlier;   /* of such a node the one before it of the same root, else -1 */
  int32_t uses;      /* needed nodes that still wait for its value */
  int32_t narrow;    /* of a call the indexing node after which its argument is cut, else -1 */
  int32_t backward;  /* of a gradient the backward that gives it */
  uint8_t needed;    /* somebody waits for it */
  uint8_t never;     /* it lies beyond a stop or inside a skip */
  uint8_t tracked;   /* its gradient is asked for: LS__ASKED, or LS__EDITED too */
} ls__planned;

static const ls__planned ls__unplanned = {.latest = -1, .root = -1, .edited = -1, .earlier = -1, .narrow = -1, .backward = -1};

enum { LS__ASKED = 1, LS__EDITED = 2 };

typedef struct ls__planned_invoke {
  int32_t pass;      /* in which it runs, as far as known */
  int32_t cause;     /* the edit that put it into a later pass, -1: none */
} ls__planned_invoke;

typedef struct ls__plan {
  ls__planned *nodes;
  ls__planned_invoke *invokes;
  int32_t *order;    /* needed nodes, by time */
  int32_t ordered, order_room;
  bool holds;        /* the order is that of all that is recorded */
  bool passes;       /* some invoke runs later than first thought: times have to be found again */
  int64_t track;     /* autograd records from this time on, -1: never */
  int32_t narrow_instance, narrow_item; /* the model's own head is narrowed: which call, after which indexing node; -1: none */
} ls__plan;

/* ---- the run ---------------------------------------------------------------------------------------------------- */

typedef struct ls__ran {
  ls__node *instead;     /* the node as this run has it, where an edit or a cut made it another; NULL: as recorded */
  ls__capture *capture;  /* takes the gradient of its value */
  uint8_t done;          /* executed */
  uint8_t keeps_above;   /* its value is a view, and keeps the value that it looks into */
  uint8_t lent;          /* of the gradient of a parameter: it does not train, and is given back at the end */
} ls__ran;

typedef struct ls__running_invoke {
  int32_t came;          /* how many steps */
  int32_t first, rows;   /* in the pass, once that has begun */
  int32_t pad;           /* columns before its own, in the pass */
} ls__running_invoke;

typedef struct ls__progress {
  ls__ran *nodes;
  ls_value *values;      /* by node */
  ls__running_invoke *invokes;
  ls__run *model;        /* the run of the pass and step under way, NULL between two */
  ls_program *program;   /* whose numbers name the points of the pass under way; borrowed */
  int32_t *map;          /* from these numbers to those of the run; NULL: the same */
  int64_t now;           /* the time that has been reached, -1: none */
  bool standing;         /* at `now`, and what happens there is not over */
  int32_t next;          /* in the plan's order */
  int32_t rows;          /* of the pass */
  ls_value text;         /* what the generation of the pass gave */
  ls__mode *mode;        /* what surrounds the run, while it goes */
  struct ls__cut *cuts;  /* see grad.c */
  int32_t cut_count, cut_room;
  ls_value *kept;        /* tensors of the model that its forward changes, each followed by a copy from before; see own.c */
  int32_t kept_count, kept_room;
  int64_t demand_site;   /* of the last demand, 0: none */
  bool demand_open;      /* a demand is being met: what the script holds stays */
} ls__progress;

/* ---- the trace -------------------------------------------------------------------------------------------------- */

struct ls_trace {
  ls__owner owner;
  ls_module *module;     /* of the first invoke; retained */
  ls__invoke *invokes;
  int32_t invoke_count, invoke_room;
  int32_t fence;         /* the first pass that a new invoke may join */
  int32_t steps;         /* what invokes opened now have */
  bool gradients;        /* there are nodes about gradients */
  bool kept;             /* the recording outlives the end */
  int32_t room;          /* of the arrays by node in the plan and the run, and of: */
  int32_t *handles;      /* given out for each node */
  ls__plan plan;
  ls__progress run;
};

/* The node as the run has it. */
static inline const ls__node *ls__seen(const ls_trace *t, int32_t id) {
  const ls__node *instead = t->run.nodes[id].instead;
  return instead ? instead : &t->owner.nodes.at[id];
}

/* trace.c */
ls_status ls__trace_check_open(const ls_trace *t);
ls_trace *ls__trace_of(const ls_value *node);           /* NULL: a node of a function */
void ls__trace_close(ls_trace *t, bool keep);           /* keep: what was saved and can still be asked for stays */
void ls__trace_forget(ls_trace *t);                     /* the run so far: values, gradients, where it stands */
bool ls__trace_make_room(ls_trace *t);                  /* in the plan and the run, for the node just added */
ls__node *ls__trace_own_node(ls_trace *t, int32_t id);  /* of the run, to be changed; NULL: out of memory */
const char *ls__trace_point_name(const ls_trace *t, int32_t invoke, int32_t point);
ls__point_info ls__trace_point(const ls_trace *t, const ls__node *node); /* of a read or write */

/* record.c */
ls_status ls__trace_record(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
ls_status ls__trace_record_handle(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, ls_value *out);

/* points.c */
ls_status ls__trace_check_field(const ls_trace *t, int32_t id, const char *name); /* a struct known not to have it fails */

/* time.c */
int32_t ls__trace_above(const ls_trace *t, int32_t id); /* the node that `id` is a view or a piece of, -1: none */
int32_t ls__point_node(const ls_trace *t, int32_t id);  /* of an edit in place the root, else itself */
int64_t ls__own_time(const ls_trace *t, int32_t id);    /* of what happens at a point, else -1 */
int64_t ls__edit_time(const ls_trace *t, const ls__node *node); /* of the first point whose value it changes in place, else -1 */
bool ls__time_passed(const ls_trace *t, int64_t time);
int64_t ls__settled_time(const ls_trace *t, int32_t id, int32_t before); /* when the value of a node has all edits that nodes before `before` make */
void ls__time_root(ls_trace *t, int32_t id);            /* finds whose memory a node just recorded may share */
ls_status ls__time_new(ls_trace *t, int32_t id);        /* plans a node just recorded; may move its invoke to a later pass */
ls_status ls__time_all(ls_trace *t, int32_t count);     /* of the first nodes, until nothing moves any more */
ls_status ls__time_again(ls_trace *t);                  /* of the whole recording, as if it had just been written */

/* plan.c */
ls_status ls__plan_make(ls_trace *t, int32_t demanded); /* demanded: a node, or -1 at the end of the trace */

/* pass.c */
/* Moves on until the model stands at the time of node `id`, or has gone past it, or the script has to act. */
ls_status ls__pass_reach(ls_trace *t, int32_t id, ls_event *event);

/* execute.c */
bool ls__has_inputs(const ls_trace *t, int32_t id);     /* all that the node uses has come */
void ls__trace_let_go(ls_trace *t, int32_t id);         /* releases a value that nobody waits for */
ls_status ls__execute_now(ls_trace *t, int32_t id);     /* one node, whatever the order */

/* edit.c */
ls_status ls__edit_write(ls_trace *t, int32_t id);                      /* the value at a point gives way to another */
ls_status ls__edit_value(ls_trace *t, int32_t id, ls_value *out);       /* an operator in place, or self[index] = value */
void ls__edit_everywhere(ls_trace *t, void *old, const ls_value *fresh); /* one tensor for another, in all that holds it */
ls_status ls__edit_protect(ls_trace *t, void *tensor);                  /* the model is about to change it: what was read stays */

/* own.c: memory that is not the run's own */
bool ls__own_foreign(const ls_trace *t, void *tensor);  /* its memory is the caller's or the model's */
ls_status ls__own_unchanged(const ls__node *node);      /* the tensors in its arguments are as they were when it was written */
ls_status ls__own_inputs(ls_trace *t);                  /* the run of a model that changes values in place gets copies */
ls_status ls__own_arguments(ls_trace *t, const ls__node *node, ls_value *s, ls_value *own); /* so does a module that a body calls */
ls_status ls__own_keep(ls_trace *t, const ls_program *p); /* copies what the forward changes of the model */
ls_status ls__own_inside(const ls_trace *t, const ls__node *node); /* fails where it could reach into the rows of another invoke */
void ls__own_put_back(ls_trace *t);                     /* gives the model what it had before the trace */

/* rows.c */
ls_status ls__rows_take(ls_trace *t, int32_t id, const ls_value *whole, ls_value *out);
ls_status ls__rows_put(ls_trace *t, int32_t id, ls_value *whole, const ls_value *part); /* of one tensor or structure */
bool ls__rows_all(const ls_trace *t, int32_t invoke);   /* the invoke's rows are all of the pass */
bool ls__rows_several(const ls_trace *t);               /* invokes share batches, so a value may be a part of one */
ls_value *ls__rows_whole(ls_trace *t, int32_t id);      /* the value at the point that the node's is a piece of, else its own */

/* grad_plan.c, grad.c */
ls_status ls__grad_plan(ls_trace *t);                   /* which backward gives which gradient, where autograd begins */
bool ls__grad_records(const ls_trace *t);               /* autograd is on from here */
ls_status ls__grad_arrive(ls_trace *t);                 /* at a new point: leaves that gradients are asked of */
ls_status ls__grad_watch(ls_trace *t, int32_t id);      /* its value just came and its gradient is asked for */
ls_status ls__grad_backward(ls_trace *t, int32_t id);
void ls__grad_close(ls_trace *t);

/* narrow.c */
void ls__narrow_plan(ls_trace *t);
ls_status ls__narrow_cut(ls_trace *t, int32_t item, const ls_value *argument, ls_value *out); /* a new reference */
#endif
