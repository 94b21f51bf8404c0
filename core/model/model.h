/* What the layers above may know of modules, functions, programs and runs: the nodes that functions and traces share, and functions that
   ask about them. The structures themselves are in private.h.

   A function is what one module's forward does; a trace (trace/) is what a script does beside a program. Both are arrays of nodes in the
   order written. A node's arguments are one argument stream (abi.h), in which an LS_NODE entry names a node of the same array by `aux`;
   the `p` of such an entry is NULL, so that a recording has no reference to itself. */
#ifndef LUASIGHT_MODEL_H
#define LUASIGHT_MODEL_H
#include "torch/torch.h"

/* ---- nodes (node.c) --------------------------------------------------------------------------------------------- */

typedef enum ls__node_kind {
  LS__INPUT,   /* one of the inputs of a function */
  LS__OP,      /* an operator of libtorch; the node's stream holds its arguments */
  LS__GETITEM, /* self[indices]; the node's stream holds self and the indices */
  LS__SETITEM, /* self[indices] = value; the node's stream holds self, the value and the indices */
  LS__SEQ,     /* a sequence; the node's stream holds LS_OPEN and the elements */
  LS__SHAPE,   /* the sizes of a tensor, in functions only; the node's stream holds the tensor */
  /* a call: in a function that of the function in the node's slot, in a trace that of the node's program; the node's stream holds the
     arguments, keywords last */
  LS__CALL,
  LS__TAP,     /* a tap, in functions only: a value with a name; the node's stream holds the value */
  /* a call of one of two functions that compute the same, the plain or the fused one, in functions only; the node's stream holds the
     arguments */
  LS__TWO_FORMS,
  /* a check, in functions only, that fails where a value differs from the value that chose a branch of the forward; the node's stream holds
     both values */
  LS__GUARD,
  LS__READ,    /* a read, in traces only: the value at a point */
  LS__WRITE,   /* a replacement of the value at a point, in traces only; the node's stream holds the new value */
  LS__ROWS,    /* the rows of one invoke, in traces only; the node's stream holds the value with the rows of all invokes */
  LS__TEXT,    /* the token ids that a generation made, in traces only */
  LS__PAD,     /* a number plus the count of the invoke's padding columns, in traces only; the node's stream holds the number */
  LS__GRAD,    /* a gradient, in traces only; the node's stream holds the value whose gradient it is */
  LS__SETGRAD, /* an assignment to a gradient, in traces only; the node's stream holds the value and its new gradient */
  LS__BACKWARD,/* a backward, in traces only; the node's stream holds the loss, and the loss's gradient or LS_NONE */
  LS__HOST,    /* a call of a function of the script, in traces only; the node's stream holds the arguments */
  LS__SEE,     /* a read at a point of a call with points of its own, in traces only; see trace/hook.c */
  LS__PUT      /* a replacement of the value at such a point, in traces only; the node's stream holds the new value */
} ls__node_kind;

/* A node: one step of a recording, such as an operator, a read or a call. Once recorded, a node does not change, except that a script may
   save its value later. */
typedef struct ls__node {
  uint8_t kind;        /* the kind of the node: an ls__node_kind such as LS__OP */
  uint8_t saved;       /* 1 where a trace saves the value, so that it stays after the run */
  /* In a function, on an operator of arithmetic: which one (numbers.c). In a trace, on a write: the module does not run; on LS__SEE: it gives
     the result of its call; on a backward: autograd's graph is kept; on a read: it may stay unset where a skip leaves out its point */
  uint8_t flag;
  /* 1 where the node is a copy from a stored edit; such a node does nothing where the run does not reach the node's point */
  uint8_t stored;
  uint8_t autograd;    /* an ls__autograd: whether the node runs with autograd off or on, or as its run has autograd */
  int32_t n;           /* the number of values in `stream`, the node's arguments */
  ls_value *stream;
  int64_t site;        /* the script position (file and line) that errors name; see ls_op_call */
  int32_t slot;        /* in a function the number of the node's ls__slot; in a trace the point that the node reads or writes; else -1 */
  int32_t edits;       /* the node whose value this node changes in place, or one of them where it changes several; else -1 */
  /* in a trace the number of an invoke: of the one whose value the node reads or writes at a point, or, for other nodes, of the one in
     whose body the node was recorded; -1 where there is none */
  int32_t invoke;
  int32_t step;        /* in a trace the step of a generation in which the node reads or writes, else 0 */
  int32_t hook;        /* in a trace, where the node belongs to a call with points of its own, the number of this call; else -1 */
  const ls_op *op;
  ls__call *call;      /* the prepared call of `op`: its overload is chosen and its constant arguments are converted */
  ls_program *program; /* in a trace the program that a call runs; retained */
} ls__node;

/* What a script says of autograd where it records a node, by torch.no_grad or torch.enable_grad; LS__AUTOGRAD_RUN where it says nothing. */
typedef enum ls__autograd { LS__AUTOGRAD_RUN = 0, LS__AUTOGRAD_OFF = 1, LS__AUTOGRAD_ON = 2 } ls__autograd;
extern uint8_t ls__recorded_autograd; /* the ls__autograd of the nodes that are recorded now */

typedef struct ls__nodes {
  int32_t count, room;
  ls__node *at;
  uint8_t *kinds;      /* for each node the ls_kind that its value will have, LS_NONE where unknown */
} ls__nodes;

/* Returns a node of the given kind and script position, whose other fields are empty. */
static inline ls__node ls__node_of(ls__node_kind kind, int64_t site) {
  return (ls__node){.kind = (uint8_t)kind, .autograd = ls__recorded_autograd, .site = site, .slot = -1, .edits = -1, .invoke = -1,
                    .hook = -1};
}

/* The operations on recordings that functions and traces each implement in their own way. */
typedef struct ls__owner_type {
  void (*retain)(void *owner, int32_t node);  /* is called when a handle to a node is made */
  void (*release)(void *owner, int32_t node);
  /* Writes the value of a node to `out`, borrowed. With `open`, a node that has run has a value even while its function or trace is still
     being recorded. */
  ls_status (*value)(void *owner, int32_t node, bool open, ls_value *out);
} ls__owner_type;

/* The first part of the structures ls_function and ls_trace. The pointer in a value of kind LS_NODE points to this part. */
typedef struct ls__owner {
  const ls__owner_type *type;
  int32_t references;
  bool open;           /* whether the recording is still open, so that nodes can be added */
  bool shapes;         /* whether this is a scan: a trace whose tensors have shapes and dtypes but no numbers */
  ls__nodes nodes;
} ls__owner;

void ls__nodes_start(void); /* registers how handles to nodes are counted; has to run before the first value of kind LS_NODE is made */
/* Adds a copy of `node` to the recording `o`, with a copy of `stream` in which nodes of other recordings are replaced by their values, and
   prepares the call where the node is an operator. `id` becomes the number of the new node. */
ls_status ls__node_add(ls__owner *o, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
/* returns the k-th of the nodes whose values `node` changes in place; -1 where `node` changes fewer values */
int32_t ls__node_edits(const ls__node *node, int32_t k);
void ls__node_clear(ls__node *node);              /* releases the node's stream, call and program */
void ls__node_take_back(ls__nodes *nodes);        /* removes the node added last, after a failure */
void ls__nodes_trim(ls__nodes *nodes);            /* frees the memory that was kept for further nodes */
void ls__nodes_free(ls__nodes *nodes);
void ls__node_handle(ls__owner *o, int32_t id, ls_value *out); /* makes a handle to node `id` in `out`, which is a new reference */
bool ls__is_function(const ls__owner *o);
bool ls__is_node(const ls_value *v);              /* whether `v` is a handle to a node that exists; `v` may be NULL */
/* The two functions below check arguments of public functions: ls__arguments_valid that a stream is well formed and its nodes exist,
   ls__value_check that `v` is exactly one value. */
ls_status ls__arguments_valid(const ls_value *stream, int32_t n);
ls_status ls__value_check(const ls_value *v);
/* Finds the function or trace that is still being recorded and has nodes in the stream; NULL where there is none. Fails where there are
   two, or where a node belongs to a finished function. */
ls_status ls__open_owner(const ls_value *stream, int32_t n, ls__owner **out);
/* Replaces the nodes in a stream by their values, borrowed. `out` is the stream itself where it has no nodes; else it is `local`
   (LS__LOCAL values) or new memory, which ls__resolved_free frees. */
ls_status ls__resolve(const ls_value *stream, int32_t n, ls_value *local, const ls_value **out);
void ls__resolved_free(const ls_value *resolved, const ls_value *stream, const ls_value *local);
enum { LS__LOCAL = 64 };
/* Copies a stream and replaces the nodes in the copy by values[node], borrowed. The copy is in `local` (LS__LOCAL values) or in new memory;
   NULL when out of memory. */
ls_value *ls__substitute(const ls_value *stream, int32_t n, const ls_value *values, ls_value *local);

/* ---- functions (function.c, structure.c, positionwise.c) ---------------------------------------------------------- */

/* The function to which operators without a node among their arguments belong (ls_record); NULL where they are computed at once. */
ls_function *ls__recording(void);
ls_status ls__function_record(ls_function *f, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
uint8_t ls__function_kind(const ls_function *f);  /* the ls_kind that the function's result will have, LS_NONE where unknown */
ls_module *ls__function_module(const ls_function *f); /* the module whose forward the function is; borrowed, may be NULL */
int32_t ls__function_positional(const ls_function *f); /* the number of the function's inputs that have no keyword */
bool ls__function_has_input(const ls_function *f, const char *keyword);
/* whether the function has one input and computes each position from the same position of that input alone */
bool ls__function_is_positionwise(const ls_function *f);
/* Writes the field names of the struct that a function returns to `names`, which has room for LS__LOCAL of them; false where they are not
   known. */
bool ls__function_fields(const ls_function *f, const char **names, size_t *n);
/* fails where `given` cannot replace the function's result */
ls_status ls__function_may_return(const ls_function *f, const ls_value *given);
/* fails where `fresh` cannot replace `old`, since kinds, lengths or field names differ */
ls_status ls__same_structure(const ls_value *old, const ls_value *fresh);

/* ---- modules (module.c) ------------------------------------------------------------------------------------------- */

ls_module *ls__module_retain(ls_module *m);
/* writes the path from `root` down to `m`, such as "h.0.attn"; false where `m` is not below `root` */
bool ls__module_path(const ls_module *root, const ls_module *m, char *path, size_t room);
/* Returns the axis of a batch's rows that the module `m` declares for a point, or `otherwise` where it declares none. */
int32_t ls__module_axis(const ls_module *m, const char *point, int32_t otherwise);
const char *ls__module_class(const ls_module *m);
/* the name of the tensor in `m`; NULL where the tensor is not one of `m` itself */
const char *ls__module_tensor_name(const ls_module *m, const void *tensor);
/* the parameter or buffer of `m` itself with that name, borrowed; NULL where there is none */
const ls_value *ls__module_tensor(const ls_module *m, const char *name);
/* the module at a path below `root`, borrowed; NULL where there is none */
ls_module *ls__module_find(ls_module *root, const char *path, size_t length);

/* ---- programs (program.c) ----------------------------------------------------------------------------------------- */

typedef struct ls__point_info {
  int32_t kind;            /* what is at the point, a module's input, its output or a tap: one of LS_POINT_* */
  const char *tap;         /* where the point is a tap, its name */
  int32_t instance;        /* the number of the call of a function that the point belongs to */
  int32_t input, output;   /* the numbers of the input point and the output point of the call `instance` */
  ls_function *function;   /* the function that the call `instance` calls; borrowed */
  /* the module of the call `instance`; borrowed, may be NULL. The plain and the fused function of an attention have no module: for a call
     of one of them this is the module around the call. */
  ls_module *module;
} ls__point_info;

ls_program *ls__program_retain(ls_program *p);
ls_function *ls__program_function(const ls_program *p); /* borrowed */
ls__point_info ls__program_point(const ls_program *p, int32_t point);
ls__point_info ls__program_call(const ls_program *p, int32_t instance); /* the output point of the call `instance` */
/* Returns the number of the call inside the call `instance` that computes element `key` of the result of `instance`; -1 where no call
   computes that element, or where the function uses the element elsewhere too. */
int32_t ls__program_maker(const ls_program *p, int32_t instance, const ls_value *key);
bool *ls__program_brief(ls_program *p);           /* a flag of the program for ls__interrupt_begin: whether the last run was brief */
bool ls__program_edits(const ls_program *p);      /* whether a run of the program changes some value in place */
bool ls__program_trains(const ls_program *p);     /* whether some parameter that the program uses requires a gradient */
bool ls__program_owns(const ls_program *p, void *tensor); /* whether the tensor's memory is that of a parameter, a buffer, or a constant
                                                             of a forward */
/* the tensors (parameters, buffers and constants) that a forward of the program changes in place; borrowed */
const ls_value *ls__program_changed(const ls_program *p, int32_t *n);
/* Makes in `out` an array with, for each point of `from`, the number of the same point in `to`, or -1 where `to` lacks the point; NULL
   where all numbers are the same. */
ls_status ls__program_map(ls_program *from, ls_program *to, int32_t **out);
/* runs a program to its end; the stream `args` must hold no nodes */
ls_status ls__program_execute(ls_program *p, const ls_value *args, int32_t n, ls_value *out);

/* ---- origins (origin.c) ------------------------------------------------------------------------------------------- */

/* A node in one call of a function, where tensors that arrive at a point were made; `key` is the element of its value that arrives, LS_NONE
   for all of it. */
typedef struct ls__origin {
  int32_t instance, node;
  ls_value key;
} ls__origin;

typedef struct ls__origins {
  ls__origin *at;
  int32_t count, room;
  int32_t *points;         /* the points that the tensors pass on their way, at which a script may have replaced them */
  int32_t point_count, point_room;
} ls__origins;

/* Adds to `o` the origins of the value at a point; `first` and `second` are the indices with which a script takes an element of it, LS_NONE
   for all elements. */
ls_status ls__program_origins(const ls_program *p, int32_t point, const ls_value *first, const ls_value *second, ls__origins *o);
void ls__origins_free(ls__origins *o);

/* ---- arguments (arguments.c): no LS_NODE inside --------------------------------------------------------------------- */

/* copies the one value in a stream with the sequences in it; the copy shares the tensors */
ls_status ls__own(const ls_value *stream, int32_t n, ls_value *out);
/* replaces the tensors and sequences in a value by copies, so that the value shares memory with no other value */
ls_status ls__own_memory(ls_value *v);
void ls__version_note(ls_value *v); /* notes in `aux` of a tensor or a sequence the version of its tensors, for ls__arguments_unchanged */
/* copies a stream and notes the versions of its tensors, for ls__arguments_unchanged */
ls_status ls__arguments_keep(const ls_value *args, int32_t n, ls_value **out);
/* Fails with the error text `what` where a tensor in the stream was changed in place since ls__arguments_keep copied the stream. */
ls_status ls__arguments_unchanged(const ls_value *stream, int32_t n, const char *what);
ls_status ls__arguments_check(const ls_value *args, int32_t n); /* fails where a value of an open trace is among the arguments */
bool ls__stream_shares(const ls_value *stream, int32_t n, void *tensor); /* whether a tensor in the stream shares memory with `tensor` */

/* ---- runs (run.c) --------------------------------------------------------------------------------------------------- */

typedef struct ls__run ls__run;

/* The functions of a trace that a run of a program calls while the trace watches the run; `who` is the trace. */
typedef struct ls__watcher {
  ls_status (*protect)(void *who, void *tensor); /* is called before the model changes `tensor` in place */
  ls_status (*changed)(void *who, void *tensor); /* is called after that */
  /* Whether the trace replaces the whole value at the next point at which the run pauses, and does not read the old value. The call that
     computes the old value then need not run. */
  bool (*replaces)(void *who);
  /* Writes to `out` the argument of the call that runs at some positions only (ls__run_narrow), cut to these positions; a new reference. */
  ls_status (*cut)(void *who, const ls_value *argument, ls_value *out);
  ls_status (*made)(void *who, ls_value *value); /* is called when an origin (ls__run_origins) has its value */
} ls__watcher;

/* makes a run of the program `p`, which does not begin yet; the stream `args` must hold no nodes */
ls_status ls__run_new(ls_program *p, const ls_value *args, int32_t n, ls__run **out);
void ls__run_free(ls__run *r);
void ls__run_watch(ls__run *r, const ls__watcher *watcher, void *who);
/* has the watcher told when the origins `o` get their values; borrowed until the run ends or the function is called again */
void ls__run_origins(ls__run *r, const ls__origins *o);
/* has the watcher shorten the argument of the call `instance` to some positions, at which alone the call then runs; -1: no call */
void ls__run_narrow(ls__run *r, int32_t instance);
ls_status ls__run_until(ls__run *r, int32_t point); /* lets the run go on until it is paused at the point, or has ended */
ls_status ls__run_finish(ls__run *r, ls_value *out); /* lets the run go on to its end; `out` is the result of the program */
bool ls__run_is_paused_at(const ls__run *r, int32_t point);
bool ls__run_is_past(const ls__run *r, int32_t point);
/* the value at the point where the run is paused, borrowed; at an input point the pair ((positional), {keywords}) */
ls_value *ls__run_value(ls__run *r);
ls_program *ls__run_program(const ls__run *r);      /* borrowed */
/* the arguments of a run that has not begun yet, as a stream of `n` values; borrowed */
ls_value *ls__run_arguments(ls__run *r, int32_t *n);
/* calls `each` with each tensor in the values that the run holds; `each` may replace it */
void ls__run_each(ls__run *r, void (*each)(void *context, ls_value *tensor), void *context);
bool ls__run_borrows(const ls__run *r, void *tensor); /* whether the tensor's memory is that of an argument or a parameter of the run */
/* Executes a node that needs no run of a model: an operator, an index, a sequence, sizes or a guard. */
ls_status ls__node_execute(const ls__node *node, const ls_value *values, ls_value *out);
extern bool ls__interrupt_handled;   /* whether the library may handle SIGINT (LS_START_INTERRUPT) */
void ls__interrupt_begin(bool *flag); /* from now on, Ctrl-C stops the run; `flag` is the program's (ls__program_brief), or NULL */
void ls__interrupt_end(void);        /* from now on, Ctrl-C acts as before the run */
ls_status ls__interrupt_listen(void); /* is called before each node of a run; the first call after Ctrl-C fails */
ls_status ls__interrupt_check(void);  /* is called at the end of a run; the first call after Ctrl-C fails */

/* ---- texts: writing (graph_json.c) ----------------------------------------------------------------------------------- */

/* The state while a JSON text is made. The first failure stays in `status`, so the caller checks `status` once, at the end. */
typedef struct ls__json {
  /* the module of the trace that is written, whose tensors are written by their names; NULL where a function is written */
  const ls_module *module;
  bool numbers;               /* whether the JSON text of a trace has the numbers of tensors that have no name */
  /* the lists that give the tensors, modules and functions of a written function their numbers; NULL where a trace is written */
  struct ls__json_form *form;
  ls_status status;
} ls__json;

json_t *ls__json_made(ls__json *out, json_t *value);  /* returns `value`; where it is NULL, notes in `out` that memory ran out */
/* makes a JSON string; notes a failure in `out` where the text is not valid UTF-8 */
json_t *ls__json_string(ls__json *out, const char *text);
json_t *ls__json_integer(ls__json *out, int64_t i);
/* makes an object with the one field `key`; takes over the reference to `value` */
json_t *ls__json_with(ls__json *out, const char *key, json_t *value);
/* adds a field to `object`; takes over the reference to `value` */
void ls__json_put(ls__json *out, json_t *object, const char *key, json_t *value);
void ls__json_add(ls__json *out, json_t *list, json_t *value); /* adds an element to `list`; takes over the reference to `value` */
/* writes a tensor's dtype, shape and, with `numbers`, its numbers */
json_t *ls__json_tensor(ls__json *out, const ls_value *tensor, bool numbers);
json_t *ls__json_arguments(ls__json *out, const ls_value *s, int32_t n);
/* writes the value that begins at s[*i], and moves *i behind the value */
json_t *ls__json_value(ls__json *out, const ls_value *s, int32_t n, int32_t *i);
/* Puts the compact JSON text of `value` into `*kept` and frees the text that was there; takes over the reference to `value`. */
ls_status ls__json_finish(ls__json *out, json_t *value, char **kept);
/* adds the field `autograd`, true or false, to the object of a node that runs with autograd on or off whatever its run has */
void ls__json_put_autograd(ls__json *out, json_t *object, const ls__node *node);
const char *ls__node_word(int32_t kind);
int32_t ls__node_kind_of(const char *word); /* the node kind that JSON files name by `word`; -1 where there is none */

/* ---- texts: reading --------------------------------------------------------------------------------------------------

   A text may come from a stranger. It is read in two parts: the first checks all of it, the second makes nodes and functions
   of it and trusts the first. Both go through the JSON as jansson holds it.

     graph_read.c                       checks the text, its size and its tensors
     function_read.c                    checks the modules and functions in the text of a function
     graph_check.c, graph_check_value.c check nodes: kinds, arguments, references, names of operators
     graph_build.c                      makes the nodes of a checked graph
     function_build.c                   makes a function of them and of the weights that the caller sets */

enum { LS__READ_SHOWN = 96 }; /* the length in bytes of the buffer for a text from a file that an error shows */

/* One function, or one stored edit, in a JSON text that is being read. */
typedef struct ls__read_graph {
  const json_t *nodes, *result;
  int32_t module;  /* the number of the function's module; -1 for the plain or fused function of an attention, which has no module */
  int32_t positional, inputs;
  int32_t slots;
  int32_t depth;                  /* the greatest depth of nested calls inside this function */
  int64_t calls, points;          /* the number of calls that one run of this function makes, and of the points that the run passes */
  int32_t steps;                  /* for a stored edit, 1 where the edit itself names the steps of a generation in which it acts */
  int32_t hooks;                  /* for a stored edit, the number of its calls with points of their own */
} ls__read_graph;

typedef struct ls__read_call {    /* a call in a stored edit, of a module of the model */
  int32_t graph, node;
  const json_t *arguments;
  const char *path;
  int32_t positional, keywords, hook; /* `hook`: the call's number among those with points of their own; -1 where it has none */
  ls_program *program;            /* the program of the called module, retained; NULL as long as the caller has not set it */
} ls__read_call;

struct ls_reader {
  char *name;                     /* the name of the file, for errors */
  json_t *text;
  bool is_function;
  int32_t graph_count, tensor_count, module_count, call_count, call_room;
  ls__read_graph *graphs;
  const json_t *tensors, *modules;
  ls_value *values;               /* for each tensor of the text its value; LS_NONE for a weight that the caller has not set yet */
  ls__read_call *calls;
};

/* The place in a JSON text that an error names. */
typedef struct ls__read_place {
  ls_reader *reader;
  int32_t graph, node;            /* the number of the function or edit and of its node, each -1 where the error concerns none */
  const char *kind, *name;        /* the node's kind and name, as far as known */
} ls__read_place;

/* Fails with an error that names the file, the function or edit and the node at the place `at`, and then says what is wrong. */
ls_status ls__read_fail(const ls__read_place *at, ls_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* tells clang's static analyzer that ls__read_fail, which is in another file, does not return LS_OK */
#define ls__read_fail(at, code, ...) ((ls__read_fail)(at, code, __VA_ARGS__), (code))
#endif
/* copies a text of the file to `room`, which has LS__READ_SHOWN bytes, so that an error can show it: shortened, control characters
   escaped */
const char *ls__read_shown(const json_t *text, char *room);
/* Whether a JSON value counts as a list: it is an array, or the empty object that some writers of JSON make of an empty list. */
bool ls__read_is_list(const json_t *value);
/* Fails where a JSON object has a field whose name is not in the array `known`, which ends with NULL. */
ls_status ls__read_known(const ls__read_place *at, const json_t *object, const char *const *known);
ls_status ls__read_check(ls_reader *r, int32_t graph);       /* checks all nodes of function or edit number `graph` */
/* Reads the JSON text of a function or of stored edits, and calls `check`, which checks everything in the text. */
ls_status ls__read_any(const char *json, size_t length, const char *name, bool is_function, ls_status (*check)(ls_reader *),
                       ls_reader **out);

/* The state while the nodes of a checked JSON text are recorded in a function or a trace. */
typedef struct ls__build {
  ls__read_place at;
  ls__owner *owner;
  /* Adds a node to `owner`, the function or trace. */
  ls_status (*record)(void *owner, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
  /* Records the node `node` where it has a kind that only functions or only traces have. */
  ls_status (*make)(struct ls__build *b, int32_t *id);
  const void *context;            /* data for the function `make`, which casts the pointer */
  const ls_module *module;        /* the module whose parameters a stored edit names; NULL for a function */
  const json_t *node;
  int32_t kind;
  int32_t *ids;                   /* for each node of the JSON text its number in `owner`; -1 where the node has no value */
  ls_value *stream;               /* the arguments of the node that is being recorded, as a stream */
  int32_t n, room;
  ls_value *owned;                /* the tensors that were made for the arguments in `stream` */
  int32_t owned_count, owned_room;
} ls__build;

ls_status ls__build_nodes(ls__build *b);  /* records all nodes; where a node cannot be recorded, the error names its place in the text */
void ls__build_free(ls__build *b);
#endif
