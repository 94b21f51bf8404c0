/* The Python names that a file of torch.save may use, and the values that they make. The error for any other Python name says that name. */
#include <stdlib.h>
#include <string.h>
#include "pickle.h"
#include "torch/torch.h"

typedef enum name_kind {
  DICT,      /* collections.OrderedDict: makes a dict, empty or from a list of pairs */
  SIZE,      /* torch.Size: the value made for a call torch.Size(tuple) is the tuple */
  DEVICE,    /* torch.device: the value made for a call torch.device(text) is the text, such as "cpu" */
  REBUILD_1, /* torch._utils._rebuild_tensor: makes a tensor from a storage, an offset, a shape and strides */
  REBUILD_2, /* torch._utils._rebuild_tensor_v2: takes the arguments of _rebuild_tensor, and others that are ignored here */
  REBUILD_3, /* torch._utils._rebuild_tensor_v3: takes the arguments of _rebuild_tensor; argument 6, counted from 0, is the dtype */
  PARAMETER, /* torch._utils._rebuild_parameter(_with_state): makes a parameter from a tensor; the value made here is the tensor */
  STORAGE,   /* a class of storages whose name says the dtype, such as torch.FloatStorage */
  BYTES,     /* torch.UntypedStorage, the class of storages that have bytes but no dtype */
  DTYPE      /* the name of a dtype, such as torch.float32 */
} name_kind;

struct ls__pickle_name {
  const char *module, *name;
  name_kind kind;
  const char *dtype;
};

static const ls__pickle_name names[] = {
  {"collections", "OrderedDict", DICT, NULL},
  {"torch", "Size", SIZE, NULL},
  {"torch", "device", DEVICE, NULL},
  {"torch._utils", "_rebuild_tensor", REBUILD_1, NULL},
  {"torch._utils", "_rebuild_tensor_v2", REBUILD_2, NULL},
  {"torch._utils", "_rebuild_tensor_v3", REBUILD_3, NULL},
  {"torch._utils", "_rebuild_parameter", PARAMETER, NULL},
  {"torch._utils", "_rebuild_parameter_with_state", PARAMETER, NULL},
  {"torch", "DoubleStorage", STORAGE, "float64"},
  {"torch", "FloatStorage", STORAGE, "float32"},
  {"torch", "HalfStorage", STORAGE, "float16"},
  {"torch", "BFloat16Storage", STORAGE, "bfloat16"},
  {"torch", "LongStorage", STORAGE, "int64"},
  {"torch", "IntStorage", STORAGE, "int32"},
  {"torch", "ShortStorage", STORAGE, "int16"},
  {"torch", "CharStorage", STORAGE, "int8"},
  {"torch", "ByteStorage", STORAGE, "uint8"},
  {"torch", "BoolStorage", STORAGE, "bool"},
  {"torch", "ComplexFloatStorage", STORAGE, "complex64"},
  {"torch.storage", "UntypedStorage", BYTES, NULL},
  {"torch", "UntypedStorage", BYTES, NULL},
  {"torch", "float64", DTYPE, "float64"},
  {"torch", "float32", DTYPE, "float32"},
  {"torch", "float16", DTYPE, "float16"},
  {"torch", "bfloat16", DTYPE, "bfloat16"},
  {"torch", "int64", DTYPE, "int64"},
  {"torch", "int32", DTYPE, "int32"},
  {"torch", "int16", DTYPE, "int16"},
  {"torch", "int8", DTYPE, "int8"},
  {"torch", "uint64", DTYPE, "uint64"},
  {"torch", "uint32", DTYPE, "uint32"},
  {"torch", "uint16", DTYPE, "uint16"},
  {"torch", "uint8", DTYPE, "uint8"},
  {"torch", "bool", DTYPE, "bool"},
  {"torch", "complex64", DTYPE, "complex64"},
  {"torch", "float8_e4m3fn", DTYPE, "float8_e4m3fn"},
  {"torch", "float8_e4m3fnuz", DTYPE, "float8_e4m3fnuz"},
  {"torch", "float8_e5m2", DTYPE, "float8_e5m2"},
  {"torch", "float8_e5m2fnuz", DTYPE, "float8_e5m2fnuz"},
  {"torch", "float8_e8m0fnu", DTYPE, "float8_e8m0fnu"},
};

#define BROKEN "; fetch the file again"

static bool is_text(const char *text, size_t length, const char *known) {
  return strlen(known) == length && !memcmp(text, known, length);
}

ls_status ls__pickle_find(ls__pickle *p, const char *module, size_t module_length, const char *name, size_t name_length,
                          int32_t *out) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (!is_text(module, module_length, names[i].module) || !is_text(name, name_length, names[i].name)) continue;
    ls__pickle_value *v = NULL;
    ls_status status = ls__pickle_add(p, LS__PICKLE_NAME, &v, out);
    if (!status) v->as.name = &names[i];
    return status;
  }
  char where[LS__NAME_SHOWN], what[LS__NAME_SHOWN];
  return ls__pickle_fail(p, "the pickle wants to call %s.%s of Python, but only tensors and plain containers are read; "
                         "save a state dictionary with torch.save, and trust the file only if you know it",
                         ls__printable(module, module_length, where, sizeof where),
                         ls__printable(name, name_length, what, sizeof what));
}

/* ---- arguments ----------------------------------------------------------------------------------------------------- */

/* Returns element `i` of a tuple; NULL where the tuple is shorter or the element is of another kind than `kind`. */
static const ls__pickle_value *element(const ls__pickle *p, int32_t tuple, int32_t i, int32_t kind) {
  const ls__pickle_value *t = &p->values[tuple];
  if (i >= t->count) return NULL;
  const ls__pickle_value *v = &p->values[t->as.items[i]];
  return v->kind == kind ? v : NULL;
}

/* ---- storages and tensors ------------------------------------------------------------------------------------------ */

/* Makes a storage from the tuple ("storage", class, key, device, number of elements) that a pickle has for it; ignores the device. */
ls_status ls__pickle_persistent(ls__pickle *p, int32_t id, int32_t *out) {
  bool known = p->values[id].kind == LS__PICKLE_TUPLE;
  const ls__pickle_value *what = known ? element(p, id, 0, LS__PICKLE_TEXT) : NULL;
  const ls__pickle_value *class = known ? element(p, id, 1, LS__PICKLE_NAME) : NULL;
  const ls__pickle_value *key = known ? element(p, id, 2, LS__PICKLE_TEXT) : NULL;
  const ls__pickle_value *elements = known ? element(p, id, 4, LS__PICKLE_INT) : NULL;
  if (!what || !is_text(what->as.text, (size_t)what->count, "storage") || !class || !key || !elements ||
      elements->as.i < 0 || (class->as.name->kind != STORAGE && class->as.name->kind != BYTES))
    return ls__pickle_fail(p, "the pickle is damaged: it asks for an outside object that is not the storage of a tensor" BROKEN);
  const ls__pickle_value *view = element(p, id, 5, LS__PICKLE_TUPLE);
  if (view)
    return ls__pickle_fail(p, "the pickle has a storage that is a part of another storage, which is not supported; load the file in "
                              "PyTorch and save it again");
  ls_status status = ls__pickle_grow(p, &p->storages, p->storage_count, &p->storage_room, sizeof *p->storages);
  if (status) return status;
  p->storages[p->storage_count] = (ls__pickle_storage){.key = key->as.text, .elements = elements->as.i,
    .dtype = class->as.name->kind == STORAGE ? ls__dtype_named(class->as.name->dtype) : NULL};
  ls__pickle_value *v = NULL;
  status = ls__pickle_add(p, LS__PICKLE_STORAGE, &v, out);
  if (status) return status;
  v->as.i = p->storage_count++;
  return LS_OK;
}

/* Reads a tuple of sizes or strides; returns false where one of them is not a whole number from 0 on. */
static bool read_sizes(const ls__pickle *p, const ls__pickle_value *tuple, int64_t *out) {
  for (int32_t i = 0; i < tuple->count; i++) {
    const ls__pickle_value *size = &p->values[tuple->as.items[i]];
    if (size->kind != LS__PICKLE_INT || size->as.i < 0) return false;
    out[i] = size->as.i;
  }
  return true;
}

/* Reads the dict with which PyTorch says that the numbers of a tensor are the conjugates or the negatives of those in its storage. */
static ls_status read_lazy(ls__pickle *p, int32_t arguments, int32_t i, const ls__dtype *dtype, int32_t *out) {
  const ls__pickle_value *given = element(p, arguments, i, LS__PICKLE_DICT);
  for (int32_t k = 0; given && k + 1 < given->count; k += 2) {
    const ls__pickle_value *key = &p->values[given->as.items[k]], *on = &p->values[given->as.items[k + 1]];
    bool known = key->kind == LS__PICKLE_TEXT && on->kind == LS__PICKLE_BOOL;
    bool conjugate = known && is_text(key->as.text, (size_t)key->count, "conj");
    if (!conjugate && !(known && is_text(key->as.text, (size_t)key->count, "neg")))
      return ls__pickle_fail(p, "the pickle says something of a tensor that is not supported; load the file in PyTorch and save %s",
                             "x.clone() of each tensor x");
    if (conjugate && on->as.i && strncmp(dtype->name, "complex", 7) != 0)
      return ls__pickle_fail(p, "the pickle is damaged: it has the conjugate of numbers of dtype %s" BROKEN, dtype->name);
    if (on->as.i) *out |= conjugate ? LS__CONJUGATE : LS__NEGATIVE;
  }
  if (!given && i < p->values[arguments].count && !element(p, arguments, i, LS__PICKLE_NONE))
    return ls__pickle_fail(p, "the pickle is damaged: a tensor has something else than a dict behind its dtype" BROKEN);
  return LS_OK;
}

static ls_status rebuild(ls__pickle *p, const ls__pickle_name *name, int32_t arguments, int32_t *out) {
  const ls__pickle_value *storage = element(p, arguments, 0, LS__PICKLE_STORAGE);
  const ls__pickle_value *offset = element(p, arguments, 1, LS__PICKLE_INT);
  const ls__pickle_value *shape = element(p, arguments, 2, LS__PICKLE_TUPLE);
  const ls__pickle_value *strides = element(p, arguments, 3, LS__PICKLE_TUPLE);
  if (!storage || !offset || offset->as.i < 0 || !shape || !strides || shape->count != strides->count)
    return ls__pickle_fail(p, "the pickle is damaged: it makes a tensor of something else than storage, offset, shape and strides" BROKEN);
  if (shape->count > LS__DIMS)
    return ls__pickle_fail(p, "the pickle is damaged: a tensor has %d dimensions, at most %d are possible" BROKEN, shape->count, LS__DIMS);
  const ls__dtype *dtype = p->storages[storage->as.i].dtype;
  if (name->kind == REBUILD_3) {
    const ls__pickle_value *given = element(p, arguments, 6, LS__PICKLE_NAME);
    if (!given || given->as.name->kind != DTYPE) return ls__pickle_fail(p, "the pickle is damaged: a tensor has no dtype" BROKEN);
    dtype = ls__dtype_named(given->as.name->dtype);
  }
  if (!dtype) return ls__pickle_fail(p, "the pickle is damaged: a tensor has no dtype" BROKEN);
  int32_t lazy = 0;
  ls_status status = name->kind == REBUILD_1 ? LS_OK : read_lazy(p, arguments, name->kind == REBUILD_2 ? 6 : 7, dtype, &lazy);
  if (!status) status = ls__pickle_grow(p, &p->tensors, p->tensor_count, &p->tensor_room, sizeof *p->tensors);
  if (status) return status;
  ls__pickle_tensor *t = &p->tensors[p->tensor_count];
  *t = (ls__pickle_tensor){.dtype = dtype, .storage = (int32_t)storage->as.i, .dims = shape->count, .lazy = lazy,
    .offset = offset->as.i};
  t->shape = calloc((size_t)shape->count * 2 + 1, sizeof *t->shape);
  if (!t->shape) return ls__pickle_no_memory(p);
  int32_t number = p->tensor_count++;
  if (!read_sizes(p, shape, t->shape) || !read_sizes(p, strides, t->shape + shape->count))
    return ls__pickle_fail(p, "the pickle is damaged: the shape or the strides of a tensor are not whole numbers from 0 on" BROKEN);
  ls__pickle_value *v = NULL;
  status = ls__pickle_add(p, LS__PICKLE_TENSOR, &v, out);
  if (!status) v->as.i = number;
  return status;
}

/* ---- calls --------------------------------------------------------------------------------------------------------- */

/* Makes an OrderedDict: an empty one or, as the pickles of Python 2 have it, one of a list of pairs. */
static ls_status make_dict(ls__pickle *p, int32_t arguments, int32_t *out) {
  const ls__pickle_value *given = &p->values[arguments];
  ls__pickle_value *dict = NULL;
  int32_t pairs = given->count ? given->as.items[0] : -1;
  if (given->count > 1 || (pairs >= 0 && p->values[pairs].kind != LS__PICKLE_LIST))
    return ls__pickle_fail(p, "the pickle is damaged: it makes an OrderedDict of something else than a list of pairs" BROKEN);
  ls_status status = ls__pickle_add(p, LS__PICKLE_DICT, &dict, out);
  for (int32_t i = 0; pairs >= 0 && !status && i < p->values[pairs].count; i++) {
    const ls__pickle_value *pair = &p->values[p->values[pairs].as.items[i]];
    if ((pair->kind != LS__PICKLE_TUPLE && pair->kind != LS__PICKLE_LIST) || pair->count != 2)
      return ls__pickle_fail(p, "the pickle is damaged: it makes an OrderedDict of something else than a list of pairs" BROKEN);
    status = ls__pickle_append(p, *out, pair->as.items[0]);
    if (!status) status = ls__pickle_append(p, *out, pair->as.items[1]);
  }
  return status;
}

/* Runs a call of a Python function that returns its first argument, which becomes `*out`. Fails where its kind is not `kind`. */
static ls_status same(ls__pickle *p, int32_t arguments, int32_t kind, int32_t *out) {
  if (!element(p, arguments, 0, kind)) return ls__pickle_fail(p, "the pickle is damaged: a call has arguments of the wrong kind" BROKEN);
  *out = p->values[arguments].as.items[0];
  return LS_OK;
}

ls_status ls__pickle_call(ls__pickle *p, int32_t callee, int32_t arguments, int32_t *out) {
  if (p->values[callee].kind != LS__PICKLE_NAME || p->values[arguments].kind != LS__PICKLE_TUPLE)
    return ls__pickle_fail(p, "the pickle is damaged: it calls something that is not a Python name" BROKEN);
  const ls__pickle_name *name = p->values[callee].as.name;
  switch (name->kind) {
    case DICT: return make_dict(p, arguments, out);
    case SIZE: return same(p, arguments, LS__PICKLE_TUPLE, out);
    case DEVICE: return same(p, arguments, LS__PICKLE_TEXT, out);
    case REBUILD_1: case REBUILD_2: case REBUILD_3: return rebuild(p, name, arguments, out);
    case PARAMETER: return same(p, arguments, LS__PICKLE_TENSOR, out);
    default: return ls__pickle_fail(p, "the pickle calls %s.%s of Python, which is not supported", name->module, name->name);
  }
}

const char *ls__pickle_name_text(const ls__pickle_name *name) { return name->kind == DTYPE ? name->dtype : name->name; }
