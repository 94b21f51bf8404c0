/* Reads pickles, Python's format for objects, as far as a file of torch.save needs them. A pickle is a list of instructions for a machine
   with a stack. The machine here makes None, booleans, numbers, texts, tuples, lists, dicts and descriptions of tensors. A name of
   anything else in Python is an error, so that no code in a file can run. */
#ifndef LUASIGHT_PICKLE_H
#define LUASIGHT_PICKLE_H
#include "weights.h"

typedef enum ls__pickle_kind {
  LS__PICKLE_NONE,
  LS__PICKLE_BOOL,    /* as.i */
  LS__PICKLE_INT,     /* as.i */
  LS__PICKLE_FLOAT,   /* as.f */
  LS__PICKLE_TEXT,    /* as.text points to `count` bytes of the pickle; ls__pickle_end_texts puts a zero behind them */
  LS__PICKLE_TUPLE,   /* as.items has the `count` elements, each as an index in ls__pickle.values */
  LS__PICKLE_LIST,
  LS__PICKLE_DICT,    /* as.items has `count` indices in ls__pickle.values: key, value, key, value */
  LS__PICKLE_NAME,    /* as.name is one of the Python names in pickle_torch.c */
  LS__PICKLE_STORAGE, /* as.i is the index in ls__pickle.storages */
  LS__PICKLE_TENSOR   /* as.i is the index in ls__pickle.tensors */
} ls__pickle_kind;

typedef struct ls__pickle_name ls__pickle_name; /* a Python name and what it makes, see pickle_torch.c */

typedef struct ls__pickle_value {
  int32_t kind;
  int32_t count;
  union {
    int64_t i;
    double f;
    char *text;
    int32_t *items;   /* each element as an index in ls__pickle.values; there is room for `count` rounded up to a power of two */
    const ls__pickle_name *name;
  } as;
} ls__pickle_value;

typedef struct ls__pickle_storage {
  const char *key;               /* the name by which the file identifies the bytes of the storage */
  const ls__dtype *dtype; /* the dtype of the elements; NULL where the storage is bytes without a dtype */
  int64_t elements;
} ls__pickle_storage;

typedef struct ls__pickle_tensor {
  const ls__dtype *dtype;
  int32_t storage;
  int32_t dims;
  int32_t lazy;                  /* LS__CONJUGATE, LS__NEGATIVE: the numbers are the conjugates or the negatives of those in the storage */
  int64_t offset;                /* the place of the first element in the storage, counted in elements */
  int64_t *shape;                /* `dims` sizes, then `dims` strides; the strides count elements */
} ls__pickle_tensor;

typedef struct ls__pickle {
  const char *file;
  char *text;                    /* the bytes of the pickle; ls__pickle_end_texts writes zeros into them */
  size_t length, at;
  ls__pickle_value *values;
  int32_t count, room;
  int32_t *stack;                /* the stack of the machine that runs the pickle: indices in `values`, or LS__PICKLE_MARK */
  int32_t depth, stack_room;
  int32_t *memo;                 /* the values that the pickle stores to reuse: for each memo index the index in `values` plus one, or 0 */
  int32_t memo_room, memo_next;
  ls__pickle_storage *storages;
  int32_t storage_count, storage_room;
  ls__pickle_tensor *tensors;
  int32_t tensor_count, tensor_room;
} ls__pickle;

enum { LS__PICKLE_MARK = -1 };

/* pickle.c: runs the pickle that begins at p->at, and sets p->at to the place behind it. The values live until ls__pickle_free, also
   after a failure. `*out` is the index in p->values of the pickled object. */
ls_status ls__pickle_run(ls__pickle *p, int32_t *out);
void ls__pickle_end_texts(ls__pickle *p); /* writes a zero behind each text; the pickle cannot run again after that */
void ls__pickle_free(ls__pickle *p);

ls_status ls__pickle_fail(const ls__pickle *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
ls_status ls__pickle_no_memory(const ls__pickle *p);
/* Adds a value to p->values: `*out` points to the value until the next one is added, `*number` is its index. */
ls_status ls__pickle_add(ls__pickle *p, int32_t kind, ls__pickle_value **out, int32_t *number);
ls_status ls__pickle_append(ls__pickle *p, int32_t container, int32_t item);
/* Makes room for one more element of `size` bytes in a table of `count` elements; `table` points to the pointer to the table. */
ls_status ls__pickle_grow(const ls__pickle *p, void *table, int32_t count, int32_t *room, size_t size);

/* pickle_torch.c: these functions make the values that Python names and calls stand for. `*out` is the index of that value in p->values. */
ls_status ls__pickle_find(ls__pickle *p, const char *module, size_t module_length, const char *name, size_t name_length,
                          int32_t *out);
ls_status ls__pickle_call(ls__pickle *p, int32_t callee, int32_t arguments, int32_t *out);
ls_status ls__pickle_persistent(ls__pickle *p, int32_t id, int32_t *out);
const char *ls__pickle_name_text(const ls__pickle_name *name); /* the name as a text, such as "float32" or "OrderedDict" */

#endif
