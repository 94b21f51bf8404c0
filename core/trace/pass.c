/* Runs the model under a trace: begins and ends passes and steps, lets the model run to a point and pauses it there, and answers what the
   interpreter asks through ls__watcher. */
#include <stdlib.h>
#include "trace/trace.h"

bool ls__pass_left(const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  const ls__running_invoke *of = node->invoke >= 0 ? &t->run.invokes[node->invoke] : NULL;
  return of && of->ended && ls__step_of(t->plan.nodes[id].time) >= of->came;
}

/* ---- what the model's run asks ---------------------------------------------------------------------------------- */

/* Whether the write at place `k` of the plan's order writes at a point at which its invoke has written before, so that it replaces the same
   rows again. */
static bool writes_again(const ls_trace *t, int32_t k) {
  const ls__node *nodes = t->owner.nodes.at;
  for (int32_t i = t->run.next; i < k; i++)
    if (nodes[t->plan.order[i]].invoke == nodes[t->plan.order[k]].invoke) return true;
  return false;
}

static bool replaces(void *who) {
  const ls_trace *t = who;
  const int32_t *order = t->plan.order;
  if (t->run.next >= t->plan.ordered) return false;
  int32_t first = order[t->run.next], rows = 0;
  if (t->owner.nodes.at[first].kind != LS__WRITE) return false;
  for (int32_t k = t->run.next; k < t->plan.ordered; k++) { /* the writes of several invokes at this point may together replace all rows */
    const ls__node *other = &t->owner.nodes.at[order[k]];
    if (t->plan.nodes[order[k]].time != t->plan.nodes[first].time || other->kind != LS__WRITE) return false;
    if (!ls__has_inputs(t, order[k]) || ls__pass_left(t, order[k])) return false;
    if (ls__rows_all(t, other->invoke)) return true;
    if (writes_again(t, k)) continue;
    rows += t->run.invokes[other->invoke].rows;
    if (rows >= t->run.rows) return true;
  }
  return false;
}

static ls_status protect(void *who, void *tensor) { return ls__edit_protect(who, tensor); }

static ls_status changed(void *who, void *tensor) {
  return ls__twins_follow(who, -1, &(ls_value){.kind = LS_TENSOR, .as.p = tensor});
}

static ls_status cut(void *who, const ls_value *argument, ls_value *out) {
  return ls__narrow_cut(who, ((ls_trace *)who)->plan.narrow_item, argument, out);
}

static ls_status made(void *who, ls_value *value) { return ls__grad_made(who, value); }

static const ls__watcher watcher = {protect, changed, replaces, cut, made};

/* ---- beginning and ending --------------------------------------------------------------------------------------- */

static void end_run(ls_trace *t) {
  ls__twins_leave(t);
  ls__run_free(t->run.model);
  t->run.model = NULL;
}

/* Begins a run of the program `p`. The nodes number points as the program of the pass's first invoke does; where `p` is another program,
   the function makes a map from these numbers to those of `p`. */
static ls_status begin(ls_trace *t, int32_t pass, int32_t step, ls_program *p, const ls_value *args, int32_t n) {
  int32_t first = 0;
  while (first < t->invoke_count && t->plan.invokes[first].pass != pass) first++;
  if (first == t->invoke_count) return ls__fail(LS_ERROR_ARGUMENT, "this trace has no pass with the given number");
  t->run.program = t->invokes[first].program;
  for (int32_t i = first; i < t->invoke_count; i++)
    if (t->plan.invokes[i].pass == pass && t->invokes[i].program != t->run.program)
      return ls__fail(LS_ERROR_STATE, "the inputs of one pass have to call the same modules: invokes %d and %d do not", first + 1, i + 1);
  free(t->run.map);
  t->run.map = NULL;
  ls_status status = t->run.program != p ? ls__program_map(t->run.program, p, &t->run.map) : LS_OK;
  if (!status) status = ls__own_keep(t, p);
  if (!status) status = ls__run_new(p, args, n, &t->run.model);
  if (!status && ls__program_edits(p)) status = ls__own_inputs(t);
  if (status) return status;
  ls__run_watch(t->run.model, &watcher, t);
  ls__run_narrow(t->run.model, t->plan.narrow_instance);
  t->run.now = LS__TIME(pass, step, 0) - 1;
  t->run.paused = false;
  for (int32_t i = first; i < t->invoke_count; i++)
    if (t->plan.invokes[i].pass == pass && !t->run.invokes[i].ended) t->run.invokes[i].came = step + 1;
  ls__grad_arrive(t);
  return t->gradients ? ls__grad_origins(t) : LS_OK;
}

/* Returns the only invoke with input in the pass `pass`; -1 where the pass has several, -2 where it has none. */
static int32_t only_input(const ls_trace *t, int32_t pass) {
  int32_t found = -2;
  for (int32_t i = 0; i < t->invoke_count; i++)
    if (t->plan.invokes[i].pass == pass && t->invokes[i].kind != LS_INVOKE_ALL) found = found == -2 ? i : -1;
  return found;
}

static ls_status begin_pass(ls_trace *t, int32_t pass, ls_event *event) {
  int32_t invoke = only_input(t, pass);
  if (invoke == -2)
    return ls__fail(LS_ERROR_CYCLE, "an invoke without input sees the rows of a pass, and pass %d has none: no invoke with input runs "
                                    "after the values that it uses", pass + 1);
  for (int32_t i = 0; i < t->invoke_count; i++)
    if (t->plan.invokes[i].pass == pass) {
      ls_status status = ls__arguments_unchanged(t->invokes[i].arguments, t->invokes[i].argument_count,
                                                 "the input was changed in place before the model ran; clone it where it is given");
      if (status) return status;
    }
  const ls__invoke *alone = invoke >= 0 ? &t->invokes[invoke] : NULL;
  if (!alone || alone->steps || alone->kind == LS_INVOKE_ROWS) {
    *event = (ls_event){.kind = LS_EVENT_PASS, .pass = pass};
    return LS_OK;
  }
  return begin(t, pass, 0, alone->program, alone->arguments, alone->argument_count);
}

ls_status ls_trace_rows(ls_trace *t, int32_t invoke, int32_t first, int32_t rows, int32_t pad) {
  LS__NEED(t && first >= 0 && rows >= 0 && pad >= 0);
  if (invoke < 0 || invoke >= t->invoke_count) return ls__fail(LS_ERROR_ARGUMENT, "this trace has no invoke with the given number");
  ls__running_invoke *running = &t->run.invokes[invoke];
  if (!rows && running->came) {
    running->ended = true;
    return LS_OK;
  }
  running->first = first;
  running->rows = rows;
  running->pad = pad;
  return LS_OK;
}

ls_status ls_trace_begin(ls_trace *t, int32_t pass, int32_t step, ls_program *p, const ls_value *args, int32_t n, int32_t rows) {
  LS__NEED(t && p && pass >= 0 && step >= 0 && step < LS__LAST && rows >= 0);
  ls_value local[LS__LOCAL];
  const ls_value *given;
  ls_status status = ls__trace_check_open(t);
  if (!status) status = ls__arguments_valid(args, n);
  if (!status) status = ls__arguments_check(args, n);
  if (!status) status = ls__resolve(args, n, local, &given);
  if (status) return status;
  t->run.rows = rows;
  end_run(t);
  status = begin(t, pass, step, p, given, n);
  ls__resolved_free(given, args, local);
  return status;
}

ls_status ls_trace_end(ls_trace *t, const ls_value *text) {
  LS__NEED(t && text && text->kind != LS_NODE);
  ls_status status = ls__trace_check_open(t);
  if (!status) status = ls__value_check(text);
  ls_value kept = *text;
  if (!status) status = ls__value_keep(&kept);
  if (status) return status;
  end_run(t);
  ls__replace(&t->run.text, kept);
  t->run.now = LS__TIME(ls__pass_of(t->run.now), LS__LAST, LS__LAST);
  t->run.paused = true;
  return LS_OK;
}

/* Adds to an error of the model, as its second script line, the line of the last edit that replaced a value before the error, since that
   edit may be the cause. */
static ls_status after_edit(const ls_trace *t, ls_status status) {
  int64_t site = 0, last = -1;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    int64_t time = t->plan.nodes[i].time;
    uint8_t of = node->kind == LS__SETITEM && node->edits >= 0 ? t->owner.nodes.kinds[node->edits] : (uint8_t)LS_NONE;
    bool replaces = node->kind == LS__WRITE || of == LS_TUPLE || of == LS_STRUCT;
    if (!replaces || !t->run.nodes[i].done || ls__pass_of(time) != ls__pass_of(t->run.now) || time < last) continue;
    last = time;
    site = node->site;
  }
  if (site && status != LS_ERROR_INTERRUPTED) ls__fail_site(ls_error_site(), site);
  return status;
}

/* Runs a step of the model to its end and makes the event that asks the script for the next step. */
static ls_status end_step(ls_trace *t, ls_event *event) {
  ls_value result;
  ls__twins_leave(t);
  ls_status status = ls__run_finish(t->run.model, &result);
  if (status) return after_edit(t, status);
  int32_t pass = ls__pass_of(t->run.now + 1), step = ls__step_of(t->run.now + 1);
  t->run.now = LS__TIME(pass, step, LS__LAST);
  t->run.paused = true;
  *event = (ls_event){.kind = LS_EVENT_STEP, .pass = pass, .step = step, .value = result};
  end_run(t);
  return LS_OK;
}

/* ---- moving on -------------------------------------------------------------------------------------------------- */

/* Returns an error that says that this run does not reach the point of node `id`. In a generation the function returns LS_OK instead, and
   the node stays without a value. */
static ls_status unreached(const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  if (t->invokes[node->invoke].steps) return LS_OK;
  ls__fail(LS_ERROR_UNREACHED, "the model did not reach this point in this pass");
  ls__fail_point(ls__trace_point_name(t, node->invoke, node->slot));
  ls__fail_site(node->site, 0);
  return LS_ERROR_UNREACHED;
}

ls_status ls__pass_reach(ls_trace *t, int32_t id, ls_event *event) {
  int64_t time = t->plan.nodes[id].time, now = t->run.now;
  int32_t pass = ls__pass_of(time), step = ls__step_of(time);
  int32_t at = t->run.model ? ls__pass_of(now + 1) : now < 0 ? -1 : ls__pass_of(now);
  if (at != pass) {
    end_run(t);
    return begin_pass(t, pass, event);
  }
  if (!t->run.model) { /* no step of the model runs any more, since the generation of this pass has ended */
    t->run.now = time;
    t->run.paused = false;
    return LS_OK;
  }
  if (ls__step_of(now + 1) != step) return end_step(t, event);
  ls__twins_leave(t);
  int32_t point = ls__point_of(time), target = t->run.map ? t->run.map[point] : point;
  ls_status status = target >= 0 ? ls__run_until(t->run.model, target) : LS_OK;
  if (status) return after_edit(t, status);
  t->run.now = time;
  t->run.paused = target >= 0 && ls__run_is_paused_at(t->run.model, target);
  if (t->run.paused && t->gradients) ls__grad_arrive(t);
  return t->run.paused ? LS_OK : unreached(t, id);
}
