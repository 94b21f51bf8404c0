/* Gradients in a trace. A backward runs at its place in the order; before it, the values whose gradients are asked for are
   watched: a hook of libtorch takes the gradient of the value as it stood at that line. A gradient that the script sets is
   handled by cutting the graph there: the model goes on from a leaf of its own, the backward stops at the leaf, the new
   gradient is computed, and the backward goes on from the value before the cut. Cuts are handled last first, since every
   way from the loss to an earlier cut leads through, or past, the later ones. */
#include <stdlib.h>
#include "trace/trace.h"

/* Where the graph was cut: the value before, the leaf behind, the node whose gradient is set. */
typedef struct ls__cut {
  int32_t node;
  ls_value before, leaf;
} ls__cut;

void ls__grad_close(ls_graph *g) {
  for (int32_t i = 0; i < g->cut_count; i++) {
    ls_value_release(&g->cuts[i].before);
    ls_value_release(&g->cuts[i].leaf);
  }
  free(g->cuts);
  g->cuts = NULL;
  g->cut_count = 0;
  for (int32_t i = 0; i < g->count; i++) {
    ls__node *node = &g->nodes[i];
    if (node->kind == LS__GRAD && node->flag) ls__tensor_give_back(node->stream[0].as.p);
    ls__capture_free(node->capture);
    node->capture = NULL;
    if (g->gradients && node->saved && node->done) ls__value_detach(&g->values[i]);
  }
}

/* ---- recording -------------------------------------------------------------------------------------------------- */

static bool same_index(const ls__node *a, const ls__node *b) {
  if (a->kind != b->kind || a->n != b->n || (a->kind == LS__ROWS && a->invoke != b->invoke)) return false;
  for (int32_t k = 1; k < a->n; k++)
    if (a->stream[k].kind != b->stream[k].kind || a->stream[k].kind == LS_NODE || a->stream[k].as.i != b->stream[k].as.i)
      return false;
  return true;
}

/* The first node that stands for the same value: each access to a point makes nodes of its own. */
static int32_t first_same(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  if (node->root < 0 || g->nodes[node->root].edited >= 0) return id;
  if (node->kind == LS__READ) return node->root;
  if ((node->kind != LS__ROWS && node->kind != LS__GETITEM) || node->stream[0].kind != LS_NODE) return id;
  int32_t base = first_same(g, node->stream[0].aux);
  for (int32_t i = base + 1; i < id; i++) {
    const ls__node *other = &g->nodes[i];
    if (same_index(node, other) && other->stream[0].kind == LS_NODE && first_same(g, other->stream[0].aux) == base) return i;
  }
  return id;
}

static ls_status add(ls_graph *g, ls__node_kind kind, const ls_value *stream, int32_t n, int32_t invoke, int64_t site,
                     int32_t *id) {
  if (g->state != LS__TRACE) return ls__fail(LS_ERROR_STATE, "this trace has already ended");
  ls_value own[2] = {stream[0]};
  if (n > 1) own[1] = stream[1];
  if (kind != LS__BACKWARD && own[0].kind == LS_NODE) own[0].aux = first_same(g, own[0].aux);
  ls_status status = ls__node_new(g, kind, own, n, site, kind == LS__GRAD ? LS_TENSOR : LS_NONE, id);
  if (status) return status;
  g->nodes[*id].invoke = invoke;
  return ls__settle(g, *id);
}

ls_status ls_trace_grad(const ls_value *of, int32_t invoke, int64_t site, ls_value *out) {
  int32_t id;
  ls_status status = add(of->as.p, LS__GRAD, of, 1, invoke, site, &id);
  if (!status) ls__node_handle(of->as.p, id, out);
  return status;
}

ls_status ls_trace_grad_of(ls_graph *g, const ls_value *parameter, int32_t invoke, int64_t site, ls_value *out) {
  int32_t id;
  ls_status status = add(g, LS__GRAD, parameter, 1, invoke, site, &id);
  if (!status) ls__node_handle(g, id, out);
  return status;
}

ls_status ls_trace_set_grad(const ls_value *of, const ls_value *value, int32_t invoke, int64_t site) {
  int32_t id;
  return add(of->as.p, LS__SETGRAD, (ls_value[]){*of, *value}, 2, invoke, site, &id);
}

ls_status ls_trace_backward(const ls_value *loss, const ls_value *gradient, int32_t retain_graph, int32_t invoke, int64_t site) {
  int32_t id;
  ls_graph *g = loss->as.p;
  ls_status status = add(g, LS__BACKWARD, (ls_value[]){*loss, *gradient}, 2, invoke, site, &id);
  if (!status) g->nodes[id].flag = retain_graph != 0;
  return status;
}

/* ---- the plan --------------------------------------------------------------------------------------------------- */

/* The backward that an access belongs to: the next one written below, else the last above; the same body first. */
static int32_t backward_of(const ls_graph *g, int32_t id) {
  for (int32_t same = 1; same >= 0; same--) {
    int32_t above = -1;
    for (int32_t i = 0; i < g->count; i++) {
      if (g->nodes[i].kind != LS__BACKWARD || (same && g->nodes[i].invoke != g->nodes[id].invoke)) continue;
      if (i > id && !g->nodes[i].done) return i;
      if (i < id) above = i;
    }
    if (above >= 0) return above;
  }
  return -1;
}

static bool is_gradient(const ls_graph *g, int32_t id) { return id >= 0 && g->nodes[id].kind == LS__GRAD; }

static bool trains(const ls_value *stream, int32_t n) {
  for (int32_t k = 0; k < n; k++)
    if (stream[k].kind == LS_TENSOR && ls__tensor_requires_grad(stream[k].as.p)) return true;
  return false;
}

static bool program_trains(const ls_program *p) {
  for (int32_t i = 0; i < p->instance_count; i++)
    if (p->instances[i].module && trains(p->instances[i].module->tensor_values, p->instances[i].module->tensors)) return true;
  return false;
}

/* Autograd records from the first value whose gradient matters. */
static void find_start(ls_graph *g) {
  int64_t start = INT64_MAX;
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    bool matters = node->tracked || trains(node->stream, node->n) || (node->program && program_trains(node->program));
    if (matters && node->time < start) start = node->time;
  }
  for (int32_t i = 0; i < g->invoke_count; i++) {
    int64_t begins = LS__TIME(g->invokes[i].pass, 0, 0) - 1;
    bool matters = program_trains(g->invokes[i].program) || trains(g->invokes[i].arguments, g->invokes[i].argument_count);
    if (matters && begins < start) start = begins;
  }
  g->track = start == INT64_MAX ? -1 : start < 0 ? 0 : start;
}

/* The gradient of a parameter: one that does not train is lent to autograd for the time of the trace. */
static ls_status watch_parameter(ls_graph *g, ls__node *node) {
  if (node->capture) return LS_OK;
  if (g->now >= 0 && g->track < 0) {
    ls__fail(LS_ERROR_PASSED, "the model has begun to run without recording for this gradient");
    ls__fail_site(node->site, g->demand_site);
    return LS_ERROR_PASSED;
  }
  bool lent;
  ls_status status = ls__tensor_lend(node->stream[0].as.p, &lent);
  node->flag = lent;
  return status ? status : ls__capture_new(node->stream[0].as.p, &node->capture);
}

ls_status ls__grad_plan(ls_graph *g) {
  bool any = false;
  for (int32_t i = 0; i < g->count; i++) {
    ls__node *node = &g->nodes[i];
    any = any || node->kind == LS__BACKWARD;
    bool sets = node->kind == LS__SETGRAD, edits = node->edits >= 0 && is_gradient(g, g->nodes[node->edits].root);
    int32_t access = edits ? g->nodes[node->edits].root : i;
    if (!sets && !edits && node->kind != LS__GRAD) continue;
    if (node->kind != LS__OP && node->kind != LS__SETITEM && !node->done) {
      node->backward = backward_of(g, i);
      if (node->backward < 0) {
        ls__fail(LS_ERROR_STATE, "a gradient needs a backward: call loss:backward() in the body");
        ls__fail_site(node->site, 0);
        return LS_ERROR_STATE;
      }
    }
    if (g->nodes[access].stream[0].kind != LS_NODE) {
      ls_status status = watch_parameter(g, &g->nodes[access]);
      if (status) return status;
      continue;
    }
    ls__node *of = &g->nodes[g->nodes[access].stream[0].aux];
    of->tracked |= sets || edits ? LS__ASKED | LS__EDITED : LS__ASKED;
    if (of->done && !of->capture) {
      ls__fail(LS_ERROR_PASSED, "the model has run past this value without recording for its gradient");
      ls__fail_site(node->site, g->demand_site);
      return LS_ERROR_PASSED;
    }
  }
  ls_status status = ls__time_all(g);
  if (!status && any) find_start(g);
  return status;
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

bool ls__grad_records(const ls_graph *g) { return g->track >= 0 && g->now + 1 >= g->track; }

static void record_from_here(ls_graph *g) {
  if (!ls__grad_records(g) || !g->mode || ls_grad_enabled()) return;
  ls__mode_leave(g->mode);
  ls__mode_enter(true, g->mode);
}

/* Makes the tensors of a value leaves, where they do not yet depend on one. */
static ls_status make_leaves(ls_graph *g, const ls_value *v) {
  ls_status status = LS_OK;
  if (v->kind == LS_TUPLE || v->kind == LS_STRUCT) {
    const ls__seq *seq = v->as.p;
    for (int32_t i = 0; i < seq->length && !status; i++) status = make_leaves(g, &seq->items[i]);
    return status;
  }
  if (v->kind != LS_TENSOR || ls__tensor_requires_grad(v->as.p)) return LS_OK;
  ls_value leaf;
  if ((status = ls__tensor_leaf(v->as.p, &leaf)) || !leaf.kind) return status;
  void *old = v->as.p;
  ls__tensor_retain(old);
  ls__edit_everywhere(g, old, &leaf);
  ls__tensor_release(old);
  ls_value_release(&leaf);
  return LS_OK;
}

ls_status ls__grad_arrive(ls_graph *g) {
  record_from_here(g);
  if (!g->standing) return LS_OK;
  for (int32_t k = g->next; k < g->ordered && g->nodes[g->order[k]].time <= g->now; k++) {
    const ls__node *node = &g->nodes[g->order[k]];
    if (!node->tracked) continue;
    const ls__node *root = node->root >= 0 ? &g->nodes[node->root] : node;
    if (root->kind == LS__READ && root->time == g->now) return make_leaves(g, &g->run->value);
  }
  return LS_OK;
}

static ls_status cut(ls_graph *g, int32_t id, ls_value *whole) {
  if (g->cut_count == g->cut_room) {
    int32_t room = g->cut_room ? 2 * g->cut_room : 4;
    ls__cut *bigger = realloc(g->cuts, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for a gradient");
    g->cuts = bigger;
    g->cut_room = room;
  }
  ls__cut c = {.node = id, .before = *whole};
  ls_value_retain(&c.before);
  ls_status status = ls__tensor_leaf(whole->as.p, &c.leaf);
  if (status) {
    ls_value_release(&c.before);
    return status;
  }
  ls__edit_everywhere(g, c.before.as.p, &c.leaf);
  g->cuts[g->cut_count++] = c;
  return LS_OK;
}

ls_status ls__grad_watch(ls_graph *g, int32_t id) {
  record_from_here(g);
  ls__node *node = &g->nodes[id];
  if (g->track < 0) return LS_OK;
  if (g->values[id].kind != LS_TENSOR)
    return ls__fail(LS_ERROR_ARGUMENT, "only a tensor has a gradient; take an element or a field of this value first");
  ls_value *whole = ls__rows_whole(g, id);
  if (whole->kind != LS_TENSOR) whole = &g->values[id];
  ls_status status = make_leaves(g, whole);
  if (status) return status;
  whole = ls__rows_whole(g, id);
  if (!ls__tensor_requires_grad(whole->as.p))
    return ls__fail(LS_ERROR_ARGUMENT, "only floating point values have gradients");
  if ((node->tracked & LS__EDITED) && (status = cut(g, id, whole))) return status;
  ls__capture_free(node->capture);
  node->capture = NULL;
  whole = ls__rows_whole(g, id);
  return ls__capture_new(whole->kind == LS_TENSOR ? whole->as.p : g->values[id].as.p, &node->capture);
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* Executes a node of a gradient's edit with all that it needs, before the rest of its time. */
static ls_status force(ls_graph *g, int32_t id, int32_t depth) {
  if (g->nodes[id].done) return LS_OK;
  const ls__node *node = &g->nodes[id];
  if (node->kind == LS__GRAD || node->kind == LS__BACKWARD || depth > 10000) {
    ls__fail(LS_ERROR_CYCLE, "this gradient is set from one that comes only later: the backward goes from the loss to the input");
    ls__fail_site(node->site, 0);
    return LS_ERROR_CYCLE;
  }
  if (node->time > g->now || node->kind == LS__READ || node->kind == LS__HOST)
    return ls__fail(LS_ERROR_CYCLE, "this gradient is set from a value that does not exist yet");
  for (int32_t k = 0; k < g->nodes[id].n; k++) {
    const ls_value *input = &g->nodes[id].stream[k];
    ls_status status = input->kind == LS_NODE ? force(g, input->aux, depth + 1) : LS_OK;
    if (status) return status;
  }
  return ls__execute_now(g, id);
}

static void finished(ls_graph *g, int32_t id) {
  g->nodes[id].done = 1;
  for (int32_t k = 0; k < g->nodes[id].n; k++)
    if (g->nodes[id].stream[k].kind == LS_NODE) {
      int32_t input = g->nodes[id].stream[k].aux;
      g->nodes[input].uses--;
      ls__trace_let_go(g, input);
    }
  ls__trace_let_go(g, id);
}

/* The node that cuts the rows of an invoke out of what `id` stands for, -1 where it stands for all. */
static int32_t rows_of(const ls_graph *g, int32_t id) {
  while (g->nodes[id].kind == LS__GETITEM && g->nodes[id].stream[0].kind == LS_NODE) id = g->nodes[id].stream[0].aux;
  return g->nodes[id].kind == LS__ROWS && !ls__rows_all(g, g->nodes[id].invoke) ? id : -1;
}

static ls_status read_gradient(ls_graph *g, int32_t id, const ls_value *gradient) {
  int32_t rows = g->nodes[id].stream[0].kind == LS_NODE ? rows_of(g, g->nodes[id].stream[0].aux) : -1;
  if (!gradient->kind) {
    ls__fail(LS_ERROR_STATE, "the loss does not depend on this value, so it has no gradient");
    ls__fail_site(g->nodes[id].site, 0);
    return LS_ERROR_STATE;
  }
  ls_value part = *gradient;
  ls_status status = LS_OK;
  if (rows >= 0) status = ls__rows_take(g, rows, gradient, &part);
  else ls_value_retain(&part);
  if (status) return status;
  ls__replace(&g->values[id], part);
  finished(g, id);
  return LS_OK;
}

/* The gradient from here on is `given`, for the rows that node `of` stands for. */
static ls_status put_gradient(ls_graph *g, int32_t of, const ls_value *given, ls_value *gradient) {
  int32_t rows = rows_of(g, of);
  if (given->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "a gradient is a tensor");
  if (rows >= 0) return ls__rows_put(g, rows, gradient, given);
  ls_status status = ls__tensor_same_sizes(given->as.p, gradient->as.p);
  if (status) return status;
  ls_value own; /* what the script gave may be changed in place later */
  if ((status = ls__tensor_clone(given->as.p, &own))) return status;
  ls__replace(gradient, own);
  return LS_OK;
}

static ls_status set_gradient(ls_graph *g, int32_t id, ls_value *gradient) {
  const ls_value *from = &g->nodes[id].stream[1];
  ls_status status = from->kind == LS_NODE ? force(g, from->aux, 0) : LS_OK;
  from = &g->nodes[id].stream[1];
  if (!status) status = put_gradient(g, g->nodes[id].stream[0].aux, from->kind == LS_NODE ? &g->values[from->aux] : from, gradient);
  if (status && !ls_error_site()) ls__fail_site(g->nodes[id].site, 0);
  if (!status) finished(g, id);
  return status;
}

/* What was asked of the gradient of node `of`, in the order written: reads take it, sets and edits replace it. */
static ls_status use_gradient(ls_graph *g, int32_t backward, int32_t of, ls_value *gradient) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < g->count && !status; i++) {
    const ls__node *node = &g->nodes[i];
    if (node->done || !node->needed) continue;
    int32_t root = node->edits >= 0 ? g->nodes[node->edits].root : i;
    const ls__node *access = root >= 0 ? &g->nodes[root] : node;
    if ((access->kind != LS__GRAD && access->kind != LS__SETGRAD) || access->backward != backward) continue;
    if (access->stream[0].kind == LS_NODE ? access->stream[0].aux != of : root != of) continue;
    if (node->kind == LS__GRAD) {
      status = read_gradient(g, i, gradient);
    } else if (node->kind == LS__SETGRAD) {
      status = gradient->kind ? set_gradient(g, i, gradient) : ls__fail(LS_ERROR_STATE, "the loss does not depend on this value");
    } else if (node->edits >= 0) {
      status = force(g, i, 0); /* the reads look into the gradient itself */
    }
  }
  return status;
}

static ls_status take_and_use(ls_graph *g, int32_t backward, int32_t of, ls_value *gradient) {
  ls_status status = ls__capture_take(g->nodes[of].capture, gradient);
  if (!status && gradient->kind && (g->nodes[of].tracked & LS__EDITED)) {
    ls_value own; /* libtorch may hold the same memory elsewhere */
    if (!(status = ls__tensor_clone(gradient->as.p, &own))) ls__replace(gradient, own);
  }
  return status ? status : use_gradient(g, backward, of, gradient);
}

ls_status ls__grad_backward(ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  ls_value loss = node->stream[0].kind == LS_NODE ? g->values[node->stream[0].aux] : node->stream[0];
  ls_value given = node->stream[1].kind == LS_NODE ? g->values[node->stream[1].aux] : node->stream[1];
  bool keep = node->flag;
  if (loss.kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only a tensor has a backward");
  if (!ls__tensor_requires_grad(loss.as.p))
    return ls__fail(LS_ERROR_STATE, "this loss depends on nothing whose gradient is asked for or that trains");
  ls_status status = ls_tensor_backward(&loss, &given, keep || g->cut_count);
  for (int32_t c = g->cut_count - 1; c >= 0 && !status; c--) {
    ls_value gradient = {0};
    status = take_and_use(g, id, g->cuts[c].node, &gradient);
    if (!status && gradient.kind && ls__tensor_requires_grad(g->cuts[c].before.as.p))
      status = ls_tensor_backward(&g->cuts[c].before, &gradient, keep || c > 0);
    ls_value_release(&gradient);
  }
  for (int32_t i = 0; i < g->count && !status; i++) {
    if (!g->nodes[i].capture || (g->nodes[i].tracked & LS__EDITED)) continue;
    ls_value gradient = {0};
    status = take_and_use(g, id, i, &gradient);
    ls_value_release(&gradient);
  }
  return status;
}
