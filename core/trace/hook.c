/* Calls of modules with points of their own (`hooks`): a body reads, replaces and edits values inside such a call, as at points of the model.

   A call has three kinds of nodes. Its LS__CALL begins a run of the module's program and gives no value. LS__SEE and LS__PUT read and
   replace a value at a point of that run, which is paused there meanwhile; they may stand above the call in the script, where the call is not
   known yet. A last LS__SEE (`flag` 1) gives the value at the output point after all edits: the result of the call. The nodes run at the
   time of the call, with ranks in the order of the points. */
#include <stdio.h>
#include <stdlib.h>
#include "trace/trace.h"

/* ---- recording -------------------------------------------------------------------------------------------------- */

ls_status ls_trace_hook(ls_trace *t, ls_program *p, int32_t *out) {
  LS__NEED(t && p && out);
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  if (t->hook_count == t->hook_room) {
    int32_t room = t->hook_room ? 2 * t->hook_room : 4;
    ls__hook *bigger = realloc(t->hooks, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for a call with points");
    t->hooks = bigger;
    t->hook_room = room;
  }
  t->hooks[t->hook_count] = (ls__hook){.program = ls__program_retain(p), .node = -1, .time = -1};
  *out = t->hook_count++;
  return LS_OK;
}

/* Numbers the points that the script has named above the call `hook` as the program `p` does, with which the call is made. */
static ls_status use_program(ls_trace *t, int32_t hook, ls_program *p) {
  ls__hook *h = &t->hooks[hook];
  if (h->program == p) return LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    ls__node *node = &t->owner.nodes.at[i];
    if (node->hook != hook) continue;
    int32_t point = ls_program_find(p, ls_program_point_name(h->program, node->slot));
    if (point < 0) {
      ls__fail(LS_ERROR_UNREACHED, "this call of the module does not reach this point");
      ls__fail_point(ls__hook_point_name(t, node));
      ls__fail_site(node->site, 0);
      return LS_ERROR_UNREACHED;
    }
    node->slot = point;
  }
  ls__program_retain(p);
  ls_program_release(h->program);
  h->program = p;
  return LS_OK;
}

static ls__node at_point(ls__node_kind kind, int32_t hook, int32_t point, int64_t site) {
  ls__node node = ls__node_of(kind, site);
  node.hook = hook;
  node.slot = point;
  return node;
}

ls_status ls__hook_call(ls_trace *t, int32_t hook, ls_program *callee, const ls_value *args, int32_t n, int64_t site, ls_value *out) {
  int32_t id;
  ls_status status = ls__trace_check_open(t);
  if (!status && (hook >= t->hook_count || t->hooks[hook].node >= 0))
    status = ls__fail(LS_ERROR_ARGUMENT, "this trace has no call with the given number, or it is recorded already");
  if (!status) status = use_program(t, hook, callee);
  if (status) return status;
  ls__node node = ls__node_of(LS__CALL, site), result = at_point(LS__SEE, hook, ls_program_points(callee) - 1, site);
  node.program = callee;
  node.hook = hook;
  result.flag = 1;
  t->hooks[hook].node = t->owner.nodes.count;
  status = ls__trace_record(t, &node, args, n, LS_NONE, &id);
  if (status) {
    t->hooks[hook].node = -1;
    return status;
  }
  return ls__trace_record_handle(t, &result, &(ls_value){.kind = LS_NODE, .aux = id, .as.p = t}, 1,
                                 ls__function_kind(ls__program_function(callee)), out);
}

ls_status ls__hook_check_point(const ls_trace *t, int32_t hook, int32_t point) {
  bool known = hook < t->hook_count && point >= 0 && point < ls_program_points(t->hooks[hook].program);
  return known ? LS_OK : ls__fail(LS_ERROR_UNREACHED, "this trace has no call with this point");
}

/* Fails where the run of the call is past a point, or `point` is no point of it. */
static ls_status check(const ls_trace *t, int32_t hook, const ls__node *node) {
  ls_status status = ls__trace_check_open(t);
  if (!status) status = ls__hook_check_point(t, hook, node->slot);
  if (status) return status;
  const ls__hook *h = &t->hooks[hook];
  if (!h->over && !(h->run && ls__run_is_past(h->run, node->slot))) return LS_OK;
  ls__fail(LS_ERROR_PASSED, "the call has already run past this point");
  ls__fail_point(ls__hook_point_name(t, node));
  ls__fail_site(node->site, t->run.demand_site);
  return LS_ERROR_PASSED;
}

ls_status ls__hook_read(ls_trace *t, int32_t hook, int32_t point, int64_t site, ls_value *out) {
  ls__node node = at_point(LS__SEE, hook, point, site);
  ls_status status = check(t, hook, &node);
  if (status) return status;
  t->hooks[hook].acts = true;
  ls__point_info at = ls__program_point(t->hooks[hook].program, point);
  uint8_t kind = at.kind == LS_POINT_INPUT ? LS_TUPLE : at.kind == LS_POINT_TAP ? LS_TENSOR : ls__function_kind(at.function);
  return ls__trace_record_handle(t, &node, NULL, 0, kind, out);
}

ls_status ls__hook_write(ls_trace *t, int32_t hook, int32_t point, const ls_value *value, int64_t site) {
  ls__node node = at_point(LS__PUT, hook, point, site);
  int32_t id;
  ls_status status = check(t, hook, &node);
  if (status) return status;
  t->hooks[hook].acts = true;
  return ls__trace_record(t, &node, value, 1, LS_NONE, &id);
}

const char *ls__hook_point_name(const ls_trace *t, const ls__node *node) {
  static _Thread_local char name[512];
  ls_program *p = t->hooks[node->hook].program;
  if (!ls__module_path(t->module, ls__function_module(ls__program_function(p)), name, sizeof name - 256)) name[0] = 0;
  size_t used = 0;
  while (name[used]) used++;
  snprintf(name + used, sizeof name - used, "%s%s", used ? "." : "", ls_program_point_name(p, node->slot));
  return name;
}

/* ---- planning --------------------------------------------------------------------------------------------------- */

int32_t ls__hook_of(const ls_trace *t, int32_t id, int32_t *rank) {
  const ls__node *node = &t->owner.nodes.at[ls__point_node(t, id)];
  if (node->kind != LS__SEE && node->kind != LS__PUT) return -1;
  *rank = 1 + node->slot + (node->flag != 0);
  return node->hook;
}

static ls_status circle(const ls_trace *t, int32_t id) {
  const ls__node *point = &t->owner.nodes.at[ls__point_node(t, id)];
  ls__fail(LS_ERROR_CYCLE, "this edit needs a value that exists only behind it, and that depends on the call which it edits");
  ls__fail_point(ls__hook_point_name(t, point));
  ls__fail_site(t->owner.nodes.at[id].site, t->hooks[point->hook].node >= 0 ? t->owner.nodes.at[t->hooks[point->hook].node].site : 0);
  return LS_ERROR_CYCLE;
}

ls_status ls__hook_time(ls_trace *t, int32_t id, int64_t *time, int32_t *rank) {
  int32_t behind, hook = ls__hook_of(t, id, &behind);
  ls__hook *h = hook >= 0 ? &t->hooks[hook] : NULL;
  if (!h || h->node < 0) return LS_OK;
  ls__planned *own = &t->plan.nodes[id];
  const ls__planned *call = &t->plan.nodes[h->node];
  if (*time < call->time || (*time == call->time && *rank <= call->rank + behind)) {
    if (*time < call->time || own->latest < 0) own->latest = h->node;
    *time = call->time;
    *rank = call->rank + behind;
    return LS_OK;
  }
  /* the call waits until the value exists that is set inside it */
  int64_t most = 4 * ((int64_t)t->owner.nodes.count + 2);
  for (int32_t i = 0; i < t->hook_count; i++) most += ls_program_points(t->hooks[i].program) + 3;
  int32_t wanted = *rank > behind ? *rank - behind : 0;
  if (wanted > most) return circle(t, id);
  if (*time > h->time || (*time == h->time && wanted > h->rank)) {
    h->time = *time;
    h->rank = wanted;
    h->cause = id;
  }
  t->plan.passes = true;
  return LS_OK;
}

void ls__hook_wait(ls_trace *t, int32_t id, int64_t *time, int32_t *rank) {
  const ls__hook *h = &t->hooks[t->owner.nodes.at[id].hook];
  if (*time > h->time || (*time == h->time && *rank >= h->rank)) return;
  if (h->time > *time) t->plan.nodes[id].latest = h->cause;
  *time = h->time;
  *rank = h->rank;
}

/* Whether a line below node `id` sets or edits a value inside the call `hook`. */
static bool acts_below(const ls_trace *t, int32_t hook, int32_t id) {
  for (int32_t i = id + 1; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i], *at = &t->owner.nodes.at[ls__point_node(t, i)];
    if ((node->kind == LS__PUT || node->edits >= 0) && at->hook == hook && (at->kind == LS__SEE || at->kind == LS__PUT)) return true;
  }
  return false;
}

/* Returns the rank of node `id`, an edit in place at `time`, so that it runs behind the calls that are written above it and run then. Their
   values may lie in the memory that it changes: they show the edit, and what is edited inside the call comes first. */
static int32_t behind_calls(const ls_trace *t, int32_t id, int64_t time, int32_t rank) {
  for (int32_t i = 0; i < t->hook_count; i++) {
    int32_t call = t->hooks[i].node, result = call + 1;
    if (call < 0 || result >= id || t->plan.nodes[result].time != time || t->plan.nodes[result].rank <= rank) continue;
    if (!acts_below(t, i, id)) rank = t->plan.nodes[result].rank;
  }
  return rank;
}

/* Whether lines below node `edit` run behind it: it changes a value in place, no gradient and none at a point inside a call, but perhaps the
   result of a call in which no line below acts, and it does not wait for a backward that is written below it. */
static bool comes_first(const ls_trace *t, int32_t edit) {
  if (t->owner.nodes.at[edit].edits < 0) return false;
  const ls__node *at = &t->owner.nodes.at[ls__point_node(t, edit)];
  if (at->kind == LS__GRAD || (at->kind == LS__SEE && (!at->flag || acts_below(t, at->hook, edit)))) return false;
  const ls__planned *plan = t->plan.nodes;
  for (int32_t i = edit + 1; t->gradients && i < t->owner.nodes.count; i++)
    if (t->owner.nodes.at[i].kind == LS__BACKWARD && plan[i].time == plan[edit].time && plan[i].rank <= plan[edit].rank) return false;
  return true;
}

/* Returns the rank of node `id`, which runs at `time`, so that it runs behind the calls and the edits in place that are written above it and
   have to come first then: the memory of its arguments may be what these change. What acts at a point inside a call runs there. */
int32_t ls__hook_behind(const ls_trace *t, int32_t id, int64_t time, int32_t rank) {
  const ls__node *node = &t->owner.nodes.at[id];
  int32_t inside;
  if (ls__hook_of(t, id, &inside) >= 0 || node->kind == LS__READ || node->kind == LS__ROWS) return rank;
  if (node->edits >= 0) rank = behind_calls(t, id, time, rank);
  for (int32_t i = 0; i < id; i++) {
    const ls__planned *edit = &t->plan.nodes[i];
    if (edit->time == time && edit->rank > rank && comes_first(t, i)) rank = edit->rank;
  }
  return rank;
}

bool ls__hook_needs(ls_trace *t) {
  bool more = false;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    int32_t behind, hook = t->plan.nodes[i].needed && !t->run.nodes[i].done ? ls__hook_of(t, i, &behind) : -1;
    int32_t call = hook >= 0 ? t->hooks[hook].node : -1;
    if (call < 0 || t->plan.nodes[call].needed || t->run.nodes[call].done) continue;
    t->plan.nodes[call].needed = 1;
    more = true;
  }
  return more;
}

ls_status ls__hook_check(const ls_trace *t) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    if ((node->kind != LS__SEE && node->kind != LS__PUT) || !t->plan.nodes[i].needed || t->hooks[node->hook].node >= 0) continue;
    ls__fail(LS_ERROR_UNREACHED, "this value exists in a call that the script has not written yet");
    ls__fail_point(ls__hook_point_name(t, node));
    ls__fail_site(node->site, 0);
    return LS_ERROR_UNREACHED;
  }
  return LS_OK;
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static ls_status protect(void *who, void *tensor) { return ls__edit_protect(who, tensor); }

/* Whether the node that runs next replaces the value at its point; the module that computes the old value need not run. */
static bool replaces(void *who) {
  const ls_trace *t = who;
  int32_t next = t->run.next < t->plan.ordered ? t->plan.order[t->run.next] : -1;
  return next >= 0 && t->owner.nodes.at[next].kind == LS__PUT && ls__has_inputs(t, next);
}

static ls_status changed(void *who, void *tensor) {
  return ls__twins_follow(who, -1, &(ls_value){.kind = LS_TENSOR, .as.p = tensor});
}

static const ls__watcher watcher = {.protect = protect, .changed = changed, .replaces = replaces};

ls_status ls__hook_begin(ls_trace *t, int32_t hook, const ls_value *s, int32_t n) {
  ls__hook *h = &t->hooks[hook];
  ls_status status = ls__run_new(h->program, s, n, &h->run);
  if (!status) ls__run_watch(h->run, &watcher, t);
  return status;
}

ls_status ls__hook_reach(ls_trace *t, const ls__node *node) {
  ls__hook *h = &t->hooks[node->hook];
  int32_t before = ls_grad_enabled(), mode = t->owner.nodes.at[h->node].autograd;
  if (mode) ls_grad_enable(mode == LS__AUTOGRAD_ON); /* the mode in which the call stands, not that of the line that reads */
  t->running_hook = node->hook;
  ls_status status = h->run ? ls__run_until(h->run, node->slot) : LS_OK;
  t->running_hook = -1;
  if (mode) ls_grad_enable(before);
  if (status || (h->run && ls__run_is_paused_at(h->run, node->slot))) return status;
  return ls__fail(LS_ERROR_UNREACHED, "the call did not reach this point");
}

ls_status ls__hook_see(ls_trace *t, const ls__node *node, ls_value *out) {
  ls_status status = ls__hook_reach(t, node);
  if (status) return status;
  ls__hook *h = &t->hooks[node->hook];
  *out = *ls__run_value(h->run);
  ls_value_retain(out);
  if (!node->flag) return LS_OK;
  ls__run_free(h->run);
  h->run = NULL;
  h->over = true;
  return LS_OK;
}

void ls__hooks_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context) {
  for (int32_t i = 0; i < t->hook_count; i++)
    if (t->hooks[i].run) ls__run_each(t->hooks[i].run, each, context);
}

typedef struct kept {
  void *tensor;
  ls_status status;
} kept;

static void keep(void *context, ls_value *v) {
  kept *k = context;
  if (!k->status && ls__tensor_shares(v->as.p, k->tensor)) k->status = ls__own_memory(v);
}

/* Replaces by copies all values of a run that share memory with `tensor`, which somebody else is about to change. */
static ls_status keep_run(ls__run *r, void *tensor) {
  kept k = {.tensor = tensor};
  int32_t n;
  ls_value *arguments = ls__run_arguments(r, &n);
  for (int32_t i = 0; i < n; i++)
    if (arguments[i].kind == LS_TENSOR) keep(&k, &arguments[i]);
  ls__run_each(r, keep, &k);
  return k.status;
}

ls_status ls__hooks_keep(ls_trace *t, int32_t edit, void *tensor) {
  int32_t rank, inside = edit >= 0 ? ls__hook_of(t, edit, &rank) : t->running_hook;
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->hook_count && !status; i++) {
    const ls__hook *h = &t->hooks[i];
    if (h->run && i != inside && (edit < 0 || h->node < edit)) status = keep_run(h->run, tensor);
  }
  return status;
}

void ls__hooks_forget(ls_trace *t) {
  for (int32_t i = 0; i < t->hook_count; i++) {
    ls__run *run = t->hooks[i].run;
    t->hooks[i].run = NULL;
    t->hooks[i].over = false;
    ls__run_free(run);
  }
}

void ls__hooks_free(ls_trace *t) {
  if (!t->hooks) return;
  ls__hooks_forget(t);
  for (int32_t i = 0; i < t->hook_count; i++) ls_program_release(t->hooks[i].program);
  free(t->hooks);
  t->hooks = NULL;
  t->hook_count = t->hook_room = 0;
}
