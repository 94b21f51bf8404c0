/* The backward of a trace. libtorch calls a hook with the gradient of a tensor as soon as all of it has come. Where the script sets or edits
   that gradient, its lines run there and then, and the hook hands the new gradient on: to the producers of that tensor, and to nothing else.

   Where such a line needs what has not come yet, such as the gradient of a tensor that the backward reaches later, nothing goes on from the
   hook. When libtorch is done, the lines run, and another part of the backward begins at that tensor with the new gradient. What comes to a
   tensor in several parts adds up. A gradient is whole when no tensor from which nothing has gone on yet leads to it. */
#include "trace/trace.h"

/* ---- what has come ---------------------------------------------------------------------------------------------- */

/* Whether the script sets or edits the gradient, and nothing has gone on from its tensor yet. */
static bool is_held(const ls__gradient *g) { return g->asked && g->edits && !g->passed && ls__capture_calls(g->capture); }

/* Finds whether all of gradient `n` has come. */
static ls_status is_whole(ls_trace *t, int32_t n, bool *whole) {
  ls__gradient *all = t->run.gradients, *own = &all[n];
  const ls__sweeping *sweep = &t->run.sweep;
  bool reaches = true;
  ls_status status = LS_OK;
  *whole = true;
  if (sweep->runs && ls__capture_calls(own->capture) == own->before) {
    if (sweep->from >= 0) status = ls__capture_reaches(all[sweep->from].capture, own->capture, &reaches);
    if (status || reaches) {
      *whole = false;
      return status;
    }
  }
  for (int32_t i = 0; i < t->run.gradient_count && *whole && !status; i++) {
    if (i == n || !is_held(&all[i])) continue;
    status = ls__capture_reaches(all[i].capture, own->capture, &reaches);
    *whole = !reaches;
  }
  return status;
}

/* ---- the script's uses ------------------------------------------------------------------------------------------ */

static ls_status use_gradient(ls_trace *t, int32_t n, int32_t last, bool *waits);
static ls_status force(ls_trace *t, int32_t id, int32_t before, bool *waits);

/* Notes that a use waits for node `id`. With INT32_MAX a whole gradient waits for others that are held, which wait for nodes themselves: they
   have told of theirs, or will. */
static ls_status wait_for(ls_trace *t, int32_t id, bool *waits) {
  if (id < INT32_MAX) t->run.sweep.blocker = id;
  *waits = true;
  return LS_OK;
}

/* Executes node `id` and all nodes whose values it needs, before other nodes of the same time run. `*waits` becomes true where that cannot be
   done yet. */
static ls_status force_node(ls_trace *t, int32_t id, bool *waits) {
  if (t->run.nodes[id].done) return LS_OK;
  const ls__node *node = ls__seen(t, id);
  bool never = node->kind == LS__READ || node->kind == LS__WRITE || node->kind == LS__HOST || node->kind == LS__BACKWARD;
  if (node->kind == LS__GRAD) {
    int32_t n = t->run.nodes[id].gradient - 1;
    if (n < 0 || t->plan.nodes[id].backward != t->run.sweep.backward) return wait_for(t, id, waits);
    ls_status status = use_gradient(t, n, id, waits);
    if (!status && !*waits && !t->run.nodes[id].done) return wait_for(t, id, waits);
    return status;
  }
  if (never || t->plan.nodes[id].time > t->run.now) return wait_for(t, id, waits);
  for (int32_t k = 0; k < ls__seen(t, id)->n; k++) {
    const ls_value *input = &ls__seen(t, id)->stream[k];
    ls_status status = input->kind == LS_NODE ? force(t, input->aux, id, waits) : LS_OK;
    if (status || *waits) return status;
  }
  return t->run.nodes[id].done ? LS_OK : ls__execute_now(t, id);
}

/* Does so for node `id` and for the edits of its value in place that are written above node `before`. */
static ls_status force(ls_trace *t, int32_t id, int32_t before, bool *waits) {
  ls_status status = force_node(t, id, waits);
  int32_t root = t->plan.nodes[id].root;
  if (root < 0 || t->plan.nodes[root].edited < 0) return status;
  for (int32_t i = root + 1; i < before && !status && !*waits; i++)
    if (!t->run.nodes[i].done && t->owner.nodes.at[i].edits >= 0 && t->plan.nodes[i].needed && ls__point_node(t, i) == root)
      status = force_node(t, i, waits);
  return status;
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

static ls_status read_gradient(ls_trace *t, int32_t id, const ls_value *gradient) {
  int32_t rows = t->run.nodes[id].rows - 1;
  ls_value part = *gradient;
  ls_status status = LS_OK;
  if (rows >= 0) status = ls__rows_take(t, rows, gradient, &part);
  else ls_value_retain(&part);
  if (status) return status;
  ls__replace(&t->run.values[id], part);
  finished(t, id);
  return LS_OK;
}

/* Makes a copy of `given`, since the script may later change that in place, with the dtype of `like`, the gradient that it replaces. */
static ls_status own_gradient(const ls_value *given, const ls_value *like, ls_value *out) {
  ls_status status = ls__tensor_same_sizes(given->as.p, like->as.p);
  if (!status) status = ls__tensor_clone(like->as.p, out);
  if (!status && (status = ls__index_set(out, &(ls_value){.kind = LS_ELLIPSIS}, 1, given))) ls_value_release(out);
  return status;
}

/* Replaces `gradient` by the one that node `id` sets. Where the node sets it for the rows of one invoke only, these rows are replaced. */
static ls_status set_gradient(ls_trace *t, int32_t id, ls_value *gradient) {
  const ls__node *node = ls__seen(t, id);
  const ls_value *given = node->stream[1].kind == LS_NODE ? &t->run.values[node->stream[1].aux] : &node->stream[1];
  int32_t rows = t->run.nodes[id].rows - 1;
  ls_status status = LS_OK;
  ls_value own, part;
  if (given->kind != LS_TENSOR) {
    status = ls__fail(LS_ERROR_ARGUMENT, "a gradient must be a tensor");
  } else if (rows < 0) {
    if (!(status = own_gradient(given, gradient, &own))) ls__replace(gradient, own);
  } else if (!(status = ls__rows_take(t, rows, gradient, &part))) {
    status = own_gradient(given, &part, &own);
    ls_value_release(&part);
    if (!status) {
      status = ls__rows_put(t, rows, gradient, &own);
      ls_value_release(&own);
    }
  }
  if (status) return status;
  ls__value_detach(gradient);
  finished(t, id);
  return LS_OK;
}

/* Executes node `id`, a use of a gradient. */
static ls_status use(ls_trace *t, int32_t id, int32_t n, bool *waits) {
  const ls__node *node = ls__seen(t, id);
  ls_status status = LS_OK;
  if (node->kind == LS__GRAD) {
    status = read_gradient(t, id, &t->run.gradients[n].value);
  } else if (node->kind == LS__SETGRAD) {
    if (node->stream[1].kind == LS_NODE) status = force(t, node->stream[1].aux, id, waits);
    if (!status && !*waits) status = set_gradient(t, id, &t->run.gradients[n].value);
  } else {
    status = force_node(t, id, waits); /* an edit in place */
  }
  if (*waits) t->run.sweep.blocked = id;
  if (status && !ls_error_site()) ls__fail_site(node->site, 0);
  return status;
}

static bool is_use(const ls_trace *t, int32_t id, int32_t n) {
  if (t->run.nodes[id].done || !t->plan.nodes[id].needed) return false;
  int32_t access = ls__grad_access(t, id);
  return access >= 0 && t->run.nodes[access].gradient == n + 1 && t->plan.nodes[access].backward == t->run.sweep.backward;
}

/* Takes gradient `n` from its capture. */
static ls_status take(ls_trace *t, int32_t n, int32_t user) {
  ls__gradient *g = &t->run.gradients[n];
  ls_value sum, own;
  ls__capture_sum(g->capture, &sum);
  if (!sum.kind) {
    const ls__node *node = &t->owner.nodes.at[user];
    ls__fail(LS_ERROR_STATE, node->kind == LS__GRAD ? "the loss does not depend on this value, so it has no gradient"
                                                    : "the loss does not depend on this value, so its gradient cannot be set");
    ls__trace_explain(t, user);
    return LS_ERROR_STATE;
  }
  if (g->edits) { /* the gradient is copied before an edit, since libtorch may use the same memory elsewhere */
    ls_status status = ls__tensor_clone(sum.as.p, &own);
    ls_value_release(&sum);
    if (status) return status;
    sum = own;
  }
  ls__replace(&g->value, sum);
  g->taken = true;
  return LS_OK;
}

/* Executes the uses of gradient `n` up to node `last`, in the order written: reads take the gradient, assignments and edits change it. */
static ls_status use_gradient(ls_trace *t, int32_t n, int32_t last, bool *waits) {
  bool whole;
  if (t->run.gradients[n].busy) return wait_for(t, last, waits);
  ls_status status = is_whole(t, n, &whole);
  if (status) return status;
  if (!whole) return wait_for(t, last, waits);
  t->run.gradients[n].busy = true;
  for (int32_t i = 0; i < t->owner.nodes.count && i <= last && !status && !*waits; i++) {
    if (!is_use(t, i, n)) continue;
    if (!t->run.gradients[n].taken) status = take(t, n, i);
    if (!status) status = use(t, i, n, waits);
  }
  t->run.gradients[n].busy = false;
  return status;
}

/* ---- the backward ----------------------------------------------------------------------------------------------- */

/* Is called by a hook when a gradient that the script changes has come. `fresh` becomes the one that goes on, or stays empty. */
static void arrived(void *who, int32_t n, ls_value *fresh) {
  ls_trace *t = who;
  bool waits = false;
  if (t->run.sweep.status) return;
  t->run.sweep.status = use_gradient(t, n, INT32_MAX, &waits);
  if (t->run.sweep.status || waits) return;
  ls__gradient *g = &t->run.gradients[n];
  if (!g->taken) return;
  g->passed = true;
  *fresh = g->value;
  ls_value_retain(fresh);
}

static void begin_part(ls_trace *t, int32_t from) {
  t->run.sweep.from = from;
  t->run.sweep.runs = true;
  for (int32_t i = 0; i < t->run.gradient_count; i++) t->run.gradients[i].before = ls__capture_calls(t->run.gradients[i].capture);
}

static ls_status end_part(ls_trace *t, ls_status status) {
  t->run.sweep.runs = false;
  return status ? status : t->run.sweep.status;
}

/* Fails with the error that a use of a gradient could not be executed. */
static ls_status stuck(const ls_trace *t) {
  const ls__sweeping *sweep = &t->run.sweep;
  const ls__node *nodes = t->owner.nodes.at, *blocker = &nodes[sweep->blocker];
  const char *what = "this gradient is set from a gradient that is computed only later: the backward goes from the loss to the input";
  if (blocker->kind == LS__HOST)
    what = "this gradient is set from the result of a function of the script, and none is called while a backward runs; compute the "
           "gradient by operators";
  else if (blocker->kind != LS__GRAD && blocker->kind != LS__SETGRAD && blocker->kind != LS__BACKWARD && blocker->edits < 0)
    what = "this gradient is set from a value that does not exist yet";
  ls__fail(LS_ERROR_CYCLE, "%s", what);
  ls__fail_site(nodes[sweep->blocked].site, sweep->blocker == sweep->blocked ? 0 : blocker->site);
  return LS_ERROR_CYCLE;
}

/* Goes on from tensors whose new gradients could not be computed while the backward passed them. */
static ls_status go_on(ls_trace *t, const ls__sweep *ask) {
  bool held = true, moved = true;
  ls_status status = LS_OK;
  while (held && moved && !status) {
    held = moved = false;
    for (int32_t i = 0; i < t->run.gradient_count && !status; i++) {
      if (!is_held(&t->run.gradients[i])) continue;
      bool waits = false;
      held = true;
      status = use_gradient(t, i, INT32_MAX, &waits);
      if (status || waits) continue;
      moved = t->run.gradients[i].passed = true;
      begin_part(t, i);
      ls_value value = t->run.gradients[i].value;
      ls_value_retain(&value);
      status = end_part(t, ls__backward_from(t->run.gradients[i].capture, &value, ask));
      ls_value_release(&value);
    }
  }
  return status || !held ? status : stuck(t);
}

/* Has the captures take the gradients of backward `id` of which the script has uses; `*edits` becomes whether it changes one. */
static void listen(ls_trace *t, int32_t id, bool *edits) {
  *edits = false;
  t->run.sweep = (ls__sweeping){.backward = id, .from = -1};
  for (int32_t i = 0; i < t->run.gradient_count; i++) {
    ls__gradient *g = &t->run.gradients[i];
    ls__replace(&g->value, (ls_value){0});
    *g = (ls__gradient){.capture = g->capture};
  }
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    int32_t access = ls__grad_access(t, i);
    if (access < 0 || !t->run.nodes[access].gradient || !is_use(t, i, t->run.nodes[access].gradient - 1)) continue;
    ls__gradient *g = &t->run.gradients[t->run.nodes[access].gradient - 1];
    g->asked = true;
    g->edits = g->edits || t->owner.nodes.at[i].kind != LS__GRAD;
    *edits = *edits || g->edits;
  }
  for (int32_t i = 0; i < t->run.gradient_count; i++) {
    const ls__gradient *g = &t->run.gradients[i];
    ls__capture_listen(g->capture, g->asked, g->edits);
  }
}

ls_status ls__grad_backward(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_value loss = node->stream[0].kind == LS_NODE ? t->run.values[node->stream[0].aux] : node->stream[0];
  ls_value given = node->stream[1].kind == LS_NODE ? t->run.values[node->stream[1].aux] : node->stream[1];
  bool keep = node->flag, edits;
  if (loss.kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only a tensor can be the loss of a backward");
  if (!ls__tensor_requires_grad(loss.as.p))
    return ls__fail(LS_ERROR_STATE, "this loss depends on no value whose gradient is asked for and on no parameter that trains");
  listen(t, id, &edits);
  ls__sweep ask = {arrived, t};
  begin_part(t, -1);
  /* where the script changes gradients, another part of the backward may need the graph */
  ls_status status = end_part(t, ls__backward(loss.as.p, &given, keep || edits, &ask));
  if (!status) status = go_on(t, &ask);
  for (int32_t i = 0; i < t->run.gradient_count && !status; i++) {
    bool waits = false;
    if (t->run.gradients[i].asked) status = use_gradient(t, i, INT32_MAX, &waits);
    if (!status && waits) status = stuck(t);
  }
  if (!status && edits && !keep) status = ls__backward_release(loss.as.p);
  for (int32_t i = 0; i < t->run.gradient_count; i++) {
    ls__replace(&t->run.gradients[i].value, (ls_value){0});
    ls__capture_listen(t->run.gradients[i].capture, false, false);
  }
  return status;
}
