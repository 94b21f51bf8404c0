/* Graphs, modules and programs as the files of the core see them.

   A function is the graph of one module call; a trace is a graph beside a program. Both are arrays of nodes in the order
   written, and a node's arguments are one argument stream (abi.h) in which LS_NODE entries name nodes of the same graph
   by `aux` (their `p` is NULL, so that a graph does not hold itself).

       ls_program                    ls_graph (function)           ls_graph (trace)
       calls[]: one per module call  nodes[]: input op call tap    nodes[]: read op write ...
       points[]: numbered in the     dies[]: values that end       time of a node = the pass, the step and
       order a run reaches them      after each node               the point at which its last input exists

   A trace runs in passes, one after the other; a pass has one step (one run of the program) or, in a generation, several.
   An invoke is a body with its rows: it belongs to one pass. */
#ifndef LUASIGHT_GRAPH_H
#define LUASIGHT_GRAPH_H
#include "torch/torch.h"

typedef enum ls__node_kind {
  LS__INPUT,   /* an argument of the function */
  LS__OP,      /* an operator of libtorch */
  LS__GETITEM, /* stream: self, indices */
  LS__SETITEM, /* stream: self, value, indices */
  LS__SEQ,     /* stream: one LS_OPEN */
  LS__SHAPE,   /* stream: self */
  LS__CALL,    /* stream: arguments, keywords last; module and callee, or (in a trace) program */
  LS__TAP,     /* stream: value */
  LS__EITHER,  /* stream: arguments; callee is the plain form, fused the other */
  LS__GUARD,   /* stream: value, what it was when a branch was chosen by it */
  LS__READ,    /* trace: the value at a point */
  LS__WRITE,   /* trace: stream: value that replaces what is at the point */
  LS__ROWS,    /* trace: stream: a value at a point; the rows of the invoke */
  LS__TEXT,    /* trace: the ids that a generation gave */
  LS__PAD,     /* trace: stream: a number, to which the padding of the invoke is added */
  LS__GRAD,    /* trace: stream: the value whose gradient it is */
  LS__SETGRAD, /* trace: stream: the value, its gradient from here on */
  LS__BACKWARD,/* trace: stream: the loss, its gradient or none */
  LS__HOST     /* trace: stream: arguments of a function of the script */
} ls__node_kind;

typedef struct ls__node {
  uint8_t kind;
  uint8_t saved;     /* trace: its value outlives the run */
  uint8_t done;      /* trace: executed */
  uint8_t needed;    /* trace: the plan wants it */
  uint8_t never;     /* trace: it is beyond a stop */
  uint8_t holds;     /* trace: its value is a view, and keeps the value that it looks into */
  uint8_t flag;      /* trace: a write that skips its module, a backward that keeps its graph, a read that a skip may leave out */
  uint8_t stored;    /* trace: of a stored edit, which acts wherever its point comes */
  uint8_t tracked;   /* trace: its gradient is asked for: LS__ASKED, or LS__EDITED too */
  int32_t n;         /* length of the stream */
  ls_value *stream;
  int64_t site;
  int32_t slot;      /* function: ordinal among its calls, taps and eithers; trace: point of a read or write */
  int32_t invoke;    /* trace: of a read, a write, rows; else the one in whose body it was written, -1: none */
  int32_t step;      /* trace: of a read or write */
  int64_t time;      /* trace: pass, step and point at which it runs, see LS__TIME */
  int32_t rank;      /* trace: among the nodes of its time */
  int32_t latest;    /* trace: the input that exists last, -1: none */
  int32_t handles;   /* handles given out for it */
  int32_t uses;      /* trace: needed nodes that still wait for its value */
  int32_t root;      /* trace: the first node whose memory its value may share, of reads that of the point; else -1 */
  int32_t edited;    /* trace: of a root the last node that changes its memory in place, else -1 */
  int32_t edits;     /* the node whose value it changes in place, of several one, else -1 */
  int32_t narrow;    /* trace: the indexing node after which the argument of a call is cut, else -1 */
  int32_t backward;  /* trace: of a gradient the backward that gives it */
  ls__capture *capture; /* trace: takes the gradient of its value */
  const char *name;  /* keyword of an input, name of a tap */
  ls__call *call;
  const ls_op *op;
  ls_module *module;
  ls_graph *callee, *fused;
  ls_program *program;
  int32_t dies_at, dies_n; /* function: into graph.dies */
} ls__node;

enum { LS__ASKED = 1, LS__EDITED = 2 };

/* A time: 21 bits each for the step and the point, the pass above. */
enum { LS__POINT_BITS = 21, LS__LAST = (1 << LS__POINT_BITS) - 1 };
#define LS__TIME(pass, step, point) \
  ((int64_t)(pass) * ((int64_t)1 << 2 * LS__POINT_BITS) + (int64_t)(step) * ((int64_t)1 << LS__POINT_BITS) + (int64_t)(point))
static inline int32_t ls__pass_of(int64_t time) { return (int32_t)(time >> 2 * LS__POINT_BITS); }
static inline int32_t ls__step_of(int64_t time) { return (int32_t)(time >> LS__POINT_BITS) & LS__LAST; }
static inline int32_t ls__point_of(int64_t time) { return (int32_t)time & LS__LAST; }

/* A body and the rows that it sees. */
typedef struct ls__invoke {
  int32_t kind;          /* LS_INVOKE_* */
  ls_program *program;   /* its numbers name the points; retained */
  ls_value *arguments;   /* stream; what the caller gave */
  int32_t argument_count;
  int32_t pass, least;   /* where it runs, as far as known, and the first pass that it may join */
  int32_t steps, came;   /* of a generation the most, 0: no generation; how many came */
  int32_t first, rows;   /* in the pass, once that has begun */
  int32_t pad;           /* columns before its own, in the pass */
  int32_t cause;         /* the edit that put it into a later pass, -1: none */
  int32_t begin;         /* its first node, or one before */
  int64_t stop;          /* nothing behind this time, its pass left out; -1: no stop */
} ls__invoke;

typedef struct ls__run ls__run;

typedef enum ls__state { LS__CLOSED = 0, LS__FUNCTION = 1, LS__TRACE = 2, LS__FINISHED_FUNCTION = 3 } ls__state;

struct ls_graph {
  int32_t references;
  int32_t state;
  int32_t count, room;
  ls__node *nodes;
  uint8_t *kinds;     /* ls_kind expected of each node's value, LS_NONE where unknown */
  /* functions */
  ls_module *module;  /* retained */
  int32_t positional, inputs; /* inputs: all of them, the first nodes of the graph */
  int32_t slots;
  ls_value result;    /* a stream of one value */
  int32_t *dies;
  ls_value gave;      /* of a function recorded with values: its result, until somebody takes it */
  /* traces */
  ls_value *values;   /* by node; of a function too while it is recorded with values */
  ls__invoke *invokes;
  int32_t invoke_count, invoke_room;
  int32_t *order;     /* needed nodes, by time */
  int32_t ordered, next, order_room;
  int32_t fence;      /* the first pass that a new invoke may join */
  bool shapes;        /* a scan: tensors have no numbers */
  bool planned;       /* the order holds */
  bool passes;        /* some invoke runs later than first thought: times have to be found again */
  bool gradients;     /* there are nodes about gradients */
  ls__run *run;       /* of the pass and step under way, NULL between two */
  ls_program *program; /* whose numbers name the points of the pass under way; borrowed */
  int32_t *map;       /* from these numbers to those of the run; NULL: the same */
  int64_t now;        /* what has been reached, -1: nothing */
  bool standing;      /* at `now`, and what happens there is not over */
  int32_t rows;       /* of the pass */
  int32_t steps;      /* what invokes opened now have */
  ls_value text;      /* what the generation of the pass gave */
  int64_t track;      /* autograd records from this time on */
  int32_t narrow_instance, narrow_item; /* see ls__run; -1: none */
  ls__mode *mode;     /* what surrounds the run, while it goes */
  struct ls__cut *cuts;
  int32_t cut_count, cut_room;
  ls_value *kept;     /* tensors of the model that its forward changes in place, each followed by a copy from before the trace */
  int32_t kept_count, kept_room;
  int64_t demand_site; /* of the last demand, 0: none */
  bool demand_open;   /* a demand is being met: what the script holds stays */
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
  ls_graph *function;
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
  ls_graph *function;
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
  bool changes_own;    /* some node changes a parameter, a buffer or a constant in place */
  char *name;          /* buffer of ls_program_point_name */
  ls__run *idle;       /* a run kept for the next time */
};

/* node.c */
void ls__nodes_start(void); /* values may point to nodes from here on */
ls_status ls__node_new(ls_graph *g, ls__node_kind kind, const ls_value *stream, int32_t n, int64_t site, uint8_t result,
                       int32_t *out);
void ls__graph_trim(ls_graph *g); /* a graph that gets no more nodes gives back the room for them */
void ls__node_handle(ls_graph *g, int32_t node, ls_value *out);  /* a handle to the node, a new reference */
ls_status ls__settle(ls_graph *g, int32_t node); /* ends the recording of a node; one that breaks a rule is taken back */
ls_status ls__open_graph(const ls_value *stream, int32_t n, ls_graph **out); /* of the nodes inside; NULL: none is open */
ls_status ls__resolve(const ls_value *stream, int32_t n, ls_value *out);     /* closed nodes become borrowed values */
void ls__stream_free(ls_value *stream, int32_t n);

/* run.c */
struct ls__run {
  ls_program *program;
  ls_graph *trace;         /* borrowed; NULL: nothing is watched */
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
  int32_t narrow_item;     /* after the index of this node of the trace */
};
ls_status ls__run_new(ls_program *p, const ls_value *args, int32_t n, ls__run **out);
bool ls__node_changes_own(const ls__node *node); /* a node of a function that changes a tensor which is no node */
ls_status ls__run_until(ls__run *r, int32_t point); /* until it stands at the point or has ended */
void ls__run_free(ls__run *r);
ls_value *ls__substitute(const ls__node *node, const ls_value *values, ls_value *local); /* LS__LOCAL cells or malloc */
enum { LS__LOCAL = 64 };
void ls__interrupt_guard(bool on); /* while on, Ctrl-C stops the run */
ls_status ls__interrupt_check(void); /* fails once after Ctrl-C */
ls_status ls__program_execute(ls_program *p, const ls_value *args, int32_t n, ls_value *out);
ls_status ls__node_execute(ls__node *node, ls_value *values, ls_value *out); /* ops, items, sequences, shapes */

/* eager.c: functions recorded with values */
ls_status ls__eager_run(ls_graph *g, int32_t id);
void ls__eager_finish(ls_graph *g);
ls_status ls__guard(const ls_value *now, const ls_value *then); /* fails where they differ */

/* arguments.c: what a run is given */
ls_status ls__own(const ls_value *stream, int32_t n, ls_value *out); /* one argument as a value; sequences are copied */
ls_status ls__own_memory(ls_value *v); /* copies the tensors too */
ls_status ls__fill_inputs(const ls_graph *function, const ls_value *s, int32_t n, ls_value *cells);
ls_status ls__pair_of(const ls_graph *function, ls_value *cells, ls_value *out);
void ls__pair_to_cells(const ls_graph *function, const ls_value *pair, ls_value *cells);
ls_status ls__arguments_keep(const ls_value *args, int32_t n, ls_value **out); /* a stream of its own, versions noted */
ls_status ls__arguments_unchanged(const ls_value *stream, int32_t n, const char *what); /* as they were when kept */

/* program.c */
bool ls__module_path(const ls_module *root, const ls_module *m, char *path, size_t room); /* false: not below */
ls_status ls__program_map(ls_program *from, ls_program *to, int32_t **out); /* NULL: the same numbers; -1: not there */

/* trace.c, points.c */
ls_status ls__trace_record(ls_graph *g, int32_t node);  /* time, place, in-place rules of a node just added */
ls_status ls__trace_check_field(const ls_graph *g, int32_t node, const char *name); /* a struct known not to have it fails */
ls_status ls__trace_protect(ls_graph *g, void *tensor); /* the model is about to change it in place: what was read stays */
ls_status ls__narrow_cut(ls_graph *g, int32_t item, const ls_value *argument, ls_value *out); /* narrow.c; a new reference */
bool ls__trace_replaces(const ls_graph *g); /* what comes next is a replacement of all that the point holds */
#endif
