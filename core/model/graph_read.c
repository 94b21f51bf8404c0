/* Reads the text of a function or of stored edits, and checks its size and its tensors. Nothing is made of the text before all of it is
   checked. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/graph_check.h"

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* Writes the beginning of an error text, the place in a file, such as `edits.json: node 3 of function 0 (operator "add"): ` */
static void write_place(const ls__read_place *at, char *text, size_t room) {
  const char *what = at->reader->is_function ? "function" : "edit";
  size_t used = (size_t)snprintf(text, room, "%s: ", at->reader->name);
  if (used >= room) return;
  if (at->node < 0 && at->graph >= 0) used += (size_t)snprintf(text + used, room - used, "%s %d: ", what, at->graph);
  if (at->node < 0 || used >= room) return;
  used += (size_t)snprintf(text + used, room - used, "node %d of %s %d", at->node, what, at->graph);
  if (used >= room) return;
  char shown[LS__READ_SHOWN];
  if (at->kind && at->name)
    used += (size_t)snprintf(text + used, room - used, " (%s \"%s\")", at->kind,
                             ls__printable(at->name, strlen(at->name), shown, sizeof shown));
  else if (at->kind)
    used += (size_t)snprintf(text + used, room - used, " (%s)", at->kind);
  if (used < room) snprintf(text + used, room - used, ": ");
}

ls_status (ls__read_fail)(const ls__read_place *at, ls_status code, const char *format, ...) {
  char place[512], text[1024];
  write_place(at, place, sizeof place);
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return ls__fail(code, "%s%s", place, text);
}

ls_status ls__read_failed(const ls__read_place *at, ls_status code) {
  char cause[1024], point[512], text[2048];
  snprintf(text, sizeof text, "%s", ls_error_message());
  snprintf(cause, sizeof cause, "%s", ls_error_cause());
  snprintf(point, sizeof point, "%s", ls_error_point());
  ls__read_fail(at, code, "%s", text);
  ls__fail_cause(cause);
  ls__fail_point(point);
  return code;
}

const char *ls__read_shown(const json_t *text, char *room) {
  return ls__printable(json_string_value(text), json_string_length(text), room, LS__READ_SHOWN);
}

static ls_status no_memory(const ls_reader *r) {
  return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the content of the file", r->name);
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

bool ls__read_is_list(const json_t *value) {
  return json_is_array(value) || (json_is_object(value) && json_object_size(value) == 0);
}

bool ls__read_integer(const json_t *value, int64_t least, int64_t most, int64_t *out) {
  if (!json_is_integer(value) || json_integer_value(value) < least || json_integer_value(value) > most) return false;
  *out = json_integer_value(value);
  return true;
}

ls_status ls__read_known(const ls__read_place *at, const json_t *object, const char *const *known) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    size_t i = 0;
    while (known[i] && strcmp(known[i], key)) i++;
    if (known[i]) continue;
    char shown[LS__READ_SHOWN];
    return ls__read_fail(at, LS_ERROR_FORMAT, "an object in the file has the field \"%s\", which is not known there",
                         ls__printable(key, strlen(key), shown, sizeof shown));
  }
  return LS_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static int digit_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Whether a text is `size` bytes encoded in base64. The decoded bytes are written to `out` unless it is NULL. */
static bool read_base64(const char *text, size_t length, size_t size, unsigned char *out) {
  if (length != (size + 2) / 3 * 4) return false;
  size_t digits = size / 3 * 4 + (size % 3 ? size % 3 + 1 : 0), made = 0;
  uint32_t bits = 0;
  for (size_t i = 0; i < length; i++) {
    int digit = i < digits ? digit_of(text[i]) : text[i] == '=' ? 0 : -1;
    if (digit < 0) return false;
    bits = bits << 6 | (uint32_t)digit;
    if (i % 4 != 3) continue;
    for (int k = 2; k >= 0 && made < size; k--, made++)
      if (out) out[made] = (unsigned char)(bits >> 8 * k);
    bits = 0;
  }
  return true;
}

/* Reads the dtype and the shape of a tensor, and computes how many bytes its numbers take. */
static ls_status read_shape(const ls__read_place *at, const json_t *object, int64_t *shape, int32_t *dims,
    const ls__dtype **dtype,
                            size_t *bytes) {
  const json_t *name = json_object_get(object, "dtype"), *sizes = json_object_get(object, "shape");
  char shown[LS__READ_SHOWN];
  if (!json_is_string(name)) return ls__read_fail(at, LS_ERROR_FORMAT, "a tensor in the file has no `dtype`, which must be a text");
  if (!(*dtype = ls__dtype_named(json_string_value(name))))
    return ls__read_fail(at, LS_ERROR_FORMAT, "a tensor in the file has the dtype \"%s\", which files cannot hold",
                         ls__read_shown(name, shown));
  if (!ls__read_is_list(sizes) || json_array_size(sizes) > LS__DIMS)
    return ls__read_fail(at, LS_ERROR_FORMAT, "the `shape` of a tensor in the file must be a list of at most %d sizes", LS__DIMS);
  *dims = (int32_t)json_array_size(sizes);
  int64_t elements = 1, all;
  bool fits = true;
  for (int32_t i = 0; i < *dims; i++) {
    if (!ls__read_integer(json_array_get(sizes, (size_t)i), 0, INT64_MAX, &shape[i]))
      return ls__read_fail(at, LS_ERROR_FORMAT, "axis %d in the `shape` of a tensor in the file is not a whole number from 0 on", i);
    /* a size of 0 counts as 1 here: the product of the other sizes must not overflow, since libtorch computes strides from it */
    if (__builtin_mul_overflow(elements, shape[i] ? shape[i] : 1, &elements)) fits = false;
  }
  if (!fits || __builtin_mul_overflow(elements, (int64_t)(*dtype)->size, &all))
    return ls__read_fail(at, LS_ERROR_FORMAT, "the `shape` of a tensor in the file is larger than any memory");
  for (int32_t i = 0; i < *dims; i++)
    if (!shape[i]) all = 0;
  *bytes = (size_t)all;
  return LS_OK;
}

static ls_status read_numbers(const ls__read_place *at, const json_t *text, const int64_t *shape, int32_t dims,
                              const ls__dtype *dtype, size_t bytes, ls_value *made) {
  if (!json_is_string(text))
    return ls__read_fail(at, LS_ERROR_FORMAT, "a tensor in the file has no numbers: its field `data` is missing or is no text");
  if (!read_base64(json_string_value(text), json_string_length(text), bytes, NULL))
    return ls__read_fail(at, LS_ERROR_FORMAT, "the `data` of a tensor in the file is not the base64 text of the %zu bytes that its shape "
                                              "asks for", bytes);
  if (!made) return LS_OK;
  unsigned char *numbers = calloc(bytes ? bytes : 1, 1);
  if (!numbers) return no_memory(at->reader);
  read_base64(json_string_value(text), json_string_length(text), bytes, numbers);
  for (size_t i = 0; !strcmp(dtype->name, "bool") && i < bytes; i++) numbers[i] = numbers[i] != 0;
  return ls__tensor_map(numbers, shape, NULL, dims, dtype->name, 0, free, numbers, made);
}

ls_status ls__read_tensor(const ls__read_place *at, const json_t *object, bool numbers, ls_value *made) {
  static const char *const known[] = {"dtype", "shape", "data", NULL}, *const weight[] = {"dtype", "shape", "names", NULL};
  int64_t shape[LS__DIMS];
  int32_t dims;
  size_t bytes;
  const ls__dtype *dtype;
  if (!json_is_object(object))
    return ls__read_fail(at, LS_ERROR_FORMAT, "a tensor in the file must be a JSON object with the fields `dtype`, `shape` and `data`");
  ls_status status = ls__read_known(at, object, numbers ? known : weight);
  if (!status) status = read_shape(at, object, shape, &dims, &dtype, &bytes);
  if (!status && numbers) status = read_numbers(at, json_object_get(object, "data"), shape, dims, dtype, bytes, made);
  return status;
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */

/* Limits how deep a JSON text nests and how many values it has before jansson reads it, by looking at brackets and commas alone. jansson
   needs some hundred bytes of memory for each value. */
static ls_status check_size(const ls_reader *r, const char *json, size_t length) {
  int deep;
  size_t at = ls__json_space(json, length, 0), end = ls__json_skip(json, length, at, LS__READ_DEPTH, &deep), values = 1;
  if (deep) return ls__fail(LS_ERROR_FORMAT, "%s: the JSON text nests brackets deeper than %d", r->name, LS__READ_DEPTH);
  if (!end || ls__json_space(json, length, end) != length)
    return ls__fail(LS_ERROR_FORMAT, "%s: the text is not JSON: its first value does not end, or something follows it", r->name);
  bool quoted = false;
  for (; at < end; at++) {
    if (quoted && json[at] == '\\') at++;
    else if (json[at] == '"') quoted = !quoted;
    else if (!quoted && (json[at] == ',' || json[at] == '[' || json[at] == '{')) values++;
  }
  return values <= LS__READ_VALUES ? LS_OK
                                   : ls__fail(LS_ERROR_FORMAT, "%s: the JSON text has more than %d values", r->name, LS__READ_VALUES);
}

static ls_status read_text(ls_reader *r, const char *json, size_t length, const char *mark) {
  json_error_t error;
  char shown[sizeof error.text];
  int64_t version;
  ls_status status = check_size(r, json, length);
  if (status) return status;
  r->text = ls__json_load(json, length, JSON_REJECT_DUPLICATES, &error);
  if (!r->text && !error.text[0]) return no_memory(r);
  if (!r->text)
    return ls__fail(LS_ERROR_FORMAT, "%s: line %d: %s", r->name, error.line,
                    ls__printable(error.text, strlen(error.text), shown, sizeof shown));
  if (!json_is_object(r->text) || !json_object_get(r->text, mark))
    return ls__fail(LS_ERROR_FORMAT, "%s: the file holds no %s", r->name, r->is_function ? "function" : "edits");
  if (!ls__read_integer(json_object_get(r->text, mark), 1, 1, &version))
    return ls__fail(LS_ERROR_FORMAT, "%s: the version of the file's format (field \"%s\") is not 1, the only one that can be read",
                    r->name, mark);
  return LS_OK;
}

ls_status ls__read_any(const char *json, size_t length, const char *name, bool is_function, ls_status (*check)(ls_reader *),
                       ls_reader **out) {
  ls_reader *r = calloc(1, sizeof *r);
  if (!r) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the content of the file", name);
  ls__live_add(1);
  r->is_function = is_function;
  r->name = strdup(name);
  ls_status status = r->name ? LS_OK : ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the content of the file", name);
  if (!status) status = read_text(r, json, length, is_function ? "luasight_function" : "luasight_edits");
  if (!status) status = check(r);
  if (status) ls_reader_release(r);
  else *out = r;
  return status;
}

void ls_reader_release(ls_reader *r) {
  if (!r) return;
  for (int32_t i = 0; r->values && i < r->tensor_count; i++) ls_value_release(&r->values[i]);
  for (int32_t i = 0; i < r->call_count; i++) ls_program_release(r->calls[i].program);
  json_decref(r->text);
  free(r->values);
  free(r->calls);
  free(r->graphs);
  free(r->name);
  free(r);
  ls__live_add(-1);
}
