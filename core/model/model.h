/* What the layers above may know of modules, functions, programs and runs: the nodes that functions and traces share, and
   questions. The structures themselves are in private.h.

   A function is what one module's forward does; a trace (trace/) is what a script does beside a program. Both are arrays of
   nodes in the order written, and a node's arguments are one argument stream (abi.h) in which LS_NODE entries name nodes of
   the same array by `aux` (their `p` is NULL, so that a recording does not hold itself). */
#ifndef LUASIGHT_MODEL_H
#define LUASIGHT_MODEL_H
#include "torch/torch.h"

/* ---- nodes (node.c) --------------------------------------------------------------------------------------------- */

typedef enum ls__node_kind {
  LS__INPUT,   /* function: one of its arguments */
  LS__OP,      /* an operator of libtorch */
  LS__GETITEM, /* stream: self, indices */
  LS__SETITEM, /* stream: self, value, indices */
  LS__SEQ,     /* stream: one LS_OPEN */
  LS__SHAPE,   /* function: stream: self */
  LS__CALL,    /* stream: arguments, keywords last; of the function in its slot, in a trace of its program */
  LS__TAP,     /* function: stream: value */
  LS__EITHER,  /* function: stream: arguments; its slot has two functions that give the same */
  LS__GUARD,   /* function: stream: value, and the value it was when a branch was chosen by it */
  LS__READ,    /* trace: the value at a point */
  LS__WRITE,   /* trace: stream: the value that replaces the one at the point */
  LS__ROWS,    /* trace: stream: a value at a point; gives the rows of the invoke */
  LS__TEXT,    /* trace: the ids that a generation gave */
  LS__PAD,     /* trace: stream: a number, to which the padding of the invoke is added */
  LS__GRAD,    /* trace: stream: the value whose gradient it is */
  LS__SETGRAD, /* trace: stream: the value, its gradient from here on */
  LS__BACKWARD,/* trace: stream: the loss, its gradient or none */
  LS__HOST     /* trace: stream: arguments of a function of the script */
} ls__node_kind;

/* What was written in one line of a forward or of a script. Once recorded it does not change, but that a script may save the
   value later. */
typedef struct ls__node {
  uint8_t kind;        /* LS__* */
  uint8_t saved;       /* trace: the value outlives the run */
  uint8_t flag;        /* trace: a write that skips its module, a backward that keeps its graph, a read that a skip may leave out */
  uint8_t stored;      /* trace: of a stored edit, which acts wherever its point comes */
  int32_t n;           /* length of the stream */
  ls_value *stream;
  int64_t site;        /* the line; see ls_op_call */
  int32_t slot;        /* function: ordinal among its calls, taps and eithers; trace: point of a read or write; else -1 */
  int32_t edits;       /* the node whose value it changes in place, of several one, else -1 */
  int32_t invoke;      /* trace: of a read, a write, rows; else the one in whose body it was written, -1: none */
  int32_t step;        /* trace: of a read or write */
  const ls_op *op;
  ls__call *call;      /* the operator, ready to run */
  ls_program *program; /* trace: that a call runs; retained */
} ls__node;

typedef struct ls__nodes {
  int32_t count, room;
  ls__node *at;
  uint8_t *kinds;      /* ls_kind expected of each node's value, LS_NONE where unknown */
} ls__nodes;

/* A node with all else left open. */
static inline ls__node ls__node_of(ls__node_kind kind, int64_t site) {
  return (ls__node){.kind = (uint8_t)kind, .site = site, .slot = -1, .edits = -1, .invoke = -1};
}

/* What functions and traces do each in their own way. */
typedef struct ls__owner_type {
  void (*retain)(void *owner, int32_t node);  /* a handle to a node */
  void (*release)(void *owner, int32_t node);
  /* The value of a node, borrowed. `open`: also where the owner is still recorded, if the node has run. */
  ls_status (*value)(void *owner, int32_t node, bool open, ls_value *out);
} ls__owner_type;

/* What functions and traces begin with. An LS_NODE value points to it. */
typedef struct ls__owner {
  const ls__owner_type *type;
  int32_t references;
  bool open;           /* being recorded */
  bool shapes;         /* a scan: tensors have no numbers */
  ls__nodes nodes;
} ls__owner;

void ls__nodes_start(void); /* values may point to nodes from here on */
/* Adds a node like `node` with a copy of the stream, in which values of other owners stand in the place of their nodes, and
   prepares the call of an operator. */
ls_status ls__node_add(ls__owner *o, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
int32_t ls__node_edits(const ls__node *node, int32_t k); /* the k-th node whose value it changes in place, -1: no more */
void ls__node_clear(ls__node *node);              /* what it was recorded with is released */
void ls__node_take_back(ls__nodes *nodes);        /* the last one, after a failure */
void ls__nodes_trim(ls__nodes *nodes);            /* gets no more nodes and gives back the room for them */
void ls__nodes_free(ls__nodes *nodes);
void ls__node_handle(ls__owner *o, int32_t id, ls_value *out); /* a handle to the node, a new reference */
bool ls__is_function(const ls__owner *o);
bool ls__is_node(const ls_value *v);              /* a handle to a node that exists; v may be NULL */
/* What a public function is given: a well-formed stream whose nodes exist; one value. */
ls_status ls__arguments_valid(const ls_value *stream, int32_t n);
ls_status ls__value_check(const ls_value *v);
/* Of the nodes in a stream the one owner that is open, NULL: none is; two, or a finished function, are an error. */
ls_status ls__open_owner(const ls_value *stream, int32_t n, ls__owner **out);
/* The stream with borrowed values in the place of nodes that have one: the stream itself where it has no nodes, else in
   `local` (LS__LOCAL cells) or fresh memory, which ls__resolved_free takes. */
ls_status ls__resolve(const ls_value *stream, int32_t n, ls_value *local, const ls_value **out);
void ls__resolved_free(const ls_value *resolved, const ls_value *stream, const ls_value *local);
enum { LS__LOCAL = 64 };
/* Puts the values of nodes in their place: borrowed, into `local` (LS__LOCAL cells) or fresh memory; NULL: out of memory. */
ls_value *ls__substitute(const ls_value *stream, int32_t n, const ls_value *values, ls_value *local);

/* ---- functions (function.c, structure.c, positionwise.c) ---------------------------------------------------------- */

ls_status ls__function_record(ls_function *f, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
uint8_t ls__function_kind(const ls_function *f);  /* ls_kind expected of its result */
ls_module *ls__function_module(const ls_function *f); /* borrowed, may be NULL */
bool ls__function_is_positionwise(const ls_function *f); /* one input, of which it treats every position alone */
/* The names of the struct that a function gives; false where they are not known. `names` has room for LS__LOCAL. */
bool ls__function_fields(const ls_function *f, const char **names, size_t *n);
ls_status ls__function_gives(const ls_function *f, const ls_value *given); /* `given` may stand for its result */
ls_status ls__same_structure(const ls_value *old, const ls_value *fresh);  /* `fresh` may replace `old` */

/* ---- modules (module.c) ------------------------------------------------------------------------------------------- */

ls_module *ls__module_retain(ls_module *m);
bool ls__module_path(const ls_module *root, const ls_module *m, char *path, size_t room); /* false: not below */
int32_t ls__module_axis(const ls_module *m, const char *point, int32_t otherwise); /* where the rows are, as declared */
const char *ls__module_class(const ls_module *m);
const char *ls__module_tensor_name(const ls_module *m, const void *tensor);       /* NULL: none of its own */
const char *ls__module_child_name(const ls_module *m, const ls_module *child);    /* NULL: none of its own */

/* ---- programs (program.c) ----------------------------------------------------------------------------------------- */

typedef struct ls__point_info {
  int32_t kind;            /* LS_POINT_* */
  const char *tap;         /* its name */
  int32_t instance;        /* the call that it belongs to */
  int32_t input, output;   /* points of that call */
  ls_function *function;   /* that is called; borrowed */
  ls_module *module;       /* of the call, or of the call around a form; borrowed, may be NULL */
} ls__point_info;

ls_program *ls__program_retain(ls_program *p);
ls_function *ls__program_function(const ls_program *p); /* borrowed */
ls__point_info ls__program_point(const ls_program *p, int32_t point);
ls__point_info ls__program_call(const ls_program *p, int32_t instance); /* as the output point of a call */
/* The call that gives element `key` of the result of a call, -1 where the element is something else or is used elsewhere
   in the function too. */
int32_t ls__program_maker(const ls_program *p, int32_t instance, const ls_value *key);
bool ls__program_edits(const ls_program *p);      /* it changes some value in place */
bool ls__program_trains(const ls_program *p);     /* some parameter of it needs a gradient */
bool ls__program_owns(const ls_program *p, void *tensor); /* it lies in a parameter, a buffer, or a constant of a forward */
const ls_value *ls__program_changed(const ls_program *p, int32_t *n); /* what of these a forward changes in place; borrowed */
ls_status ls__program_map(ls_program *from, ls_program *to, int32_t **out); /* NULL: the same numbers; -1: not there */
ls_status ls__program_execute(ls_program *p, const ls_value *args, int32_t n, ls_value *out); /* no LS_NODE inside */

/* ---- arguments (arguments.c): no LS_NODE inside --------------------------------------------------------------------- */

ls_status ls__own(const ls_value *stream, int32_t n, ls_value *out); /* one argument as a value; sequences are copied */
ls_status ls__own_memory(ls_value *v); /* copies the tensors too */
ls_status ls__arguments_keep(const ls_value *args, int32_t n, ls_value **out); /* a stream of its own, versions noted */
ls_status ls__arguments_unchanged(const ls_value *stream, int32_t n, const char *what); /* as they were when kept */
ls_status ls__arguments_check(const ls_value *args, int32_t n); /* a value of an open trace among them is an error */
bool ls__stream_shares(const ls_value *stream, int32_t n, void *tensor); /* some tensor of it lies in that memory */

/* ---- runs (run.c) --------------------------------------------------------------------------------------------------- */

typedef struct ls__run ls__run;

/* Who looks on while a program runs. */
typedef struct ls__watcher {
  ls_status (*protect)(void *who, void *tensor); /* the model is about to change it in place */
  bool (*replaces)(void *who);                   /* what comes next is a replacement of all that the point holds */
  ls_status (*cut)(void *who, const ls_value *argument, ls_value *out); /* of the narrowed call; a new reference */
} ls__watcher;

ls_status ls__run_new(ls_program *p, const ls_value *args, int32_t n, ls__run **out); /* no LS_NODE inside */
void ls__run_free(ls__run *r);
void ls__run_watch(ls__run *r, const ls__watcher *watcher, void *who);
void ls__run_narrow(ls__run *r, int32_t instance);  /* the argument of this call is cut; -1: of none */
ls_status ls__run_until(ls__run *r, int32_t point); /* until it stands at the point or has ended */
ls_status ls__run_finish(ls__run *r, ls_value *out); /* to its end; the result */
bool ls__run_stands_at(const ls__run *r, int32_t point);
ls_value *ls__run_value(ls__run *r);                /* at the point where it stands; for an input the pair */
ls_program *ls__run_program(const ls__run *r);      /* borrowed */
ls_value *ls__run_arguments(ls__run *r, int32_t *n);  /* the stream that it was given; before it moves on */
void ls__run_swap(ls__run *r, void *old, const ls_value *fresh); /* one tensor for another, in all that it holds */
bool ls__run_borrows(const ls__run *r, void *tensor); /* the tensor's memory is that of an argument or a parameter */
ls_status ls__node_execute(const ls__node *node, const ls_value *values, ls_value *out); /* ops, items, sequences, shapes */
extern bool ls__interrupt_handled;   /* see LS_START_INTERRUPT */
void ls__interrupt_guard(bool on);   /* while on, Ctrl-C stops the run */
ls_status ls__interrupt_listen(void); /* before each node: fails once after Ctrl-C */
ls_status ls__interrupt_check(void);  /* the same, at the end */

/* ---- texts (function_json.c) ---------------------------------------------------------------------------------------- */

extern const char *const ls__node_words[]; /* by kind */
json_t *ls__shape_json(const ls_tensor_info *info);
/* The arguments of a node as JSON. A tensor is named where it is one of `m`'s own; else it is described, with its numbers
   where they are asked for. */
json_t *ls__arguments_json(const ls_module *m, const ls_value *stream, int32_t n, bool numbers);
const char *ls__json_kept(json_t *o); /* the text of `o`, which is released; valid until the next call */
#endif
