/* The C library by itself: opens a file of weights, records the first feed-forward block of a GPT-2 as a module, runs it on
   three tokens, and then once more in a trace that reads a value inside and sets a part of it to 0.

       cc trace.c $(pkg-config --cflags --libs luasight) -o trace
       ./trace models/pretrained/ioi/model.safetensors

   Where the library is not in a place that the system's loader knows, add -Wl,-rpath,$(pkg-config --variable=libdir luasight). */
#include <luasight/luasight.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 3, SILENT = 256 };

static void check(ls_status status) {
  if (!status) return;
  fprintf(stderr, "trace: %s", ls_error_message());
  if (*ls_error_cause()) fprintf(stderr, ": %s", ls_error_cause());
  fprintf(stderr, "\n");
  exit(1);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static ls_value number(double x) { return (ls_value){.kind = LS_FLOAT, .as.f = x}; }
static ls_value integer(int64_t i) { return (ls_value){.kind = LS_INT, .as.i = i}; }

/* Calls an operator that has one result. With a node among the arguments the call is recorded, and the result is a node. */
static ls_value call(const char *name, const ls_value *args, int32_t n) {
  const ls_op *op;
  ls_value results[LS_RESULTS];
  int32_t count;
  check(ls_op_find(name, &op));
  check(ls_op_call(op, args, n, 0, results, &count));
  return results[0];
}

static double sum(ls_value tensor) {
  ls_value total = call("sum", &tensor, 1), item;
  check(ls_tensor_item(&total, &item));
  ls_value_release(&total);
  return item.as.f;
}

static ls_value weight(ls_weights *file, const char *name) {
  int32_t i = ls_weights_find(file, name);
  ls_value tensor;
  if (i < 0) {
    fprintf(stderr, "trace: the file has no tensor \"%s\"\n", name);
    exit(1);
  }
  check(ls_weights_tensor(file, i, &tensor));
  return tensor;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

enum { IN_BIAS, IN, OUT_BIAS, OUT, WEIGHTS };
static const char *const names[WEIGHTS] = {"c_fc.bias", "c_fc.weight", "c_proj.bias", "c_proj.weight"};

/* x -> addmm -> gelu -> addmm, with a tap called "hidden" behind the gelu. */
static ls_function *record_block(ls_module *block, const ls_value *w) {
  ls_function *f;
  ls_value x, hidden;
  check(ls_function_new(block, &f));
  check(ls_function_input(f, NULL, &x));
  ls_value first = call("addmm", (ls_value[]){w[IN_BIAS], x, w[IN]}, 3);
  ls_value gelu = call("gelu", (ls_value[]){first, {.kind = LS_KEY, .as.s = "approximate"}, {.kind = LS_STRING, .as.s = "tanh"}}, 3);
  check(ls_function_tap(f, "hidden", &gelu, 0, &hidden));
  ls_value result = call("addmm", (ls_value[]){w[OUT_BIAS], hidden, w[OUT]}, 3);
  check(ls_function_finish(f, &result));
  ls_value_release(&result);
  ls_value_release(&hidden);
  ls_value_release(&gelu);
  ls_value_release(&first);
  ls_value_release(&x);
  return f;
}

/* ids -> embedding -> the block. */
static ls_function *record_model(ls_module *model, ls_module *block, ls_function *inside, const ls_value *table) {
  ls_function *f;
  ls_value ids, result;
  check(ls_function_new(model, &f));
  check(ls_function_input(f, NULL, &ids));
  ls_value rows = call("embedding", (ls_value[]){*table, ids}, 2);
  check(ls_function_call(f, block, inside, &rows, 1, 0, &result));
  check(ls_function_finish(f, &result));
  ls_value_release(&result);
  ls_value_release(&rows);
  ls_value_release(&ids);
  return f;
}

/* ---- traces ------------------------------------------------------------------------------------------------------ */

/* Reads `hidden`, sets its first SILENT columns to 0, and gives what the model then says. */
static void trace(ls_program *program, ls_module *block, const ls_value *ids) {
  ls_trace *t;
  ls_value hidden, before, output, value;
  ls_event event;
  int32_t invoke, inside = ls_program_point(program, block, LS_POINT_TAP, "hidden", 0),
                  behind = ls_program_point(program, block, LS_POINT_OUTPUT, NULL, 0);
  check(ls_trace_open(&t));
  check(ls_trace_invoke(t, LS_INVOKE_WHOLE, program, ids, 1, &invoke));
  check(ls_trace_read(t, invoke, 0, inside, 0, &hidden));
  before = call("sum", &hidden, 1);
  check(ls_trace_save(&before));
  ls_value columns[] = {{.kind = LS_ELLIPSIS}, {.kind = LS_SLICE}, integer(0), integer(SILENT), {.kind = LS_NONE}}, zero = number(0);
  check(ls_setitem(&hidden, columns, 5, &zero, 0));
  check(ls_trace_read(t, invoke, 0, behind, 0, &output));
  check(ls_trace_save(&output));
  const char *text;
  check(ls_trace_describe(t, &text));
  printf("%s", text);

  check(ls_trace_run(t, NULL, 0, &event)); /* nothing ran before this line */
  check(ls_trace_value(&before, &value));
  double inner;
  ls_value item;
  check(ls_tensor_item(&value, &item));
  inner = item.as.f;
  ls_value_release(&value);
  check(ls_trace_value(&output, &value));
  printf("hidden %.3f, output with %d columns set to 0: %.3f\n", inner, SILENT, sum(value));
  ls_value_release(&value);
  ls_value_release(&output);
  ls_value_release(&before);
  ls_value_release(&hidden);
  ls_trace_release(t);
}

int main(int count, char **given) {
  if (count != 2) {
    fprintf(stderr, "usage: trace FILE.safetensors\n");
    return 1;
  }
  if (ls_abi_version() / 1000 != LS_ABI_VERSION / 1000 || ls_abi_version() < LS_ABI_VERSION) {
    fprintf(stderr, "trace: this libluasight is not the one it was written for\n");
    return 1;
  }
  check(ls_start(0)); /* nothing of this process changes */

  ls_weights *file;
  ls_module *model, *block;
  ls_value w[WEIGHTS];
  check(ls_weights_open(given[1], &file));
  check(ls_module_new("Model", &model));
  check(ls_module_new("Block", &block));
  check(ls_module_set_child(model, "block", block));
  for (int i = 0; i < WEIGHTS; i++) {
    char name[64];
    snprintf(name, sizeof name, "transformer.h.0.mlp.%s", names[i]);
    w[i] = weight(file, name);
    check(ls_module_set_tensor(block, names[i], &w[i]));
  }
  ls_value table = weight(file, "transformer.wte.weight");
  check(ls_module_set_tensor(model, "wte", &table));
  ls_function *inside = record_block(block, w), *function = record_model(model, block, inside, &table);
  ls_program *program;
  check(ls_program_new(function, &program));

  const int64_t ids[TOKENS] = {1, 2, 3}, shape[1] = {TOKENS};
  ls_value input, output;
  check(ls_tensor_from(ids, "int64", shape, 1, "int64", "cpu", &input));
  check(ls_program_run(program, &input, 1, 0, &output));
  printf("output %.3f\n", sum(output));
  trace(program, block, &input);

  ls_value_release(&output);
  ls_value_release(&input);
  ls_program_release(program);
  ls_function_release(function);
  ls_function_release(inside);
  ls_value_release(&table);
  for (int i = 0; i < WEIGHTS; i++) ls_value_release(&w[i]);
  ls_module_release(block);
  ls_module_release(model);
  ls_weights_release(file);
  if (ls_live()) fprintf(stderr, "trace: %lld handles were not released\n", (long long)ls_live());
  int left = ls_live() != 0;
  ls_stop();
  return left;
}
