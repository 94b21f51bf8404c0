/* Reads files of weights, safetensors or those of torch.save: the file is mapped, its table of tensors is checked once, and tensors are
   views of the mapping.

   The mapping is private: a tensor that is edited in place gets pages of its own, and the file keeps its bytes. This code cannot guard
   against another program that makes the file shorter while it is mapped: the kernel then answers a read beyond the end with SIGBUS.
   ls_weights_write does not make a file shorter, it puts a new file in place of the old one. */
#define _DEFAULT_SOURCE 1
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "weights.h"
#include "torch/torch.h"

/* A mapped file, with one reference for the open file and one for each tensor. A thread of libtorch may release a tensor, so the count
   is atomic. */
typedef struct mapping {
  atomic_int references;
  char *bytes;
  size_t size;
} mapping;

struct ls_weights {
  char *path;
  mapping *map;
  size_t data; /* the place in the file, in bytes, at which the data of the tensors begins */
  ls__weights_header header;
};

static void mapping_drop(void *context) {
  mapping *m = context;
  if (atomic_fetch_sub(&m->references, 1) != 1) return;
  munmap(m->bytes, m->size);
  free(m);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Returns an error text for a file of unknown format: what the file seems to be, and what to do next. `start` has its first `n` bytes. */
static const char *guess(const char *start, size_t n) {
  static const struct { const char *start, *what; } known[] = {
    {"version https://git-lfs", "this is a Git LFS pointer, not the weights: run `git lfs pull` in its folder"},
    {"\200\002", "this is a Python pickle that torch.save did not write: save the state dictionary with torch.save"},
    {"\200\003", "this is a Python pickle that torch.save did not write: save the state dictionary with torch.save"},
    {"\200\004", "this is a Python pickle that torch.save did not write: save the state dictionary with torch.save"},
    {"GGUF", "this is a GGUF file: fetch the model's safetensors instead"},
    {"<", "this looks like a web page, not like weights: fetch the file again"},
    {"{", "this looks like JSON: give the .safetensors file itself"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    size_t length = strlen(known[i].start);
    if (n >= length && !memcmp(start, known[i].start, length)) return known[i].what;
  }
  return "this is not a safetensors file, or it is damaged";
}

/* Reads and parses the file's header. The header is copied first, so that a file that changes meanwhile cannot change the parsed text. */
static ls_status read_header(int fd, const char *path, size_t size, ls_weights *w) {
  char prefix[32] = {0};
  size_t n = size < sizeof prefix ? size : sizeof prefix;
  ls_status status = ls__weights_read(fd, path, prefix, n, 0);
  if (status) return status;
  if (ls__pickle_is(prefix, n)) return ls__pickle_read(fd, path, size, prefix[0] == 'P', &w->header);
  if (!size) return ls__fail(LS_ERROR_FORMAT, "%s: the file is empty; fetch it again", path);
  if (size < LS__WEIGHTS_PREFIX)
    return ls__fail(LS_ERROR_FORMAT, "%s: the file has %zu bytes, too few for a file of weights; fetch it again", path,
                    size);
  uint64_t length;
  memcpy(&length, prefix, sizeof length);
  if (length > LS__WEIGHTS_HEADER)
    return ls__fail(LS_ERROR_FORMAT, "%s: its header claims %llu bytes, more than the 100 MB that safetensors allows; %s", path,
                    (unsigned long long)length, guess(prefix, n));
  if (length > size - LS__WEIGHTS_PREFIX)
    return ls__fail(LS_ERROR_FORMAT,
                    "%s: its header claims %llu bytes, but the file has only %zu; it is cut short, fetch it again", path,
                    (unsigned long long)length, size);
  char *text = malloc((size_t)length + 1);
  if (!text) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the header of the file", path);
  status = ls__weights_read(fd, path, text, (size_t)length, LS__WEIGHTS_PREFIX);
  w->data = LS__WEIGHTS_PREFIX + (size_t)length;
  if (!status) status = ls__weights_header_read(path, text, (size_t)length, size - w->data, &w->header);
  free(text);
  return status;
}

static ls_status map_file(int fd, const char *path, size_t size, mapping **out) {
  mapping *m = malloc(sizeof *m);
  if (!m) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory while the file is opened", path);
  /* No swap is reserved, since the system would otherwise refuse a writable private mapping of a model larger than memory. */
  void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  if (bytes == MAP_FAILED) {
    ls_status status = ls__weights_fail_system(path, "cannot map the file");
    free(m);
    return status;
  }
  atomic_init(&m->references, 1);
  m->bytes = bytes;
  m->size = size;
  *out = m;
  return LS_OK;
}

static ls_status open_fd(int fd, const char *path, ls_weights *w) {
  struct stat info;
  if (fstat(fd, &info)) return ls__weights_fail_system(path, "cannot ask for the size and the type of the file");
  if (S_ISDIR(info.st_mode)) return ls__fail(LS_ERROR_IO, "%s: this is a folder; give the file of weights in it", path);
  if (!S_ISREG(info.st_mode)) return ls__fail(LS_ERROR_IO, "%s: this is not a plain file and cannot be mapped", path);
  ls_status status = read_header(fd, path, (size_t)info.st_size, w);
  return status ? status : map_file(fd, path, (size_t)info.st_size, &w->map);
}

ls_status ls_weights_open(const char *path, ls_weights **out) {
  LS__NEED(path && out);
  ls_weights *w = calloc(1, sizeof *w);
  char *copy = w ? strdup(path) : NULL;
  if (!copy) {
    free(w);
    return ls__fail(LS_ERROR_MEMORY, "%s: out of memory while the file is opened", path);
  }
  w->path = copy;
  ls__live_add(1);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK, so that opening a pipe does not wait for a writer */
  ls_status status = fd < 0 ? ls__weights_fail_system(path, "cannot open the file") : open_fd(fd, path, w);
  if (fd >= 0) close(fd);
  if (status) ls_weights_release(w);
  else *out = w;
  return status;
}

void ls_weights_release(ls_weights *w) {
  if (!w) return;
  if (w->map) mapping_drop(w->map);
  ls__weights_header_free(&w->header);
  free(w->path);
  free(w);
  ls__live_add(-1);
}

/* ---- what is in it ----------------------------------------------------------------------------------------------- */

int32_t ls_weights_count(ls_weights *w) { return w ? w->header.named : -1; }

int32_t ls_weights_content(ls_weights *w, const ls_value **out) {
  if (!w || !out) return -1;
  *out = w->header.content;
  return w->header.content_count;
}

const char *ls_weights_metadata(ls_weights *w) {
  return !w ? "" : w->header.metadata ? w->header.metadata : "{}";
}

static ls_status item_at(const ls_weights *w, int32_t i, const ls__weights_item **out) {
  if (i < 0 || i >= w->header.count)
    return ls__fail(LS_ERROR_INDEX, "%s: there is no tensor number %d, the file has %d tensors", w->path, i, w->header.count);
  *out = w->header.items[i];
  return LS_OK;
}

ls_status ls_weights_describe(ls_weights *w, int32_t i, ls_weights_entry *out) {
  LS__NEED(w && out);
  const ls__weights_item *item = NULL;
  ls_status status = item_at(w, i, &item);
  if (status) return status;
  *out = (ls_weights_entry){.name = item->name, .dtype = item->dtype->name, .dims = item->dims};
  out->bytes = item->elements * item->dtype->size;
  memcpy(out->shape, item->shape, sizeof *item->shape * (size_t)item->dims);
  return LS_OK;
}

static int compare_name(const void *name, const void *item) {
  return strcmp(name, (*(ls__weights_item *const *)item)->name);
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(ls__weights_item *const *)a)->name, (*(ls__weights_item *const *)b)->name);
}

ls_status ls__weights_sort_names(const char *file, ls__weights_header *header) {
  size_t n = (size_t)header->named;
  header->by_name = malloc(sizeof *header->by_name * (n + 1));
  if (!header->by_name) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the names of the tensors in the file", file);
  if (n) memcpy(header->by_name, header->items, sizeof *header->items * n);
  qsort(header->by_name, n, sizeof *header->by_name, by_name);
  for (size_t i = 1; i < n; i++)
    if (!strcmp(header->by_name[i - 1]->name, header->by_name[i]->name))
      return ls__weights_fail(LS_ERROR_FORMAT, file, header->by_name[i]->name,
                              "the tensor is in the file twice; the file is damaged, fetch it again");
  return LS_OK;
}

void ls__weights_header_free(ls__weights_header *header) {
  for (int32_t i = 0; i < header->count; i++) free(header->items[i]);
  free(header->items);
  free(header->by_name);
  free(header->metadata);
  free(header->pickle);
  free(header->content);
  *header = (ls__weights_header){0};
}

int32_t ls_weights_find(ls_weights *w, const char *name) {
  if (!w || !name || !w->header.named) return -1;
  ls__weights_item **found = bsearch(name, w->header.by_name, (size_t)w->header.named, sizeof *found, compare_name);
  return found ? (*found)->index : -1;
}

/* Fails where a bool of a tensor is stored as another byte than 0 or 1, for which the behaviour of libtorch's operators is undefined. */
static ls_status check_bools(const ls_weights *w, const ls__weights_item *item, const char *bytes) {
  for (int64_t i = 0; i < (int64_t)(item->end - item->begin); i++)
    if ((unsigned char)bytes[i] > 1)
      return ls__weights_fail(LS_ERROR_FORMAT, w->path, item->name,
                              "element %lld is stored as %d, but a BOOL is 0 or 1; the file is damaged, fetch it again", (long long)i,
                              (unsigned char)bytes[i]);
  return LS_OK;
}

/* Copies the bytes of a tensor to aligned memory. Old writers of safetensors did not pad the header, so that all tensors of a file are
   misaligned. */
static ls_status aligned_copy(const ls_weights *w, const char *from, size_t bytes, void **out) {
  void *copy = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!copy) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for %zu bytes of a tensor", w->path, bytes);
  *out = memcpy(copy, from, bytes);
  return LS_OK;
}

void ls_weights_forget(ls_weights *w, int32_t i) {
  const ls__weights_item *item = NULL;
  if (!w || item_at(w, i, &item)) return;
  size_t page = (size_t)sysconf(_SC_PAGESIZE), begin = w->data + item->begin, end = w->data + item->end;
  begin = (begin + page - 1) / page * page; /* drops whole pages only: the first and last page may also hold another tensor */
  end = end / page * page;
  if (begin < end) madvise(w->map->bytes + begin, end - begin, MADV_DONTNEED);
}

ls_status ls_weights_tensor(ls_weights *w, int32_t i, ls_value *out) {
  LS__NEED(w && out);
  const ls__weights_item *item = NULL;
  ls_status status = item_at(w, i, &item);
  if (status) return status;
  char *from = item->elements ? w->map->bytes + w->data + item->begin : w->map->bytes;
  if (!strcmp(item->dtype->code, "BOOL") && (status = check_bools(w, item, from))) return status;
  void *data = from, *context = w->map;
  void (*done)(void *) = mapping_drop;
  if ((uintptr_t)from % (uintptr_t)item->dtype->size) {
    if ((status = aligned_copy(w, from, (size_t)(item->end - item->begin), &data))) return status;
    context = data;
    done = free;
  } else {
    atomic_fetch_add(&w->map->references, 1);
  }
  status = ls__tensor_map(data, item->shape, item->strides, item->dims, item->dtype->name, item->lazy, done, context, out);
  if (!status) return LS_OK;
  char why[300], cause[300];
  ls__printable(ls_error_message(), strlen(ls_error_message()), why, sizeof why);
  ls__printable(ls_error_cause(), strlen(ls_error_cause()), cause, sizeof cause);
  ls__weights_fail(status, w->path, item->name, "%s", why);
  ls__fail_cause(cause);
  return status;
}
