/* Writes a trace as a readable text with one node a line, and as JSON for storing and sending. Both show the recording, the passes from the
   plan and, for a paused trace, the shapes of the values computed so far. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- one node ---------------------------------------------------------------------------------------------------- */

/* Returns the path of the called module below the trace's own module, or else the class of the called module. */
static const char *callee_name(const ls_trace *t, const ls__node *node) {
  static _Thread_local char path[512];
  const ls_module *called = ls__function_module(ls__program_function(node->program));
  if (ls__module_path(t->module, called, path, sizeof path)) return path;
  return called ? ls__module_class(called) : "";
}

static const char *subject(const ls_trace *t, const ls__node *node) {
  switch (node->kind) {
    case LS__OP: return ls__op_name(node->op);
    case LS__CALL: return node->program ? callee_name(t, node) : "";
    case LS__READ:
    case LS__WRITE: return ls__trace_point_name(t, node->invoke, node->slot);
    case LS__SEE:
    case LS__PUT: return ls__hook_point_name(t, node);
    default: return "";
  }
}

static void put_integer(ls__json *out, json_t *object, const char *key, int64_t i) {
  ls__json_put(out, object, key, ls__json_integer(out, i));
}

/* Adds to a node's JSON where the node runs and which line of the script wrote it, for people who look at the JSON and not for storing. */
static void put_place(ls__json *out, json_t *o, const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  int64_t time = t->plan.nodes[id].time;
  int32_t from = id; /* an operator has no invoke of its own: the text shows the invoke of the argument that is computed last */
  while (t->owner.nodes.at[from].invoke < 0 && t->plan.nodes[from].latest >= 0) from = t->plan.nodes[from].latest;
  int32_t invoke = t->owner.nodes.at[from].invoke;
  const char *at = ls__trace_point_name(t, invoke, ls__point_of(time));
  if (*at) ls__json_put(out, o, "at", ls__json_string(out, at));
  put_integer(out, o, "point", ls__point_of(time));
  put_integer(out, o, "at step", ls__step_of(time));
  if (invoke >= 0) put_integer(out, o, "rows", invoke);
  if (node->site) put_integer(out, o, "site", node->site);
  if (node->edits >= 0) put_integer(out, o, "edits", node->edits);
}

/* Adds the dtype and the shape of a value that a paused trace has computed. */
static void put_computed(ls__json *out, json_t *o, const ls_value *value) {
  json_t *tensor = ls__json_tensor(out, value, false), *field;
  const char *key;
  json_object_foreach(tensor, key, field) ls__json_put(out, o, key, json_incref(field));
  json_decref(tensor);
}

static json_t *node_json(ls__json *out, const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  json_t *o = ls__json_made(out, json_object());
  put_integer(out, o, "node", id);
  ls__json_put(out, o, "do", ls__json_string(out, ls__node_word(node->kind)));
  /* in a file a point inside a call with points of its own is named within the called module, and the call has a number */
  bool inside = out->numbers && (node->kind == LS__SEE || node->kind == LS__PUT);
  const char *name = !inside ? subject(t, node) : node->flag ? "" : ls_program_point_name(t->hooks[node->hook].program, node->slot);
  if (*name) ls__json_put(out, o, "name", ls__json_string(out, name));
  if (out->numbers && node->hook >= 0) put_integer(out, o, "hook", node->hook);
  if (node->n) ls__json_put(out, o, "arguments", ls__json_arguments(out, node->stream, node->n));
  if (node->saved) ls__json_put(out, o, "saved", json_true());
  ls__json_put_autograd(out, o, node);
  if (t->owner.open && !out->numbers) put_place(out, o, t, id);
  if (node->step) put_integer(out, o, "step", node->step);
  if (t->invoke_count > 1 && node->invoke >= 0) put_integer(out, o, "invoke", node->invoke);
  if (t->invoke_count > 1) put_integer(out, o, "pass", ls__pass_of(t->plan.nodes[id].time));
  if (node->flag && node->kind == LS__WRITE) ls__json_put(out, o, "skips", json_true());
  if (t->owner.open && t->run.nodes[id].done && t->run.values[id].kind == LS_TENSOR) put_computed(out, o, &t->run.values[id]);
  return o;
}

static json_t *trace_json(ls__json *out, const ls_trace *t) {
  json_t *o = ls__json_with(out, "graph", ls__json_string(out, "trace")), *nodes = ls__json_made(out, json_array());
  for (int32_t i = 0; i < t->owner.nodes.count && !out->status; i++) ls__json_add(out, nodes, node_json(out, t, i));
  ls__json_put(out, o, "nodes", nodes);
  return o;
}

ls_status ls_trace_json(ls_trace *t, int32_t numbers, const char **out) {
  static _Thread_local char *kept;
  LS__NEED(t && out);
  ls__json json = {.module = t->module, .numbers = numbers != 0};
  ls_status status = ls__json_finish(&json, trace_json(&json, t), &kept);
  if (!status) *out = kept;
  return status;
}

/* ---- the text to read --------------------------------------------------------------------------------------------------- */

static _Thread_local char *text;
static _Thread_local size_t used, room;
static _Thread_local bool lost; /* true where memory was missing for a part of the printed trace */

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...) {
  for (;;) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + used, room - used, format, args);
    va_end(args);
    if (n < 0) {
      lost = true;
      return;
    }
    if (used + (size_t)n < room) {
      used += (size_t)n;
      return;
    }
    char *bigger = realloc(text, (used + (size_t)n + 1) * 2);
    if (!bigger) {
      lost = true;
      return;
    }
    text = bigger;
    room = (used + (size_t)n + 1) * 2;
  }
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

/* Writes `self[indices]` for a node that reads or writes elements; `from` is the place of the first index among the node's arguments. */
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
  if (strcmp(what, "set") && strcmp(what, "write") && strcmp(what, "put")) put("%%%lld = ", (long long)json_integer_value(json_object_get(o, "node")));
  if (!strcmp(what, "get")) {
    put_index(args, 1);
  } else if (!strcmp(what, "set")) {
    put_index(args, 2);
    put(" = ");
    put_value(json_array_get(args, 1));
  } else if (!strcmp(what, "write") || !strcmp(what, "put")) {
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

ls_status ls_trace_describe(ls_trace *t, const char **out) {
  LS__NEED(t && out);
  ls__json json = {.module = t->module};
  json_t *o = trace_json(&json, t);
  used = 0;
  lost = false;
  if (!json.status) {
    put("%s", "");
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(o, "nodes"), i, node) put_node(node, 0);
  }
  json_decref(o);
  if (json.status) return json.status;
  if (lost) return ls__fail(LS_ERROR_MEMORY, "out of memory for the text of a trace");
  *out = text;
  return LS_OK;
}
