/* Edits at a point: a value is replaced by another, or changed in place. An edit in place changes neither the caller's tensors nor the
   parameters, nor values that a script line above the edit has yet to use. */
#include <string.h>
#include "trace/trace.h"

/* ---- memory of a run ---------------------------------------------------------------------------------------------- */

/* Calls `each` with each tensor that the run holds: those of the model and of the script's values. */
void ls__edit_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context) {
  if (t->run.model) ls__run_each(t->run.model, each, context);
  for (int32_t i = 0; i < t->owner.nodes.count; i++)
    if (t->run.nodes[i].done) ls__value_each(&t->run.values[i], each, context);
  ls__hooks_each(t, each, context);
  ls__twins_each(t, each, context);
  ls__late_each(t, each, context);
  ls__grad_each(t, each, context);
}

typedef struct swap {
  void *old;
  const ls_value *fresh;
} swap;

static void swap_one(void *context, ls_value *tensor) {
  const swap *s = context;
  if (tensor->as.p != s->old) return;
  ls_value_retain(s->fresh);
  ls__replace(tensor, *s->fresh);
}

void ls__edit_everywhere(ls_trace *t, void *old, const ls_value *fresh) {
  swap s = {old, fresh};
  ls__edit_each(t, swap_one, &s);
}

typedef struct move {
  ls__move *of;
  ls_trace *t;
  bool grew, notes;
  ls_status status;
} move;

static void grow(void *context, ls_value *tensor) {
  move *m = context;
  if (ls__move_grow(m->of, tensor->as.p)) m->grew = true;
}

static void go_along(void *context, ls_value *tensor) {
  move *m = context;
  if (m->status) return;
  ls_value old = *tensor;
  ls_value_retain(&old);
  m->status = ls__move_tensor(m->of, tensor);
  if (!m->status && m->notes && tensor->as.p != old.as.p) m->status = ls__grad_moved(m->t, old.as.p, tensor);
  ls_value_release(&old);
}

/* Copies the memory in which the tensor `self` lies, and moves all that the run holds of it to the copy: the tensor itself, and the tensors
   that overlap with it, whoever made them. */
ls_status ls__edit_own(ls_trace *t, const ls_value *self) {
  move m = {.t = t, .notes = t->gradients && ls__rows_several(t)};
  ls_status status = ls__move_new(self->as.p, &m.of);
  if (status) return status;
  do {
    m.grew = false;
    ls__edit_each(t, grow, &m);
  } while (m.grew);
  m.status = ls__move_copy(m.of);
  if (!m.status) ls__edit_each(t, go_along, &m);
  ls__move_free(m.of);
  return m.status;
}

/* ---- what lines above have yet to use --------------------------------------------------------------------------- */

/* Makes argument `k` of node `id`, which has yet to run, the value `v`, a new reference; releases `v` where that fails. */
static ls_status use_instead(ls_trace *t, int32_t id, int32_t k, ls_value v) {
  ls__node *own = ls__trace_own_node(t, id);
  if (!own) {
    ls_value_release(&v);
    return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a node that an edit must not change");
  }
  ls__version_note(&v);
  t->plan.nodes[own->stream[k].aux].uses--;
  own->stream[k] = v;
  return LS_OK;
}

/* Prepares the call of node `id` again, after its arguments became others. */
static ls_status prepare_again(ls_trace *t, int32_t id) {
  ls__node *own = t->run.nodes[id].instead;
  if (!own || !own->op) return LS_OK;
  ls__call_free(own->call);
  own->call = NULL;
  return ls__call_prepare(own->op, own->stream, own->n, t->owner.nodes.kinds, &own->call);
}

bool ls__value_reaches(const ls_value *v, void *tensor) {
  if (v->kind == LS_TENSOR) return ls__tensor_overlaps(v->as.p, tensor);
  for (int32_t i = 0; (v->kind == LS_TUPLE || v->kind == LS_STRUCT) && i < ls_seq_length(v); i++)
    if (ls__value_reaches(&ls__seq_items(v)[i], tensor)) return true;
  return false;
}

/* Returns the copy that node `id` uses for an argument before `k` that names the same value; NULL where there is none. */
static const ls_value *kept_before(const ls_trace *t, int32_t id, int32_t k) {
  const ls_value *given = t->owner.nodes.at[id].stream, *used = ls__seen(t, id)->stream;
  for (int32_t j = 0; j < k; j++)
    if (given[j].kind == LS_NODE && given[j].aux == given[k].aux && used[j].kind != LS_NODE) return &used[j];
  return NULL;
}

/* Makes node `id`, which has yet to run, use copies of those of its arguments that lie in the memory of `tensor`, since `tensor` is about
   to change. An element of a sequence needs no copy of the sequence: the nodes that use the element get one. */
static ls_status keep_arguments(ls_trace *t, int32_t id, void *tensor) {
  const ls__node *node = ls__seen(t, id);
  /* the first argument of a node that reads or sets a gradient only names the value whose gradient is meant, so it needs no copy */
  bool names = node->kind == LS__GRAD || node->kind == LS__SETGRAD, kept = false;
  for (int32_t k = names; k < node->n; k++, node = ls__seen(t, id)) {
    const ls_value *arg = &node->stream[k];
    if (arg->kind != LS_NODE || !ls__value_reaches(&t->run.values[arg->aux], tensor)) continue;
    const ls_value *same = kept_before(t, id, k);
    ls_value copy = same ? *same : t->run.values[arg->aux];
    ls_value_retain(&copy);
    ls_status status = same ? LS_OK : ls__late_keep(t, id, &copy);
    if (!status && !same) status = ls__own_memory(&copy);
    if (status) {
      ls_value_release(&copy);
      return status;
    }
    if ((status = use_instead(t, id, k, copy))) return status;
    kept = true;
  }
  return kept ? prepare_again(t, id) : LS_OK;
}

/* Called before node `edit` changes `tensor`: nodes that were recorded before the edit and have yet to run get copies of those of their
   arguments that lie in the memory of `tensor`. */
static ls_status keep_for_lines_above(ls_trace *t, int32_t edit, void *tensor) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < edit && !status; i++)
    if (!t->run.nodes[i].done && t->plan.nodes[i].needed) status = keep_arguments(t, i, tensor);
  return status ? status : ls__hooks_keep(t, edit, tensor);
}

ls_status ls__edit_changed(ls_trace *t, int32_t id, const ls_value *v) {
  ls_status status = LS_OK;
  for (int32_t i = 0; (v->kind == LS_TUPLE || v->kind == LS_STRUCT) && i < ls_seq_length(v) && !status; i++)
    status = ls__edit_changed(t, id, &ls__seq_items(v)[i]);
  if (v->kind != LS_TENSOR) return status;
  for (int32_t i = 0; i < id; i++) {
    const ls__node *node = ls__seen(t, i);
    if (t->run.nodes[i].done || !t->plan.nodes[i].needed) continue;
    for (int32_t k = 0; k < node->n; k++) {
      if (node->stream[k].kind != LS_NODE || !ls__value_reaches(&t->run.values[node->stream[k].aux], v->as.p)) continue;
      ls__fail(LS_ERROR_CHANGED, "the function given to apply has changed a value in place that a line above has yet to use; clone it in "
                                 "the function, or change it by an operator in the body");
      ls__fail_site(t->owner.nodes.at[id].site, node->site);
      return LS_ERROR_CHANGED;
    }
  }
  return ls__twins_follow(t, id, v);
}

ls_status ls__edit_protect(ls_trace *t, void *tensor) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++)
    if (t->run.nodes[i].done && ls__stream_shares(&t->run.values[i], 1, tensor)) status = ls__own_memory(&t->run.values[i]);
  return status ? status : ls__hooks_keep(t, -1, tensor);
}

/* Makes the value that the model uses where a script replaces a value by `given`: `given` itself, or a copy of `given` where the model
   could change `given` in place. */
static ls_status hand_over(ls_trace *t, const ls_value *given, ls_value *out) {
  ls_value own;
  ls_status status = ls__own(given, 1, &own);
  if (status) return status;
  bool edits = t->run.model && ls__program_edits(ls__run_program(t->run.model));
  for (int32_t i = 0; i < t->hook_count && !edits; i++) edits = t->hooks[i].run && ls__program_edits(t->hooks[i].program);
  if (edits && (given->kind != LS_TENSOR || ls__own_foreign(t, given->as.p)) && (status = ls__own_memory(&own))) {
    ls_value_release(&own);
    return status;
  }
  *out = own;
  return LS_OK;
}

/* ---- one node --------------------------------------------------------------------------------------------------- */

/* Before an invoke sets its rows of a sequence at a point: what the invoke, or one that sees all rows, has read of the sequence stays. */
static ls_status keep_read(ls_trace *t, int32_t id, const ls_value *there) {
  int64_t time = t->plan.nodes[id].time;
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    ls_value *v = &t->run.values[i], fresh;
    bool own = node->invoke == t->owner.nodes.at[id].invoke || (node->invoke >= 0 && t->invokes[node->invoke].kind != LS_INVOKE_ROWS);
    if (node->kind != LS__READ || !own || !t->run.nodes[i].done || t->plan.nodes[i].time != time || v->as.p != there->as.p) continue;
    if (!(status = ls__own(v, 1, &fresh))) ls__replace(v, fresh);
  }
  return status;
}

/* Returns the value of an argument: where the argument is a node, the value that the run computed for the node. */
static ls_value argument_of(const ls_trace *t, const ls_value *arg) { return arg->kind == LS_NODE ? t->run.values[arg->aux] : *arg; }

ls_status ls__edit_write(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_value given = argument_of(t, &node->stream[0]), fresh, *there = ls__run_value(t->run.model);
  ls_status status = there->kind ? ls__same_structure(there, &given) : ls__function_may_return(ls__trace_point(t, node).function, &given);
  if (status) return status;
  if (!ls__rows_all(t, node->invoke)) {
    if (ls__is_sequence(there->kind) && (status = keep_read(t, id, there))) return status;
    return ls__rows_set(t, id, there, &given);
  }
  status = ls__rows_keep(t, id, -1, there, &given);
  if (!status && !(status = hand_over(t, &given, &fresh))) ls__replace(there, fresh);
  return status;
}

ls_status ls__edit_put(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_value given = argument_of(t, &node->stream[0]), fresh;
  ls_status status = ls__hook_reach(t, node);
  if (status) return status;
  ls_value *there = ls__run_value(t->hooks[node->hook].run);
  status = there->kind ? ls__same_structure(there, &given)
                       : ls__function_may_return(ls__program_point(t->hooks[node->hook].program, node->slot).function, &given);
  if (!status && !(status = hand_over(t, &given, &fresh))) ls__replace(there, fresh);
  return status;
}

static ls_status no_piece(const ls_value *self, const ls_value *key) {
  const char **keys = ls__seq_keys(self);
  int32_t length = ls_seq_length(self);
  return key->kind == LS_STRING ? ls__fail(LS_ERROR_NAME, "this value has no field \"%s\"%s", key->as.s,
                                           ls__near(key->as.s, keys, keys ? (size_t)length : 0))
                                : ls__fail(LS_ERROR_INDEX, "the index is out of range: this value has %d elements", length);
}

static bool has_inside(const ls_value *v, const void *sequence) {
  if (!ls__is_sequence(v->kind)) return false;
  if (v->as.p == sequence) return true;
  for (int32_t i = 0; i < ls_seq_length(v); i++)
    if (has_inside(&ls__seq_items(v)[i], sequence)) return true;
  return false;
}

static int32_t read_of(const ls_trace *t, int32_t id) {
  for (int32_t above = id; above >= 0; above = ls__trace_above(t, above)) id = above;
  return id;
}

/* Before node `id` replaces an element of the sequence `self`: what other lines have read of it keeps the old element, as the value of a point
   that is replaced as a whole does. */
static ls_status keep_pieces(ls_trace *t, int32_t id, const ls_value *self) {
  int32_t own = read_of(t, t->owner.nodes.at[id].edits);
  const void *sequence = self->as.p;
  ls_status status = LS_OK;
  for (int32_t i = 0; i < id && !status; i++) {
    ls_value *v = &t->run.values[i], fresh;
    if (!t->run.nodes[i].done || !has_inside(v, sequence) || read_of(t, i) == own) continue;
    uint8_t kind = t->owner.nodes.at[read_of(t, i)].kind;
    if ((kind == LS__READ || kind == LS__SEE) && !(status = ls__own(v, 1, &fresh))) ls__replace(v, fresh);
  }
  return status;
}

/* Executes self[index] = value where self is a tuple or a struct. */
static ls_status set_piece(ls_trace *t, int32_t id, ls_value *self) {
  const ls__node *node = ls__seen(t, id);
  if (node->n != 3)
    return ls__fail(LS_ERROR_ARGUMENT, "an assignment to a tuple takes one index, to a struct one field name; the first element is x[0]");
  ls_value key = argument_of(t, &node->stream[2]), given = argument_of(t, &node->stream[1]), fresh;
  int32_t i = ls__rows_element(self, &key);
  if (i < 0) return no_piece(self, &key);
  ls_value *piece = &ls__seq_items(self)[i];
  ls_status status = piece->kind != LS_NONE ? ls__same_structure(piece, &given) : LS_OK;
  int32_t rows = ls__rows_node(t, node->edits);
  if (status) return status;
  if (rows < 0) {
    status = ls__rows_keep(t, node->edits, i, self, &given);
    if (!status) status = keep_pieces(t, id, self);
    if (!status) status = hand_over(t, &given, &fresh);
  } else {
    ls_value *whole = ls__rows_whole(t, node->edits);
    if (whole->kind != self->kind) return ls__fail(LS_ERROR_STATE, "this element cannot be set, since it is no part of the value "
                                                                           "at the model's point");
    status = ls__rows_set_element(t, node->edits, i, whole, &given, &fresh);
  }
  if (!status) ls__replace(piece, fresh);
  return status;
}

/* A value in memory of the caller or of the model is replaced by a copy before it changes. So is every value while autograd records, since what
   was computed from it may need its numbers for a gradient; nodes recorded before node `id` that have yet to run get copies of the unchanged value. */
ls_status ls__edit_prepare(ls_trace *t, int32_t id, ls_value *self) {
  if (self->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only a tensor can be changed in place");
  if (id >= 0 && ls__seen(t, id)->edits >= 0 && ls__own_is_cached(t, ls__seen(t, id)->edits, self->as.p))
    return ls__fail(LS_ERROR_PASSED, "these keys and values are memory of the cache, since the run came here before this line was written; "
                                     "write the line above the first one that needs a number, or set the value: x.k = x.k * 2");
  ls_status status = t->run.late_count && id >= 0 ? ls__late_check(t, id, self->as.p) : LS_OK;
  /* lines above get their copies first, of the values whose gradients they take part in */
  if (!status) status = keep_for_lines_above(t, id, self->as.p);
  bool moves = ls__own_foreign(t, self->as.p) || ls__tensor_requires_grad(self->as.p) || ls_grad_enabled();
  return status || !moves ? status : ls__edit_own(t, self);
}

static bool is_written(const ls__node *node, int32_t of) {
  for (int32_t k = 0, written; (written = ls__node_edits(node, k)) >= 0; k++)
    if (written == of) return true;
  return false;
}

/* Whether argument `k` of a node that changes its first argument names that value again, as in `x:add_(x)`. */
static bool is_again(const ls__node *node, int32_t k) {
  if (!k || node->stream[0].kind != LS_NODE || node->stream[0].aux != node->stream[k].aux) return false;
  for (int32_t i = 0; i < node->n; i++)
    if (node->stream[i].kind == LS_KEY) return false; /* it may be an `out` */
  return true;
}

/* Prepares the changes in place that node `id` makes. Arguments that overlap with what changes keep their memory where that moves. */
static ls_status before_edit(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_value held[LS__LOCAL];
  int32_t n = node->n < LS__LOCAL ? node->n : LS__LOCAL;
  bool moved = false;
  for (int32_t k = 0; k < n; k++) {
    bool given_too = node->stream[k].kind == LS_NODE && (!is_written(node, node->stream[k].aux) || is_again(node, k));
    held[k] = given_too ? t->run.values[node->stream[k].aux] : (ls_value){0};
    ls_value_retain(&held[k]);
  }
  ls_status status = LS_OK;
  for (int32_t k = 0, of; !status && (of = ls__node_edits(ls__seen(t, id), k)) >= 0; k++)
    status = ls__edit_prepare(t, id, &t->run.values[of]);
  for (int32_t k = 0; k < n; k++) {
    const ls_value *arg = &ls__seen(t, id)->stream[k];
    if (status || held[k].kind != LS_TENSOR || t->run.values[arg->aux].as.p == held[k].as.p) {
      ls_value_release(&held[k]);
      continue;
    }
    status = use_instead(t, id, k, held[k]);
    moved = true;
  }
  return status || !moved ? status : prepare_again(t, id);
}

/* Executes an edit where several invokes share a batch, so that an edited value may be a part of a larger tensor. The function fails where
   the operator changes the shape or strides of the part (as `t_` does, or an operator with `out` whose result has another shape), since it
   could then write to the rows of other invokes, or leave the larger tensor unchanged. */
static ls_status edit_part(ls_trace *t, int32_t id, ls_value *out) {
  uint64_t before[LS__LOCAL];
  const ls__node *node = ls__seen(t, id);
  int32_t n = 0;
  for (int32_t of; n < LS__LOCAL && (of = ls__node_edits(node, n)) >= 0; n++) {
    void *tensor = t->run.values[of].as.p;
    before[n] = ls__tensor_fills(tensor) ? 0 : ls__tensor_layout(tensor);
  }
  ls_value made;
  ls_status status = ls__node_execute(node, t->run.values, &made);
  if (status) return status;
  for (int32_t k = 0; k < n; k++)
    if (before[k] && before[k] != ls__tensor_layout(t->run.values[ls__node_edits(node, k)].as.p)) {
      ls_value_release(&made);
      return ls__fail(LS_ERROR_SHAPE, "among several invokes a value cannot be given another shape in place, since it is a part of "
                                      "what all of them share; clone it first");
    }
  *out = made;
  return LS_OK;
}

/* Executes an operator in place, or self[index] = value. */
ls_status ls__edit_value(ls_trace *t, int32_t id, ls_value *out) {
  const ls__node *node = &t->owner.nodes.at[id];
  int32_t target = node->edits;
  ls_value *self = &t->run.values[target];
  if (node->kind == LS__SETITEM && (self->kind == LS_TUPLE || self->kind == LS_STRUCT)) {
    *out = (ls_value){0};
    return set_piece(t, id, self);
  }
  ls_status status = before_edit(t, id);
  if (!status) status = ls__rows_several(t) ? edit_part(t, id, out) : ls__node_execute(ls__seen(t, id), t->run.values, out);
  if (!status) status = ls__grad_edited(t, ls__node_edits(ls__seen(t, id), 1) < 0 ? target : -1, self);
  for (int32_t k = 0, of; !status && (of = ls__node_edits(ls__seen(t, id), k)) >= 0; k++)
    status = ls__twins_follow(t, id, &t->run.values[of]);
  if (!status && t->gradients) status = ls__grad_renew(t, id);
  if (status) ls__replace(out, (ls_value){0});
  return status;
}
