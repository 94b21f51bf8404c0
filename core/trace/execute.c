/* The run of a trace: goes from need to need in the order of the plan, moves the model on to the point of the next one, and
   returns where the script has to act: to give the inputs of a pass, the input of a step, the result of a function. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- one node --------------------------------------------------------------------------------------------------- */

static ls_status call(ls_graph *g, ls__node *node, ls_value *out) {
  ls_value local[LS__LOCAL], cut = {0};
  bool copies = node->program->in_place;
  ls_value *s = ls__substitute(node, g->values, local), *own = copies ? calloc((size_t)node->n + 1, sizeof *own) : NULL;
  ls_status status = s && (own || !copies) ? ls__own_keep(g, node->program) : ls__fail(LS_ERROR_MEMORY, "out of memory for arguments");
  if (!status && copies) status = ls__own_arguments(g, node, s, own);
  if (!status && node->narrow >= 0 && !(status = ls__narrow_cut(g, node->narrow, &s[0], &cut))) s[0] = cut;
  if (!status) status = ls__program_execute(node->program, s, node->n, out);
  ls_value_release(&cut);
  for (int32_t k = 0; own && k < node->n; k++) ls_value_release(&own[k]);
  free(own);
  if (s != local) free(s);
  return status;
}

static ls_status execute(ls_graph *g, int32_t id, ls_value *out) {
  ls__node *node = &g->nodes[id];
  ls_status status = ls__own_unchanged(node);
  *out = (ls_value){0};
  if (status) return status;
  if (node->kind == LS__OP && ls__op_addresses(node->op) && (status = ls__own_inside(g, node))) return status;
  if (node->edits >= 0) return ls__edit_value(g, id, out);
  switch (node->kind) {
    case LS__READ:
      *out = g->run->value;
      ls_value_retain(out);
      return LS_OK;
    case LS__TEXT:
      *out = g->text;
      ls_value_retain(out);
      return LS_OK;
    case LS__PAD:
      *out = (ls_value){.kind = LS_INT, .as.i = node->stream[0].as.i + (node->step ? 0 : g->invokes[node->invoke].pad)};
      return LS_OK;
    case LS__ROWS: return ls__rows_take(g, id, &g->values[node->stream[0].aux], out);
    case LS__WRITE: return ls__edit_write(g, node);
    case LS__CALL: return call(g, node, out);
    case LS__GRAD: return ls__fail(LS_ERROR_STATE, "the loss does not depend on this value, so it has no gradient");
    case LS__BACKWARD: return ls__grad_backward(g, id);
    default: return ls__node_execute(node, g->values, out);
  }
}

/* The node at a point, or the gradient, that the value of `id` is a piece of; else the first of its views and pieces. */
static int32_t stands_for(const ls_graph *g, int32_t id) {
  for (int32_t above = id; above >= 0 && g->nodes[id].slot < 0; above = ls__trace_above(g, above)) id = above;
  return id;
}

/* The error of a node names the point that the node reads or edits, or else the one the run stands at. */
static void explain(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  int32_t of = stands_for(g, node->edits >= 0 ? node->edits : id);
  bool grad = g->nodes[of].kind == LS__GRAD;
  if (grad) of = stands_for(g, g->nodes[of].stream[0].aux);
  const ls__node *at = g->nodes[of].kind == LS__READ || node->kind == LS__WRITE ? &g->nodes[of] : NULL;
  ls_program *p = at && at->invoke >= 0 ? g->invokes[at->invoke].program : g->program;
  if (!*ls_error_point() && p) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", ls_program_point_name(p, at ? at->slot : ls__point_of(g->now)), grad && at ? ".grad" : "");
    ls__fail_point(name);
  }
  ls__fail_site(node->site, 0);
}

/* The node in whose memory the value of `id` lies: as long as there are views of it an edit has to find it. */
static int32_t looks_into(const ls_graph *g, int32_t id) {
  int32_t above = ls__trace_above(g, id);
  if (above < 0) return -1;
  const ls_value *v = &g->values[id], *of = &g->values[above];
  if (g->nodes[id].kind == LS__ROWS) return above;
  if (of->kind != LS_TENSOR && g->nodes[above].holds) return above; /* a piece of an invoke's rows */
  if (of->kind != LS_TENSOR) return v->kind == LS_TENSOR && g->nodes[above].kind == LS__OP ? above : -1;
  return v->kind != LS_TENSOR || ls__tensor_shares(v->as.p, of->as.p) ? above : -1;
}

void ls__trace_let_go(ls_graph *g, int32_t id) {
  for (ls__node *node = &g->nodes[id]; node->uses <= 0 && !node->saved && !(g->demand_open && node->handles);
       node = &g->nodes[id]) {
    ls__replace(&g->values[id], (ls_value){0});
    if (!node->holds) return;
    node->holds = 0;
    id = ls__trace_above(g, id);
    g->nodes[id].uses--;
  }
}

/* The value of a node has come: what it used is used no more. */
static ls_status settle(ls_graph *g, int32_t id, ls_value value) {
  ls__replace(&g->values[id], value);
  g->nodes[id].done = 1;
  if (g->nodes[id].tracked) {
    ls_status status = ls__grad_watch(g, id);
    if (status) return status;
  }
  ls__node *node = &g->nodes[id];
  int32_t above = looks_into(g, id);
  node->holds = above >= 0; /* the use goes on as long as the view */
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_NODE) {
      int32_t input = node->stream[k].aux;
      if (input == above) {
        above = -1;
        continue;
      }
      if (k && node->holds && node->kind == LS__GETITEM) { /* the view may have to be made again, at the same place */
        ls_value_retain(&g->values[input]);
        node->stream[k] = g->values[input];
      }
      g->nodes[input].uses--;
      ls__trace_let_go(g, input);
    }
  ls__trace_let_go(g, id);
  return LS_OK;
}

ls_status ls__execute_now(ls_graph *g, int32_t id) {
  ls_value value;
  ls_status status = ls__interrupt_check();
  if (!status && !(status = execute(g, id, &value))) status = settle(g, id, value);
  if (status) explain(g, id);
  return status;
}

static bool has_inputs(const ls_graph *g, const ls__node *node) {
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_NODE && !g->nodes[node->stream[k].aux].done) return false;
  return true;
}

/* ---- passes and steps ------------------------------------------------------------------------------------------- */

static void end_run(ls_graph *g) {
  ls__run_free(g->run);
  g->run = NULL;
}

/* Begins a run of `p`; the points keep the numbers of the pass's first invoke. */
static ls_status begin(ls_graph *g, int32_t pass, int32_t step, ls_program *p, const ls_value *args, int32_t n) {
  int32_t first = 0;
  while (first < g->invoke_count && g->invokes[first].pass != pass) first++;
  if (first == g->invoke_count) return ls__fail(LS_ERROR_STATE, "this trace has no such pass");
  g->program = g->invokes[first].program;
  free(g->map);
  g->map = NULL;
  ls_status status = g->program != p ? ls__program_map(g->program, p, &g->map) : LS_OK;
  if (!status) status = ls__own_keep(g, p);
  if (!status) status = ls__run_new(p, args, n, &g->run);
  if (!status && p->in_place) status = ls__own_inputs(g);
  if (status) return status;
  g->run->trace = g;
  g->run->narrow_instance = g->narrow_instance;
  g->run->narrow_item = g->narrow_item;
  g->now = LS__TIME(pass, step, 0) - 1;
  g->standing = false;
  for (int32_t i = first; i < g->invoke_count; i++)
    if (g->invokes[i].pass == pass) g->invokes[i].came = step + 1;
  return ls__grad_arrive(g);
}

/* The one invoke with input of a pass, -1 where there are several, -2 where there is none. */
static int32_t only_input(const ls_graph *g, int32_t pass) {
  int32_t found = -2;
  for (int32_t i = 0; i < g->invoke_count; i++)
    if (g->invokes[i].pass == pass && g->invokes[i].kind != LS_INVOKE_ALL) found = found == -2 ? i : -1;
  return found;
}

static ls_status begin_pass(ls_graph *g, int32_t pass, ls_event *event) {
  int32_t invoke = only_input(g, pass);
  if (invoke == -2)
    return ls__fail(LS_ERROR_CYCLE, "an invoke without input sees the rows of a pass, and pass %d has none: no invoke with input runs "
                                    "after the values that it uses", pass + 1);
  for (int32_t i = 0; i < g->invoke_count; i++)
    if (g->invokes[i].pass == pass) {
      ls_status status = ls__arguments_unchanged(g->invokes[i].arguments, g->invokes[i].argument_count,
                                                 "the input was changed in place before the model ran; clone it where it is given");
      if (status) return status;
    }
  ls__invoke *alone = invoke >= 0 ? &g->invokes[invoke] : NULL;
  if (!alone || alone->steps || alone->kind == LS_INVOKE_ROWS) {
    *event = (ls_event){.kind = LS_EVENT_PASS, .pass = pass};
    return LS_OK;
  }
  return begin(g, pass, 0, alone->program, alone->arguments, alone->argument_count);
}

ls_status ls_trace_rows(ls_graph *g, int32_t invoke, int32_t first, int32_t rows, int32_t pad) {
  if (invoke < 0 || invoke >= g->invoke_count) return ls__fail(LS_ERROR_STATE, "this trace has no such invoke");
  g->invokes[invoke].first = first;
  g->invokes[invoke].rows = rows;
  g->invokes[invoke].pad = pad;
  return LS_OK;
}

ls_status ls_trace_begin(ls_graph *g, int32_t pass, int32_t step, ls_program *p, const ls_value *args, int32_t n, int32_t rows) {
  if (g->state != LS__TRACE) return ls__fail(LS_ERROR_STATE, "this trace has already ended");
  g->rows = rows;
  end_run(g);
  return begin(g, pass, step, p, args, n);
}

ls_status ls_trace_end(ls_graph *g, const ls_value *text) {
  if (g->state != LS__TRACE) return ls__fail(LS_ERROR_STATE, "this trace has already ended");
  end_run(g);
  ls_value_retain(text);
  ls__replace(&g->text, *text);
  g->now = LS__TIME(ls__pass_of(g->now), LS__LAST, LS__LAST);
  g->standing = true;
  return LS_OK;
}

/* The model could not go on: where the script replaced a value before, that may be why. */
static ls_status after_edit(const ls_graph *g, ls_status status) {
  int64_t site = 0, last = -1;
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    uint8_t of = node->kind == LS__SETITEM && node->edits >= 0 ? g->kinds[node->edits] : (uint8_t)LS_NONE;
    bool replaces = node->kind == LS__WRITE || of == LS_TUPLE || of == LS_STRUCT;
    if (!replaces || !node->done || ls__pass_of(node->time) != ls__pass_of(g->now) || node->time < last) continue;
    last = node->time;
    site = node->site;
  }
  if (site && status != LS_ERROR_INTERRUPTED) ls__fail_site(ls_error_site(), site);
  return status;
}

/* Runs a step to its end and asks for the next one. */
static ls_status end_step(ls_graph *g, ls_event *event) {
  ls_status status = ls__run_until(g->run, g->run->program->point_count);
  if (status) return after_edit(g, status);
  int32_t pass = ls__pass_of(g->now + 1), step = ls__step_of(g->now + 1);
  g->now = LS__TIME(pass, step, LS__LAST);
  g->standing = true;
  *event = (ls_event){.kind = LS_EVENT_STEP, .pass = pass, .step = step, .value = g->run->result};
  g->run->result = (ls_value){0};
  end_run(g);
  return LS_OK;
}

/* A point that this run does not have: in a generation it stays unset. */
static ls_status unreached(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  if (g->invokes[node->invoke].steps) return LS_OK;
  ls__fail(LS_ERROR_UNREACHED, "the model did not reach this point in this pass");
  ls__fail_point(ls__trace_point_name(g, node->invoke, node->slot));
  ls__fail_site(node->site, 0);
  return LS_ERROR_UNREACHED;
}

/* What never came: an edit of it would be lost without a word. */
static ls_status never_came(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id], *at = node->edits < 0 ? node : &g->nodes[g->nodes[node->edits].root];
  bool changes = node->kind == LS__WRITE || (node->edits >= 0 && at->kind == LS__READ);
  if (!changes || at->stored || !g->run) return LS_OK;
  if (g->standing && at->time == g->now) ls__fail(LS_ERROR_UNREACHED, "this edit is lost: the value it needs never came");
  else ls__fail(LS_ERROR_UNREACHED, "this edit is lost: the model does not run this part in step %d", at->step);
  ls__fail_point(ls__trace_point_name(g, at->invoke, at->slot));
  ls__fail_site(node->site, 0);
  return LS_ERROR_UNREACHED;
}

/* Moves on until the model stands at the time of node `id`, or has gone past it, or the script has to act. */
static ls_status reach(ls_graph *g, int32_t id, ls_event *event) {
  int64_t time = g->nodes[id].time;
  int32_t pass = ls__pass_of(time), step = ls__step_of(time), at = g->run ? ls__pass_of(g->now + 1) : g->now < 0 ? -1 : ls__pass_of(g->now);
  if (at != pass) {
    end_run(g);
    return begin_pass(g, pass, event);
  }
  if (!g->run) { /* the generation of this pass is over */
    g->now = time;
    g->standing = false;
    return LS_OK;
  }
  if (ls__step_of(g->now + 1) != step) return end_step(g, event);
  int32_t point = ls__point_of(time), target = g->map ? g->map[point] : point;
  ls_status status = target >= 0 ? ls__run_until(g->run, target) : LS_OK;
  if (status) return after_edit(g, status);
  g->now = time;
  g->standing = target >= 0 && g->run->standing && g->run->at == target;
  if (g->standing && g->gradients) return ls__grad_arrive(g);
  return g->standing ? LS_OK : unreached(g, id);
}

/* The invoke of the write at place `k` of the order has a write at the same point before it: both cover the same rows. */
static bool writes_again(const ls_graph *g, int32_t k) {
  for (int32_t i = g->next; i < k; i++)
    if (g->nodes[g->order[i]].invoke == g->nodes[g->order[k]].invoke) return true;
  return false;
}

bool ls__trace_replaces(const ls_graph *g) {
  if (g->next >= g->ordered) return false;
  const ls__node *node = &g->nodes[g->order[g->next]];
  if (node->kind != LS__WRITE) return false;
  int32_t rows = 0;
  for (int32_t k = g->next; k < g->ordered; k++) { /* several invokes may cover all rows together */
    const ls__node *other = &g->nodes[g->order[k]];
    if (other->time != node->time || other->kind != LS__WRITE || !has_inputs(g, other)) return false;
    if (ls__rows_all(g, other->invoke)) return true;
    if (writes_again(g, k)) continue;
    rows += g->invokes[other->invoke].rows;
    if (rows >= g->rows) return true;
  }
  return false;
}

/* ---- the way ---------------------------------------------------------------------------------------------------- */

static ls_status ask_script(ls_graph *g, int32_t id, ls_event *event) {
  const ls__node *node = &g->nodes[id];
  ls_value local[LS__LOCAL], *s = ls__substitute(node, g->values, local);
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for arguments");
  ls_value arguments;
  ls_status status = ls_value_build(s, node->n, &arguments);
  if (!status) *event = (ls_event){.kind = LS_EVENT_HOST, .node = id, .value = arguments};
  if (s != local) free(s);
  return status;
}

ls_status ls_trace_supply(ls_graph *g, int32_t node, const ls_value *value) {
  if (g->state != LS__TRACE) return ls__fail(LS_ERROR_STATE, "this trace has already ended");
  ls_value own;
  ls_status status = ls__own(value, 1, &own);
  return status ? status : settle(g, node, own);
}

static ls_status go(ls_graph *g, int64_t until, ls_event *event) {
  for (; g->next < g->ordered; g->next++) {
    int32_t id = g->order[g->next];
    if (g->nodes[id].done) continue;
    if (g->nodes[id].time > until) break;
    while (g->nodes[id].time > g->now) {
      ls_status status = reach(g, id, event);
      if (status || event->kind) return status;
    }
    bool point = g->nodes[id].kind == LS__READ || g->nodes[id].kind == LS__WRITE;
    bool here = g->run && g->standing && g->nodes[id].time == g->now;
    bool came = (!point || here) && has_inputs(g, &g->nodes[id]);
    if (came && g->nodes[id].kind == LS__HOST) return ask_script(g, id, event);
    ls_status status = came ? ls__execute_now(g, id) : never_came(g, id);
    if (status) return status;
  }
  return LS_OK;
}

/* An edit of the value is recorded and has not run. */
static bool awaits_edit(const ls_graph *g, int32_t id) {
  int32_t root = g->nodes[id].root, edited = root >= 0 ? g->nodes[root].edited : -1;
  return edited >= 0 && !g->nodes[edited].done;
}

static ls_status run(ls_graph *g, int32_t demanded, ls_event *event) {
  ls_status status = g->planned ? LS_OK : ls__plan(g, demanded);
  if (status) return status;
  ls__mode saved;
  ls__mode_enter(ls__grad_records(g), &saved);
  g->mode = &saved;
  if (g->shapes) ls__scan_enter(true);
  ls__interrupt_guard(true);
  status = go(g, demanded < 0 ? INT64_MAX : ls__settled_time(g, demanded), event);
  if (!status && (status = ls__interrupt_check())) {
    ls_value_release(&event->value);
    *event = (ls_event){0};
  }
  ls__interrupt_guard(false);
  if (g->shapes) ls__scan_enter(false);
  ls__mode_leave(&saved);
  g->mode = NULL;
  return status;
}

ls_status ls_trace_run(ls_graph *g, const ls_value *demanded, int64_t site, ls_event *event) {
  *event = (ls_event){0};
  if (g->state != LS__TRACE) return ls__fail(LS_ERROR_STATE, "this trace has already ended");
  int32_t id = demanded ? demanded->aux : -1;
  if (demanded) {
    if (g->nodes[id].done && !awaits_edit(g, id)) return LS_OK;
    g->demand_site = site;
    if (!g->demand_open) g->planned = false;
  } else if (g->demand_open) {
    g->planned = false;
  }
  g->demand_open = demanded != NULL;
  g->references++;
  ls_status status = run(g, id, event);
  if (status) ls__trace_close(g, false);
  else if (!demanded && !event->kind) ls__trace_close(g, true);
  ls_graph_release(g);
  return status;
}
