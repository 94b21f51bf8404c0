/* Memory that does not belong to a run: the caller's tensors, and the model's parameters and buffers. A trace leaves them unchanged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

bool ls__own_foreign(const ls_trace *t, void *tensor) {
  if (t->run.model && ls__run_borrows(t->run.model, tensor)) return true;
  for (int32_t i = 0; i < t->run.supplied_count; i++)
    if (t->run.supplied[i] == ls__tensor_memory(tensor)) return true;
  for (int32_t i = 0; i < t->invoke_count; i++)
    if (ls__stream_shares(t->invokes[i].arguments, t->invokes[i].argument_count, tensor)) return true;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    if (ls__stream_shares(node->stream, node->n, tensor)) return true;
    if (node->program && ls__program_owns(node->program, tensor)) return true;
  }
  return false;
}

ls_status ls__own_unchanged(const ls__node *node) {
  return ls__arguments_unchanged(node->stream, node->n, "a tensor used here was changed in place before the model ran; clone it where it is used");
}

/* ---- functions of the script -------------------------------------------------------------------------------------- */

typedef struct seen {
  ls_trace *t;
  int64_t versions;
  ls_status status;
} seen;

static void add_version(void *context, ls_value *tensor) { ((seen *)context)->versions += ls__tensor_version(tensor->as.p); }

static int64_t versions_of(ls_trace *t, ls_value *s, int32_t n) {
  seen all = {.t = t};
  for (int32_t k = 0; k < n; k++) ls__value_each(&s[k], add_version, &all);
  return all.versions;
}

static void make_own(void *context, ls_value *tensor) {
  seen *all = context;
  bool rows = all->t->gradients && ls__rows_several(all->t) && ls__tensor_requires_grad(tensor->as.p);
  if (!all->status && (rows || ls__own_foreign(all->t, tensor->as.p))) all->status = ls__edit_own(all->t, tensor);
}

/* Prepares the arguments of a function of the script, which may change them in place: values of the run leave the memory of the caller and
   of the model, and tensors of the caller cannot be changed. Where gradients are asked for, the rows of an invoke are in a copy of the batch
   then, as for any edit in place, since the other invokes have the gradients of the batch before. */
ls_status ls__own_give(ls_trace *t, int32_t id, ls_value *s) {
  const ls__node *node = ls__seen(t, id);
  seen all = {.t = t};
  for (int32_t k = 0; k < node->n && !all.status; k++)
    if (node->stream[k].kind == LS_NODE) ls__value_each(&t->run.values[node->stream[k].aux], make_own, &all);
  for (int32_t k = 0; k < node->n; k++) {
    s[k] = node->stream[k].kind == LS_NODE ? t->run.values[node->stream[k].aux] : node->stream[k];
    if (node->stream[k].kind == LS_TENSOR) s[k].aux = LS_READ_ONLY;
  }
  t->run.given = versions_of(t, s, node->n);
  return all.status;
}

static void note_supplied(void *context, ls_value *tensor) {
  seen *all = context;
  ls_trace *t = all->t;
  const void *memory = ls__tensor_memory(tensor->as.p);
  if (!memory || all->status) return;
  if (t->run.supplied_count == t->run.supplied_room) {
    int32_t room = t->run.supplied_room ? 2 * t->run.supplied_room : 8;
    const void **bigger = realloc(t->run.supplied, sizeof *bigger * (size_t)room);
    if (!bigger) {
      all->status = ls__fail(LS_ERROR_MEMORY, "out of memory for the result of a function of the script");
      return;
    }
    t->run.supplied = bigger;
    t->run.supplied_room = room;
  }
  t->run.supplied[t->run.supplied_count++] = memory;
}

/* Values were moved to a copy of a batch for a function of the script, node `node`, which has changed one of them or none. */
static ls_status followed(ls_trace *t, const ls__node *node, bool changed) {
  int32_t of = -1;
  bool one = true;
  for (int32_t k = 0; k < node->n; k++) {
    if (node->stream[k].kind != LS_NODE || node->stream[k].aux == of) continue;
    one = one && of < 0 && t->run.values[node->stream[k].aux].kind == LS_TENSOR;
    of = node->stream[k].aux;
  }
  if (changed && !one)
    return ls__fail(LS_ERROR_STATE, "among several invokes with gradients a function given to apply can change one tensor in place, and gets "
                                    "no other values; clone what it changes");
  return ls__grad_edited(t, of, changed ? &t->run.values[of] : NULL);
}

/* A function of the script has returned `result`, which is memory of the script from now on, and may have changed its arguments in place. */
ls_status ls__own_take(ls_trace *t, int32_t id, ls_value *result) {
  const ls__node *node = ls__seen(t, id);
  seen all = {.t = t};
  ls_value local[LS__LOCAL], *s = ls__substitute(node->stream, node->n, t->run.values, local);
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a call");
  bool changed = versions_of(t, s, node->n) != t->run.given;
  if (s != local) free(s);
  if (t->run.moved_count) all.status = followed(t, node, changed);
  for (int32_t k = 0; changed && k < node->n && !all.status; k++)
    if (node->stream[k].kind == LS_NODE) all.status = ls__edit_changed(t, id, &t->run.values[node->stream[k].aux]);
  if (!all.status) ls__value_each(result, note_supplied, &all);
  return all.status;
}

/* ---- a model that changes things itself ------------------------------------------------------------------------- */

/* A trace has its own numbers of the tensors that the forward changes (running means, counters). They are in the model while the run goes
   on. While the run is paused they are in a copy, and the model has the numbers that other code gave it. */

static ls_status keep_tensor(ls_trace *t, const ls_value *v) {
  for (int32_t i = 0; i < t->run.kept_count; i++)
    if (t->run.kept[i].tensor.as.p == v->as.p) return LS_OK;
  if (t->run.kept_count == t->run.kept_room) {
    int32_t room = t->run.kept_room ? 2 * t->run.kept_room : 4;
    ls__kept *bigger = realloc(t->run.kept, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for copies of the tensors that the model changes");
    t->run.kept = bigger;
    t->run.kept_room = room;
  }
  ls__kept kept = {.tensor = {.kind = LS_TENSOR, .as.p = v->as.p}, .had_history = ls__tensor_has_history(v->as.p)};
  ls_status status = ls__tensor_clone(v->as.p, &kept.other);
  if (!status && (status = ls__tensor_clone(v->as.p, &kept.spare))) ls_value_release(&kept.other);
  if (status) return status;
  ls_value_retain(v);
  t->run.kept[t->run.kept_count++] = kept;
  return LS_OK;
}

/* Copies those tensors of a module (running means, counters) that the forward of the program `p` changes, so that the end of the trace can
   restore them. */
ls_status ls__own_keep(ls_trace *t, const ls_program *p) {
  int32_t n;
  const ls_value *changed = ls__program_changed(p, &n);
  ls_status status = LS_OK;
  for (int32_t i = 0; i < n && !status; i++) status = keep_tensor(t, &changed[i]);
  return status;
}

/* Whether a value shares memory with a tensor that the forward changes. */
static bool shares_kept(const ls_trace *t, const ls_value *v) {
  bool shares = false;
  for (int32_t k = 0; k < t->run.kept_count && !shares; k++) shares = ls__stream_shares(v, 1, t->run.kept[k].tensor.as.p);
  return shares;
}

/* Puts a copy of the tensor `old` into its place wherever the run holds it. */
static ls_status replace_by_copy(ls_trace *t, void *old) {
  ls_value copy;
  ls_status status = ls__tensor_clone(old, &copy);
  if (status) return status;
  ls__tensor_retain(old);
  ls__edit_everywhere(t, old, &copy);
  ls__tensor_release(old);
  ls_value_release(&copy);
  return LS_OK;
}

/* Gives the value of node `id` memory of its own, in the model's run too, so that it keeps its numbers. */
static ls_status part(ls_trace *t, int32_t id) {
  ls_value *v = &t->run.values[id];
  return v->kind == LS_TENSOR ? replace_by_copy(t, v->as.p) : ls__own_memory(v);
}

static void copy_numbers(const ls_value *to, const ls_value *from) {
  static const ls_value everything = {.kind = LS_ELLIPSIS};
  ls__index_set(to, &everything, 1, from);
}

/* Puts the numbers of the trace into the model in the place of those that are there, or back. Autograd sees no change. */
static void exchange(ls_trace *t) {
  t->run.inside = !t->run.inside;
  if (!t->run.kept_count) return;
  ls__mode saved;
  ls__mode_enter(false, &saved);
  for (int32_t k = 0; k < t->run.kept_count; k++) {
    const ls__kept *kept = &t->run.kept[k];
    copy_numbers(&kept->spare, &kept->tensor);
    copy_numbers(&kept->tensor, &kept->other);
    copy_numbers(&kept->other, &kept->spare);
  }
  ls__mode_leave(&saved);
}

void ls__own_enter(ls_trace *t) {
  if (!t->run.inside) exchange(t);
}

ls_status ls__own_leave(ls_trace *t) {
  if (!t->run.inside) return LS_OK;
  ls_status status = LS_OK;
  for (int32_t i = 0; t->run.kept && i < t->owner.nodes.count && !status; i++)
    if (t->run.nodes[i].done && shares_kept(t, &t->run.values[i])) status = part(t, i);
  if (!status) exchange(t);
  return status;
}

void ls__own_put_back(ls_trace *t) {
  if (!t->run.kept && !t->run.inside) return;
  for (int32_t i = 0; t->run.kept && t->run.inside && i < t->owner.nodes.count; i++)
    if (t->run.nodes[i].done && t->owner.nodes.at[i].saved && shares_kept(t, &t->run.values[i])) ls__own_memory(&t->run.values[i]);
  if (t->run.inside) exchange(t);
  for (int32_t k = 0; t->run.kept && k < t->run.kept_count; k++) {
    if (!t->run.kept[k].had_history) ls__tensor_drop_history(t->run.kept[k].tensor.as.p);
    ls_value_release(&t->run.kept[k].tensor);
    ls_value_release(&t->run.kept[k].other);
    ls_value_release(&t->run.kept[k].spare);
  }
  free(t->run.kept);
  t->run.kept = NULL;
  t->run.kept_count = t->run.kept_room = 0;
}

/* Whether some invoke was given an argument of this name. */
static bool is_given(const ls_trace *t, const char *name) {
  for (int32_t i = 0; i < t->invoke_count; i++)
    for (int32_t k = 0; k < t->invokes[i].argument_count; k++)
      if (t->invokes[i].arguments[k].kind == LS_KEY && !strcmp(t->invokes[i].arguments[k].as.s, name)) return true;
  return false;
}

/* Whether the model's forward fills its argument `name`, such as a cache: that is what the caller passes it for. */
static bool is_filled(const ls_trace *t, const char *name) {
  char key[64];
  snprintf(key, sizeof key, "fills %s", name);
  return t->module && ls__module_axis(t->module, key, 0) == 1;
}

/* Whether a tensor lies in an argument of the run that the forward fills step by step: a cache, which the caller or a generation made. */
static bool is_cache(const ls_trace *t, void *tensor) {
  int32_t n = 0;
  const ls_value *s = t->run.model ? ls__run_arguments(t->run.model, &n) : NULL;
  for (int32_t k = 1; k < n; k++)
    if (s[k - 1].kind == LS_KEY && ls__stream_shares(&s[k], 1, tensor) && (!is_given(t, s[k - 1].as.s) || is_filled(t, s[k - 1].as.s)))
      return true;
  return false;
}

bool ls__own_gives(const ls_trace *t) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++)
    if (t->owner.nodes.at[i].kind == LS__HOST && t->plan.nodes[i].needed) return true;
  return false;
}

bool ls__own_is_cached(const ls_trace *t, int32_t id, void *tensor) {
  int32_t root = t->plan.nodes[id].root;
  const ls__node *read = root >= 0 ? &t->owner.nodes.at[root] : NULL;
  if (!read || read->kind != LS__READ || !read->step || ls__trace_point(t, read).kind == LS_POINT_INPUT) return false;
  return is_cache(t, tensor);
}

ls_status ls__own_apart(ls_trace *t, int32_t id) {
  ls_value *v = ls__run_value(t->run.model);
  bool may_change = t->plan.nodes[t->plan.nodes[id].root].edited >= 0 || ls__own_gives(t);
  if (v->kind != LS_TENSOR || !may_change || !ls__own_is_cached(t, id, v->as.p)) return LS_OK;
  return replace_by_copy(t, v->as.p);
}

/* Copies the arguments of a module that a body calls, where the module could change memory of the caller or of the model. The copies are
   in `own`, which the caller releases. */
ls_status ls__own_arguments(ls_trace *t, const ls__node *node, ls_value *s, ls_value *own) {
  for (int32_t k = 0; k < node->n; k++) {
    if (s[k].kind != LS_TENSOR || ls__tensor_requires_grad(s[k].as.p) || !ls__own_foreign(t, s[k].as.p)) continue;
    if (is_cache(t, s[k].as.p)) continue;
    ls_status status = ls__tensor_clone(s[k].as.p, &own[k]);
    if (status) return status;
    s[k] = own[k];
  }
  return LS_OK;
}

static bool is_input(const ls_trace *t, const ls_value *v) {
  for (int32_t i = 0; i < t->invoke_count; i++) {
    const ls__invoke *invoke = &t->invokes[i];
    for (int32_t k = 0; k < invoke->argument_count; k++)
      if (invoke->arguments[k].kind == LS_TENSOR && ls__tensor_shares(invoke->arguments[k].as.p, v->as.p)) return true;
  }
  return false;
}

/* Lets a model that changes values in place run on copies of the caller's tensors. */
ls_status ls__own_inputs(ls_trace *t) {
  ls_status status = LS_OK;
  int32_t n;
  ls_value *arguments = ls__run_arguments(t->run.model, &n);
  for (int32_t k = 0; k < n && !status; k++) {
    ls_value *v = &arguments[k];
    if (v->kind != LS_TENSOR || (k && arguments[k - 1].kind == LS_KEY && is_filled(t, arguments[k - 1].as.s))) continue;
    if (!ls__tensor_requires_grad(v->as.p) && is_input(t, v)) status = ls__own_memory(v);
  }
  return status;
}

/* ---- a part of a batch ---------------------------------------------------------------------------------------------- */

/* Fails where several invokes share a batch and an operator that addresses memory (as_strided) could reach the rows of another invoke. */
ls_status ls__own_inside(const ls_trace *t, const ls__node *node) {
  bool several = ls__rows_several(t);
  for (int32_t k = 0; several && k < node->n; k++) {
    const ls_value *v = node->stream[k].kind == LS_NODE ? &t->run.values[node->stream[k].aux] : &node->stream[k];
    if (v->kind == LS_TENSOR && !ls__tensor_fills(v->as.p))
      return ls__fail(LS_ERROR_ARGUMENT, "among several invokes %s could reach the rows of another invoke in the memory around this "
                                         "value; clone the value first", ls__op_name(node->op));
  }
  return LS_OK;
}
