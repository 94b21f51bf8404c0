/* Reads the header of a safetensors file, a JSON object, as if an attacker had written it. This code cuts the object into its members,
   and jansson parses each member alone. So the length of the header bounds the memory (jansson's tree of a whole hostile JSON text would
   take some forty times the memory of the text), and an error can name the tensor that it is about. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "weights.h"

enum {
  LONGEST_ITEM = 65536,       /* the most bytes of a tensor's description; the longest sensible one has some 1,500 */
  LONGEST_METADATA = 16777216
};

typedef struct reader {
  const char *file;
  const char *text;
  size_t length;
  size_t at;
  uint64_t data;
  ls__weights_header *out;
} reader;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

#define DAMAGED "the file is damaged, fetch it again"

#define bad(r, name, ...) ls__weights_fail(LS_ERROR_FORMAT, (r)->file, name, __VA_ARGS__)

static ls_status no_memory(const reader *r) {
  return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the header of the file", r->file);
}

/* Fails with jansson's error about the member that begins at byte `start` of the header. The error text has the place of the error in the
   whole file, in bytes. */
static ls_status bad_json(const reader *r, const char *name, size_t start, const json_error_t *error) {
  if (!error->text[0]) return no_memory(r);
  char text[JSON_ERROR_TEXT_LENGTH];
  const char *near = strstr(error->text, " near '");
  ls__printable(error->text, near ? (size_t)(near - error->text) : strlen(error->text), text, sizeof text);
  size_t position = error->position > 0 ? (size_t)error->position : 0;
  return bad(r, name, "the header is not valid JSON at byte %zu of the file (%s); " DAMAGED,
             start + position + LS__WEIGHTS_PREFIX, text);
}

/* ---- one tensor -------------------------------------------------------------------------------------------------- */

static ls_status read_dtype(const reader *r, const char *name, const json_t *value, const ls__dtype **out) {
  if (!json_is_string(value)) return bad(r, name, "the tensor has no dtype (a text such as \"F32\"); " DAMAGED);
  const char *code = json_string_value(value);
  *out = ls__dtype_coded(code);
  if (*out) return LS_OK;
  char shown[LS__NAME_SHOWN];
  ls__printable(code, strlen(code), shown, sizeof shown);
  if (!strcmp(code, "F4") || !strcmp(code, "F6_E2M3") || !strcmp(code, "F6_E3M2"))
    return bad(r, name,
               "dtype %s has elements of less than a byte, which luasight cannot hold; convert the file to F16",
               shown);
  return bad(r, name, "unknown dtype \"%s\"; convert the file to one that luasight knows, such as F32 or BF16", shown);
}

static ls_status read_shape(const reader *r, const char *name, const json_t *value, ls__weights_item *item) {
  uint64_t elements = 1, bounded = 1, bytes;
  for (int32_t i = 0; i < item->dims; i++) {
    const json_t *size = json_array_get(value, (size_t)i);
    if (!json_is_integer(size) || json_integer_value(size) < 0)
      return bad(r, name, "dimension %d of its shape is not a whole number from 0 on; " DAMAGED, i);
    item->shape[i] = json_integer_value(size);
    elements *= (uint64_t)item->shape[i];
    /* The product `bounded` leaves out sizes of 0, since libtorch multiplies the other sizes to compute strides, and these must not
       overflow either. */
    if (item->shape[i] && __builtin_mul_overflow(bounded, (uint64_t)item->shape[i], &bounded))
      return bad(r, name, "the product of its shape overflows 64 bits; " DAMAGED);
  }
  if (__builtin_mul_overflow(bounded, (uint64_t)item->dtype->size, &bytes) || bytes > INT64_MAX)
    return bad(r, name, "the product of its shape overflows 64 bits; " DAMAGED);
  item->elements = (int64_t)elements;
  return LS_OK;
}

static ls_status read_range(const reader *r, const char *name, const json_t *value, ls__weights_item *item) {
  const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
  if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
      json_integer_value(begin) < 0 || json_integer_value(end) < 0)
    return bad(r, name, "its data_offsets are not two whole numbers from 0 on; " DAMAGED);
  item->begin = (uint64_t)json_integer_value(begin);
  item->end = (uint64_t)json_integer_value(end);
  if (item->begin > item->end)
    return bad(r, name, "its data_offsets end (%llu) before they begin (%llu); " DAMAGED, (unsigned long long)item->end,
               (unsigned long long)item->begin);
  if (item->end > r->data)
    return bad(r, name,
               "its data ends at byte %llu, but the file has only %llu bytes of data; it is cut short, fetch it again",
               (unsigned long long)item->end, (unsigned long long)r->data);
  uint64_t bytes = (uint64_t)item->elements * (uint64_t)item->dtype->size;
  if (item->end - item->begin != bytes)
    return bad(r, name, "its shape and dtype %s need %llu bytes, its data_offsets hold %llu; " DAMAGED,
               item->dtype->code, (unsigned long long)bytes, (unsigned long long)(item->end - item->begin));
  return LS_OK;
}

static ls_status add(reader *r, ls__weights_item *item) {
  ls__weights_header *h = r->out;
  if (h->count == h->room) {
    int32_t room = h->room ? h->room * 2 : 64;
    ls__weights_item **items = realloc(h->items, sizeof *items * (size_t)room);
    if (!items) return no_memory(r);
    h->items = items;
    h->room = room;
  }
  h->items[h->count++] = item;
  h->named++;
  return LS_OK;
}

static ls_status read_item(reader *r, const char *name, json_t *value) {
  if (!json_is_object(value)) return bad(r, name, "the tensor's description is not a JSON object; " DAMAGED);
  const char *key;
  json_t *field;
  json_object_foreach(value, key, field) {
    char shown[LS__NAME_SHOWN];
    if (strcmp(key, "dtype") && strcmp(key, "shape") && strcmp(key, "data_offsets"))
      return bad(r, name,
                 "unknown key \"%s\"; a tensor has dtype, shape and data_offsets, write the file again without it",
                 ls__printable(key, strlen(key), shown, sizeof shown));
  }
  const ls__dtype *dtype = NULL;
  ls_status status = read_dtype(r, name, json_object_get(value, "dtype"), &dtype);
  if (status) return status;
  const json_t *shape = json_object_get(value, "shape"), *range = json_object_get(value, "data_offsets");
  if (!json_is_array(shape)) return bad(r, name, "the tensor has no shape (a list of whole numbers); " DAMAGED);
  if (!json_is_array(range)) return bad(r, name, "the tensor has no data_offsets (two whole numbers); " DAMAGED);
  size_t dims = json_array_size(shape);
  if (dims > LS__DIMS)
    return bad(r, name, "the tensor has %zu dimensions, but at most %d are possible; " DAMAGED, dims, LS__DIMS);

  size_t head = sizeof(ls__weights_item) + dims * sizeof(int64_t), bytes = strlen(name) + 1;
  ls__weights_item *item = calloc(1, head + bytes);
  if (!item) return no_memory(r);
  item->dtype = dtype;
  item->dims = (int32_t)dims;
  item->name = memcpy((char *)item + head, name, bytes);
  status = read_shape(r, name, shape, item);
  if (!status) status = read_range(r, name, range, item);
  if (!status) status = add(r, item);
  if (status) free(item);
  return status;
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static ls_status read_metadata(reader *r, json_t *value) {
  if (r->out->metadata) return bad(r, NULL, "the header has __metadata__ twice; " DAMAGED);
  if (!json_is_object(value)) return bad(r, NULL, "__metadata__ is not a JSON object; " DAMAGED);
  const char *key;
  json_t *text;
  json_object_foreach(value, key, text) {
    char shown[LS__NAME_SHOWN];
    if (!json_is_string(text))
      return bad(r, NULL, "__metadata__ has \"%s\", which is not a text; write the file again with texts only",
                 ls__printable(key, strlen(key), shown, sizeof shown));
  }
  r->out->metadata = ls__json_text(value);
  return r->out->metadata ? LS_OK : no_memory(r);
}

/* ---- the top level ----------------------------------------------------------------------------------------------- */

static ls_status read_value(reader *r, const char *name) {
  bool metadata = !strcmp(name, "__metadata__");
  const char *about = metadata ? NULL : name;
  int deep;
  size_t start = r->at, end = ls__json_skip(r->text, r->length, start, 2, &deep);
  if (deep) return bad(r, about, "the description is nested too deep; " DAMAGED);
  if (!end) return bad(r, about, "the header ends inside a description; " DAMAGED);
  size_t longest = metadata ? LONGEST_METADATA : LONGEST_ITEM;
  if (end - start > longest)
    return bad(r, about, "the description has %zu bytes, but luasight reads at most %zu; " DAMAGED, end - start, longest);
  json_error_t error;
  json_t *value = ls__json_load(r->text + start, end - start, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
  if (!value) return bad_json(r, about, start, &error);
  ls_status status = metadata ? read_metadata(r, value) : read_item(r, name, value);
  json_decref(value);
  r->at = end;
  return status;
}

static char next(reader *r) {
  r->at = ls__json_space(r->text, r->length, r->at);
  return r->at < r->length ? r->text[r->at] : 0;
}

static ls_status unexpected(const reader *r, const char *wanted) {
  if (r->at >= r->length) return bad(r, NULL, "the header ends where %s is expected; " DAMAGED, wanted);
  return bad(r, NULL, "the header is not valid JSON at byte %zu of the file (%s expected); " DAMAGED,
             r->at + LS__WEIGHTS_PREFIX, wanted);
}

static ls_status read_member(reader *r) {
  if (next(r) != '"') return unexpected(r, "the name of a tensor in quotes");
  int deep;
  size_t start = r->at, end = ls__json_skip(r->text, r->length, start, 0, &deep);
  if (!end) return bad(r, NULL, "the header ends in the name of a tensor; " DAMAGED);
  json_error_t error;
  json_t *name = ls__json_load(r->text + start, end - start, JSON_DECODE_ANY, &error);
  if (!name) return bad_json(r, NULL, start, &error);
  r->at = end;
  ls_status status;
  if (next(r) == ':') {
    r->at++;
    next(r);
    status = read_value(r, json_string_value(name));
  } else {
    status = unexpected(r, "a colon behind the name");
  }
  json_decref(name);
  return status;
}

static ls_status read_members(reader *r) {
  if (!r->length || r->text[0] != '{')
    return bad(r, NULL, "its header does not begin with {; this is not a safetensors file, or it is damaged");
  r->at = 1;
  if (next(r) != '}') {
    for (;; r->at++) {
      ls_status status = read_member(r);
      if (status) return status;
      if (next(r) != ',') break;
    }
    if (next(r) != '}') return unexpected(r, "a comma or the closing brace");
  }
  r->at++;
  next(r);
  return r->at == r->length ? LS_OK : unexpected(r, "nothing but blanks behind the closing brace");
}

/* ---- all ranges together ----------------------------------------------------------------------------------------- */

static int by_range(const void *a, const void *b) {
  const ls__weights_item *x = *(ls__weights_item *const *)a, *y = *(ls__weights_item *const *)b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  if (x->end != y->end) return x->end < y->end ? -1 : 1;
  return strcmp(x->name, y->name);
}

static ls_status check_ranges(const reader *r) {
  ls__weights_header *h = r->out;
  if (h->count) qsort(h->items, (size_t)h->count, sizeof *h->items, by_range);
  uint64_t covered = 0;
  const ls__weights_item *before = NULL;
  for (int32_t i = 0; i < h->count; i++) {
    ls__weights_item *item = h->items[i];
    char shown[LS__NAME_SHOWN];
    if (item->begin < covered)
      return bad(r, item->name, "its data begins at byte %llu, inside the data of \"%s\", which ends at %llu; " DAMAGED,
                 (unsigned long long)item->begin,
                 ls__printable(before->name, strlen(before->name), shown, sizeof shown), (unsigned long long)covered);
    if (item->begin > covered)
      return bad(r, item->name,
                 "its data begins at byte %llu, bytes %llu to %llu before it belong to no tensor; " DAMAGED,
                 (unsigned long long)item->begin, (unsigned long long)covered, (unsigned long long)item->begin);
    covered = item->end;
    item->index = i;
    before = item;
  }
  if (covered != r->data)
    return bad(r, NULL, "%llu bytes behind the last tensor belong to no tensor; " DAMAGED,
               (unsigned long long)(r->data - covered));
  return LS_OK;
}

ls_status ls__weights_header_read(const char *file, const char *text, size_t length, uint64_t data,
                                  ls__weights_header *out) {
  *out = (ls__weights_header){0};
  reader r = {.file = file, .text = text, .length = length, .data = data, .out = out};
  ls_status status = read_members(&r);
  if (!status) status = ls__weights_sort_names(file, out);
  if (!status) status = check_ranges(&r);
  if (status) ls__weights_header_free(out);
  return status;
}
