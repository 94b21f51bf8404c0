/* A function as JSON, for storing and sending; and the arguments of a node, in functions and traces. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "model/private.h"

/* ---- one argument ------------------------------------------------------------------------------------------------ */

static json_t *base64(const unsigned char *data, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *out = malloc((n + 2) / 3 * 4 + 1), *at = out;
  if (!out) return NULL;
  for (size_t i = 0; i < n; i += 3) {
    uint32_t three = (uint32_t)data[i] << 16 | (i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0) | (i + 2 < n ? data[i + 2] : 0u);
    for (int k = 0; k < 4; k++) *at++ = i + (size_t)k > n ? '=' : digits[three >> (18 - 6 * k) & 63];
  }
  json_t *text = json_stringn(out, (size_t)(at - out));
  free(out);
  return text;
}

/* The numbers of a tensor that a trace names. */
static json_t *numbers_json(const ls_value *v) {
  ls_value keep;
  const void *data;
  if (ls__tensor_raw(v->as.p, &keep, &data)) return NULL;
  json_t *text = base64(data, (size_t)ls_value_bytes(&keep));
  ls_value_release(&keep);
  return text;
}

json_t *ls__shape_json(const ls_tensor_info *info) {
  json_t *shape = json_array();
  for (int32_t i = 0; i < info->dims; i++) json_array_append_new(shape, json_integer(info->shape[i]));
  return shape;
}

/* A tensor by name where it is a parameter of the module, else by what it looks like. */
static json_t *tensor_json(const ls_module *m, bool numbers, const ls_value *v) {
  const char *name = m ? ls__module_tensor_name(m, v->as.p) : NULL;
  if (name) return json_pack("{s:s}", "parameter", name);
  ls_tensor_info info;
  if (ls_tensor_describe(v, &info)) return json_pack("{s:s}", "tensor", "?");
  json_t *o = json_pack("{s:s,s:o}", "dtype", info.dtype, "shape", ls__shape_json(&info));
  json_t *data = numbers ? numbers_json(v) : NULL;
  if (data) json_object_set_new(o, "data", data);
  return json_pack("{s:o}", "tensor", o);
}

/* The value that begins at s[*i]; *i moves behind it. */
static json_t *value_json(const ls_module *m, bool numbers, const ls_value *s, int32_t n, int32_t *i) {
  const ls_value *v = &s[(*i)++];
  int32_t end;
  switch (v->kind) {
    case LS_BOOL: return json_boolean(v->as.i);
    case LS_INT: return json_integer(v->as.i);
    case LS_FLOAT: return isfinite(v->as.f) ? json_real(v->as.f) : json_pack("{s:s}", "float", isnan(v->as.f) ? "nan" : v->as.f > 0 ? "inf" : "-inf");
    case LS_STRING: return json_string(v->as.s);
    case LS_TENSOR: return tensor_json(m, numbers, v);
    case LS_NODE: return json_pack("{s:i}", "node", v->aux);
    case LS_ELLIPSIS: return json_pack("{s:s}", "index", "...");
    case LS_SLICE: {
      json_t *parts = json_array();
      for (int32_t k = 0; k < 3; k++) json_array_append_new(parts, value_json(m, numbers, s, n, i));
      return json_pack("{s:o}", "slice", parts);
    }
    case LS_OPEN: {
      end = ls__stream_value(s, *i - 1, n);
      json_t *inside = ls__arguments_json(m, s + *i, end - *i, numbers);
      *i = end;
      return v->aux == LS_TUPLE ? json_pack("{s:o}", "tuple", inside) : v->aux == LS_STRUCT ? json_pack("{s:o}", "struct", inside) : inside;
    }
    case LS_TUPLE:
    case LS_LIST:
    case LS_STRUCT:
      return json_pack("{s:o}", "tuple", ls__arguments_json(m, ls__seq_items(v), ls_seq_length(v), numbers));
    default: return json_null();
  }
}

json_t *ls__arguments_json(const ls_module *m, const ls_value *s, int32_t n, bool numbers) {
  json_t *list = json_array();
  for (int32_t i = 0; i < n;) {
    if (s[i].kind == LS_KEY) {
      const char *key = s[i++].as.s;
      json_array_append_new(list, json_pack("{s:s,s:o}", "name", key, "value", value_json(m, numbers, s, n, &i)));
    } else {
      json_array_append_new(list, value_json(m, numbers, s, n, &i));
    }
  }
  return list;
}

/* ---- one function ------------------------------------------------------------------------------------------------ */

const char *const ls__node_words[] = {"input", "operator", "get", "set", "tuple", "shape", "call", "tap", "either", "guard", "read",
                                      "write", "rows", "text", "pad", "gradient", "set gradient", "backward", "function"};

static const char *name_of(const ls_function *f, int32_t id) {
  const ls__node *node = &f->owner.nodes.at[id];
  if (node->kind == LS__OP) return ls__op_name(node->op);
  if (node->kind == LS__INPUT) return f->keywords[id];
  if (node->slot < 0) return NULL;
  const ls__slot *slot = &f->slots[node->slot];
  if (node->kind == LS__TAP) return slot->name;
  if (node->kind != LS__CALL || !slot->module) return NULL;
  const char *child = f->module ? ls__module_child_name(f->module, slot->module) : NULL;
  return child ? child : slot->module->class_name;
}

static json_t *function_json(const ls_function *f) {
  json_t *nodes = json_array();
  for (int32_t i = 0; i < f->owner.nodes.count; i++) {
    const ls__node *node = &f->owner.nodes.at[i];
    json_t *o = json_pack("{s:i,s:s}", "node", i, "do", ls__node_words[node->kind]);
    const char *name = name_of(f, i);
    if (name && *name) json_object_set_new(o, "name", json_string(name));
    if (node->n) json_object_set_new(o, "arguments", ls__arguments_json(f->module, node->stream, node->n, false));
    if (node->kind == LS__EITHER) {
      json_object_set_new(o, "plain", function_json(f->slots[node->slot].callee));
      json_object_set_new(o, "fused", function_json(f->slots[node->slot].fused));
    }
    json_array_append_new(nodes, o);
  }
  json_t *o = json_pack("{s:s,s:o}", "graph", "function", "nodes", nodes);
  int32_t at = 0;
  if (!f->owner.open) json_object_set_new(o, "result", value_json(f->module, false, &f->result, 1, &at));
  return o;
}

static _Thread_local char *kept;

const char *ls__json_kept(json_t *o) {
  free(kept);
  kept = o ? ls__json_text(o) : NULL;
  json_decref(o);
  return kept ? kept : "{}";
}

const char *ls_function_json(ls_function *f) { return f ? ls__json_kept(function_json(f)) : ""; }
