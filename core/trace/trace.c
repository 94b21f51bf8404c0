/* Opens and closes traces, and answers what the script asks of the values of a trace. */
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- handles ---------------------------------------------------------------------------------------------------- */

static void node_retain(void *trace, int32_t node) {
  ls_trace *t = trace;
  t->owner.references++;
  t->handles[node]++;
}

static void clear(ls_value *v) { ls__replace(v, (ls_value){0}); }

static void node_release(void *trace, int32_t node) {
  ls_trace *t = trace;
  if (--t->handles[node] == 0 && !t->owner.open) {
    t->run.nodes[node].done = 0;
    clear(&t->run.values[node]);
  }
  ls_trace_release(t);
}

/* Returns the number of steps that were begun in the generation which the value of node `id` comes from. */
static int32_t steps_of(const ls_trace *t, int32_t id) {
  while (t->plan.nodes[id].latest >= 0 && t->owner.nodes.at[id].kind != LS__READ) id = t->plan.nodes[id].latest;
  int32_t invoke = t->owner.nodes.at[id].invoke;
  return !t->owner.open && invoke >= 0 && invoke < t->invoke_count ? t->run.invokes[invoke].came : 0;
}

/* Fails with an error that says why node `id` has no value. */
static ls_status unset(const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  int32_t step = ls__step_of(t->plan.nodes[id].time), came = steps_of(t, id);
  bool ended = !t->owner.open && node->saved;
  if (!t->owner.open && t->kept && t->run.now < 0)
    ls__fail(LS_ERROR_UNSET, "this value belongs to a stored edit, to which nothing can be added any more");
  else if (ended && t->plan.nodes[id].unreachable)
    ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: a stop or a skip kept the run from computing it.");
  else if (ended && came > 1 && step < came)
    ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: the model does not run this part in step %d.", step);
  else if (ended && came && step >= came && step < LS__LAST)
    ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: step %d did not run, since the text ended after %d steps.",
             step, came);
  else if (ended)
    ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set: its trace ended before the value was computed.");
  else
    ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set.");
  ls__fail_site(node->site, 0);
  return LS_ERROR_UNSET;
}

static ls_status node_value(void *trace, int32_t node, bool open, ls_value *out) {
  const ls_trace *t = trace;
  bool has = t->run.nodes[node].done && (t->owner.open ? open : t->owner.nodes.at[node].saved);
  *out = has ? t->run.values[node] : (ls_value){0};
  return has ? LS_OK : unset(t, node);
}

static const ls__owner_type trace_type = {node_retain, node_release, node_value};

ls_trace *ls__trace_of(const ls_value *node) {
  return ls__is_node(node) && ((const ls__owner *)node->as.p)->type == &trace_type ? node->as.p : NULL;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

ls_status ls_trace_open(ls_trace **out) {
  LS__NEED(out);
  ls_trace *t = malloc(sizeof *t); /* not calloc, which takes no memory from the thread's cache */
  if (!t) return ls__fail(LS_ERROR_MEMORY, "out of memory for a trace");
  memset(t, 0, sizeof *t);
  t->owner.type = &trace_type;
  t->owner.references = 1;
  t->owner.open = true;
  t->run.now = t->plan.track = t->plan.narrow_instance = t->running_hook = -1;
  ls__live_add(1);
  *out = t;
  return LS_OK;
}

static void end_run(ls_trace *t) {
  ls__twins_free(t);
  ls__late_free(t);
  free(t->run.supplied);
  t->run.supplied = NULL;
  t->run.supplied_count = t->run.supplied_room = 0;
  ls__run *r = t->run.model;
  t->run.model = NULL;
  ls__run_free(r);
}

/* Releases the run's own copy of a node, so that the node is again as it was recorded. */
static void drop_instead(ls__ran *ran) {
  if (!ran->instead) return;
  ls__stream_free(ran->instead->stream, ran->instead->n);
  ls__call_free(ran->instead->call);
  free(ran->instead);
  ran->instead = NULL;
}

ls__node *ls__trace_own_node(ls_trace *t, int32_t id) {
  ls__ran *ran = &t->run.nodes[id];
  if (ran->instead) return ran->instead;
  const ls__node *node = &t->owner.nodes.at[id];
  ls__node *own = malloc(sizeof *own);
  ls_value *stream = malloc(sizeof *stream * (size_t)(node->n ? node->n : 1));
  if (!own || !stream) {
    free(own);
    free(stream);
    return NULL;
  }
  for (int32_t k = 0; k < node->n; k++) {
    stream[k] = node->stream[k];
    if (stream[k].kind != LS_NODE) ls_value_retain(&stream[k]);
  }
  *own = *node;
  own->stream = stream;
  own->call = NULL;
  return ran->instead = own;
}

void ls__trace_forget(ls_trace *t) {
  end_run(t);
  ls__grad_close(t);
  ls__hooks_forget(t);
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    ls__ran *ran = &t->run.nodes[i];
    ran->done = ran->keeps_above = 0;
    drop_instead(ran);
    clear(&t->run.values[i]);
  }
  t->run.now = -1;
  t->run.paused = false;
}

/* Releases the recording of a trace, except for the nodes' kinds and script lines, since handles to an ended trace ask for these. */
static void drop_recording(ls_trace *t) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++) ls__node_clear(&t->owner.nodes.at[i]);
  ls__hooks_free(t);
  for (int32_t i = 0; i < t->invoke_count; i++) {
    ls__invoke *invoke = &t->invokes[i];
    ls__stream_free(invoke->arguments, invoke->argument_count);
    invoke->arguments = NULL;
    invoke->argument_count = 0;
    ls_program_release(invoke->program);
    ls_program_release(invoke->given);
    free(invoke->map);
    invoke->program = invoke->given = NULL;
    invoke->map = NULL;
  }
}

/* Moves the arrays of the plan and the run that have one entry for each node into one block of memory with room for `room` nodes. */
static bool set_room(ls_trace *t, int32_t room, int32_t count) {
  size_t n = (size_t)room, used = (size_t)count;
  ls_value *values = malloc(n * (sizeof(ls_value) + sizeof(ls__planned) + sizeof(ls__ran) + sizeof(int32_t)));
  if (!values) return false;
  ls__planned *planned = (ls__planned *)(void *)(values + n);
  ls__ran *ran = (ls__ran *)(void *)(planned + n);
  int32_t *handles = (int32_t *)(void *)(ran + n);
  if (used) {
    memcpy(values, t->run.values, used * sizeof *values);
    memcpy(planned, t->plan.nodes, used * sizeof *planned);
    memcpy(ran, t->run.nodes, used * sizeof *ran);
    memcpy(handles, t->handles, used * sizeof *handles);
  }
  free(t->run.values);
  t->run.values = values;
  t->plan.nodes = planned;
  t->run.nodes = ran;
  t->handles = handles;
  t->room = room;
  return true;
}

bool ls__trace_make_room(ls_trace *t) {
  int32_t last = t->owner.nodes.count - 1;
  if (t->owner.nodes.room > t->room && !set_room(t, t->owner.nodes.room, last)) return false;
  t->run.values[last] = (ls_value){0};
  t->run.nodes[last] = (ls__ran){0};
  t->plan.nodes[last] = ls__unplanned;
  t->handles[last] = 0;
  return true;
}

/* Ends a trace. The caller must hold a reference to the trace, since a value released here may hold the last handle to it. */
static void end(ls_trace *t, bool keep) {
  t->owner.open = false;
  end_run(t);
  ls__hooks_forget(t);
  ls__grad_close(t);
  ls__own_put_back(t);
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    ls__ran *ran = &t->run.nodes[i];
    drop_instead(ran);
    if (keep && t->owner.nodes.at[i].saved && t->handles[i]) continue;
    ran->done = 0;
    clear(&t->run.values[i]);
  }
  if (!keep || !t->kept) {
    t->kept = false;
    drop_recording(t);
    ls__nodes_trim(&t->owner.nodes);
    if (t->owner.nodes.count < t->room && t->owner.nodes.count) set_room(t, t->owner.nodes.count, t->owner.nodes.count);
  }
  free(t->plan.order);
  t->plan.order = NULL;
  t->plan.order_room = 0;
  free(t->run.map);
  t->run.map = NULL;
  clear(&t->run.text);
}

void ls__trace_close(ls_trace *t, bool keep) {
  t->owner.references++;
  end(t, keep);
  ls_trace_release(t);
}

void ls_trace_release(ls_trace *t) {
  if (!t || --t->owner.references) return;
  t->owner.references++; /* this reference keeps the trace alive, since a value freed below may hold the last handle to the trace */
  t->kept = false;
  if (t->owner.open) end(t, false);
  else drop_recording(t);
  for (int32_t i = 0; i < t->owner.nodes.count; i++) clear(&t->run.values[i]);
  ls__nodes_free(&t->owner.nodes);
  ls_module_release(t->module);
  free(t->run.values); /* this frees all arrays with one entry for each node, since they are in one block of memory */
  free(t->invokes);    /* this frees all arrays with one entry for each invoke, since they are in one block of memory */
  free(t);
  ls__live_add(-1);
}

void ls_trace_abandon(ls_trace *t) {
  if (t && t->owner.open) ls__trace_close(t, t->kept);
}

void ls_trace_keep(ls_trace *t) {
  if (t) t->kept = true;
}

ls_status ls_trace_rewind(ls_trace *t) {
  LS__NEED(t);
  if (!t->owner.open && !t->kept)
    return ls__fail(LS_ERROR_STATE, "this trace has ended and has not kept its recording; call ls_trace_keep before it ends");
  ls__trace_forget(t);
  free(t->run.map);
  t->run.map = NULL;
  clear(&t->run.text);
  t->run.next = t->run.rows = 0;
  t->run.program = NULL;
  t->run.demand_site = 0;
  t->run.demand_open = false;
  for (int32_t i = 0; i < t->invoke_count; i++) t->run.invokes[i] = (ls__running_invoke){0};
  t->owner.open = true;
  return ls__time_again(t);
}

ls_status ls__trace_check_open(const ls_trace *t) {
  return t && t->owner.open ? LS_OK : ls__fail(LS_ERROR_STATE, "this trace has already ended");
}

/* ---- the end of need -------------------------------------------------------------------------------------------- */

ls_status ls_trace_save(const ls_value *node) {
  LS__NEED(ls__is_node(node));
  ls_trace *t = ls__trace_of(node);
  if (t && !t->owner.open && t->run.nodes[node->aux].done) return LS_OK;
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  t->owner.nodes.at[node->aux].saved = 1;
  t->plan.holds = false;
  return LS_OK;
}

void ls_trace_optional(const ls_value *read) {
  ls_trace *t = ls__trace_of(read);
  if (!t) return;
  ls__node *node = &t->owner.nodes.at[read->aux];
  if (node->kind == LS__ROWS) node = &t->owner.nodes.at[node->stream[0].aux];
  node->flag = node->kind == LS__READ;
  t->plan.holds = false;
}

ls_status ls_trace_stop(ls_trace *t, int32_t invoke) {
  LS__NEED(t && invoke >= 0 && invoke < t->invoke_count);
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  int64_t last = 0;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    int64_t local = LS__TIME(0, node->step, node->slot);
    bool names = (node->kind == LS__READ || node->kind == LS__WRITE) && node->invoke == invoke && !node->stored;
    if (names && local > last) last = local;
  }
  t->invokes[invoke].stop = last;
  t->plan.holds = false;
  return LS_OK;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

int32_t ls_node_is_set(const ls_value *node) {
  if (!ls__is_node(node)) return -1;
  const ls_trace *t = ls__trace_of(node);
  return t && !t->owner.open && t->owner.nodes.at[node->aux].saved && t->run.nodes[node->aux].done;
}

ls_status ls_trace_value(const ls_value *value, ls_value *out) {
  LS__NEED(ls__is_node(value) && out);
  const ls__owner *o = value->as.p;
  ls_value v;
  ls_status status = o->type->value(value->as.p, value->aux, true, &v);
  if (status) return status;
  ls_value_retain(&v);
  *out = v;
  return LS_OK;
}

int64_t ls_trace_bytes(ls_trace *t) {
  if (!t) return -1;
  int64_t bytes = 0;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) bytes += ls_value_bytes(&t->run.values[i]);
  return bytes;
}
