/* Records and plans what a script does with gradients: which backward computes which gradient, which values need a hook for their
   gradients, and from which time on autograd records operators. */
#include <stdlib.h>
#include "trace/trace.h"

/* ---- recording -------------------------------------------------------------------------------------------------- */

static bool same_index(const ls__node *a, const ls__node *b) {
  if (a->kind != b->kind || a->n != b->n || (a->kind == LS__ROWS && a->invoke != b->invoke)) return false;
  for (int32_t k = 1; k < a->n; k++)
    if (a->stream[k].kind != b->stream[k].kind || a->stream[k].kind == LS_NODE || a->stream[k].as.i != b->stream[k].as.i)
      return false;
  return true;
}

/* Whether a line above node `id` replaces the value at the point that node `id` reads. */
static bool is_replaced(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at, *read = &nodes[id];
  for (int32_t i = 0; i < id; i++)
    if (nodes[i].kind == LS__WRITE && nodes[i].slot == read->slot && nodes[i].step == read->step) return true;
  return false;
}

/* Returns the first node with the same value as node `id`: each access to a point records nodes of its own, but all of them have one
   gradient, unless a line between them changes the value. */
static int32_t first_same(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at, *node = &nodes[id];
  int32_t root = t->plan.nodes[id].root;
  if (root < 0 || t->plan.nodes[root].edited >= 0) return id;
  if (nodes[root].kind == LS__READ && is_replaced(t, id)) return id;
  if (node->kind == LS__READ || node->kind == LS__SEE) return root;
  if ((node->kind != LS__ROWS && node->kind != LS__GETITEM) || node->stream[0].kind != LS_NODE) return id;
  int32_t base = first_same(t, node->stream[0].aux);
  for (int32_t i = base + 1; i < id; i++) {
    const ls__node *other = &nodes[i];
    if (same_index(node, other) && other->stream[0].kind == LS_NODE && first_same(t, other->stream[0].aux) == base) return i;
  }
  return id;
}

static ls_status add(ls_trace *t, const ls__node *node, const ls_value *stream, int32_t n, int32_t *id) {
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  ls_value own[2] = {stream[0]};
  if (n > 1) own[1] = stream[1];
  if (node->kind != LS__BACKWARD && own[0].kind == LS_NODE) own[0].aux = first_same(t, own[0].aux);
  return ls__trace_record(t, node, own, n, node->kind == LS__GRAD ? LS_TENSOR : LS_NONE, id);
}

static ls__node in_body(ls__node_kind kind, int32_t invoke, int64_t site) {
  ls__node node = ls__node_of(kind, site);
  node.invoke = invoke;
  return node;
}

ls_status ls_trace_grad_of(ls_trace *t, const ls_value *parameter, int32_t invoke, int64_t site, ls_value *out) {
  LS__NEED(t && parameter && invoke >= -1 && invoke < t->invoke_count && out);
  ls_status valid = ls__value_check(parameter);
  if (valid) return valid;
  ls__node node = in_body(LS__GRAD, invoke, site);
  int32_t id;
  ls_status status = add(t, &node, parameter, 1, &id);
  if (!status) ls__node_handle(&t->owner, id, out);
  return status;
}

ls_status ls_trace_grad(const ls_value *of, int32_t invoke, int64_t site, ls_value *out) {
  LS__NEED(ls__is_node(of) && out);
  ls_trace *t = ls__trace_of(of);
  if (!t) return ls__fail(LS_ERROR_STATE, "this value belongs to no trace, so a trace cannot read its gradient");
  return ls_trace_grad_of(t, of, invoke, site, out);
}

ls_status ls_trace_set_grad(const ls_value *of, const ls_value *value, int32_t invoke, int64_t site) {
  LS__NEED(ls__is_node(of) && value);
  ls_status valid = ls__value_check(value);
  if (valid) return valid;
  ls__node node = in_body(LS__SETGRAD, invoke, site);
  int32_t id;
  ls_trace *t = ls__trace_of(of);
  LS__NEED(t && invoke >= -1 && invoke < t->invoke_count);
  return add(t, &node, (ls_value[]){*of, *value}, 2, &id);
}

ls_status ls_trace_backward(const ls_value *loss, const ls_value *gradient, int32_t retain_graph, int32_t invoke, int64_t site) {
  LS__NEED(ls__is_node(loss) && gradient);
  ls_status valid = ls__value_check(gradient);
  if (valid) return valid;
  ls__node node = in_body(LS__BACKWARD, invoke, site);
  node.flag = retain_graph != 0;
  int32_t id;
  ls_trace *t = ls__trace_of(loss);
  LS__NEED(t && invoke >= -1 && invoke < t->invoke_count);
  return add(t, &node, (ls_value[]){*loss, *gradient}, 2, &id);
}

/* ---- the plan --------------------------------------------------------------------------------------------------- */

/* Returns the backward that computes the gradient which node `id` uses: the next backward recorded after the node, else the last one before
   the node. A backward in the same body is preferred; -1 where the trace has none. */
static int32_t backward_of(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  for (int32_t same = 1; same >= 0; same--) {
    int32_t above = -1;
    for (int32_t i = 0; i < t->owner.nodes.count; i++) {
      if (nodes[i].kind != LS__BACKWARD || (same && nodes[i].invoke != nodes[id].invoke)) continue;
      if (i > id && !t->run.nodes[i].done) return i;
      if (i < id) above = i;
    }
    if (above >= 0) return above;
  }
  return -1;
}

static bool trains(const ls_value *stream, int32_t n) {
  for (int32_t k = 0; k < n; k++)
    if (stream[k].kind == LS_TENSOR && ls__tensor_requires_grad(stream[k].as.p)) return true;
  return false;
}

/* Finds the time from which autograd has to record operators: that of the first node whose gradient is asked for or which uses a tensor
   that requires a gradient. */
static void find_start(ls_trace *t) {
  int64_t start = INT64_MAX;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    bool matters = t->plan.nodes[i].tracked || trains(node->stream, node->n) || (node->program && ls__program_trains(node->program));
    if (matters && t->plan.nodes[i].time < start) start = t->plan.nodes[i].time;
  }
  for (int32_t i = 0; i < t->invoke_count; i++) {
    const ls__invoke *invoke = &t->invokes[i];
    int64_t begins = LS__TIME(t->plan.invokes[i].pass, 0, 0) - 1;
    bool matters = ls__program_trains(invoke->program) || trains(invoke->arguments, invoke->argument_count);
    if (matters && begins < start) start = begins;
  }
  t->plan.track = start == INT64_MAX ? -1 : start < 0 ? 0 : start;
}

/* ---- values whose gradients are asked for ------------------------------------------------------------------------- */

static ls_status mark_source(ls_trace *t, int32_t id);

static ls_status mark_arguments(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_status status = LS_OK;
  for (int32_t k = 0; k < node->n && !status; k++)
    if (node->stream[k].kind == LS_NODE) status = mark_source(t, node->stream[k].aux);
  return status;
}

/* Marks the lines that replace what arrives at the point of the read `id`, and the values that they put there. */
static ls_status mark_replacements(ls_trace *t, int32_t id) {
  static const ls_value whole = {.kind = LS_NONE};
  const ls__node *nodes = t->owner.nodes.at, *read = &nodes[id];
  ls__origins found = {0};
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) {
    int32_t at = ls__point_node(t, i);
    bool replaces = nodes[i].kind == LS__WRITE;
    if (nodes[i].kind == LS__SETITEM && at >= 0 && nodes[at].kind == LS__READ)
      replaces = nodes[i].edits >= 0 && t->owner.nodes.kinds[nodes[i].edits] != LS_TENSOR;
    if (!replaces || nodes[at].step != read->step || (t->plan.nodes[i].tracked & LS__SOURCE)) continue;
    if (!found.count && (status = ls__program_origins(t->invokes[read->invoke].program, read->slot, &whole, &whole, &found))) break;
    bool passes = t->invokes[nodes[at].invoke].program != t->invokes[read->invoke].program;
    for (int32_t k = 0; k < found.point_count && !passes; k++) passes = found.points[k] == nodes[at].slot;
    if (!passes) continue;
    t->plan.nodes[i].tracked |= LS__SOURCE;
    status = mark_arguments(t, i);
  }
  ls__origins_free(&found);
  return status;
}

/* Marks the values that node `id` may be, so that they get a place in autograd's graph when they are made: its own, that of which it is a
   view, those that a called function may hand through, and those that a line has put at its point. */
static ls_status mark_source(ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  if (t->plan.nodes[id].tracked & LS__SOURCE) return LS_OK;
  t->plan.nodes[id].tracked |= LS__SOURCE;
  for (int32_t above; (above = ls__trace_above(t, id)) >= 0;) id = above;
  if (nodes[id].kind == LS__READ) return mark_replacements(t, id);
  t->plan.nodes[id].tracked |= LS__SOURCE;
  bool hands_through = nodes[id].kind == LS__CALL || nodes[id].kind == LS__HOST || nodes[id].kind == LS__SEQ;
  return hands_through ? mark_arguments(t, id) : LS_OK;
}

/* Attaches a hook to a parameter whose gradient is asked for. A parameter that does not train requires a gradient until the trace ends. */
static ls_status watch_parameter(ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  ls__ran *ran = &t->run.nodes[id];
  if (ran->gradient) return LS_OK;
  if (t->run.now >= 0 && t->plan.track < 0) {
    ls__fail(LS_ERROR_PASSED, "the model has already begun to run without autograd, so this gradient cannot be computed; "
                              "ask for it before the first line that makes the model run");
    ls__fail_site(node->site, t->run.demand_site);
    return LS_ERROR_PASSED;
  }
  bool made_trainable;
  ls_status status = ls__tensor_make_trainable(node->stream[0].as.p, &made_trainable);
  if (status) return status;
  ran->made_trainable = made_trainable;
  return ls__grad_capture(t, id);
}

int32_t ls__grad_access(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  if (nodes[id].kind == LS__GRAD || nodes[id].kind == LS__SETGRAD) return id;
  int32_t at = nodes[id].edits;
  while (at >= 0 && nodes[at].kind != LS__GRAD) at = ls__trace_above(t, at);
  return at;
}

/* Where node `id` reads or sets a gradient: finds the backward that computes the gradient, and marks the value to which the gradient
   belongs. */
static ls_status plan_access(ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at, *node = &nodes[id];
  ls__planned *plan = t->plan.nodes;
  if ((node->kind != LS__SETGRAD && node->kind != LS__GRAD) || t->run.nodes[id].done) return LS_OK;
  int32_t backward = plan[id].backward = backward_of(t, id);
  if (backward < 0) {
    ls__fail(LS_ERROR_STATE, "a gradient needs a backward: call loss:backward() in the body");
    ls__fail_site(node->site, 0);
    return LS_ERROR_STATE;
  }
  if (node->stream[0].kind != LS_NODE) return watch_parameter(t, id);
  int32_t of = node->stream[0].aux, root = plan[of].root, version = root >= 0 ? plan[root].edited : -1;
  while (version >= id) version = plan[version].earlier;
  plan[id].version = version;
  plan[of].tracked |= LS__ASKED;
  for (; version >= 0; version = plan[version].earlier) plan[version].tracked |= LS__ASKED;
  ls_status status = mark_source(t, of);
  if (status || t->run.nodes[id].gradient || !ls__grad_is_ready(t, id)) return status;
  status = ls__grad_capture(t, id);
  if (status && !ls_error_site()) ls__fail_site(node->site, t->run.demand_site);
  return status;
}

bool ls__grad_is_over(const ls_trace *t, int32_t id) {
  int32_t access = t->run.nodes[id].done ? -1 : ls__grad_access(t, id), backward = access >= 0 ? t->plan.nodes[access].backward : -1;
  return backward >= 0 && t->run.nodes[backward].done;
}

/* Fails where node `id` asks for, sets or edits the gradient of a backward that has run. */
static ls_status check_over(const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  if (!ls__grad_is_over(t, id)) return LS_OK;
  ls__fail(LS_ERROR_PASSED, node->kind == LS__GRAD ? "the backward of this gradient has already run; ask for the gradient in an earlier line"
                                                   : "the backward of this gradient has already run, so the gradient cannot be changed any "
                                                     "more; change it in an earlier line, or clone it");
  ls__fail_site(node->site, t->run.demand_site);
  return LS_ERROR_PASSED;
}

/* ---- circles ---------------------------------------------------------------------------------------------------- */

/* Fails where a gradient that node `id` needs is computed by a backward that needs node `id`. `seen` has 1 for each node whose needs are being
   followed and 2 for each that needs no such gradient. */
static ls_status follow(ls_trace *t, int32_t id, uint8_t *seen);

static ls_status follow_value(ls_trace *t, int32_t id, int32_t before, uint8_t *seen) {
  ls_status status = follow(t, id, seen);
  int32_t root = t->plan.nodes[id].root, edit = root >= 0 ? t->plan.nodes[root].edited : -1;
  for (; edit >= 0 && !status; edit = t->plan.nodes[edit].earlier)
    if (edit < before) status = follow(t, edit, seen);
  return status;
}

static ls_status follow(ls_trace *t, int32_t id, uint8_t *seen) {
  const ls__node *node = ls__seen(t, id);
  if (seen[id] == 2 || t->run.nodes[id].done) return LS_OK;
  if (seen[id]) {
    ls__fail(LS_ERROR_CYCLE, "this gradient is needed by the loss of the backward that computes it");
    return LS_ERROR_CYCLE;
  }
  seen[id] = 1;
  ls_status status = LS_OK;
  bool access = node->kind == LS__GRAD || node->kind == LS__SETGRAD;
  if (node->kind == LS__GRAD && (status = follow(t, t->plan.nodes[id].backward, seen)) == LS_ERROR_CYCLE && !ls_error_site())
    ls__fail_site(node->site, t->owner.nodes.at[t->plan.nodes[id].backward].site);
  for (int32_t k = access; k < node->n && !status; k++)
    if (node->stream[k].kind == LS_NODE) status = follow_value(t, node->stream[k].aux, id, seen);
  bool point = node->kind == LS__READ || node->kind == LS__WRITE;
  for (int32_t i = 0; i < id && point && !status; i++)
    if (ls__time_changes_point(t, i, id)) status = follow(t, i, seen);
  seen[id] = 2;
  return status;
}

/* Fails where a backward needs a gradient that it computes itself. */
static ls_status check_circles(ls_trace *t) {
  uint8_t *seen = calloc((size_t)t->owner.nodes.count, 1);
  if (!seen) return ls__fail(LS_ERROR_MEMORY, "out of memory for a plan");
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) status = follow(t, i, seen);
  free(seen);
  return status;
}

ls_status ls__grad_check(const ls_trace *t, int32_t demanded) {
  ls_status status = LS_OK;
  if (demanded >= 0 && !t->plan.nodes[demanded].unreachable) return LS_OK; /* the body may still get another backward */
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++)
    if (t->plan.nodes[i].needed || demanded >= 0) status = check_over(t, i);
  return status;
}

ls_status ls__grad_plan(ls_trace *t) {
  bool any = false;
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) {
    any = any || t->owner.nodes.at[i].kind == LS__BACKWARD;
    status = plan_access(t, i);
  }
  if (!status && any) status = check_circles(t);
  if (!status) status = ls__time_all(t, t->owner.nodes.count);
  if (!status && any) find_start(t);
  if (!status && t->run.model) status = ls__grad_origins(t);
  return status;
}
