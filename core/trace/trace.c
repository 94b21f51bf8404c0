/* Traces: recording beside programs. Each node is given the time at which its last input exists; the plan and the run are in
   plan.c and execute.c. */
#include "trace/trace.h"
#include <stdlib.h>
#include <string.h>

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

ls_status ls_trace_open(ls_graph **out) {
  ls_graph *g = calloc(1, sizeof *g);
  if (!g) return ls__fail(LS_ERROR_MEMORY, "out of memory for a trace");
  g->references = 1;
  g->state = LS__TRACE;
  g->now = g->track = g->narrow_instance = -1;
  ls__live_add(1);
  *out = g;
  return LS_OK;
}

static void clear(ls_value *v) { ls__replace(v, (ls_value){0}); }

void ls__trace_close(ls_graph *g, bool keep) {
  g->state = LS__CLOSED;
  ls__run *r = g->run;
  g->run = NULL;
  ls__run_free(r);
  g->references++; /* handles held by what is released below may be the last ones */
  ls__grad_close(g);
  ls__own_put_back(g);
  for (int32_t i = 0; i < g->count; i++) {
    ls__node *node = &g->nodes[i];
    if (!keep || !node->saved || !node->handles) {
      node->done = 0;
      clear(&g->values[i]);
    }
    ls__stream_free(node->stream, node->n);
    node->stream = NULL;
    node->n = 0;
    ls__call_free(node->call);
    node->call = NULL;
    ls_program_release(node->program);
    node->program = NULL;
  }
  for (int32_t i = 0; i < g->invoke_count; i++) {
    ls__invoke *invoke = &g->invokes[i];
    ls__stream_free(invoke->arguments, invoke->argument_count);
    invoke->arguments = NULL;
    invoke->argument_count = 0;
    ls_program_release(invoke->program);
    invoke->program = NULL;
  }
  free(g->order);
  g->order = NULL;
  free(g->map);
  g->map = NULL;
  clear(&g->text);
  ls__graph_trim(g);
  ls_graph_release(g);
}

void ls_trace_abandon(ls_graph *g) {
  if (g->state == LS__TRACE) ls__trace_close(g, false);
}

ls_status ls__trace_check_open(const ls_graph *g) {
  return g->state == LS__TRACE ? LS_OK : ls__fail(LS_ERROR_STATE, "this trace has already ended");
}

/* ---- invokes ---------------------------------------------------------------------------------------------------- */

/* The first pass that an invoke opened now can join: one that has begun takes nobody any more. */
static int32_t first_pass(const ls_graph *g, int32_t kind) {
  int32_t least = g->now < 0 || kind == LS_INVOKE_ALL ? 0 : ls__pass_of(g->now) + 1;
  if (least < g->fence) least = g->fence;
  for (int32_t i = 0; i < g->invoke_count; i++) {
    const ls__invoke *other = &g->invokes[i];
    bool alone = kind == LS_INVOKE_WHOLE || other->kind == LS_INVOKE_WHOLE;
    if (alone && other->pass >= least) least = other->pass + 1;
  }
  return least;
}

ls_status ls_trace_invoke(ls_graph *g, int32_t kind, ls_program *p, const ls_value *args, int32_t n, int32_t *out) {
  ls_status status = ls__trace_check_open(g);
  if (status) return status;
  if (g->invoke_count == g->invoke_room) {
    int32_t room = g->invoke_room ? 2 * g->invoke_room : 1;
    ls__invoke *bigger = realloc(g->invokes, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for an invoke");
    g->invokes = bigger;
    g->invoke_room = room;
  }
  ls_value *arguments;
  if ((status = ls__arguments_keep(args, n, &arguments))) return status;
  p->references++;
  int32_t pass = first_pass(g, kind);
  g->invokes[g->invoke_count] = (ls__invoke){.kind = kind, .program = p, .arguments = arguments, .argument_count = n,
                                             .pass = pass, .least = pass, .steps = g->steps, .cause = -1, .stop = -1,
                                             .begin = g->count};
  if (!g->module && (g->module = p->function->module)) g->module->references++;
  *out = g->invoke_count++;
  return LS_OK;
}

ls_status ls_trace_scan(ls_graph *g) {
  g->shapes = true;
  return ls__trace_check_open(g);
}

ls_status ls_trace_generate(ls_graph *g, int32_t steps) {
  ls_status status = ls__trace_check_open(g);
  if (!status) g->steps = steps;
  return status;
}

void ls_trace_fence(ls_graph *g) {
  g->steps = 0;
  for (int32_t i = 0; i < g->invoke_count; i++)
    if (g->invokes[i].pass >= g->fence) g->fence = g->invokes[i].pass + 1;
}

int32_t ls_trace_pass(ls_graph *g, int32_t invoke) { return g->invokes[invoke].pass; }

/* ---- recording -------------------------------------------------------------------------------------------------- */

const char *ls__trace_point_name(const ls_graph *g, int32_t invoke, int32_t point) {
  bool known = invoke >= 0 && invoke < g->invoke_count && g->invokes[invoke].program;
  return known ? ls_program_point_name(g->invokes[invoke].program, point) : "";
}

bool ls__trace_passed(const ls_graph *g, int64_t time) { return time < g->now || (time == g->now && !g->standing); }

int32_t ls__trace_edits(const ls__node *node, int32_t k) {
  if (node->edits < 0) return -1;
  return node->kind == LS__OP ? ls__call_written(node->call, k) : k ? -1 : node->edits;
}

/* The point of a value that is changed in place: of several the one that comes first. */
static int64_t edit_time(const ls_graph *g, const ls__node *node) {
  int64_t first = -1;
  for (int32_t k = 0, of; (of = ls__trace_edits(node, k)) >= 0; k++) {
    const ls__node *root = &g->nodes[g->nodes[of].root];
    int64_t time = root->kind == LS__READ ? ls__trace_own_time(g, root) : -1;
    if (time >= 0 && (first < 0 || time < first)) first = time;
  }
  return first;
}

int64_t ls__trace_own_time(const ls_graph *g, const ls__node *node) {
  if (node->edits >= 0) return edit_time(g, node);
  if (node->kind == LS__TEXT) return LS__TIME(g->invokes[node->invoke].pass, LS__LAST, LS__LAST);
  if (node->kind == LS__PAD) return LS__TIME(g->invokes[node->invoke].pass, node->step, 0);
  if (node->kind != LS__READ && node->kind != LS__WRITE) return -1;
  return LS__TIME(g->invokes[node->invoke].pass, node->step, node->slot);
}

/* A scan costs nothing, so it begins anew where a line asks for what it has passed. */
static void rewind_scan(ls_graph *g) {
  ls__run_free(g->run);
  g->run = NULL;
  g->now = -1;
  g->standing = false;
  for (int32_t i = 0; i < g->count; i++) {
    g->nodes[i].done = g->nodes[i].holds = 0;
    clear(&g->values[i]);
  }
}

static ls_status check_passed(ls_graph *g, const ls__node *node) {
  int64_t time = node->kind == LS__PAD ? -1 : ls__trace_own_time(g, node);
  if (time < 0 || !ls__trace_passed(g, time)) return LS_OK;
  if (g->shapes) {
    rewind_scan(g);
    return LS_OK;
  }
  const ls__node *at = node->edits >= 0 ? &g->nodes[g->nodes[node->edits].root] : node;
  int32_t reached = ls__point_of(g->now);
  char to[256];
  const char *name = reached == LS__LAST ? "its end" : ls__trace_point_name(g, at->invoke, reached);
  strncpy(to, name, sizeof to - 1);
  to[sizeof to - 1] = 0;
  ls__fail(LS_ERROR_PASSED, "the model has already run past this point, to %s", to);
  ls__fail_point(ls__trace_point_name(g, at->invoke, at->slot));
  ls__fail_site(node->site, g->demand_site);
  return LS_ERROR_PASSED;
}

int32_t ls__trace_above(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  if (node->kind == LS__GETITEM) return node->stream[0].kind == LS_NODE ? node->stream[0].aux : -1;
  if (node->kind == LS__ROWS) return node->stream[0].aux;
  if (node->kind != LS__OP) return -1;
  return ls__call_view_of(node->call);
}

/* Of the values that an operator changes in place the one whose point comes first stands for all. */
static ls_status find_edits(const ls_graph *g, ls__node *node) {
  if (ls__call_changes_own(node->call))
    return ls__fail(LS_ERROR_ARGUMENT, "%s would change a tensor of your own; clone it first", ls__op_name(node->op));
  node->edits = ls__call_written(node->call, 0);
  int64_t first = edit_time(g, node);
  for (int32_t k = 0, of; (of = ls__trace_edits(node, k)) >= 0; k++) {
    const ls__node *root = &g->nodes[g->nodes[of].root];
    if (root->kind == LS__GRAD && ls__trace_edits(node, 1) >= 0)
      return ls__fail(LS_ERROR_ARGUMENT, "%s changes several values, and one is a gradient; change them one by one",
                      ls__op_name(node->op));
    if (first >= 0 && root->kind == LS__READ && ls__trace_own_time(g, root) == first) node->edits = of;
  }
  return LS_OK;
}

/* The first read of the same point in the same body, so that both share a root. */
static int32_t first_read(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  for (int32_t i = g->invokes[node->invoke].begin; i < id; i++) {
    const ls__node *other = &g->nodes[i];
    if (other->kind == LS__READ && other->slot == node->slot && other->step == node->step && other->invoke == node->invoke)
      return i;
  }
  return -1;
}

/* Which value a node changes in place, and whose memory its own value may share. */
static ls_status find_roots(ls_graph *g, int32_t id) {
  ls__node *node = &g->nodes[id];
  int32_t of = -1;
  if (node->kind == LS__READ) {
    of = first_read(g, id);
  } else if (node->kind == LS__GETITEM || node->kind == LS__ROWS) {
    of = node->stream[0].kind == LS_NODE ? node->stream[0].aux : -1;
  } else if (node->kind == LS__SETITEM) {
    if (node->stream[0].kind != LS_NODE)
      return ls__fail(LS_ERROR_ARGUMENT, "this would change a tensor of your own; clone it first");
    node->edits = node->stream[0].aux;
  } else if (node->kind == LS__OP) {
    ls_status status = find_edits(g, node);
    if (status) return status;
    of = ls__call_view_of(node->call);
  } else if (node->kind == LS__GRAD) {
    for (int32_t i = 0; i < id && of < 0; i++)
      if (g->nodes[i].kind == LS__GRAD && g->nodes[i].stream[0].aux == node->stream[0].aux) of = i;
  }
  if (node->kind != LS__SETITEM && node->kind != LS__WRITE) node->root = of >= 0 ? g->nodes[of].root : id;
  return LS_OK;
}

ls_status ls__trace_record(ls_graph *g, int32_t id) {
  ls_status status = find_roots(g, id);
  if (!status) status = check_passed(g, &g->nodes[id]);
  if (!status) status = ls__time_node(g, id);
  if (!status && g->passes) status = ls__time_all(g);
  if (status) return status;
  ls__node *node = &g->nodes[id];
  for (int32_t k = 0, of; (of = ls__trace_edits(node, k)) >= 0; k++) g->nodes[g->nodes[of].root].edited = id;
  if (node->kind == LS__GRAD || node->kind == LS__SETGRAD || node->kind == LS__BACKWARD) g->gradients = true;
  g->planned = false;
  return LS_OK;
}

/* Adds a node with a handle. */
static ls_status added(ls_graph *g, ls__node_kind kind, const ls_value *stream, int32_t n, int64_t site, uint8_t result,
                       ls_value *out) {
  int32_t id;
  ls_status status = ls__trace_check_open(g);
  if (!status) status = ls__node_new(g, kind, stream, n, site, result, &id);
  if (!status) status = ls__settle(g, id);
  if (!status) ls__node_handle(g, id, out);
  return status;
}

ls_status ls_trace_call(ls_graph *g, ls_program *callee, const ls_value *args, int32_t n, int64_t site, ls_value *out) {
  const ls_graph *function = callee->function;
  uint8_t kind = function->result.kind == LS_NODE ? function->kinds[function->result.aux] : (uint8_t)function->result.kind;
  ls_status status = added(g, LS__CALL, args, n, site, kind, out);
  if (status) return status;
  g->nodes[out->aux].program = callee;
  callee->references++;
  return LS_OK;
}

ls_status ls_trace_host(ls_graph *g, int32_t invoke, const ls_value *args, int32_t n, int64_t site, ls_value *out) {
  ls_status status = added(g, LS__HOST, args, n, site, LS_NONE, out);
  if (!status) g->nodes[out->aux].invoke = invoke;
  return status;
}

/* ---- the end of need -------------------------------------------------------------------------------------------- */

ls_status ls_trace_save(const ls_value *node) {
  ls_graph *g = node->as.p;
  if (g->state == LS__CLOSED && g->nodes[node->aux].done) return LS_OK;
  ls_status status = ls__trace_check_open(g);
  if (status) return status;
  g->nodes[node->aux].saved = 1;
  g->planned = false;
  return LS_OK;
}

void ls_trace_optional(const ls_value *read) {
  ls_graph *g = read->as.p;
  int32_t id = read->aux;
  if (g->nodes[id].kind == LS__ROWS) id = g->nodes[id].stream[0].aux;
  g->nodes[id].flag = g->nodes[id].kind == LS__READ;
  g->planned = false;
}

ls_status ls_trace_stop(ls_graph *g, int32_t invoke) {
  ls_status status = ls__trace_check_open(g);
  if (status) return status;
  int64_t last = 0;
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    int64_t local = LS__TIME(0, node->step, node->slot);
    if ((node->kind == LS__READ || node->kind == LS__WRITE) && node->invoke == invoke && local > last) last = local;
  }
  g->invokes[invoke].stop = last;
  g->planned = false;
  return LS_OK;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

ls_status ls_trace_value(const ls_value *value, ls_value *out) {
  ls_graph *g = value->as.p;
  ls_value v;
  if (g->state == LS__TRACE && g->nodes[value->aux].done) {
    v = g->values[value->aux];
  } else {
    ls_status status = ls__resolve(value, 1, &v);
    if (status) return status;
  }
  ls_value_retain(&v);
  *out = v;
  return LS_OK;
}

int64_t ls_trace_bytes(ls_graph *g) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < g->count; i++) bytes += ls_value_bytes(&g->values[i]);
  return bytes;
}
