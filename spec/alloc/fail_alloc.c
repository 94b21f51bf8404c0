/* What happens without memory: every body below runs again and again while its 1st, 2nd, ... nth allocation fails, first
   that one alone, then it and all behind it, until the body passes. Each time the error must be LS_ERROR_MEMORY (or the
   body must have managed without), nothing may be left allocated, and no handle alive.

   Stands alone, without libtorch and the rest of the core, which it replaces by what follows:

     cc -O1 -I core spec/alloc/fail_alloc.c core/tokenizer/[a-z]*.c core/files/[a-z]*.c core/base/dtype.c core/base/json.c \
       -ljansson -lutf8proc -lonig
     ./a.out FOLDER       (in the root of the project)

   glibc only: the program's own malloc takes the place of the library's, for jansson too. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "allocations.h"
#include "base/base.h"

/* ---- in place of the rest of the core ------------------------------------------------------------------------------ */

static char message[4096];
static int32_t live;

ls_status ls__fail(ls_status code, const char *format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  memcpy(message, text, sizeof message);
  return code;
}
void ls__fail_cause(const char *text) { (void)text; }
const char *ls_error_message(void) { return message; }
const char *ls_error_cause(void) { return ""; }
void ls__live_add(int32_t n) { live += n; }

ls_status ls__tensor_map(void *data, const int64_t *shape, const int64_t *strides, int32_t dims, const char *dtype,
                         int32_t lazy, void (*done)(void *), void *context, ls_value *out) {
  (void)data, (void)shape, (void)strides, (void)dims, (void)dtype, (void)lazy;
  void *tensor = malloc(1);
  free(tensor);
  done(context);
  if (!tensor) return ls__fail(LS_ERROR_MEMORY, "no memory for a tensor");
  *out = (ls_value){0};
  return LS_OK;
}

static const double numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};

ls_status ls_tensor_describe(const ls_value *tensor, ls_tensor_info *out) {
  *out = (ls_tensor_info){.elements = tensor->as.i, .dtype = tensor->aux ? "float64" : "uint8", .device = "cpu"};
  out->dims = out->is_contiguous = 1;
  out->shape[0] = tensor->as.i;
  return LS_OK;
}
ls_status ls_tensor_pointer(const ls_value *tensor, void **out) {
  (void)tensor;
  *out = (void *)(uintptr_t)numbers;
  return LS_OK;
}

/* ---- bodies -------------------------------------------------------------------------------------------------------- */

static char path[512], folder[400];
static char tokenizer[16384], bad_tokenizer[16384];

/* What a body gave, mixed into a number: who manages without memory must give the same. */
static uint64_t given;
static void give(const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) given = (given ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
}

/* All bytes, a few merges, an unknown token, added tokens with every flag, a template: each part allocates. No regular
   expression, with which oniguruma loses memory itself, and no string of 14 bytes: where jansson 2.14 cannot save the quote
   behind it, it reads on behind its buffer. */
static void write_tokenizer(char *json, const char *last_merge) {
  char *at = json + sprintf(json, "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":260,\"content\":\"</s>\",\"special\":true},"
                                  "{\"id\":261,\"content\":\"word\",\"normalized\":true,\"lstrip\":true}],\"normalizer\":"
                                  "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Lowercase\"},{\"type\":\"Nmt\"},"
                                  "{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"y\"}]},"
                                  "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
                                  "{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\"},"
                                  "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]},"
                                  "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"ByteFallback\"},"
                                  "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}]},"
                                  "\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
                                  "{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\",\"single\":["
                                  "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
                                  "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":"
                                  "{\"</s>\":{\"id\":\"</s>\",\"ids\":[260],\"tokens\":[\"</s>\"]}}}]},"
                                  "\"model\":{\"type\":\"BPE\",\"unk_token\":\"a\\u0062\",\"ignore_merges\":true,\"vocab\":{");
  int next = 256;
  for (int byte = 0; byte < 256; byte++) {
    bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    at += sprintf(at, "\"\\u%04x\":%d,", shown ? byte : next, byte);
    if (!shown) next++;
  }
  sprintf(at, "\"ab\":256,\"abab\":257,\"\\u0120ab\":258,\"ba\":259},\"merges\":[\"a b\",\"ab ab\",[\"\\u0120\",\"ab\"],%s]}}",
          last_merge);
}

static ls_status use_tokenizer(void) {
  ls_tokenizer *t = NULL;
  ls_status status = ls_tokenizer_load(tokenizer, strlen(tokenizer), "tokenizer.json", &t);
  if (status) return t ? LS_ERROR_STATE : status;
  char text[400];
  memset(text, 'a', sizeof text); /* too long for the short way of merging */
  memcpy(text, "ab \xFF\xE2\x82 word</s> ", 16);
  for (size_t i = 40; i < sizeof text; i += 2) text[i] = 'b';
  const ls_token *tokens = NULL;
  int32_t count = 0;
  const char *back;
  size_t length;
  ls_encoding how = {.special = 1, .places = 1, .limit = 60, .pair = "second ", .pair_length = 7};
  status = ls_tokenizer_encode(t, text, sizeof text, &how, &tokens, &count);
  int64_t halves[] = {256, 0xE2, 0x82, 257}, ids[60];
  if (!status) give(tokens, (size_t)count * sizeof *tokens);
  for (int32_t i = 0; !status && i < count; i++) ids[i] = tokens[i].id;
  if (!status) status = ls_tokenizer_decode(t, ids, count, 1, &back, &length);
  if (!status) give(back, length);
  if (!status) status = ls_tokenizer_decode(t, halves, 4, 0, &back, &length);
  if (!status) give(back, length);
  ls_tokenizer_release(t);
  return status;
}

static ls_status refuse_tokenizer(void) {
  ls_tokenizer *t = NULL;
  ls_status status = ls_tokenizer_load(bad_tokenizer, strlen(bad_tokenizer), "tokenizer.json", &t);
  return status == LS_ERROR_FORMAT && !t ? LS_OK : status == LS_OK ? LS_ERROR_STATE : status;
}

static ls_status write_weights(void) {
  const char *names[] = {"x", "b\xC3\xA9", "y"};
  ls_value tensors[] = {{LS_TENSOR, 1, {.i = 8}}, {LS_TENSOR, 0, {.i = 5}}, {LS_TENSOR, 1, {.i = 0}}};
  return ls_weights_write(path, names, tensors, 3, "{\"b\":\"1\",\"a\":\"2\"}");
}

static ls_status read_weights(void) {
  ls_weights *w = NULL;
  ls_status status = ls_weights_open(path, &w);
  if (status) return w ? LS_ERROR_STATE : status;
  for (int32_t i = 0; i < ls_weights_count(w) && !status; i++) {
    ls_value tensor;
    ls_weights_entry entry;
    status = ls_weights_describe(w, i, &entry);
    if (!status) status = ls_weights_tensor(w, i, &tensor);
    if (!status) give(entry.name, strlen(entry.name)), give(entry.shape, (size_t)entry.dims * sizeof *entry.shape);
  }
  give(ls_weights_metadata(w), strlen(ls_weights_metadata(w)));
  ls_weights_release(w);
  return status;
}

/* A file whose data is out of step, so that its tensors are copied. */
static void write_odd_weights(void) {
  char header[] = "{\"__metadata__\":{\"k\":\"v\"},\"x\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}} ";
  uint64_t length = strlen(header);
  if (length % 8 == 0) length--;
  FILE *file = fopen(path, "wb");
  fwrite(&length, sizeof length, 1, file);
  fwrite(header, 1, (size_t)length, file);
  fwrite(numbers, 1, 8, file);
  fclose(file);
}

/* ---- running them -------------------------------------------------------------------------------------------------- */

static int files(void) {
  int count = 0;
  DIR *all = opendir(folder);
  for (struct dirent *one; (one = readdir(all));) count += one->d_name[0] != '.';
  closedir(all);
  return count;
}

static int wrong(const char *name, long n, const char *what) {
  fprintf(stderr, "%s, allocation %ld%s: %s (%s)\n", name, n + 1, stay ? " and all behind it" : "", what, message);
  return 1;
}

static int run(const char *name, ls_status (*body)(void)) {
  given = 0;
  if (body()) return wrong(name, -1, "fails with enough memory");
  uint64_t right = given;
  int there = files();
  for (int all = 0; all < 2; all++) {
    stay = all == 1;
    for (long n = 0;; n++) {
      long before = held;
      failed = false;
      given = 0;
      countdown = n;
      ls_status status = body();
      countdown = -1;
      if (held != before) return wrong(name, n, "leaks");
      if (live) return wrong(name, n, "leaves a handle alive");
      if (files() != there) return wrong(name, n, "leaves a file");
      if (!status && given != right) return wrong(name, n, "gives something else");
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

int main(int count, char **arguments) {
  if (count != 2) return fputs("give an empty folder\n", stderr), 2;
  snprintf(folder, sizeof folder, "%s", arguments[1]);
  snprintf(path, sizeof path, "%s/x.safetensors", folder);
  write_tokenizer(tokenizer, "\"b a\"");
  write_tokenizer(bad_tokenizer, "\"a missing\"");
  int bad = run("tokenizer", use_tokenizer) + run("bad tokenizer", refuse_tokenizer) + run("writing", write_weights) +
            run("reading", read_weights);
  write_odd_weights();
  bad += run("reading out of step", read_weights);
  unlink(path);
  snprintf(path, sizeof path, "spec/reference/torch_files/nested.pt");
  bad += run("reading what torch saved", read_weights);
  snprintf(path, sizeof path, "spec/reference/torch_files/old-shared.pt");
  bad += run("reading what an old torch saved", read_weights);
  return bad != 0;
}
