/* Operators and indices: each use of an operator or an index is computed at once, or is recorded as a node of a function or a trace. Every
   node of a trace is added by ls__trace_record. */
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- nodes of a trace ------------------------------------------------------------------------------------------- */

/* Finds the value that a node changes in place, and sets the node's `edits` to the node of that value. Where the node changes several
   values, `edits` is the one whose point the run reaches first. */
static ls_status find_edited(const ls_trace *t, ls__node *node) {
  node->edits = -1;
  if (node->kind == LS__SETITEM) {
    if (node->stream[0].kind != LS_NODE)
      return ls__fail(LS_ERROR_ARGUMENT, "this assignment would change a tensor of your own; clone it first");
    node->edits = node->stream[0].aux;
  }
  if (node->kind != LS__OP) return LS_OK;
  if (ls__call_changes_own(node->call))
    return ls__fail(LS_ERROR_ARGUMENT, "%s would change a tensor of your own; clone it first", ls__op_name(node->op));
  node->edits = ls__call_written(node->call, 0);
  int64_t first = ls__edit_time(t, node);
  for (int32_t k = 0, of; (of = ls__node_edits(node, k)) >= 0; k++) {
    int32_t root = t->plan.nodes[of].root;
    uint8_t kind = t->owner.nodes.at[root].kind;
    if (kind == LS__GRAD && ls__node_edits(node, 1) >= 0)
      return ls__fail(LS_ERROR_ARGUMENT, "%s changes several values, and one of them is a gradient; change them one by one",
                      ls__op_name(node->op));
    if (first >= 0 && kind == LS__READ && ls__own_time(t, root) == first) node->edits = of;
  }
  return LS_OK;
}

/* Fails where node `id` reads or changes a value at a point that the run has already passed. */
static ls_status check_passed(ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id], *at = &t->owner.nodes.at[ls__point_node(t, id)];
  int64_t time = node->kind == LS__PAD ? -1 : ls__own_time(t, id);
  if (time < 0 || !ls__time_passed(t, time)) return LS_OK;
  if (t->owner.shapes) { /* a scan (a trace over shapes and dtypes alone) computes no numbers, so its run can begin again from the start */
    ls__trace_forget(t);
    return LS_OK;
  }
  int32_t reached = ls__point_of(t->run.now);
  char to[256];
  const char *name = reached == LS__LAST ? "its end" : ls__trace_point_name(t, at->invoke, reached);
  strncpy(to, name, sizeof to - 1);
  to[sizeof to - 1] = 0;
  ls__fail(LS_ERROR_PASSED, "the model has already run past this point, to %s", to);
  ls__fail_point(ls__trace_point_name(t, at->invoke, at->slot));
  ls__fail_site(node->site, t->run.demand_site);
  return LS_ERROR_PASSED;
}

ls_status ls__trace_record(ls_trace *t, const ls__node *like, const ls_value *stream, int32_t n, uint8_t result, int32_t *id) {
  ls_status status = ls__node_add(&t->owner, like, stream, n, result, id);
  if (status) return status;
  ls__node *node = &t->owner.nodes.at[*id];
  if (ls__trace_make_room(t)) {
    status = find_edited(t, node);
    if (!status) ls__time_root(t, *id);
    if (!status) status = check_passed(t, *id);
    if (!status) status = ls__time_new(t, *id);
  } else {
    status = ls__fail(LS_ERROR_MEMORY, "out of memory for the nodes of a trace");
  }
  if (status) {
    ls__node_take_back(&t->owner.nodes);
    return status;
  }
  if (node->kind == LS__GRAD || node->kind == LS__SETGRAD || node->kind == LS__BACKWARD) t->gradients = true;
  t->plan.holds = false;
  return LS_OK;
}

ls_status ls__trace_record_handle(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result,
                                  ls_value *out) {
  int32_t id;
  ls_status status = ls__trace_check_open(t);
  if (!status) status = ls__trace_record(t, node, stream, n, result, &id);
  if (!status) ls__node_handle(&t->owner, id, out);
  return status;
}

ls_status ls_trace_call(ls_trace *t, ls_program *p, const ls_value *args, int32_t n, int32_t hook, int64_t site, ls_value *out) {
  LS__NEED(t && p && out && hook >= -1);
  ls_status status = ls__arguments_valid(args, n);
  if (status) return status;
  if (hook >= 0) return ls__hook_call(t, hook, p, args, n, site, out);
  ls__node node = ls__node_of(LS__CALL, site);
  node.program = p;
  return ls__trace_record_handle(t, &node, args, n, ls__function_kind(ls__program_function(p)), out);
}

ls_status ls_trace_host(ls_trace *t, int32_t invoke, const ls_value *args, int32_t n, int64_t site, ls_value *out) {
  LS__NEED(t && invoke >= -1 && invoke < t->invoke_count && out);
  ls_status status = ls__arguments_valid(args, n);
  if (status) return status;
  ls__node node = ls__node_of(LS__HOST, site);
  node.invoke = invoke;
  return ls__trace_record_handle(t, &node, args, n, LS_NONE, out);
}

/* ---- the front door --------------------------------------------------------------------------------------------- */

/* Adds a node to a function or a trace. Where `out` is NULL, no handle to the node is made. */
static ls_status record(ls__owner *o, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id,
                        ls_value *out) {
  ls_status status = ls__is_function(o) ? ls__function_record((ls_function *)o, node, stream, n, result, id)
                                        : ls__trace_record((ls_trace *)o, node, stream, n, result, id);
  if (!status && out) ls__node_handle(o, *id, out);
  return status;
}

/* Finds the function or trace to which a use of the values in a stream belongs: that of its nodes, else the function that is being recorded;
   NULL where the use is to be computed at once. */
static ls_status find_owner(const ls_value *stream, int32_t n, ls__owner **out) {
  ls__owner *recording = (ls__owner *)ls__recording();
  ls_status status = ls__open_owner(stream, n, out);
  if (status || !recording) return status;
  if (*out && *out != recording)
    return ls__fail(LS_ERROR_STATE, ls__is_function(*out)
                      ? "a value of one module's forward cannot be used in the forward of another module; pass it as an argument"
                      : "a value of an open trace cannot be used inside a module's forward; pass it as an argument");
  *out = recording;
  return LS_OK;
}

/* Gives the value of node `id`, an operator that says yes or no: a script will branch on it, and to Lua any node is true. */
static ls_status decide(ls__owner *o, int32_t id, const ls_op *op, int64_t site, ls_value *out, int32_t *n_out) {
  ls_value node;
  ls__node_handle(o, id, &node);
  ls_status status = ls_node_is_eager(&node) == 1 ? ls_function_demand(&node, site, out) : LS_ERROR_STATE;
  ls_value_release(&node);
  *n_out = 1;
  if (status != LS_ERROR_STATE) return status;
  ls__node_take_back(&o->nodes);
  return ls__fail(LS_ERROR_STATE, "%s gives true or false, but a forward is recorded once and runs later; a module whose forward branches "
                                  "on numbers declares itself: dynamic = true", ls__op_name(op));
}

static ls_status record_op(ls__owner *o, const ls_op *op, const ls_value *args, int32_t n, int64_t site, ls_value *out,
                           int32_t *n_out) {
  int32_t id, piece;
  ls__node node = ls__node_of(LS__OP, site);
  node.op = op;
  ls_status status = record(o, &node, args, n, LS_TENSOR, &id, NULL);
  if (status) return status;
  int32_t results = ls__call_results(o->nodes.at[id].call);
  if (results == 1 && o->nodes.kinds[id] == LS_BOOL && ls__is_function(o)) return decide(o, id, op, site, out, n_out);
  if (results <= 1) {
    ls__node_handle(o, id, out);
    *n_out = 1;
    return LS_OK;
  }
  node = ls__node_of(LS__GETITEM, site);
  for (int32_t i = 0; i < results; i++) {
    ls_value stream[2] = {{.kind = LS_NODE, .aux = id, .as.p = o}, {.kind = LS_INT, .as.i = i}};
    uint8_t kind = ls__call_kind(o->nodes.at[id].call, i);
    if ((status = record(o, &node, stream, 2, kind, &piece, &out[i]))) {
      while (i-- > 0) ls_value_release(&out[i]);
      return status;
    }
  }
  *n_out = results;
  return LS_OK;
}

ls_status ls_op_call(const ls_op *op, const ls_value *args, int32_t n, int64_t site, ls_value *out, int32_t *n_out) {
  LS__NEED(op && out && n_out);
  ls_status status = ls__arguments_valid(args, n);
  if (status) return status;
  bool nodes = false;
  for (int32_t i = 0; i < n && !nodes; i++) nodes = args[i].kind == LS_NODE;
  if (!nodes && !ls__recording()) return ls__op_run(op, args, n, out, n_out);
  ls__owner *o;
  status = find_owner(args, n, &o);
  if (status) return status;
  if (o) return record_op(o, op, args, n, site, out, n_out);
  ls_value local[LS__LOCAL];
  const ls_value *values;
  if ((status = ls__resolve(args, n, local, &values))) return status;
  status = ls__op_run(op, values, n, out, n_out);
  ls__resolved_free(values, args, local);
  return status;
}

/* Writes the arguments of self[index] or self[index] = value as one stream: `self`, `value` unless it is NULL, and the `n` indices; returns
   NULL when out of memory. */
static ls_value *join(const ls_value *self, const ls_value *value, const ls_value *index, int32_t n, ls_value *local,
                      int32_t *count) {
  int32_t head = value ? 2 : 1;
  ls_value *stream = n + head <= LS__LOCAL ? local : malloc(sizeof *stream * (size_t)(n + head));
  if (!stream) return NULL;
  stream[0] = *self;
  if (value) stream[1] = *value;
  memcpy(stream + head, index, sizeof *index * (size_t)n);
  *count = n + head;
  return stream;
}

/* Returns the node of the element that `key` names of a sequence which the script has made, node `of`, and has not changed since; -1 where the
   element has no node of its own. */
static int32_t element_of(const ls_trace *t, int32_t of, const ls_value *key) {
  const ls__node *made = &t->owner.nodes.at[of];
  const ls_value *s = made->stream;
  if (made->kind != LS__SEQ || t->plan.nodes[of].edited >= 0 || (key->kind != LS_INT && key->kind != LS_STRING)) return -1;
  int64_t length = s[0].as.i, wanted = key->as.i < 0 ? key->as.i + length : key->as.i;
  for (int32_t i = 0, at = 1; i < length; i++, at = ls__stream_value(s, at, made->n)) {
    bool named = s[at].kind == LS_KEY;
    const ls_value *v = &s[at + named];
    if (key->kind == LS_INT ? i == wanted : named && !strcmp(s[at].as.s, key->as.s)) return v->kind == LS_NODE ? v->aux : -1;
  }
  return -1;
}

/* Records self[index] where self is a node, or nodes are among the indices. */
static ls_status record_get(ls__owner *o, const ls_value *stream, int32_t n, int64_t site, ls_value *out) {
  const ls_value *self = stream, *index = stream + 1;
  bool own = self->kind == LS_NODE && self->as.p == o;
  uint8_t of = own ? o->nodes.kinds[self->aux] : (uint8_t)self->kind;
  ls_status status = LS_OK;
  if (own && of == LS_STRUCT && n == 2 && index->kind == LS_STRING && !ls__is_function(o))
    status = ls__trace_check_field((ls_trace *)o, self->aux, index->as.s);
  if (status) return status;
  ls__node node = ls__node_of(LS__GETITEM, site);
  int32_t id = own && n == 2 && !ls__is_function(o) ? element_of((ls_trace *)o, self->aux, index) : -1;
  if (id >= 0) {
    ls__node_handle(o, id, out);
    return LS_OK;
  }
  return record(o, &node, stream, n, of == LS_TENSOR ? LS_TENSOR : of == LS_LIST ? LS_INT : LS_NONE, &id, out);
}

ls_status ls_getitem(const ls_value *self, const ls_value *index, int32_t n, int64_t site, ls_value *out) {
  LS__NEED(self && out);
  ls_status status = ls__value_check(self);
  if (!status) status = ls__arguments_valid(index, n);
  if (status) return status;
  ls_value local[LS__LOCAL], resolved[LS__LOCAL];
  int32_t count;
  ls_value *stream = join(self, NULL, index, n, local, &count);
  if (!stream) return ls__fail(LS_ERROR_MEMORY, "out of memory for the indices of a value");
  ls__owner *o;
  const ls_value *values;
  /* an element of a sequence that exists is taken at once, as a number of a shape is */
  status = ls__is_sequence(self->kind) ? ls__open_owner(stream, count, &o) : find_owner(stream, count, &o);
  if (!status && o) {
    status = record_get(o, stream, count, site, out);
  } else if (!status && !(status = ls__resolve(stream, count, resolved, &values))) {
    status = ls__index_get(&values[0], values + 1, n, out);
    ls__resolved_free(values, stream, resolved);
  }
  if (stream != local) free(stream);
  return status;
}

ls_status ls_setitem(const ls_value *self, const ls_value *index, int32_t n, const ls_value *value, int64_t site) {
  LS__NEED(self && value);
  ls_status status = ls__value_check(self);
  if (!status) status = ls__value_check(value);
  if (!status) status = ls__arguments_valid(index, n);
  if (status) return status;
  ls_value local[LS__LOCAL], resolved[LS__LOCAL];
  int32_t count, id;
  ls_value *stream = join(self, value, index, n, local, &count);
  if (!stream) return ls__fail(LS_ERROR_MEMORY, "out of memory for the indices of a value");
  ls__owner *o;
  const ls_value *values;
  status = find_owner(stream, count, &o);
  if (!status && o) {
    ls__node node = ls__node_of(LS__SETITEM, site);
    status = record(o, &node, stream, count, LS_NONE, &id, NULL);
  } else if (!status && !(status = ls__resolve(stream, count, resolved, &values))) {
    status = ls__index_set(&values[0], values + 2, n, &values[1]);
    ls__resolved_free(values, stream, resolved);
  }
  if (stream != local) free(stream);
  return status;
}

ls_status ls_seq_build(const ls_value *stream, int32_t n, int64_t site, ls_value *out) {
  LS__NEED(stream && n > 0 && out);
  ls_status status = ls__arguments_valid(stream, n);
  if (status) return status;
  ls__owner *o;
  status = ls__open_owner(stream, n, &o);
  if (status) return status;
  if (o) {
    ls__node node = ls__node_of(LS__SEQ, site);
    int32_t id;
    return record(o, &node, stream, n, (uint8_t)stream[0].aux, &id, out);
  }
  ls_value local[LS__LOCAL];
  const ls_value *values;
  if ((status = ls__resolve(stream, n, local, &values))) return status;
  status = ls_value_build(values, n, out);
  ls__resolved_free(values, stream, local);
  return status;
}
