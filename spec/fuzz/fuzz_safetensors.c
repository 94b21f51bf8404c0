/* Fuzzes the reader of safetensors files: whatever the bytes, it gives an error of one line or tensors inside the file.

   Input: a byte that chooses, then either a whole file, or the number of data bytes and the text of the header (the
   length in front is then right, so that the fuzzer gets to the JSON). Stands alone, without libtorch and the rest of
<<<<<<< HEAD
   the core, which it replaces by what follows:

     clang -g -O1 -fsanitize=fuzzer,address,undefined -I core spec/fuzz/fuzz_safetensors.c core/files/weights.c core/files/source.c \
       core/files/pickle*.c core/files/torch_file.c core/files/zip.c core/files/safetensors_header.c core/base/dtype.c \
       core/base/json.c -ljansson -o build/fuzz_safetensors
     build/fuzz_safetensors -dict=spec/fuzz/safetensors.dict -max_total_time=300 build/corpus */
=======
   the core, which files.h replaces. `tools/fuzz 300 safetensors` builds it and runs it for five minutes. */
>>>>>>> w/tests
#include "files.h"

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
