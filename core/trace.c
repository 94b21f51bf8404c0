/* Traces: recording beside a program, and the plan. Every node gets the time at which its last input exists, which is the
   number of a point; the nodes of one time hang in one list, in the order written, and the run executes the list when it
   stands at that point. */
#include "trace.h"
#include <stdlib.h>
#include <string.h>

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

ls_status ls_trace_open(ls_program *p, const ls_value *args, int32_t n, ls_graph **out) {
  ls_graph *g = calloc(1, sizeof *g);
  if (!g) return ls__fail(LS_ERROR_MEMORY, "out of memory for a trace");
  ls_status status = ls__run_new(p, args, n, &g->run);
  if (status) {
    free(g);
    return status;
  }
  ls__run *r = g->run;
  r->trace = g;
  r->head = malloc(2 * sizeof *r->head * (size_t)(p->point_count + 1));
  if (!r->head) {
    ls__run_free(r);
    free(g);
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a trace");
  }
  r->tail = r->head + p->point_count + 1;
  memset(r->head, -1, 2 * sizeof *r->head * (size_t)(p->point_count + 1));
  g->references = 1;
  g->state = LS__TRACE;
  g->module = p->function->module;
  if (g->module) g->module->references++;
  ls__live_add(1);
  *out = g;
  return LS_OK;
}

static void clear(ls_value *v) {
  ls_value old = *v;
  *v = (ls_value){0};
  ls_value_release(&old);
}

/* Closes a trace: what was saved and can still be asked for stays, all else goes. */
static void close_trace(ls_graph *g, bool keep) {
  g->state = LS__CLOSED;
  ls__run *r = g->run;
  g->run = NULL;
  ls__run_free(r);
  g->references++; /* handles held by what is released below may be the last ones */
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
  ls_graph_release(g);
}

void ls_trace_abandon(ls_graph *g) {
  if (g->state == LS__TRACE) close_trace(g, false);
}

/* ---- recording -------------------------------------------------------------------------------------------------- */

static const char *point_name(const ls_graph *g, int32_t point) { return ls_program_point_name(g->run->program, point); }

static bool passed(const ls_graph *g, int32_t point) {
  const ls__run *r = g->run;
  return point < r->at || (point == r->at && !r->standing);
}

static ls_status check_passed(const ls_graph *g, int32_t point, int64_t site) {
  if (!passed(g, point)) return LS_OK;
  ls__fail(LS_ERROR_PASSED, "the model has already run past this point, to %s",
           g->run->at >= g->run->program->point_count ? "its end" : point_name(g, g->run->at));
  ls__fail_point(point_name(g, point));
  ls__fail_site(site, g->demand_site);
  return LS_ERROR_PASSED;
}

/* When the value of a node stands as the lines so far have it: after the last edit of its memory. */
static int32_t settled_time(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  int32_t edited = node->root >= 0 ? g->nodes[node->root].edited : -1;
  return edited >= 0 && g->nodes[edited].time > node->time ? g->nodes[edited].time : node->time;
}

/* The latest input of a node. */
static int32_t inputs_time(const ls_graph *g, const ls__node *node, int32_t *which) {
  int32_t time = 0;
  *which = -1;
  for (int32_t k = 0; k < node->n; k++) {
    if (node->stream[k].kind != LS_NODE) continue;
    int32_t input = node->stream[k].aux, ready = settled_time(g, input);
    if (*which < 0 || ready > time) {
      time = ready;
      *which = input;
    }
  }
  return time;
}

/* An edit at `point` whose value exists only at `time`: shows the way round. */
static ls_status cycle(const ls_graph *g, int32_t point, int32_t input, int64_t site) {
  char edited[256], needed[256];
  strncpy(edited, point_name(g, point), sizeof edited - 1);
  edited[sizeof edited - 1] = 0;
  strncpy(needed, point_name(g, settled_time(g, input)), sizeof needed - 1);
  needed[sizeof needed - 1] = 0;
  ls__fail(LS_ERROR_CYCLE, "this edit needs a value that exists only later: %s -> %s -> %s", edited, needed, edited);
  ls__fail_point(edited);
  ls__fail_site(site, g->nodes[input].site);
  return LS_ERROR_CYCLE;
}

/* Which value a node changes in place, and whose memory its own value may share. */
static ls_status find_roots(ls_graph *g, int32_t id) {
  ls__node *node = &g->nodes[id];
  int32_t of = -1;
  if (node->kind == LS__READ) {
    for (int32_t i = g->run->head[node->slot]; i >= 0 && of < 0; i = g->nodes[i].next)
      if (g->nodes[i].kind == LS__READ) of = i;
  } else if (node->kind == LS__GETITEM) {
    of = node->stream[0].kind == LS_NODE ? node->stream[0].aux : -1;
  } else if (node->kind == LS__SETITEM) {
    if (node->stream[0].kind != LS_NODE)
      return ls__fail(LS_ERROR_ARGUMENT, "this would change a tensor of your own; clone it first");
    node->edits = node->stream[0].aux;
  } else if (node->kind == LS__OP) {
    if (ls__call_writes(node->call, &node->edits)) {
      if (node->edits < 0)
        return ls__fail(LS_ERROR_ARGUMENT, "%s would change a tensor of your own; clone it first", ls__op_name(node->op));
      of = node->edits;
    } else {
      of = ls__call_view_of(node->call);
    }
  }
  if (node->kind != LS__SETITEM && node->kind != LS__WRITE) node->root = of >= 0 ? g->nodes[of].root : id;
  return LS_OK;
}

int32_t ls__trace_above(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  if (node->kind == LS__GETITEM) return node->stream[0].kind == LS_NODE ? node->stream[0].aux : -1;
  if (node->kind != LS__OP) return -1;
  return node->edits >= 0 ? node->edits : ls__call_view_of(node->call);
}

static void enqueue(ls_graph *g, int32_t id) {
  ls__run *r = g->run;
  int32_t time = g->nodes[id].time;
  if (r->head[time] < 0) r->head[time] = id;
  else g->nodes[r->tail[time]].next = id;
  r->tail[time] = id;
}

ls_status ls__trace_record(ls_graph *g, int32_t id) {
  ls__node *node = &g->nodes[id];
  ls_status status = find_roots(g, id);
  if (status) return status;
  int32_t input, time = inputs_time(g, node, &input);
  int32_t point = node->kind == LS__READ || node->kind == LS__WRITE ? node->slot : -1;
  if (node->edits >= 0 && g->nodes[node->edits].root >= 0) point = g->nodes[g->nodes[node->edits].root].slot;
  if (point >= 0) {
    if ((status = check_passed(g, point, node->site))) return status;
    if (time > point) return cycle(g, point, input, node->site);
    time = point;
  }
  node->time = time < g->run->at ? g->run->at : time;
  if (node->edits >= 0) g->nodes[g->nodes[node->edits].root].edited = id;
  enqueue(g, id);
  return LS_OK;
}

static ls_status open_trace(const ls_graph *g) {
  return g->state == LS__TRACE ? LS_OK : ls__fail(LS_ERROR_STATE, "this trace has already ended");
}

static ls_status check_point(const ls_graph *g, int32_t point) {
  ls_status status = open_trace(g);
  if (!status && (point < 0 || point >= g->run->program->point_count))
    status = ls__fail(LS_ERROR_UNREACHED, "the model never reaches this point");
  return status;
}

/* Adds a node that stands at a point. */
static ls_status at_point(ls_graph *g, ls__node_kind kind, int32_t point, const ls_value *stream, int32_t n, int64_t site,
                          int32_t *id) {
  ls_status status = check_point(g, point);
  if (!status) status = ls__node_new(g, kind, stream, n, site, LS_NONE, id);
  if (status) return status;
  g->nodes[*id].slot = point;
  return ls__settle(g, *id);
}

/* What the model's own functions say of the kind of value at a point. */
static uint8_t kind_at(const ls_graph *g, int32_t point) {
  const ls__point *p = &g->run->program->points[point];
  const ls_graph *function = g->run->program->instances[p->instance].function;
  if (p->kind == LS_POINT_INPUT) return LS_TUPLE;
  if (p->kind == LS_POINT_TAP) return LS_TENSOR;
  return function->result.kind == LS_NODE ? function->kinds[function->result.aux] : (uint8_t)function->result.kind;
}

ls_status ls_trace_read(ls_graph *g, int32_t point, int64_t site, ls_value *out) {
  int32_t id;
  ls_status status = at_point(g, LS__READ, point, NULL, 0, site, &id);
  if (status) return status;
  g->kinds[id] = kind_at(g, point);
  ls__node_handle(g, id, out);
  return LS_OK;
}

/* The index of a replaced piece: a tensor at an input point is the first positional argument. */
static const ls_value first_argument[2] = {{.kind = LS_INT, .as.i = 0}, {.kind = LS_INT, .as.i = 0}};

ls_status ls_trace_write(ls_graph *g, int32_t point, const ls_value *value, int64_t site) {
  ls_status status = check_point(g, point);
  if (status) return status;
  ls_value given = *value;
  if (value->kind == LS_NODE && value->as.p != g) {
    ls_graph *other;
    if ((status = ls__open_graph((ls_value[]){{.kind = LS_NODE, .as.p = g}, *value}, 2, &other))) return status;
    if ((status = ls__resolve(value, 1, &given))) return status;
    value = &given;
  }
  uint8_t old = kind_at(g, point), new = value->kind == LS_NODE ? g->kinds[value->aux] : (uint8_t)value->kind;
  bool first = g->run->program->points[point].kind == LS_POINT_INPUT && (new == LS_TENSOR || new == LS_NONE);
  if (first) {
    ls_value read, pieces;
    if ((status = ls_trace_read(g, point, site, &read))) return status;
    status = ls_getitem(&read, first_argument, 1, site, &pieces);
    ls_value_release(&read);
    if (status) return status;
    status = ls_setitem(&pieces, first_argument + 1, 1, value, site);
    ls_value_release(&pieces);
    return status;
  }
  if ((old == LS_TUPLE || old == LS_STRUCT) && new == LS_TENSOR) {
    ls__fail(LS_ERROR_SHAPE, "a tensor cannot take the place of a %s; set %s, or give ls.tuple(x)",
             old == LS_TUPLE ? "tuple" : "struct", old == LS_TUPLE ? "its element [0]" : "its field");
    ls__fail_point(point_name(g, point));
    return LS_ERROR_SHAPE;
  }
  int32_t id;
  return at_point(g, LS__WRITE, point, value, 1, site, &id);
}

ls_status ls_trace_call(ls_graph *g, ls_program *callee, const ls_value *args, int32_t n, int64_t site, ls_value *out) {
  ls_status status = open_trace(g);
  int32_t id;
  const ls_graph *function = callee->function;
  uint8_t kind = function->result.kind == LS_NODE ? function->kinds[function->result.aux] : (uint8_t)function->result.kind;
  if (!status) status = ls__node_new(g, LS__CALL, args, n, site, kind, &id);
  if (status) return status;
  g->nodes[id].program = callee;
  callee->references++;
  if ((status = ls__settle(g, id))) return status;
  ls__node_handle(g, id, out);
  return LS_OK;
}

ls_status ls_trace_save(const ls_value *node) {
  ls_graph *g = node->as.p;
  if (g->state == LS__CLOSED && g->nodes[node->aux].done) return LS_OK;
  ls_status status = open_trace(g);
  if (!status) g->nodes[node->aux].saved = 1;
  return status;
}

/* ---- the plan --------------------------------------------------------------------------------------------------- */

/* Marks what is needed and counts who waits for each value. While the script still holds the trace open, what it has a
   handle to is wanted too, since it may be used in the lines to come. Gives the last time at which something is needed. */
static int32_t plan(ls_graph *g, int32_t demanded) {
  bool open = demanded >= 0;
  for (int32_t i = 0; i < g->count; i++) {
    ls__node *node = &g->nodes[i];
    node->uses = 0;
    node->needed = !node->done && (node->saved || node->edits >= 0 || node->kind == LS__WRITE || i == demanded ||
                                   (open && node->handles));
  }
  int32_t last = -1;
  for (int32_t i = g->count - 1; i >= 0; i--) {
    ls__node *node = &g->nodes[i];
    if (node->done || !node->needed) continue;
    if (node->time > last) last = node->time;
    for (int32_t k = 0; k < node->n; k++)
      if (node->stream[k].kind == LS_NODE) {
        ls__node *input = &g->nodes[node->stream[k].aux];
        input->uses++;
        if (!input->done) input->needed = 1;
      }
  }
  for (int32_t i = 0; i < g->count; i++)
    if (g->nodes[i].holds) g->nodes[ls__trace_above(g, i)].uses++;
  for (int32_t i = 0; i < g->count; i++)
    if (g->nodes[i].done) ls__trace_let_go(g, i);
  return last;
}

void ls__trace_let_go(ls_graph *g, int32_t id) {
  for (ls__node *node = &g->nodes[id]; node->uses <= 0 && !node->saved && !(g->demand_open && node->handles);
       node = &g->nodes[id]) {
    clear(&g->values[id]);
    if (!node->holds) return;
    node->holds = 0;
    id = ls__trace_above(g, id);
    g->nodes[id].uses--;
  }
}

bool ls__trace_replaces(const ls_graph *g, int32_t first, int32_t output) {
  const ls__run *r = g->run;
  for (int32_t p = first; p <= output; p++)
    for (int32_t id = r->head[p]; id >= 0; id = g->nodes[id].next) {
      const ls__node *node = &g->nodes[id];
      if (!node->needed || node->done) continue;
      return p == output && node->kind == LS__WRITE;
    }
  return false;
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static ls_status run_until(ls_graph *g, int32_t point) {
  ls__mode saved;
  ls__mode_enter(false, &saved);
  ls__interrupt_guard(true);
  ls_status status = ls__run_until(g->run, point);
  if (!status) status = ls__interrupt_check();
  ls__interrupt_guard(false);
  ls__mode_leave(&saved);
  return status;
}

/* An edit of the value is recorded and has not run. */
static bool awaits_edit(const ls_graph *g, int32_t id) {
  int32_t root = g->nodes[id].root, edited = root >= 0 ? g->nodes[root].edited : -1;
  return edited >= 0 && !g->nodes[edited].done;
}

ls_status ls_trace_demand(const ls_value *value, int64_t site, ls_value *out) {
  ls_graph *g = value->as.p;
  if (g->state == LS__CLOSED) return ls_trace_value(value, out);
  ls_status status = open_trace(g);
  if (status) return status;
  int32_t id = value->aux;
  if (!g->nodes[id].done || awaits_edit(g, id)) {
    g->demand_open = 1;
    g->demand_site = site;
    plan(g, id);
    g->references++;
    status = run_until(g, settled_time(g, id));
    if (status) close_trace(g, false);
    ls_graph_release(g);
    if (status) return status;
  }
  *out = g->values[id];
  ls_value_retain(out);
  return LS_OK;
}

ls_status ls_trace_finish(ls_graph *g) {
  ls_status status = open_trace(g);
  if (status) return status;
  g->demand_open = 0;
  int32_t last = plan(g, -1);
  ls__narrow_plan(g, last);
  if (last >= 0) status = run_until(g, last);
  close_trace(g, !status);
  return status;
}

ls_status ls_trace_value(const ls_value *value, ls_value *out) {
  ls_value v;
  ls_status status = ls__resolve(value, 1, &v);
  if (status) return status;
  ls_value_retain(&v);
  *out = v;
  return LS_OK;
}

int64_t ls_trace_bytes(ls_graph *g) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < g->count; i++) bytes += ls_value_bytes(&g->values[i]);
  return bytes;
}
