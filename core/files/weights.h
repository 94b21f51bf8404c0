/* The table of the tensors in a file of weights, and the functions that all readers and writers of such files use. */
#ifndef LUASIGHT_WEIGHTS_H
#define LUASIGHT_WEIGHTS_H
#include "base/base.h"

/* A safetensors file:

     0        8            8 + length                          size
     | length | JSON header | data of the tensors, end to end     |

   The header gives each tensor's dtype, shape and its range [begin, end) in the data. All numbers are little-endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weight files are mapped as they are: little-endian");

enum {
  LS__WEIGHTS_PREFIX = 8,          /* the size in bytes of the number at the beginning of a file that says how long the header is */
  LS__WEIGHTS_HEADER = 100000000,  /* the longest header in bytes that safetensors allows */
  LS__NAME_SHOWN = 160             /* the size in bytes of a buffer for a name that an error text shows */
};

typedef struct ls__weights_range { uint64_t begin, end; } ls__weights_range;

typedef struct ls__weights_item {
  const ls__dtype *dtype;
  char *name;          /* the name of the tensor, in the memory of this struct behind shape and strides */
  uint64_t begin, end; /* the range of the tensor's bytes: from byte `begin` of the file's data to the byte before `end` */
  int64_t elements;
  int64_t *strides;    /* in elements, in this struct's memory behind the shape; NULL for a contiguous tensor */
  int32_t index;       /* the index of this item in ls__weights_header.items */
  int32_t dims;
  int32_t lazy;        /* LS__CONJUGATE, LS__NEGATIVE: the numbers are the conjugates or the negatives of those in the file */
  int64_t shape[];
} ls__weights_item;

typedef struct ls__weights_header {
  int32_t count, room;
  ls__weights_item **items;   /* the tensors, in the order of their data (safetensors) or in the order of the pickle (torch.save) */
  int32_t named;  /* the first `named` items have names: all items of safetensors; for torch.save, those in the outermost dict */
  ls__weights_item **by_name;
  char *metadata;             /* the JSON text of a safetensors file's __metadata__, NULL where it has none */
  char *pickle;               /* for a file of torch.save: the bytes of its pickle; the texts of `content` point into these bytes */
  ls_value *content;          /* for a file of torch.save: the pickled object as a stream of values, see ls_weights_content */
  int32_t content_count;
} ls__weights_header;

/* Reads and checks the `length` bytes of a safetensors header, behind which are `data` bytes of tensors. `file` is the path in error texts.
   On success every range lies in the data, no two overlap and every byte belongs to a tensor; on failure `out` is empty. */
ls_status ls__weights_header_read(const char *file, const char *text, size_t length, uint64_t data,
                                  ls__weights_header *out);
void ls__weights_header_free(ls__weights_header *header);
/* Fills `header->by_name` with the items that have names, sorted by name; fails where two items have the same name. */
ls_status ls__weights_sort_names(const char *file, ls__weights_header *header);

/* torch_file.c: ls__pickle_read makes the table of the tensors in a file of torch.save. The ranges of its tensors count bytes from the
   beginning of the file, and they may overlap. */
bool ls__pickle_is(const char *start, size_t n); /* whether torch.save wrote a file with these `n` first bytes */
ls_status ls__pickle_read(int fd, const char *file, uint64_t size, bool zipped, ls__weights_header *out);

/* file_write.c: ls__file_write replaces the file at a path by a new file, made of `n` parts one behind the other. */
typedef struct ls__file_part {
  const void *bytes;
  size_t size;
} ls__file_part;
ls_status ls__file_write(const char *path, const ls__file_part *parts, int32_t n);

/* source.c */

/* Reads `size` bytes of the open file `fd` from byte `at` on into `buffer`; fails where the file ends before these bytes do. */
ls_status ls__weights_read(int fd, const char *file, void *buffer, size_t size, uint64_t at);

/* Makes an error with the text `<file>: tensor "name": ...`, or `<file>: ...` where `name` is NULL, and returns `code`. */
ls_status ls__weights_fail(ls_status code, const char *file, const char *name, const char *format, ...)
  __attribute__((format(printf, 4, 5)));
ls_status ls__weights_fail_system(const char *file, const char *what); /* makes the error `<file>: <what>: <errno in words>` */
#define LS__DAMAGED "the file is damaged or cut short, fetch it again"

#endif
