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
int32_t ls__function_positional(const ls_function *f); /* how many of its inputs have no name */
bool ls__function_has_input(const ls_function *f, const char *keyword);
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
const ls_value *ls__module_tensor(const ls_module *m, const char *name);          /* borrowed; NULL: it has none of its own */
ls_module *ls__module_find(ls_module *root, const char *path, size_t length);     /* borrowed; NULL: there is none */

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

/* ---- texts: writing (graph_json.c) ----------------------------------------------------------------------------------- */

/* A text being made. The first failure stays in `status`, and all that follows is in vain: whoever made the text looks at it
   once, at the end. */
typedef struct ls__json {
  const ls_module *module;    /* of a trace: its tensors go by their names; NULL: none */
  bool numbers;               /* of a trace: the other tensors have their numbers */
  struct ls__json_form *form; /* of a function: its tensors are numbered there; NULL: of a trace */
  ls_status status;
} ls__json;

json_t *ls__json_made(ls__json *out, json_t *value);                  /* NULL is out of memory */
json_t *ls__json_string(ls__json *out, const char *text);             /* also fails where the text is no UTF-8 */
json_t *ls__json_integer(ls__json *out, int64_t i);
json_t *ls__json_with(ls__json *out, const char *key, json_t *value); /* an object with one field; takes the value */
void ls__json_put(ls__json *out, json_t *object, const char *key, json_t *value); /* takes the value */
void ls__json_add(ls__json *out, json_t *list, json_t *value);                    /* takes the value */
json_t *ls__json_tensor(ls__json *out, const ls_value *tensor, bool numbers); /* its dtype, its shape and its numbers */
json_t *ls__json_arguments(ls__json *out, const ls_value *s, int32_t n);
json_t *ls__json_value(ls__json *out, const ls_value *s, int32_t n, int32_t *i); /* that begins at s[*i]; moves *i behind it */
/* The compact text of `value`, which it takes, in `*kept`, which it replaces. */
ls_status ls__json_finish(ls__json *out, json_t *value, char **kept);
const char *ls__node_word(int32_t kind);
int32_t ls__node_kind_of(const char *word); /* -1: of none */

/* ---- texts: reading --------------------------------------------------------------------------------------------------

   Texts of strangers are read in two parts, and all is checked before anything is made. Both parts go through the JSON as
   jansson holds it; the second trusts what the first has checked.

     graph_read.c                       the text, its size, its tensors
     function_read.c                    the modules and functions of a function's text
     graph_check.c, graph_check_value.c the nodes: kinds, arguments, references, names of operators
     graph_build.c                      the nodes of a checked graph
     function_build.c                   a function of all that; the weights that it takes from outside */

enum { LS__READ_SHOWN = 96 }; /* room for a foreign name in an error */

/* One function, or one stored edit. */
typedef struct ls__read_graph {
  const json_t *nodes, *result;
  int32_t module;                 /* of a function, by number; -1: a form, which has none */
  int32_t positional, inputs;
  int32_t slots;
  int32_t depth;                  /* functions below functions */
  int64_t calls, points;          /* of one run of it */
  int32_t steps;                  /* an edit that names its steps itself */
} ls__read_graph;

typedef struct ls__read_call {    /* of a module of the model, by an edit */
  int32_t graph, node;
  const json_t *arguments;
  const char *path;
  int32_t positional, keywords;
  ls_program *program;            /* retained; NULL: not given yet */
} ls__read_call;

struct ls_reader {
  char *name;                     /* of the file, for errors */
  json_t *text;
  bool is_function;
  int32_t graph_count, tensor_count, module_count, call_count, call_room;
  ls__read_graph *graphs;
  const json_t *tensors, *modules;
  ls_value *values;               /* of the tensors; LS_NONE: a weight that is not there yet */
  ls__read_call *calls;
};

/* Where in the text something is wrong. */
typedef struct ls__read_place {
  ls_reader *reader;
  int32_t graph, node;            /* -1: not in one */
  const char *kind, *name;        /* of the node, as far as known */
} ls__read_place;

/* Fails with the file, the node and what is wrong with it. */
ls_status ls__read_fail(const ls__read_place *at, ls_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* it cannot see into another file that this is never LS_OK */
#define ls__read_fail(at, code, ...) ((ls__read_fail)(at, code, __VA_ARGS__), (code))
#endif
const char *ls__read_shown(const json_t *text, char *room); /* a foreign text, fit for an error, in LS__READ_SHOWN bytes */
/* A list: an array, or the empty object that some writers of JSON give for one. */
bool ls__read_is_list(const json_t *value);
/* Fails where an object has a field that is not among `known`, which ends with NULL. */
ls_status ls__read_known(const ls__read_place *at, const json_t *object, const char *const *known);
ls_status ls__read_check(ls_reader *r, int32_t graph);       /* the nodes of a graph */
/* Reads a text; `check` looks at all that is in it. */
ls_status ls__read_any(const char *json, size_t length, const char *name, bool is_function, ls_status (*check)(ls_reader *),
                       ls_reader **out);

/* Nodes of a checked graph on their way into a function or a trace. */
typedef struct ls__build {
  ls__read_place at;
  ls__owner *owner;
  /* Adds a node to the owner. */
  ls_status (*record)(void *owner, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id);
  /* Makes the node under way where its kind is not one of those that functions and traces share. */
  ls_status (*make)(struct ls__build *b, int32_t *id);
  const void *context;            /* of `make` */
  const ls_module *module;        /* whose parameters an edit names; NULL: none */
  const json_t *node;
  int32_t kind;
  int32_t *ids;                   /* by number in the text, of the owner; -1: it has no value */
  ls_value *stream;               /* the arguments of the node under way */
  int32_t n, room;
  ls_value *owned;                /* tensors in them that were made for them */
  int32_t owned_count, owned_room;
} ls__build;

ls_status ls__build_nodes(ls__build *b);  /* errors of the recording get the place in the text */
void ls__build_free(ls__build *b);
#endif
