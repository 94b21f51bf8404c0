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

/* One invoke of a trace: a body and its input. The nodes of all bodies are in the node array of the trace's `owner` (model.h). */
typedef struct ls__invoke {
  int32_t kind;          /* how the invoke shares a pass: one of LS_INVOKE_* */
  ls_program *program;   /* the program whose point numbers the nodes of the body use: that of all invokes that may share a pass; retained */
  ls_program *given;     /* the program with whose numbers the caller names points; retained */
  int32_t *map;          /* for each point of `given` its number in `program`; NULL where both number their points alike */
  ls_value *arguments;   /* the input that the caller passed, as an argument stream */
  int32_t argument_count;
  int32_t least;         /* the number of the first pass that the invoke may join; earlier passes had begun, or are closed to new invokes */
  int32_t steps;         /* the most steps that the invoke may generate, 0 where it does not generate */
  int32_t begin;         /* the number of the first node that can belong to the body */
  int64_t stop;          /* the last step and point (a time without its pass) at which nodes of the body run; -1 where it has no stop */
} ls__invoke;

/* A call of a module that a body makes with points of its own; see hook.c. */
typedef struct ls__hook {
  ls_program *program;   /* the program that numbers its points; retained */
  int32_t node;          /* the LS__CALL that begins the call; -1 where the script has not come to it */
  bool acts;             /* whether the script reads or replaces something inside the call */
  /* the plan: the time and rank from which all values exist that are set inside the call, and the edit that needs the last of them */
  int64_t time;
  int32_t rank, cause;
  ls__run *run;          /* the run: paused at the last point that was reached; NULL before the call begins and after it */
  bool over;             /* whether the run has ended */
} ls__hook;

/* ---- the plan --------------------------------------------------------------------------------------------------- */

typedef struct ls__planned {
  int64_t time;      /* the time (LS__TIME) at which the node runs */
  int32_t rank;      /* the node's place in the order of the nodes that run at the same time */
  int32_t latest;    /* of the nodes that are arguments, the one that is computed last; -1 where no argument is a node */
  int32_t root;      /* the first node whose memory this node's value may share (for reads the first read of the point), else -1 */
  /* where this node is the `root` of others: the last node that changes the memory of this node's value in place, else -1 */
  int32_t edited;
  /* where this node changes the memory of a root's value in place: the previous node that changes the same memory, else -1 */
  int32_t earlier;
  int32_t uses;      /* the number of nodes that have yet to run and need this node's value */
  int32_t narrow; /* where this node is a call that can run at some positions only: the indexing node that names these positions, else -1 */
  int32_t backward;  /* where this node is a gradient: the backward that computes the gradient, else -1 */
  uint8_t needed;    /* 1 where another node or the script needs this node's value */
  /* 1 where the node needs a value inside a skipped module; it is not computed in a demand merely because the script holds it */
  uint8_t left_out;
  uint8_t unreachable; /* 1 where the node lies behind a stop or inside a skipped module, so that it does not run */
  uint8_t tracked;   /* what gradients need of the node: LS__ASKED, LS__SOURCE, or both */
  /* where this node reads or sets a gradient: the last edit in place above it of the value whose gradient it is, else -1 */
  int32_t version;
} ls__planned;

static const ls__planned ls__unplanned = {.latest = -1, .root = -1, .edited = -1, .earlier = -1, .narrow = -1, .backward = -1, .version = -1};

/* LS__ASKED: a gradient is asked for, of the node's value or of the value that the node has changed in place.
   LS__SOURCE: the node's value needs a place in autograd's graph, since a gradient is asked for of it, or of a value that may be it. */
enum { LS__ASKED = 1, LS__SOURCE = 2 };

typedef struct ls__planned_invoke {
  int32_t pass;      /* the pass in which the invoke runs, as far as the nodes planned so far tell */
  int32_t cause;     /* the edit that moved the invoke to a later pass, -1 where none did */
} ls__planned_invoke;

typedef struct ls__plan {
  ls__planned *nodes;
  ls__planned_invoke *invokes;
  int32_t *order;    /* the needed nodes, sorted by time */
  int32_t ordered, order_room;
  bool holds;        /* whether `order` is up to date: it includes all nodes recorded so far */
  bool edits;        /* whether some node that has yet to run may change a value in place */
  bool passes;       /* whether an invoke was moved to a later pass, so that all times have to be found again */
  int64_t track;     /* the time (LS__TIME) from which autograd records operators, -1 where it records none */
  /* the call of the model's own head that runs at some positions only, and the indexing node that tells which positions; the call is
     -1 where no head is narrowed */
  int32_t narrow_instance, narrow_item;
} ls__plan;

/* ---- the run ---------------------------------------------------------------------------------------------------- */

typedef struct ls__ran {
  ls__node *instead;     /* the run's own copy of the node, with changed arguments; NULL where the node runs as recorded */
  uint8_t piece;         /* 1 where the node has put an element into a sequence, and a gradient is asked for below it */
  int32_t gradient;      /* where the node reads or sets a gradient: its number in `gradients`, counted from 1; 0 where it has none yet */
  int32_t rows;          /* there: 1 + the node that takes the rows of an invoke out of the tensor of that gradient; 0 where it is all of it */
  uint8_t done;          /* 1 once the node is executed */
  uint8_t keeps_above;   /* 1 where the value is a view, so that the value in whose memory it lies is kept too */
  /* 1 where the node is the gradient of a parameter that does not train and requires a gradient for this trace only */
  uint8_t made_trainable;
} ls__ran;

/* A tensor of the model that its forward changes. */
typedef struct ls__kept {
  ls_value tensor;
  ls_value other;  /* the numbers that the model does not have now: from before the run, or while the run is paused those of the run */
  ls_value spare;  /* memory in which `tensor` and `other` exchange their numbers */
  bool had_history; /* whether autograd had a history of `tensor` before the run */
} ls__kept;

typedef struct ls__running_invoke {
  int32_t came;          /* how many steps the invoke has begun */
  bool ended;            /* whether its texts have ended: further steps of the pass are those of other invokes */
  int32_t first, rows;   /* the invoke's first row in the batch of its pass, and the number of its rows; known once the pass has begun */
  int32_t pad;           /* the number of padding columns to the left of the invoke's own columns in the pass */
} ls__running_invoke;

/* The gradient of one version of one tensor, which nodes may name in several ways. */
typedef struct ls__gradient {
  ls__capture *capture;  /* the hook that takes it */
  ls_value value;        /* in a backward: the gradient as it stands for the script's next use of it; LS_NONE before the first use */
  int32_t before;        /* how often the capture had been called when the present part of the backward began */
  bool asked;            /* whether the backward that runs has uses of it */
  bool edits;            /* whether one of these sets or edits it */
  bool taken;            /* whether `value` has been taken from the capture */
  bool passed;           /* whether the new gradient went on in autograd's graph */
  bool busy;             /* whether its uses are being executed */
} ls__gradient;

/* A backward that runs. */
typedef struct ls__sweeping {
  int32_t backward;      /* the node of the backward */
  int32_t from;          /* the gradient with which the present part of it began, -1 for the loss */
  bool runs;             /* whether libtorch is at work, so that more gradients come */
  int32_t blocked, blocker; /* the last node that could not be executed yet, and the node that it waits for */
  ls_status status;      /* the error with which a use of a gradient failed */
} ls__sweeping;

typedef struct ls__progress {
  ls__ran *nodes;
  ls_value *values;      /* for each node the value that the run has computed */
  ls__running_invoke *invokes;
  ls__run *model;        /* the run of the model in the current pass and step; NULL between two steps */
  ls_program *program;   /* the program whose point numbers the nodes of the current pass use; borrowed */
  int32_t *map;          /* for each point of `program` its number in the program of `model`; NULL where both number their points alike */
  int64_t now;           /* the time (LS__TIME) that the run has reached, -1 before the run begins */
  bool paused;         /* whether the model is paused at the point of `now`, with nodes of that time still to run */
  int32_t next;          /* the index in the plan's order of the next node to run */
  int32_t rows;          /* the number of rows in the batch of the current pass */
  ls_value text;         /* the token ids that the generation in the current pass made, for all rows */
  ls__mode *mode;        /* the thread's autograd state to be restored after the run; NULL while nothing runs */
  struct ls__twins *twins; /* rows that lie in two places; see twins.c */
  int32_t twin_count, twin_room;
  struct ls__made *made; /* the rows that invokes have set at the point where the run is paused; see twins.c */
  int32_t made_count, made_room;
  struct ls__late *late; /* the lines that use copies of edited values; see late.c */
  int32_t late_count, late_room;
  const void **supplied; /* the memory of what functions of the script have returned; see own.c */
  int32_t supplied_count, supplied_room;
  int64_t given;         /* the versions of the arguments of the function of the script that is being called, added up */
  ls__origins origins;   /* where the model makes the tensors that need a place in autograd's graph */
  ls__gradient *gradients;
  int32_t gradient_count, gradient_room;
  struct ls__split *splits; /* tensors of which an invoke has set or edited its rows; see grad_rows.c */
  int32_t split_count, split_room;
  int32_t moved_count;   /* how many of `splits`, the last ones, wait for the end of an edit */
  int32_t common_count;
  ls_value *common;      /* rows of invokes that are one piece of memory; see twins.c */
  ls__sweeping sweep;
  ls__kept *kept;        /* the model's tensors that its forward changes; see own.c */
  int32_t kept_count, kept_room;
  int64_t demand_site;   /* the script line of the last demand (a line that needs a number at once), 0 where there was none */
  bool inside;           /* whether the model has the run's numbers in the tensors of `kept` */
  bool records;          /* whether autograd records operators from now on */
  bool demand_open;      /* whether a demand is running: until it ends, no value to which the script has a handle is released */
} ls__progress;

/* ---- the trace -------------------------------------------------------------------------------------------------- */

struct ls_trace {
  ls__owner owner;
  ls_module *module;     /* the module of the first invoke; retained */
  ls__invoke *invokes;
  int32_t invoke_count, invoke_room;
  ls__hook *hooks;       /* the calls with points of their own */
  int32_t hook_count, hook_room;
  int32_t running_hook;  /* the call that goes on to its next point now; else -1 */
  int32_t joinable;      /* the number of the first pass that a new invoke may join; ls_trace_new_pass raises it */
  int32_t steps;         /* the most steps that an invoke opened now may generate, 0 where it does not generate */
  bool gradients;        /* whether any node reads, sets or edits a gradient, or runs a backward */
  bool kept;             /* whether the recording stays when the trace ends */
  int32_t room;          /* the length of `handles` and of the arrays in the plan and the run that have one entry for each node */
  int32_t *handles;      /* for each node the number of handles that the script has to the node */
  ls__plan plan;
  ls__progress run;
};

/* Returns node `id` as this run sees it: the run's own changed copy where there is one, else the recorded node. */
static inline const ls__node *ls__seen(const ls_trace *t, int32_t id) {
  const ls__node *instead = t->run.nodes[id].instead;
  return instead ? instead : &t->owner.nodes.at[id];
}

/* trace.c */
ls_status ls__trace_check_open(const ls_trace *t);
ls_trace *ls__trace_of(const ls_value *node);           /* the trace that the node belongs to; NULL where it belongs to a function */
void ls__trace_close(ls_trace *t, bool keep);  /* ends the trace and frees its values; with `keep`, saved values with a handle stay */
void ls__trace_forget(ls_trace *t);                     /* forgets the run so far: its values, and the time that it has reached */
bool ls__trace_make_room(ls_trace *t); /* makes room for the node just added in plan and run; false when out of memory */
ls__node *ls__trace_own_node(ls_trace *t, int32_t id);  /* the run's own copy of a node, which may be changed; NULL: out of memory */
const char *ls__trace_point_name(const ls_trace *t, int32_t invoke, int32_t point);
ls__point_info ls__trace_point(const ls_trace *t, const ls__node *node); /* the point that the read or write `node` belongs to */

/* record.c */
ls_status ls__trace_record(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
ls_status ls__trace_record_handle(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, ls_value *out);

/* hook.c: calls with points of their own */
ls_status ls__hook_call(ls_trace *t, int32_t hook, ls_program *callee, const ls_value *args, int32_t n, int64_t site, ls_value *out);
ls_status ls__hook_check_point(const ls_trace *t, int32_t hook, int32_t point); /* fails where the call has no such point */
ls_status ls__hook_read(ls_trace *t, int32_t hook, int32_t point, int64_t site, ls_value *out);
ls_status ls__hook_write(ls_trace *t, int32_t hook, int32_t point, const ls_value *value, int64_t site);
const char *ls__hook_point_name(const ls_trace *t, const ls__node *node); /* the point of an LS__SEE or LS__PUT */
/* Returns the call in which node `id` reads or changes a value, -1 for other nodes; `rank` becomes its rank behind that of the call. */
int32_t ls__hook_of(const ls_trace *t, int32_t id, int32_t *rank);
/* Moves time and rank of node `id`, which acts inside a call, to those of its point; makes the call wait where the node's inputs come later. */
ls_status ls__hook_time(ls_trace *t, int32_t id, int64_t *time, int32_t *rank);
void ls__hook_wait(ls_trace *t, int32_t id, int64_t *time, int32_t *rank); /* moves the begin of a call to when it may begin */
int32_t ls__hook_behind(const ls_trace *t, int32_t id, int64_t time, int32_t rank);
bool ls__hook_needs(ls_trace *t);   /* marks the calls needed in which something is needed; whether there was one to mark */
ls_status ls__hook_check(const ls_trace *t); /* fails where something is needed of a call that the script has not made */
ls_status ls__hook_begin(ls_trace *t, int32_t hook, const ls_value *s, int32_t n);
ls_status ls__hook_reach(ls_trace *t, const ls__node *node); /* lets a call run until it is paused at the node's point */
ls_status ls__hook_see(ls_trace *t, const ls__node *node, ls_value *out);
/* ls__run_each for all calls that are paused */
void ls__hooks_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context);
/* keeps the values of the calls that have begun as they are, before `edit`, a node that stands below them (-1: the model), changes `tensor` */
ls_status ls__hooks_keep(ls_trace *t, int32_t edit, void *tensor);
void ls__hooks_forget(ls_trace *t);  /* ends the runs of all calls */
void ls__hooks_free(ls_trace *t);

/* points.c */
ls_status ls__trace_check_field(const ls_trace *t, int32_t id, const char *name); /* fails where a struct is known to have no such field */

/* time.c */
/* the node of whose value the value of node `id` is a view or an element; -1 where there is none */
int32_t ls__trace_above(const ls_trace *t, int32_t id);
/* where node `id` is an edit in place, the root (ls__planned.root) of the value that it changes; else `id` */
int32_t ls__point_node(const ls_trace *t, int32_t id);
int64_t ls__own_time(const ls_trace *t, int32_t id);  /* the time at which a node that belongs to a point has to run; -1 for other nodes */
/* the time of the first point whose value `node` changes in place; -1 where it changes no value at a point */
int64_t ls__edit_time(const ls_trace *t, const ls__node *node);
bool ls__time_passed(const ls_trace *t, int64_t time);
/* Returns the time from which the value of node `id` shows all changes in place that were recorded before node `before`. */
int64_t ls__settled_time(const ls_trace *t, int32_t id, int32_t before);
/* whether node `id` changes the value at the point that node `below`, written below it, reads or changes */
bool ls__time_changes_point(const ls_trace *t, int32_t id, int32_t below);
void ls__time_root(ls_trace *t, int32_t id);            /* finds the root (ls__planned.root) of node `id`, which was just recorded */
/* finds the time (LS__TIME) at which node `id`, just recorded, has to run, and notes it in the plan; may move the node's invoke to a later
   pass */
ls_status ls__time_new(ls_trace *t, int32_t id);
/* finds the times of the first `count` nodes; begins again where an invoke has to move to a later pass */
ls_status ls__time_all(ls_trace *t, int32_t count);
ls_status ls__time_again(ls_trace *t);                  /* finds the times of all nodes again, as if the recording had just been written */

/* plan.c: plans what node `demanded` needs, or with -1 what the whole trace needs at its end */
ls_status ls__plan_make(ls_trace *t, int32_t demanded);

/* pass.c: lets the model run until it is paused at the time of node `id`, is past that time, or the script has to act (`event`); whether the
   texts of the invoke of node `id` ended before the node's step, which is then one of other invokes */
ls_status ls__pass_reach(ls_trace *t, int32_t id, ls_event *event);
bool ls__pass_left(const ls_trace *t, int32_t id);

/* execute.c */
bool ls__has_inputs(const ls_trace *t, int32_t id);     /* whether all inputs of the node have values */
/* releases the value of node `id` unless another node, a save or the script still needs it */
void ls__trace_explain(const ls_trace *t, int32_t id); /* adds node `id`'s point and site to an error */
void ls__trace_let_go(ls_trace *t, int32_t id);
ls_status ls__execute_now(ls_trace *t, int32_t id); /* executes node `id` at once, before the nodes that come earlier in the plan's order */

/* edit.c */
ls_status ls__edit_write(ls_trace *t, int32_t id);                      /* executes a node that replaces the value at a point */
ls_status ls__edit_put(ls_trace *t, int32_t id);                        /* the same inside a call with points of its own */
/* executes a node that changes a value: an operator in place, or self[index] = value */
ls_status ls__edit_value(ls_trace *t, int32_t id, ls_value *out);
void ls__edit_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context); /* for all tensors that the run holds */
void ls__edit_everywhere(ls_trace *t, void *old, const ls_value *fresh); /* replaces `old` by `fresh` in all values of the run */
ls_status ls__edit_own(ls_trace *t, const ls_value *self); /* moves what the run holds of the memory of the tensor `self` to a copy of it */
/* called after a function of the script, node `id`, has changed the value `v` in place */
ls_status ls__edit_changed(ls_trace *t, int32_t id, const ls_value *v);
ls_status ls__edit_prepare(ls_trace *t, int32_t id, ls_value *self); /* prepares a change in place of the tensor `self` by node `id` */
/* copies the values read so far that share memory with `tensor`, so that they keep their numbers when the model changes `tensor` */
ls_status ls__edit_protect(ls_trace *t, void *tensor);
bool ls__value_reaches(const ls_value *v, void *tensor); /* whether a tensor in the value `v` has a byte in common with `tensor` */

/* late.c: edits in place that run too late for a line; each function says there what it does */
ls_status ls__late_keep(ls_trace *t, int32_t line, const ls_value *was);
ls_status ls__late_check(const ls_trace *t, int32_t edit, void *tensor);
ls_status ls__late_shared(const ls_trace *t, int32_t id);
void ls__late_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context);
void ls__late_free(ls_trace *t);

/* The functions of own.c protect memory of the caller or of the model, which a run may not change. */
bool ls__own_foreign(const ls_trace *t, void *tensor);  /* whether the tensor's memory is the caller's or the model's */
/* fails where a tensor among the node's arguments was changed after the node was recorded */
ls_status ls__own_unchanged(const ls__node *node);
bool ls__own_gives(const ls_trace *t);                  /* whether functions of the script get values of the run, which they may change */
/* called before node `id` reads at a point: gives a value that lies in a cache, and that lines change in place, memory of its own */
ls_status ls__own_apart(ls_trace *t, int32_t id);
/* whether `tensor`, a value of the run that node `id` has read in a step, lies in a cache that later steps read too */
bool ls__own_is_cached(const ls_trace *t, int32_t id, void *tensor);
ls_status ls__own_inputs(ls_trace *t);                  /* copies the inputs of a model that changes values in place */
/* Copies those arguments `s` of a module called by a body that the module could change; the copies are in `own`. */
ls_status ls__own_arguments(ls_trace *t, const ls__node *node, ls_value *s, ls_value *own);
/* copies the parameters and buffers that the forward of `p` changes, for ls__own_put_back */
ls_status ls__own_keep(ls_trace *t, const ls_program *p);
/* fails where an operator of one invoke could reach memory with another invoke's rows */
ls_status ls__own_inside(const ls_trace *t, const ls__node *node);
void ls__own_enter(ls_trace *t);                        /* puts the run's numbers of what the forward changed into the model */
ls_status ls__own_leave(ls_trace *t);                   /* puts the model's own numbers back while the run is paused */
void ls__own_put_back(ls_trace *t);                     /* restores the parameters and buffers that the forward changed, and forgets them */
ls_status ls__own_give(ls_trace *t, int32_t id, ls_value *s);  /* makes the arguments `s` of a function of the script, node `id`; borrowed */
ls_status ls__own_take(ls_trace *t, int32_t id, ls_value *result); /* called with what the function returned */

/* rows.c */
/* Takes the rows of one invoke out of `whole`, a value like that of node `id`, which is the invoke's rows or an element of them. */
ls_status ls__rows_take(ls_trace *t, int32_t id, const ls_value *whole, ls_value *out);
bool ls__rows_untold(const ls_value *v); /* whether a value is, or has inside, a part whose rows could not be told apart */
/* fails where node `id`, with the value `v`, uses a part whose rows could not be told apart */
ls_status ls__rows_told(const ls_trace *t, int32_t id, const ls_value *v);
/* Writes `part`, the rows that one invoke has set for the value of node `id`, into `whole`, which has the rows of all invokes. */
ls_status ls__rows_put(ls_trace *t, int32_t id, ls_value *whole, const ls_value *part);
ls_status ls__rows_set(ls_trace *t, int32_t id, ls_value *whole, const ls_value *part); /* the same for the value at a point */
/* Sets element number `i` of the sequence `whole`, of which the value of node `id` is the rows of one invoke. `out` becomes these rows of
   the new element. */
ls_status ls__rows_set_element(ls_trace *t, int32_t id, int32_t i, const ls_value *whole, const ls_value *part, ls_value *out);
/* Fails where an invoke without input replaces `old`, the value at the point of node `id`, by `fresh`, and `fresh` has not the rows of all
   invokes. Where `i` is not -1, `old` is a sequence, the value of node `id`, and `fresh` is to be its element number `i`. */
ls_status ls__rows_keep(ls_trace *t, int32_t id, int32_t i, const ls_value *old, const ls_value *fresh);
bool ls__rows_all(const ls_trace *t, int32_t invoke);   /* whether the invoke's rows are all rows of the pass */
/* whether several invokes share a batch, so that a value that one of them sees may be a part of a larger tensor */
bool ls__rows_several(const ls_trace *t);
/* the node that takes the rows of one invoke out of a batch, where the value of node `id` is these rows or an element of them, and no part
   of a tensor; else -1 */
int32_t ls__rows_node(const ls_trace *t, int32_t id);
/* the number of the element `key` of the sequence `of`; -1 where there is none */
int32_t ls__rows_element(const ls_value *of, const ls_value *key);
/* the value at a point from which the value of node `id` was taken, as rows or as an element; else the node's own value */
ls_value *ls__rows_whole(ls_trace *t, int32_t id);

/* twins.c */
/* notes that `fresh`, the new value at a point, is `before` with `part` as the rows of an invoke */
ls_status ls__twins_made(ls_trace *t, int32_t invoke, const ls_value *before, const ls_value *fresh, const ls_value *part, int32_t axis);
/* whether `value` was made at the point where the run is paused, and nothing has used it yet */
bool ls__twins_unread(const ls_trace *t, const ls_value *value);
/* the value in which the rows of an invoke lay before other invokes set theirs at the point where the run is paused */
ls_value *ls__twins_home(const ls_trace *t, const ls_value *value, int32_t invoke);
/* notes that the rows `part` of an invoke lie in the same memory as those of other invokes */
ls_status ls__twins_common(ls_trace *t, const ls_value *part);
/* makes a change in place of the tensor `changed`, by node `edit` or by the model (-1), in the other places of the same rows */
ls_status ls__twins_follow(ls_trace *t, int32_t edit, const ls_value *changed);
void ls__twins_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context);
void ls__twins_leave(ls_trace *t);  /* called when the run goes on from a point */
void ls__twins_free(ls_trace *t);

#include "trace/grad.h"

/* narrow.c */
void ls__narrow_plan(ls_trace *t);
/* writes to `out` the part of `argument`, a call's argument, at the positions that the indexing node `item` takes; a new reference */
ls_status ls__narrow_cut(ls_trace *t, int32_t item, const ls_value *argument, ls_value *out);
#endif
