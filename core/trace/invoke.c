/* Invokes: the inputs of a trace, each with a body, and the passes that they may join. */
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* Returns the number of the first pass that an invoke of the given kind can join when it is opened now; a pass that has begun takes no more
   invokes. */
static int32_t first_pass(const ls_trace *t, int32_t kind) {
  int32_t least = t->run.now < 0 || kind == LS_INVOKE_ALL ? 0 : ls__pass_of(t->run.now) + 1;
  if (least < t->joinable) least = t->joinable;
  for (int32_t i = 0; i < t->invoke_count; i++) {
    bool alone = kind == LS_INVOKE_WHOLE || t->invokes[i].kind == LS_INVOKE_WHOLE;
    if (alone && t->plan.invokes[i].pass >= least) least = t->plan.invokes[i].pass + 1;
  }
  return least;
}

/* Moves the three arrays with one entry for each invoke into one block of memory with room for `room` invokes. */
static bool set_invoke_room(ls_trace *t, int32_t room) {
  size_t n = (size_t)room, used = (size_t)t->invoke_count;
  ls__invoke *invokes = malloc(n * (sizeof(ls__invoke) + sizeof(ls__planned_invoke) + sizeof(ls__running_invoke)));
  if (!invokes) return false;
  ls__planned_invoke *planned = (ls__planned_invoke *)(void *)(invokes + n);
  ls__running_invoke *running = (ls__running_invoke *)(void *)(planned + n);
  if (used) {
    memcpy(invokes, t->invokes, used * sizeof *invokes);
    memcpy(planned, t->plan.invokes, used * sizeof *planned);
    memcpy(running, t->run.invokes, used * sizeof *running);
  }
  free(t->invokes);
  t->invokes = invokes;
  t->plan.invokes = planned;
  t->run.invokes = running;
  t->invoke_room = room;
  return true;
}

static bool has_all(const int32_t *map, int32_t n) {
  for (int32_t i = 0; map && i < n; i++)
    if (map[i] < 0) return false;
  return true;
}

/* Numbers the points that earlier invokes have named as the program `p` does, which has all points of their program and more. */
static ls_status use_program(ls_trace *t, const ls_program *old, ls_program *p, const int32_t *map) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    ls__node *node = &t->owner.nodes.at[i];
    if ((node->kind == LS__READ || node->kind == LS__WRITE) && t->invokes[node->invoke].program == old) node->slot = map[node->slot];
  }
  for (int32_t i = 0; i < t->invoke_count; i++) {
    ls__invoke *invoke = &t->invokes[i];
    if (invoke->program != old) continue;
    if (invoke->stop >= 0) invoke->stop = LS__TIME(0, ls__step_of(invoke->stop), map[ls__point_of(invoke->stop)]);
    for (int32_t k = 0; invoke->map && k < ls_program_points(invoke->given); k++) invoke->map[k] = map[invoke->map[k]];
    ls_program_release(invoke->program);
    invoke->program = ls__program_retain(p);
  }
  t->plan.holds = false;
  return ls__time_all(t, t->owner.nodes.count);
}

/* Gives invoke `i` and the invokes that it may share a pass with one program to number their points: the one that reaches most. A module that
   is called for some inputs only (where they have a mask) would shift all numbers behind it. Where each of two programs has points that the
   other has not, both stay, and the invokes cannot share a pass. */
static ls_status share_program(ls_trace *t, int32_t i) {
  ls__invoke *own = &t->invokes[i];
  for (int32_t k = 0; k < i; k++) {
    ls_program *other = t->invokes[k].program;
    bool joins = t->invokes[k].kind != LS_INVOKE_WHOLE && t->plan.invokes[k].pass >= own->least && other != own->program;
    if (!joins || ls__function_module(ls__program_function(other)) != ls__function_module(ls__program_function(own->program))) continue;
    int32_t *to, *from;
    ls_status status = ls__program_map(own->program, other, &to);
    if (status) return status;
    if (has_all(to, ls_program_points(own->program))) {
      ls_program_release(own->program);
      own->program = ls__program_retain(other);
      own->map = to;
      return LS_OK;
    }
    free(to);
    if ((status = ls__program_map(other, own->program, &from))) return status;
    if (has_all(from, ls_program_points(other))) status = use_program(t, other, own->program, from);
    free(from);
    return status;
  }
  return LS_OK;
}

ls_status ls_trace_invoke(ls_trace *t, int32_t kind, ls_program *p, const ls_value *args, int32_t n, int32_t *out) {
  LS__NEED(t && kind >= LS_INVOKE_WHOLE && kind <= LS_INVOKE_ALL && p && out);
  ls_status status = ls__trace_check_open(t);
  if (status) return status;
  if (ls_program_points(p) >= LS__LAST || t->invoke_count >= LS__LAST)
    return ls__fail(LS_ERROR_STATE, "a trace can have at most %d points in a run of the model, and as many inputs", LS__LAST - 1);
  if (t->invoke_count == t->invoke_room && !set_invoke_room(t, t->invoke_room ? 2 * t->invoke_room : 1))
    return ls__fail(LS_ERROR_MEMORY, "out of memory for an invoke");
  ls_value local[LS__LOCAL], *arguments;
  const ls_value *given;
  status = ls__arguments_valid(args, n);
  if (!status) status = ls__arguments_check(args, n);
  if (!status) status = ls__resolve(args, n, local, &given);
  if (status) return status;
  status = ls__arguments_keep(given, n, &arguments);
  ls__resolved_free(given, args, local);
  if (status) return status;
  int32_t least = first_pass(t, kind), i = t->invoke_count++;
  t->invokes[i] = (ls__invoke){.kind = kind, .program = ls__program_retain(p), .given = ls__program_retain(p), .arguments = arguments, .argument_count = n,
                               .least = least, .steps = t->steps, .begin = t->owner.nodes.count, .stop = -1};
  t->plan.invokes[i] = (ls__planned_invoke){.pass = least, .cause = -1};
  t->run.invokes[i] = (ls__running_invoke){0};
  ls_module *module = ls__function_module(ls__program_function(p));
  if (!t->module && module) t->module = ls__module_retain(module);
  if (kind != LS_INVOKE_WHOLE && i && (status = share_program(t, i))) return status;
  *out = i;
  return LS_OK;
}

ls_status ls_trace_scan(ls_trace *t) {
  LS__NEED(t);
  ls_status status = ls__trace_check_open(t);
  if (!status) t->owner.shapes = true;
  return status;
}

ls_status ls_trace_generate(ls_trace *t, int32_t steps) {
  LS__NEED(t && steps >= 0 && steps <= LS__LAST);
  ls_status status = ls__trace_check_open(t);
  if (!status) t->steps = steps;
  return status;
}

void ls_trace_new_pass(ls_trace *t) {
  if (!t) return;
  t->steps = 0;
  for (int32_t i = 0; i < t->invoke_count; i++)
    if (t->plan.invokes[i].pass >= t->joinable) t->joinable = t->plan.invokes[i].pass + 1;
}

int32_t ls_trace_pass(ls_trace *t, int32_t invoke) {
  return t && invoke >= 0 && invoke < t->invoke_count ? t->plan.invokes[invoke].pass : -1;
}

const char *ls__trace_point_name(const ls_trace *t, int32_t invoke, int32_t point) {
  bool known = invoke >= 0 && invoke < t->invoke_count && t->invokes[invoke].program;
  return known ? ls_program_point_name(t->invokes[invoke].program, point) : "";
}

ls__point_info ls__trace_point(const ls_trace *t, const ls__node *node) {
  return ls__program_point(t->invokes[node->invoke].program, node->slot);
}
