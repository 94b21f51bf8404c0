/* What the fuzz target and the driver without memory share that read graphs: what stands in for libtorch, and one pass over a text.

   A tensor is a dtype, a shape and, where it was read, bytes; a few operators are known and never run. All else is the core's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- values -------------------------------------------------------------------------------------------------------- */

static void retain_tensor(void *tensor, int32_t aux);
static void release_tensor(void *tensor, int32_t aux);
static int64_t bytes_of_tensor(void *tensor);

/* What ls_start does without libtorch. */
static void start(void) {
  static const ls__value_class tensors = {retain_tensor, release_tensor, bytes_of_tensor};
  ls__value_define(LS_TENSOR, &tensors);
  ls__nodes_start();
}

/* ---- tensors ------------------------------------------------------------------------------------------------------- */

typedef struct tensor {
  int32_t references, dims;
  const char *dtype;
  int64_t shape[LS__DIMS];
  void *data;
  size_t bytes;
  void (*done)(void *);
} tensor;

void ls__tensor_retain(void *t) {
  ls__live_add(1);
  ((tensor *)t)->references++;
}
void ls__tensor_release(void *p) {
  tensor *t = p;
  ls__live_add(-1);
  if (--t->references) return;
  if (t->done) t->done(t->data);
  free(t);
}
static void retain_tensor(void *tensor, int32_t aux) {
  (void)aux;
  ls__tensor_retain(tensor);
}
static void release_tensor(void *tensor, int32_t aux) {
  (void)aux;
  ls__tensor_release(tensor);
}
static int64_t bytes_of_tensor(void *t) { return (int64_t)((tensor *)t)->bytes; }
int64_t ls__tensor_version(void *t) { return t ? 0 : 1; }

ls_status ls__tensor_map(void *data, const int64_t *shape, const int64_t *strides, int32_t dims, const char *dtype,
                         int32_t lazy, void (*done)(void *), void *context, ls_value *out) {
  (void)lazy;
  const ls__dtype *known = ls__dtype_named(dtype);
  tensor *t = calloc(1, sizeof *t);
  if (!t) {
    if (done) done(context); /* the memory is given back here, as by the core's own */
    return ls__fail(LS_ERROR_MEMORY, "no memory for a tensor");
  }
  if (strides || !known || dims > LS__DIMS || (context && context != data)) abort();
  int64_t bytes = known->size;
  for (int32_t i = 0; i < dims; i++) bytes *= t->shape[i] = shape[i];
  *t = (tensor){.references = 1, .dims = dims, .dtype = known->name, .data = data, .bytes = data ? (size_t)bytes : 0, .done = done};
  for (int32_t i = 0; i < dims; i++) t->shape[i] = shape[i];
  ls__live_add(1);
  *out = (ls_value){.kind = LS_TENSOR, .as.p = t};
  return LS_OK;
}
ls_status ls_tensor_describe(const ls_value *v, ls_tensor_info *out) {
  const tensor *t = v->as.p;
  *out = (ls_tensor_info){.dims = t->dims, .dtype = t->dtype, .device = "cpu", .elements = 1, .is_contiguous = 1};
  for (int32_t i = 0; i < t->dims; i++) out->shape[i] = t->shape[i];
  return LS_OK;
}
ls_status ls__tensor_raw(void *p, ls_value *keep, const void **data) {
  ls__tensor_retain(p);
  *keep = (ls_value){.kind = LS_TENSOR, .as.p = p};
  *data = ((tensor *)p)->data;
  return LS_OK;
}

void ls__capture_free(ls__capture *capture) { /* of gradients, which no text asks for */
  if (capture) abort();
}

/* ---- operators ----------------------------------------------------------------------------------------------------- */

struct ls_op {
  const char *name;
  int32_t arguments, results;
  bool writes;
  const char *named[4]; /* the last one may be `out`, which is written */
};
static const ls_op operators[] = {
  {"add", 3, 1, false, {"self", "other", "alpha", "out"}}, {"add_", 3, 1, true, {"self", "other", "alpha"}},
  {"max", 3, 2, false, {"self", "dim"}}, {"cat", 2, 1, false, {"tensors", "dim"}}, {"linear", 3, 1, false, {"input", "weight", "bias"}},
  {"from_file", 4, 1, false, {"filename"}}};
enum { OPERATORS = sizeof operators / sizeof *operators };

struct ls__call {
  const ls_op *op;
  int32_t first; /* its node, -1: none */
};

ls_status ls_op_find(const char *name, const ls_op **out) {
  for (int i = 0; i < OPERATORS; i++)
    if (!strcmp(operators[i].name, name)) {
      *out = &operators[i];
      return LS_OK;
    }
  return ls__fail(LS_ERROR_NAME, "there is no such operator");
}
bool ls__operator_is_safe(const char *name) { return strcmp(name, "from_file") != 0; }
const char *ls__op_name(const ls_op *op) { return op->name; }
int32_t ls__op_arguments(const ls_op *op) { return op->arguments; }
int32_t ls__op_argument(const ls_op *op, const char *name) {
  for (int i = 0; i < 4 && op->named[i]; i++)
    if (!strcmp(op->named[i], name)) return strcmp(name, "out") ? LS__ARGUMENT_TAKEN : LS__ARGUMENT_WRITTEN;
  return LS__ARGUMENT_NONE;
}

/* Looks at every byte of the arguments, as the choice of an overload would. */
ls_status ls__call_prepare(const ls_op *op, const ls_value *args, int32_t n, const uint8_t *kinds, ls__call **out) {
  size_t length = 0;
  for (int32_t i = 0; i < n; i = ls__stream_value(args, i, n)) {
    if (args[i].kind == LS_KEY) length += strlen(args[i++].as.s);
    if (i >= n) abort();
    int32_t end = ls__stream_value(args, i, n);
    if (end > n || end <= i) abort();
    for (int32_t k = i; k < end; k++) {
      if (args[k].kind == LS_STRING) length += strlen(args[k].as.s);
      if (args[k].kind == LS_NODE) length += kinds[args[k].aux];
      if (args[k].kind == LS_TENSOR) length += (size_t)((tensor *)args[k].as.p)->dims;
    }
  }
  if (length > 1u << 30) abort();
  ls__call *call = malloc(sizeof *call);
  if (!call) return ls__fail(LS_ERROR_MEMORY, "no memory for a call");
  *call = (ls__call){op, n && args[0].kind == LS_NODE ? args[0].aux : -1};
  *out = call;
  return LS_OK;
}
void ls__call_free(ls__call *call) { free(call); }
int32_t ls__call_results(const ls__call *call) { return call->op->results; }
uint8_t ls__call_kind(const ls__call *call, int32_t result) {
  if (result < 0 || result >= call->op->results) abort();
  return LS_TENSOR;
}
int32_t ls__call_written(const ls__call *call, int32_t k) { return call->op->writes && !k ? call->first : -1; }
bool ls__call_changes_own(const ls__call *call) { return call->op->writes && call->first < 0; }
bool ls__op_addresses(const ls_op *op) { return op == NULL; }
bool ls__call_writes_others(const ls__call *call) { return call == NULL; }
bool ls__call_may_return(const ls__call *call) { return call->op->results > 1; }
int32_t ls__call_view_at(const ls__call *call) { return call->op->writes && call->first >= 0 ? 0 : -1; }
int32_t ls__call_view_of(const ls__call *call) { return call->op->writes ? call->first : -1; }

/* ---- one text ------------------------------------------------------------------------------------------------------ */

/* A model with a module "a" below it, whose points edits can name. */
static ls_status make_model(ls_program **out) {
  ls_module *root = NULL, *a = NULL;
  ls_function *inner = NULL, *outer = NULL;
  ls_value x = {0}, y = {0}, weight = {0};
  ls_status status = ls_module_new("Root", &root);
  if (!status) status = ls_module_new("A", &a);
  if (!status) status = ls_module_set_child(root, "a", a);
  if (!status) status = ls__tensor_map(NULL, (int64_t[]){2}, NULL, 1, "float32", 0, NULL, NULL, &weight);
  if (!status) status = ls_module_set_tensor(root, "w", &weight);
  if (!status) status = ls_function_new(a, &inner);
  if (!status) status = ls_function_input(inner, NULL, &x);
  if (!status) status = ls_function_tap(inner, "t", &x, 0, &y);
  if (!status) status = ls_function_finish(inner, &y);
  ls_value_release(&x);
  ls_value_release(&y);
  x = y = (ls_value){0};
  if (!status) status = ls_function_new(root, &outer);
  if (!status) status = ls_function_input(outer, NULL, &x);
  if (!status) status = ls_function_call(outer, a, inner, &x, 1, 0, &y);
  if (!status) status = ls_function_finish(outer, &y);
  ls_value_release(&x);
  ls_value_release(&y);
  ls_value_release(&weight);
  if (!status) status = ls_program_new(outer, out);
  ls_function_release(inner);
  ls_function_release(outer);
  ls_module_release(root);
  ls_module_release(a);
  return status;
}

/* Edits that were read become parts of traces, and these texts again. */
static ls_status record_edits(ls_reader *r, ls_program *model, const char **written) {
  ls_status status = LS_OK;
  for (int32_t i = 0; !status && i < ls_reader_calls(r); i++) {
    ls_reader_call_info call;
    if (ls_reader_call(r, i, &call) || !call.path || (call.keywords && !ls_reader_call_keyword(r, i, 0))) abort();
    status = ls_reader_set_program(r, i, model);
  }
  for (int32_t i = 0; !status && i < ls_reader_edits(r); i++) {
    ls_trace *trace = NULL;
    int32_t invoke;
    ls_value x = {0};
    status = ls_trace_open(&trace);
    if (!status) status = ls_trace_generate(trace, 1 << 20);
    if (!status) status = ls__tensor_map(NULL, NULL, NULL, 0, "float32", 0, NULL, NULL, &x);
    if (!status) status = ls_trace_invoke(trace, LS_INVOKE_WHOLE, model, &x, 1, &invoke);
    if (!status) status = ls_reader_record(r, i, trace, invoke);
    if (!status) status = ls_trace_json(trace, 0, written);
    if (!status) status = ls_trace_describe(trace, written);
    ls_value_release(&x);
    ls_trace_release(trace);
  }
  return status;
}

/* A text of a function becomes the function, a program, and a text again. */
static ls_status read_function(const char *text, size_t length, const char **written) {
  ls_reader *r = NULL;
  ls_function *f = NULL;
  ls_program *p = NULL;
  ls_status status = ls_function_read(text, length, "function", &r);
  for (int32_t i = 0; !status && i < ls_reader_tensors(r); i++) {
    ls_weights_entry entry;
    ls_value weight = {0};
    if (ls_reader_tensor(r, i, &entry)) abort();
    if (!*entry.name) continue;
    void *numbers = entry.bytes >= 0 && entry.bytes < 1 << 20 ? calloc((size_t)entry.bytes + 1, 1) : NULL;
    if (!numbers) status = ls__fail(LS_ERROR_MEMORY, "no memory for a weight");
    if (!status) status = ls__tensor_map(numbers, entry.shape, NULL, entry.dims, entry.dtype, 0, free, numbers, &weight);
    if (!status) status = ls_reader_set_tensor(r, entry.name, &weight);
    ls_value_release(&weight);
  }
  if (!status) status = ls_reader_function(r, &f);
  ls_reader_release(r);
  if (!status) status = ls_program_new(f, &p);
  for (int32_t i = 0; !status && i < ls_program_points(p); i++) (void)strlen(ls_program_point_name(p, i));
  ls_program_release(p);
  if (!status) status = ls_function_json(f, NULL, 0, written);
  ls_function_release(f);
  return status;
}
