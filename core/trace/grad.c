/* Gradients in a trace, before a backward runs. A tensor whose gradient is asked for, and that no trained parameter leads to, gets a place
   in autograd's graph as soon as it is made, so that every use of it counts. A hook of libtorch at the tensor, as it stands at the script line
   that asks, takes its gradient. Several names of one tensor have one hook. The backward is in grad_backward.c. */
#include <stdlib.h>
#include "trace/trace.h"

void ls__grad_close(ls_trace *t) {
  for (int32_t i = 0; i < t->run.gradient_count; i++) {
    ls__capture_free(t->run.gradients[i].capture);
    ls_value_release(&t->run.gradients[i].value);
  }
  ls__grad_rows_free(t);
  free(t->run.gradients);
  t->run.gradients = NULL;
  t->run.gradient_count = t->run.gradient_room = 0;
  ls__origins_free(&t->run.origins);
  t->run.records = false;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    ls__ran *ran = &t->run.nodes[i];
    if (ran->made_trainable) ls__tensor_make_untrainable(node->stream[0].as.p);
    ran->made_trainable = 0;
    ran->gradient = ran->rows = 0;
    if (t->gradients && node->saved && ran->done) ls__value_detach(&t->run.values[i]);
  }
}

void ls__grad_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context) {
  for (int32_t i = 0; i < t->run.gradient_count; i++)
    if (t->run.gradients[i].value.kind == LS_TENSOR) each(context, &t->run.gradients[i].value);
}

/* ---- recording -------------------------------------------------------------------------------------------------- */

bool ls__grad_records(const ls_trace *t) { return t->run.records || (t->plan.track >= 0 && t->run.now + 1 >= t->plan.track); }

static void record_from_here(ls_trace *t) {
  t->run.records = true;
  if (!t->run.mode || ls_grad_enabled()) return;
  ls__mode_leave(t->run.mode);
  ls__mode_enter(true, t->run.mode);
}

void ls__grad_arrive(ls_trace *t) {
  if (ls__grad_records(t)) record_from_here(t);
}

/* Gives each tensor in the value `v` that does not depend on anything in autograd's graph a place in it. Memory of the caller or of the model
   gets a new tensor for that; so does, with `alias`, any other. A tensor that may have to leave the memory of others leaves it here, under all
   its names: later, a name that was read before would keep the old tensor and its gradient. */
static ls_status make_sources(ls_trace *t, const ls_value *v, bool alias) {
  ls_status status = LS_OK;
  if (v->kind == LS_TUPLE || v->kind == LS_STRUCT || v->kind == LS_LIST) {
    for (int32_t i = 0; i < ls_seq_length(v) && !status; i++) status = make_sources(t, &ls__seq_items(v)[i], alias);
    return status;
  }
  if (v->kind != LS_TENSOR || ls__tensor_requires_grad(v->as.p)) return LS_OK;
  void *old = v->as.p;
  ls_value source = {0}, copy = {0};
  bool foreign = ls__own_foreign(t, old);
  if (foreign && ls__own_gives(t)) status = ls__tensor_clone(old, &copy);
  if (!status) status = ls__tensor_source(copy.kind ? copy.as.p : old, alias || foreign, &source);
  if (!status && source.kind && source.as.p != old) {
    ls__tensor_retain(old);
    ls__edit_everywhere(t, old, &source);
    ls__tensor_release(old);
  }
  ls_value_release(&copy);
  ls_value_release(&source);
  return status;
}

ls_status ls__grad_made(ls_trace *t, ls_value *value) {
  record_from_here(t);
  return make_sources(t, value, false);
}

/* ---- origins ---------------------------------------------------------------------------------------------------- */

/* Adds the origins of the value of node `id`, where it is read at a point of the step that the model runs. */
static ls_status add_origins(ls_trace *t, int32_t id) {
  ls_value keys[2] = {{.kind = LS_NONE}, {.kind = LS_NONE}};
  const ls__node *nodes = t->owner.nodes.at;
  for (; id >= 0 && nodes[id].kind != LS__READ; id = ls__trace_above(t, id)) {
    if (nodes[id].kind == LS__ROWS) continue;
    keys[1] = keys[0];
    keys[0] = (ls_value){.kind = LS_NONE};
    if (nodes[id].kind == LS__GETITEM && nodes[id].n == 2 && nodes[id].stream[1].kind != LS_NODE) keys[0] = nodes[id].stream[1];
  }
  int64_t now = t->run.now + 1;
  if (id < 0 || t->plan.invokes[nodes[id].invoke].pass != ls__pass_of(now) || nodes[id].step != ls__step_of(now)) return LS_OK;
  int32_t point = t->run.map ? t->run.map[nodes[id].slot] : nodes[id].slot;
  if (point < 0) return LS_OK;
  return ls__program_origins(ls__run_program(t->run.model), point, &keys[0], &keys[1], &t->run.origins);
}

ls_status ls__grad_origins(ls_trace *t) {
  ls_status status = LS_OK;
  t->run.origins.count = t->run.origins.point_count = 0;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++)
    if (t->plan.nodes[i].tracked & LS__SOURCE) status = add_origins(t, i);
  ls__run_origins(t->run.model, &t->run.origins);
  return status;
}

/* ---- hooks ------------------------------------------------------------------------------------------------------ */

/* Finds the gradient of the tensor, as it is now, among those that have a hook, or attaches a hook. */
static ls_status find_gradient(ls_trace *t, void *tensor, int32_t *number) {
  int32_t count = t->run.gradient_count;
  for (int32_t i = 0; i < count; i++)
    if (ls__capture_is_of(t->run.gradients[i].capture, tensor)) {
      *number = i + 1;
      return LS_OK;
    }
  if (count == t->run.gradient_room) {
    int32_t room = count ? 2 * count : 8;
    ls__gradient *bigger = realloc(t->run.gradients, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for the gradients of a trace");
    t->run.gradients = bigger;
    t->run.gradient_room = room;
  }
  t->run.gradients[count] = (ls__gradient){0};
  ls_status status = ls__capture_new(tensor, count, &t->run.gradients[count].capture);
  if (!status) *number = ++t->run.gradient_count;
  return status;
}

static ls_status passed(const ls_trace *t, const ls__node *node) {
  ls__fail(LS_ERROR_PASSED, "the model has already run past this value without autograd, so its gradient cannot be computed; "
                            "ask for it in an earlier line");
  ls__fail_site(node->site, t->run.demand_site);
  return LS_ERROR_PASSED;
}

/* Whether node `id`, whose arguments are still there, puts an element into a sequence. */
static bool sets_piece(const ls_trace *t, int32_t id) {
  int32_t target = t->owner.nodes.at[id].edits;
  return target >= 0 && t->run.nodes[target].done && ls__is_sequence(t->run.values[target].kind);
}

/* Returns the last edit in place, above the node `access`, of the tensor whose gradient it reads or sets; -1 where there is none. */
static int32_t version_of(const ls_trace *t, int32_t access) {
  int32_t version = t->plan.nodes[access].version;
  for (; version >= 0; version = t->plan.nodes[version].earlier) {
    /* an edit that puts another tensor into a sequence does not change the tensor that was taken out of it */
    if (!t->run.nodes[version].piece && !sets_piece(t, version)) break;
  }
  return version;
}

ls_status ls__grad_capture(ls_trace *t, int32_t access) {
  const ls__node *node = &t->owner.nodes.at[access];
  int32_t *number = &t->run.nodes[access].gradient, of = node->stream[0].aux;
  if (*number) return LS_OK;
  if (node->stream[0].kind != LS_NODE) return find_gradient(t, node->stream[0].as.p, number);
  ls_value *whole = ls__rows_whole(t, of);
  if (whole->kind != LS_TENSOR) whole = &t->run.values[of];
  if (!whole->kind && t->run.nodes[of].done) return passed(t, node);
  if (whole->kind != LS_TENSOR)
    return ls__fail(LS_ERROR_ARGUMENT, "only a tensor has a gradient; take an element or a field of this value first");
  if (!ls__tensor_has_gradients(whole->as.p)) return ls__fail(LS_ERROR_ARGUMENT, "only floating point values have gradients");
  if (!ls__tensor_requires_grad(whole->as.p)) {
    /* a parameter that arrives at a point gets its place there */
    if (!ls__own_foreign(t, whole->as.p)) return passed(t, node);
    ls_status status = make_sources(t, whole, true);
    if (status) return status;
    whole = ls__rows_whole(t, of);
    if (whole->kind != LS_TENSOR) whole = &t->run.values[of];
  }
  int32_t rows = ls__rows_node(t, of);
  const ls_value *home = ls__grad_home(t, of, whole, &rows);
  if (!home) return ls__grad_untold();
  t->run.nodes[access].rows = rows + 1;
  return find_gradient(t, home->as.p, number);
}

ls_status ls__grad_renew(ls_trace *t, int32_t edit) {
  int32_t root = ls__point_node(t, edit);
  const ls_value *edited = &t->run.values[root];
  ls_status status = LS_OK;
  for (int32_t i = edit + 1; i < t->owner.nodes.count && edited->kind == LS_TENSOR && !status; i++) {
    const ls__node *access = &t->owner.nodes.at[i];
    if ((access->kind != LS__GRAD && access->kind != LS__SETGRAD) || access->stream[0].kind != LS_NODE) continue;
    int32_t of = access->stream[0].aux;
    if (t->run.nodes[i].done || !t->run.nodes[i].gradient || t->plan.nodes[of].root == root) continue;
    if (t->run.values[of].kind != LS_TENSOR || t->run.values[of].as.p != edited->as.p) continue;
    t->run.nodes[i].gradient = 0;
    status = ls__grad_capture(t, i);
  }
  return status;
}

bool ls__grad_is_ready(const ls_trace *t, int32_t access) {
  if (!t->run.nodes[t->owner.nodes.at[access].stream[0].aux].done) return false;
  int32_t version = version_of(t, access);
  return version < 0 || t->run.nodes[version].done;
}

ls_status ls__grad_watch(ls_trace *t, int32_t id) {
  const ls__node *node = &t->owner.nodes.at[id];
  ls_status status = LS_OK;
  record_from_here(t);
  t->run.nodes[id].piece = sets_piece(t, id);
  if (t->plan.nodes[id].tracked & LS__SOURCE) {
    bool writes = node->kind == LS__WRITE || node->kind == LS__SETITEM;
    bool views = node->kind == LS__READ || node->kind == LS__ROWS || node->kind == LS__GETITEM;
    if (writes && t->run.model && t->run.paused) status = make_sources(t, ls__run_value(t->run.model), false);
    else if (!writes && !views) status = make_sources(t, &t->run.values[id], node->kind == LS__HOST);
  }
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) {
    const ls__node *access = &t->owner.nodes.at[i];
    if ((access->kind != LS__GRAD && access->kind != LS__SETGRAD) || access->stream[0].kind != LS_NODE) continue;
    if (t->plan.nodes[i].needed && !t->run.nodes[i].done && !t->run.nodes[i].gradient && ls__grad_is_ready(t, i)) status = ls__grad_capture(t, i);
  }
  return status;
}
