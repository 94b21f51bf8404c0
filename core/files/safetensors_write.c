/* Writes a file of safetensors: the header and, behind the header, the data of the tensors. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "weights.h"

typedef struct source {
  const char *name;
  const ls__dtype *dtype;
  const void *bytes;
  size_t size;
  ls_tensor_info info;
} source;

/* ---- the header -------------------------------------------------------------------------------------------------- */

static ls_status describe(const char *path, const char *name, const ls_value *tensor, source *out) {
  if (tensor->kind != LS_TENSOR) return ls__weights_fail(LS_ERROR_ARGUMENT, path, name, "the value under this name is not a tensor");
  ls_status status = ls_tensor_describe(tensor, &out->info);
  if (status) return status;
  out->name = name;
  out->dtype = ls__dtype_named(out->info.dtype);
  if (!strcmp(name, "__metadata__"))
    return ls__weights_fail(LS_ERROR_ARGUMENT, path, name, "safetensors reserves this name for metadata; rename the tensor");
  if (!out->dtype)
    return ls__weights_fail(LS_ERROR_ARGUMENT, path, name, "dtype %s does not exist in safetensors; convert the tensor first",
                            out->info.dtype);
  if (strcmp(out->info.device, "cpu"))
    return ls__weights_fail(LS_ERROR_ARGUMENT, path, name, "the tensor is on %s; copy it to the cpu first", out->info.device);
  if (!out->info.is_contiguous)
    return ls__weights_fail(LS_ERROR_ARGUMENT, path, name, "the tensor is not contiguous; call :contiguous() first");
  void *bytes = NULL;
  if ((status = ls_tensor_pointer(tensor, &bytes))) return status;
  out->bytes = bytes;
  out->size = (size_t)out->info.elements * (size_t)out->dtype->size;
  return LS_OK;
}

/* Compares two tensors for the order in the file, which is that of Hugging Face's writer: the dtypes from the end of luasight's table of
   dtypes to its beginning, so that wide elements come first and all are aligned; within a dtype by name. */
static int by_place(const void *a, const void *b) {
  const source *x = *(source *const *)a, *y = *(source *const *)b;
  if (x->dtype != y->dtype) return x->dtype > y->dtype ? -1 : 1;
  return strcmp(x->name, y->name);
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Parses the JSON text of the metadata and sorts its keys, so that equal metadata give equal files. */
static ls_status read_metadata(const char *path, const char *text, json_t **out) {
  json_error_t error;
  json_t *given = ls__json_load(text, strlen(text), JSON_REJECT_DUPLICATES, &error);
  if (!given && !error.text[0]) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the metadata of the file", path);
  if (!given) return ls__fail(LS_ERROR_ARGUMENT, "%s: the metadata to write is not valid JSON", path);
  ls_status status = LS_OK;
  if (!json_is_object(given)) status = ls__fail(LS_ERROR_ARGUMENT, "%s: the metadata to write is not a JSON object", path);
  const char **keys = calloc(json_object_size(given) + 1, sizeof *keys);
  json_t *sorted = json_object(), *value;
  size_t n = 0;
  const char *key;
  if (!keys || !sorted) status = ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the metadata of the file", path);
  if (!status) {
    json_object_foreach(given, key, value) keys[n++] = key;
    qsort(keys, n, sizeof *keys, by_text);
  }
  for (size_t i = 0; i < n && !status; i++) {
    char shown[LS__NAME_SHOWN];
    value = json_object_get(given, keys[i]);
    if (!json_is_string(value))
      status = ls__fail(LS_ERROR_ARGUMENT, "%s: the value of the metadata's \"%s\" is not a text; safetensors has only texts there", path,
                        ls__printable(keys[i], strlen(keys[i]), shown, sizeof shown));
    else if (json_object_set(sorted, keys[i], value))
      status = ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the metadata of the file", path);
  }
  free(keys);
  json_decref(given);
  if (status) json_decref(sorted);
  else *out = sorted;
  return status;
}

static ls_status add_item(const char *path, const source *s, uint64_t begin, json_t *header) {
  errno = 0;
  json_t *name = json_string(s->name), *shape = json_array();
  if (!name) {
    json_decref(shape);
    if (errno == ENOMEM) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the header of the file", path);
    return ls__weights_fail(LS_ERROR_ARGUMENT, path, s->name, "the tensor's name is not valid UTF-8");
  }
  json_decref(name);
  bool failed = !shape;
  for (int32_t i = 0; i < s->info.dims && !failed; i++)
    failed = json_array_append_new(shape, json_integer(s->info.shape[i])) != 0;
  json_t *item = NULL;
  if (failed) json_decref(shape);
  else
    item = json_pack("{s:s, s:o, s:[I, I]}", "dtype", s->dtype->code, "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)begin + (json_int_t)s->size);
  if (!item || json_object_set_new(header, s->name, item))
    return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the header of the file", path);
  return LS_OK;
}

/* Makes the JSON text of the header, which the caller frees, and sorts the tensors `sources` into their order in the file. */
static ls_status make_header(const char *path, source **sources, int32_t n, const char *metadata, char **out) {
  json_t *header = json_object(), *notes = NULL;
  ls_status status = header ? LS_OK : ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the header of the file", path);
  if (!status && metadata) {
    status = read_metadata(path, metadata, &notes);
    if (!status && json_object_size(notes) && json_object_set(header, "__metadata__", notes))
      status = ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the header of the file", path);
    json_decref(notes);
  }
  if (n) qsort(sources, (size_t)n, sizeof *sources, by_place);
  uint64_t begin = 0;
  for (int32_t i = 0; i < n && !status; i++) {
    if (json_object_get(header, sources[i]->name))
      status = ls__weights_fail(LS_ERROR_ARGUMENT, path, sources[i]->name, "two of the tensors to write have this name; rename one");
    else status = add_item(path, sources[i], begin, header);
    begin += sources[i]->size;
  }
  if (!status && !(*out = ls__json_text(header)))
    status = ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the header of the file", path);
  if (!status && strlen(*out) > LS__WEIGHTS_HEADER - LS__WEIGHTS_PREFIX) {
    free(*out);
    status = ls__fail(LS_ERROR_ARGUMENT,
                      "%s: the header would be longer than the 100 MB of safetensors; shorten the metadata", path);
  }
  json_decref(header);
  return status;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static ls_status write_file(const char *path, const char *header, source *const *sources, int32_t n) {
  static const char blanks[LS__WEIGHTS_PREFIX] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
  ls__file_part *parts = malloc(sizeof *parts * ((size_t)n + 3));
  if (!parts) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory while the file is written", path);
  size_t length = strlen(header), padding = (8 - length % 8) % 8;
  uint64_t prefix = length + padding;
  parts[0] = (ls__file_part){&prefix, sizeof prefix};
  parts[1] = (ls__file_part){header, length};
  parts[2] = (ls__file_part){blanks, padding};
  for (int32_t i = 0; i < n; i++) parts[3 + i] = (ls__file_part){sources[i]->bytes, sources[i]->size};
  ls_status status = ls__file_write(path, parts, n + 3);
  free(parts);
  return status;
}

ls_status ls_weights_write(const char *path, const char *const *names, const ls_value *tensors, int32_t n,
                           const char *metadata) {
  LS__NEED(path && n >= 0 && ((names && tensors) || !n));
  for (int32_t i = 0; i < n; i++) LS__NEED(names[i] && tensors[i].kind == LS_TENSOR);
  source *sources = calloc((size_t)n + 1, sizeof *sources), **order = calloc((size_t)n + 1, sizeof *order);
  ls_status status = sources && order ? LS_OK : ls__fail(LS_ERROR_MEMORY, "%s: out of memory while the file is written", path);
  for (int32_t i = 0; i < n && !status; i++) {
    status = describe(path, names[i], &tensors[i], &sources[i]);
    order[i] = &sources[i];
  }
  char *header = NULL;
  if (!status) status = make_header(path, order, n, metadata, &header);
  if (!status) {
    status = write_file(path, header, order, n);
    free(header);
  }
  free(order);
  free(sources);
  return status;
}
