/* Writes what traces and functions have in common as JSON: arguments, tensors, and the words for the kinds of nodes. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/graph_check.h"

/* ---- making JSON that knows when it failed ----------------------------------------------------------------------- */

static ls_status lost(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory for the JSON text of a function or trace"); }

json_t *ls__json_made(ls__json *out, json_t *value) {
  if (!value && !out->status) out->status = lost();
  return value;
}

json_t *ls__json_string(ls__json *out, const char *text) {
  errno = 0;
  json_t *value = json_string(text);
  if (!value && errno != ENOMEM && !out->status)
    out->status = ls__fail(LS_ERROR_ARGUMENT, "the function or trace holds a text that is not valid UTF-8, so it cannot be written as "
                                              "JSON");
  return ls__json_made(out, value);
}

void ls__json_put(ls__json *out, json_t *object, const char *key, json_t *value) {
  if (json_object_set_new(object, key, value) && !out->status) out->status = lost();
}

void ls__json_add(ls__json *out, json_t *list, json_t *value) {
  if (json_array_append_new(list, value) && !out->status) out->status = lost();
}

json_t *ls__json_with(ls__json *out, const char *key, json_t *value) {
  json_t *o = ls__json_made(out, json_object());
  ls__json_put(out, o, key, value);
  return o;
}

json_t *ls__json_integer(ls__json *out, int64_t i) { return ls__json_made(out, json_integer(i)); }

ls_status ls__json_finish(ls__json *out, json_t *value, char **kept) {
  char *text = out->status ? NULL : ls__json_text(value);
  json_decref(value);
  if (!text && !out->status) out->status = lost();
  if (out->status) return out->status;
  free(*kept);
  *kept = text;
  return LS_OK;
}

/* ---- one argument ------------------------------------------------------------------------------------------------ */

static json_t *base64(ls__json *out, const unsigned char *data, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *text = malloc((n + 2) / 3 * 4 + 1), *at = text;
  if (!text) return ls__json_made(out, NULL);
  for (size_t i = 0; i < n; i += 3) {
    uint32_t three = (uint32_t)data[i] << 16 | (i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0) | (i + 2 < n ? data[i + 2] : 0u);
    for (int k = 0; k < 4; k++) *at++ = i + (size_t)k > n ? '=' : digits[three >> (18 - 6 * k) & 63];
  }
  json_t *made = json_stringn_nocheck(text, (size_t)(at - text));
  free(text);
  return ls__json_made(out, made);
}

json_t *ls__json_tensor(ls__json *out, const ls_value *tensor, bool numbers) {
  ls_tensor_info info;
  ls_value keep;
  const void *data;
  json_t *o = ls__json_made(out, json_object()), *shape = ls__json_made(out, json_array());
  ls_status status = ls_tensor_describe(tensor, &info);
  if (!status) {
    ls__json_put(out, o, "dtype", ls__json_string(out, info.dtype));
    for (int32_t i = 0; i < info.dims; i++) ls__json_add(out, shape, ls__json_integer(out, info.shape[i]));
  }
  ls__json_put(out, o, "shape", shape);
  if (!status && numbers && !(status = ls__tensor_raw(tensor->as.p, &keep, &data))) {
    ls__json_put(out, o, "data", base64(out, data, (size_t)ls_value_bytes(&keep)));
    ls_value_release(&keep);
  }
  /* a trace is written without numbers that cannot be read, since a scan (a trace over shapes alone) has none */
  bool needed = out->form || status == LS_ERROR_MEMORY;
  if (status && needed && !out->status) out->status = status;
  return o;
}

/* Writes a tensor. In a trace, a parameter of the root module is written by its name. */
static json_t *tensor_json(ls__json *out, const ls_value *v) {
  if (out->form) return ls__json_with(out, "tensor", ls__json_integer(out, ls__json_form_tensor(out->form, out, v)));
  const char *name = out->module ? ls__module_tensor_name(out->module, v->as.p) : NULL;
  if (name) return ls__json_with(out, "parameter", ls__json_string(out, name));
  return ls__json_with(out, "tensor", ls__json_tensor(out, v, out->numbers));
}

static json_t *real(ls__json *out, double f) {
  if (isfinite(f)) return ls__json_made(out, json_real(f));
  return ls__json_with(out, "float", ls__json_string(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf"));
}

static json_t *named(ls__json *out, const char *name, json_t *value) {
  json_t *o = ls__json_with(out, "name", ls__json_string(out, name));
  ls__json_put(out, o, "value", value);
  return o;
}

static json_t *sequence(ls__json *out, int32_t kind, json_t *inside) {
  return kind == LS_TUPLE ? ls__json_with(out, "tuple", inside) : kind == LS_STRUCT ? ls__json_with(out, "struct", inside) : inside;
}

/* Writes a sequence that is a value (not an LS_OPEN in a stream), so that no nodes are inside it. */
static json_t *made_sequence(ls__json *out, const ls_value *v) {
  const ls_value *items = ls__seq_items(v);
  const char **keys = ls__seq_keys(v);
  json_t *list = ls__json_made(out, json_array());
  for (int32_t k = 0; k < ls_seq_length(v); k++) {
    int32_t at = 0;
    json_t *item = ls__json_value(out, &items[k], 1, &at);
    ls__json_add(out, list, keys ? named(out, keys[k], item) : item);
  }
  return sequence(out, v->kind, list);
}

json_t *ls__json_value(ls__json *out, const ls_value *s, int32_t n, int32_t *i) {
  const ls_value *v = &s[(*i)++];
  switch (v->kind) {
    case LS_BOOL: return ls__json_made(out, json_boolean(v->as.i));
    case LS_INT: return ls__json_integer(out, v->as.i);
    case LS_FLOAT: return real(out, v->as.f);
    case LS_STRING: return ls__json_string(out, v->as.s);
    case LS_TENSOR: return tensor_json(out, v);
    case LS_NODE: return ls__json_with(out, "node", ls__json_integer(out, v->aux));
    case LS_ELLIPSIS: return ls__json_with(out, "index", ls__json_string(out, "..."));
    case LS_SLICE: {
      json_t *parts = ls__json_made(out, json_array());
      for (int32_t k = 0; k < 3; k++) ls__json_add(out, parts, ls__json_value(out, s, n, i));
      return ls__json_with(out, "slice", parts);
    }
    case LS_OPEN: {
      int32_t end = ls__stream_value(s, *i - 1, n);
      json_t *inside = ls__json_arguments(out, s + *i, end - *i);
      *i = end;
      return sequence(out, v->aux, inside);
    }
    case LS_TUPLE:
    case LS_LIST:
    case LS_STRUCT: return made_sequence(out, v);
    default: return json_null();
  }
}

json_t *ls__json_arguments(ls__json *out, const ls_value *s, int32_t n) {
  json_t *list = ls__json_made(out, json_array());
  for (int32_t i = 0; i < n;) {
    const char *key = s[i].kind == LS_KEY ? s[i++].as.s : NULL;
    json_t *value = ls__json_value(out, s, n, &i);
    ls__json_add(out, list, key ? named(out, key, value) : value);
  }
  return list;
}

void ls__json_put_autograd(ls__json *out, json_t *object, const ls__node *node) {
  if (node->autograd) ls__json_put(out, object, "autograd", json_boolean(node->autograd == LS__AUTOGRAD_ON));
}

/* ---- kinds of nodes ----------------------------------------------------------------------------------------------- */

static const char *const words[] = {"input", "operator", "get", "set", "tuple", "shape", "call", "tap", "two_forms", "guard", "read",
                                    "write", "rows", "text", "pad", "gradient", "set gradient", "backward", "function", "see", "put"};
enum { WORDS = sizeof words / sizeof *words };

const char *ls__node_word(int32_t kind) { return words[kind]; }

int32_t ls__node_kind_of(const char *word) {
  for (int32_t i = 0; i < WORDS; i++)
    if (!strcmp(words[i], word)) return i;
  return -1;
}
