/* Makes the plan of a trace: which nodes are needed, and in which order they run. */
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- needs ------------------------------------------------------------------------------------------------------ */

static bool is_skip(const ls__node *node) { return node->kind == LS__WRITE && node->flag; }

/* Whether node `k` reads or writes a point that the run does not reach, because node `i` skips the module around it. The input of the module
   itself is reached and can be read, but setting it would have no effect. */
static bool leaves_out(const ls_trace *t, int32_t i, int32_t k) {
  const ls__node *skip = &t->owner.nodes.at[i], *node = &t->owner.nodes.at[ls__point_node(t, k)];
  if (!is_skip(skip) || t->run.nodes[i].done || (node->kind != LS__READ && node->kind != LS__WRITE)) return false;
  if (node->invoke != skip->invoke || node->step != skip->step || (node->slot == skip->slot && k >= i)) return false;
  int32_t input = ls__trace_point(t, skip).input;
  if (t->owner.nodes.at[k].edits >= 0) return node->slot == input;
  return node->slot >= input + (node->kind == LS__READ) && node->slot <= skip->slot;
}

static bool is_left_out(const ls_trace *t, int32_t id, int32_t first_skip) {
  for (int32_t i = first_skip; i < t->owner.nodes.count; i++)
    if (leaves_out(t, i, id)) return true;
  return false;
}

static int64_t local_time(const ls__node *node) { return node->kind == LS__TEXT ? LS__TIME(1, 0, 0) : LS__TIME(0, node->step, node->slot); }

static bool is_behind_stop(const ls_trace *t, const ls__node *point) {
  int64_t stop = point->invoke >= 0 ? t->invokes[point->invoke].stop : -1;
  return stop >= 0 && local_time(point) > stop;
}

/* Whether the run goes on to a point of a stored edit behind the stop of its invoke, since another invoke of the pass names a point there: the
   edit acts on the rows of all invokes as long as the model runs. */
static bool is_passed_by(const ls_trace *t, const ls__node *stored) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    if ((node->kind != LS__READ && node->kind != LS__WRITE && node->kind != LS__TEXT) || node->stored || node->invoke < 0) continue;
    if (t->plan.invokes[node->invoke].pass == t->plan.invokes[stored->invoke].pass && !is_behind_stop(t, node) &&
        local_time(node) >= local_time(stored)) return true;
  }
  return false;
}

/* Sets `unreachable` of the nodes that do not run: nodes behind a stop, optional reads inside a skipped module, and all nodes that need the
   value of one of these. Fails for an edit at a point that the run reaches, whose value does not come: the edit would be lost silently. */
static ls_status find_unreachable(ls_trace *t, int32_t demanded) {
  const ls__node *nodes = t->owner.nodes.at;
  int32_t skip = 0, count = t->owner.nodes.count;
  while (skip < count && !is_skip(&nodes[skip])) skip++;
  /* a value inside a call with points of its own may stand above the call: then a second round is needed */
  for (int32_t k = 0, rounds = t->hook_count ? 2 : 1; k < rounds * count; k++) {
    int32_t i = k < count ? k : k - count, behind, hook = t->hook_count ? ls__hook_of(t, i, &behind) : -1;
    const ls__node *node = ls__seen(t, i), *at = &nodes[ls__point_node(t, i)];
    bool points = at->kind == LS__READ || at->kind == LS__WRITE || at->kind == LS__TEXT;
    bool own = (points && is_behind_stop(t, at) && !(at->stored && is_passed_by(t, at))) || (node->kind == LS__READ && node->flag && is_left_out(t, i, skip));
    if (hook >= 0) own = t->hooks[hook].node >= 0 ? t->plan.nodes[t->hooks[hook].node].unreachable : demanded >= 0;
    own = own || (t->gradients && demanded >= 0 && ls__grad_is_over(t, i));
    bool unreachable = own;
    for (int32_t a = 0; a < node->n && !unreachable; a++)
      unreachable = node->stream[a].kind == LS_NODE && t->plan.nodes[node->stream[a].aux].unreachable;
    bool acts = (points && (node->edits >= 0 || node->kind == LS__WRITE)) || node->kind == LS__PUT || (hook >= 0 && node->edits >= 0);
    if (unreachable && !own && acts && !t->run.nodes[i].done) {
      ls__fail(LS_ERROR_UNREACHED, "this edit is lost: a stop or a skip leaves out the value that it needs");
      ls__fail_point(hook >= 0 ? ls__hook_point_name(t, at) : ls__trace_point_name(t, at->invoke, at->slot));
      ls__fail_site(node->site, 0);
      return LS_ERROR_UNREACHED;
    }
    t->plan.nodes[i].unreachable = unreachable;
    bool left_out = skip < count && demanded >= 0 && is_left_out(t, i, skip);
    for (int32_t a = 0; a < node->n && !left_out && skip < count; a++)
      left_out = node->stream[a].kind == LS_NODE && t->plan.nodes[node->stream[a].aux].left_out;
    t->plan.nodes[i].left_out = left_out;
  }
  return LS_OK;
}

/* Finds the needed nodes, and counts for each value the nodes that will use it. At a demand (a line that needs a number at once) the script
   is not yet over, so values to which the script has handles are needed too: the next lines may use them. */
static void find_needs(ls_trace *t, int32_t demanded) {
  ls__planned *plan = t->plan.nodes;
  const ls__ran *ran = t->run.nodes;
  bool open = demanded >= 0;
  int32_t count = t->owner.nodes.count;
  t->plan.edits = false;
  for (int32_t i = 0; i < count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    bool acts = node->edits >= 0 || node->kind == LS__WRITE || node->kind == LS__BACKWARD || node->kind == LS__SETGRAD ||
                node->kind == LS__HOST || node->kind == LS__PUT;
    bool edits = node->edits >= 0 || node->kind == LS__HOST || (node->program && ls__program_edits(node->program));
    t->plan.edits = t->plan.edits || (edits && !ran[i].done);
    bool held = open && t->handles[i] && !plan[i].left_out;
    plan[i].needed = !ran[i].done && !plan[i].unreachable && (node->saved || acts || i == demanded || held);
  }
  do {
    for (int32_t i = 0; i < count; i++) plan[i].uses = 0;
    for (int32_t i = count - 1; i >= 0; i--) {
      if (ran[i].done || !plan[i].needed) continue;
      const ls__node *node = ls__seen(t, i);
      for (int32_t k = 0; k < node->n; k++)
        if (node->stream[k].kind == LS_NODE) {
          int32_t input = node->stream[k].aux;
          plan[input].uses++;
          if (!ran[input].done) plan[input].needed = 1;
        }
    }
  } while (t->hook_count && ls__hook_needs(t));
  for (int32_t i = 0; i < count; i++)
    if (ran[i].keeps_above) plan[ls__trace_above(t, i)].uses++;
  for (int32_t i = 0; i < count; i++)
    if (ran[i].done) ls__trace_let_go(t, i);
}

/* Fails where a value inside a skipped module is needed, since the module does not run. */
static ls_status check_skips(const ls_trace *t) {
  const ls__node *nodes = t->owner.nodes.at;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    for (int32_t k = 0; is_skip(&nodes[i]) && k < t->owner.nodes.count; k++) {
      if (!t->plan.nodes[k].needed || !leaves_out(t, i, k)) continue;
      const ls__node *at = &nodes[ls__point_node(t, k)];
      bool sets = at->slot == ls__trace_point(t, &nodes[i]).input;
      ls__fail(LS_ERROR_UNREACHED, sets ? "the input of a module that is skipped can be read, but not set"
                                        : "the model does not reach this point, because its module is skipped");
      ls__fail_point(ls__trace_point_name(t, at->invoke, at->slot));
      ls__fail_site(nodes[k].site, nodes[i].site);
      return LS_ERROR_UNREACHED;
    }
  }
  return LS_OK;
}

/* ---- order ------------------------------------------------------------------------------------------------------ */

static bool before(const ls__planned *plan, int32_t a, int32_t b) {
  if (plan[a].time != plan[b].time) return plan[a].time < plan[b].time;
  return plan[a].rank != plan[b].rank ? plan[a].rank < plan[b].rank : a < b;
}

/* Sorts the nodes `ids` by the time at which they run, merging sorted halves through the array `spare`. Where a script uses points in the
   order of the model, the halves are in order already and nothing is merged. */
static void sort(const ls__planned *plan, int32_t *ids, int32_t n, int32_t *spare) {
  if (n < 2) return;
  int32_t half = n / 2, a = 0, b = half, out = 0;
  sort(plan, ids, half, spare);
  sort(plan, ids + half, n - half, spare);
  if (!before(plan, ids[half], ids[half - 1])) return;
  memcpy(spare, ids, sizeof *ids * (size_t)n);
  while (a < half || b < n) ids[out++] = b >= n || (a < half && !before(plan, spare[b], spare[a])) ? spare[a++] : spare[b++];
}

static ls_status put_in_order(ls_trace *t) {
  ls__plan *plan = &t->plan;
  int32_t count = t->owner.nodes.count;
  if (plan->order_room < 2 * count) {
    int32_t *bigger = realloc(plan->order, sizeof *bigger * 2 * (size_t)count);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for a plan");
    plan->order = bigger;
    plan->order_room = 2 * count;
  }
  plan->ordered = t->run.next = 0;
  for (int32_t i = 0; i < count; i++)
    if (plan->nodes[i].needed && !t->run.nodes[i].done) plan->order[plan->ordered++] = i;
  sort(plan->nodes, plan->order, plan->ordered, plan->order + count);
  return LS_OK;
}

ls_status ls__plan_make(ls_trace *t, int32_t demanded) {
  ls_status status = LS_OK;
  if (t->gradients && (status = ls__grad_plan(t))) return status;
  if ((status = find_unreachable(t, demanded))) return status;
  find_needs(t, demanded);
  if ((status = check_skips(t))) return status;
  if (t->gradients && t->run.now >= 0 && (status = ls__grad_check(t, demanded))) return status;
  if (t->hook_count && demanded < 0 && (status = ls__hook_check(t))) return status;
  if ((status = put_in_order(t))) return status;
  if (demanded < 0) ls__narrow_plan(t);
  t->plan.holds = true;
  return LS_OK;
}
