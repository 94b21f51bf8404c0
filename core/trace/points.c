/* Points of a trace: reads and writes at them, the rows of an invoke, the text and the padding of a generation. */
#include "trace/trace.h"
#include <string.h>

static ls_status check_point(const ls_graph *g, int32_t invoke, int32_t step, int32_t point) {
  ls_status status = ls__trace_check_open(g);
  if (status) return status;
  if (invoke < 0 || invoke >= g->invoke_count) return ls__fail(LS_ERROR_STATE, "this trace has no such invoke");
  if (point < 0 || point >= g->invokes[invoke].program->point_count)
    return ls__fail(LS_ERROR_UNREACHED, "the model never reaches this point");
  if (step < 0 || (step && step >= g->invokes[invoke].steps)) return ls__fail(LS_ERROR_INDEX, "there is no step %d", step);
  return LS_OK;
}

/* Adds a node that stands at a point. */
static ls_status at_point(ls_graph *g, ls__node_kind kind, int32_t invoke, int32_t step, int32_t point, const ls_value *value,
                          int64_t site, int32_t *id) {
  ls_status status = ls__node_new(g, kind, value, value ? 1 : 0, site, LS_NONE, id);
  if (status) return status;
  g->nodes[*id].slot = point;
  g->nodes[*id].invoke = invoke;
  g->nodes[*id].step = step;
  return ls__settle(g, *id);
}

/* What the model's own functions say of the kind of value at a point. */
static uint8_t kind_at(const ls_graph *g, int32_t invoke, int32_t point) {
  const ls_program *program = g->invokes[invoke].program;
  const ls__point *p = &program->points[point];
  const ls_graph *function = program->instances[p->instance].function;
  if (p->kind == LS_POINT_INPUT) return LS_TUPLE;
  if (p->kind == LS_POINT_TAP) return LS_TENSOR;
  return function->result.kind == LS_NODE ? function->kinds[function->result.aux] : (uint8_t)function->result.kind;
}

/* The names of the struct that `stream` of a function stands for; false where they are not known. */
static bool fields_of(const ls_graph *f, const ls_value *stream, const char **names, size_t *n) {
  const ls__node *node = stream->kind == LS_NODE ? &f->nodes[stream->aux] : NULL;
  if (node && node->kind == LS__CALL) return fields_of(node->callee, &node->callee->result, names, n);
  if (node && node->kind == LS__TAP) return fields_of(f, node->stream, names, n);
  if (!node || node->kind != LS__SEQ || node->stream[0].aux != LS_STRUCT || node->stream[0].as.i > LS__LOCAL) return false;
  *n = 0;
  for (int32_t i = 1; i < node->n; i = ls__stream_value(node->stream, i, node->n))
    if (node->stream[i].kind == LS_KEY) names[(*n)++] = node->stream[i++].as.s;
  return true;
}

ls_status ls__trace_check_field(const ls_graph *g, int32_t id, const char *name) {
  if (g->state != LS__TRACE) return LS_OK;
  if (g->nodes[id].kind == LS__ROWS) id = g->nodes[id].stream[0].aux;
  const ls__node *node = &g->nodes[id];
  if (node->kind != LS__READ || g->invokes[node->invoke].program->points[node->slot].kind != LS_POINT_OUTPUT) return LS_OK;
  const ls_program *p = g->invokes[node->invoke].program;
  const ls_graph *f = p->instances[p->points[node->slot].instance].function;
  const char *names[LS__LOCAL];
  size_t n;
  if (!fields_of(f, &f->result, names, &n)) return LS_OK;
  for (size_t i = 0; i < n; i++)
    if (!strcmp(names[i], name)) return LS_OK;
  ls__fail(LS_ERROR_NAME, "there is no field \"%s\" here%s", name, ls__near(name, names, n));
  ls__fail_point(ls__trace_point_name(g, node->invoke, node->slot));
  return LS_ERROR_NAME;
}

/* Adds the rows of the invoke, where it is one of several, and gives the handle. */
static ls_status give(ls_graph *g, int32_t invoke, int32_t id, int64_t site, ls_value *out) {
  if (g->invokes[invoke].kind == LS_INVOKE_ROWS) {
    int32_t rows;
    ls_status status = ls__node_new(g, LS__ROWS, &(ls_value){.kind = LS_NODE, .aux = id, .as.p = g}, 1, site, g->kinds[id], &rows);
    if (status) return status;
    g->nodes[rows].invoke = invoke;
    if ((status = ls__settle(g, rows))) return status;
    id = rows;
  }
  ls__node_handle(g, id, out);
  return LS_OK;
}

ls_status ls_trace_read(ls_graph *g, int32_t invoke, int32_t step, int32_t point, int64_t site, ls_value *out) {
  int32_t id;
  ls_status status = check_point(g, invoke, step, point);
  if (!status) status = at_point(g, LS__READ, invoke, step, point, NULL, site, &id);
  if (status) return status;
  g->kinds[id] = kind_at(g, invoke, point);
  return give(g, invoke, id, site, out);
}

ls_status ls_trace_text(ls_graph *g, int32_t invoke, int64_t site, ls_value *out) {
  int32_t id;
  ls_status status = ls__trace_check_open(g);
  if (!status && (invoke < 0 || invoke >= g->invoke_count || !g->invokes[invoke].steps))
    status = ls__fail(LS_ERROR_STATE, "a trace generates nothing; this exists in model:generate");
  if (!status) status = at_point(g, LS__TEXT, invoke, 0, -1, NULL, site, &id);
  if (status) return status;
  g->kinds[id] = LS_TENSOR;
  return give(g, invoke, id, site, out);
}

ls_status ls_trace_pad(ls_graph *g, int32_t invoke, int32_t step, int32_t offset, int64_t site, ls_value *out) {
  int32_t id;
  ls_status status = check_point(g, invoke, step, 0);
  if (!status) status = at_point(g, LS__PAD, invoke, step, 0, &(ls_value){.kind = LS_INT, .as.i = offset}, site, &id);
  if (status) return status;
  g->kinds[id] = LS_INT;
  ls__node_handle(g, id, out);
  return LS_OK;
}

/* The index of a replaced piece: a tensor at an input point is the first positional argument. */
static const ls_value first_argument[2] = {{.kind = LS_INT, .as.i = 0}, {.kind = LS_INT, .as.i = 0}};

static ls_status write_first(ls_graph *g, int32_t invoke, int32_t step, int32_t point, const ls_value *value, int64_t site) {
  ls_value read, pieces;
  ls_status status = ls_trace_read(g, invoke, step, point, site, &read);
  if (status) return status;
  status = ls_getitem(&read, first_argument, 1, site, &pieces);
  ls_value_release(&read);
  if (status) return status;
  status = ls_setitem(&pieces, first_argument + 1, 1, value, site);
  ls_value_release(&pieces);
  return status;
}

ls_status ls_trace_write(ls_graph *g, int32_t invoke, int32_t step, int32_t point, const ls_value *value, int32_t skips,
                         int64_t site) {
  ls_status status = check_point(g, invoke, step, point);
  if (status) return status;
  ls_value given = *value;
  if (value->kind == LS_NODE && value->as.p != g) {
    ls_graph *other;
    if ((status = ls__open_graph((ls_value[]){{.kind = LS_NODE, .as.p = g}, *value}, 2, &other))) return status;
    if ((status = ls__resolve(value, 1, &given))) return status;
    value = &given;
  }
  uint8_t old = kind_at(g, invoke, point), new = value->kind == LS_NODE ? g->kinds[value->aux] : (uint8_t)value->kind;
  if (g->invokes[invoke].program->points[point].kind == LS_POINT_INPUT && (new == LS_TENSOR || new == LS_NONE))
    return write_first(g, invoke, step, point, value, site);
  if ((old == LS_TUPLE || old == LS_STRUCT) && new == LS_TENSOR) {
    ls__fail(LS_ERROR_SHAPE, "a tensor cannot take the place of a %s; %s %s, or give ls.tuple(x)",
             old == LS_TUPLE ? "tuple" : "struct", skips ? "give" : "set", old == LS_TUPLE ? "its element [0]" : "its field");
    ls__fail_point(ls__trace_point_name(g, invoke, point));
    return LS_ERROR_SHAPE;
  }
  int32_t id;
  if ((status = at_point(g, LS__WRITE, invoke, step, point, value, site, &id))) return status;
  g->nodes[id].flag = skips != 0;
  return LS_OK;
}
