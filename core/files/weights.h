/* What the files share that read and write weights: the dtypes, and the table of the tensors in a file. */
#ifndef LUASIGHT_WEIGHTS_H
#define LUASIGHT_WEIGHTS_H
#include "base/base.h"

/* A safetensors file:

     0        8            8 + length                          size
     | length | JSON header | data of the tensors, end to end     |

   The header gives each tensor's dtype, shape and its range [begin, end) in the data. All numbers are little-endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weight files are mapped as they are: little-endian");

enum {
  LS__WEIGHTS_PREFIX = 8,          /* bytes of the length in front */
  LS__WEIGHTS_HEADER = 100000000,  /* longest header of the format */
  LS__NAME_SHOWN = 160             /* room for a name in an error */
};

typedef struct ls__weights_range { uint64_t begin, end; } ls__weights_range;

typedef struct ls__weights_item {
  const ls__dtype *dtype;
  char *name;          /* behind shape and strides, in the same allocation */
  uint64_t begin, end; /* in the data */
  int64_t elements;
  int64_t *strides;    /* behind the shape; NULL where the elements lie one behind the other */
  int32_t index;       /* in `items` */
  int32_t dims;
  int64_t shape[];
} ls__weights_item;

typedef struct ls__weights_header {
  int32_t count, room;
  ls__weights_item **items;   /* of safetensors in the order of the data; of PyTorch in that of the file */
  int32_t named;              /* the first so many can be found by name; of safetensors all, of PyTorch those at the top */
  ls__weights_item **by_name;
  char *metadata;             /* JSON text, NULL where absent */
  char *pickle;               /* of PyTorch: the text, of which the content has pieces */
  ls_value *content;          /* of PyTorch: see ls_weights_content */
  int32_t content_count;
} ls__weights_header;

/* Reads and checks the `length` bytes of a safetensors header for `data` bytes of tensors. `file` is for errors. On success
   every range lies in the data, none overlaps and none is missing; on failure `out` is empty. */
ls_status ls__weights_header_read(const char *file, const char *text, size_t length, uint64_t data,
                                  ls__weights_header *out);
void ls__weights_header_free(ls__weights_header *header);
/* Makes `by_name` of the named items; fails where two have one name. */
ls_status ls__weights_sort_names(const char *file, ls__weights_header *header);

/* torch_file.c: the same for a file of PyTorch, whose data is the whole file. Ranges may overlap. */
bool ls__pickle_is(const char *start, size_t n); /* whether a file that starts so is one */
ls_status ls__pickle_read(int fd, const char *file, uint64_t size, bool zipped, ls__weights_header *out);

/* file_write.c: a file of several parts, in the place of what was at the path. */
typedef struct ls__file_part {
  const void *bytes;
  size_t size;
} ls__file_part;
ls_status ls__file_write(const char *path, const ls__file_part *parts, int32_t n);

/* source.c */

/* All of `size` bytes at `at`; a file that ends before is an error. */
ls_status ls__weights_read(int fd, const char *file, void *buffer, size_t size, uint64_t at);

/* Fails with `<file>: tensor "name": ...`, or without the tensor where `name` is NULL. */
ls_status ls__weights_fail(ls_status code, const char *file, const char *name, const char *format, ...)
  __attribute__((format(printf, 4, 5)));
ls_status ls__weights_fail_system(const char *file, const char *what); /* `<file>: cannot <what>: <errno in words>` */
#define LS__DAMAGED "the file is damaged or cut short, fetch it again"

#endif
