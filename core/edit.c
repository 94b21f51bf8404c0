/* What happens while a run stands at a point: the nodes of that time are executed in the order written. Edits in place
   change neither the caller's tensors nor the parameters, and never what a line written above them has yet to use. */
#include <stdlib.h>
#include <string.h>
#include "trace.h"

static void replace(ls_value *v, ls_value fresh) {
  ls_value old = *v;
  *v = fresh;
  ls_value_release(&old);
}

/* ---- memory that is not ours ------------------------------------------------------------------------------------ */

static bool in_stream(const ls_value *stream, int32_t n, void *tensor) {
  for (int32_t i = 0; i < n; i++) {
    if (stream[i].kind == LS_TENSOR && ls__tensor_shares(stream[i].as.p, tensor)) return true;
    if (stream[i].kind == LS_TUPLE || stream[i].kind == LS_LIST || stream[i].kind == LS_STRUCT) {
      const ls__seq *seq = stream[i].as.p;
      if (in_stream(seq->items, seq->length, tensor)) return true;
    }
  }
  return false;
}

/* The tensor's memory belongs to the caller (inputs, tensors named in the body) or to the model (parameters). */
static bool foreign(const ls_graph *g, void *tensor) {
  const ls__run *r = g->run;
  if (in_stream(r->arguments, r->argument_count, tensor)) return true;
  for (int32_t i = 0; i < g->count; i++)
    if (in_stream(g->nodes[i].stream, g->nodes[i].n, tensor)) return true;
  for (int32_t i = 0; i < r->program->instance_count; i++) {
    const ls_module *m = r->program->instances[i].module;
    if (m && in_stream(m->tensor_values, m->tensors, tensor)) return true;
  }
  return false;
}

static void replace_inside(ls_value *v, void *old, const ls_value *fresh) {
  if (v->kind == LS_TENSOR && v->as.p == old) {
    ls_value_retain(fresh);
    replace(v, *fresh);
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

static void replace_everywhere(ls_graph *g, void *old, const ls_value *fresh) {
  replace_inside(&g->run->value, old, fresh);
  for (int32_t i = 0; i < g->count; i++)
    if (g->nodes[i].done) replace_inside(&g->values[i], old, fresh);
}

/* Makes the memory of node `target` the run's own: the tensor that it is a view of is copied, the copy takes its place at
   the point and in all that was read there, and every view of it is made again. */
static ls_status make_own(ls_graph *g, int32_t target) {
  int32_t base = base_of(g, target);
  void *old = g->values[base].as.p;
  ls_value copy;
  ls_status status = ls__tensor_clone(old, &copy);
  if (status) return status;
  ls__tensor_retain(old);
  replace_everywhere(g, old, &copy);
  for (int32_t i = 0; i < g->count && !status; i++) {
    ls_value *v = &g->values[i], fresh;
    if (!g->nodes[i].done || !g->nodes[i].holds || g->nodes[i].edits >= 0) continue;
    if (g->values[base_of(g, i)].as.p != copy.as.p || v->as.p == copy.as.p) continue;
    if (v->kind == LS_TENSOR && !ls__tensor_shares(v->as.p, old)) continue;
    if ((status = ls__node_execute(&g->nodes[i], g->values, &fresh))) break;
    ls_value before = *v;
    ls_value_retain(&before);
    replace(v, fresh);
    if (before.kind == LS_TENSOR) replace_everywhere(g, before.as.p, v);
    ls_value_release(&before);
  }
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
  g->nodes[*out].time = g->run->at;
  return ls__tensor_clone(g->values[id].as.p, &g->values[*out]);
}

/* Node `edit` is about to change `tensor`: nodes written above it that wait get copies of what they will use. */
static ls_status keep_for_lines_above(ls_graph *g, int32_t edit, void *tensor) {
  for (int32_t i = 0; i < edit; i++) {
    if (g->nodes[i].done || !g->nodes[i].needed) continue;
    bool changed = false;
    for (int32_t k = 0; k < g->nodes[i].n; k++) {
      ls_value *arg = &g->nodes[i].stream[k];
      if (arg->kind != LS_NODE || g->values[arg->aux].kind != LS_TENSOR ||
          !ls__tensor_shares(g->values[arg->aux].as.p, tensor))
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

static ls_status write_point(ls_graph *g, const ls__node *node) {
  ls_value given = node->stream[0].kind == LS_NODE ? g->values[node->stream[0].aux] : node->stream[0], fresh;
  const ls_program *p = g->run->program;
  const ls_graph *f = p->instances[p->points[node->slot].instance].function;
  ls_status status = g->run->value.kind ? same_structure(&g->run->value, &given) : as_recorded(f, &f->result, &given);
  if (!status) status = ls__own(&given, 1, &fresh);
  if (!status) replace(&g->run->value, fresh);
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
  if (!status) status = ls__own(&given, 1, &fresh);
  if (!status) replace(&seq->items[i], fresh);
  return status;
}

/* An operator in place, or self[index] = value. */
static ls_status edit_value(ls_graph *g, int32_t id, ls_value *out) {
  int32_t target = g->nodes[id].edits;
  ls_value *self = &g->values[target];
  if (g->nodes[id].kind == LS__SETITEM && (self->kind == LS_TUPLE || self->kind == LS_STRUCT)) {
    *out = (ls_value){0};
    return set_piece(g, &g->nodes[id], self);
  }
  if (self->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only a tensor can be changed in place");
  ls_status status = LS_OK;
  if (foreign(g, self->as.p)) status = make_own(g, target);
  if (!status) status = keep_for_lines_above(g, id, g->values[target].as.p);
  return status ? status : ls__node_execute(&g->nodes[id], g->values, out);
}

static ls_status unchanged(const ls__node *node) {
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_TENSOR && node->stream[k].aux != (int32_t)ls__tensor_version(node->stream[k].as.p))
      return ls__fail(LS_ERROR_CHANGED, "a tensor used here was changed in place before the model ran; clone it where it is used");
  return LS_OK;
}

static ls_status call(ls_graph *g, ls__node *node, ls_value *out) {
  ls_value local[LS__LOCAL], *s = ls__substitute(node, g->values, local);
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for arguments");
  ls_value cut = {0};
  ls_status status = node->narrow >= 0 ? ls__narrow_cut(g, node->narrow, &s[0], &cut) : LS_OK;
  if (cut.kind) s[0] = cut;
  if (!status) status = ls__program_execute(node->program, s, node->n, out);
  ls_value_release(&cut);
  if (s != local) free(s);
  return status;
}

static ls_status execute(ls_graph *g, int32_t id, ls_value *out) {
  ls__node *node = &g->nodes[id];
  ls_status status = unchanged(node);
  *out = (ls_value){0};
  if (status) return status;
  if (node->edits >= 0) return edit_value(g, id, out);
  switch (node->kind) {
    case LS__READ:
      *out = g->run->value;
      ls_value_retain(out);
      return LS_OK;
    case LS__WRITE:
      return write_point(g, node);
    case LS__CALL:
      return call(g, node, out);
    default:
      return ls__node_execute(node, g->values, out);
  }
}

/* ---- a point ---------------------------------------------------------------------------------------------------- */

/* The error of a node names the point that the node reads or edits, or else the one the run stands at. */
static void explain(const ls_graph *g, int32_t id) {
  const ls__node *node = &g->nodes[id];
  int32_t of = node->edits >= 0 ? node->edits : id, root = g->nodes[of].root;
  int32_t point = node->slot >= 0 ? node->slot : root >= 0 && g->nodes[root].slot >= 0 ? g->nodes[root].slot : g->run->at;
  if (!*ls_error_point()) ls__fail_point(ls_program_point_name(g->run->program, point));
  ls__fail_site(node->site, 0);
}

/* The node in whose memory the value of `id` lies: as long as there are views of it an edit has to find it. */
static int32_t looks_into(const ls_graph *g, int32_t id) {
  int32_t above = ls__trace_above(g, id);
  if (above < 0) return -1;
  const ls_value *v = &g->values[id], *of = &g->values[above];
  if (of->kind != LS_TENSOR) return v->kind == LS_TENSOR && g->nodes[above].kind == LS__OP ? above : -1;
  return v->kind != LS_TENSOR || ls__tensor_shares(v->as.p, of->as.p) ? above : -1;
}

ls_status ls__trace_point(ls_graph *g, int32_t point) {
  for (int32_t id = g->run->head[point]; id >= 0; id = g->nodes[id].next) {
    if (g->nodes[id].done || !g->nodes[id].needed) continue;
    ls_value value;
    ls_status status = ls__interrupt_check();
    if (status) return status;
    if ((status = execute(g, id, &value))) {
      explain(g, id);
      return status;
    }
    replace(&g->values[id], value);
    ls__node *node = &g->nodes[id];
    node->done = 1;
    int32_t above = looks_into(g, id);
    node->holds = above >= 0; /* the use goes on as long as the view */
    for (int32_t k = 0; k < node->n; k++)
      if (node->stream[k].kind == LS_NODE) {
        int32_t input = node->stream[k].aux;
        if (input == above) {
          above = -1;
          continue;
        }
        g->nodes[input].uses--;
        ls__trace_let_go(g, input);
      }
    ls__trace_let_go(g, id);
  }
  return LS_OK;
}
