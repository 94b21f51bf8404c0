/* Fuzzes the reader of safetensors files: whatever the bytes, it gives an error of one line or tensors inside the file.

   Input: a byte that chooses, then either a whole file, or the number of data bytes and the text of the header (the
   length in front is then right, so that the fuzzer gets to the JSON). Stands alone, without libtorch and the rest of
   the core, which it replaces by what follows:

     clang -g -O1 -fsanitize=fuzzer,address,undefined -I core spec/fuzz/fuzz_safetensors.c core/safetensors.c \
       core/safetensors_header.c core/json_util.c -ljansson -o build/fuzz_safetensors
     build/fuzz_safetensors -dict=spec/fuzz/safetensors.dict -max_total_time=300 build/corpus */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "internal.h"

/* ---- in place of the rest of the core ---------------------------------------------------------------------------- */

static char message[4096];
static int32_t live;

ls_status ls__fail(ls_status code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return code;
}
void ls__fail_cause(const char *text) { (void)text; }
const char *ls_error_message(void) { return message; }
const char *ls_error_cause(void) { return ""; }
void ls__live_add(int32_t n) { live += n; }

/* Reads and changes all elements, as an operator in place would, and lets go. */
ls_status ls__tensor_map(void *data, const int64_t *shape, int32_t dims, const char *dtype, void (*done)(void *),
                         void *context, ls_value *out) {
  int64_t elements = 1, stride = 1;
  for (int32_t i = 0; i < dims; i++) elements *= shape[i];
  for (int32_t i = dims - 1; i >= 0; i--)
    if (__builtin_mul_overflow(stride, shape[i] ? shape[i] : 1, &stride)) abort();
  int64_t size = strstr(dtype, "64") ? 8 : strstr(dtype, "32") ? 4 : strstr(dtype, "16") ? 2 : 1;
  if ((uintptr_t)data % (uintptr_t)size) abort();
  for (int64_t i = 0; i < elements * size; i++) ((unsigned char *)data)[i] ^= 1;
  done(context);
  *out = (ls_value){0};
  return LS_OK;
}

/* ---- the target -------------------------------------------------------------------------------------------------- */

static void check_error(ls_status status) {
  if (!status) return;
  if (!message[0] || strpbrk(message, "\n\r\033")) abort();
  message[0] = 0;
}

static void read_all(const char *path) {
  ls_weights *w = NULL;
  ls_status status = ls_weights_open(path, &w);
  check_error(status);
  if (status) return;
  for (int32_t i = 0; i < ls_weights_count(w); i++) {
    ls_weights_entry entry;
    ls_value tensor;
    if (ls_weights_describe(w, i, &entry) || ls_weights_find(w, entry.name) != i) abort();
    check_error(ls_weights_tensor(w, i, &tensor));
  }
  if (ls_weights_metadata(w)[0] != '{') abort();
  ls_weights_release(w);
}

static void put(int fd, const void *bytes, size_t size) {
  if (write(fd, bytes, size) != (ssize_t)size) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  int fd = memfd_create("safetensors", 0);
  if (fd < 0) abort();
  if (data[0] % 4 == 0) {
    put(fd, data + 1, size - 1);
  } else {
    uint64_t length = size - 2;
    static const uint8_t zeros[256];
    put(fd, &length, sizeof length);
    put(fd, data + 2, size - 2);
    put(fd, zeros, data[1]);
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  read_all(path);
  if (data[0] % 4 == 0) { /* what was changed in memory must not be in the file */
    uint8_t *after = malloc(size);
    if (pread(fd, after, size, 0) != (ssize_t)size - 1 || memcmp(after, data + 1, size - 1)) abort();
    free(after);
  }
  close(fd);
  if (live) abort();
  return 0;
}
