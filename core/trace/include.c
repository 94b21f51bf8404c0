/* Stored edits: a recorded graph that never runs itself; its nodes are copied into every trace of the model. */
#include <stdlib.h>
#include "trace/trace.h"

int32_t ls_graph_count(ls_graph *g) { return g->count; }

/* The point of one program in another. */
static ls_status same_point(ls_program *from, ls_program *to, int32_t point, int32_t *out) {
  int32_t *map;
  *out = point;
  if (from == to) return LS_OK;
  ls_status status = ls__program_map(from, to, &map);
  if (status) return status;
  if (map) *out = map[point];
  free(map);
  return LS_OK;
}

/* The arguments of a node with the copies in the place of the originals. */
static ls_value *translate(ls_graph *g, const ls__node *node, const int32_t *map) {
  ls_value *s = malloc(sizeof *s * (size_t)(node->n ? node->n : 1));
  for (int32_t k = 0; s && k < node->n; k++) {
    s[k] = node->stream[k];
    if (s[k].kind == LS_NODE) s[k] = (ls_value){.kind = LS_NODE, .aux = map[s[k].aux], .as.p = g};
  }
  return s;
}

static ls_status copy_point(ls_graph *g, const ls_graph *edits, const ls__node *node, const ls_value *s, int32_t invoke,
                            int32_t step, int32_t *out) {
  int32_t point;
  ls_status status = same_point(edits->invokes[node->invoke].program, g->invokes[invoke].program, node->slot, &point);
  if (status) return status;
  if (point < 0) {
    ls__fail(LS_ERROR_UNREACHED, "a stored edit names a point that the model does not reach with this input");
    ls__fail_point(ls__trace_point_name(edits, node->invoke, node->slot));
    ls__fail_site(node->site, 0);
    return LS_ERROR_UNREACHED;
  }
  int32_t first = g->count;
  ls_value read = {.aux = -1};
  status = node->kind == LS__WRITE ? ls_trace_write(g, invoke, step, point, &s[0], node->flag, node->site)
                                   : ls_trace_read(g, invoke, step, point, node->site, &read);
  for (int32_t i = first; i < g->count; i++) g->nodes[i].stored = 1;
  *out = read.aux;
  ls_value_release(&read);
  return status;
}

static ls_status copy_other(ls_graph *g, const ls_graph *edits, int32_t id, const ls_value *s, int32_t invoke, int32_t *out) {
  const ls__node *node = &edits->nodes[id];
  ls_status status = ls__node_new(g, node->kind, s, node->n, node->site, edits->kinds[id], out);
  if (status) return status;
  ls__node *copy = &g->nodes[*out];
  copy->invoke = node->kind == LS__HOST ? invoke : -1;
  copy->op = node->op;
  if (node->op && (status = ls__call_prepare(node->op, copy->stream, copy->n, g->kinds, &copy->call))) return status;
  if ((copy->program = node->program)) node->program->references++;
  return ls__settle(g, *out);
}

ls_status ls_trace_include(ls_graph *g, ls_graph *edits, int32_t invoke, int32_t step, int32_t *map) {
  if (g->state != LS__TRACE || edits->state != LS__TRACE) return ls__fail(LS_ERROR_STATE, "this trace has already ended");
  ls_status status = LS_OK;
  for (int32_t i = 0; i < edits->count && !status; i++) {
    const ls__node *node = &edits->nodes[i];
    ls_value *s = translate(g, node, map);
    if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for an edit");
    int32_t at = step < 0 ? node->step : step;
    if (node->kind == LS__READ || node->kind == LS__WRITE) status = copy_point(g, edits, node, s, invoke, at, &map[i]);
    else status = copy_other(g, edits, i, s, invoke, &map[i]);
    free(s);
  }
  return status;
}
