/* What the layers above may know of modules, functions, programs and runs: the nodes that functions and traces share, and functions that
   ask about them. The structures themselves are in private.h.

   A function is what one module's forward does; a trace (trace/) is what a script does beside a program. Both are arrays of nodes in the
   order written. A node's arguments are one argument stream (abi.h), in which an LS_NODE entry names a node of the same array by `aux`;
   its `p` is NULL, so that a recording does not hold itself. */
#ifndef LUASIGHT_MODEL_H
#define LUASIGHT_MODEL_H
#include "torch/torch.h"

/* ---- nodes (node.c) --------------------------------------------------------------------------------------------- */

typedef enum ls__node_kind {
  LS__INPUT,   /* in a function: one of its arguments */
  LS__OP,      /* an operator of libtorch */
  LS__GETITEM, /* self[indices]; the stream: self, indices */
  LS__SETITEM, /* self[indices] = value; the stream: self, value, indices */
  LS__SEQ,     /* a sequence; the stream: LS_OPEN and what follows it */
  LS__SHAPE,   /* in a function: the sizes of a tensor; the stream: the tensor */
  LS__CALL,  /* a call of the function in the node's slot, or in a trace of the node's program; the stream: the arguments, keywords last */
  LS__TAP,     /* in a function: a value with a name; the stream: the value */
  LS__EITHER,  /* in a function: a call of one of the two functions in the node's slot (plain, fused); the stream: the arguments */
  LS__GUARD,   /* in a function: fails where a value differs from the one that chose a branch; the stream: the value, and that value */
  LS__READ,    /* in a trace: the value at a point */
  LS__WRITE,   /* in a trace: a replacement; the stream: the value that replaces the one at the point */
  LS__ROWS,    /* in a trace: the rows of the invoke; the stream: the value at the point */
  LS__TEXT,    /* in a trace: the token ids that a generation made */
  LS__PAD,     /* in a trace: a number plus the invoke's columns of padding; the stream: the number */
  LS__GRAD,    /* in a trace: a gradient; the stream: the value whose gradient it is */
  LS__SETGRAD, /* in a trace: an assignment to a gradient; the stream: the value, its new gradient */
  LS__BACKWARD,/* in a trace: a backward; the stream: the loss, and the loss's gradient or LS_NONE */
  LS__HOST     /* in a trace: a call of a function of the script; the stream: the arguments */
} ls__node_kind;

/* What one line of a forward or of a script says. Once recorded, a node does not change, except that a script may save its value later. */
typedef struct ls__node {
  uint8_t kind;        /* one of LS__* above */
  uint8_t saved;       /* in a trace: the value stays after the run */
  uint8_t flag;        /* in a trace: of a write, that the module is skipped; of a backward, that it keeps its graph; of a read, that a
                          skip may leave it out */
  uint8_t stored;      /* in a trace: the node is a copy from a stored edit, which does nothing where the run does not reach its point */
  int32_t n;           /* the length of the stream */
  ls_value *stream;
  int64_t site;        /* the script position; see ls_op_call */
  int32_t slot;        /* in a function: the number of its slot; in a trace: the point of a read or write; else -1 */
  int32_t edits;       /* the node whose value this one changes in place (one of them where it changes several), else -1 */
  int32_t invoke;      /* in a trace: the invoke of a read, a write or rows, else the one in whose body the node was written; -1: none */
  int32_t step;        /* in a trace: the step of a read or write */
  const ls_op *op;
  ls__call *call;      /* the operator with its overload chosen and its constants converted */
  ls_program *program; /* in a trace: the program that a call runs; retained */
} ls__node;

typedef struct ls__nodes {
  int32_t count, room;
  ls__node *at;
  uint8_t *kinds;      /* for each node the ls_kind that its value will have, LS_NONE where unknown */
} ls__nodes;

/* A node of the given kind and script position; all other fields are empty. */
static inline ls__node ls__node_of(ls__node_kind kind, int64_t site) {
  return (ls__node){.kind = (uint8_t)kind, .site = site, .slot = -1, .edits = -1, .invoke = -1};
}

/* What functions and traces each implement in their own way. */
typedef struct ls__owner_type {
  void (*retain)(void *owner, int32_t node);  /* called when a handle to a node is made */
  void (*release)(void *owner, int32_t node);
  /* The value of a node, borrowed. With `open`, a node that has run has a value even while its owner is still being recorded. */
  ls_status (*value)(void *owner, int32_t node, bool open, ls_value *out);
} ls__owner_type;

/* The part with which functions and traces begin. The pointer in an LS_NODE value is to this part. */
typedef struct ls__owner {
  const ls__owner_type *type;
  int32_t references;
  bool open;           /* whether nodes can still be recorded */
  bool shapes;         /* whether this is a scan, whose tensors have no numbers */
  ls__nodes nodes;
} ls__owner;

void ls__nodes_start(void); /* has to run before the first value of kind LS_NODE is made */
/* Adds a copy of `node` with a copy of the stream, in which nodes of other owners are replaced by their values; prepares the call of an
   operator. `id` is the number of the new node. */
ls_status ls__node_add(ls__owner *o, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
int32_t ls__node_edits(const ls__node *node, int32_t k); /* the k-th node whose value this node changes in place; -1 where k is too large */
void ls__node_clear(ls__node *node);              /* releases the node's stream, call and program */
void ls__node_take_back(ls__nodes *nodes);        /* removes the last node, after a failure */
void ls__nodes_trim(ls__nodes *nodes);            /* frees the room for further nodes */
void ls__nodes_free(ls__nodes *nodes);
void ls__node_handle(ls__owner *o, int32_t id, ls_value *out); /* makes a handle to a node; a new reference */
bool ls__is_function(const ls__owner *o);
bool ls__is_node(const ls_value *v);              /* whether `v` is a handle to a node that exists; `v` may be NULL */
/* Both check what a public function is given: the first a well-formed stream whose nodes exist, the second exactly one value. */
ls_status ls__arguments_valid(const ls_value *stream, int32_t n);
ls_status ls__value_check(const ls_value *v);
/* Finds the only open owner of the nodes in a stream; NULL where no node has one. Fails where there are two, or where a node's function
   is finished. */
ls_status ls__open_owner(const ls_value *stream, int32_t n, ls__owner **out);
/* Replaces the nodes in a stream by their values, borrowed. `out` is the stream itself where it has no nodes; else it is `local`
   (LS__LOCAL values) or new memory, which ls__resolved_free frees. */
ls_status ls__resolve(const ls_value *stream, int32_t n, ls_value *local, const ls_value **out);
void ls__resolved_free(const ls_value *resolved, const ls_value *stream, const ls_value *local);
enum { LS__LOCAL = 64 };
/* Copies a stream and replaces its nodes by values[node], borrowed. The result is `local` (LS__LOCAL values) or new memory; NULL: out of
   memory. */
ls_value *ls__substitute(const ls_value *stream, int32_t n, const ls_value *values, ls_value *local);

/* ---- functions (function.c, structure.c, positionwise.c) ---------------------------------------------------------- */

ls_status ls__function_record(ls_function *f, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
uint8_t ls__function_kind(const ls_function *f);  /* the ls_kind that its result will have */
ls_module *ls__function_module(const ls_function *f); /* borrowed, may be NULL */
int32_t ls__function_positional(const ls_function *f); /* the number of inputs without a keyword */
bool ls__function_has_input(const ls_function *f, const char *keyword);
bool ls__function_is_positionwise(const ls_function *f); /* whether it has one input and treats every position of that alone */
/* Writes the names of the fields of the struct that a function returns; false where they are not known. `names` has room for LS__LOCAL. */
bool ls__function_fields(const ls_function *f, const char **names, size_t *n);
ls_status ls__function_gives(const ls_function *f, const ls_value *given); /* fails where `given` cannot replace the function's result */
ls_status ls__same_structure(const ls_value *old, const ls_value *fresh);  /* fails where `fresh` cannot replace `old` */

/* ---- modules (module.c) ------------------------------------------------------------------------------------------- */

ls_module *ls__module_retain(ls_module *m);
bool ls__module_path(const ls_module *root, const ls_module *m, char *path, size_t room); /* false where `m` is not below `root` */
/* The axis of the rows that the module declares for the point, else `otherwise`. */
int32_t ls__module_axis(const ls_module *m, const char *point, int32_t otherwise);
const char *ls__module_class(const ls_module *m);
const char *ls__module_tensor_name(const ls_module *m, const void *tensor);  /* NULL where the module itself does not have the tensor */
const ls_value *ls__module_tensor(const ls_module *m, const char *name);  /* borrowed; NULL where the module itself has no such tensor */
ls_module *ls__module_find(ls_module *root, const char *path, size_t length);     /* borrowed; NULL where there is no such module */

/* ---- programs (program.c) ----------------------------------------------------------------------------------------- */

typedef struct ls__point_info {
  int32_t kind;            /* one of LS_POINT_* */
  const char *tap;         /* the name of a tap */
  int32_t instance;        /* the call that the point belongs to */
  int32_t input, output;   /* the input point and the output point of that call */
  ls_function *function;   /* the function that is called; borrowed */
  ls_module *module;       /* the module of the call, or of the call around a form of an attention; borrowed, may be NULL */
} ls__point_info;

ls_program *ls__program_retain(ls_program *p);
ls_function *ls__program_function(const ls_program *p); /* borrowed */
ls__point_info ls__program_point(const ls_program *p, int32_t point);
ls__point_info ls__program_call(const ls_program *p, int32_t instance); /* the output point of a call */
/* The call inside `instance` that computes element `key` of the result of `instance`; -1 where the element is no result of a call, or is
   used elsewhere in the function too. */
int32_t ls__program_maker(const ls_program *p, int32_t instance, const ls_value *key);
bool ls__program_edits(const ls_program *p);      /* whether a run changes some value in place */
bool ls__program_trains(const ls_program *p);     /* whether some parameter of it requires a gradient */
bool ls__program_owns(const ls_program *p, void *tensor); /* whether the tensor's memory is that of a parameter, a buffer, or a constant
                                                             of a forward */
const ls_value *ls__program_changed(const ls_program *p, int32_t *n); /* the parameters, buffers and constants that a forward changes in
                                                                         place; borrowed */
/* Maps the points of `from` to those of `to`, -1 where missing; NULL where all are the same. */
ls_status ls__program_map(ls_program *from, ls_program *to, int32_t **out);
ls_status ls__program_execute(ls_program *p, const ls_value *args, int32_t n, ls_value *out); /* `args` without nodes */

/* ---- arguments (arguments.c): no LS_NODE inside --------------------------------------------------------------------- */

ls_status ls__own(const ls_value *stream, int32_t n, ls_value *out); /* copies one argument with its sequences; tensors are shared */
ls_status ls__own_memory(ls_value *v); /* copies the tensors in the value too */
ls_status ls__arguments_keep(const ls_value *args, int32_t n, ls_value **out); /* copies a stream and notes the versions of its tensors */
/* Fails with the text `what` where a tensor was changed since ls__arguments_keep. */
ls_status ls__arguments_unchanged(const ls_value *stream, int32_t n, const char *what);
ls_status ls__arguments_check(const ls_value *args, int32_t n); /* fails where a value of an open trace is among them */
bool ls__stream_shares(const ls_value *stream, int32_t n, void *tensor); /* whether a tensor in it shares memory with `tensor` */

/* ---- runs (run.c) --------------------------------------------------------------------------------------------------- */

typedef struct ls__run ls__run;

/* What a run asks of the trace that watches it; `who` is the trace. */
typedef struct ls__watcher {
  ls_status (*protect)(void *who, void *tensor); /* called before the model changes a tensor in place */
  bool (*replaces)(void *who);                   /* whether the nodes at the target point replace its whole value without reading it, so
                                                    that the call need not run */
  /* Cuts the argument of the narrowed call; `out` is a new reference. */
  ls_status (*cut)(void *who, const ls_value *argument, ls_value *out);
} ls__watcher;

ls_status ls__run_new(ls_program *p, const ls_value *args, int32_t n, ls__run **out); /* `args` without nodes */
void ls__run_free(ls__run *r);
void ls__run_watch(ls__run *r, const ls__watcher *watcher, void *who);
void ls__run_narrow(ls__run *r, int32_t instance);  /* lets the watcher cut the argument of this call; -1: of no call */
ls_status ls__run_until(ls__run *r, int32_t point); /* until the run is paused at the point, or has ended */
ls_status ls__run_finish(ls__run *r, ls_value *out); /* runs to the end; `out` is the result */
bool ls__run_stands_at(const ls__run *r, int32_t point);
ls_value *ls__run_value(ls__run *r);  /* the value at the point where the run is paused; at an input the pair ((positional), {keywords}) */
ls_program *ls__run_program(const ls__run *r);      /* borrowed */
ls_value *ls__run_arguments(ls__run *r, int32_t *n);  /* the stream of the run's arguments, as long as the run has not begun */
void ls__run_swap(ls__run *r, void *old, const ls_value *fresh); /* replaces one tensor by another in all that the run holds */
bool ls__run_borrows(const ls__run *r, void *tensor); /* whether the tensor's memory is that of an argument or a parameter */
/* For operators, items, sequences, sizes and guards. */
ls_status ls__node_execute(const ls__node *node, const ls_value *values, ls_value *out);
extern bool ls__interrupt_handled;   /* whether the library may handle SIGINT (LS_START_INTERRUPT) */
void ls__interrupt_guard(bool on);   /* with `on`, Ctrl-C stops the run until it is called without */
ls_status ls__interrupt_listen(void); /* called before each node: fails once after Ctrl-C */
ls_status ls__interrupt_check(void);  /* called at the end of a run: fails once after Ctrl-C */

/* ---- texts: writing (graph_json.c) ----------------------------------------------------------------------------------- */

/* A JSON text being made. The first failure stays in `status`, and later steps do nothing of use: the caller checks it once, at the end. */
typedef struct ls__json {
  const ls_module *module;    /* of a trace: its module, whose tensors are written by their names; NULL: none */
  bool numbers;               /* of a trace: other tensors are written with their numbers */
  struct ls__json_form *form; /* of a function: the lists in which its tensors, modules and functions have numbers; NULL: of a trace */
  ls_status status;
} ls__json;

json_t *ls__json_made(ls__json *out, json_t *value);                  /* notes that memory ran out where `value` is NULL */
json_t *ls__json_string(ls__json *out, const char *text);             /* fails also where the text is not valid UTF-8 */
json_t *ls__json_integer(ls__json *out, int64_t i);
json_t *ls__json_with(ls__json *out, const char *key, json_t *value); /* an object with one field; takes the reference to `value` */
void ls__json_put(ls__json *out, json_t *object, const char *key, json_t *value); /* takes the reference to `value` */
void ls__json_add(ls__json *out, json_t *list, json_t *value);                    /* takes the reference to `value` */
json_t *ls__json_tensor(ls__json *out, const ls_value *tensor, bool numbers); /* a tensor's dtype, shape and, with `numbers`, numbers */
json_t *ls__json_arguments(ls__json *out, const ls_value *s, int32_t n);
json_t *ls__json_value(ls__json *out, const ls_value *s, int32_t n, int32_t *i); /* the value that begins at s[*i]; moves *i behind it */
/* Puts the compact text of `value` into `*kept` and frees the old text there; takes the reference to `value`. */
ls_status ls__json_finish(ls__json *out, json_t *value, char **kept);
const char *ls__node_word(int32_t kind);
int32_t ls__node_kind_of(const char *word); /* -1 where no kind has that word */

/* ---- texts: reading --------------------------------------------------------------------------------------------------

   A text may come from a stranger. It is read in two parts: the first checks all of it, the second makes nodes and functions
   of it and trusts the first. Both go through the JSON as jansson holds it.

     graph_read.c                       checks the text, its size and its tensors
     function_read.c                    checks the modules and functions in the text of a function
     graph_check.c, graph_check_value.c check nodes: kinds, arguments, references, names of operators
     graph_build.c                      makes the nodes of a checked graph
     function_build.c                   makes a function of them and of the weights that the caller sets */

enum { LS__READ_SHOWN = 96 }; /* room for a name from a file in an error */

/* One function, or one stored edit, in a text that is read. */
typedef struct ls__read_graph {
  const json_t *nodes, *result;
  int32_t module;                 /* of a function: the number of its module; -1: a form of an attention, which has none */
  int32_t positional, inputs;
  int32_t slots;
  int32_t depth;                  /* how deep functions call each other below this one */
  int64_t calls, points;          /* how many calls and points one run of it has */
  int32_t steps;                  /* whether an edit names its steps itself */
} ls__read_graph;

typedef struct ls__read_call {    /* a call of a module of the model by a stored edit */
  int32_t graph, node;
  const json_t *arguments;
  const char *path;
  int32_t positional, keywords;
  ls_program *program;            /* retained; NULL: not set yet */
} ls__read_call;

struct ls_reader {
  char *name;                     /* the name of the file, for errors */
  json_t *text;
  bool is_function;
  int32_t graph_count, tensor_count, module_count, call_count, call_room;
  ls__read_graph *graphs;
  const json_t *tensors, *modules;
  ls_value *values;               /* for each tensor its value; LS_NONE: a weight that is not set yet */
  ls__read_call *calls;
};

/* The place in the text at which something is wrong. */
typedef struct ls__read_place {
  ls_reader *reader;
  int32_t graph, node;            /* the number of the graph and of the node in it, -1 where there is none */
  const char *kind, *name;        /* the node's kind and name, as far as known */
} ls__read_place;

/* Fails with an error that names the file, the node and what is wrong with the node. */
ls_status ls__read_fail(const ls__read_place *at, ls_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* the analyzer cannot see into another file that ls__read_fail never returns LS_OK */
#define ls__read_fail(at, code, ...) ((ls__read_fail)(at, code, __VA_ARGS__), (code))
#endif
const char *ls__read_shown(const json_t *text, char *room); /* a text of the file without control characters, for an error; `room` has
                                                               LS__READ_SHOWN bytes */
/* Whether a value is a list: an array, or the empty object that some writers of JSON make of an empty list. */
bool ls__read_is_list(const json_t *value);
/* Fails where an object has a field that is not among `known`, which ends with NULL. */
ls_status ls__read_known(const ls__read_place *at, const json_t *object, const char *const *known);
ls_status ls__read_check(ls_reader *r, int32_t graph);       /* checks all nodes of a graph */
/* Reads a text; `check` then checks all that the text holds. */
ls_status ls__read_any(const char *json, size_t length, const char *name, bool is_function, ls_status (*check)(ls_reader *),
                       ls_reader **out);

/* The state while nodes of a checked graph are recorded in a function or a trace. */
typedef struct ls__build {
  ls__read_place at;
  ls__owner *owner;
  /* Adds a node to the owner. */
  ls_status (*record)(void *owner, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
  /* Records the current node where its kind is not one that functions and traces share. */
  ls_status (*make)(struct ls__build *b, int32_t *id);
  const void *context;            /* an argument of `make` */
  const ls_module *module;        /* the module whose parameters an edit names; NULL: none */
  const json_t *node;
  int32_t kind;
  int32_t *ids;                   /* for each node of the text its number in the owner; -1: it has no value */
  ls_value *stream;               /* the arguments of the current node */
  int32_t n, room;
  ls_value *owned;                /* tensors that were made for these arguments */
  int32_t owned_count, owned_room;
} ls__build;

ls_status ls__build_nodes(ls__build *b);  /* where recording fails, the error gets the place in the text */
void ls__build_free(ls__build *b);
#endif
