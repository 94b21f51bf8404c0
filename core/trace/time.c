/* Times: when each node of a trace runs, and in which pass each invoke runs.

   A node runs at the first time at which all its inputs exist. A read or an edit at a point has to run at that point; where it needs a
   value that another invoke makes later, its own invoke moves to a later pass. Every invoke begins in the first pass and moves only as
   far as it must, so that there are as few passes as possible. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- what belongs together -------------------------------------------------------------------------------------- */

int32_t ls__trace_above(const ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  if (node->kind == LS__GETITEM || node->kind == LS__ROWS) return node->stream[0].kind == LS_NODE ? node->stream[0].aux : -1;
  return node->kind == LS__OP ? ls__call_view_of(node->call) : -1;
}

int32_t ls__point_node(const ls_trace *t, int32_t id) {
  int32_t edits = t->owner.nodes.at[id].edits;
  return edits >= 0 ? t->plan.nodes[edits].root : id;
}

/* Returns the first node that reads the same point in the same body as node `id`, so that both share a root; -1 where there is none. */
static int32_t first_read(const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  for (int32_t i = t->invokes[node->invoke].begin; i < id; i++) {
    const ls__node *other = &t->owner.nodes.at[i];
    if (other->kind == LS__READ && other->slot == node->slot && other->step == node->step && other->invoke == node->invoke)
      return i;
  }
  return -1;
}

static int32_t first_see(const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  for (int32_t i = 0; i < id; i++) {
    const ls__node *other = &t->owner.nodes.at[i];
    if (other->kind == LS__SEE && other->hook == node->hook && other->slot == node->slot && !other->flag) return i;
  }
  return -1;
}

/* Returns the last node above node `before` that changes the memory of the value of node `id` in place; -1 where there is none. */
static int32_t last_edit(const ls_trace *t, int32_t id, int32_t before) {
  const ls__planned *plan = t->plan.nodes;
  int32_t edited = plan[id].root >= 0 ? plan[plan[id].root].edited : -1;
  while (edited >= before) edited = plan[edited].earlier;
  return edited;
}

/* Whether `a` and `b`, whose gradients are used, are the same node or the same parameter. For a parameter `aux` is the version of the
   tensor, which may differ and is not compared. */
static bool same_value(const ls_value *a, const ls_value *b) {
  return a->kind == b->kind && (a->kind == LS_NODE ? a->aux == b->aux : a->as.p == b->as.p);
}

/* Whether a backward stands between the gradients `above` and `id`, so that they may be those of two. */
static bool has_backward_between(const ls_trace *t, int32_t above, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  for (int32_t i = above + 1; i < id; i++)
    if (nodes[i].kind == LS__BACKWARD && (nodes[i].invoke == nodes[above].invoke || nodes[i].invoke == nodes[id].invoke)) return true;
  return false;
}

/* Whether no line between the gradients `above` and `id` of one value changes the value in place. */
static bool same_version(const ls_trace *t, int32_t above, int32_t id) {
  const ls_value *of = &t->owner.nodes.at[id].stream[0];
  return of->kind != LS_NODE || last_edit(t, of->aux, above) == last_edit(t, of->aux, id);
}

void ls__time_root(ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at, *node = &nodes[id];
  int32_t of = -1;
  if (node->kind == LS__SETITEM || node->kind == LS__WRITE || node->kind == LS__PUT) return;
  if (node->kind == LS__READ) {
    of = first_read(t, id);
  } else if (node->kind == LS__SEE) {
    of = node->flag ? -1 : first_see(t, id);
  } else if (node->kind == LS__GETITEM || node->kind == LS__ROWS) {
    of = node->stream[0].kind == LS_NODE ? node->stream[0].aux : -1;
  } else if (node->kind == LS__OP) {
    of = ls__call_view_of(node->call);
  } else if (node->kind == LS__GRAD) {
    for (int32_t i = 0; i < id && of < 0; i++) {
      bool same = nodes[i].kind == LS__GRAD && same_value(&nodes[i].stream[0], &node->stream[0]) && same_version(t, i, id);
      if (same && !has_backward_between(t, i, id)) of = i;
    }
  }
  t->plan.nodes[id].root = of >= 0 ? t->plan.nodes[of].root : id;
}

int64_t ls__edit_time(const ls_trace *t, const ls__node *node) {
  int64_t first = -1;
  for (int32_t k = 0, of; (of = ls__node_edits(node, k)) >= 0; k++) {
    int32_t root = t->plan.nodes[of].root;
    int64_t time = t->owner.nodes.at[root].kind == LS__READ ? ls__own_time(t, root) : -1;
    if (time >= 0 && (first < 0 || time < first)) first = time;
  }
  return first;
}

int64_t ls__own_time(const ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  if (node->edits >= 0) return ls__edit_time(t, node);
  if (node->kind != LS__TEXT && node->kind != LS__PAD && node->kind != LS__READ && node->kind != LS__WRITE) return -1;
  int32_t pass = t->plan.invokes[node->invoke].pass;
  if (node->kind == LS__TEXT) return LS__TIME(pass, LS__LAST, LS__LAST);
  return LS__TIME(pass, node->step, node->kind == LS__PAD ? 0 : node->slot);
}

bool ls__time_passed(const ls_trace *t, int64_t time) {
  return time < t->run.now || (time == t->run.now && !t->run.paused);
}

int64_t ls__settled_time(const ls_trace *t, int32_t id, int32_t before) {
  const ls__planned *plan = t->plan.nodes;
  int32_t edited = last_edit(t, id, before);
  return edited >= 0 && plan[edited].time > plan[id].time ? plan[edited].time : plan[id].time;
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

/* Returns the node that decides when the value of node `id` exists. From node `id` the function goes to the argument that is
   computed last, from there to the last argument of that node, and so on, until a node reads a point or has no node as argument. */
static int32_t origin(const ls_trace *t, int32_t id) {
  while (t->plan.nodes[id].latest >= 0 && t->owner.nodes.at[id].kind != LS__READ) id = t->plan.nodes[id].latest;
  return id;
}

/* Writes a node's point, such as "layer1.output", and its invoke where the trace has several. */
static void describe(const ls_trace *t, int32_t id, char *out, size_t room) {
  const ls__node *node = &t->owner.nodes.at[ls__point_node(t, id)];
  const char *name = node->kind == LS__READ || node->kind == LS__WRITE ? ls__trace_point_name(t, node->invoke, node->slot)
                     : node->kind == LS__GRAD                          ? "a gradient"
                     : node->kind == LS__TEXT                          ? "generator.output"
                                                                       : "a value";
  if (t->invoke_count > 1 && node->invoke >= 0) snprintf(out, room, "%s (invoke %d)", name, node->invoke + 1);
  else snprintf(out, room, "%s", name);
}

/* Fails with the error that an edit needs a value which exists only after the edit itself. The error text lists the points that depend on
   each other in a circle. */
static ls_status circle(const ls_trace *t, int32_t edit) {
  const ls__node *nodes = t->owner.nodes.at, *point = &nodes[ls__point_node(t, edit)];
  char way[1024], name[256];
  int32_t at = edit, second = -1;
  describe(t, edit, way, sizeof way);
  for (int32_t steps = 0; steps < 8; steps++) {
    int32_t needed = origin(t, at);
    if (second < 0) second = needed;
    describe(t, needed, name, sizeof name);
    strncat(way, " -> ", sizeof way - strlen(way) - 1);
    strncat(way, name, sizeof way - strlen(way) - 1);
    int32_t invoke = nodes[needed].invoke;
    if (invoke == point->invoke || invoke < 0 || t->plan.invokes[invoke].cause < 0) break;
    at = t->plan.invokes[invoke].cause;
    describe(t, at, name, sizeof name);
    strncat(way, " -> ", sizeof way - strlen(way) - 1);
    strncat(way, name, sizeof way - strlen(way) - 1);
  }
  describe(t, edit, name, sizeof name);
  ls__fail(LS_ERROR_CYCLE, "this edit needs a value that exists only later: %s -> %s", way, name);
  ls__fail_point(ls__trace_point_name(t, point->invoke, point->slot));
  ls__fail_site(nodes[edit].site, second >= 0 ? nodes[second].site : 0);
  return LS_ERROR_CYCLE;
}

/* ---- one node --------------------------------------------------------------------------------------------------- */

/* Returns the time from which all inputs of node `id` exist. The inputs are the node's arguments and, for a gradient, the backward that
   computes it. `rank` becomes the place of the node (ls__planned.rank) among the nodes of this time. */
static int64_t inputs_time(ls_trace *t, int32_t id, int32_t *rank) {
  const ls__node *node = ls__seen(t, id);
  ls__planned *plan = t->plan.nodes, *own = &plan[id];
  int64_t time = 0;
  own->latest = -1;
  *rank = 0;
  for (int32_t k = -1; k < node->n; k++) {
    int32_t input = k < 0 ? own->backward : node->stream[k].kind == LS_NODE ? node->stream[k].aux : -1;
    if (input < 0) continue;
    int64_t ready = k < 0 ? plan[input].time : ls__settled_time(t, input, id);
    if (own->latest < 0 || ready > time) {
      time = ready;
      own->latest = input;
      *rank = 0;
    }
    /* k is -1 for the backward that computes a gradient; the node of the gradient runs directly after this backward */
    int32_t behind = plan[input].rank + (k < 0), edit = k < 0 ? -1 : last_edit(t, input, id);
    if (edit >= 0 && plan[edit].time == ready && plan[edit].rank > behind) behind = plan[edit].rank;
    if (ready == time && behind > *rank) *rank = behind;
  }
  return time;
}

/* Moves the invoke of the edit `id` to a later pass, so that the edit runs when the value that it needs exists. That value exists at
   `time`; `own` is the time at which the edit would run without the move. */
static ls_status move_invoke(ls_trace *t, int32_t id, int64_t own, int64_t time) {
  int32_t mover = t->owner.nodes.at[ls__point_node(t, id)].invoke, from = t->owner.nodes.at[origin(t, id)].invoke;
  ls__planned_invoke *invoke = &t->plan.invokes[mover];
  int64_t mask = LS__TIME(1, 0, 0) - 1;
  int32_t pass = ls__pass_of(time) + ((time & mask) > (own & mask));
  if (from == mover || pass > t->invoke_count + t->invokes[mover].least) return circle(t, id);
  if (t->run.now >= 0 && invoke->pass <= ls__pass_of(t->run.now)) {
    ls__fail(LS_ERROR_PASSED, "this edit needs a value of a later pass, but the edit's invoke has already begun to run");
    ls__fail_site(t->owner.nodes.at[id].site, t->run.demand_site);
    return LS_ERROR_PASSED;
  }
  invoke->pass = pass;
  invoke->cause = id;
  t->plan.passes = true;
  return LS_OK;
}

bool ls__time_changes_point(const ls_trace *t, int32_t id, int32_t below) {
  const ls__node *nodes = t->owner.nodes.at, *node = &nodes[id];
  if (node->kind != LS__WRITE && node->edits < 0) return false;
  const ls__node *at = &nodes[ls__point_node(t, id)], *of = &nodes[ls__point_node(t, below)];
  if ((at->kind != LS__WRITE && at->kind != LS__READ) || (of->kind != LS__WRITE && of->kind != LS__READ)) return false;
  if (at->slot != of->slot || at->step != of->step) return false;
  return at->invoke == of->invoke || t->invokes[at->invoke].kind == LS_INVOKE_ALL || t->invokes[of->invoke].kind == LS_INVOKE_ALL;
}

/* Returns the rank of node `id`, which belongs to a point, so that it runs after the changes at this point that lines above make. */
static int32_t rank_at_point(const ls_trace *t, int32_t id, int64_t time, int32_t rank) {
  for (int32_t i = 0; i < id; i++) {
    const ls__planned *other = &t->plan.nodes[i];
    if (other->time == time && other->rank > rank && ls__time_changes_point(t, i, id)) rank = other->rank;
  }
  return rank;
}

/* Finds the time (pass, step and point) at which node `id` has to run, and notes it in the plan; may move the node's invoke to a later
   pass. */
static ls_status time_node(ls_trace *t, int32_t id) {
  int32_t rank;
  int64_t time = inputs_time(t, id, &rank), own = ls__own_time(t, id);
  const ls__node *node = &t->owner.nodes.at[id];
  if (t->hook_count) {
    if (node->kind == LS__CALL && node->hook >= 0) ls__hook_wait(t, id, &time, &rank);
    ls_status status = ls__hook_time(t, id, &time, &rank);
    if (status) return status;
  }
  if (own >= 0) {
    if (time > own) {
      ls_status status = move_invoke(t, id, own, time);
      if (status) return status;
      own = ls__own_time(t, id);
    }
    if (time < own) rank = 0;
    time = own;
    if (t->gradients || t->hook_count) rank = rank_at_point(t, id, time, rank);
  }
  if (time < t->run.now) time = t->run.now;
  if (t->hook_count) rank = ls__hook_behind(t, id, time, rank);
  bool backward = t->owner.nodes.at[id].kind == LS__BACKWARD;
  t->plan.nodes[id].time = time;
  t->plan.nodes[id].rank = backward && rank < 2 * (id + 1) ? 2 * (id + 1) : rank;
  return LS_OK;
}

/* ---- all nodes -------------------------------------------------------------------------------------------------- */

/* Moves each invoke without an input to the first pass in which all values exist that its edits use. */
static void move_readers(ls_trace *t, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    const ls__node *node = ls__seen(t, i);
    if (node->invoke < 0 || node->kind == LS__READ || t->invokes[node->invoke].kind != LS_INVOKE_ALL) continue;
    ls__planned_invoke *reader = &t->plan.invokes[node->invoke];
    for (int32_t k = 0; k < node->n; k++) {
      if (node->stream[k].kind != LS_NODE) continue;
      int32_t pass = ls__pass_of(t->plan.nodes[node->stream[k].aux].time);
      if (node->edits >= 0 && pass > reader->pass) reader->pass = pass;
    }
  }
}

ls_status ls__time_all(ls_trace *t, int32_t count) {
  bool moved = true;
  int64_t most = ((int64_t)count + 16) * (t->invoke_count + 2);
  for (int64_t rounds = 0; moved; rounds++) {
    if (rounds > most) return ls__fail(LS_ERROR_CYCLE, "values of this trace need each other in a circle");
    t->plan.passes = moved = false;
    for (int32_t i = 0; i < count; i++) {
      if (t->run.nodes[i].done) continue;
      const ls__planned *own = &t->plan.nodes[i];
      int64_t time = own->time;
      int32_t rank = own->rank;
      ls_status status = time_node(t, i);
      if (status) return status;
      moved = moved || own->time != time || own->rank != rank;
    }
    move_readers(t, count);
    moved = moved || t->plan.passes;
  }
  return LS_OK;
}

/* Finds the times of all nodes again, since node `id` has moved its invoke, which was in the pass `before`. Where that fails, all is as it
   was before node `id`: the script may go on without it. */
static ls_status time_moved(ls_trace *t, int32_t id, int32_t mover, ls__planned_invoke before) {
  size_t n = (size_t)t->invoke_count, k = (size_t)t->hook_count;
  ls__planned_invoke *invokes = malloc(n * sizeof *invokes + k * sizeof *t->hooks);
  if (!invokes) return ls__fail(LS_ERROR_MEMORY, "out of memory for the plan of a trace");
  ls__hook *hooks = (ls__hook *)(void *)((char *)invokes + n * sizeof *invokes);
  memcpy(invokes, t->plan.invokes, n * sizeof *invokes);
  if (mover >= 0) invokes[mover] = before;
  if (k) memcpy(hooks, t->hooks, k * sizeof *hooks);
  ls_status status = ls__time_all(t, id + 1);
  if (status) {
    memcpy(t->plan.invokes, invokes, n * sizeof *invokes);
    for (size_t i = 0; i < k; i++) t->hooks[i].time = -1, t->hooks[i].rank = 0;
    ls__time_all(t, id);
  }
  free(invokes);
  return status;
}

ls_status ls__time_new(ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  int32_t mover = t->owner.nodes.at[ls__point_node(t, id)].invoke;
  ls__planned_invoke before = mover >= 0 ? t->plan.invokes[mover] : (ls__planned_invoke){0};
  ls_status status = time_node(t, id);
  if (node->kind == LS__CALL && node->hook >= 0 && t->hooks[node->hook].acts) t->plan.passes = true;
  if (!status && t->plan.passes) status = time_moved(t, id, mover, before);
  if (status) return status;
  int32_t edits = t->owner.nodes.at[id].edits;
  if (edits < 0) return LS_OK;
  ls__planned *root = &t->plan.nodes[t->plan.nodes[edits].root];
  t->plan.nodes[id].earlier = root->edited;
  root->edited = id;
  return LS_OK;
}

ls_status ls__time_again(ls_trace *t) {
  t->plan.holds = t->plan.passes = false;
  t->plan.track = t->plan.narrow_instance = -1;
  for (int32_t i = 0; i < t->invoke_count; i++)
    t->plan.invokes[i] = (ls__planned_invoke){.pass = t->invokes[i].least, .cause = -1};
  for (int32_t i = 0; i < t->owner.nodes.count; i++) t->plan.nodes[i] = ls__unplanned;
  for (int32_t i = 0; i < t->hook_count; i++) t->hooks[i].time = -1, t->hooks[i].rank = 0;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    ls__time_root(t, i);
    ls_status status = ls__time_new(t, i);
    if (status) return status;
  }
  return LS_OK;
}
