/* Fuzzes the reader of graphs: whatever the text, it gives an error of one line, or a function (a part of a trace) that can be written
   and read again.

   Input: a byte that chooses between functions and edits, and the text. Stands in for libtorch itself (texts.h); what is left
<<<<<<< HEAD
   unresolved is never called:

     clang -g -O1 -fsanitize=fuzzer,address,undefined -no-pie -Wl,--unresolved-symbols=ignore-all -DLS_HEADER_HASH='""' -I core \
       spec/fuzz/fuzz_graph.c core/base/[a-z]*.c core/value/[a-z]*.c core/model/[a-z]*.c core/trace/[a-z]*.c -ljansson -lm \
       -o build/fuzz_graph
     build/fuzz_graph -dict=spec/fuzz/graph.dict -max_total_time=300 build/corpus_graph spec/fuzz/graph */
=======
   unresolved is never called. `tools/fuzz 300 graph` builds it and runs it for five minutes. */
>>>>>>> w/tests
#include "texts.h"

static ls_status read_edits(const char *text, size_t length, const char **written) {
  ls_reader *r = NULL;
  ls_program *model = NULL;
  ls_status status = ls_edits_read(text, length, "edits", &r);
  if (!status && make_model(&model)) abort();
  if (!status) status = record_edits(r, model, written);
  ls_reader_release(r);
  ls_program_release(model);
  return status;
}

static void check_error(ls_status status) {
  if (status && (!*ls_error_message() || strpbrk(ls_error_message(), "\n\r\033"))) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static bool started;
  if (!started) start();
  started = true;
  if (size < 1) return 0;
  const char *written = NULL;
  char *text = malloc(size); /* exactly as long as it is said to be */
  if (!text) abort();
  memcpy(text, data + 1, size - 1);
  bool is_function = data[0] % 2;
  ls_status status = (is_function ? read_function : read_edits)(text, size - 1, &written);
  check_error(status);
  free(text);
  if (!status && is_function) { /* what is written can be read, and says the same */
    char *first = strdup(written);
    if (!first || read_function(first, strlen(first), &written) || strcmp(first, written)) abort();
    free(first);
  }
  if (ls_live()) abort();
  return 0;
}
