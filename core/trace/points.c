/* Records what a trace does at points of the model: nodes that read and write values, that take the rows of an invoke, and that return the
   text or the padding of a generation. */
#include <string.h>
#include "trace/trace.h"

static ls_status check_point(const ls_trace *t, int32_t invoke, int32_t step, int32_t point) {
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  if (invoke < -1) return ls__hook_check_point(t, -2 - invoke, point);
  if (invoke < 0 || invoke >= t->invoke_count) return ls__fail(LS_ERROR_ARGUMENT, "this trace has no invoke with the given number");
  if (point < 0 || point >= ls_program_points(t->invokes[invoke].given))
    return ls__fail(LS_ERROR_UNREACHED, "the model never reaches this point");
  if (step < 0 || (step && step >= t->invokes[invoke].steps)) return ls__fail(LS_ERROR_INDEX, "there is no step %d in this invoke", step);
  return LS_OK;
}

/* Returns a node of the given kind that belongs to the given point of an invoke's run. */
static ls__node at_point(ls__node_kind kind, int32_t invoke, int32_t step, int32_t point, int64_t site) {
  ls__node node = ls__node_of(kind, site);
  node.slot = point;
  node.invoke = invoke;
  node.step = step;
  return node;
}

/* Returns the program that numbers the points of an invoke or, for an `invoke` of -2 - h, those of the call `h` with points of its own. */
static ls_program *program_of(const ls_trace *t, int32_t invoke) {
  return invoke < -1 ? t->hooks[-2 - invoke].program : t->invokes[invoke].program;
}

/* Returns the kind of the value at a point, as far as the recorded functions of the model tell; LS_NONE where it is unknown. */
static uint8_t kind_at(const ls_trace *t, int32_t invoke, int32_t point) {
  ls__point_info at = ls__program_point(program_of(t, invoke), point);
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
  ls__fail(LS_ERROR_NAME, "this value has no field \"%s\"%s", name, ls__near(name, names, n));
  ls__fail_point(ls__trace_point_name(t, node->invoke, node->slot));
  return LS_ERROR_NAME;
}

/* Adds a node at a point and, where the invoke shares a batch, another node that cuts the invoke's rows out of the value; `out` becomes a
   handle to the node added last. */
static ls_status record_at_point(ls_trace *t, const ls__node *node, uint8_t kind, ls_value *out) {
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
  if (invoke < -1) return ls__hook_read(t, -2 - invoke, point, site, out);
  ls_status status = check_point(t, invoke, step, point);
  if (status) return status;
  if (t->invokes[invoke].map) point = t->invokes[invoke].map[point];
  ls__node node = at_point(LS__READ, invoke, step, point, site);
  return record_at_point(t, &node, kind_at(t, invoke, point), out);
}

ls_status ls_trace_text(ls_trace *t, int32_t invoke, int64_t site, ls_value *out) {
  LS__NEED(t && out);
  ls_status status = ls__trace_check_open(t);
  if (!status && (invoke < 0 || invoke >= t->invoke_count))
    status = ls__fail(LS_ERROR_ARGUMENT, "this trace has no invoke with the given number");
  if (!status && !t->invokes[invoke].steps)
    status = ls__fail(LS_ERROR_STATE, "an invoke of a plain trace generates no tokens; use model:generate");
  if (status) return status;
  ls__node node = at_point(LS__TEXT, invoke, 0, -1, site);
  return record_at_point(t, &node, LS_TENSOR, out);
}

ls_status ls_trace_pad(ls_trace *t, int32_t invoke, int32_t step, int32_t offset, int64_t site, ls_value *out) {
  LS__NEED(t && out);
  ls_status status = check_point(t, invoke, step, 0);
  if (status) return status;
  ls__node node = at_point(LS__PAD, invoke, step, 0, site);
  return ls__trace_record_handle(t, &node, &(ls_value){.kind = LS_INT, .as.i = offset}, 1, LS_INT, out);
}

/* The indices [0][0], which lead from an input pair ((positional), {keywords}) to the first positional argument: a tensor written to an
   input point replaces that argument. */
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
  int32_t given = point;
  if (invoke >= 0 && t->invokes[invoke].map) point = t->invokes[invoke].map[point];
  ls_value local[LS__LOCAL];
  if (value->kind == LS_NODE && value->as.p != t) {
    ls__owner *other;
    if ((status = ls__open_owner((ls_value[]){{.kind = LS_NODE, .as.p = t}, *value}, 2, &other))) return status;
    if ((status = ls__resolve(value, 1, local, &value))) return status;
  }
  uint8_t old = kind_at(t, invoke, point), new = value->kind == LS_NODE ? t->owner.nodes.kinds[value->aux] : (uint8_t)value->kind;
  bool input = ls__program_point(program_of(t, invoke), point).kind == LS_POINT_INPUT;
  if (input && (new == LS_TENSOR || new == LS_NONE))
    return write_first(t, invoke, step, given, value, site);
  if ((old == LS_TUPLE || old == LS_STRUCT) && new == LS_TENSOR) {
    ls__fail(LS_ERROR_SHAPE, "a tensor cannot take the place of a %s; %s %s, or give ls.tuple(x)",
             old == LS_TUPLE ? "tuple" : "struct", skips ? "give" : "set", old == LS_TUPLE ? "its element [0]" : "its field");
    if (invoke >= 0) ls__fail_point(ls__trace_point_name(t, invoke, point));
    return LS_ERROR_SHAPE;
  }
  if (invoke < -1) return ls__hook_write(t, -2 - invoke, point, value, site);
  ls__node node = at_point(LS__WRITE, invoke, step, point, site);
  node.flag = skips != 0;
  int32_t id;
  return ls__trace_record(t, &node, value, 1, LS_NONE, &id);
}
