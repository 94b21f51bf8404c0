/* Recording with values: the forward of a module that branches on numbers is recorded at each call, and every node of it, and
   of the functions that call it, is computed when it is recorded. What a branch was chosen by is guarded: where an edit of a
   trace makes it another value, the run fails instead of going the wrong way. */
#include <stdlib.h>
#include <string.h>
#include "model/graph.h"

ls_status ls_function_eager(ls_graph *g, const ls_value *given, int32_t n, int32_t copies) {
  if (g->state != LS__FUNCTION || g->inputs != g->count)
    return ls__fail(LS_ERROR_STATE, "the values of a function's inputs are given before its first line");
  g->values = calloc((size_t)(g->room ? g->room : 1), sizeof *g->values);
  if (!g->values) return ls__fail(LS_ERROR_MEMORY, "out of memory for a recording");
  for (int32_t i = 0, input = 0; i < n && input < g->inputs; i++) {
    if (given[i].kind == LS_KEY) continue;
    ls_value v = given[i];
    if (v.kind == LS_NODE) {
      const ls_graph *caller = v.as.p;
      if (caller->state == LS__FUNCTION && !caller->values)
        return ls__fail(LS_ERROR_STATE, "a dynamic module must be a child of the module that calls it");
      if (caller->state == LS__FUNCTION || (caller->state == LS__TRACE && caller->nodes[v.aux].done)) {
        v = caller->values[v.aux];
      } else {
        ls_status status = ls__resolve(&given[i], 1, &v);
        if (status) return status;
      }
    }
    ls_status status = ls__own(&v, 1, &g->values[input]);
    if (!status && copies) status = ls__own_memory(&g->values[input]);
    if (status) return status;
    input++;
  }
  return LS_OK;
}

static ls_status run_function(ls_graph *f, const ls_value *args, int32_t n, ls_value *out) {
  ls_program *p;
  ls_status status = ls_program_new(f, &p);
  if (status) return status;
  status = ls__program_execute(p, args, n, out);
  ls_program_release(p);
  return status;
}

ls_status ls__eager_run(ls_graph *g, int32_t id) {
  ls__node *node = &g->nodes[id];
  ls_value *out = &g->values[id];
  if (node->slot < 0) return ls__node_execute(node, g->values, out);
  if (node->kind == LS__CALL && node->callee->gave.kind) { /* it was computed while it was recorded */
    *out = node->callee->gave;
    node->callee->gave = (ls_value){0};
    return LS_OK;
  }
  ls_value local[LS__LOCAL], *s = ls__substitute(node, g->values, local);
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for arguments");
  ls_status status = node->kind == LS__TAP ? ls__own(s, 1, out)
                                           : run_function(node->kind == LS__EITHER ? node->fused : node->callee, s, node->n, out);
  if (s != local) free(s);
  return status;
}

void ls__eager_finish(ls_graph *g) {
  ls_value result = g->result.kind == LS_NODE ? g->values[g->result.aux] : g->result;
  ls_value_retain(&result);
  g->gave = result;
  for (int32_t i = 0; i < g->count; i++) ls_value_release(&g->values[i]);
  free(g->values);
  g->values = NULL;
}

ls_status ls_function_result(ls_graph *g, ls_value *out) {
  *out = g->gave;
  g->gave = (ls_value){0};
  return LS_OK;
}

int32_t ls_node_is_eager(const ls_value *node) {
  const ls_graph *g = node->as.p;
  return g->state == LS__FUNCTION && g->values;
}

ls_status ls_function_demand(const ls_value *node, int64_t site, ls_value *out) {
  ls_graph *g = node->as.p;
  ls_value stream[2] = {*node, g->values[node->aux]};
  int32_t id;
  bool guarded = stream[1].kind == LS_TENSOR || stream[1].kind <= LS_STRING; /* pieces are guarded when they are asked for */
  ls_status status = guarded ? ls__node_new(g, LS__GUARD, stream, 2, site, LS_NONE, &id) : LS_OK;
  if (status) return status;
  ls_value_retain(&stream[1]);
  *out = stream[1];
  return LS_OK;
}

ls_status ls__guard(const ls_value *now, const ls_value *then) {
  bool same = now->kind == then->kind;
  if (same && now->kind == LS_TENSOR) same = ls__tensor_equal(now->as.p, then->as.p);
  else if (same && now->kind == LS_FLOAT) same = now->as.f == then->as.f;
  else if (same && now->kind == LS_STRING) same = !strcmp(now->as.s, then->as.s);
  else if (same && now->kind != LS_NONE) same = now->as.i == then->as.i;
  return same ? LS_OK
              : ls__fail(LS_ERROR_STATE, "an edit changed a value by which this dynamic module chose its way, and the way was "
                                         "recorded before the edit");
}
