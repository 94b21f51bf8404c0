/* A language model without Lua: opens the graph of a model, gives it the weights of a file, and runs it on some tokens; then once more
   in a trace that reads the value at a point and sets it to 0. It prints what the model says is next, with the value and without.

       luasight -e 'ls.LanguageModel("models/pretrained/ioi"):save_graph("graph.json", "any text")'
       cc trace.c $(pkg-config --cflags --libs luasight) -o trace
       ./trace graph.json models/pretrained/ioi/model.safetensors transformer.h.0.mlp.output 495 872 273 912 348 262

   The numbers are tokens. Where the library is not in a place that the system's loader knows, add
   -Wl,-rpath,$(pkg-config --variable=libdir luasight) when compiling. */
#include <luasight/luasight.h>
#include <stdio.h>
#include <stdlib.h>

static void stop(const char *what, const char *name) {
  fprintf(stderr, "trace: %s%s\n", what, name);
  exit(1);
}

static void check(ls_status status) {
  if (!status) return;
  if (*ls_error_cause()) fprintf(stderr, "trace: %s\n", ls_error_cause());
  stop(ls_error_message(), "");
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* Calls an operator that has one result. With a node among the arguments the call is recorded, and the result is a node. */
static ls_value call(const char *name, const ls_value *args, int32_t n) {
  const ls_op *op;
  ls_value results[LS_RESULTS];
  int32_t count;
  check(ls_op_find(name, &op));
  check(ls_op_call(op, args, n, 0, results, &count));
  return results[0];
}

/* x[first, second]; an index may be LS_ELLIPSIS, and `second` LS_NONE where there is only one. */
static ls_value item(const ls_value *x, ls_value first, ls_value second) {
  ls_value part;
  check(ls_getitem(x, (ls_value[]){first, second}, second.kind == LS_NONE ? 1 : 2, 0, &part));
  return part;
}

static double number(const ls_value *tensor) {
  ls_value n;
  check(ls_tensor_item(tensor, &n));
  return n.kind == LS_FLOAT ? n.as.f : (double)n.as.i;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static char *text_of(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) stop("cannot read ", path);
  long size = ftell(file);
  rewind(file);
  char *text = size < 0 ? NULL : malloc((size_t)size + 1);
  if (!text || fread(text, 1, (size_t)size, file) != (size_t)size) stop("cannot read ", path);
  fclose(file);
  *length = (size_t)size;
  return text;
}

/* What `model:save_graph(graph, input)` wrote, with the weights that it names. The file of the weights has each of them once; a weight
   that stands in several places of the model has several names in the graph. */
static ls_program *load(const char *graph, const char *weights) {
  ls_reader *reader;
  ls_weights *file;
  ls_function *function;
  ls_program *program;
  size_t length;
  char *text = text_of(graph, &length);
  check(ls_function_read(text, length, graph, &reader)); /* the whole text is checked here */
  free(text);
  check(ls_weights_open(weights, &file));
  for (int32_t i = 0; i < ls_reader_tensors(reader); i++) {
    const char *name;
    for (int32_t k = 0; (name = ls_reader_tensor_name(reader, i, k)); k++) {
      int32_t at = ls_weights_find(file, name);
      ls_value tensor;
      if (at < 0) continue;
      check(ls_weights_tensor(file, at, &tensor)); /* a view of the mapped file: nothing is copied */
      check(ls_reader_set_tensor(reader, name, &tensor));
      ls_value_release(&tensor);
    }
  }
  check(ls_reader_function(reader, &function)); /* fails where a weight is missing, and names it */
  check(ls_program_new(function, &program));
  ls_function_release(function);
  ls_weights_release(file);
  ls_reader_release(reader);
  return program;
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

/* Of the result of the model the scores of all tokens at the last position: a tensor, or a node where `result` is one. */
static ls_value last_scores(const ls_value *result) {
  ls_value logits = item(result, (ls_value){.kind = LS_STRING, .as.s = "logits"}, (ls_value){.kind = LS_NONE});
  ls_value scores = item(&logits, (ls_value){.kind = LS_INT, .as.i = 0}, (ls_value){.kind = LS_INT, .as.i = -1});
  ls_value_release(&logits);
  return scores;
}

static void print_best(const char *what, const ls_value *scores) {
  ls_value best = call("argmax", scores, 1), most = call("amax", scores, 1);
  printf("%s: token %.0f with %.4f\n", what, number(&best), number(&most));
  ls_value_release(&most);
  ls_value_release(&best);
}

/* Reads the value at the point, sets it to 0, and takes what the model says then. */
static void trace(ls_program *program, const char *name, const ls_value *input) {
  ls_trace *t;
  ls_value value, norm, result, scores, saved;
  ls_event event;
  int32_t invoke, point = ls_program_find(program, name), end = ls_program_find(program, "output");
  if (point < 0 || end < 0) stop("the model has no point ", point < 0 ? name : "output");
  check(ls_trace_open(&t));
  check(ls_trace_invoke(t, LS_INVOKE_WHOLE, program, input, 2, &invoke));
  check(ls_trace_read(t, invoke, 0, point, 0, &value));
  norm = call("norm", &value, 1);
  check(ls_trace_save(&norm));
  ls_value everything = {.kind = LS_ELLIPSIS}, zero = {.kind = LS_FLOAT, .as.f = 0};
  check(ls_setitem(&value, &everything, 1, &zero, 0));
  check(ls_trace_read(t, invoke, 0, end, 0, &result));
  scores = last_scores(&result);
  check(ls_trace_save(&scores));

  check(ls_trace_run(t, NULL, 0, &event)); /* nothing ran before this line */
  check(ls_trace_value(&norm, &saved));
  printf("%s: a norm of %.4f\n", name, number(&saved));
  ls_value_release(&saved);
  check(ls_trace_value(&scores, &saved));
  print_best("without it", &saved);
  ls_value_release(&saved);

  ls_value_release(&scores);
  ls_value_release(&result);
  ls_value_release(&norm);
  ls_value_release(&value);
  ls_trace_release(t);
}

int main(int count, char **given) {
  if (count < 5) stop("usage: trace GRAPH.json WEIGHTS.safetensors POINT TOKEN...", "");
  if (ls_abi_version() / 1000 != LS_ABI_VERSION / 1000 || ls_abi_version() < LS_ABI_VERSION)
    stop("this libluasight is not the one that the program was written for", "");
  check(ls_start(0)); /* nothing of this process changes */

  ls_program *program = load(given[1], given[2]);
  int64_t shape[] = {1, count - 4}, *tokens = malloc((size_t)shape[1] * sizeof *tokens);
  if (!tokens) stop("no memory", "");
  for (int64_t i = 0; i < shape[1]; i++) tokens[i] = strtoll(given[4 + i], NULL, 10);
  ls_value input[] = {{.kind = LS_KEY, .as.s = "input_ids"}, {.kind = LS_NONE}}, result;
  check(ls_tensor_from(tokens, "int64", shape, 2, "int64", "cpu", &input[1]));
  free(tokens);

  check(ls_program_run(program, input, 2, 0, &result));
  ls_value scores = last_scores(&result);
  print_best("next", &scores);
  ls_value_release(&scores);
  ls_value_release(&result);
  trace(program, given[3], input);

  ls_value_release(&input[1]);
  ls_program_release(program);
  if (ls_live()) fprintf(stderr, "trace: %lld handles were not released\n", (long long)ls_live());
  int left = ls_live() != 0;
  ls_stop();
  return left;
}
