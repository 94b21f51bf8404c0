/* Fuzzes the reader of what torch.save writes: whatever the bytes, it gives an error of one line or tensors inside the file.

   Input: a byte that chooses, then a whole file, or a pickle, around which there is then an archive with storages "0" and "1"
<<<<<<< HEAD
   of 64 bytes each, or what stands behind the magic number of an old file. Stands alone, as fuzz_safetensors.c does:

     clang -g -O1 -fsanitize=fuzzer,address,undefined -I core spec/fuzz/fuzz_pickle.c core/files/weights.c core/files/source.c \
       core/files/pickle*.c core/files/torch_file.c core/files/zip.c core/files/safetensors_header.c core/base/dtype.c \
       core/base/json.c -ljansson -o build/fuzz_pickle
     build/fuzz_pickle -dict=spec/fuzz/pickle.dict -max_total_time=300 build/corpus spec/reference/torch_files */
=======
   of 64 bytes each, or what stands behind the magic number of an old file. Stands alone, as fuzz_safetensors.c does; the files
   of spec/reference/torch_files are its seeds. `tools/fuzz 300 pickle` builds it and runs it for five minutes. */
>>>>>>> w/tests
#include "files.h"

/* ---- an archive -------------------------------------------------------------------------------------------------------- */

typedef struct archive {
  int fd;
  uint32_t at;
  uint16_t count;
  size_t used;
  uint8_t directory[1024];
} archive;

static void number(uint8_t *to, uint32_t n, size_t width) { memcpy(to, &n, width); }

static void put_entry(archive *a, const char *name, const void *bytes, size_t size) {
  uint8_t local[30] = "PK\003\004", *listed = a->directory + a->used;
  size_t length = strlen(name);
  number(local + 26, (uint32_t)length, 2);
  memset(listed, 0, 46);
  memcpy(listed, "PK\001\002", 4);
  number(listed + 20, (uint32_t)size, 4);
  number(listed + 24, (uint32_t)size, 4);
  number(listed + 28, (uint32_t)length, 2);
  number(listed + 42, a->at, 4);
  memcpy(listed + 46, name, length);
  put(a->fd, local, sizeof local);
  put(a->fd, name, length);
  put(a->fd, bytes, size);
  a->at += (uint32_t)(sizeof local + length + size);
  a->used += 46 + length;
  a->count++;
}

static void put_end(archive *a) {
  uint8_t end[22] = "PK\005\006";
  number(end + 10, a->count, 2);
  number(end + 12, (uint32_t)a->used, 4);
  number(end + 16, a->at, 4);
  put(a->fd, a->directory, a->used);
  put(a->fd, end, sizeof end);
}

static void put_archive(int fd, const uint8_t *pickle, size_t size) {
  static const uint8_t bytes[64] = {0, 1, 1, 0, 1};
  archive a = {.fd = fd};
  put_entry(&a, "x/data.pkl", pickle, size);
  put_entry(&a, "x/data/0", bytes, sizeof bytes);
  put_entry(&a, "x/data/1", bytes, sizeof bytes);
  put_end(&a);
}

/* The magic number, the protocol and the machine, as an old file begins. */
static void put_old(int fd, const uint8_t *pickles, size_t size) {
  static const char start[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
  put(fd, start, sizeof start - 1);
  put(fd, pickles, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  int fd = memfd_create("pickle", 0);
  if (fd < 0) abort();
  if (data[0] == 'P' || data[0] == 0x80) put(fd, data, size); /* a file as it is, so that real ones are seeds */
  else if (data[0] % 4 == 0) put(fd, data + 1, size - 1);
  else if (data[0] % 4 == 1) put_old(fd, data + 1, size - 1);
  else put_archive(fd, data + 1, size - 1);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  read_all(path);
  close(fd);
  if (live) abort();
  return 0;
}
