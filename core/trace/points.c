/* Points of a trace: reading and writing values there, the rows of an invoke, and the text and the padding of a generation. */
#include <string.h>
#include "trace/trace.h"

static ls_status check_point(const ls_trace *t, int32_t invoke, int32_t step, int32_t point) {
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  if (invoke < 0 || invoke >= t->invoke_count) return ls__fail(LS_ERROR_ARGUMENT, "this trace has no such invoke");
  if (point < 0 || point >= ls_program_points(t->invokes[invoke].program))
    return ls__fail(LS_ERROR_UNREACHED, "the model never reaches this point");
  if (step < 0 || (step && step >= t->invokes[invoke].steps)) return ls__fail(LS_ERROR_INDEX, "there is no step %d", step);
  return LS_OK;
}

/* A node that is tied to a point. */
static ls__node at_point(ls__node_kind kind, int32_t invoke, int32_t step, int32_t point, int64_t site) {
  ls__node node = ls__node_of(kind, site);
  node.slot = point;
  node.invoke = invoke;
  node.step = step;
  return node;
}

/* The kind of value at a point, as the model's functions tell it. */
static uint8_t kind_at(const ls_trace *t, int32_t invoke, int32_t point) {
  ls__point_info at = ls__program_point(t->invokes[invoke].program, point);
  if (at.kind == LS_POINT_INPUT) return LS_TUPLE;
  return at.kind == LS_POINT_TAP ? LS_TENSOR : ls__function_kind(at.function);
}

ls_status ls__trace_check_field(const ls_trace *t, int32_t id, const char *name) {
  const ls__node *node = &t->owner.nodes.at[id];
  if (node->kind == LS__ROWS) node = &t->owner.nodes.at[node->stream[0].aux];
  if (node->kind != LS__READ) return LS_OK;
  ls__point_info at = ls__trace_point(t, node);
  const char *names[LS__LOCAL];
  size_t n;
  if (at.kind != LS_POINT_OUTPUT || !ls__function_fields(at.function, names, &n)) return LS_OK;
  for (size_t i = 0; i < n; i++)
    if (!strcmp(names[i], name)) return LS_OK;
  ls__fail(LS_ERROR_NAME, "there is no field \"%s\" here%s", name, ls__near(name, names, n));
  ls__fail_point(ls__trace_point_name(t, node->invoke, node->slot));
  return LS_ERROR_NAME;
}

/* Adds a node, and behind it a node that cuts out the invoke's rows where the invoke shares a batch; `out` is a handle to the last. */
static ls_status give(ls_trace *t, const ls__node *node, uint8_t kind, ls_value *out) {
  int32_t id;
  ls_status status = ls__trace_record(t, node, NULL, 0, kind, &id);
  if (!status && t->invokes[node->invoke].kind == LS_INVOKE_ROWS) {
    ls__node rows = ls__node_of(LS__ROWS, node->site);
    rows.invoke = node->invoke;
    status = ls__trace_record(t, &rows, &(ls_value){.kind = LS_NODE, .aux = id, .as.p = t}, 1, kind, &id);
  }
  if (!status) ls__node_handle(&t->owner, id, out);
  return status;
}

ls_status ls_trace_read(ls_trace *t, int32_t invoke, int32_t step, int32_t point, int64_t site, ls_value *out) {
  LS__NEED(t && out);
  ls_status status = check_point(t, invoke, step, point);
  if (status) return status;
  ls__node node = at_point(LS__READ, invoke, step, point, site);
  return give(t, &node, kind_at(t, invoke, point), out);
}

ls_status ls_trace_text(ls_trace *t, int32_t invoke, int64_t site, ls_value *out) {
  LS__NEED(t && out);
  ls_status status = ls__trace_check_open(t);
  if (!status && (invoke < 0 || invoke >= t->invoke_count)) status = ls__fail(LS_ERROR_ARGUMENT, "this trace has no such invoke");
  if (!status && !t->invokes[invoke].steps)
    status = ls__fail(LS_ERROR_STATE, "a trace generates no tokens; use model:generate");
  if (status) return status;
  ls__node node = at_point(LS__TEXT, invoke, 0, -1, site);
  return give(t, &node, LS_TENSOR, out);
}

ls_status ls_trace_pad(ls_trace *t, int32_t invoke, int32_t step, int32_t offset, int64_t site, ls_value *out) {
  LS__NEED(t && out);
  ls_status status = check_point(t, invoke, step, 0);
  if (status) return status;
  ls__node node = at_point(LS__PAD, invoke, step, 0, site);
  return ls__trace_record_handle(t, &node, &(ls_value){.kind = LS_INT, .as.i = offset}, 1, LS_INT, out);
}

/* The indices of the first positional argument: a tensor written to an input point replaces that argument. */
static const ls_value first_argument[2] = {{.kind = LS_INT, .as.i = 0}, {.kind = LS_INT, .as.i = 0}};

static ls_status write_first(ls_trace *t, int32_t invoke, int32_t step, int32_t point, const ls_value *value, int64_t site) {
  ls_value read, pieces;
  ls_status status = ls_trace_read(t, invoke, step, point, site, &read);
  if (status) return status;
  status = ls_getitem(&read, first_argument, 1, site, &pieces);
  ls_value_release(&read);
  if (status) return status;
  status = ls_setitem(&pieces, first_argument + 1, 1, value, site);
  ls_value_release(&pieces);
  return status;
}

ls_status ls_trace_write(ls_trace *t, int32_t invoke, int32_t step, int32_t point, const ls_value *value, int32_t skips,
                         int64_t site) {
  LS__NEED(t && value);
  ls_status status = check_point(t, invoke, step, point);
  if (!status) status = ls__value_check(value);
  if (status) return status;
  ls_value local[LS__LOCAL];
  if (value->kind == LS_NODE && value->as.p != t) {
    ls__owner *other;
    if ((status = ls__open_owner((ls_value[]){{.kind = LS_NODE, .as.p = t}, *value}, 2, &other))) return status;
    if ((status = ls__resolve(value, 1, local, &value))) return status;
  }
  uint8_t old = kind_at(t, invoke, point), new = value->kind == LS_NODE ? t->owner.nodes.kinds[value->aux] : (uint8_t)value->kind;
  bool input = ls__program_point(t->invokes[invoke].program, point).kind == LS_POINT_INPUT;
  if (input && (new == LS_TENSOR || new == LS_NONE))
    return write_first(t, invoke, step, point, value, site);
  if ((old == LS_TUPLE || old == LS_STRUCT) && new == LS_TENSOR) {
    ls__fail(LS_ERROR_SHAPE, "a tensor cannot take the place of a %s; %s %s, or give ls.tuple(x)",
             old == LS_TUPLE ? "tuple" : "struct", skips ? "give" : "set", old == LS_TUPLE ? "its element [0]" : "its field");
    ls__fail_point(ls__trace_point_name(t, invoke, point));
    return LS_ERROR_SHAPE;
  }
  ls__node node = at_point(LS__WRITE, invoke, step, point, site);
  node.flag = skips != 0;
  int32_t id;
  return ls__trace_record(t, &node, value, 1, LS_NONE, &id);
}
