/* The contract between the core and every language above it. It holds declarations only and no preprocessor line: the C compiler, the C++
   compiler and LuaJIT's ffi.cdef read the same bytes, and the library carries the hash of this text.

   True of all functions:
   - A function that can fail returns an ls_status. On failure the error text is in a buffer of the calling thread (ls_error_message), and
     nothing was written through the `out` pointers.
   - A NULL where a pointer is needed, a value or a handle of a wrong kind, a number out of its range and a negative count give
     LS_ERROR_ARGUMENT or an error that fits better. A function without a status then returns -1 where it returns a number, NULL or "" where
     it returns a pointer, and else does nothing. Not checked is a pointer that was already released, or that points to something else than
     its type says.
   - A value or handle written through `out` is a new reference, which the caller releases. A value or handle passed in is borrowed.
   - Releasing NULL or an ls_value of kind LS_NONE does nothing. Finalizers may run in any order.
   - No function calls back, prints, exits or aborts. The library has no locks: threads of one process use it one at a time.
   - The library changes nothing of its process but what ls_start was allowed to.
   - Indices, axes and positions count from 0; negative ones count from the end where PyTorch lets them. */

typedef enum ls_status {
  LS_OK = 0,
  LS_ERROR_ARGUMENT = 1,     /* a function was called with wrong arguments */
  LS_ERROR_NAME = 2,         /* a name does not exist; the message proposes the nearest names */
  LS_ERROR_INDEX = 3,        /* an index is out of range */
  LS_ERROR_SHAPE = 4,        /* shapes or structures do not fit together */
  LS_ERROR_TORCH = 5,        /* libtorch refused the call; the first line of its message is in ls_error_cause */
  LS_ERROR_MEMORY = 6,       /* an allocation failed */
  LS_ERROR_IO = 7,           /* a file could not be opened, read or written */
  LS_ERROR_FORMAT = 8,       /* a file's content does not follow the file's format */
  LS_ERROR_UNSET = 9,        /* a value was not saved, or the run ended without computing it */
  LS_ERROR_PASSED = 10,      /* the run has already passed the point that the script names */
  LS_ERROR_CYCLE = 11,       /* an edit needs a value that exists only after the edit itself */
  LS_ERROR_UNREACHED = 12,   /* the model does not reach the point that the script names */
  LS_ERROR_INTERRUPTED = 13, /* Ctrl-C interrupted the run */
  LS_ERROR_STATE = 14, /* the object is in a wrong state for this call, such as a closed trace, or two open traces meet in one operator */
  LS_ERROR_CHANGED = 15      /* a tensor of the caller was changed in place after the script used it and before the model ran */
} ls_status;

/* The version of this interface: 1000 * major + minor. The major number grows when a program that was compiled with an older header
   could break; it is also the number of the shared library (libluasight.so.1). The minor number grows when something is added. So a
   program can use the library where `ls_abi_version() / 1000 == LS_ABI_VERSION / 1000` and `ls_abi_version() >= LS_ABI_VERSION`. */
enum { LS_ABI_VERSION = 1000 };
int32_t ls_abi_version(void);

/* Starts the library. It has to be called before any other function here, and before the process uses libtorch in any other way. Each
   flag in `may` allows one change to the process; with 0 the library changes nothing. A second call does nothing until ls_stop. */
enum {
  LS_START_CUDA = 1,         /* loads libtorch's CUDA libraries where there is a device; they stay loaded until the process ends */
  LS_START_THREADS = 2,      /* lets libtorch work with as many threads as there are usable cores, unless OMP_NUM_THREADS is set */
  LS_START_QUIET_ERRORS = 4, /* keeps libtorch from making a backtrace for each of its errors, which would take milliseconds */
  LS_START_WARNINGS = 8,     /* hands a warning of libtorch to the thread's handler, which mostly prints it to standard error; without
                                this flag warnings are dropped */
  LS_START_INTERRUPT = 16,   /* takes the first SIGINT while a run is going, and only then, to stop the run; a second SIGINT goes to the
                                process's own handler, and a process that ignores SIGINT goes on ignoring it */
  LS_START_JSON = 32,        /* wraps jansson's malloc while a JSON text is read, and only then, to tell a lack of memory from a
                                malformed text; no other thread may set jansson's allocators meanwhile */
  LS_START_ALL = 63
};
ls_status ls_start(int32_t may);
/* Puts back what ls_start changed: the number of threads that was set before, and libtorch's own backtraces. Afterwards handles can
   still be released; for anything else the library has to be started again. */
void ls_stop(void);

const char *ls_error_message(void);
const char *ls_error_cause(void); /* the error of libtorch or of the system that caused the last error; "" if none */
const char *ls_error_point(void); /* the model's point at which the error happened, "transformer.h.3.output"; "" if none */
int64_t ls_error_site(void);      /* the script position of the node that failed (see ls_op_call), 0 if none */
int32_t ls_error_again(void);     /* 1 where the failed operator lacked memory and changed nothing, so that it may be called again */
int64_t ls_error_site2(void);     /* a second script position where an error concerns two lines (a passed point, a cycle); 0 if none */
const char *ls_header_hash(void);
const char *ls_torch_version(void);
int64_t ls_live(void);            /* the number of handles not yet released: tensors, sequences, functions, traces, modules, files, ... */

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* A value: nothing, a number, a text, a tensor, a sequence of values, or a node that will have a value later. The same 16 bytes are an
   argument, a result and the payload of a Lua handle. */
typedef enum ls_kind {
  LS_NONE = 0,
  LS_BOOL = 1,     /* as.i is 0 or 1 */
  LS_INT = 2,      /* as.i is the number */
  LS_FLOAT = 3,    /* as.f is the number */
  LS_STRING = 4,   /* as.s is a zero-terminated text; in a result it lives until the caller releases the value, as all values */
  LS_TENSOR = 5,   /* as.p is a libtorch tensor; aux LS_READ_ONLY marks an argument that no call may change in place */
  LS_TUPLE = 6,    /* as.p is a sequence whose length never changes, printed (a, b) */
  LS_LIST = 7,     /* as.p is a sequence as in a tuple, printed [a, b]; shapes are lists */
  LS_STRUCT = 8,   /* as.p is a sequence as in a tuple, with a name for each element, in order */
  LS_NODE = 9,     /* as.p is the ls_function or the ls_trace that the node is in, aux the node's number there */
  /* The kinds below occur only inside argument streams. */
  LS_OPEN = 10,    /* the next as.i values are one sequence; aux is LS_TUPLE, LS_LIST or LS_STRUCT (each element behind an LS_KEY) */
  LS_KEY = 11,     /* as.s is the name of the next value: a keyword argument, or an element of a struct */
  LS_SLICE = 12,   /* in indices, a slice: the next three values are its start, stop and step, each LS_INT, LS_NODE or LS_NONE */
  LS_ELLIPSIS = 13 /* in indices: `...`, as many whole axes as are left */
} ls_kind;

enum { LS_READ_ONLY = -1 };

typedef struct ls_value {
  int32_t kind;
  int32_t aux;
  union { int64_t i; double f; const char *s; void *p; } as;
} ls_value;

/* An argument stream is an array of ls_value in prefix form: a sequence is LS_OPEN followed by its elements (which may be sequences
   again), a keyword argument is LS_KEY followed by the value, behind all positional ones. */

void ls_value_retain(const ls_value *v);
void ls_value_release(const ls_value *v);
int64_t ls_value_bytes(const ls_value *v); /* the bytes of the elements of all tensors in the value; 0 for a node (see ls_trace_bytes) */
ls_status ls_value_build(const ls_value *stream, int32_t n, ls_value *out); /* makes the one value that a stream holds, such as a tuple */
int32_t ls_seq_length(const ls_value *seq);                                /* the number of elements; -1 unless `seq` is a sequence */
const char *ls_seq_key(const ls_value *seq, int32_t i);                     /* the name of element `i`; NULL unless `seq` is a struct */
ls_status ls_seq_get(const ls_value *seq, int32_t i, ls_value *out);
int32_t ls_seq_find(const ls_value *seq, const char *key);                  /* the index of the element named `key`, or -1 */

/* ---- operators ------------------------------------------------------------------------------------------------- */

typedef struct ls_op ls_op; /* an operator name with all its overloads; an ls_op lives as long as the library */
ls_status ls_op_find(const char *name, const ls_op **out); /* finds an operator: "add", "quantized::add"; an error proposes near names */

/* Calls an operator; where an argument is an LS_NODE of an open function or trace, the call becomes a node there, and the results are
   LS_NODEs. `site`: the script position (file number << 32 | line) that errors name. `n_out`: the number of results, up to LS_RESULTS. */
enum { LS_RESULTS = 16 };
ls_status ls_op_call(const ls_op *op, const ls_value *args, int32_t n, int64_t site, ls_value *out, int32_t *n_out);

/* ls_getitem is x[...], ls_setitem is x[...] = value, on tensors, sequences and nodes. The stream holds the indices: LS_INT, LS_NONE (a
   new axis), LS_SLICE, LS_ELLIPSIS, LS_TENSOR (a mask or positions), LS_OPEN (a list of positions), LS_STRING (the name of a field). */
ls_status ls_getitem(const ls_value *self, const ls_value *index, int32_t n, int64_t site, ls_value *out);
ls_status ls_setitem(const ls_value *self, const ls_value *index, int32_t n, const ls_value *value, int64_t site);

/* Makes a sequence of a stream that begins with LS_OPEN; where nodes of an open function or trace are inside, the result is a node. */
ls_status ls_seq_build(const ls_value *stream, int32_t n, int64_t site, ls_value *out);

/* Texts with one entry a line, valid until the next call: the names of all operators that begin with `prefix`; an operator's schemas. */
const char *ls_op_names(const char *prefix);
const char *ls_op_schemas(const ls_op *op);

/* ---- tensors --------------------------------------------------------------------------------------------------- */

typedef struct ls_tensor_info {
  int64_t elements;
  int64_t bytes;         /* the bytes of the whole storage behind the tensor */
  int64_t version;       /* how often the tensor was changed in place so far */
  const char *dtype;     /* such as "float32" */
  const char *device;    /* the device of the tensor's memory, such as "cpu" or "cuda:0" */
  int32_t dims;
  int32_t requires_grad;
  int32_t is_leaf;
  int32_t is_contiguous;
  int32_t is_lazy;       /* 1: its numbers are not those in memory (conjugate, negative, zeros without memory); 1 + a layout but strided */
  int64_t shape[64];
  int64_t strides[64];
} ls_tensor_info;

ls_status ls_tensor_describe(const ls_value *tensor, ls_tensor_info *out);
const char *ls_tensor_grad_fn(const ls_value *tensor); /* the autograd function that made the tensor, "AddBackward0"; NULL: none */
/* Makes a new tensor with copies of the numbers at `numbers`, as many as `shape` needs. `from` is their type: "float64", "int64" or
   "bool"; `dtype` is the type of the new tensor's elements. A `device` of NULL is "cpu". */
ls_status ls_tensor_from(const void *numbers, const char *from, const int64_t *shape, int32_t dims, const char *dtype,
                         const char *device, ls_value *out);
/* Finds the memory of a tensor on the CPU, which is valid while the tensor lives. The function fails for a lazy tensor (is_lazy). */
ls_status ls_tensor_pointer(const ls_value *tensor, void **out);
ls_status ls_tensor_plain(const ls_value *tensor, ls_value *out);         /* the tensor itself, or a copy in memory where it is lazy */
/* Writes to `out` the number in a tensor with one element, as LS_BOOL, LS_INT or LS_FLOAT. */
ls_status ls_tensor_item(const ls_value *tensor, ls_value *out);
ls_status ls_tensor_grad(const ls_value *tensor, ls_value *out);          /* the tensor's gradient; LS_NONE where it has none */
ls_status ls_tensor_set_grad(const ls_value *tensor, const ls_value *grad);
ls_status ls_tensor_set_data(const ls_value *tensor, const ls_value *data); /* lets the tensor object have the memory of `data` */
ls_status ls_tensor_require_grad(const ls_value *tensor, int32_t on);
ls_status ls_tensor_backward(const ls_value *tensor, const ls_value *grad, int32_t retain_graph); /* a `grad` of LS_NONE counts as 1 */
int32_t ls_tensor_same(const ls_value *a, const ls_value *b);             /* 1 where both are the same tensor object, else 0 */
int32_t ls_grad_enabled(void);
void ls_grad_enable(int32_t on);
ls_status ls_manual_seed(int64_t seed);
int32_t ls_threads(void);
ls_status ls_set_threads(int32_t n);                                      /* `n` is from 1 to 4096 */
/* Returns the number of devices of a kind such as "cuda"; 0 for a kind that libtorch does not know, -1 for NULL. */
int32_t ls_device_count(const char *kind);

/* ---- modules and functions ------------------------------------------------------------------------------------- */

typedef struct ls_module ls_module;   /* a named place in the model, with parameters and children */
typedef struct ls_function ls_function; /* what a module's forward does, as nodes in the order of execution */
typedef struct ls_program ls_program; /* a function with all that it calls, and with every point of it numbered */

ls_status ls_module_new(const char *class_name, ls_module **out);
void ls_module_release(ls_module *m);
ls_status ls_module_set_tensor(ls_module *m, const char *name, const ls_value *tensor); /* a parameter or a buffer; LS_NONE removes it */
ls_status ls_module_set_child(ls_module *m, const char *name, ls_module *child);        /* a `child` of NULL removes the child */
/* Sets the axis of a batch's rows at a point ("output", "input", a tap) or in a field of its value ("input.mask"); -1: no rows. */
ls_status ls_module_set_axis(ls_module *m, const char *point, int32_t axis);

/* A function is recorded once: first its inputs, then operators through ls_op_call, then the result. Sizes are values of it too. */
ls_status ls_function_new(ls_module *m, ls_function **out);
ls_status ls_function_input(ls_function *f, const char *keyword, ls_value *out); /* a `keyword` of NULL makes a positional input */
ls_status ls_function_call(ls_function *f, ls_module *child, ls_function *callee, const ls_value *args, int32_t n, int64_t site,
                           ls_value *out);
ls_status ls_function_tap(ls_function *f, const char *name, const ls_value *value, int64_t site, ls_value *out);
/* Records a call of one of two functions with the same result: of `fused`, or of `plain` where a trace uses a point inside `plain`. */
ls_status ls_function_two_forms(ls_function *f, ls_function *plain, ls_function *fused, const ls_value *args, int32_t n, int64_t site,
                             ls_value *out);
ls_status ls_function_finish(ls_function *f, const ls_value *result);
/* From now on calls of operators and x[...] whose arguments hold no node are recorded too, in `f`, unless it is NULL or finished. A node
   that is recorded runs with autograd off (`autograd` 0), on (1), or as its run has autograd (-1). */
void ls_record(ls_function *f, int32_t autograd);
/* Lets `f`, which branches on numbers, compute each node as it is recorded, from the inputs `given` or (`copies` 1) from their copies. */
ls_status ls_function_eager(ls_function *f, const ls_value *given, int32_t n, int32_t copies);
/* Reads the value of a node whose function branches on numbers and is being recorded; a later run in which the value differs fails. */
ls_status ls_function_demand(const ls_value *node, int64_t site, ls_value *out);
ls_status ls_function_result(ls_function *f, ls_value *out);  /* the result computed while `f` was recorded; it can be taken once */
void ls_function_release(ls_function *f);
ls_status ls_function_shape(const ls_value *node, int64_t site, ls_value *out); /* the sizes of a node's value, as a list */
/* Describes the tensor that a node will give, where no input of its function has a part in it; else fails with LS_ERROR_UNSET. */
ls_status ls_function_known(const ls_value *node, ls_tensor_info *out);
ls_status ls_program_new(ls_function *function, ls_program **out);
void ls_program_release(ls_program *p);
enum { LS_POINT_INPUT = 0, LS_POINT_OUTPUT = 1, LS_POINT_TAP = 2 };
int32_t ls_program_calls(ls_program *p, const char *path);    /* how often a run calls the module at a path such as "h.3 (call 1).attn" */
int32_t ls_program_find(ls_program *p, const char *name); /* the number of the point named "h.3.attn.output (call 1)"; -1: none */
int32_t ls_program_points(ls_program *p);
ls_module *ls_program_point_module(ls_program *p, int32_t point);  /* the module of a point, borrowed; NULL where it belongs to none */
const char *ls_program_point_name(ls_program *p, int32_t point);             /* a point's name, valid until the next call */
ls_status ls_program_run(ls_program *p, const ls_value *args, int32_t n, int32_t autograd, ls_value *out);

/* ---- traces ---------------------------------------------------------------------------------------------------- */

/* A trace is what a script does beside programs. Recording adds nodes; a demanded value, or the end of the trace, runs the model up to
   what is needed. A trace is recorded in invokes: bodies with an input each, whose rows run together in one pass of the model wherever
   the values that they use from each other allow it. */
/* The kinds of invokes: WHOLE has a pass of its own, ROWS shares a pass with others, ALL has no input and sees all rows of a pass. */
enum { LS_INVOKE_WHOLE = 0, LS_INVOKE_ROWS = 1, LS_INVOKE_ALL = 2 };
typedef struct ls_trace ls_trace;
ls_status ls_trace_open(ls_trace **out);
void ls_trace_release(ls_trace *t);
ls_status ls_trace_invoke(ls_trace *t, int32_t kind, ls_program *p, const ls_value *args, int32_t n, int32_t *out);
ls_status ls_trace_scan(ls_trace *t); /* makes the trace a scan, which computes shapes and dtypes but no numbers */
ls_status ls_trace_generate(ls_trace *t, int32_t steps); /* lets invokes that are opened later generate up to `steps` tokens */
ls_status ls_trace_read(ls_trace *t, int32_t invoke, int32_t step, int32_t point, int64_t site, ls_value *out);
ls_status ls_trace_write(ls_trace *t, int32_t invoke, int32_t step, int32_t point, const ls_value *value, int32_t skips,
                         int64_t site);                                       /* `skips` not 0: the module does not run */
ls_status ls_trace_hook(ls_trace *t, ls_program *p, int32_t *hook); /* a `hook` for ls_trace_call (else -1): `invoke` -2 - hook names its points */
void ls_trace_new_pass(ls_trace *t);  /* invokes that are opened later share no pass with earlier invokes, and generate nothing */
/* Makes a node with the number `offset`, plus in step 0 the number of padding columns left of the invoke, known when the pass begins. */
ls_status ls_trace_pad(ls_trace *t, int32_t invoke, int32_t step, int32_t offset, int64_t site, ls_value *out);
/* Returns the axis on which a value read at a point has the tokens, plus 256 for the decoder's beside an encoder, or -1 where it has none. */
int32_t ls_trace_token_axis(const ls_value *node, int32_t *invoke, int32_t *step);
ls_status ls_trace_text(ls_trace *t, int32_t invoke, int64_t site, ls_value *out); /* the token ids that the invoke generated */
ls_status ls_trace_call(ls_trace *t, ls_program *p, const ls_value *args, int32_t n, int32_t hook, int64_t site, ls_value *out);
ls_status ls_trace_host(ls_trace *t, int32_t invoke, const ls_value *args, int32_t n, int64_t site, ls_value *out);
ls_status ls_trace_grad(const ls_value *of, int32_t invoke, int64_t site, ls_value *out);
ls_status ls_trace_grad_of(ls_trace *t, const ls_value *parameter, int32_t invoke, int64_t site, ls_value *out);
ls_status ls_trace_set_grad(const ls_value *of, const ls_value *value, int32_t invoke, int64_t site);
ls_status ls_trace_backward(const ls_value *loss, const ls_value *gradient, int32_t retain_graph, int32_t invoke, int64_t site);
ls_status ls_trace_stop(ls_trace *t, int32_t invoke); /* ends the invoke's run behind the last point that it has used so far */
ls_status ls_trace_save(const ls_value *node);
/* Copies the nodes of `edits`, a recorded trace that never runs itself (stored edits), to an invoke of `t`. The copies act in step `step`;
   with -1 each acts in the step that its node names. map[i] becomes the number of the copy of node i. */
ls_status ls_trace_include(ls_trace *t, ls_trace *edits, int32_t invoke, int32_t step, int32_t *map);
int32_t ls_trace_count(ls_trace *t);           /* the number of the trace's nodes */

/* ls_trace_run runs as far as the node `demanded` needs and pauses there; with NULL it runs all that is still needed and closes the trace.
   Where the script has to act first, the function returns with an event: the script acts, and calls ls_trace_run again. */
enum {
  LS_EVENT_NONE = 0,
  LS_EVENT_PASS = 1, /* a pass begins: call ls_trace_rows for its invokes, then ls_trace_begin with step 0 */
  LS_EVENT_STEP = 2, /* a step ended with the result `value`: call ls_trace_begin with the next step, or ls_trace_end */
  LS_EVENT_HOST = 3  /* a function of the script has to run: call it with `value`, and ls_trace_supply with `node` and its result */
};
typedef struct ls_event {
  int32_t kind, pass, step, node;
  ls_value value; /* a new reference, which the caller releases */
} ls_event;
ls_status ls_trace_run(ls_trace *t, const ls_value *demanded, int64_t site, ls_event *event);
int32_t ls_trace_pass(ls_trace *t, int32_t invoke); /* the pass in which the invoke runs */
ls_status ls_trace_rows(ls_trace *t, int32_t invoke, int32_t first, int32_t rows, int32_t pad); /* 0 rows between steps: its texts have ended */
ls_status ls_trace_begin(ls_trace *t, int32_t pass, int32_t step, ls_program *p, const ls_value *args, int32_t n, int32_t rows);
ls_status ls_trace_end(ls_trace *t, const ls_value *text); /* ends a generation; `text` has the token ids of all rows */
ls_status ls_trace_supply(ls_trace *t, int32_t node, const ls_value *value);
void ls_trace_optional(const ls_value *read);         /* lets a read of a point stay without a value where a skip leaves the point out */
void ls_trace_abandon(ls_trace *t); /* closes the trace and runs nothing more of it; after ls_trace_keep its recording stays */
/* A trace is a recording, a plan made from it, and a run. When a trace closes, all three are released except for saved values. After
   ls_trace_keep a trace that closes without an error keeps its recording. ls_trace_rewind then opens the trace again, as it was before
   anything ran: plan, run and values are forgotten, and handles to nodes stay valid. What is not part of the recording is read anew at
   the next run: the numbers of tensors named in it (which may not have changed), of parameters, and of random generators. */
void ls_trace_keep(ls_trace *t);
ls_status ls_trace_rewind(ls_trace *t);
ls_status ls_trace_value(const ls_value *node, ls_value *out);            /* the node's value, once computed and saved or demanded */
int64_t ls_trace_bytes(ls_trace *t);                                          /* the bytes of the saved values that a closed trace keeps */
int32_t ls_node_is_set(const ls_value *node);
int32_t ls_node_is_eager(const ls_value *node);                               /* 1 where the node's value is computed when it is recorded */
int32_t ls_node_kind(const ls_value *node);                               /* the kind (LS_*) of the node's value, LS_NONE where unknown */
int32_t ls_node_is_open(const ls_value *node);  /* 1: the function of the node is being recorded; 2: its trace is open; 0: neither */
int64_t ls_node_site(const ls_value *node);

ls_program *ls_trace_program(ls_trace *t, int32_t node); /* the program that a call node calls, borrowed; NULL where the node is no call */

/* The texts that the next two functions write are valid until the next call of the same function. */
ls_status ls_trace_describe(ls_trace *t, const char **out); /* writes the trace as a readable text, one node a line */
/* Writes the recording as JSON: with the numbers of tensors, to store or send, or (`numbers` 0) with points and script lines, to read. */
ls_status ls_trace_json(ls_trace *t, int32_t numbers, const char **out);
void ls_interrupt(void);                       /* stops the run in progress at its next node; may be called in a signal handler */

/* ---- weights --------------------------------------------------------------------------------------------------- */

typedef struct ls_weights ls_weights; /* an open file of tensors, mapped into memory: safetensors, or what torch.save writes */

typedef struct ls_weights_entry {
  const char *name;
  const char *dtype;      /* the name of the dtype in luasight: "float32", "bfloat16" */
  int32_t dims;
  int64_t shape[64];
  int64_t bytes;
} ls_weights_entry;

ls_status ls_weights_open(const char *path, ls_weights **out);
void ls_weights_release(ls_weights *w);       /* the file stays mapped as long as tensors taken from it live */
int32_t ls_weights_count(ls_weights *w);      /* the number of tensors with a name; in a file of torch.save those of the dict at the top */
ls_status ls_weights_describe(ls_weights *w, int32_t i, ls_weights_entry *out);
int32_t ls_weights_find(ls_weights *w, const char *name);
const char *ls_weights_metadata(ls_weights *w); /* the file's __metadata__ object as JSON text, "{}" where the file has none */
ls_status ls_weights_tensor(ls_weights *w, int32_t i, ls_value *out); /* `out` is a view of the mapped file; nothing is copied */
/* All that a file of torch.save holds, as a stream, borrowed; returns its length. A list, tuple or dict begins with LS_OPEN (a dict:
   LS_STRUCT, keys and values in turn, as.i counts both); a tensor is LS_TENSOR with as.i the index that ls_weights_tensor takes. */
int32_t ls_weights_content(ls_weights *w, const ls_value **out);
void ls_weights_forget(ls_weights *w, int32_t i); /* frees the memory of an unused view of tensor `i`; changes to the view are lost */
ls_status ls_weights_write(const char *path, const char *const *names, const ls_value *tensors, int32_t n,
                           const char *metadata); /* `metadata`: NULL or a JSON object of strings; the finished file replaces `path` */

/* ---- graphs in files ------------------------------------------------------------------------------------------- */

/* Writes the function of a module, with all that it calls, as JSON. A tensor that the module tree has under one of `names` is a weight:
   it is left to a file of weights, and the JSON has its names ("h.0.attn.weight"). All other tensors are written with their numbers.
   Where `names` is NULL, every tensor of the module tree is a weight. The text is valid until the next call. */
ls_status ls_function_json(ls_function *f, const char *const *names, int32_t n, const char **out);

/* A reader holds the JSON text of a function or of stored edits after the whole text was checked: kinds, numbers and types of arguments,
   references, names, sizes. The text may call only those operators that files may call. `name` is the name of the file: an error has this
   name, the node and what is wrong with the node. A C program calls ls_function_read; then ls_reader_set_tensor for each weight that a file
   has (ls_weights_find, ls_weights_tensor); then ls_reader_function and ls_program_new. */
typedef struct ls_reader ls_reader;
ls_status ls_function_read(const char *json, size_t length, const char *name, ls_reader **out);
ls_status ls_edits_read(const char *json, size_t length, const char *name, ls_reader **out);
void ls_reader_release(ls_reader *r);

/* The tensors in the text of a function. Those with a name are weights, which have to be set before the function is made; a weight has
   several names where the module tree has it in several places. */
int32_t ls_reader_tensors(ls_reader *r);
ls_status ls_reader_tensor(ls_reader *r, int32_t i, ls_weights_entry *out); /* what tensor `i` is; its name is "" where it is no weight */
const char *ls_reader_tensor_name(ls_reader *r, int32_t i, int32_t k);         /* the k-th name of tensor `i`; NULL behind the last name */
ls_status ls_reader_set_tensor(ls_reader *r, const char *name, const ls_value *tensor); /* `tensor` needs the weight's dtype and shape */
ls_status ls_reader_function(ls_reader *r, ls_function **out);  /* makes the finished function; LS_ERROR_NAME where a weight was not set */

/* One call in the stored edits of a text, of a module of the model. For each such call ls_reader_set_program has to set a program. */
typedef struct ls_reader_call_info {
  int32_t edit, node;
  int32_t positional, keywords;
  const char *path;             /* the path of the called module */
} ls_reader_call_info;
int32_t ls_reader_edits(ls_reader *r);
int32_t ls_reader_edit_steps(ls_reader *r, int32_t i);                        /* 1 where edit `i` itself names the steps in which it acts */
int32_t ls_reader_calls(ls_reader *r);
ls_status ls_reader_call(ls_reader *r, int32_t i, ls_reader_call_info *out);
const char *ls_reader_call_keyword(ls_reader *r, int32_t i, int32_t k);
ls_status ls_reader_set_program(ls_reader *r, int32_t i, ls_program *p);
ls_status ls_reader_record(ls_reader *r, int32_t edit, ls_trace *trace, int32_t invoke); /* on failure, end `trace` by ls_trace_abandon */

ls_status ls_file_write(const char *path, const void *bytes, size_t size); /* writes and syncs a temporary file and renames it to `path` */

/* ---- tokenizers ------------------------------------------------------------------------------------------------ */

typedef struct ls_tokenizer ls_tokenizer;

ls_status ls_tokenizer_load(const char *json, size_t length, const char *name, ls_tokenizer **out); /* `json`: text of a tokenizer.json */
void ls_tokenizer_release(ls_tokenizer *t);
int32_t ls_tokenizer_size(ls_tokenizer *t);                              /* the number of tokens, added tokens included */

/* A token of a text, and where it is in the text. */
typedef struct ls_token {
  int64_t id;
  int32_t from, to; /* the numbers of the token's first character in the text and of the one behind its last; both 0 where `places` is 0 */
  int32_t word;     /* the number of the piece of text that the token is part of, from 0; -1 for a special token around the texts */
  int16_t type;     /* the token type id that the model takes: 0, or for tokens of a second text mostly 1 */
  int16_t text;     /* 0 or 1: the text (of two) that the token is from; -1 for a special token around the texts */
} ls_token;

typedef enum ls_cut { LS_CUT_LONGEST = 0, LS_CUT_FIRST = 1, LS_CUT_SECOND = 2 } ls_cut;

typedef struct ls_encoding {
  const char *pair;     /* a second text to be encoded with the first, or NULL */
  size_t pair_length;
  int32_t special;      /* 1: puts special tokens such as [CLS] around the texts, as the tokenizer.json says */
  int32_t places;       /* 1: finds `from` and `to` of each token */
  int32_t limit;        /* the most tokens of the result, special ones included; 0 for no limit */
  int32_t cut;          /* an ls_cut: which text loses tokens where there are more than `limit` */
  int32_t cut_left;     /* 1: a text loses tokens at its beginning, not at its end */
} ls_encoding;

ls_status ls_tokenizer_encode(ls_tokenizer *t, const char *text, size_t length, const ls_encoding *how, const ls_token **tokens,
                              int32_t *count);                           /* `tokens` is valid until the next call */
ls_status ls_tokenizer_decode(ls_tokenizer *t, const int64_t *ids, int32_t n, int32_t skip_special, const char **text,
                              size_t *length);                           /* `text` is valid until the next call */
const char *ls_tokenizer_token(ls_tokenizer *t, int64_t id);             /* the token with an id; NULL where there is none */
int64_t ls_tokenizer_id(ls_tokenizer *t, const char *token);             /* the id of a token; -1 where there is no such token */
