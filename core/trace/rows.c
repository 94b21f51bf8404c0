/* The rows of an invoke: the part of a value that the invoke's body sees, where the value has the rows of several invokes, and the way back
   when the body sets a new value. A module declares the axis of the rows for each point (0 by default); it is not guessed from sizes. */
#include <stdio.h>
#include <string.h>
#include "trace/trace.h"

bool ls__rows_all(const ls_trace *t, int32_t invoke) {
  const ls__running_invoke *running = &t->run.invokes[invoke];
  return t->invokes[invoke].kind != LS_INVOKE_ROWS || (running->first == 0 && running->rows == t->run.rows);
}

bool ls__rows_several(const ls_trace *t) {
  int32_t with_rows = 0;
  for (int32_t i = 0; i < t->invoke_count; i++) with_rows += t->invokes[i].kind == LS_INVOKE_ROWS;
  return with_rows > 1;
}

/* The value of node `id` is an invoke's rows, or an element, of a value at a point. Returns the node that reads or writes the whole value
   at this point. */
static const ls__node *read_of(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  while (nodes[id].kind == LS__ROWS || nodes[id].kind == LS__GETITEM) id = nodes[id].stream[0].aux;
  return &nodes[id];
}

/* ---- where the rows are ----------------------------------------------------------------------------------------- */

/* Returns the name under which a module declares the axis of the rows at the point that `read` reads or writes. `module` becomes the module
   that the point belongs to. */
static const char *point_of(const ls_trace *t, const ls__node *read, const ls_module **module) {
  ls__point_info point = ls__trace_point(t, read);
  *module = point.module;
  return point.kind == LS_POINT_INPUT ? "input" : point.kind == LS_POINT_OUTPUT ? "output" : point.tap;
}

typedef struct where {
  const ls_module *module;
  const char *point; /* the name of the point: "output", "input", that of a tap, or "generator.output" */
  int32_t axis, first, rows, all;
} where;

static where where_of(const ls_trace *t, int32_t id) {
  const ls__node *read = read_of(t, id);
  const ls__running_invoke *running = &t->run.invokes[t->owner.nodes.at[id].invoke];
  where w = {NULL, "generator.output", 0, running->first, running->rows, t->run.rows};
  if (read->kind != LS__READ && read->kind != LS__WRITE) return w;
  w.point = point_of(t, read, &w.module);
  w.axis = ls__module_axis(w.module, w.point, 0);
  return w;
}

static ls_status no_rows(void) {
  return ls__fail(LS_ERROR_SHAPE, "the rows of one invoke cannot be told apart here; read or set this point in an invoke without "
                                  "input, which sees all of them");
}

int32_t ls_trace_token_axis(const ls_value *value, int32_t *invoke, int32_t *step) {
  const ls_trace *t = ls__trace_of(value);
  if (!t || !t->owner.open || !invoke || !step) return -1;
  const ls__node *node = &t->owner.nodes.at[value->aux];
  for (; node->kind == LS__ROWS || node->kind == LS__GETITEM; node = &t->owner.nodes.at[node->stream[0].aux]) {
    if (node->stream[0].kind != LS_NODE) return -1;
    if (node->kind == LS__GETITEM && (node->n != 2 || t->owner.nodes.kinds[node->stream[0].aux] == LS_TENSOR)) return -1;
  }
  if (node->kind != LS__READ) return -1;
  *invoke = node->invoke;
  *step = node->step;
  char name[160];
  const ls_module *m;
  snprintf(name, sizeof name, "tokens of %s", point_of(t, node, &m));
  return ls__module_axis(m, name, 1);
}

/* ---- taking ----------------------------------------------------------------------------------------------------- */

static ls_status take(const where *w, const ls_value *whole, int depth, ls_value *out) {
  if (whole->kind == LS_TUPLE || whole->kind == LS_STRUCT) {
    const char **keys = ls__seq_keys(whole);
    int32_t length = ls_seq_length(whole);
    ls_value made;
    ls_status status = ls__seq_new(whole->kind, length, &made);
    if (status) return status;
    for (int32_t i = 0; i < length && !status; i++) {
      where piece = *w;
      char name[128];
      if (keys) {
        ls__seq_keys(&made)[i] = keys[i];
        snprintf(name, sizeof name, "%s.%s", w->point, keys[i]);
        piece.axis = ls__module_axis(w->module, name, w->axis);
      }
      status = take(&piece, &ls__seq_items(whole)[i], depth + 1, &ls__seq_items(&made)[i]);
    }
    if (status) ls_value_release(&made);
    else *out = made;
    return status;
  }
  if (whole->kind != LS_TENSOR) {
    *out = *whole;
    ls_value_retain(out);
    return LS_OK;
  }
  if (w->axis < 0) return no_rows();
  ls_tensor_info info;
  ls_status status = ls_tensor_describe(whole, &info);
  if (status) return status;
  int64_t size = w->axis < info.dims ? info.shape[w->axis] : -1;
  if (size == w->all) return ls__tensor_narrow(whole->as.p, w->axis, w->first, w->rows, out);
  if (depth && size <= 1) { /* a tensor in a sequence may have no axis of rows; it is the same for every row */
    *out = *whole;
    ls_value_retain(out);
    return LS_OK;
  }
  return no_rows();
}

ls_status ls__rows_take(ls_trace *t, int32_t id, const ls_value *whole, ls_value *out) {
  const ls__node *nodes = t->owner.nodes.at;
  if (ls__rows_all(t, nodes[id].invoke)) {
    *out = *whole;
    ls_value_retain(out);
    return LS_OK;
  }
  where w = where_of(t, id);
  ls_tensor_info info;
  if (nodes[nodes[id].stream[0].aux].kind == LS__TEXT && !ls_tensor_describe(whole, &info) && info.dims && info.shape[0] < w.all) {
    int64_t texts = info.shape[0]; /* a beam search runs several rows for each text, so it returns fewer texts than it has rows */
    w.first = (int32_t)(w.first * texts / w.all);
    w.rows = (int32_t)(w.rows * texts / w.all);
    w.all = (int32_t)texts;
  }
  return take(&w, whole, 0, out);
}

ls_value *ls__rows_whole(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_value *own = &t->run.values[id];
  if (node->kind != LS__ROWS && (node->kind != LS__GETITEM || node->n != 2)) return own;
  if (node->stream[0].kind != LS_NODE) return own;
  if (node->kind == LS__ROWS) return ls__rows_whole(t, node->stream[0].aux);
  ls_value *of = ls__rows_whole(t, node->stream[0].aux);
  if (of->kind != LS_TUPLE && of->kind != LS_STRUCT) return own;
  const ls_value *index = &node->stream[1];
  ls_value key = index->kind == LS_NODE ? t->run.values[index->aux] : *index;
  int64_t i = key.kind == LS_INT ? key.as.i : key.kind == LS_STRING ? ls_seq_find(of, key.as.s) : -1;
  if (i < 0 && key.kind == LS_INT) i += ls_seq_length(of);
  return i >= 0 && i < ls_seq_length(of) ? &ls__seq_items(of)[i] : own;
}

/* ---- putting back ----------------------------------------------------------------------------------------------- */

static ls_status put(const where *w, ls_value *whole, const ls_value *part) {
  ls_value fresh;
  if (part->kind == LS_TUPLE || part->kind == LS_STRUCT) {
    const char **keys = ls__seq_keys(part);
    int32_t length = ls_seq_length(part);
    /* the model has computed no value here, since the invokes together set all rows; the other invokes add their rows later */
    if (!whole->kind) {
      ls_status status = ls__seq_new(part->kind, length, &fresh);
      if (status) return status;
      for (int32_t i = 0; keys && i < length; i++) ls__seq_keys(&fresh)[i] = keys[i];
      ls__replace(whole, fresh);
    }
    ls_status status = LS_OK;
    for (int32_t i = 0; i < length && !status; i++) status = put(w, &ls__seq_items(whole)[i], &ls__seq_items(part)[i]);
    return status;
  }
  if (part->kind != LS_TENSOR) {
    fresh = *part;
    ls_value_retain(&fresh);
    ls__replace(whole, fresh);
    return LS_OK;
  }
  if (w->axis < 0) return no_rows();
  ls_tensor_info info;
  ls_status status = ls_tensor_describe(part, &info);
  if (status) return status;
  if (w->axis >= info.dims || info.shape[w->axis] != w->rows)
    return ls__fail(LS_ERROR_SHAPE, "among several invokes the value that an invoke sets must have the invoke's %d row%s on "
                                    "axis %d; this one has %lld",
                    w->rows, w->rows == 1 ? "" : "s", w->axis,
                    w->axis < info.dims ? (long long)info.shape[w->axis] : 0LL);
  status = ls__tensor_with_rows(whole->kind == LS_TENSOR ? whole->as.p : NULL, part->as.p, w->axis, w->first, w->all, &fresh);
  if (!status) ls__replace(whole, fresh);
  return status;
}

ls_status ls__rows_put(ls_trace *t, int32_t id, ls_value *whole, const ls_value *part) {
  where w = where_of(t, id);
  return put(&w, whole, part);
}
