/* The rows of an invoke: what a body sees of a value that holds the rows of several, and how what it sets is put back. Where
   the rows are is what the module declares for the point (axis 0 unless said otherwise), never guessed from sizes. */
#include <string.h>
#include <stdio.h>
#include "trace/trace.h"

bool ls__rows_all(const ls_graph *g, int32_t invoke) {
  const ls__invoke *i = &g->invokes[invoke];
  return i->kind != LS_INVOKE_ROWS || (i->first == 0 && i->rows == g->rows);
}

bool ls__rows_several(const ls_graph *g) {
  int32_t with_rows = 0;
  for (int32_t i = 0; i < g->invoke_count; i++) with_rows += g->invokes[i].kind == LS_INVOKE_ROWS;
  return with_rows > 1;
}

/* The read that a node's value is the rows or a piece of. */
static const ls__node *read_of(const ls_graph *g, int32_t id) {
  while (g->nodes[id].kind == LS__ROWS || g->nodes[id].kind == LS__GETITEM) id = g->nodes[id].stream[0].aux;
  return &g->nodes[id];
}

/* ---- where the rows are ----------------------------------------------------------------------------------------- */

static int32_t declared(const ls_module *m, const char *name, int32_t otherwise) {
  for (int32_t i = 0; m && i < m->axes; i++)
    if (!strcmp(m->axis_points[i], name)) return m->axis_numbers[i];
  return otherwise;
}

/* The name of the point of a read or write, and the module that it belongs to. */
static const char *point_of(const ls_graph *g, const ls__node *read, const ls_module **module) {
  const ls_program *p = g->invokes[read->invoke].program;
  const ls__point *point = &p->points[read->slot];
  int32_t instance = point->instance;
  while (!p->instances[instance].module && p->instances[instance].parent >= 0) instance = p->instances[instance].parent;
  *module = p->instances[instance].module;
  return point->kind == LS_POINT_INPUT ? "input" : point->kind == LS_POINT_OUTPUT ? "output" : point->tap;
}

typedef struct where {
  const ls_module *module;
  const char *point; /* its name, for what the module declares */
  int32_t axis, first, rows, all;
} where;

static where where_of(const ls_graph *g, int32_t id) {
  const ls__node *rows = &g->nodes[id], *read = read_of(g, id);
  const ls__invoke *invoke = &g->invokes[rows->invoke];
  where w = {NULL, "generator.output", 0, invoke->first, invoke->rows, g->rows};
  if (read->kind != LS__READ && read->kind != LS__WRITE) return w;
  w.point = point_of(g, read, &w.module);
  w.axis = declared(w.module, w.point, 0);
  return w;
}

static ls_status no_rows(void) {
  return ls__fail(LS_ERROR_SHAPE, "the rows of one invoke cannot be told apart here; touch this point from an invoke without "
                                  "input, which sees all of them");
}

int32_t ls_trace_token_axis(const ls_value *value, int32_t *invoke, int32_t *step) {
  const ls_graph *g = value->as.p;
  int32_t id = value->aux;
  while (g->nodes[id].kind == LS__ROWS || g->nodes[id].kind == LS__GETITEM) {
    const ls__node *node = &g->nodes[id];
    if (node->stream[0].kind != LS_NODE) return -1;
    if (node->kind == LS__GETITEM && (node->n != 2 || g->kinds[node->stream[0].aux] == LS_TENSOR)) return -1;
    id = node->stream[0].aux;
  }
  const ls__node *read = &g->nodes[id];
  if (g->state != LS__TRACE || read->kind != LS__READ) return -1;
  *invoke = read->invoke;
  *step = read->step;
  char name[160];
  const ls_module *m;
  snprintf(name, sizeof name, "tokens of %s", point_of(g, read, &m));
  return declared(m, name, 1);
}

/* ---- taking ----------------------------------------------------------------------------------------------------- */

static ls_status take(const where *w, const ls_value *whole, int depth, ls_value *out) {
  if (whole->kind == LS_TUPLE || whole->kind == LS_STRUCT) {
    const ls__seq *from = whole->as.p;
    ls_value made;
    ls_status status = ls__seq_new(whole->kind, from->length, &made);
    if (status) return status;
    ls__seq *to = made.as.p;
    for (int32_t i = 0; i < from->length && !status; i++) {
      where piece = *w;
      char name[128];
      if (from->keys) {
        to->keys[i] = from->keys[i];
        snprintf(name, sizeof name, "%s.%s", w->point, from->keys[i]);
        piece.axis = declared(w->module, name, w->axis);
      }
      status = take(&piece, &from->items[i], depth + 1, &to->items[i]);
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
  if (depth && size <= 1) { /* a piece that is the same for every row */
    *out = *whole;
    ls_value_retain(out);
    return LS_OK;
  }
  return no_rows();
}

ls_status ls__rows_take(ls_graph *g, int32_t id, const ls_value *whole, ls_value *out) {
  if (ls__rows_all(g, g->nodes[id].invoke)) {
    *out = *whole;
    ls_value_retain(out);
    return LS_OK;
  }
  where w = where_of(g, id);
  ls_tensor_info info;
  if (g->nodes[g->nodes[id].stream[0].aux].kind == LS__TEXT && !ls_tensor_describe(whole, &info) && info.dims && info.shape[0] < w.all) {
    int64_t texts = info.shape[0]; /* a search with beams gives fewer texts than it has rows */
    w.first = (int32_t)(w.first * texts / w.all);
    w.rows = (int32_t)(w.rows * texts / w.all);
    w.all = (int32_t)texts;
  }
  return take(&w, whole, 0, out);
}

ls_value *ls__rows_whole(ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  if (node->kind == LS__ROWS) return ls__rows_whole(g, node->stream[0].aux);
  if (node->kind != LS__GETITEM || node->n != 2 || node->stream[0].kind != LS_NODE) return &g->values[id];
  ls_value *of = ls__rows_whole(g, node->stream[0].aux);
  if (of->kind != LS_TUPLE && of->kind != LS_STRUCT) return &g->values[id];
  const ls__seq *seq = of->as.p;
  const ls_value *index = &node->stream[1];
  ls_value key = index->kind == LS_NODE ? g->values[index->aux] : *index;
  int64_t i = key.kind == LS_INT ? key.as.i : key.kind == LS_STRING ? ls_seq_find(of, key.as.s) : -1;
  if (i < 0 && key.kind == LS_INT) i += seq->length;
  return i >= 0 && i < seq->length ? &((ls__seq *)of->as.p)->items[i] : &g->values[id];
}

/* ---- putting back ----------------------------------------------------------------------------------------------- */

static ls_status put(const where *w, ls_value *whole, const ls_value *part) {
  ls_value fresh;
  if (part->kind == LS_TUPLE || part->kind == LS_STRUCT) {
    const ls__seq *from = part->as.p;
    if (!whole->kind) { /* replaced unread: the rows of the others follow */
      ls_status status = ls__seq_new(part->kind, from->length, &fresh);
      if (status) return status;
      for (int32_t i = 0; from->keys && i < from->length; i++) ((ls__seq *)fresh.as.p)->keys[i] = from->keys[i];
      ls__replace(whole, fresh);
    }
    ls__seq *to = whole->as.p;
    ls_status status = LS_OK;
    for (int32_t i = 0; i < from->length && !status; i++) status = put(w, &to->items[i], &from->items[i]);
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
    return ls__fail(LS_ERROR_SHAPE, "among several invokes a replaced value keeps the %d row%s of its own on axis %d; this one has %lld",
                    w->rows, w->rows == 1 ? "" : "s", w->axis,
                    w->axis < info.dims ? (long long)info.shape[w->axis] : 0LL);
  status = ls__tensor_with_rows(whole->kind == LS_TENSOR ? whole->as.p : NULL, part->as.p, w->axis, w->first, w->all, &fresh);
  if (!status) ls__replace(whole, fresh);
  return status;
}

ls_status ls__rows_put(ls_graph *g, int32_t id, ls_value *whole, const ls_value *part) {
  where w = where_of(g, id);
  return put(&w, whole, part);
}
