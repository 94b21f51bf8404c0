/* Edits at a point: what is there gives way to another value, or is changed in place. Edits in place change neither the
   caller's tensors nor the parameters, and never what a line written above them has yet to use. */
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

static void replace_inside(ls_value *v, void *old, const ls_value *fresh) {
  if (v->kind == LS_TENSOR && v->as.p == old) {
    ls_value_retain(fresh);
    ls__replace(v, *fresh);
  } else if (v->kind == LS_TUPLE || v->kind == LS_STRUCT) {
    ls__seq *seq = v->as.p;
    for (int32_t i = 0; i < seq->length; i++) replace_inside(&seq->items[i], old, fresh);
  }
}

/* The node whose value the value of `id` looks into, through pieces and views of views; only tensors count. */
static int32_t base_of(const ls_graph *g, int32_t id) {
  int32_t base = id;
  for (; id >= 0; id = ls__trace_above(g, id))
    if (g->values[id].kind == LS_TENSOR) base = id;
  return base;
}

void ls__edit_everywhere(ls_graph *g, void *old, const ls_value *fresh) {
  if (g->run) {
    replace_inside(&g->run->value, old, fresh);
    for (int32_t i = 0; i < g->run->cells_used; i++) replace_inside(&g->run->cells[i], old, fresh);
  }
  for (int32_t i = 0; i < g->count; i++)
    if (g->nodes[i].done) replace_inside(&g->values[i], old, fresh);
}

/* Some tensor of the value lies in the memory of `old`. */
static bool touches(const ls_value *v, void *old) { return ls__own_touches(v, 1, old); }

/* Makes the value of a view or a piece again, after what it looks into became another. */
static ls_status look_again(ls_graph *g, int32_t id) {
  ls_value *v = &g->values[id], fresh;
  const ls__node *node = &g->nodes[id];
  int32_t above = ls__trace_above(g, id);
  bool piece = node->kind == LS__GETITEM && above >= 0 && g->values[above].kind != LS_TENSOR;
  bool view = node->holds || node->kind == LS__ROWS || piece;
  if (!node->done || !view || node->edits >= 0 || above < 0 || !g->values[above].kind || !v->kind) return LS_OK;
  ls_status status = node->kind == LS__ROWS ? ls__rows_take(g, id, &g->values[above], &fresh)
                                            : ls__node_execute(&g->nodes[id], g->values, &fresh);
  if (status) return status;
  ls_value before = *v;
  ls_value_retain(&before);
  ls__replace(v, fresh);
  if (before.kind == LS_TENSOR && before.as.p != v->as.p) ls__edit_everywhere(g, before.as.p, v);
  ls_value_release(&before);
  return LS_OK;
}

/* Makes the memory of node `target` the run's own: the tensor that it is a view of is copied, the copy takes its place in
   all that holds it, and every view of it is made again. */
static ls_status make_own(ls_graph *g, int32_t target) {
  int32_t base = base_of(g, target);
  const ls_value *whole = ls__rows_whole(g, base);
  if (whole->kind != LS_TENSOR) whole = &g->values[base];
  void *old = whole->as.p;
  ls_value copy;
  ls_status status = ls__tensor_clone(old, &copy);
  if (status) return status;
  ls__tensor_retain(old);
  ls__edit_everywhere(g, old, &copy);
  for (int32_t i = 0; i < g->count && !status; i++)
    if (g->nodes[i].done && touches(&g->values[i], old)) status = look_again(g, i);
  ls__tensor_release(old);
  ls_value_release(&copy);
  return status;
}

/* ---- what lines above have yet to use --------------------------------------------------------------------------- */

/* A copy of node `id`'s value as a node of its own. */
static ls_status snapshot(ls_graph *g, int32_t id, int32_t *out) {
  ls_status status = ls__node_new(g, LS__READ, NULL, 0, g->nodes[id].site, LS_TENSOR, out);
  if (status) return status;
  g->nodes[*out].done = 1;
  g->nodes[*out].time = g->now;
  g->nodes[*out].root = *out;
  return ls__tensor_clone(g->values[id].as.p, &g->values[*out]);
}

/* Node `edit` is about to change `tensor`: nodes written above it that wait get copies of what they will use. */
static ls_status keep_for_lines_above(ls_graph *g, int32_t edit, void *tensor) {
  for (int32_t i = 0; i < edit; i++) {
    if (g->nodes[i].done || !g->nodes[i].needed) continue;
    bool changed = false;
    for (int32_t k = 0; k < g->nodes[i].n; k++) {
      ls_value *arg = &g->nodes[i].stream[k];
      if (!k && (g->nodes[i].kind == LS__GRAD || g->nodes[i].kind == LS__SETGRAD)) continue; /* it names the value only */
      if (arg->kind != LS_NODE || g->values[arg->aux].kind != LS_TENSOR ||
          !ls__tensor_overlaps(g->values[arg->aux].as.p, tensor))
        continue;
      int32_t from = arg->aux, copy;
      ls_status status = snapshot(g, from, &copy);
      if (status) return status;
      g->nodes[i].stream[k].aux = copy; /* the array of nodes may have moved */
      g->nodes[copy].uses = 1;
      g->nodes[from].uses--;
      changed = true;
    }
    ls__node *node = &g->nodes[i];
    if (changed && node->call) {
      ls__call_free(node->call);
      node->call = NULL;
      ls_status status = ls__call_prepare(node->op, node->stream, node->n, g->kinds, &node->call);
      if (status) return status;
    }
  }
  return LS_OK;
}

ls_status ls__trace_protect(ls_graph *g, void *tensor) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < g->count && !status; i++)
    if (g->nodes[i].done && touches(&g->values[i], tensor)) status = ls__own_memory(&g->values[i]);
  return status;
}

/* A value that goes into a model which changes what it is given in place. */
static ls_status hand_over(ls_graph *g, const ls_value *given, ls_value *out) {
  ls_value own;
  ls_status status = ls__own(given, 1, &own);
  if (status) return status;
  bool copies = g->run->program->in_place && (given->kind != LS_TENSOR || ls__own_foreign(g, given->as.p));
  if (copies && (status = ls__own_memory(&own))) {
    ls_value_release(&own);
    return status;
  }
  *out = own;
  return LS_OK;
}

/* ---- one node --------------------------------------------------------------------------------------------------- */

static ls_status wrong_length(int32_t old, int32_t fresh) {
  return ls__fail(LS_ERROR_SHAPE, "a replaced value needs the %d elements of the old one, not %d", old, fresh);
}

static ls_status wrong_field(const char *key) {
  return ls__fail(LS_ERROR_SHAPE, "a replaced value needs the field \"%s\" of the old one", key);
}

static ls_status wrong_kind(const ls_value *old, const ls_value *fresh) {
  static const char *names[] = {"nothing", "a boolean", "a whole number", "a number", "a text", "a tensor", "a tuple", "a list", "a struct"};
  return ls__fail(LS_ERROR_SHAPE, "the value there is %s; it cannot be replaced by %s%s", names[old->kind], names[fresh->kind],
                  old->kind == LS_TUPLE ? "; set its element [0], or give ls.tuple(x)" : "");
}

static ls_status same_structure(const ls_value *old, const ls_value *fresh) {
  if (old->kind != LS_NONE && old->kind != fresh->kind) return wrong_kind(old, fresh);
  if (old->kind != LS_TUPLE && old->kind != LS_STRUCT) return LS_OK;
  const ls__seq *a = old->as.p, *b = fresh->as.p;
  if (a->length != b->length) return wrong_length(a->length, b->length);
  for (int32_t i = 0; i < a->length; i++) {
    if (a->keys && strcmp(a->keys[i], b->keys[i])) return wrong_field(a->keys[i]);
    ls_status status = same_structure(&a->items[i], &b->items[i]);
    if (status) return status;
  }
  return LS_OK;
}

/* What the function says of the structure of a value that it did not make, since it is replaced unread. */
static ls_status as_recorded(const ls_graph *f, const ls_value *stream, const ls_value *given) {
  const ls__node *node = stream->kind == LS_NODE ? &f->nodes[stream->aux] : NULL;
  if (node && node->kind == LS__CALL) return as_recorded(node->callee, &node->callee->result, given);
  if (node && node->kind == LS__TAP) return as_recorded(f, node->stream, given);
  ls_value old = {.kind = stream->kind == LS_NODE ? f->kinds[stream->aux] : stream->kind};
  if (old.kind == LS_NONE || old.kind >= LS_NODE) return LS_OK;
  if (old.kind != given->kind) return wrong_kind(&old, given);
  if (!node || node->kind != LS__SEQ || (old.kind != LS_TUPLE && old.kind != LS_STRUCT)) return LS_OK;
  const ls__seq *seq = given->as.p;
  int64_t length = node->stream[0].as.i;
  if (length != seq->length) return wrong_length((int32_t)length, seq->length);
  ls_status status = LS_OK;
  for (int32_t i = 1, k = 0; k < length && !status; k++) {
    if (node->stream[i].kind == LS_KEY) {
      const char *key = node->stream[i++].as.s;
      if (!seq->keys || strcmp(key, seq->keys[k])) return wrong_field(key);
    }
    if (node->stream[i].kind == LS_NODE) status = as_recorded(f, &node->stream[i], &seq->items[k]);
    i = ls__stream_value(node->stream, i, node->n);
  }
  return status;
}

/* The rows of other invokes are now in the memory of the replaced value: what they have read there looks into it. */
static ls_status show_others(ls_graph *g, const ls__node *write) {
  ls_status status = LS_OK;
  int64_t time = write->time;
  int32_t invoke = write->invoke;
  for (int32_t i = 0; i < g->count && !status; i++) {
    const ls__node *node = &g->nodes[i];
    if (!node->done || node->root < 0) continue;
    const ls__node *root = &g->nodes[node->root];
    if (root->kind != LS__READ || root->time != time || root->invoke == invoke || g->invokes[root->invoke].kind != LS_INVOKE_ROWS)
      continue;
    if (node->kind == LS__READ && g->values[i].kind) {
      ls_value fresh = g->run->value;
      ls_value_retain(&fresh);
      ls__replace(&g->values[i], fresh);
    } else {
      status = look_again(g, i);
    }
  }
  return status;
}

ls_status ls__edit_write(ls_graph *g, const ls__node *node) {
  ls_value given = node->stream[0].kind == LS_NODE ? g->values[node->stream[0].aux] : node->stream[0], fresh;
  const ls_program *p = g->invokes[node->invoke].program;
  const ls_graph *f = p->instances[p->points[node->slot].instance].function;
  ls_value *there = &g->run->value;
  ls_status status = there->kind ? same_structure(there, &given) : as_recorded(f, &f->result, &given);
  if (status) return status;
  if (!ls__rows_all(g, node->invoke)) {
    if (there->kind && (status = ls__own(there, 1, &fresh))) return status; /* what was read before keeps its own pieces */
    if (there->kind) ls__replace(there, fresh);
    status = ls__rows_put(g, (int32_t)(node - g->nodes), there, &given);
    return status ? status : show_others(g, node);
  }
  if (!(status = hand_over(g, &given, &fresh))) ls__replace(there, fresh);
  return status;
}

/* self[index] = value where self is a tuple or struct at the point. */
static ls_status set_piece(ls_graph *g, ls__node *node, ls_value *self) {
  if (node->n != 3) return ls__fail(LS_ERROR_ARGUMENT, "a tuple takes one index, a struct one field; the first element is x[0]");
  const ls_value *index = &node->stream[2];
  ls_value key = index->kind == LS_NODE ? g->values[index->aux] : *index;
  ls__seq *seq = self->as.p;
  int64_t i = key.kind == LS_INT ? key.as.i : key.kind == LS_STRING ? ls_seq_find(self, key.as.s) : -1;
  if (key.kind == LS_INT && i < 0) i += seq->length;
  if (i < 0 || i >= seq->length)
    return key.kind == LS_STRING ? ls__fail(LS_ERROR_NAME, "there is no field \"%s\" here%s", key.as.s,
                                            ls__near(key.as.s, seq->keys, seq->keys ? (size_t)seq->length : 0))
                                 : ls__fail(LS_ERROR_INDEX, "there are %d elements here", seq->length);
  ls_value given = node->stream[1].kind == LS_NODE ? g->values[node->stream[1].aux] : node->stream[1], fresh;
  ls_status status = LS_OK;
  if (seq->items[i].kind != LS_NONE) status = same_structure(&seq->items[i], &given);
  int32_t rows = node->edits;
  while (rows >= 0 && g->nodes[rows].kind == LS__GETITEM) rows = g->nodes[rows].stream[0].aux;
  if (!status && g->nodes[rows].kind == LS__ROWS && !ls__rows_all(g, g->nodes[rows].invoke)) {
    ls_value *whole = ls__rows_whole(g, node->edits);
    if (whole->kind != self->kind) return ls__fail(LS_ERROR_STATE, "this piece is no part of what stands at the point");
    status = ls__rows_put(g, rows, &((ls__seq *)whole->as.p)->items[i], &given);
  }
  if (!status) status = hand_over(g, &given, &fresh);
  if (!status) ls__replace(&seq->items[i], fresh);
  return status;
}

/* Node `id` is about to change the value of node `target`. */
static ls_status before_edit(ls_graph *g, int32_t id, int32_t target) {
  const ls_value *self = &g->values[target];
  if (self->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only a tensor can be changed in place");
  ls_status status = LS_OK;
  if (ls__own_foreign(g, self->as.p) || ls__tensor_requires_grad(self->as.p)) status = make_own(g, target);
  return status ? status : keep_for_lines_above(g, id, g->values[target].as.p);
}

/* Executes an edit among several invokes, where a value may be a part of a batch. An operator that lays the part out in
   another way (with `out` where the result has another shape, or `t_`) would let it reach into other rows, or change the part
   and not the batch. */
static ls_status edit_part(ls_graph *g, int32_t id, ls_value *out) {
  uint64_t before[LS__LOCAL];
  const ls__node *node = &g->nodes[id];
  int32_t n = 0;
  for (int32_t of; n < LS__LOCAL && (of = ls__trace_edits(node, n)) >= 0; n++) {
    void *tensor = g->values[of].as.p;
    before[n] = ls__tensor_fills(tensor) ? 0 : ls__tensor_layout(tensor);
  }
  ls_value made;
  ls_status status = ls__node_execute(&g->nodes[id], g->values, &made);
  if (status) return status;
  for (int32_t k = 0; k < n; k++)
    if (before[k] && before[k] != ls__tensor_layout(g->values[ls__trace_edits(node, k)].as.p)) {
      ls_value_release(&made);
      return ls__fail(LS_ERROR_SHAPE, "among several invokes a value cannot be given another shape in place, since it is a part of "
                                      "what all of them share; clone it first");
    }
  *out = made;
  return LS_OK;
}

/* An operator in place, or self[index] = value. */
ls_status ls__edit_value(ls_graph *g, int32_t id, ls_value *out) {
  int32_t target = g->nodes[id].edits;
  ls_value *self = &g->values[target];
  if (g->nodes[id].kind == LS__SETITEM && (self->kind == LS_TUPLE || self->kind == LS_STRUCT)) {
    *out = (ls_value){0};
    return set_piece(g, &g->nodes[id], self);
  }
  ls_status status = LS_OK;
  for (int32_t k = 0, of; !status && (of = ls__trace_edits(&g->nodes[id], k)) >= 0; k++) status = before_edit(g, id, of);
  if (status) return status;
  return ls__rows_several(g) ? edit_part(g, id, out) : ls__node_execute(&g->nodes[id], g->values, out);
}
