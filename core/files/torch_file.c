/* Weight files of torch.save. Since PyTorch 1.6 torch.save writes a zip archive, in which one entry is a pickle of the saved object
   and each storage of a tensor is an entry of its own; older versions wrote pickles followed by the storages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pickle.h"
#include "value/value.h"
#include "zip.h"

enum {
  LONGEST_PICKLE = 67108864,
  OLD_PICKLE = 16777216,  /* the most bytes that are read for the pickles of an old file, which does not say how long they are */
  DEEPEST = 64,           /* the most containers (tuples, lists, dicts) inside each other */
  LONGEST_PATH = 4096
};

typedef struct reader {
  const char *file;
  uint64_t size;
  ls__pickle pickle;
  ls__weights_header *out;
  ls__weights_range *storages; /* for each storage of the pickle the range of its bytes in the file */
  int32_t *items;              /* for each tensor of the pickle the index of its entry in out->items plus one, 0 where it has none yet */
  int32_t room;                /* the number of values for which out->content has memory */
  int64_t most;                /* the most values that out->content may get */
  char path[LONGEST_PATH];     /* the keys and indices, joined by dots, that lead to the value being written to out->content */
} reader;

static ls_status bad(const reader *r, const char *what) {
  return ls__weights_fail(LS_ERROR_FORMAT, r->file, NULL, "%s; " LS__DAMAGED, what);
}

static ls_status no_memory(const reader *r) { return ls__pickle_no_memory(&r->pickle); }

/* ---- tensors ------------------------------------------------------------------------------------------------------- */

/* Computes the number of elements of a tensor, and its end in the storage, counted in elements. Returns false where a number overflows. */
static bool measure(const ls__pickle_tensor *t, const int64_t *strides, int64_t *elements, int64_t *end) {
  int64_t bounded = 1, last = t->offset, product = 1;
  for (int32_t i = 0; i < t->dims; i++) {
    int64_t size = t->shape[i], way = 0;
    product *= size != 0;
    if (size && (__builtin_mul_overflow(bounded, size, &bounded) || __builtin_mul_overflow(size - 1, strides[i], &way) ||
                 __builtin_add_overflow(last, way, &last)))
      return false;
  }
  if (__builtin_mul_overflow(bounded, (int64_t)t->dtype->size, &bounded) || last > INT64_MAX / 16) return false;
  *elements = product ? bounded / t->dtype->size : 0;
  *end = last + 1;
  return true;
}

/* Whether the elements of a tensor lie one behind the other in its storage. The stride of an axis of size 1 does not matter. */
static bool is_contiguous(const ls__pickle_tensor *t, const int64_t *strides) {
  int64_t wanted = 1;
  for (int32_t i = t->dims - 1; i >= 0; i--) {
    if (t->shape[i] != 1 && strides[i] != wanted) return false;
    wanted *= t->shape[i];
  }
  return true;
}

/* Makes the entry of a tensor, under a name, for the table of the tensors in the file. */
static ls_status make_item(const reader *r, const ls__pickle_tensor *t, const char *name, ls__weights_item **out) {
  const int64_t *strides = t->shape + t->dims;
  const ls__weights_range *storage = &r->storages[t->storage];
  int64_t elements = 0, end = 0;
  if (!measure(t, strides, &elements, &end))
    return ls__weights_fail(LS_ERROR_FORMAT, r->file, name, "the shape of the tensor overflows 64 bits; " LS__DAMAGED);
  uint64_t have = (storage->end - storage->begin) / (uint64_t)t->dtype->size;
  if (elements && (uint64_t)end > have)
    return ls__weights_fail(LS_ERROR_FORMAT, r->file, name,
                            "the tensor needs %lld elements of its storage, which has only %llu elements; " LS__DAMAGED,
                            (long long)end, (unsigned long long)have);
  size_t dims = (size_t)t->dims, sizes = dims * sizeof(int64_t), length = strlen(name) + 1;
  ls__weights_item *item = calloc(1, sizeof *item + 2 * sizes + length);
  if (!item) return no_memory(r);
  item->dtype = t->dtype;
  item->dims = t->dims;
  item->lazy = t->lazy;
  item->elements = elements;
  if (dims) memcpy(item->shape, t->shape, sizes);
  if (elements && !is_contiguous(t, strides)) {
    item->strides = item->shape + dims;
    memcpy(item->strides, strides, sizes);
  }
  item->name = memcpy((char *)(item->shape + 2 * dims), name, length);
  item->begin = item->end = storage->begin;
  if (elements) {
    item->begin += (uint64_t)t->offset * (uint64_t)t->dtype->size;
    item->end += (uint64_t)end * (uint64_t)t->dtype->size;
  }
  *out = item;
  return LS_OK;
}

static ls_status add_item(reader *r, int32_t tensor, const char *name) {
  ls__weights_header *h = r->out;
  ls_status status = ls__pickle_grow(&r->pickle, &h->items, h->count, &h->room, sizeof *h->items);
  if (!status) status = make_item(r, &r->pickle.tensors[tensor], name, &h->items[h->count]);
  if (status) return status;
  h->items[h->count]->index = h->count;
  h->count++;
  if (!r->items[tensor]) r->items[tensor] = h->count;
  return LS_OK;
}

/* Adds the tensors of the outermost object, if that is a dict, to the table of the tensors; their keys become their names. */
static ls_status add_named(reader *r, const ls__pickle_value *top) {
  ls_status status = LS_OK;
  for (int32_t i = 0; top->kind == LS__PICKLE_DICT && i + 1 < top->count && !status; i += 2) {
    const ls__pickle_value *key = &r->pickle.values[top->as.items[i]], *v = &r->pickle.values[top->as.items[i + 1]];
    if (key->kind == LS__PICKLE_TEXT && v->kind == LS__PICKLE_TENSOR) status = add_item(r, (int32_t)v->as.i, key->as.text);
  }
  if (status) return status;
  r->out->named = r->out->count;
  return ls__weights_sort_names(r->file, r->out);
}

/* ---- the whole as a stream ----------------------------------------------------------------------------------------- */

static ls_status emit(reader *r, ls_value v) {
  ls__weights_header *h = r->out;
  if (h->content_count >= r->most) return bad(r, "its containers contain each other so often that they do not end");
  ls_status status = ls__pickle_grow(&r->pickle, &h->content, h->content_count, &r->room, sizeof *h->content);
  if (!status) h->content[h->content_count++] = v;
  return status;
}

static ls_status write_value(reader *r, int32_t number, int32_t depth, size_t path);

/* Appends element `i` of a container to the stream of values, r->out->content. The path of the container is the first `path` bytes of
   r->path. */
static ls_status write_element(reader *r, const ls__pickle_value *container, int32_t i, int32_t depth, size_t path) {
  bool dict = container->kind == LS__PICKLE_DICT;
  const ls__pickle_value *key = dict ? &r->pickle.values[container->as.items[i - 1]] : NULL;
  const char *dot = path ? "." : "";
  size_t room = sizeof r->path - path;
  int n;
  if (!dict) n = snprintf(r->path + path, room, "%s%d", dot, i);
  else if (key->kind == LS__PICKLE_TEXT) n = snprintf(r->path + path, room, "%s%s", dot, key->as.text);
  else if (key->kind == LS__PICKLE_INT) n = snprintf(r->path + path, room, "%s%lld", dot, (long long)key->as.i);
  else n = snprintf(r->path + path, room, "%s?", dot);
  size_t length = path + ((size_t)n < room ? (size_t)n : room - 1);
  return write_value(r, container->as.items[i], depth, length);
}

static ls_status write_container(reader *r, int32_t number, int32_t depth, size_t path) {
  const ls__pickle_value *v = &r->pickle.values[number];
  bool dict = v->kind == LS__PICKLE_DICT;
  if (depth >= DEEPEST) return bad(r, "its containers are nested too deep");
  int32_t aux = dict ? LS_STRUCT : v->kind == LS__PICKLE_LIST ? LS_LIST : LS_TUPLE;
  ls_status status = emit(r, (ls_value){.kind = LS_OPEN, .aux = aux, .as.i = v->count});
  for (int32_t i = 0; i < v->count && !status; i++) {
    if (dict && i % 2 == 0) status = write_value(r, v->as.items[i], depth + 1, path);
    else status = write_element(r, v, i, depth + 1, path);
  }
  return status;
}

static ls_status write_tensor(reader *r, int32_t tensor, size_t path) {
  if (!r->items[tensor]) {
    r->path[path] = 0;
    ls_status status = add_item(r, tensor, r->path);
    if (status) return status;
  }
  return emit(r, (ls_value){.kind = LS_TENSOR, .as.i = r->items[tensor] - 1});
}

static ls_status write_value(reader *r, int32_t number, int32_t depth, size_t path) {
  const ls__pickle_value *v = &r->pickle.values[number];
  switch (v->kind) {
    case LS__PICKLE_NONE: return emit(r, (ls_value){.kind = LS_NONE});
    case LS__PICKLE_BOOL: return emit(r, (ls_value){.kind = LS_BOOL, .as.i = v->as.i});
    case LS__PICKLE_INT: return emit(r, (ls_value){.kind = LS_INT, .as.i = v->as.i});
    case LS__PICKLE_FLOAT: return emit(r, (ls_value){.kind = LS_FLOAT, .as.f = ls__number(v->as.f)});
    case LS__PICKLE_TEXT: return emit(r, (ls_value){.kind = LS_STRING, .as.s = v->as.text});
    case LS__PICKLE_NAME: return emit(r, (ls_value){.kind = LS_STRING, .as.s = ls__pickle_name_text(v->as.name)});
    case LS__PICKLE_TENSOR: return write_tensor(r, (int32_t)v->as.i, path);
    case LS__PICKLE_STORAGE: return bad(r, "the file has a storage that is part of no tensor");
    default: return write_container(r, number, depth, path);
  }
}

static ls_status write_all(reader *r, int32_t top) {
  r->items = calloc((size_t)r->pickle.tensor_count + 1, sizeof *r->items);
  if (!r->items) return no_memory(r);
  r->most = 4096 + (int64_t)r->pickle.count * 8;
  ls_status status = add_named(r, &r->pickle.values[top]);
  return status ? status : write_value(r, top, 0, 0);
}

/* ---- files of today ------------------------------------------------------------------------------------------------ */

static bool storage_bytes(const ls__pickle_storage *s, uint64_t *out) {
  return !__builtin_mul_overflow((uint64_t)s->elements, s->dtype ? (uint64_t)s->dtype->size : 1, out);
}

static ls_status find_storages(reader *r, const ls__zip *zip, const char *root, size_t root_length) {
  for (int32_t i = 0; i < r->pickle.storage_count; i++) {
    const ls__pickle_storage *s = &r->pickle.storages[i];
    char name[256], what[400], shown[LS__NAME_SHOWN];
    if (root_length + strlen(s->key) + 8 > sizeof name) return bad(r, "the name of a storage is too long");
    snprintf(name, sizeof name, "%.*s/data/%s", (int)root_length, root, s->key);
    const ls__zip_entry *entry = ls__zip_find(zip, name);
    ls__printable(name, strlen(name), shown, sizeof shown);
    uint64_t wanted = 0;
    if (!entry) {
      snprintf(what, sizeof what, "its entry \"%s\", which a tensor needs, is missing", shown);
      return bad(r, what);
    }
    if (!storage_bytes(s, &wanted) || wanted > entry->size) {
      snprintf(what, sizeof what, "its entry \"%s\" has %llu bytes, but its tensors need more", shown,
               (unsigned long long)entry->size);
      return bad(r, what);
    }
    r->storages[i] = (ls__weights_range){entry->begin, entry->begin + wanted};
  }
  return LS_OK;
}

/* Finds the pickle of the archive, its entry FOLDER/data.pkl; `*root_length` is the length of FOLDER. NULL where there is none. */
static const ls__zip_entry *find_pickle(const ls__zip *zip, size_t *root_length) {
  for (int32_t i = 0; i < zip->count; i++) {
    const char *slash = strchr(zip->entries[i].name, '/');
    if (!slash || strcmp(slash, "/data.pkl")) continue;
    *root_length = (size_t)(slash - zip->entries[i].name);
    return &zip->entries[i];
  }
  return NULL;
}

/* Fails where the entry FOLDER/byteorder says that numbers are big-endian; torch.save stores numbers in the byte order of its machine. */
static ls_status check_order(reader *r, int fd, const ls__zip *zip, const char *root, size_t root_length) {
  char name[256], order[8] = {0};
  if (root_length + 16 > sizeof name) return bad(r, "the name of its folder is too long");
  snprintf(name, sizeof name, "%.*s/byteorder", (int)root_length, root);
  const ls__zip_entry *entry = ls__zip_find(zip, name);
  if (!entry || entry->size >= sizeof order) return LS_OK;
  ls_status status = ls__weights_read(fd, r->file, order, (size_t)entry->size, entry->begin);
  if (status || strcmp(order, "big")) return status;
  return ls__weights_fail(LS_ERROR_FORMAT, r->file, NULL,
                          "the numbers in this file are big-endian; save the file again with torch.save on a little-endian machine");
}

static ls_status run(reader *r, int32_t *top) {
  ls_status status = ls__pickle_run(&r->pickle, top);
  if (status) return status;
  r->storages = calloc((size_t)r->pickle.storage_count + 1, sizeof *r->storages);
  return r->storages ? LS_OK : no_memory(r);
}

static ls_status read_text(reader *r, int fd, uint64_t at, uint64_t length) {
  r->out->pickle = malloc((size_t)length + 1);
  if (!r->out->pickle) return no_memory(r);
  r->pickle.text = r->out->pickle;
  r->pickle.length = (size_t)length;
  return ls__weights_read(fd, r->file, r->out->pickle, (size_t)length, at);
}

static ls_status read_archive(reader *r, int fd, const ls__zip *zip) {
  size_t root_length = 0;
  const ls__zip_entry *entry = find_pickle(zip, &root_length);
  if (!entry)
    return ls__weights_fail(LS_ERROR_FORMAT, r->file, NULL,
                            "this zip archive has no data.pkl, so torch.save did not write it; fetch the file again");
  if (entry->size > LONGEST_PICKLE) return bad(r, "its data.pkl is longer than 64 MiB");
  ls_status status = check_order(r, fd, zip, entry->name, root_length);
  if (!status) status = read_text(r, fd, entry->begin, entry->size);
  int32_t top = 0;
  if (!status) status = run(r, &top);
  if (status) return status;
  ls__pickle_end_texts(&r->pickle);
  status = find_storages(r, zip, entry->name, root_length);
  return status ? status : write_all(r, top);
}

/* ---- files from before 1.6 ----------------------------------------------------------------------------------------- */

/* The first bytes of a file that PyTorch before 1.6 wrote: a pickle of one number of ten bytes. */
static const char magic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

static int by_key(const void *a, const void *b) {
  return strcmp((*(ls__pickle_storage *const *)a)->key, (*(ls__pickle_storage *const *)b)->key);
}

/* The index of the first of the `count` storages in `order`, sorted by key, that has the key; `count` where none has it. */
static int32_t first_of(ls__pickle_storage **order, int32_t count, const char *key) {
  int32_t low = 0, high = count;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    if (strcmp(order[middle]->key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low < count && !strcmp(order[low]->key, key) ? low : count;
}

/* Finds the bytes of the storages in an old file. The storages follow the pickles, in the order in which `list` has their keys, and
   in front of each storage is its number of elements. A storage that several tensors share occurs several times in `order`. */
static ls_status place_old_storages(reader *r, int fd, const ls__pickle_value *list, ls__pickle_storage **order) {
  const ls__pickle *p = &r->pickle;
  uint64_t at = p->at, elements = 0, bytes = 0, longest = 0;
  int32_t count = p->storage_count, placed = 0;
  for (int32_t k = 0; k < list->count; k++, at += 8 + longest) {
    const ls__pickle_value *key = &p->values[list->as.items[k]];
    if (key->kind != LS__PICKLE_TEXT) return bad(r, "its list of storages has something that is not a text");
    int32_t i = first_of(order, count, key->as.text);
    if (i == count || r->storages[order[i] - p->storages].end)
      return bad(r, "its list of storages names a storage that no tensor has, or a storage twice");
    if (at > r->size || r->size - at < 8) return bad(r, "its storages reach beyond its end");
    ls_status status = ls__weights_read(fd, r->file, &elements, sizeof elements, at);
    if (status) return status;
    for (longest = 0; i < count && !strcmp(order[i]->key, key->as.text); i++, placed++) {
      if (elements != (uint64_t)order[i]->elements) return bad(r, "a storage has another length than its tensors say");
      if (!storage_bytes(order[i], &bytes) || bytes > r->size - at - 8) return bad(r, "its storages reach beyond its end");
      r->storages[order[i] - p->storages] = (ls__weights_range){at + 8, at + 8 + bytes};
      longest = bytes > longest ? bytes : longest;
    }
  }
  return placed == count ? LS_OK : bad(r, "its list of storages lacks a storage that a tensor has");
}

static ls_status find_old_storages(reader *r, int fd, int32_t keys) {
  ls__pickle *p = &r->pickle;
  if (p->values[keys].kind != LS__PICKLE_LIST) return bad(r, "its list of storages is missing");
  ls__pickle_storage **order = calloc((size_t)p->storage_count + 1, sizeof *order);
  if (!order) return no_memory(r);
  for (int32_t i = 0; i < p->storage_count; i++) order[i] = &p->storages[i];
  if (p->storage_count) qsort(order, (size_t)p->storage_count, sizeof *order, by_key);
  ls_status status = place_old_storages(r, fd, &p->values[keys], order);
  free(order);
  return status;
}


/* Reads a file of PyTorch before 1.6. Behind the magic number are four pickles: the protocol, facts about the machine that wrote the file,
   the saved object, and the list of the keys of the storages. */
static ls_status read_old(reader *r, int fd) {
  uint64_t length = r->size < OLD_PICKLE ? r->size : OLD_PICKLE;
  ls_status status = read_text(r, fd, 0, length);
  r->pickle.at = sizeof magic - 1;
  int32_t parts[4] = {0};
  for (int32_t i = 0; i < 4 && !status; i++) status = ls__pickle_run(&r->pickle, &parts[i]);
  if (status) return status;
  r->storages = calloc((size_t)r->pickle.storage_count + 1, sizeof *r->storages);
  if (!r->storages) return no_memory(r);
  ls__pickle_end_texts(&r->pickle);
  status = find_old_storages(r, fd, parts[3]);
  return status ? status : write_all(r, parts[2]);
}

/* ---- both ---------------------------------------------------------------------------------------------------------- */

bool ls__pickle_is(const char *start, size_t n) {
  return (n >= 4 && !memcmp(start, "PK\003\004", 4)) || (n >= sizeof magic - 1 && !memcmp(start, magic, sizeof magic - 1));
}

ls_status ls__pickle_read(int fd, const char *file, uint64_t size, bool zipped, ls__weights_header *out) {
  *out = (ls__weights_header){0};
  reader *r = calloc(1, sizeof *r);
  if (!r) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the pickle in the file", file);
  r->file = r->pickle.file = file;
  r->size = size;
  r->out = out;
  ls__zip zip = {0};
  ls_status status = zipped ? ls__zip_read(fd, file, size, &zip) : read_old(r, fd);
  if (!status && zipped) status = read_archive(r, fd, &zip);
  ls__zip_free(&zip);
  ls__pickle_free(&r->pickle);
  free(r->storages);
  free(r->items);
  free(r);
  if (status) ls__weights_header_free(out);
  return status;
}
