/* Graphs without memory: each body runs again and again while its 1st, 2nd, ... nth allocation fails, first that one alone, then it
   and all behind it, until the body passes. Each time the error must be LS_ERROR_MEMORY, or the text that was written the same as
   with memory; nothing may be left allocated, and no handle alive. Names are interned by a first run, which has memory; run_names has
   new ones each time.

   Stands alone, without libtorch, for which spec/fuzz/texts.h stands in; what is left unresolved is never called:

     cc -O1 -no-pie -Wl,--unresolved-symbols=ignore-all -Wl,-z,lazy -DLS_HEADER_HASH='""' -I core -I spec/fuzz spec/alloc/fail_graph.c \
       core/base/[a-z]*.c core/value/[a-z]*.c core/model/[a-z]*.c core/trace/[a-z]*.c -ljansson -lm
     ./a.out spec/fuzz/graph       (in the root of the project) */
#include "allocations.h"
#include "texts.h"

static char texts[2][8192];

static int load(const char *folder, const char *name, char *text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file) return fprintf(stderr, "there is no %s\n", path), 1;
  size_t n = fread(text, 1, 8191, file);
  text[n] = 0;
  fclose(file);
  return 0;
}

static int wrong(const char *name, long n, const char *what) {
  fprintf(stderr, "%s, allocation %ld%s: %s (%s)\n", name, n + 1, stay ? " and all behind it" : "", what, ls_error_message());
  return 1;
}

typedef ls_status body(const char *text, size_t length, const char **written);

/* Edits are read once, with memory: jansson 2.14 reads on behind its buffer where it cannot save the quote behind a string of 14
   bytes, as their first one has. */
static ls_reader *edits;
static ls_program *model;

static ls_status write_edits(const char *text, size_t length, const char **written) {
  (void)text, (void)length;
  return record_edits(edits, model, written);
}

static int run(const char *name, body *f, const char *text) {
  static char right[65536];
  size_t length = strlen(text + 1);
  const char *written = NULL;
  if (f(text + 1, length, &written)) return wrong(name, -1, "fails with enough memory");
  snprintf(right, sizeof right, "%s", written);
  int64_t alive = ls_live();
  for (int all = 0; all < 2; all++) {
    stay = all == 1;
    for (long n = 0;; n++) {
      long before = held;
      failed = false;
      countdown = n;
      ls_status status = f(text + 1, length, &written);
      countdown = -1;
      if (held != before) return wrong(name, n, "leaks");
      if (ls_live() != alive) return wrong(name, n, "leaves a handle alive");
      if (!status && strcmp(right, written)) return wrong(name, n, "gives another text");
      if (!failed) {
        if (status) return wrong(name, n, "fails with enough memory");
        printf("%s: %ld allocations\n", name, n);
        break;
      }
      if (status && status != LS_ERROR_MEMORY) return wrong(name, n, "gives another error");
    }
  }
  return 0;
}

/* A module and a function with names that nobody has used. */
static ls_status make_named(const char *name, ls_module **m, ls_function **f) {
  ls_value input = {0}, tapped = {0};
  ls_status status = ls_module_new(name, m);
  if (!status) status = ls_function_new(*m, f);
  if (!status) status = ls_function_input(*f, name, &input);
  if (!status) status = ls_function_tap(*f, name, &input, 0, &tapped);
  if (!status) status = ls_function_finish(*f, &tapped);
  ls_value_release(&tapped);
  ls_value_release(&input);
  return status;
}

/* A name that there is no memory for is an error, never another name. */
static int run_names(void) {
  int64_t alive = ls_live();
  stay = false;
  for (long n = 0;; n++) {
    char name[32], quoted[40];
    const char *written = NULL;
    ls_module *m = NULL;
    ls_function *f = NULL;
    snprintf(name, sizeof name, "fresh_%ld", n);
    failed = false;
    countdown = n;
    ls_status status = make_named(name, &m, &f);
    countdown = -1;
    if (!status) status = ls_function_json(f, NULL, 0, &written);
    snprintf(quoted, sizeof quoted, "\"%s\"", name);
    int32_t there = 0; /* the class, the input and the tap */
    for (const char *at = written; at && (at = strstr(at, quoted)); at++) there++;
    if (!status && there != 3) return wrong("names", n, written);
    ls_function_release(f);
    ls_module_release(m);
    if (ls_live() != alive) return wrong("names", n, "leaves a handle alive");
    if (status && (!failed || status != LS_ERROR_MEMORY)) return wrong("names", n, "gives another error");
    if (!failed) return printf("names: %ld allocations\n", n), 0;
  }
}

int main(int count, char **arguments) {
  if (count != 2) return fputs("give the folder of the texts\n", stderr), 2;
  texts[0][0] = texts[1][0] = 0;
  start();
  if (load(arguments[1], "function", texts[0]) || load(arguments[1], "edits", texts[1])) return 2;
  int bad = run("function", read_function, texts[0]);
  if (ls_edits_read(texts[1] + 1, strlen(texts[1] + 1), "edits", &edits) || make_model(&model)) return fputs(ls_error_message(), stderr), 2;
  bad += run("edits", write_edits, texts[1]);
  bad += run_names();
  ls_reader_release(edits);
  ls_program_release(model);
  return bad != 0;
}
