/* The part of Python's pickle format that a file of torch.save needs: a machine with a stack, which builds plain values and has no
   instruction for anything else. It makes None, booleans, numbers, texts, tuples, lists, dicts and descriptions of tensors. It refuses
   any other Python name, so that nothing in a file can run. */
#ifndef LUASIGHT_PICKLE_H
#define LUASIGHT_PICKLE_H
#include "weights.h"

typedef enum ls__pickle_kind {
  LS__PICKLE_NONE,
  LS__PICKLE_BOOL,    /* as.i */
  LS__PICKLE_INT,     /* as.i */
  LS__PICKLE_FLOAT,   /* as.f */
  LS__PICKLE_TEXT,    /* as.text: `count` bytes of the pickle, followed by a zero once the machine has stopped */
  LS__PICKLE_TUPLE,   /* as.items: `count` numbers of values */
  LS__PICKLE_LIST,
  LS__PICKLE_DICT,    /* as.items: `count` numbers of values: key, value, key, value */
  LS__PICKLE_NAME,    /* as.name: a Python name that is known */
  LS__PICKLE_STORAGE, /* as.i: the number of the storage */
  LS__PICKLE_TENSOR   /* as.i: the number of the tensor */
} ls__pickle_kind;

typedef struct ls__pickle_name ls__pickle_name; /* the meaning of a Python name, see pickle_torch.c */

typedef struct ls__pickle_value {
  int32_t kind;
  int32_t count;
  union {
    int64_t i;
    double f;
    char *text;
    int32_t *items;   /* numbers of values; the array has room for the next power of two */
    const ls__pickle_name *name;
  } as;
} ls__pickle_value;

typedef struct ls__pickle_storage {
  const char *key;               /* the name of the archive's entry that has its bytes */
  const ls__dtype *dtype; /* NULL: the storage is bytes without a dtype */
  int64_t elements;
} ls__pickle_storage;

typedef struct ls__pickle_tensor {
  const ls__dtype *dtype;
  int32_t storage;
  int32_t dims;
  int64_t offset;                /* counted in elements of the storage */
  int64_t *shape;                /* the sizes, followed by the strides, which count elements */
} ls__pickle_tensor;

typedef struct ls__pickle {
  const char *file;
  char *text;                    /* the machine writes zeros into it: see LS__PICKLE_TEXT */
  size_t length, at;
  ls__pickle_value *values;
  int32_t count, room;
  int32_t *stack;                /* numbers of values, or LS__PICKLE_MARK */
  int32_t depth, stack_room;
  int32_t *memo;                 /* at each index the number of a value plus one, 0 where there is none */
  int32_t memo_room, memo_next;
  ls__pickle_storage *storages;
  int32_t storage_count, storage_room;
  ls__pickle_tensor *tensors;
  int32_t tensor_count, tensor_room;
} ls__pickle;

enum { LS__PICKLE_MARK = -1 };

/* pickle.c: runs the pickle that begins at p->at, and sets p->at to the place behind it. The values live until ls__pickle_free, also
   after a failure. `out` is the number of the value that the pickle stands for. */
ls_status ls__pickle_run(ls__pickle *p, int32_t *out);
void ls__pickle_end_texts(ls__pickle *p); /* puts a zero behind each text; afterwards the machine cannot run again */
void ls__pickle_free(ls__pickle *p);

ls_status ls__pickle_fail(const ls__pickle *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
ls_status ls__pickle_no_memory(const ls__pickle *p);
/* The pointer is valid until the next call. */
ls_status ls__pickle_add(ls__pickle *p, int32_t kind, ls__pickle_value **out, int32_t *number);
ls_status ls__pickle_append(ls__pickle *p, int32_t container, int32_t item);
/* Makes room in a growing table for one more element of `size` bytes behind `count`. */
ls_status ls__pickle_grow(const ls__pickle *p, void *table, int32_t count, int32_t *room, size_t size);

/* pickle_torch.c: what Python names mean. Each function writes the number of a value. */
ls_status ls__pickle_find(ls__pickle *p, const char *module, size_t module_length, const char *name, size_t name_length,
                          int32_t *out);
ls_status ls__pickle_call(ls__pickle *p, int32_t callee, int32_t arguments, int32_t *out);
ls_status ls__pickle_persistent(ls__pickle *p, int32_t id, int32_t *out);
const char *ls__pickle_name_text(const ls__pickle_name *name); /* such as "float32" or "OrderedDict" */

#endif
