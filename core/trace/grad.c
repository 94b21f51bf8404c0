/* Gradients in a trace. Before a backward runs, hooks of libtorch are attached to the values whose gradients are asked for; a hook takes
   the gradient of the value as the value was at the script line that asks. Where the script sets a gradient, autograd's graph is cut at
   the value: the model goes on from a new leaf with the same numbers, the backward stops at the leaf, the new gradient is computed, and the
   backward goes on from the value before the cut. Where there are several cuts, the last one is treated first, since the gradient at an
   earlier cut may depend on the gradients at later ones. */
#include <stdlib.h>
#include "trace/trace.h"

/* A place at which autograd's graph is cut, because the script sets a gradient there: `node` is the node whose gradient the script sets,
   `before` its value before the cut, and `leaf` the new leaf with which the model goes on. */
typedef struct ls__cut {
  int32_t node;
  ls_value before, leaf;
} ls__cut;

void ls__grad_close(ls_trace *t) {
  for (int32_t i = 0; i < t->run.cut_count; i++) {
    ls_value_release(&t->run.cuts[i].before);
    ls_value_release(&t->run.cuts[i].leaf);
  }
  free(t->run.cuts);
  t->run.cuts = NULL;
  t->run.cut_count = t->run.cut_room = 0;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    ls__ran *ran = &t->run.nodes[i];
    if (ran->made_trainable) ls__tensor_make_untrainable(node->stream[0].as.p);
    ran->made_trainable = 0;
    ls__capture_free(ran->capture);
    ran->capture = NULL;
    if (t->gradients && node->saved && ran->done) ls__value_detach(&t->run.values[i]);
  }
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

bool ls__grad_records(const ls_trace *t) { return t->plan.track >= 0 && t->run.now + 1 >= t->plan.track; }

static void record_from_here(ls_trace *t) {
  if (!ls__grad_records(t) || !t->run.mode || ls_grad_enabled()) return;
  ls__mode_leave(t->run.mode);
  ls__mode_enter(true, t->run.mode);
}

/* Replaces each tensor in the value `v` that does not depend on a leaf of the autograd graph yet by a new leaf with the same numbers, so
   that libtorch computes a gradient for it. */
static ls_status make_leaves(ls_trace *t, const ls_value *v) {
  ls_status status = LS_OK;
  if (v->kind == LS_TUPLE || v->kind == LS_STRUCT) {
    for (int32_t i = 0; i < ls_seq_length(v) && !status; i++) status = make_leaves(t, &ls__seq_items(v)[i]);
    return status;
  }
  if (v->kind != LS_TENSOR || ls__tensor_requires_grad(v->as.p)) return LS_OK;
  ls_value leaf;
  if ((status = ls__tensor_leaf(v->as.p, &leaf)) || !leaf.kind) return status;
  void *old = v->as.p;
  ls__tensor_retain(old);
  ls__edit_everywhere(t, old, &leaf);
  ls__tensor_release(old);
  ls_value_release(&leaf);
  return LS_OK;
}

ls_status ls__grad_arrive(ls_trace *t) {
  record_from_here(t);
  if (!t->run.paused) return LS_OK;
  const ls__planned *plan = t->plan.nodes;
  for (int32_t k = t->run.next; k < t->plan.ordered && plan[t->plan.order[k]].time <= t->run.now; k++) {
    int32_t id = t->plan.order[k], root = plan[id].root >= 0 ? plan[id].root : id;
    if (!plan[id].tracked) continue;
    if (t->owner.nodes.at[root].kind == LS__READ && plan[root].time == t->run.now)
      return make_leaves(t, ls__run_value(t->run.model));
  }
  return LS_OK;
}

static ls_status cut(ls_trace *t, int32_t id, ls_value *whole) {
  if (t->run.cut_count == t->run.cut_room) {
    int32_t room = t->run.cut_room ? 2 * t->run.cut_room : 4;
    ls__cut *bigger = realloc(t->run.cuts, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for a gradient that the script sets");
    t->run.cuts = bigger;
    t->run.cut_room = room;
  }
  ls__cut c = {.node = id, .before = *whole};
  ls_value_retain(&c.before);
  ls_status status = ls__tensor_leaf(whole->as.p, &c.leaf);
  if (status) {
    ls_value_release(&c.before);
    return status;
  }
  ls__edit_everywhere(t, c.before.as.p, &c.leaf);
  t->run.cuts[t->run.cut_count++] = c;
  return LS_OK;
}

ls_status ls__grad_watch(ls_trace *t, int32_t id) {
  record_from_here(t);
  ls__ran *ran = &t->run.nodes[id];
  if (t->plan.track < 0) return LS_OK;
  if (t->run.values[id].kind != LS_TENSOR)
    return ls__fail(LS_ERROR_ARGUMENT, "only a tensor has a gradient; take an element or a field of this value first");
  ls_value *whole = ls__rows_whole(t, id);
  if (whole->kind != LS_TENSOR) whole = &t->run.values[id];
  ls_status status = make_leaves(t, whole);
  if (status) return status;
  whole = ls__rows_whole(t, id);
  if (!ls__tensor_requires_grad(whole->as.p))
    return ls__fail(LS_ERROR_ARGUMENT, "only floating point values have gradients");
  if ((t->plan.nodes[id].tracked & LS__EDITED) && (status = cut(t, id, whole))) return status;
  ls__capture_free(ran->capture);
  ran->capture = NULL;
  whole = ls__rows_whole(t, id);
  return ls__capture_new(whole->kind == LS_TENSOR ? whole->as.p : t->run.values[id].as.p, &ran->capture);
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* Executes node `id`, on which a change of a gradient depends, and all nodes whose values node `id` needs, before other nodes of the same
   time run. */
static ls_status force(ls_trace *t, int32_t id, int32_t depth) {
  if (t->run.nodes[id].done) return LS_OK;
  const ls__node *node = ls__seen(t, id);
  if (node->kind == LS__GRAD || node->kind == LS__BACKWARD || depth > 10000) {
    ls__fail(LS_ERROR_CYCLE, "this gradient is set from a gradient that is computed only later: "
                               "the backward goes from the loss to the input");
    ls__fail_site(node->site, 0);
    return LS_ERROR_CYCLE;
  }
  if (t->plan.nodes[id].time > t->run.now || node->kind == LS__READ || node->kind == LS__HOST)
    return ls__fail(LS_ERROR_CYCLE, "this gradient is set from a value that does not exist yet");
  for (int32_t k = 0; k < ls__seen(t, id)->n; k++) {
    const ls_value *input = &ls__seen(t, id)->stream[k];
    ls_status status = input->kind == LS_NODE ? force(t, input->aux, depth + 1) : LS_OK;
    if (status) return status;
  }
  return ls__execute_now(t, id);
}

static void finished(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  t->run.nodes[id].done = 1;
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_NODE) {
      t->plan.nodes[node->stream[k].aux].uses--;
      ls__trace_let_go(t, node->stream[k].aux);
    }
  ls__trace_let_go(t, id);
}

/* Returns the node that cuts the rows of one invoke out of a batch, where the value of node `id` is these rows or an item of a tuple of
   such rows; -1 where the value of node `id` has the rows of all invokes. */
static int32_t rows_of(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  while (nodes[id].kind == LS__GETITEM && nodes[id].stream[0].kind == LS_NODE) id = nodes[id].stream[0].aux;
  return nodes[id].kind == LS__ROWS && !ls__rows_all(t, nodes[id].invoke) ? id : -1;
}

static ls_status read_gradient(ls_trace *t, int32_t id, const ls_value *gradient) {
  const ls__node *node = &t->owner.nodes.at[id];
  int32_t rows = node->stream[0].kind == LS_NODE ? rows_of(t, node->stream[0].aux) : -1;
  if (!gradient->kind) {
    ls__fail(LS_ERROR_STATE, "the loss does not depend on this value, so it has no gradient");
    ls__fail_site(node->site, 0);
    return LS_ERROR_STATE;
  }
  ls_value part = *gradient;
  ls_status status = LS_OK;
  if (rows >= 0) status = ls__rows_take(t, rows, gradient, &part);
  else ls_value_retain(&part);
  if (status) return status;
  ls__replace(&t->run.values[id], part);
  finished(t, id);
  return LS_OK;
}

/* Replaces `gradient`, the gradient of the value of node `of`, by `given`. Where node `of` has the rows of one invoke only, the function
   replaces only these rows of `gradient`. */
static ls_status put_gradient(ls_trace *t, int32_t of, const ls_value *given, ls_value *gradient) {
  int32_t rows = rows_of(t, of);
  if (given->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "a gradient must be a tensor");
  if (rows >= 0) return ls__rows_put(t, rows, gradient, given);
  ls_status status = ls__tensor_same_sizes(given->as.p, gradient->as.p);
  if (status) return status;
  ls_value own; /* the given tensor is copied, since the script may later change it in place */
  if ((status = ls__tensor_clone(given->as.p, &own))) return status;
  ls__replace(gradient, own);
  return LS_OK;
}

static ls_status set_gradient(ls_trace *t, int32_t id, ls_value *gradient) {
  const ls_value *from = &ls__seen(t, id)->stream[1];
  ls_status status = from->kind == LS_NODE ? force(t, from->aux, 0) : LS_OK;
  const ls__node *node = ls__seen(t, id);
  from = &node->stream[1];
  if (!status) status = put_gradient(t, node->stream[0].aux, from->kind == LS_NODE ? &t->run.values[from->aux] : from, gradient);
  if (status && !ls_error_site()) ls__fail_site(node->site, 0);
  if (!status) finished(t, id);
  return status;
}

/* Executes, in the order written, the script's uses of the gradient of node `of`: reads take the gradient, assignments and edits replace
   it. */
static ls_status use_gradient(ls_trace *t, int32_t backward, int32_t of, ls_value *gradient) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    if (t->run.nodes[i].done || !t->plan.nodes[i].needed) continue;
    int32_t root = ls__point_node(t, i);
    if (root < 0) root = i;
    const ls__node *access = &t->owner.nodes.at[root];
    if ((access->kind != LS__GRAD && access->kind != LS__SETGRAD) || t->plan.nodes[root].backward != backward) continue;
    if (access->stream[0].kind == LS_NODE ? access->stream[0].aux != of : root != of) continue;
    if (node->kind == LS__GRAD) {
      status = read_gradient(t, i, gradient);
    } else if (node->kind == LS__SETGRAD) {
      status = gradient->kind ? set_gradient(t, i, gradient)
                               : ls__fail(LS_ERROR_STATE, "the loss does not depend on this value, so its gradient cannot be set");
    } else if (node->edits >= 0) {
      /* the edit is executed now, so that values read earlier from the gradient, which share its memory, show the edit */
      status = force(t, i, 0);
    }
  }
  return status;
}

static ls_status take_and_use(ls_trace *t, int32_t backward, int32_t of, ls_value *gradient) {
  ls_status status = ls__capture_take(t->run.nodes[of].capture, gradient);
  if (!status && gradient->kind && (t->plan.nodes[of].tracked & LS__EDITED)) {
    ls_value own; /* the gradient is copied before an edit, since libtorch may use the same memory elsewhere */
    if (!(status = ls__tensor_clone(gradient->as.p, &own))) ls__replace(gradient, own);
  }
  return status ? status : use_gradient(t, backward, of, gradient);
}

ls_status ls__grad_backward(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_value loss = node->stream[0].kind == LS_NODE ? t->run.values[node->stream[0].aux] : node->stream[0];
  ls_value given = node->stream[1].kind == LS_NODE ? t->run.values[node->stream[1].aux] : node->stream[1];
  bool keep = node->flag;
  if (loss.kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only a tensor can be the loss of a backward");
  if (!ls__tensor_requires_grad(loss.as.p))
    return ls__fail(LS_ERROR_STATE, "this loss depends on no value whose gradient is asked for and on no parameter that trains");
  ls_status status = ls_tensor_backward(&loss, &given, keep || t->run.cut_count);
  for (int32_t c = t->run.cut_count - 1; c >= 0 && !status; c--) {
    ls_value gradient = {0};
    status = take_and_use(t, id, t->run.cuts[c].node, &gradient);
    if (!status && gradient.kind && ls__tensor_requires_grad(t->run.cuts[c].before.as.p))
      status = ls_tensor_backward(&t->run.cuts[c].before, &gradient, keep || c > 0);
    ls_value_release(&gradient);
  }
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) {
    if (!t->run.nodes[i].capture || (t->plan.nodes[i].tracked & LS__EDITED)) continue;
    ls_value gradient = {0};
    status = take_and_use(t, id, i, &gradient);
    ls_value_release(&gradient);
  }
  return status;
}
