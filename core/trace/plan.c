/* The plan of a trace: when each node runs, in which pass each invoke, what is needed, and in which order.

   A node runs at the first moment at which all its inputs exist. What happens at a point happens there; where it needs a
   value that exists only later, made by another invoke, its own invoke moves to a later pass. Invokes start in the first
   pass and move only as far as they must, so the passes are as few as possible. */
#include "trace/trace.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- times ------------------------------------------------------------------------------------------------------ */

int64_t ls__settled_time(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  int32_t edited = node->root >= 0 ? g->nodes[node->root].edited : -1;
  return edited >= 0 && g->nodes[edited].time > node->time ? g->nodes[edited].time : node->time;
}

/* The latest input of a node, whether it is an argument or, of a gradient, the backward that gives it. */
static int64_t inputs_time(const ls_graph *g, ls__node *node, int32_t *rank) {
  int64_t time = 0;
  node->latest = -1;
  *rank = 0;
  for (int32_t k = -1; k < node->n; k++) {
    int32_t input = k < 0 ? node->backward : node->stream[k].kind == LS_NODE ? node->stream[k].aux : -1;
    if (input < 0) continue;
    int64_t ready = k < 0 ? g->nodes[input].time : ls__settled_time(g, input);
    if (node->latest < 0 || ready > time) {
      time = ready;
      node->latest = input;
      *rank = 0;
    }
    int32_t behind = g->nodes[input].rank + (k < 0); /* a gradient comes right behind its backward */
    if (ready == time && behind > *rank) *rank = behind;
  }
  return time;
}

/* The read or gradient that makes a value come as late as it does. */
static int32_t origin(const ls_graph *g, int32_t id) {
  while (g->nodes[id].latest >= 0 && g->nodes[id].kind != LS__READ) id = g->nodes[id].latest;
  return id;
}

static int32_t point_node(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  return node->edits >= 0 ? g->nodes[node->edits].root : id;
}

/* "layer1.output", with the invoke where there are several. */
static void describe(const ls_graph *g, int32_t id, char *out, size_t room) {
  const ls__node *node = &g->nodes[point_node(g, id)];
  const char *name = node->kind == LS__READ || node->kind == LS__WRITE ? ls__trace_point_name(g, node->invoke, node->slot)
                     : node->kind == LS__GRAD                          ? "a gradient"
                     : node->kind == LS__TEXT                          ? "generator.output"
                                                                       : "a value";
  if (g->invoke_count > 1 && node->invoke >= 0) snprintf(out, room, "%s (invoke %d)", name, node->invoke + 1);
  else snprintf(out, room, "%s", name);
}

/* An edit whose value exists only after the edit itself: shows the way round. */
static ls_status circle(const ls_graph *g, int32_t edit) {
  char way[1024], name[256];
  int32_t first = g->nodes[point_node(g, edit)].invoke, at = edit, second = -1;
  describe(g, edit, way, sizeof way);
  for (int32_t steps = 0; steps < 8; steps++) {
    int32_t needed = origin(g, at);
    if (second < 0) second = needed;
    describe(g, needed, name, sizeof name);
    strncat(way, " -> ", sizeof way - strlen(way) - 1);
    strncat(way, name, sizeof way - strlen(way) - 1);
    int32_t invoke = g->nodes[needed].invoke;
    if (invoke == first || invoke < 0 || g->invokes[invoke].cause < 0) break;
    at = g->invokes[invoke].cause;
    describe(g, at, name, sizeof name);
    strncat(way, " -> ", sizeof way - strlen(way) - 1);
    strncat(way, name, sizeof way - strlen(way) - 1);
  }
  describe(g, edit, name, sizeof name);
  ls__fail(LS_ERROR_CYCLE, "this edit needs a value that exists only later: %s -> %s", way, name);
  const ls__node *node = &g->nodes[point_node(g, edit)];
  ls__fail_point(ls__trace_point_name(g, node->invoke, node->slot));
  ls__fail_site(g->nodes[edit].site, second >= 0 ? g->nodes[second].site : 0);
  return LS_ERROR_CYCLE;
}

/* Moves the invoke of an edit behind `time`, at which the edit's value exists. */
static ls_status move_invoke(ls_graph *g, int32_t id, int64_t own, int64_t time) {
  ls__invoke *invoke = &g->invokes[g->nodes[point_node(g, id)].invoke];
  int64_t mask = LS__TIME(1, 0, 0) - 1;
  int32_t pass = ls__pass_of(time) + ((time & mask) > (own & mask));
  int32_t from = g->nodes[origin(g, id)].invoke;
  if ((from >= 0 && &g->invokes[from] == invoke) || pass > g->invoke_count + invoke->least) return circle(g, id);
  if (g->now >= 0 && invoke->pass <= ls__pass_of(g->now)) {
    ls__fail(LS_ERROR_PASSED, "this edit needs a value of a later pass, and its invoke has already begun");
    ls__fail_site(g->nodes[id].site, g->demand_site);
    return LS_ERROR_PASSED;
  }
  invoke->pass = pass;
  invoke->cause = id;
  g->passes = true;
  return LS_OK;
}

ls_status ls__time_node(ls_graph *g, int32_t id) {
  ls__node *node = &g->nodes[id];
  int32_t rank;
  int64_t time = inputs_time(g, node, &rank), own = ls__trace_own_time(g, node);
  if (own >= 0) {
    if (time > own) {
      if (ls__trace_edits(node, 1) >= 0) return circle(g, id); /* it changes several values, at one moment */
      ls_status status = move_invoke(g, id, own, time);
      if (status) return status;
      own = ls__trace_own_time(g, node);
    }
    if (time < own) rank = 0;
    time = own;
  }
  if (time < g->now) time = g->now;
  node->time = time;
  node->rank = node->kind == LS__BACKWARD && rank < 2 * (id + 1) ? 2 * (id + 1) : rank;
  return LS_OK;
}

/* An invoke without input belongs behind the latest value that it uses. */
static void move_readers(ls_graph *g) {
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    if (node->invoke < 0 || node->kind == LS__READ || g->invokes[node->invoke].kind != LS_INVOKE_ALL) continue;
    for (int32_t k = 0; k < node->n; k++) {
      if (node->stream[k].kind != LS_NODE) continue;
      const ls__node *input = &g->nodes[node->stream[k].aux];
      ls__invoke *reader = &g->invokes[node->invoke];
      if (node->edits >= 0 && ls__pass_of(input->time) > reader->pass) reader->pass = ls__pass_of(input->time);
    }
  }
}

ls_status ls__time_all(ls_graph *g) {
  bool moved = true;
  while (moved) {
    g->passes = moved = false;
    for (int32_t i = 0; i < g->count; i++) {
      if (g->nodes[i].done) continue;
      int64_t time = g->nodes[i].time;
      int32_t rank = g->nodes[i].rank;
      ls_status status = ls__time_node(g, i);
      if (status) return status;
      moved = moved || g->nodes[i].time != time || g->nodes[i].rank != rank;
    }
    move_readers(g);
    moved = moved || g->passes;
  }
  return LS_OK;
}

/* ---- needs ------------------------------------------------------------------------------------------------------ */

static bool is_skip(const ls__node *node) { return node->kind == LS__WRITE && node->flag; }

/* The read or write `k` is of a point that the skip `i` leaves out. */
static bool leaves_out(const ls_graph *g, int32_t i, int32_t k) {
  const ls__node *skip = &g->nodes[i], *node = &g->nodes[k];
  if (!is_skip(skip) || skip->done || (node->kind != LS__READ && node->kind != LS__WRITE)) return false;
  if (node->invoke != skip->invoke || node->step != skip->step || (node->slot == skip->slot && k >= i)) return false;
  const ls_program *p = g->invokes[skip->invoke].program;
  return node->slot >= p->instances[p->points[skip->slot].instance].input && node->slot <= skip->slot;
}

static bool is_left_out(const ls_graph *g, int32_t id, int32_t first_skip) {
  for (int32_t i = first_skip; i < g->count; i++)
    if (leaves_out(g, i, id)) return true;
  return false;
}

/* What is written behind a stop never comes, what a skip may leave out neither, and neither does what needs it. */
static void find_never(ls_graph *g) {
  int32_t skip = 0;
  while (skip < g->count && !is_skip(&g->nodes[skip])) skip++;
  for (int32_t i = 0; i < g->count; i++) {
    ls__node *node = &g->nodes[i];
    int32_t at = point_node(g, i), invoke = g->nodes[at].invoke;
    bool points = g->nodes[at].kind == LS__READ || g->nodes[at].kind == LS__WRITE || g->nodes[at].kind == LS__TEXT;
    int64_t stop = points && invoke >= 0 ? g->invokes[invoke].stop : -1;
    int64_t local = g->nodes[at].kind == LS__TEXT ? LS__TIME(1, 0, 0) : LS__TIME(0, g->nodes[at].step, g->nodes[at].slot);
    node->never = (stop >= 0 && local > stop) || (node->kind == LS__READ && node->flag && is_left_out(g, i, skip));
    for (int32_t k = 0; k < node->n && !node->never; k++)
      if (node->stream[k].kind == LS_NODE && g->nodes[node->stream[k].aux].never) node->never = 1;
  }
}

/* Marks what is needed and counts who waits for each value. While the script still holds the trace open, what it has a
   handle to is wanted too, since it may be used in the lines to come. */
static void find_needs(ls_graph *g, int32_t demanded) {
  bool open = demanded >= 0;
  for (int32_t i = 0; i < g->count; i++) {
    ls__node *node = &g->nodes[i];
    bool acts = node->edits >= 0 || node->kind == LS__WRITE || node->kind == LS__BACKWARD || node->kind == LS__SETGRAD ||
                node->kind == LS__HOST;
    node->uses = 0;
    node->needed = !node->done && !node->never && (node->saved || acts || i == demanded || (open && node->handles));
  }
  for (int32_t i = g->count - 1; i >= 0; i--) {
    ls__node *node = &g->nodes[i];
    if (node->done || !node->needed) continue;
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
}

/* A skipped module does not run, so nothing inside it can be asked for. */
static ls_status check_skips(const ls_graph *g) {
  for (int32_t i = 0; i < g->count; i++) {
    for (int32_t k = 0; is_skip(&g->nodes[i]) && k < g->count; k++) {
      const ls__node *node = &g->nodes[k];
      if (!node->needed || !leaves_out(g, i, k)) continue;
      ls__fail(LS_ERROR_UNREACHED, "this point never comes: its module is skipped");
      ls__fail_point(ls__trace_point_name(g, node->invoke, node->slot));
      ls__fail_site(node->site, g->nodes[i].site);
      return LS_ERROR_UNREACHED;
    }
  }
  return LS_OK;
}

/* ---- order ------------------------------------------------------------------------------------------------------ */

static bool before(const ls_graph *g, int32_t a, int32_t b) {
  const ls__node *x = &g->nodes[a], *y = &g->nodes[b];
  if (x->time != y->time) return x->time < y->time;
  return x->rank != y->rank ? x->rank < y->rank : a < b;
}

/* Merges the sorted halves of `ids` through `spare`; most traces are written in the order of the model already. */
static void sort(const ls_graph *g, int32_t *ids, int32_t n, int32_t *spare) {
  if (n < 2) return;
  int32_t half = n / 2, a = 0, b = half, out = 0;
  sort(g, ids, half, spare);
  sort(g, ids + half, n - half, spare);
  if (!before(g, ids[half], ids[half - 1])) return;
  memcpy(spare, ids, sizeof *ids * (size_t)n);
  while (a < half || b < n) ids[out++] = b >= n || (a < half && !before(g, spare[b], spare[a])) ? spare[a++] : spare[b++];
}

static ls_status put_in_order(ls_graph *g) {
  if (g->order_room < 2 * g->count) {
    int32_t *bigger = realloc(g->order, sizeof *bigger * 2 * (size_t)g->count);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for a plan");
    g->order = bigger;
    g->order_room = 2 * g->count;
  }
  g->ordered = g->next = 0;
  for (int32_t i = 0; i < g->count; i++)
    if (g->nodes[i].needed && !g->nodes[i].done) g->order[g->ordered++] = i;
  sort(g, g->order, g->ordered, g->order + g->count);
  return LS_OK;
}

ls_status ls__plan(ls_graph *g, int32_t demanded) {
  ls_status status = LS_OK;
  if (g->gradients && (status = ls__grad_plan(g))) return status;
  find_never(g);
  find_needs(g, demanded);
  if ((status = check_skips(g))) return status;
  if ((status = put_in_order(g))) return status;
  if (demanded < 0) ls__narrow_plan(g);
  g->planned = true;
  return LS_OK;
}
