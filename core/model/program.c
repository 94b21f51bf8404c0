/* Programs: a function with all that it calls, listed once, so that every point has a number in the order in which a run reaches it. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

/* Makes room in an array for one more element of `size` bytes, by doubling the array when it is full; false when out of memory. */
static bool grow(void **array, int32_t count, int32_t *room, size_t size) {
  if (count < *room) return true;
  int32_t more = *room ? *room * 2 : 16;
  void *bigger = realloc(*array, size * (size_t)more);
  if (!bigger) return false;
  *array = bigger;
  *room = more;
  return true;
}

static int32_t add_point(ls_program *p, int32_t instance, int32_t kind, const char *tap) {
  if (!grow((void **)&p->points, p->point_count, &p->point_room, sizeof *p->points)) return -1;
  p->points[p->point_count] = (ls__point){instance, kind, tap};
  return p->point_count++;
}

static int32_t calls_of(const ls_program *p, const ls_module *m) {
  int32_t calls = 0;
  for (int32_t i = 0; i < p->instance_count; i++) calls += p->instances[i].module == m;
  return calls;
}

static bool is_in_module(const ls_module *m, const ls_value *v) {
  for (int32_t i = 0; m && i < m->tensors; i++)
    if (v->kind == LS_TENSOR && m->tensor_values[i].as.p == v->as.p) return true;
  return false;
}

/* Adds to the program's `constants` the tensors and sequences in a stream (a node's arguments or a function's result) that do not belong to
   the module `m`; false when out of memory. */
static bool note_constants(ls_program *p, const ls_module *m, const ls_value *stream, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const ls_value *v = &stream[i];
    if ((v->kind != LS_TENSOR && !ls__is_sequence(v->kind)) || is_in_module(m, v)) continue;
    if (!grow((void **)&p->constants, p->constant_count, &p->constant_room, sizeof *p->constants)) return false;
    p->constants[p->constant_count++] = *v;
  }
  return true;
}

/* A walk to the memory in which values of a program may be, back through views, sequences and calls. */
typedef struct walk {
  ls_program *p;
  int32_t *begin;     /* for each instance the number of its first node among the nodes of all instances */
  uint8_t *reached;   /* for each of these nodes, 1 once it was reached */
  int32_t (*open)[2]; /* nodes from which the walk has yet to go on: the number of the instance, and that of the node */
  int32_t count, room;
} walk;

static bool begin_walk(walk *w) {
  int64_t all = 0;
  if (w->begin) return true;
  w->begin = malloc(sizeof *w->begin * (size_t)w->p->instance_count);
  for (int32_t k = 0; w->begin && k < w->p->instance_count; k++) {
    w->begin[k] = (int32_t)all;
    all += w->p->instances[k].function->owner.nodes.count;
  }
  w->reached = all <= INT32_MAX ? calloc((size_t)all + 1, 1) : NULL;
  return w->begin && w->reached;
}

/* Adds the value `v` of an instance to those from which the walk goes on. A tensor that is no value of a node ends the walk: it is added to
   the program's `changed`. */
static bool reach(walk *w, int32_t instance, const ls_value *v) {
  ls_program *p = w->p;
  if (v->kind == LS_TENSOR) {
    if (!grow((void **)&p->changed, p->changed_count, &p->changed_room, sizeof *p->changed)) return false;
    p->changed[p->changed_count++] = *v;
  }
  if (v->kind != LS_NODE) return true;
  if (!begin_walk(w)) return false;
  uint8_t *reached = &w->reached[w->begin[instance] + v->aux];
  if (*reached) return true;
  *reached = 1;
  if (!grow((void **)&w->open, w->count, &w->room, sizeof *w->open)) return false;
  w->open[w->count][0] = instance;
  w->open[w->count++][1] = v->aux;
  return true;
}

static bool reach_all(walk *w, int32_t instance, const ls_value *stream, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (!reach(w, instance, &stream[i])) return false;
  return true;
}

/* Goes on with what the caller of an instance passes as input `id`. */
static bool reach_given(walk *w, int32_t instance, int32_t id) {
  const ls__instance *in = &w->p->instances[instance];
  if (in->parent < 0) return true;
  const ls__instance *caller = &w->p->instances[in->parent];
  const ls__nodes *nodes = &caller->function->owner.nodes;
  const char *keyword = in->function->keywords ? in->function->keywords[id] : NULL;
  for (int32_t k = 0; k < nodes->count; k++) {
    const ls__node *call = &nodes->at[k];
    if (call->slot < 0 || call->kind == LS__TAP || w->p->slots[caller->slots + call->slot] != instance) continue;
    for (int32_t i = 0, position = 0; i < call->n; position++) {
      bool wanted = position == id;
      if (call->stream[i].kind == LS_KEY) wanted = keyword && keyword == call->stream[i++].as.s;
      int32_t end = ls__stream_value(call->stream, i, call->n);
      if (wanted && !reach_all(w, in->parent, call->stream + i, end - i)) return false;
      i = end;
    }
  }
  return true;
}

/* Goes on from node `id` of an instance: to that of which its value is a view, or which an operator or a call gives back. */
static bool go_on(walk *w, int32_t instance, int32_t id) {
  const ls_program *p = w->p;
  const ls__instance *in = &p->instances[instance];
  const ls__node *node = &in->function->owner.nodes.at[id];
  switch (node->kind) {
    case LS__INPUT: return reach_given(w, instance, id);
    case LS__CALL:
    case LS__TWO_FORMS: {
      int32_t to = p->slots[in->slots + node->slot];
      return reach(w, to, &p->instances[to].function->result);
    }
    case LS__TAP:
    case LS__GETITEM: return reach(w, instance, &node->stream[0]);
    case LS__SEQ: return reach_all(w, instance, node->stream, node->n);
    case LS__OP: {
      if (ls__call_may_return(node->call)) return reach_all(w, instance, node->stream, node->n);
      int32_t of = ls__call_view_at(node->call);
      return of < 0 || reach_all(w, instance, node->stream + of, ls__stream_value(node->stream, of, node->n) - of);
    }
    default: return true;
  }
}

/* Adds to the program's `changed` those tensors that its nodes change in place and that are constants of a forward, parameters or buffers;
   false when out of memory. */
static bool note_changed(ls_program *p) {
  walk w = {.p = p};
  bool ok = true;
  for (int32_t k = 0; ok && k < p->instance_count; k++) {
    const ls__nodes *nodes = &p->instances[k].function->owner.nodes;
    for (int32_t i = 0; ok && i < nodes->count; i++) {
      const ls__node *node = &nodes->at[i];
      bool changes = node->kind == LS__SETITEM ? node->stream[0].kind == LS_TENSOR
                                               : node->kind == LS__OP && ls__call_changes_own(node->call);
      for (int32_t n = 0; ok && changes && n < node->n; n++)
        if (node->stream[n].kind == LS_TENSOR) ok = reach(&w, k, &node->stream[n]);
      for (int32_t n = 0, of; ok && (of = ls__node_edits(node, n)) >= 0; n++) ok = reach(&w, k, &(ls_value){.kind = LS_NODE, .aux = of});
    }
  }
  while (ok && w.count) {
    w.count--;
    ok = go_on(&w, w.open[w.count][0], w.open[w.count][1]);
  }
  free(w.begin);
  free(w.reached);
  free(w.open);
  return ok;
}

static bool edits_any(const ls_function *function) {
  for (int32_t i = 0; i < function->owner.nodes.count; i++)
    if (function->owner.nodes.at[i].edits >= 0) return true;
  return false;
}

/* Adds to the program one call of `function` and all calls inside that call. Returns the number of the added call (its instance), -1 when
   out of memory; writes to `depth` and `values` how many frames and cells (places of values) the call needs. */
static int32_t flatten(ls_program *p, ls_function *function, ls_module *module, int32_t parent, int32_t *depth,
                       int32_t *values) {
  if (!grow((void **)&p->instances, p->instance_count, &p->instance_room, sizeof *p->instances)) return -1;
  int32_t number = module ? calls_of(p, module) : 0, self = p->instance_count++, slots = p->slot_count;
  int32_t input = add_point(p, self, LS_POINT_INPUT, NULL);
  if (input < 0) return -1;
  for (int32_t i = 0; i < function->slot_count; i++) {
    if (!grow((void **)&p->slots, p->slot_count, &p->slot_room, sizeof *p->slots)) return -1;
    p->slots[p->slot_count++] = -1;
  }
  p->instances[self] = (ls__instance){function, module, parent, number, input, -1, slots};
  if (!note_constants(p, module, &function->result, 1)) return -1;
  int32_t deepest = 0, most = 0;
  for (int32_t i = 0; i < function->owner.nodes.count; i++) {
    const ls__node *node = &function->owner.nodes.at[i];
    if (!note_constants(p, module, node->stream, node->n)) return -1;
    p->in_place = p->in_place || node->edits >= 0;
    if (node->slot < 0) continue;
    const ls__slot *slot = &function->slots[node->slot];
    p->in_place = p->in_place || (slot->fused && edits_any(slot->fused));
    int32_t d = 0, v = 0, to;
    if (node->kind == LS__TAP) {
      to = add_point(p, self, LS_POINT_TAP, slot->name);
    } else {
      to = flatten(p, slot->callee, slot->module, self, &d, &v);
      if (slot->fused && slot->fused->owner.nodes.count > v) v = slot->fused->owner.nodes.count;
    }
    if (to < 0) return -1;
    p->slots[slots + node->slot] = to; // NOLINT(clang-analyzer-core.NullDereference): room was made for all slots
    if (d > deepest) deepest = d;
    if (v > most) most = v;
  }
  if ((p->instances[self].output = add_point(p, self, LS_POINT_OUTPUT, NULL)) < 0) return -1;
  *depth = deepest + 1;
  *values = function->owner.nodes.count + most;
  return self;
}

ls_status ls_program_new(ls_function *function, ls_program **out) {
  LS__NEED(function && out);
  if (function->owner.open)
    return ls__fail(LS_ERROR_STATE, "a program can be made of a finished function only; call ls_function_finish first");
  ls_program *p = calloc(1, sizeof *p);
  if (!p) return ls__fail(LS_ERROR_MEMORY, "out of memory for a program");
  p->references = 1;
  p->function = function;
  function->owner.references++;
  ls__live_add(1);
  if (flatten(p, function, function->module, -1, &p->depth, &p->values) < 0 || !note_changed(p)) {
    ls_program_release(p);
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a program");
  }
  *out = p;
  return LS_OK;
}

void ls_program_release(ls_program *p) {
  if (!p || --p->references) return;
  ls__run_free(p->idle);
  ls_function_release(p->function);
  free(p->instances);
  free(p->points);
  free(p->slots);
  free(p->constants);
  free(p->changed);
  free(p->name);
  free(p);
  ls__live_add(-1);
}

/* ---- points ----------------------------------------------------------------------------------------------------- */

int32_t ls_program_points(ls_program *p) { return p ? p->point_count : -1; }

static bool same_point(const ls_program *a, int32_t i, const ls_program *b, int32_t k) {
  const ls__point *x = &a->points[i], *y = &b->points[k];
  const ls__instance *p = &a->instances[x->instance], *q = &b->instances[y->instance];
  return x->kind == y->kind && x->tap == y->tap && p->module == q->module && p->number == q->number;
}

ls_status ls__program_map(ls_program *from, ls_program *to, int32_t **out) {
  *out = NULL;
  bool same = from->point_count == to->point_count;
  for (int32_t i = 0; same && i < from->point_count; i++) same = same_point(from, i, to, i);
  if (same) return LS_OK;
  int32_t *map = malloc(sizeof *map * (size_t)from->point_count);
  if (!map) return ls__fail(LS_ERROR_MEMORY, "out of memory for the points of a program");
  /* the point of `to` that is compared first: the one behind the last match, since most points have the same order in both programs */
  int32_t next = 0;
  for (int32_t i = 0; i < from->point_count; i++) {
    map[i] = -1;
    for (int32_t tried = 0; tried < to->point_count && map[i] < 0; tried++, next = next + 1 < to->point_count ? next + 1 : 0)
      if (same_point(from, i, to, next)) map[i] = next;
  }
  *out = map;
  return LS_OK;
}

int32_t ls__program_owner(const ls_program *p, int32_t point) {
  int32_t instance = p->points[point].instance;
  while (!p->instances[instance].module && p->instances[instance].parent >= 0) instance = p->instances[instance].parent;
  return instance;
}

ls_module *ls_program_point_module(ls_program *p, int32_t point) {
  if (!p || point < 0 || point >= p->point_count) return NULL;
  const ls__point *at = &p->points[point];
  return at->kind == LS_POINT_TAP ? p->instances[ls__program_owner(p, point)].module : p->instances[at->instance].module;
}

ls__point_info ls__program_point(const ls_program *p, int32_t point) {
  const ls__point *at = &p->points[point];
  const ls__instance *in = &p->instances[at->instance];
  return (ls__point_info){at->kind, at->tap, at->instance, in->input, in->output, in->function, p->instances[ls__program_owner(p, point)].module};
}

ls__point_info ls__program_call(const ls_program *p, int32_t instance) { return ls__program_point(p, p->instances[instance].output); }

/* ---- questions of a trace --------------------------------------------------------------------------------------- */

ls_program *ls__program_retain(ls_program *p) {
  p->references++;
  return p;
}

ls_function *ls__program_function(const ls_program *p) { return p->function; }

bool *ls__program_brief(ls_program *p) { return &p->brief; }

bool ls__program_edits(const ls_program *p) { return p->in_place; }

bool ls__program_trains(const ls_program *p) {
  for (int32_t i = 0; i < p->instance_count; i++) {
    const ls_module *m = p->instances[i].module;
    for (int32_t k = 0; m && k < m->tensors; k++)
      if (m->tensor_values[k].kind == LS_TENSOR && ls__tensor_requires_grad(m->tensor_values[k].as.p)) return true;
  }
  return false;
}

bool ls__program_owns(const ls_program *p, void *tensor) {
  for (int32_t i = 0; i < p->instance_count; i++) {
    const ls_module *m = p->instances[i].module;
    if (m && ls__stream_shares(m->tensor_values, m->tensors, tensor)) return true;
  }
  return ls__stream_shares(p->constants, p->constant_count, tensor);
}

const ls_value *ls__program_changed(const ls_program *p, int32_t *n) {
  *n = p->changed_count;
  return p->changed;
}

int32_t ls__program_maker(const ls_program *p, int32_t instance, const ls_value *key) {
  const ls_function *f = p->instances[instance].function;
  const ls__nodes *nodes = &f->owner.nodes;
  if (f->result.kind != LS_NODE || nodes->at[f->result.aux].kind != LS__SEQ) return -1;
  const ls__node *seq = &nodes->at[f->result.aux];
  int32_t place = 0, made = -1;
  for (int32_t i = 1; i < seq->n; place++) {
    const char *name = NULL;
    if (seq->stream[i].kind == LS_KEY) name = seq->stream[i++].as.s;
    bool wanted = key->kind == LS_STRING ? name && !strcmp(name, key->as.s) : key->kind == LS_INT && key->as.i == place;
    if (wanted && seq->stream[i].kind == LS_NODE) made = seq->stream[i].aux;
    i = ls__stream_value(seq->stream, i, seq->n);
  }
  if (made < 0 || nodes->at[made].kind != LS__CALL) return -1;
  int32_t uses = 0;
  for (int32_t i = 0; i < nodes->count; i++)
    for (int32_t k = 0; k < nodes->at[i].n; k++)
      uses += nodes->at[i].stream[k].kind == LS_NODE && nodes->at[i].stream[k].aux == made;
  return uses == 1 ? p->slots[p->instances[instance].slots + nodes->at[made].slot] : -1;
}
