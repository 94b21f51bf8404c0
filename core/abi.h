/* The contract between the core and every language above it. Declarations only, no preprocessor line: the C compiler,
   the C++ compiler and LuaJIT's ffi.cdef read the same bytes, and the library carries the hash of this text.

   True of all functions:
   - A function that can fail returns an ls_status. On failure the text is in the per-thread buffer (ls_error_message)
     and nothing was written through the `out` pointers.
   - A NULL where a pointer is needed, a value of a wrong kind, a handle of a wrong kind, a number out of its range and a
     negative count give LS_ERROR_ARGUMENT or the error that fits better. A function without a status then gives -1 where it
     gives a number, NULL or "" where it gives a pointer, and else does nothing. What is not checked: a pointer that was already
     released, or that points to something else than its type says.
   - A value or handle written through `out` is a new reference that the caller releases. What is passed in is borrowed.
   - Releasing NULL or an ls_value of kind LS_NONE does nothing. Finalizers may run in any order.
   - Nothing here calls back, prints, exits or aborts. One thread at a time: the library has no locks, and a process whose
     threads share it takes turns.
   - The library changes nothing of its process but what ls_start was allowed to.
   - Indices, axes and positions count from 0; negative ones count from the end where PyTorch lets them. */

typedef enum ls_status {
  LS_OK = 0,
  LS_ERROR_ARGUMENT = 1,     /* a call with wrong arguments */
  LS_ERROR_NAME = 2,         /* a name that does not exist; the message has the nearest ones */
  LS_ERROR_INDEX = 3,        /* an index out of range */
  LS_ERROR_SHAPE = 4,        /* shapes or structures that do not fit */
  LS_ERROR_TORCH = 5,        /* libtorch refused; its first line is in ls_error_cause */
  LS_ERROR_MEMORY = 6,       /* an allocation failed */
  LS_ERROR_IO = 7,           /* a file could not be opened, read or written */
  LS_ERROR_FORMAT = 8,       /* a file whose content is not what it says */
  LS_ERROR_UNSET = 9,        /* a value that was not saved or never came */
  LS_ERROR_PASSED = 10,      /* a point that the run has already passed */
  LS_ERROR_CYCLE = 11,       /* an edit that needs a value which exists only later */
  LS_ERROR_UNREACHED = 12,   /* a requested point that the model never calls */
  LS_ERROR_INTERRUPTED = 13, /* Ctrl-C */
  LS_ERROR_STATE = 14,       /* a call in the wrong state: a closed trace, two open traces in one operator */
  LS_ERROR_CHANGED = 15      /* a tensor of the caller was changed in place between its use and the run */
} ls_status;

/* The version of this interface: 1000 * major + minor. The major number grows when a program that was compiled with an older
   header could break; it is also the number of the shared library (libluasight.so.1). The minor number grows when something
   is added. So a program can use the library where `ls_abi_version() / 1000 == LS_ABI_VERSION / 1000` and
   `ls_abi_version() >= LS_ABI_VERSION`. */
enum { LS_ABI_VERSION = 1000 };
int32_t ls_abi_version(void);

/* Starts the library: before anything else, and before the process uses libtorch in any other way. Each thing that it changes
   of its process is a flag; with 0 it changes nothing. A second call does nothing until ls_stop. */
enum {
  LS_START_CUDA = 1,         /* the CUDA half of libtorch is loaded where there is a device; it stays loaded */
  LS_START_THREADS = 2,      /* libtorch works with as many threads as there are usable cores, unless OMP_NUM_THREADS is set */
  LS_START_QUIET_ERRORS = 4, /* libtorch makes no backtrace of its errors, which would take milliseconds each */
  LS_START_WARNINGS = 8,     /* what libtorch warns of in a call from here goes where the thread's handler sends it, mostly to
                                standard error; without this flag it is dropped */
  LS_START_INTERRUPT = 16,   /* while a run is going, and not longer, the first SIGINT stops the run; a second one goes to the
                                handler of the process, and one that the process ignores stays ignored */
  LS_START_JSON = 32,        /* while a JSON text is read, and not longer, jansson's malloc is wrapped, so that lack of memory is
                                told from a malformed text; no other thread may set jansson's allocators meanwhile */
  LS_START_ALL = 63
};
ls_status ls_start(int32_t may);
/* Puts back what ls_start changed: the number of threads that was set before, and libtorch's own backtraces. Afterwards handles can
   be released; for anything else the library is started again. */
void ls_stop(void);

const char *ls_error_message(void);
const char *ls_error_cause(void); /* the libtorch or system error beneath, "" if none */
const char *ls_error_point(void); /* "transformer.h.3.output", "" if none */
int64_t ls_error_site(void);      /* the site of the node that failed, 0 if none; see ls_op_call */
int32_t ls_error_again(void);     /* 1: the operator had no memory and changed nothing, so that it may be called again */
int64_t ls_error_site2(void);     /* a second site where two lines matter (a passed point, a cycle), 0 if none */
const char *ls_header_hash(void);
const char *ls_torch_version(void);
int64_t ls_live(void);            /* handles alive: values given out, functions, traces, modules, programs, files, tokenizers */

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* A value: a number, a text, a tensor, a tuple of values, or a node that will have a value later. The same
   16 bytes serve as argument, as result and as the payload of a Lua handle. */
typedef enum ls_kind {
  LS_NONE = 0,
  LS_BOOL = 1,     /* as.i is 0 or 1 */
  LS_INT = 2,      /* as.i */
  LS_FLOAT = 3,    /* as.f */
  LS_STRING = 4,   /* as.s, zero-terminated, borrowed in arguments, owned by an interning table in results */
  LS_TENSOR = 5,   /* as.p: a libtorch tensor; aux LS_READ_ONLY: an argument that no call may change in place */
  LS_TUPLE = 6,    /* as.p: an immutable-length sequence, printed (a, b) */
  LS_LIST = 7,     /* as.p: the same, printed [a, b]: shapes */
  LS_STRUCT = 8,   /* as.p: the same with a name for each element, in order */
  LS_NODE = 9,     /* as.p: the ls_function or ls_trace; aux: the node */
  /* only inside argument streams: */
  LS_OPEN = 10,    /* the next as.i values are one sequence; aux: LS_TUPLE, LS_LIST or LS_STRUCT (each behind an LS_KEY) */
  LS_KEY = 11,     /* as.s names the next value: a keyword argument, or an element of a struct */
  LS_SLICE = 12,   /* in indices: the next three values are start, stop, step, each LS_INT, LS_NODE or LS_NONE */
  LS_ELLIPSIS = 13 /* in indices */
} ls_kind;

enum { LS_READ_ONLY = -1 };

typedef struct ls_value {
  int32_t kind;
  int32_t aux;
  union { int64_t i; double f; const char *s; void *p; } as;
} ls_value;

/* An argument stream is an array of ls_value in prefix form: sequences are written as LS_OPEN followed by their elements
   (which may be sequences again), keyword arguments as LS_KEY followed by the value, behind all positional ones. */

void ls_value_retain(const ls_value *v);
void ls_value_release(const ls_value *v);
int64_t ls_value_bytes(const ls_value *v); /* 0 of NULL; of the elements of the tensors in it; of a node 0, see ls_trace_bytes */
ls_status ls_value_build(const ls_value *stream, int32_t n, ls_value *out); /* exactly one value: tuple, list, struct */
int32_t ls_seq_length(const ls_value *seq);                                /* -1 unless a sequence */
const char *ls_seq_key(const ls_value *seq, int32_t i);                     /* NULL unless a struct */
ls_status ls_seq_get(const ls_value *seq, int32_t i, ls_value *out);
int32_t ls_seq_find(const ls_value *seq, const char *key);                  /* -1 where there is none */

/* ---- operators ------------------------------------------------------------------------------------------------- */

typedef struct ls_op ls_op; /* all overloads of one operator name; lives as long as the library */

ls_status ls_op_find(const char *name, const ls_op **out); /* "add", "_softmax", "quantized::add"; near misses if unknown */

/* Calls an operator, or records it: where an argument is an LS_NODE of an open function or trace, the call becomes a
   node of it and the results are LS_NODEs. `site` is the script position (file number << 32 | line) that errors will name.
   Writes up to LS_RESULTS results and their number. */
enum { LS_RESULTS = 16 };
ls_status ls_op_call(const ls_op *op, const ls_value *args, int32_t n, int64_t site, ls_value *out, int32_t *n_out);

/* x[...] and x[...] = v on tensors, sequences and nodes. The stream holds the indices: LS_INT, LS_NONE (new axis), LS_SLICE,
   LS_ELLIPSIS, LS_TENSOR (mask or positions), LS_OPEN (a list of positions), LS_STRING or LS_KEY-less text (a field). */
ls_status ls_getitem(const ls_value *self, const ls_value *index, int32_t n, int64_t site, ls_value *out);
ls_status ls_setitem(const ls_value *self, const ls_value *index, int32_t n, const ls_value *value, int64_t site);

/* A sequence from a stream that begins with LS_OPEN, or a node of an open function or trace that has nodes inside. */
ls_status ls_seq_build(const ls_value *stream, int32_t n, int64_t site, ls_value *out);

/* Names of operators that begin with `prefix`, one a line, in a buffer valid until the next call; schema text of one. */
const char *ls_op_names(const char *prefix);
const char *ls_op_schemas(const ls_op *op);

/* ---- tensors --------------------------------------------------------------------------------------------------- */

typedef struct ls_tensor_info {
  int64_t elements;      /* number of elements */
  int64_t bytes;         /* of the storage behind it */
  int64_t version;       /* grows with each change in place */
  const char *dtype;     /* "float32" */
  const char *device;    /* "cpu", "cuda:0" */
  int32_t dims;
  int32_t requires_grad;
  int32_t is_leaf;
  int32_t is_contiguous;
  int32_t is_lazy;       /* its numbers are not those in memory: a conjugate, a negative, or zeros that take none */
  int64_t shape[64];
  int64_t strides[64];
} ls_tensor_info;

ls_status ls_tensor_describe(const ls_value *tensor, ls_tensor_info *out);
const char *ls_tensor_grad_fn(const ls_value *tensor); /* "AddBackward0", NULL without */
/* A new tensor copied from `count` numbers. `from` and `dtype` by name; `from` is "float64", "int64" or "bool"; a device that is
   NULL is "cpu". */
ls_status ls_tensor_from(const void *numbers, const char *from, const int64_t *shape, int32_t dims, const char *dtype,
                         const char *device, ls_value *out);
/* The memory of a tensor on the CPU, valid while it lives; of one that is lazy an error. */
ls_status ls_tensor_pointer(const ls_value *tensor, void **out);
ls_status ls_tensor_plain(const ls_value *tensor, ls_value *out);         /* the same, or a copy where it is lazy */
ls_status ls_tensor_item(const ls_value *tensor, ls_value *out);          /* LS_BOOL, LS_INT or LS_FLOAT */
ls_status ls_tensor_grad(const ls_value *tensor, ls_value *out);          /* LS_NONE where there is none */
ls_status ls_tensor_set_grad(const ls_value *tensor, const ls_value *grad);
ls_status ls_tensor_set_data(const ls_value *tensor, const ls_value *data); /* the same tensor object shows other data */
ls_status ls_tensor_require_grad(const ls_value *tensor, int32_t on);
ls_status ls_tensor_backward(const ls_value *tensor, const ls_value *grad, int32_t retain_graph); /* grad LS_NONE: 1 */
int32_t ls_tensor_same(const ls_value *a, const ls_value *b);             /* the same tensor object; 0 of what is none */
int32_t ls_grad_enabled(void);
void ls_grad_enable(int32_t on);
ls_status ls_manual_seed(int64_t seed);
int32_t ls_threads(void);
ls_status ls_set_threads(int32_t n);                                      /* 1 to 4096 */
int32_t ls_device_count(const char *kind);                                /* "cuda"; 0 of kinds that it does not know, -1 of NULL */

/* ---- modules and functions ------------------------------------------------------------------------------------- */

typedef struct ls_module ls_module;   /* a named place in the model with parameters and children */
typedef struct ls_function ls_function; /* what a module's forward does: nodes in the order of execution */
typedef struct ls_program ls_program; /* a function with all that it calls, and every point of it numbered */

ls_status ls_module_new(const char *class_name, ls_module **out);
void ls_module_release(ls_module *m);
ls_status ls_module_set_tensor(ls_module *m, const char *name, const ls_value *tensor); /* parameter or buffer; LS_NONE removes */
ls_status ls_module_set_child(ls_module *m, const char *name, ls_module *child);        /* NULL removes */
/* Where the rows of a batch are at a point ("output", "input", a tap) or a piece of one ("input.mask"); -1: nowhere. */
ls_status ls_module_set_axis(ls_module *m, const char *point, int32_t axis);

/* A function is recorded once: inputs first, then operators through ls_op_call, then the result. Sizes (`ls_function_shape`)
   are values of the function, and so is arithmetic on them. */
ls_status ls_function_new(ls_module *m, ls_function **out);
ls_status ls_function_input(ls_function *f, const char *keyword, ls_value *out); /* keyword NULL: the next positional one */
ls_status ls_function_call(ls_function *f, ls_module *child, ls_function *callee, const ls_value *args, int32_t n, int64_t site,
                           ls_value *out);
ls_status ls_function_tap(ls_function *f, const char *name, const ls_value *value, int64_t site, ls_value *out);
/* Two functions with the same inputs and result: `fused` runs unless a point inside `plain` is watched. */
ls_status ls_function_either(ls_function *f, ls_function *plain, ls_function *fused, const ls_value *args, int32_t n, int64_t site,
                             ls_value *out);
ls_status ls_function_finish(ls_function *f, const ls_value *result);
/* A function that branches on numbers is recorded with the values of its inputs, as copies where it runs once more later. */
ls_status ls_function_eager(ls_function *f, const ls_value *given, int32_t n, int32_t copies);
ls_status ls_function_demand(const ls_value *node, int64_t site, ls_value *out); /* the value while recording; guarded from then on */
ls_status ls_function_result(ls_function *f, ls_value *out);                        /* what it gave, once */
void ls_function_release(ls_function *f);
ls_status ls_function_shape(const ls_value *node, int64_t site, ls_value *out); /* the sizes of a node's value, a list */

ls_status ls_program_new(ls_function *function, ls_program **out);
void ls_program_release(ls_program *p);
enum { LS_POINT_INPUT = 0, LS_POINT_OUTPUT = 1, LS_POINT_TAP = 2 };
int32_t ls_program_calls(ls_program *p, ls_module *m);                       /* how often one run calls the module */
int32_t ls_program_point(ls_program *p, ls_module *m, int32_t kind, const char *tap, int32_t call); /* -1: none */
int32_t ls_program_find(ls_program *p, const char *name);                    /* the point of a name, "h.3.output"; -1: none */
int32_t ls_program_points(ls_program *p);
ls_module *ls_program_point_module(ls_program *p, int32_t point);             /* borrowed; NULL: of a form */
const char *ls_program_point_name(ls_program *p, int32_t point);             /* valid until the next call */
ls_status ls_program_run(ls_program *p, const ls_value *args, int32_t n, int32_t autograd, ls_value *out);

/* ---- traces ---------------------------------------------------------------------------------------------------- */

/* A trace is what a script does beside programs. Recording adds nodes; a demand or the end runs the model up to what is needed. It is
   recorded in invokes, bodies with an input each, whose rows run together in one pass wherever their needs allow. */
enum { LS_INVOKE_WHOLE = 0, LS_INVOKE_ROWS = 1, LS_INVOKE_ALL = 2 }; /* a pass of its own; one of several; all rows, no input */
typedef struct ls_trace ls_trace;
ls_status ls_trace_open(ls_trace **out);
void ls_trace_release(ls_trace *t);
ls_status ls_trace_invoke(ls_trace *t, int32_t kind, ls_program *p, const ls_value *args, int32_t n, int32_t *out);
ls_status ls_trace_scan(ls_trace *t); /* tensors named in it count by shape and dtype only */
ls_status ls_trace_generate(ls_trace *t, int32_t steps); /* the passes of invokes that follow have up to so many steps */
ls_status ls_trace_read(ls_trace *t, int32_t invoke, int32_t step, int32_t point, int64_t site, ls_value *out);
ls_status ls_trace_write(ls_trace *t, int32_t invoke, int32_t step, int32_t point, const ls_value *value, int32_t skips,
                         int64_t site);                                       /* skips: and the module does not run */
void ls_trace_fence(ls_trace *t);                     /* what follows joins no pass of what is recorded so far, and generates nothing */
/* A whole number that is known once the pass begins: `offset` + the invoke's padding to the left (behind step 0: offset). */
ls_status ls_trace_pad(ls_trace *t, int32_t invoke, int32_t step, int32_t offset, int64_t site, ls_value *out);
/* On which axis a value at a point has the tokens, -1 where it has none; of which invoke and step it is. */
int32_t ls_trace_token_axis(const ls_value *node, int32_t *invoke, int32_t *step);
ls_status ls_trace_text(ls_trace *t, int32_t invoke, int64_t site, ls_value *out); /* the ids that the generation gives */
ls_status ls_trace_call(ls_trace *t, ls_program *callee, const ls_value *args, int32_t n, int64_t site, ls_value *out);
ls_status ls_trace_host(ls_trace *t, int32_t invoke, const ls_value *args, int32_t n, int64_t site, ls_value *out);
ls_status ls_trace_grad(const ls_value *of, int32_t invoke, int64_t site, ls_value *out);
ls_status ls_trace_grad_of(ls_trace *t, const ls_value *parameter, int32_t invoke, int64_t site, ls_value *out);
ls_status ls_trace_set_grad(const ls_value *of, const ls_value *value, int32_t invoke, int64_t site);
ls_status ls_trace_backward(const ls_value *loss, const ls_value *gradient, int32_t retain_graph, int32_t invoke, int64_t site);
ls_status ls_trace_stop(ls_trace *t, int32_t invoke); /* nothing behind the last point that the invoke names so far */
ls_status ls_trace_save(const ls_value *node);
/* Copies the nodes of a recorded trace that never runs (stored edits) to an invoke; step -1: the steps that they name.
   map[i] becomes the copy of node i. */
ls_status ls_trace_include(ls_trace *t, ls_trace *edits, int32_t invoke, int32_t step, int32_t *map);
int32_t ls_trace_count(ls_trace *t);           /* of nodes */

/* Runs as far as `demanded` needs and stands there, or (NULL) to the end of need and closes the trace. Where the script has
   to act it returns before that with an event; the script acts and calls again. */
enum {
  LS_EVENT_NONE = 0,
  LS_EVENT_PASS = 1, /* a pass begins: ls_trace_rows for its invokes, then ls_trace_begin with step 0 */
  LS_EVENT_STEP = 2, /* a step ended with `value`: ls_trace_begin with the next one, or ls_trace_end */
  LS_EVENT_HOST = 3  /* a function of the script, node `node`, has its arguments `value`: ls_trace_supply */
};
typedef struct ls_event {
  int32_t kind, pass, step, node;
  ls_value value; /* a new reference */
} ls_event;
ls_status ls_trace_run(ls_trace *t, const ls_value *demanded, int64_t site, ls_event *event);
int32_t ls_trace_pass(ls_trace *t, int32_t invoke); /* in which it runs */
ls_status ls_trace_rows(ls_trace *t, int32_t invoke, int32_t first, int32_t rows, int32_t pad);
ls_status ls_trace_begin(ls_trace *t, int32_t pass, int32_t step, ls_program *p, const ls_value *args, int32_t n, int32_t rows);
ls_status ls_trace_end(ls_trace *t, const ls_value *text); /* no more steps; the ids of all rows */
ls_status ls_trace_supply(ls_trace *t, int32_t node, const ls_value *value);
void ls_trace_optional(const ls_value *read);         /* of a point: it stays unset where a skip leaves it out */
void ls_trace_abandon(ls_trace *t);                                           /* closes without running */
/* A trace is a recording, a plan made from it, and a run. Its end releases all three but for what was saved. After
   `ls_trace_keep` a successful end leaves the recording as it is; `ls_trace_rewind` then opens the trace again, as it was
   before anything ran: what was planned and run is forgotten, values too, and all handles to its nodes stay. What is not
   part of the recording is taken anew at the next run: the numbers of tensors named in it (which may not have changed), of
   parameters, of random generators. */
void ls_trace_keep(ls_trace *t);
ls_status ls_trace_rewind(ls_trace *t);
ls_status ls_trace_value(const ls_value *node, ls_value *out);                /* of a node that ran: saved, or demanded */
int64_t ls_trace_bytes(ls_trace *t);                                          /* of the values that a closed trace keeps */
int32_t ls_node_is_set(const ls_value *node);
int32_t ls_node_is_eager(const ls_value *node);                               /* recorded with values */
int32_t ls_node_kind(const ls_value *node);                                   /* of its value, as far as known: LS_* */
int32_t ls_node_is_open(const ls_value *node);  /* 1: of a function being recorded, 2: of an open trace, 0: of neither */
int64_t ls_node_site(const ls_value *node);

ls_program *ls_trace_program(ls_trace *t, int32_t node); /* that a call in a trace calls; borrowed, NULL: none */

/* Texts are valid until the next call of the same function. */
ls_status ls_trace_describe(ls_trace *t, const char **out); /* readable, one node a line */
/* The recording as JSON: with the numbers of tensors for storing and sending, else with places and lines for looking. */
ls_status ls_trace_json(ls_trace *t, int32_t numbers, const char **out);
void ls_interrupt(void);                       /* the run in progress stops at its next node; safe in a signal handler */

/* ---- weights --------------------------------------------------------------------------------------------------- */

typedef struct ls_weights ls_weights; /* an open, mapped file: safetensors, or what torch.save writes */

typedef struct ls_weights_entry {
  const char *name;
  const char *dtype;      /* as luasight names it: "float32", "bfloat16" */
  int32_t dims;
  int64_t shape[64];
  int64_t bytes;
} ls_weights_entry;

ls_status ls_weights_open(const char *path, ls_weights **out);
void ls_weights_release(ls_weights *w);       /* tensors taken from it keep the mapping alive */
int32_t ls_weights_count(ls_weights *w);      /* of tensors by name; of PyTorch those of the dict at the top */
ls_status ls_weights_describe(ls_weights *w, int32_t i, ls_weights_entry *out);
int32_t ls_weights_find(ls_weights *w, const char *name);
const char *ls_weights_metadata(ls_weights *w); /* the __metadata__ object as JSON text, "{}" where absent */
ls_status ls_weights_tensor(ls_weights *w, int32_t i, ls_value *out); /* a view of the mapped file, no copy */
/* Of a file of PyTorch all that is in it, as a stream of so many values: a list, tuple or dict (LS_STRUCT: keys and values in
   turn, as.i counts both) begins with LS_OPEN; a tensor is LS_TENSOR with as.i for ls_weights_tensor. Borrowed. */
int32_t ls_weights_content(ls_weights *w, const ls_value **out);
void ls_weights_forget(ls_weights *w, int32_t i); /* the memory of a view nobody uses any more; changes to it are lost */
ls_status ls_weights_write(const char *path, const char *const *names, const ls_value *tensors, int32_t n,
                           const char *metadata); /* JSON object of strings or NULL; temporary file, synced, renamed */

/* ---- graphs in files ------------------------------------------------------------------------------------------- */

/* The function of a module with all that it calls, as JSON. A tensor that its module tree has under one of `names` is left to
   a file of weights and written by its names ("h.0.attn.weight"); all others are written with their numbers. `names` NULL:
   whatever the tree has is a weight. */
ls_status ls_function_json(ls_function *f, const char *const *names, int32_t n, const char **out); /* until the next call */

/* A text of a function or of stored edits that was read and found right: kinds, numbers and types of arguments, references,
   names, sizes. It calls only operators from the list of those that a file may call. `name` is the file's, for errors: they name
   the node and what is wrong with it. Nothing is made of the text before all of it is checked. A C program calls ls_function_read,
   then ls_reader_set_tensor for each tensor that has a name in a file of weights (ls_weights_find, ls_weights_tensor), then
   ls_reader_function and ls_program_new. */
typedef struct ls_reader ls_reader;
ls_status ls_function_read(const char *json, size_t length, const char *name, ls_reader **out);
ls_status ls_edits_read(const char *json, size_t length, const char *name, ls_reader **out);
void ls_reader_release(ls_reader *r);

/* Of a function: its tensors, the weights among which have names (several where one tensor stands in several places) and have
   to be given before the function is made. */
int32_t ls_reader_tensors(ls_reader *r);
ls_status ls_reader_tensor(ls_reader *r, int32_t i, ls_weights_entry *out);    /* its name is "" where it is no weight */
const char *ls_reader_tensor_name(ls_reader *r, int32_t i, int32_t k);         /* NULL behind the last */
ls_status ls_reader_set_tensor(ls_reader *r, const char *name, const ls_value *tensor); /* of the dtype and shape in the text */
ls_status ls_reader_function(ls_reader *r, ls_function **out);                 /* finished; LS_ERROR_NAME: a weight is missing */

/* Of stored edits: how many there are, and the calls of modules of the model in them, for which a program has to be given. */
typedef struct ls_reader_call_info {
  int32_t edit, node;
  int32_t positional, keywords;
  const char *path;             /* of the module */
} ls_reader_call_info;
int32_t ls_reader_edits(ls_reader *r);
int32_t ls_reader_edit_steps(ls_reader *r, int32_t i);                         /* 1: it names its steps itself */
int32_t ls_reader_calls(ls_reader *r);
ls_status ls_reader_call(ls_reader *r, int32_t i, ls_reader_call_info *out);
const char *ls_reader_call_keyword(ls_reader *r, int32_t i, int32_t k);
ls_status ls_reader_set_program(ls_reader *r, int32_t i, ls_program *p);
ls_status ls_reader_record(ls_reader *r, int32_t edit, ls_trace *trace, int32_t invoke); /* adds its nodes to an invoke */

ls_status ls_file_write(const char *path, const void *bytes, size_t size);     /* a temporary file, synced, renamed */

/* ---- tokenizers ------------------------------------------------------------------------------------------------ */

typedef struct ls_tokenizer ls_tokenizer;

ls_status ls_tokenizer_load(const char *json, size_t length, const char *name, ls_tokenizer **out); /* text of tokenizer.json */
void ls_tokenizer_release(ls_tokenizer *t);
int32_t ls_tokenizer_size(ls_tokenizer *t);                              /* vocabulary with added tokens */

/* A token of a text, and where in the text it stands. */
typedef struct ls_token {
  int64_t id;
  int32_t from, to; /* characters of the text, 0 where the places are not asked for */
  int32_t word;     /* the piece of the text that it is part of, counted from 0; -1 for a special token around the texts */
  int16_t type;     /* what the model is told about its text: 0, or for a second text mostly 1 */
  int16_t text;     /* 0 or 1: which of the two texts; -1 for a special token around them */
} ls_token;

typedef enum ls_cut { LS_CUT_LONGEST = 0, LS_CUT_FIRST = 1, LS_CUT_SECOND = 2 } ls_cut;

typedef struct ls_encoding {
  const char *pair;     /* a second text, NULL where there is none */
  size_t pair_length;
  int32_t special;      /* with the special tokens of the post-processor */
  int32_t places;       /* with `from` and `to` */
  int32_t limit;        /* most tokens, special ones included; 0: as many as there are */
  int32_t cut;          /* an ls_cut: which text gives way to the limit */
  int32_t cut_left;     /* at its beginning */
} ls_encoding;

ls_status ls_tokenizer_encode(ls_tokenizer *t, const char *text, size_t length, const ls_encoding *how, const ls_token **tokens,
                              int32_t *count);                           /* valid until the next encode */
ls_status ls_tokenizer_decode(ls_tokenizer *t, const int64_t *ids, int32_t n, int32_t skip_special, const char **text,
                              size_t *length);                           /* valid until the next decode */
const char *ls_tokenizer_token(ls_tokenizer *t, int64_t id);             /* NULL out of range */
int64_t ls_tokenizer_id(ls_tokenizer *t, const char *token);             /* -1 where there is none */
