/* Edits at a point: a value is replaced by another, or changed in place. An edit in place changes neither the caller's tensors nor the
   parameters, nor values that a script line above the edit has yet to use. */
#include <string.h>
#include "trace/trace.h"

/* Returns the node with the outermost tensor in whose memory the value of node `id` lies, through views of views and elements of
   sequences. */
static int32_t base_of(const ls_trace *t, int32_t id) {
  int32_t base = id;
  for (; id >= 0; id = ls__trace_above(t, id))
    if (t->run.values[id].kind == LS_TENSOR) base = id;
  return base;
}

void ls__edit_everywhere(ls_trace *t, void *old, const ls_value *fresh) {
  if (t->run.model) ls__run_swap(t->run.model, old, fresh);
  for (int32_t i = 0; i < t->owner.nodes.count; i++)
    if (t->run.nodes[i].done) ls__value_swap(&t->run.values[i], old, fresh);
}

/* Computes the value of node `id` again, where it is a view or an element of another value that was replaced. */
static ls_status look_again(ls_trace *t, int32_t id) {
  ls_value *values = t->run.values, *v = &values[id], fresh;
  const ls__node *node = ls__seen(t, id);
  int32_t above = ls__trace_above(t, id);
  bool piece = node->kind == LS__GETITEM && above >= 0 && values[above].kind != LS_TENSOR;
  bool view = t->run.nodes[id].keeps_above || node->kind == LS__ROWS || piece;
  if (!t->run.nodes[id].done || !view || node->edits >= 0 || above < 0 || !values[above].kind || !v->kind) return LS_OK;
  ls_status status = node->kind == LS__ROWS ? ls__rows_take(t, id, &values[above], &fresh) : ls__node_execute(node, values, &fresh);
  if (status) return status;
  ls_value before = *v;
  ls_value_retain(&before);
  ls__replace(v, fresh);
  if (before.kind == LS_TENSOR && before.as.p != v->as.p) ls__edit_everywhere(t, before.as.p, v);
  ls_value_release(&before);
  return LS_OK;
}

/* Copies the tensor in whose memory the value of node `target` lies, puts the copy in the place of that tensor in all values of the run,
   and computes every view of the tensor again. */
static ls_status make_own(ls_trace *t, int32_t target) {
  int32_t base = base_of(t, target);
  const ls_value *whole = ls__rows_whole(t, base);
  if (whole->kind != LS_TENSOR) whole = &t->run.values[base];
  void *old = whole->as.p;
  ls_value copy;
  ls_status status = ls__tensor_clone(old, &copy);
  if (status) return status;
  ls__tensor_retain(old);
  ls__edit_everywhere(t, old, &copy);
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++)
    if (t->run.nodes[i].done && ls__stream_shares(&t->run.values[i], 1, old)) status = look_again(t, i);
  ls__tensor_release(old);
  ls_value_release(&copy);
  return status;
}

/* ---- what lines above have yet to use --------------------------------------------------------------------------- */

/* Makes node `id`, which has yet to run, use copies of those of its arguments that lie in the memory of `tensor`, since `tensor` is about
   to change. */
static ls_status keep_arguments(ls_trace *t, int32_t id, void *tensor) {
  const ls__node *node = ls__seen(t, id);
  /* the first argument of a node that reads or sets a gradient only names the value whose gradient is meant, so it needs no copy */
  bool names = node->kind == LS__GRAD || node->kind == LS__SETGRAD;
  ls__node *own = NULL;
  for (int32_t k = names; k < node->n; k++) {
    const ls_value *arg = &node->stream[k];
    if (arg->kind != LS_NODE || t->run.values[arg->aux].kind != LS_TENSOR ||
        !ls__tensor_overlaps(t->run.values[arg->aux].as.p, tensor))
      continue;
    int32_t from = arg->aux;
    ls_value copy;
    ls_status status = ls__tensor_clone(t->run.values[from].as.p, &copy);
    if (status) return status;
    if (!own && !(own = ls__trace_own_node(t, id))) {
      ls_value_release(&copy);
      return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a node that an edit must not change");
    }
    copy.aux = (int32_t)ls__tensor_version(copy.as.p);
    own->stream[k] = copy;
    t->plan.nodes[from].uses--;
    node = own;
  }
  if (!own || !own->op) return LS_OK;
  ls__call_free(own->call);
  own->call = NULL;
  return ls__call_prepare(own->op, own->stream, own->n, t->owner.nodes.kinds, &own->call);
}

/* Called before node `edit` changes `tensor`: nodes that were recorded before the edit and have yet to run get copies of those of their
   arguments that lie in the memory of `tensor`. */
static ls_status keep_for_lines_above(ls_trace *t, int32_t edit, void *tensor) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < edit && !status; i++)
    if (!t->run.nodes[i].done && t->plan.nodes[i].needed) status = keep_arguments(t, i, tensor);
  return status;
}

ls_status ls__edit_protect(ls_trace *t, void *tensor) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++)
    if (t->run.nodes[i].done && ls__stream_shares(&t->run.values[i], 1, tensor)) status = ls__own_memory(&t->run.values[i]);
  return status;
}

/* Makes the value that the model uses where a script replaces a value by `given`: `given` itself, or a copy of `given` where the model
   could change `given` in place. */
static ls_status hand_over(ls_trace *t, const ls_value *given, ls_value *out) {
  ls_value own;
  ls_status status = ls__own(given, 1, &own);
  if (status) return status;
  bool edits = ls__program_edits(ls__run_program(t->run.model));
  if (edits && (given->kind != LS_TENSOR || ls__own_foreign(t, given->as.p)) && (status = ls__own_memory(&own))) {
    ls_value_release(&own);
    return status;
  }
  *out = own;
  return LS_OK;
}

/* ---- one node --------------------------------------------------------------------------------------------------- */

/* Node `id` has written the rows of one invoke, and by this the value at the point has become a new tensor. Computes again what the other
   invokes have read at this point, so that their values lie in the new tensor too. */
static ls_status show_others(ls_trace *t, int32_t id) {
  ls_status status = LS_OK;
  int64_t time = t->plan.nodes[id].time;
  int32_t invoke = t->owner.nodes.at[id].invoke;
  for (int32_t i = 0; i < t->owner.nodes.count && !status; i++) {
    int32_t root = t->plan.nodes[i].root;
    if (!t->run.nodes[i].done || root < 0) continue;
    const ls__node *read = &t->owner.nodes.at[root];
    if (read->kind != LS__READ || t->plan.nodes[root].time != time || read->invoke == invoke ||
        t->invokes[read->invoke].kind != LS_INVOKE_ROWS)
      continue;
    if (t->owner.nodes.at[i].kind == LS__READ && t->run.values[i].kind) {
      ls_value fresh = *ls__run_value(t->run.model);
      ls_value_retain(&fresh);
      ls__replace(&t->run.values[i], fresh);
    } else {
      status = look_again(t, i);
    }
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
    /* the sequence at the point is copied before rows are written to it, so that values read earlier keep the old sequence */
    if (there->kind && (status = ls__own(there, 1, &fresh))) return status;
    if (there->kind) ls__replace(there, fresh);
    status = ls__rows_put(t, id, there, &given);
    return status ? status : show_others(t, id);
  }
  if (!(status = hand_over(t, &given, &fresh))) ls__replace(there, fresh);
  return status;
}

static ls_status no_piece(const ls_value *self, const ls_value *key) {
  const char **keys = ls__seq_keys(self);
  int32_t length = ls_seq_length(self);
  return key->kind == LS_STRING ? ls__fail(LS_ERROR_NAME, "this value has no field \"%s\"%s", key->as.s,
                                           ls__near(key->as.s, keys, keys ? (size_t)length : 0))
                                : ls__fail(LS_ERROR_INDEX, "the index is out of range: this value has %d elements", length);
}

/* Executes self[index] = value where self is a tuple or a struct. */
static ls_status set_piece(ls_trace *t, int32_t id, ls_value *self) {
  const ls__node *node = ls__seen(t, id), *nodes = t->owner.nodes.at;
  if (node->n != 3)
    return ls__fail(LS_ERROR_ARGUMENT, "an assignment to a tuple takes one index, to a struct one field name; the first element is x[0]");
  ls_value key = argument_of(t, &node->stream[2]), given = argument_of(t, &node->stream[1]), fresh;
  int64_t i = key.kind == LS_INT ? key.as.i : key.kind == LS_STRING ? ls_seq_find(self, key.as.s) : -1;
  if (key.kind == LS_INT && i < 0) i += ls_seq_length(self);
  if (i < 0 || i >= ls_seq_length(self)) return no_piece(self, &key);
  ls_value *piece = &ls__seq_items(self)[i];
  ls_status status = piece->kind != LS_NONE ? ls__same_structure(piece, &given) : LS_OK;
  int32_t rows = node->edits;
  while (rows >= 0 && nodes[rows].kind == LS__GETITEM) rows = nodes[rows].stream[0].aux;
  if (!status && nodes[rows].kind == LS__ROWS && !ls__rows_all(t, nodes[rows].invoke)) {
    ls_value *whole = ls__rows_whole(t, node->edits);
    if (whole->kind != self->kind) return ls__fail(LS_ERROR_STATE, "this element cannot be set, since it is no part of the value "
                                                                           "at the model's point");
    status = ls__rows_put(t, rows, &ls__seq_items(whole)[i], &given);
  }
  if (!status) status = hand_over(t, &given, &fresh);
  if (!status) ls__replace(piece, fresh);
  return status;
}

/* Prepares the change in place of the value of node `target` by node `id`: a value in memory of the caller or of the model is replaced by a
   copy, and nodes recorded before `id` that have yet to run get copies of the unchanged value. */
static ls_status before_edit(ls_trace *t, int32_t id, int32_t target) {
  const ls_value *self = &t->run.values[target];
  if (self->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only a tensor can be changed in place");
  ls_status status = LS_OK;
  if (ls__own_foreign(t, self->as.p) || ls__tensor_requires_grad(self->as.p)) status = make_own(t, target);
  return status ? status : keep_for_lines_above(t, id, t->run.values[target].as.p);
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
  ls_status status = LS_OK;
  for (int32_t k = 0, of; !status && (of = ls__node_edits(ls__seen(t, id), k)) >= 0; k++) status = before_edit(t, id, of);
  if (status) return status;
  return ls__rows_several(t) ? edit_part(t, id, out) : ls__node_execute(ls__seen(t, id), t->run.values, out);
}
