/* Two texts of a graph: one to read, a node a line, and JSON for storing and sending. */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- one argument as JSON ---------------------------------------------------------------------------------------- */

static _Thread_local bool with_numbers; /* of the tensors that a trace names */

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

static json_t *shape_json(const ls_tensor_info *info) {
  json_t *shape = json_array();
  for (int32_t i = 0; i < info->dims; i++) json_array_append_new(shape, json_integer(info->shape[i]));
  return shape;
}

/* A tensor by name where it is a parameter of the graph's module, else by what it looks like. */
static json_t *tensor_json(const ls_graph *g, const ls_value *v) {
  const ls_module *m = g->module;
  for (int32_t i = 0; m && i < m->tensors; i++)
    if (m->tensor_values[i].kind == LS_TENSOR && m->tensor_values[i].as.p == v->as.p)
      return json_pack("{s:s}", "parameter", m->tensor_names[i]);
  ls_tensor_info info;
  if (ls_tensor_describe(v, &info)) return json_pack("{s:s}", "tensor", "?");
  json_t *o = json_pack("{s:s,s:o}", "dtype", info.dtype, "shape", shape_json(&info));
  json_t *numbers = with_numbers && g->state == LS__TRACE ? numbers_json(v) : NULL;
  if (numbers) json_object_set_new(o, "data", numbers);
  return json_pack("{s:o}", "tensor", o);
}

static json_t *arguments_json(const ls_graph *g, const ls_value *s, int32_t n);

/* The value that begins at s[*i]; *i moves behind it. */
static json_t *value_json(const ls_graph *g, const ls_value *s, int32_t n, int32_t *i) {
  const ls_value *v = &s[(*i)++];
  int32_t end;
  switch (v->kind) {
    case LS_BOOL: return json_boolean(v->as.i);
    case LS_INT: return json_integer(v->as.i);
    case LS_FLOAT: return isfinite(v->as.f) ? json_real(v->as.f) : json_pack("{s:s}", "float", isnan(v->as.f) ? "nan" : v->as.f > 0 ? "inf" : "-inf");
    case LS_STRING: return json_string(v->as.s);
    case LS_TENSOR: return tensor_json(g, v);
    case LS_NODE: return json_pack("{s:i}", "node", v->aux);
    case LS_ELLIPSIS: return json_pack("{s:s}", "index", "...");
    case LS_SLICE: {
      json_t *parts = json_array();
      for (int32_t k = 0; k < 3; k++) json_array_append_new(parts, value_json(g, s, n, i));
      return json_pack("{s:o}", "slice", parts);
    }
    case LS_OPEN: {
      end = ls__stream_value(s, *i - 1, n);
      json_t *inside = arguments_json(g, s + *i, end - *i);
      *i = end;
      return v->aux == LS_TUPLE ? json_pack("{s:o}", "tuple", inside) : v->aux == LS_STRUCT ? json_pack("{s:o}", "struct", inside) : inside;
    }
    case LS_TUPLE:
    case LS_LIST:
    case LS_STRUCT: {
      const ls__seq *seq = v->as.p;
      return json_pack("{s:o}", "tuple", arguments_json(g, seq->items, seq->length));
    }
    default: return json_null();
  }
}

static json_t *arguments_json(const ls_graph *g, const ls_value *s, int32_t n) {
  json_t *list = json_array();
  for (int32_t i = 0; i < n;) {
    if (s[i].kind == LS_KEY) {
      const char *key = s[i++].as.s;
      json_array_append_new(list, json_pack("{s:s,s:o}", "name", key, "value", value_json(g, s, n, &i)));
    } else {
      json_array_append_new(list, value_json(g, s, n, &i));
    }
  }
  return list;
}

/* ---- one node ---------------------------------------------------------------------------------------------------- */

static const char *words[] = {"input", "operator", "get", "set", "tuple", "shape", "call", "tap", "either", "guard", "read", "write", "rows", "text", "pad", "gradient", "set gradient", "backward", "function"};

/* The path of the module that a call node calls, below the graph's own. */
static const char *callee_name(const ls_graph *g, const ls__node *node) {
  static _Thread_local char path[512];
  if (node->program && ls__module_path(g->module, node->program->function->module, path, sizeof path)) return path;
  if (node->program) return node->program->function->module ? node->program->function->module->class_name : "";
  for (int32_t i = 0; g->module && i < g->module->children; i++)
    if (g->module->child_modules[i] == node->module) return g->module->child_names[i];
  return node->module ? node->module->class_name : "";
}

static const char *subject(const ls_graph *g, const ls__node *node) {
  switch (node->kind) {
    case LS__OP: return ls__op_name(node->op);
    case LS__CALL: return callee_name(g, node);
    case LS__READ:
    case LS__WRITE: return ls__trace_point_name(g, node->invoke, node->slot);
    default: return node->name ? node->name : "";
  }
}

/* Where a node of a trace runs and which line of the script wrote it: for looking, not for storing. */
static void put_place(json_t *o, const ls_graph *g, const ls__node *node) {
  const ls__node *from = node; /* what an operator follows tells whose rows it works on */
  while (from->invoke < 0 && from->latest >= 0) from = &g->nodes[from->latest];
  const char *at = ls__trace_point_name(g, from->invoke, ls__point_of(node->time));
  if (*at) json_object_set_new(o, "at", json_string(at));
  json_object_set_new(o, "point", json_integer(ls__point_of(node->time)));
  json_object_set_new(o, "at step", json_integer(ls__step_of(node->time)));
  if (from->invoke >= 0) json_object_set_new(o, "rows", json_integer(from->invoke));
  if (node->site) json_object_set_new(o, "site", json_integer(node->site));
  if (node->edits >= 0) json_object_set_new(o, "edits", json_integer(node->edits));
}

static json_t *graph_json(const ls_graph *g) {
  json_t *nodes = json_array();
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    json_t *o = json_pack("{s:i,s:s}", "node", i, "do", words[node->kind]);
    if (*subject(g, node)) json_object_set_new(o, "name", json_string(subject(g, node)));
    if (node->n) json_object_set_new(o, "arguments", arguments_json(g, node->stream, node->n));
    if (node->saved) json_object_set_new(o, "saved", json_true());
    if (g->state == LS__TRACE && !with_numbers) put_place(o, g, node);
    if (node->step) json_object_set_new(o, "step", json_integer(node->step));
    if (g->invoke_count > 1 && node->invoke >= 0) json_object_set_new(o, "invoke", json_integer(node->invoke));
    if (g->invoke_count > 1) json_object_set_new(o, "pass", json_integer(ls__pass_of(node->time)));
    if (node->flag && node->kind == LS__WRITE) json_object_set_new(o, "skips", json_true());
    ls_tensor_info info; /* of what a paused trace has computed */
    if (g->state == LS__TRACE && node->done && g->values[i].kind == LS_TENSOR && !ls_tensor_describe(&g->values[i], &info)) {
      json_object_set_new(o, "dtype", json_string(info.dtype));
      json_object_set_new(o, "shape", shape_json(&info));
    }
    if (node->kind == LS__EITHER) {
      json_object_set_new(o, "plain", graph_json(node->callee));
      json_object_set_new(o, "fused", graph_json(node->fused));
    }
    json_array_append_new(nodes, o);
  }
  json_t *o = json_pack("{s:s,s:o}", "graph", g->state == LS__TRACE ? "trace" : "function", "nodes", nodes);
  if (g->state == LS__FINISHED_FUNCTION) {
    int32_t at = 0;
    json_object_set_new(o, "result", value_json(g, &g->result, 1, &at));
  }
  return o;
}

/* ---- the texts --------------------------------------------------------------------------------------------------- */

static _Thread_local char *text;
static _Thread_local size_t used, room;

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...) {
  for (;;) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + used, room - used, format, args);
    va_end(args);
    if (n < 0) return;
    if (used + (size_t)n < room) {
      used += (size_t)n;
      return;
    }
    char *bigger = realloc(text, (used + (size_t)n + 1) * 2);
    if (!bigger) return;
    text = bigger;
    room = (used + (size_t)n + 1) * 2;
  }
}

const char *ls_graph_json(ls_graph *g, int32_t numbers) {
  with_numbers = numbers != 0;
  json_t *o = graph_json(g);
  char *dumped = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
  json_decref(o);
  with_numbers = false;
  used = 0;
  put("%s", dumped ? dumped : "{}");
  free(dumped);
  return text ? text : "{}";
}

static void put_value(const json_t *v);

static void put_list(const json_t *list, const char *open, const char *close) {
  put("%s", open);
  for (size_t i = 0; i < json_array_size(list); i++) {
    if (i) put(", ");
    put_value(json_array_get(list, i));
  }
  put("%s", close);
}

static void put_value(const json_t *v) {
  const json_t *o;
  if (json_is_array(v)) put_list(v, "[", "]");
  else if (json_is_string(v)) put("\"%s\"", json_string_value(v));
  else if (json_is_integer(v)) put("%lld", (long long)json_integer_value(v));
  else if (json_is_real(v)) put("%g", json_real_value(v));
  else if (json_is_boolean(v)) put("%s", json_is_true(v) ? "true" : "false");
  else if (json_is_null(v)) put("None");
  else if ((o = json_object_get(v, "node"))) put("%%%lld", (long long)json_integer_value(o));
  else if ((o = json_object_get(v, "parameter"))) put("%s", json_string_value(o));
  else if ((o = json_object_get(v, "tuple"))) put_list(o, "(", ")");
  else if ((o = json_object_get(v, "struct"))) put_list(o, "{", "}");
  else if ((o = json_object_get(v, "index")) || (o = json_object_get(v, "float"))) put("%s", json_string_value(o));
  else if ((o = json_object_get(v, "name"))) {
    put("%s=", json_string_value(o));
    put_value(json_object_get(v, "value"));
  } else if ((o = json_object_get(v, "slice"))) {
    for (size_t i = 0; i < 3; i++) {
      const json_t *part = json_array_get(o, i);
      if (i && (i < 2 || !json_is_null(part))) put(":");
      if (!json_is_null(part)) put_value(part);
    }
  } else if ((o = json_object_get(v, "tensor"))) {
    put("tensor");
    put_list(json_object_get(o, "shape"), "[", "]");
  }
}

/* self[indices] of a get or set whose arguments begin at `from`. */
static void put_index(const json_t *args, size_t from) {
  put_value(json_array_get(args, 0));
  put("[");
  for (size_t i = from; i < json_array_size(args); i++) {
    if (i > from) put(", ");
    put_value(json_array_get(args, i));
  }
  put("]");
}

static void put_node(const json_t *o, int indent) {
  const char *what = json_string_value(json_object_get(o, "do")), *name = json_string_value(json_object_get(o, "name"));
  const json_t *args = json_object_get(o, "arguments");
  put("%*s", indent, "");
  if (strcmp(what, "set") && strcmp(what, "write")) put("%%%lld = ", (long long)json_integer_value(json_object_get(o, "node")));
  if (!strcmp(what, "get")) {
    put_index(args, 1);
  } else if (!strcmp(what, "set")) {
    put_index(args, 2);
    put(" = ");
    put_value(json_array_get(args, 1));
  } else if (!strcmp(what, "write")) {
    put("%s = ", name ? name : "");
    put_value(json_array_get(args, 0));
  } else {
    bool is_op = !strcmp(what, "operator");
    put("%s%s%s", is_op ? "" : what, is_op || !name ? "" : " ", name ? name : "");
    if (args) put_list(args, "(", ")");
  }
  const json_t *pass = json_object_get(o, "pass"), *invoke = json_object_get(o, "invoke"), *step = json_object_get(o, "step");
  const char *before = "  -- ";
  if (json_is_true(json_object_get(o, "saved"))) before = (put("%ssaved", before), ", ");
  if (invoke) before = (put("%sinvoke %lld", before, (long long)json_integer_value(invoke)), ", ");
  if (pass) before = (put("%spass %lld", before, (long long)json_integer_value(pass)), ", ");
  if (step) put("%sstep %lld", before, (long long)json_integer_value(step));
  put("\n");
}

const char *ls_graph_text(ls_graph *g) {
  json_t *o = graph_json(g);
  used = 0;
  put("%s", "");
  size_t i;
  json_t *node;
  json_array_foreach(json_object_get(o, "nodes"), i, node) put_node(node, 0);
  json_decref(o);
  return text ? text : "";
}
