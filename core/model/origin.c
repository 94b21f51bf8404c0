/* Origins: where the tensors that arrive at a point were made. A trace that asks for the gradient of a value gives it a place in autograd's
   graph there, so that every use of the tensor counts, those before the point too. */
#include <stdlib.h>
#include "model/private.h"

static ls_status no_memory(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory for the origins of a value"); }

static ls_status add_point(ls__origins *o, int32_t point) {
  if (o->point_count == o->point_room) {
    int32_t room = o->point_room ? 2 * o->point_room : 16;
    int32_t *bigger = realloc(o->points, sizeof *bigger * (size_t)room);
    if (!bigger) return no_memory();
    o->points = bigger;
    o->point_room = room;
  }
  o->points[o->point_count++] = point;
  return LS_OK;
}

static bool same_key(const ls_value *a, const ls_value *b) { return a->kind == b->kind && a->as.i == b->as.i; }

/* Notes a node; `*known` becomes whether it was noted before for the same key. */
static ls_status add_node(ls__origins *o, int32_t instance, int32_t node, const ls_value *key, bool *known) {
  for (int32_t i = 0; i < o->count; i++) {
    const ls__origin *at = &o->at[i];
    if (at->instance == instance && at->node == node && same_key(&at->key, key)) {
      *known = true;
      return LS_OK;
    }
  }
  if (o->count == o->room) {
    int32_t room = o->room ? 2 * o->room : 16;
    ls__origin *bigger = realloc(o->at, sizeof *bigger * (size_t)room);
    if (!bigger) return no_memory();
    o->at = bigger;
    o->room = room;
  }
  o->at[o->count++] = (ls__origin){instance, node, *key};
  *known = false;
  return LS_OK;
}

void ls__origins_free(ls__origins *o) {
  if (!o->at && !o->points) return;
  free(o->at);
  free(o->points);
  *o = (ls__origins){0};
}

/* ---- against the order of the run ------------------------------------------------------------------------------- */

static const ls_value whole = {.kind = LS_NONE};

static ls_status node_origins(const ls_program *p, int32_t instance, int32_t id, const ls_value *key, ls__origins *o);

static ls_status value_origins(const ls_program *p, int32_t instance, const ls_value *stream, int32_t n, const ls_value *key,
                               ls__origins *o) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < n && !status; i++)
    if (stream[i].kind == LS_NODE) status = node_origins(p, instance, stream[i].aux, key, o);
  return status;
}

/* The origins of element `key` of a sequence, or of all its elements, where the element is not known. */
static ls_status element_origins(const ls_program *p, int32_t instance, const ls__node *seq, const ls_value *key, ls__origins *o) {
  int32_t place = 0;
  for (int32_t i = 1; i < seq->n; place++) {
    ls_value name = {.kind = LS_INT, .as.i = place};
    if (seq->stream[i].kind == LS_KEY) name = (ls_value){.kind = LS_STRING, .as.s = seq->stream[i++].as.s};
    int32_t end = ls__stream_value(seq->stream, i, seq->n);
    if (same_key(&name, key)) return value_origins(p, instance, seq->stream + i, end - i, &whole, o);
    i = end;
  }
  return value_origins(p, instance, seq->stream, seq->n, &whole, o);
}

/* The origins of what the caller passes as input `id` of a called function. */
static ls_status input_origins(const ls_program *p, int32_t instance, int32_t id, const ls_value *key, ls__origins *o) {
  const ls__instance *in = &p->instances[instance];
  if (in->parent < 0) return add_point(o, in->input);
  const ls__instance *caller = &p->instances[in->parent];
  const ls__nodes *nodes = &caller->function->owner.nodes;
  const ls__node *call = NULL;
  for (int32_t i = 0; i < nodes->count && !call; i++)
    if (nodes->at[i].slot >= 0 && nodes->at[i].kind != LS__TAP && p->slots[caller->slots + nodes->at[i].slot] == instance)
      call = &nodes->at[i];
  ls_status status = in->module ? add_point(o, in->input) : LS_OK;
  for (int32_t i = 0, position = 0; call && i < call->n && !status; position++) {
    bool wanted = position == id;
    if (call->stream[i].kind == LS_KEY) {
      const char *keyword = in->function->keywords ? in->function->keywords[id] : NULL;
      wanted = keyword && keyword == call->stream[i++].as.s;
    }
    int32_t end = ls__stream_value(call->stream, i, call->n);
    if (wanted) status = value_origins(p, in->parent, call->stream + i, end - i, key, o);
    i = end;
  }
  return status;
}

static ls_status result_origins(const ls_program *p, int32_t instance, const ls_value *key, ls__origins *o) {
  const ls__instance *in = &p->instances[instance];
  ls_status status = add_point(o, in->output);
  return status ? status : value_origins(p, instance, &in->function->result, 1, key, o);
}

/* The origins of the value of a node, or of its element `key`. A view begins where its base begins. */
static ls_status node_origins(const ls_program *p, int32_t instance, int32_t id, const ls_value *key, ls__origins *o) {
  bool known;
  ls_status status = add_node(o, instance, id, key, &known);
  if (status || known) return status;
  const ls__instance *in = &p->instances[instance];
  const ls__node *node = &in->function->owner.nodes.at[id];
  int32_t to = node->slot >= 0 ? p->slots[in->slots + node->slot] : -1;
  switch (node->kind) {
    case LS__INPUT: return input_origins(p, instance, id, key, o);
    case LS__CALL:
    case LS__TWO_FORMS: return result_origins(p, to, key, o);
    case LS__TAP:
      if ((status = add_point(o, to))) return status;
      return value_origins(p, instance, node->stream, node->n, key, o);
    case LS__SEQ: return element_origins(p, instance, node, key, o);
    case LS__GETITEM: return value_origins(p, instance, node->stream, 1, node->n == 2 ? &node->stream[1] : &whole, o);
    case LS__OP:
      to = ls__call_view_of(node->call);
      if (to >= 0) status = node_origins(p, instance, to, &whole, o);
      for (int32_t k = 0; !status && (to = ls__node_edits(node, k)) >= 0; k++) status = node_origins(p, instance, to, &whole, o);
      return status;
    default: return LS_OK;
  }
}

ls_status ls__program_origins(const ls_program *p, int32_t point, const ls_value *first, const ls_value *second, ls__origins *o) {
  const ls__point *at = &p->points[point];
  const ls__instance *in = &p->instances[at->instance];
  if (at->kind == LS_POINT_OUTPUT) return result_origins(p, at->instance, first, o);
  ls_status status = add_point(o, point);
  if (at->kind == LS_POINT_TAP) {
    const ls__nodes *nodes = &in->function->owner.nodes;
    for (int32_t i = 0; i < nodes->count && !status; i++)
      if (nodes->at[i].kind == LS__TAP && p->slots[in->slots + nodes->at[i].slot] == point)
        status = node_origins(p, at->instance, i, first, o);
    return status;
  }
  for (int32_t i = 0; i < in->function->inputs && !status; i++) {
    bool positional = i < in->function->positional, wanted = true;
    if (first->kind == LS_INT) wanted = positional == (first->as.i == 0);
    if (wanted && positional && second->kind == LS_INT) wanted = second->as.i == i;
    if (wanted && !positional && second->kind == LS_STRING) wanted = second->as.s == in->function->keywords[i];
    if (wanted) status = node_origins(p, at->instance, i, &whole, o);
  }
  return status;
}

/* ---- in a run ----------------------------------------------------------------------------------------------------- */

/* Returns the first node from `from` on, in the call `instance`, whose value is an origin; a number beyond all nodes where there is none.
   The values of inputs exist when the call begins, those of calls and taps were made elsewhere. */
int32_t ls__origins_next(const ls__origins *o, const ls_function *function, int32_t instance, int32_t from) {
  int32_t next = INT32_MAX;
  for (int32_t i = 0; o && i < o->count; i++) {
    const ls__origin *at = &o->at[i];
    if (at->instance != instance || at->node < from || at->node >= next) continue;
    uint8_t kind = function->owner.nodes.at[at->node].kind;
    bool made = kind == LS__OP || kind == LS__GETITEM || kind == LS__TWO_FORMS || (kind == LS__INPUT && !instance);
    if (made) next = at->node;
  }
  return next;
}
