/* Graphs: arrays of nodes whose arguments are argument streams; what functions and traces have in common. */
#include "model/graph.h"
#include <stdlib.h>
#include <string.h>

/* ---- streams ---------------------------------------------------------------------------------------------------- */

int32_t ls__stream_value(const ls_value *stream, int32_t i, int32_t n) {
  int64_t open = 1;
  while (open > 0 && i < n) {
    int32_t kind = stream[i].kind;
    if (kind == LS_OPEN) open += stream[i].as.i;
    if (kind == LS_SLICE) open += 3;
    if (kind != LS_KEY) open--;
    i++;
  }
  return i;
}

void ls__stream_free(ls_value *stream, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (stream[i].kind != LS_NODE) ls_value_release(&stream[i]);
  free(stream);
}

/* Copies a stream for graph `g`: texts are interned, tensors and sequences retained, a tensor's version noted in `aux`,
   nodes of closed graphs replaced by their values. */
static ls_status stream_copy(ls_graph *g, const ls_value *stream, int32_t n, ls_value **out) {
  ls_value *copy = malloc(sizeof *copy * (size_t)(n ? n : 1));
  if (!copy) return ls__fail(LS_ERROR_MEMORY, "out of memory for a node");
  for (int32_t i = 0; i < n; i++) {
    ls_value v = stream[i];
    if (v.kind == LS_NODE && v.as.p != g) {
      ls_status status = ls__resolve(&v, 1, &v);
      if (status) {
        ls__stream_free(copy, i);
        return status;
      }
    }
    if (v.kind == LS_NODE) v.as.p = NULL;
    else if (v.kind == LS_STRING || v.kind == LS_KEY) v.as.s = ls__intern(v.as.s, strlen(v.as.s));
    else if (v.kind != LS_TENSOR || !g->shapes) ls_value_retain(&v);
    else if (ls__tensor_shape_only(v.as.p, &v)) {
      ls__stream_free(copy, i);
      return LS_ERROR_MEMORY;
    }
    if (v.kind == LS_TENSOR) v.aux = (int32_t)ls__tensor_version(v.as.p);
    copy[i] = v;
  }
  *out = copy;
  return LS_OK;
}

ls_status ls__open_graph(const ls_value *stream, int32_t n, ls_graph **out) {
  ls_graph *found = NULL;
  for (int32_t i = 0; i < n; i++) {
    if (stream[i].kind != LS_NODE) continue;
    ls_graph *g = stream[i].as.p;
    if (g->state == LS__FINISHED_FUNCTION)
      return ls__fail(LS_ERROR_STATE, "a value of a module's forward cannot be used outside of it");
    if (g->state == LS__CLOSED || g == found) continue;
    if (found)
      return ls__fail(LS_ERROR_STATE,
                      found->state == g->state
                          ? "values of two open traces cannot be combined; save the first and let it end"
                          : "a value of an open trace cannot be used inside a module's forward; pass it as an argument");
    found = g;
  }
  *out = found;
  return LS_OK;
}

/* How many steps came of the generation that a node waits for. */
static int32_t steps_of(const ls_graph *g, int32_t id) {
  while (g->nodes[id].latest >= 0 && g->nodes[id].kind != LS__READ) id = g->nodes[id].latest;
  int32_t invoke = g->nodes[id].invoke;
  return g->state == LS__CLOSED && invoke >= 0 && invoke < g->invoke_count ? g->invokes[invoke].came : 0;
}

ls_status ls__resolve(const ls_value *stream, int32_t n, ls_value *out) {
  for (int32_t i = 0; i < n; i++) {
    ls_value v = stream[i];
    if (v.kind == LS_NODE) {
      ls_graph *g = v.as.p;
      ls__node *node = &g->nodes[v.aux];
      if (g->state != LS__CLOSED || !node->saved || !node->done) {
        int32_t step = ls__step_of(node->time);
        int32_t came = steps_of(g, v.aux);
        bool ended = g->state == LS__CLOSED && node->saved;
        if (ended && node->never)
          ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: a stop or a skip came before it.");
        else if (ended && came > 1 && step < came)
          ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: the model does not run this part in step %d.",
                   step);
        else if (ended && came && step >= came && step < LS__LAST)
          ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: step %d never came, the text ended after %d.", step,
                   came);
        else if (ended)
          ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: its trace ended before it came.");
        else
          ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set.");
        ls__fail_site(node->site, 0);
        return LS_ERROR_UNSET;
      }
      v = g->values[v.aux];
    }
    out[i] = v;
  }
  return LS_OK;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

/* Gives the graph room for that many nodes, no fewer than it has. */
static bool set_room(ls_graph *g, int32_t room) {
  ls__node *nodes = realloc(g->nodes, sizeof *nodes * (size_t)room);
  if (!nodes) return false;
  g->nodes = nodes;
  uint8_t *kinds = realloc(g->kinds, (size_t)room);
  if (!kinds) return false;
  g->kinds = kinds;
  if (g->state == LS__TRACE || g->values) {
    ls_value *values = realloc(g->values, sizeof *values * (size_t)room);
    if (!values) return false;
    g->values = values;
  }
  g->room = room;
  return true;
}

static bool make_room(ls_graph *g) { return g->count < g->room || set_room(g, g->room ? g->room * 2 : 16); }

void ls__graph_trim(ls_graph *g) {
  if (g->count && g->count < g->room) set_room(g, g->count); /* where that fails it keeps its room */
}

static void node_free(ls__node *node) {
  ls__stream_free(node->stream, node->n);
  if (node->call) ls__call_free(node->call);
  ls_module_release(node->module);
  ls_graph_release(node->callee);
  ls_graph_release(node->fused);
  ls_program_release(node->program);
}

ls_status ls__node_new(ls_graph *g, ls__node_kind kind, const ls_value *stream, int32_t n, int64_t site, uint8_t result,
                       int32_t *out) {
  if (!make_room(g)) return ls__fail(LS_ERROR_MEMORY, "out of memory for a graph");
  ls_value *copy;
  ls_status status = stream_copy(g, stream, n, &copy);
  if (status) return status;
  ls__node *node = &g->nodes[g->count];
  memset(node, 0, sizeof *node);
  node->kind = (uint8_t)kind;
  node->stream = copy;
  node->n = n;
  node->site = site;
  node->slot = node->invoke = node->latest = node->root = node->edited = node->edits = node->narrow = node->backward = -1;
  g->kinds[g->count] = result;
  if (g->values) g->values[g->count] = (ls_value){0};
  *out = g->count++;
  return LS_OK;
}

/* Takes back the node just added, after a failure. */
static void node_undo(ls_graph *g) { node_free(&g->nodes[--g->count]); }

void ls__node_handle(ls_graph *g, int32_t node, ls_value *out) {
  g->references++;
  g->nodes[node].handles++;
  *out = (ls_value){.kind = LS_NODE, .aux = node, .as.p = g};
}

static void retain(void *graph, int32_t node) {
  ls_graph *g = graph;
  g->references++;
  g->nodes[node].handles++;
}

static void release(void *graph, int32_t node) {
  ls_graph *g = graph;
  if (--g->nodes[node].handles == 0 && g->state == LS__CLOSED && g->values) {
    ls_value v = g->values[node];
    g->values[node] = (ls_value){0};
    g->nodes[node].done = 0;
    ls_value_release(&v);
  }
  ls_graph_release(g);
}

void ls__nodes_start(void) {
  static const ls__value_class its = {retain, release, NULL};
  ls__value_define(LS_NODE, &its);
}

void ls_graph_release(ls_graph *g) {
  if (!g || --g->references) return;
  g->references++; /* what is freed below may hold handles to this graph */
  if (g->state == LS__TRACE) ls_trace_abandon(g);
  for (int32_t i = 0; i < g->count; i++) {
    if (g->values) ls_value_release(&g->values[i]);
    node_free(&g->nodes[i]);
  }
  if (g->result.kind != LS_NODE) ls_value_release(&g->result);
  ls_value_release(&g->gave);
  ls_module_release(g->module);
  free(g->nodes);
  free(g->kinds);
  free(g->values);
  free(g->dies);
  free(g->invokes);
  free(g);
  ls__live_add(-1);
}

ls_status ls__settle(ls_graph *g, int32_t node) {
  ls__node *added = &g->nodes[node];
  ls_status status = LS_OK;
  if (g->state != LS__TRACE) {
    if (added->kind == LS__SETITEM) added->edits = added->stream[0].kind == LS_NODE ? added->stream[0].aux : -1;
    if (added->kind == LS__OP) added->edits = ls__call_written(added->call, 0);
    if (g->values && (status = ls__eager_run(g, node))) node_undo(g);
    return status;
  }
  status = ls__trace_record(g, node);
  if (status) node_undo(g);
  return status;
}

/* ---- recording operators ---------------------------------------------------------------------------------------- */

static ls_status record(ls_graph *g, ls__node_kind kind, const ls_value *stream, int32_t n, int64_t site, uint8_t result,
                        ls_value *out) {
  int32_t node;
  ls_status status = ls__node_new(g, kind, stream, n, site, result, &node);
  if (!status) status = ls__settle(g, node);
  if (!status && out) ls__node_handle(g, node, out);
  return status;
}

static ls_status record_op(ls_graph *g, const ls_op *op, const ls_value *args, int32_t n, int64_t site, ls_value *out,
                           int32_t *n_out) {
  int32_t id;
  ls_status status = ls__node_new(g, LS__OP, args, n, site, LS_TENSOR, &id);
  if (status) return status;
  ls__node *node = &g->nodes[id];
  node->op = op;
  status = ls__call_prepare(op, node->stream, node->n, g->kinds, &node->call);
  if (status) {
    node_undo(g);
    return status;
  }
  int32_t results = ls__call_results(node->call);
  g->kinds[id] = results == 1 ? ls__call_kind(node->call, 0) : results ? LS_TUPLE : LS_NONE;
  if ((status = ls__settle(g, id))) return status;
  if (results <= 1) {
    ls__node_handle(g, id, out);
    *n_out = 1;
    return LS_OK;
  }
  ls_value made[LS_RESULTS];
  for (int32_t i = 0; i < results; i++) {
    ls_value stream[2] = {{.kind = LS_NODE, .aux = id, .as.p = g}, {.kind = LS_INT, .as.i = i}};
    uint8_t kind = ls__call_kind(g->nodes[id].call, i);
    if ((status = record(g, LS__GETITEM, stream, 2, site, kind, &made[i]))) {
      while (i-- > 0) ls_value_release(&made[i]);
      return status;
    }
  }
  memcpy(out, made, sizeof *out * (size_t)results);
  *n_out = results;
  return LS_OK;
}

ls_status ls_op_call(const ls_op *op, const ls_value *args, int32_t n, int64_t site, ls_value *out, int32_t *n_out) {
  bool nodes = false;
  for (int32_t i = 0; i < n && !nodes; i++) nodes = args[i].kind == LS_NODE;
  if (!nodes) return ls__op_run(op, args, n, out, n_out);
  ls_graph *g;
  ls_status status = ls__open_graph(args, n, &g);
  if (status) return status;
  if (g) return record_op(g, op, args, n, site, out, n_out);
  ls_value local[LS__LOCAL], *values = n <= LS__LOCAL ? local : malloc(sizeof *values * (size_t)n);
  if (!values) return ls__fail(LS_ERROR_MEMORY, "out of memory for arguments");
  status = ls__resolve(args, n, values);
  if (!status) status = ls__op_run(op, values, n, out, n_out);
  if (values != local) free(values);
  return status;
}

/* Lays `self`, an optional value and the indices one behind the other. */
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

ls_status ls_getitem(const ls_value *self, const ls_value *index, int32_t n, int64_t site, ls_value *out) {
  ls_value local[LS__LOCAL];
  int32_t count;
  ls_value *stream = join(self, NULL, index, n, local, &count);
  if (!stream) return ls__fail(LS_ERROR_MEMORY, "out of memory for an index");
  ls_graph *g;
  ls_status status = ls__open_graph(stream, count, &g);
  if (!status && g) {
    uint8_t of = self->kind == LS_NODE && self->as.p == g ? g->kinds[self->aux] : (uint8_t)self->kind;
    if (of == LS_STRUCT && n == 1 && index->kind == LS_STRING) status = ls__trace_check_field(g, self->aux, index->as.s);
    if (!status) status = record(g, LS__GETITEM, stream, count, site,
                    of == LS_TENSOR ? LS_TENSOR : of == LS_LIST ? LS_INT : LS_NONE, out);
  } else if (!status) {
    status = ls__resolve(stream, count, stream);
    if (!status) status = ls__index_get(&stream[0], stream + 1, n, out);
  }
  if (stream != local) free(stream);
  return status;
}

ls_status ls_setitem(const ls_value *self, const ls_value *index, int32_t n, const ls_value *value, int64_t site) {
  ls_value local[LS__LOCAL];
  int32_t count;
  ls_value *stream = join(self, value, index, n, local, &count);
  if (!stream) return ls__fail(LS_ERROR_MEMORY, "out of memory for an index");
  ls_graph *g;
  ls_status status = ls__open_graph(stream, count, &g);
  if (!status && g) {
    status = record(g, LS__SETITEM, stream, count, site, LS_NONE, NULL);
  } else if (!status) {
    status = ls__resolve(stream, count, stream);
    if (!status) status = ls__index_set(&stream[0], stream + 2, n, &stream[1]);
  }
  if (stream != local) free(stream);
  return status;
}

ls_status ls_graph_tuple(const ls_value *stream, int32_t n, int64_t site, ls_value *out) {
  ls_graph *g;
  ls_status status = ls__open_graph(stream, n, &g);
  if (status) return status;
  if (g) return record(g, LS__SEQ, stream, n, site, (uint8_t)stream[0].aux, out);
  ls_value local[LS__LOCAL], *values = n <= LS__LOCAL ? local : malloc(sizeof *values * (size_t)n);
  if (!values) return ls__fail(LS_ERROR_MEMORY, "out of memory for a tuple");
  status = ls__resolve(stream, n, values);
  if (!status) status = ls_value_build(values, n, out);
  if (values != local) free(values);
  return status;
}

ls_status ls_graph_shape(const ls_value *node, int64_t site, ls_value *out) {
  if (node->kind != LS_NODE || ((ls_graph *)node->as.p)->state != LS__FUNCTION)
    return ls__fail(LS_ERROR_STATE, "sizes as values of a graph exist only in a module's forward");
  return record(node->as.p, LS__SHAPE, node, 1, site, LS_LIST, out);
}

int32_t ls_node_is_set(const ls_value *node) {
  ls_graph *g = node->as.p;
  return g->state == LS__CLOSED && g->nodes[node->aux].saved && g->nodes[node->aux].done;
}

int32_t ls_node_is_open(const ls_value *node) {
  int32_t state = ((ls_graph *)node->as.p)->state;
  return state == LS__FINISHED_FUNCTION ? 0 : state;
}

int32_t ls_node_kind(const ls_value *node) { return ((ls_graph *)node->as.p)->kinds[node->aux]; }

int64_t ls_node_site(const ls_value *node) { return ((ls_graph *)node->as.p)->nodes[node->aux].site; }
