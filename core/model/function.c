/* Functions: what a module's forward does, recorded once. */
#include <stdlib.h>
#include <string.h>
#include "model/graph.h"

ls_status ls_function_new(ls_module *m, ls_graph **out) {
  ls_graph *g = calloc(1, sizeof *g);
  if (!g) return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
  g->references = 1;
  g->state = LS__FUNCTION;
  g->module = m;
  if (m) m->references++;
  ls__live_add(1);
  *out = g;
  return LS_OK;
}

static ls_status recording(ls_graph *g) {
  return g->state == LS__FUNCTION ? LS_OK : ls__fail(LS_ERROR_STATE, "this function is no longer being recorded");
}

ls_status ls_function_input(ls_graph *g, const char *keyword, ls_value *out) {
  ls_status status = recording(g);
  if (status) return status;
  if (g->inputs != g->count) return ls__fail(LS_ERROR_STATE, "the inputs of a function come first");
  if (!keyword && g->positional != g->inputs)
    return ls__fail(LS_ERROR_STATE, "positional inputs come before keyword ones");
  int32_t node;
  if ((status = ls__node_new(g, LS__INPUT, NULL, 0, 0, LS_NONE, &node))) return status;
  if (keyword) g->nodes[node].name = ls__intern(keyword, strlen(keyword));
  else g->positional++;
  g->inputs++;
  ls__node_handle(g, node, out);
  return LS_OK;
}

/* A node of the function with a slot: a call, a tap, an either. */
static ls_status slotted(ls_graph *g, ls__node_kind kind, const ls_value *args, int32_t n, int64_t site, uint8_t result,
                         int32_t *node) {
  ls_status status = recording(g);
  if (!status) status = ls__node_new(g, kind, args, n, site, result, node);
  if (!status) g->nodes[*node].slot = g->slots++;
  return status;
}

/* Ends the recording of such a node. */
static ls_status given(ls_graph *g, int32_t node, ls_value *out) {
  ls_status status = ls__settle(g, node);
  if (!status) ls__node_handle(g, node, out);
  return status;
}

static uint8_t result_kind(const ls_graph *g) {
  return g->result.kind == LS_NODE ? g->kinds[g->result.aux] : (uint8_t)g->result.kind;
}

static ls_status finished(const ls_graph *callee) {
  return callee->state == LS__FINISHED_FUNCTION ? LS_OK
                                                : ls__fail(LS_ERROR_STATE, "a function is called before it is finished");
}

ls_status ls_function_call(ls_graph *g, ls_module *child, ls_graph *callee, const ls_value *args, int32_t n, int64_t site,
                           ls_value *out) {
  int32_t node;
  ls_status status = finished(callee);
  if (!status) status = slotted(g, LS__CALL, args, n, site, result_kind(callee), &node);
  if (status) return status;
  g->nodes[node].module = child;
  child->references++;
  g->nodes[node].callee = callee;
  callee->references++;
  return given(g, node, out);
}

ls_status ls_function_tap(ls_graph *g, const char *name, const ls_value *value, int64_t site, ls_value *out) {
  int32_t node;
  ls_status status = slotted(g, LS__TAP, value, 1, site, value->kind == LS_NODE ? g->kinds[value->aux] : LS_NONE, &node);
  if (status) return status;
  g->nodes[node].name = ls__intern(name, strlen(name));
  return given(g, node, out);
}

ls_status ls_function_either(ls_graph *g, ls_graph *plain, ls_graph *fused, const ls_value *args, int32_t n, int64_t site,
                             ls_value *out) {
  int32_t node;
  ls_status status = finished(plain);
  if (!status) status = finished(fused);
  if (!status && fused->slots)
    status = ls__fail(LS_ERROR_ARGUMENT, "a fused form has operators only, no calls and no taps");
  if (!status && (plain->inputs != fused->inputs || result_kind(plain) != result_kind(fused)))
    status = ls__fail(LS_ERROR_ARGUMENT, "two forms of one node need the same inputs and the same kind of result");
  if (!status) status = slotted(g, LS__EITHER, args, n, site, result_kind(plain), &node);
  if (status) return status;
  g->nodes[node].callee = plain;
  plain->references++;
  g->nodes[node].fused = fused;
  fused->references++;
  return given(g, node, out);
}

/* Writes down after which node each value is used for the last time. */
static ls_status find_ends(ls_graph *g) {
  int32_t *last = malloc(sizeof *last * (size_t)(g->count + 1));
  g->dies = malloc(sizeof *g->dies * (size_t)(g->count + 1));
  if (!last || !g->dies) {
    free(last);
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
  }
  for (int32_t i = 0; i < g->count; i++) {
    last[i] = i;
    const ls__node *node = &g->nodes[i];
    for (int32_t k = 0; k < node->n; k++)
      if (node->stream[k].kind == LS_NODE) last[node->stream[k].aux] = i;
  }
  if (g->result.kind == LS_NODE) last[g->result.aux] = g->count;
  for (int32_t i = 0; i < g->count; i++)
    if (last[i] < g->count) g->nodes[last[i]].dies_n++;
  int32_t at = 0;
  for (int32_t i = 0; i < g->count; i++) {
    g->nodes[i].dies_at = at;
    at += g->nodes[i].dies_n;
    g->nodes[i].dies_n = 0;
  }
  for (int32_t i = 0; i < g->count; i++)
    if (last[i] < g->count) {
      ls__node *end = &g->nodes[last[i]];
      g->dies[end->dies_at + end->dies_n++] = i;
    }
  free(last);
  return LS_OK;
}

ls_status ls_function_finish(ls_graph *g, const ls_value *result) {
  ls_status status = recording(g);
  if (status) return status;
  if (result->kind == LS_NODE && result->as.p != g)
    return ls__fail(LS_ERROR_STATE, "a forward must return a value of its own recording");
  if (result->kind == LS_OPEN)
    return ls__fail(LS_ERROR_ARGUMENT, "a forward returns one value; several are recorded as a tuple");
  g->result = *result;
  if (result->kind == LS_NODE) g->result.as.p = NULL;
  else ls_value_retain(&g->result);
  if ((status = find_ends(g))) return status;
  if (g->values) ls__eager_finish(g);
  g->state = LS__FINISHED_FUNCTION;
  return LS_OK;
}
