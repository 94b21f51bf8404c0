/* The run of a trace. It executes the needed nodes in the order of the plan, has the model run on to the point of the next node
   (pass.c), and returns where the script has to act: to supply the inputs of a pass, the input of a step, or the result of a function. */
#include <stdio.h>
#include <stdlib.h>
#include "trace/trace.h"

/* ---- one node --------------------------------------------------------------------------------------------------- */

/* The arguments of a call, and which of them its module has changed in place. */
typedef struct watched {
  const ls_value *s;
  int32_t n;
  bool changed[LS__LOCAL];
} watched;

static ls_status protect(void *who, void *tensor) {
  (void)who;
  (void)tensor;
  return LS_OK;
}

static ls_status changed(void *who, void *tensor) {
  watched *w = who;
  for (int32_t k = 0; k < w->n && k < LS__LOCAL; k++) w->changed[k] = w->changed[k] || ls__value_reaches(&w->s[k], tensor);
  return LS_OK;
}

static bool replaces(void *who) {
  (void)who;
  return false;
}

static const ls__watcher watcher = {.protect = protect, .changed = changed, .replaces = replaces};

static ls_status run_watched(ls_program *p, watched *w, ls_value *out) {
  ls__run *r;
  ls_status status = ls__run_new(p, w->s, w->n, &r);
  if (status) return status;
  ls__run_watch(r, &watcher, w);
  status = ls__run_finish(r, out);
  ls__run_free(r);
  return status;
}

/* Executes the call of node `id`; `w`, unless it is NULL, becomes what it has changed. */
static ls_status call(ls_trace *t, int32_t id, watched *w, ls_value *out) {
  const ls__node *node = ls__seen(t, id);
  ls_value local[LS__LOCAL], cut = {0};
  bool copies = ls__program_edits(node->program);
  ls_value *s = ls__substitute(node->stream, node->n, t->run.values, local);
  ls_value *own = copies ? calloc((size_t)node->n + 1, sizeof *own) : NULL;
  int32_t narrow = t->plan.nodes[id].narrow;
  ls_status status = s && (own || !copies) ? ls__own_keep(t, node->program)
                                               : ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a call");
  if (!status && copies) status = ls__own_arguments(t, node, s, own);
  if (!status && narrow >= 0 && !(status = ls__narrow_cut(t, narrow, &s[0], &cut))) s[0] = cut;
  int32_t before = ls_grad_enabled();
  if (node->autograd) ls_grad_enable(node->autograd == LS__AUTOGRAD_ON);
  if (w) *w = (watched){.s = s, .n = node->n};
  if (!status) status = node->hook >= 0 ? ls__hook_begin(t, node->hook, s, node->n)
                        : w ? run_watched(node->program, w, out)
                            : ls__program_execute(node->program, s, node->n, out);
  if (node->autograd) ls_grad_enable(before);
  for (int32_t k = 0; w && own && k < node->n && k < LS__LOCAL; k++)
    if (own[k].kind) w->changed[k] = false; /* a copy was */
  ls_value_release(&cut);
  for (int32_t k = 0; own && k < node->n; k++) ls_value_release(&own[k]);
  free(own);
  if (s != local) free(s);
  return status;
}

/* Executes a call whose module may change an argument in place, where several invokes share a batch: what it changes of the rows of an invoke
   is changed wherever they lie, and the other invokes keep their gradients. */
static ls_status call_on_rows(ls_trace *t, int32_t id, ls_value *out) {
  const ls__node *node = ls__seen(t, id);
  watched w;
  int32_t of = -1, count = 0;
  ls_status status = LS_OK;
  for (int32_t k = 0; k < node->n && !status; k++) {
    const ls_value *v = node->stream[k].kind == LS_NODE ? &t->run.values[node->stream[k].aux] : NULL;
    if (t->gradients && v && v->kind == LS_TENSOR && ls__tensor_requires_grad(v->as.p)) status = ls__edit_own(t, v);
  }
  if (!status) status = call(t, id, &w, out);
  if (status) return status;
  for (int32_t k = 0; k < node->n && k < LS__LOCAL; k++) {
    w.changed[k] = w.changed[k] && node->stream[k].kind == LS_NODE && t->run.values[node->stream[k].aux].kind == LS_TENSOR;
    if (!w.changed[k]) continue;
    count += node->stream[k].aux != of;
    of = node->stream[k].aux;
  }
  if (count > 1 && t->run.moved_count)
    status = ls__fail(LS_ERROR_STATE, "among several invokes with gradients a module that a body calls can change one tensor in place; "
                                      "clone what it changes");
  if (!status) status = ls__grad_edited(t, of, count ? &t->run.values[of] : NULL);
  for (int32_t k = 0; k < node->n && k < LS__LOCAL && !status; k++)
    if (w.changed[k]) status = ls__twins_follow(t, id, &t->run.values[node->stream[k].aux]);
  if (status) ls__replace(out, (ls_value){0});
  return status;
}

static ls_status execute(ls_trace *t, int32_t id, ls_value *out) {
  const ls__node *node = ls__seen(t, id);
  ls_status status = ls__own_unchanged(node);
  *out = (ls_value){0};
  if (status) return status;
  if (node->kind == LS__OP && ls__op_addresses(node->op) && (status = ls__own_inside(t, node))) return status;
  if (node->edits >= 0) return ls__edit_value(t, id, out);
  switch (node->kind) {
    case LS__READ:
      if (node->step && (status = ls__own_apart(t, id))) return status;
      *out = *ls__run_value(t->run.model);
      ls_value_retain(out);
      return LS_OK;
    case LS__TEXT:
      *out = t->run.text;
      ls_value_retain(out);
      return LS_OK;
    case LS__PAD:
      *out = (ls_value){.kind = LS_INT, .as.i = node->stream[0].as.i + (node->step ? 0 : t->run.invokes[node->invoke].pad)};
      return LS_OK;
    case LS__ROWS:
      status = ls__rows_take(t, id, node->stream[0].kind == LS_NODE ? &t->run.values[node->stream[0].aux] : &node->stream[0], out);
      break;
    case LS__WRITE: return ls__edit_write(t, id);
    case LS__CALL:
      if (node->hook < 0 && ls__program_edits(node->program) && ls__rows_several(t)) return call_on_rows(t, id, out);
      return call(t, id, NULL, out);
    case LS__SEE: return ls__hook_see(t, node, out);
    case LS__PUT: return ls__edit_put(t, id);
    case LS__SETGRAD:
    case LS__GRAD: return ls__fail(LS_ERROR_STATE, "the loss does not depend on this value, so it has no gradient");
    case LS__BACKWARD: return ls__grad_backward(t, id);
    default: status = ls__node_execute(node, t->run.values, out);
  }
  if (status || out->kind == LS_TENSOR || !(status = ls__rows_told(t, id, out))) return status;
  ls__replace(out, (ls_value){0});
  return status;
}

/* Returns the node that an error about node `id` names: the read or gradient of which the value of node `id` is a view or an element, or,
   where there is none, the node of the outermost value that contains it. */
static int32_t stands_for(const ls_trace *t, int32_t id) {
  for (int32_t above = id; above >= 0 && t->owner.nodes.at[id].slot < 0; above = ls__trace_above(t, above)) id = above;
  return id;
}

/* Adds to a node's error, where it has none yet, its site and the point that the node reads or edits, or else the point at which the model is paused. */
void ls__trace_explain(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at, *node = &nodes[id];
  int32_t of = stands_for(t, node->edits >= 0 ? node->edits : id);
  bool grad = nodes[of].kind == LS__GRAD;
  if (grad && nodes[of].stream[0].kind == LS_NODE) of = stands_for(t, nodes[of].stream[0].aux);
  const ls__node *at = nodes[of].kind == LS__READ || node->kind == LS__WRITE ? &nodes[of] : NULL;
  bool hooked = nodes[of].kind == LS__SEE || nodes[of].kind == LS__PUT;
  ls_program *p = at && at->invoke >= 0 ? t->invokes[at->invoke].program : t->run.program;
  if (!*ls_error_point() && (p || hooked)) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", hooked ? ls__hook_point_name(t, &nodes[of]) :
             ls_program_point_name(p, at ? at->slot : ls__point_of(t->run.now)), grad && (at || hooked) ? ".grad" : "");
    ls__fail_point(name);
  }
  if (!ls_error_site()) ls__fail_site(node->site, 0);
}

/* Returns the node of the larger value that the run has to keep as long as the value of node `id`, a view or an element of it; -1 where
   there is none. The larger value is kept so that an edit of the view changes it too. */
static int32_t looks_into(const ls_trace *t, int32_t id) {
  int32_t above = ls__trace_above(t, id);
  if (above < 0) return -1;
  const ls_value *v = &t->run.values[id], *of = &t->run.values[above];
  if (t->owner.nodes.at[id].kind == LS__ROWS) return above;
  /* the sequence `of` was itself taken out of a larger value, which is kept in the same way */
  if (of->kind != LS_TENSOR && t->run.nodes[above].keeps_above) return above;
  if (of->kind != LS_TENSOR) return v->kind == LS_TENSOR && t->owner.nodes.at[above].kind == LS__OP ? above : -1;
  return v->kind != LS_TENSOR || ls__tensor_shares(v->as.p, of->as.p) ? above : -1;
}

void ls__trace_let_go(ls_trace *t, int32_t id) {
  while (t->plan.nodes[id].uses <= 0 && !t->owner.nodes.at[id].saved && !(t->run.demand_open && t->handles[id])) {
    ls__replace(&t->run.values[id], (ls_value){0});
    if (!t->run.nodes[id].keeps_above) return;
    t->run.nodes[id].keeps_above = 0;
    id = ls__trace_above(t, id);
    t->plan.nodes[id].uses--;
  }
}

/* Stores `value` as the value of the executed node `id`, and frees the values of its inputs that no other node needs. */
static ls_status settle(ls_trace *t, int32_t id, ls_value value) {
  ls__ran *ran = &t->run.nodes[id];
  ls__replace(&t->run.values[id], value);
  ran->done = 1;
  const ls__planned *own = &t->plan.nodes[id];
  ls_status status = own->tracked ? ls__grad_watch(t, id) : LS_OK;
  if (!status && own->edited >= 0 && own->root == id && t->owner.nodes.at[id].kind != LS__READ) status = ls__late_shared(t, id);
  if (status) return status;
  int32_t above = looks_into(t, id);
  ran->keeps_above = above >= 0; /* the value in whose memory this view lies is not released before the view */
  const ls__node *node = ls__seen(t, id);
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_NODE) {
      int32_t input = node->stream[k].aux;
      if (input == above) {
        above = -1;
        continue;
      }
      t->plan.nodes[input].uses--;
      ls__trace_let_go(t, input);
    }
  ls__trace_let_go(t, id);
  return LS_OK;
}

ls_status ls__execute_now(ls_trace *t, int32_t id) {
  ls_value value;
  ls_status status = ls__interrupt_listen();
  if (!status && !(status = execute(t, id, &value))) status = settle(t, id, value);
  if (status) ls__trace_explain(t, id);
  return status;
}

bool ls__has_inputs(const ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_NODE && !t->run.nodes[node->stream[k].aux].done) return false;
  int32_t call = node->kind == LS__SEE || node->kind == LS__PUT ? t->hooks[node->hook].node : -1;
  return call < 0 || t->run.nodes[call].done;
}

/* ---- from need to need ------------------------------------------------------------------------------------------ */

static ls_status ask_script(ls_trace *t, int32_t id, ls_event *event) {
  int32_t n = ls__seen(t, id)->n;
  ls_value local[LS__LOCAL], *s = n <= LS__LOCAL ? local : malloc(sizeof *s * (size_t)n), arguments;
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a call");
  ls_status status = ls__own_give(t, id, s);
  if (!status) status = ls_value_build(s, n, &arguments);
  if (!status) *event = (ls_event){.kind = LS_EVENT_HOST, .node = id, .value = arguments};
  if (s != local) free(s);
  return status;
}

ls_status ls_trace_supply(ls_trace *t, int32_t node, const ls_value *value) {
  LS__NEED(t && value && node >= 0 && node < t->owner.nodes.count);
  ls_value own, local[1];
  ls_status status = ls__trace_check_open(t);
  if (!status && (t->owner.nodes.at[node].kind != LS__HOST || t->run.nodes[node].done))
    status = ls__fail(LS_ERROR_STATE, "node %d does not wait for the result of a function of the script", node);
  if (!status) status = ls__value_check(value);
  if (!status) status = ls__arguments_check(value, 1);
  if (!status) status = ls__resolve(value, 1, local, &value); /* the value may be that of a trace which the function has run */
  if (!status) status = ls__own(value, 1, &own);
  if (status) return status;
  if ((status = ls__own_take(t, node, &own))) {
    ls_value_release(&own);
    return status;
  }
  return settle(t, node, own);
}

/* Fails where node `id` is an edit whose point or value the run did not reach, since the edit would otherwise be lost silently. Any other
   node just stays without a value. */
static ls_status unreachable_need(const ls_trace *t, int32_t id) {
  int32_t point = ls__point_node(t, id);
  const ls__node *node = &t->owner.nodes.at[id], *at = &t->owner.nodes.at[point];
  bool hooked = at->kind == LS__SEE || at->kind == LS__PUT;
  bool changes = node->kind == LS__WRITE || node->kind == LS__PUT || (node->edits >= 0 && (at->kind == LS__READ || hooked));
  if (!changes || at->stored || !t->run.model || ls__pass_left(t, point)) return LS_OK;
  if (hooked || (t->run.paused && t->plan.nodes[point].time == t->run.now))
    ls__fail(LS_ERROR_UNREACHED, "this edit is lost: the run did not compute the value that it needs");
  else
    ls__fail(LS_ERROR_UNREACHED, "this edit is lost: the model does not run this part in step %d", at->step);
  ls__fail_point(hooked ? ls__hook_point_name(t, at) : ls__trace_point_name(t, at->invoke, at->slot));
  ls__fail_site(node->site, 0);
  return LS_ERROR_UNREACHED;
}

/* Whether an edit of the value of node `id` is recorded that has not run yet. */
static bool awaits_edit(const ls_trace *t, int32_t id) {
  int32_t root = t->plan.nodes[id].root, edited = root >= 0 ? t->plan.nodes[root].edited : -1;
  return edited >= 0 && !t->run.nodes[edited].done;
}

static ls_status go(ls_trace *t, int32_t demanded, int64_t until, ls_event *event) {
  for (; t->run.next < t->plan.ordered; t->run.next++) {
    int32_t id = t->plan.order[t->run.next];
    /* what comes at the same time may be the rest of a call, in which the script can still edit */
    if (t->hook_count && demanded >= 0 && t->run.nodes[demanded].done && !awaits_edit(t, demanded)) break;
    if (t->run.nodes[id].done) continue;
    if (t->plan.nodes[id].time > until) break;
    while (t->plan.nodes[id].time > t->run.now) {
      ls_status status = ls__pass_reach(t, id, event);
      if (status || event->kind) return status;
    }
    uint8_t kind = t->owner.nodes.at[id].kind;
    bool here = t->run.model && t->run.paused && t->plan.nodes[id].time == t->run.now;
    bool came = ((kind != LS__READ && kind != LS__WRITE) || (here && !ls__pass_left(t, id))) && ls__has_inputs(t, id);
    if (came && kind == LS__HOST) return ask_script(t, id, event);
    ls_status status = came ? ls__execute_now(t, id) : unreachable_need(t, id);
    if (status) return status;
  }
  return LS_OK;
}

static ls_status run(ls_trace *t, int32_t demanded, ls_event *event) {
  ls_status status = t->plan.holds ? LS_OK : ls__plan_make(t, demanded);
  if (status) return status;
  ls__mode saved;
  ls__mode_enter(ls__grad_records(t), &saved);
  t->run.mode = &saved;
  if (t->owner.shapes) ls__scan_enter(true);
  ls__interrupt_begin(t->invoke_count ? ls__program_brief(t->invokes[0].program) : NULL);
  ls__own_enter(t);
  status = go(t, demanded, demanded < 0 ? INT64_MAX : ls__settled_time(t, demanded, INT32_MAX), event);
  if (!status) status = ls__interrupt_check();
  if (!status && (demanded >= 0 || event->kind)) status = ls__own_leave(t);
  ls__interrupt_end();
  if (t->owner.shapes) ls__scan_enter(false);
  ls__mode_leave(&saved);
  t->run.mode = NULL;
  return status;
}

ls_status ls_trace_run(ls_trace *t, const ls_value *demanded, int64_t site, ls_event *event) {
  LS__NEED(t && event && (!demanded || (ls__is_node(demanded) && demanded->as.p == t)));
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  ls_event came = {0};
  int32_t id = demanded ? demanded->aux : -1;
  if (demanded) {
    if (t->run.nodes[id].done && !awaits_edit(t, id)) {
      *event = came;
      return LS_OK;
    }
    t->run.demand_site = site;
    if (!t->run.demand_open) t->plan.holds = false;
  } else if (t->run.demand_open) {
    t->plan.holds = false;
  }
  t->run.demand_open = demanded != NULL;
  t->owner.references++;
  status = run(t, id, &came);
  if (status) ls__trace_close(t, false);
  else if (!demanded && !came.kind) ls__trace_close(t, true);
  ls_trace_release(t);
  if (status) ls_value_release(&came.value);
  else *event = came;
  return status;
}
