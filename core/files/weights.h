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
  LS__WEIGHTS_PREFIX = 8,          /* the bytes of the header's length at the beginning of a file */
  LS__WEIGHTS_HEADER = 100000000,  /* the longest header that the format allows */
  LS__NAME_SHOWN = 160             /* the room for a name in an error */
};

typedef struct ls__weights_range { uint64_t begin, end; } ls__weights_range;

typedef struct ls__weights_item {
  const ls__dtype *dtype;
  char *name;          /* in the same allocation, behind shape and strides */
  uint64_t begin, end; /* the range of its bytes in the data */
  int64_t elements;
  int64_t *strides;    /* behind the shape; NULL where the elements lie one behind the other */
  int32_t index;       /* its index in `items` */
  int32_t dims;
  int64_t shape[];
} ls__weights_item;

typedef struct ls__weights_header {
  int32_t count, room;
  ls__weights_item **items;   /* for safetensors in the order of the data, for torch.save in the order of the pickle */
  int32_t named;  /* how many of the first items have a name: for safetensors all, for torch.save those of the dict at the top */
  ls__weights_item **by_name;
  char *metadata;             /* the JSON text of __metadata__, NULL where the file has none */
  char *pickle;               /* for torch.save the text of the pickle, into which the content points */
  ls_value *content;          /* for torch.save the content, see ls_weights_content */
  int32_t content_count;
} ls__weights_header;

/* Reads and checks the `length` bytes of a safetensors header, behind which are `data` bytes of tensors. `file` is the name for errors.
   On success every range lies in the data, no two overlap and every byte belongs to a tensor; on failure `out` is empty. */
ls_status ls__weights_header_read(const char *file, const char *text, size_t length, uint64_t data,
                                  ls__weights_header *out);
void ls__weights_header_free(ls__weights_header *header);
/* Makes `by_name` of the named items; fails where two have the same name. */
ls_status ls__weights_sort_names(const char *file, ls__weights_header *header);

/* torch_file.c: the same for a file of torch.save, whose data is the whole file. Ranges may overlap. */
bool ls__pickle_is(const char *start, size_t n); /* whether a file with these first bytes is from torch.save */
ls_status ls__pickle_read(int fd, const char *file, uint64_t size, bool zipped, ls__weights_header *out);

/* file_write.c: replaces the file at a path by a new one, written from several parts. */
typedef struct ls__file_part {
  const void *bytes;
  size_t size;
} ls__file_part;
ls_status ls__file_write(const char *path, const ls__file_part *parts, int32_t n);

/* source.c */

/* Reads all of `size` bytes at `at`; fails where the file ends before. */
ls_status ls__weights_read(int fd, const char *file, void *buffer, size_t size, uint64_t at);

/* Fails with `<file>: tensor "name": ...`, or without the tensor where `name` is NULL. */
ls_status ls__weights_fail(ls_status code, const char *file, const char *name, const char *format, ...)
  __attribute__((format(printf, 4, 5)));
ls_status ls__weights_fail_system(const char *file, const char *what); /* `<file>: <what>: <errno in words>` */
#define LS__DAMAGED "the file is damaged or cut short, fetch it again"

#endif
