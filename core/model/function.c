/* Functions: the operators and calls of a module's forward, recorded once. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

static ls_function *current; /* the function that ls_record named last; borrowed, since its release forgets it */

/* ---- handles ---------------------------------------------------------------------------------------------------- */

static void node_retain(void *function, int32_t node) {
  (void)node;
  ((ls_function *)function)->owner.references++;
}

static void node_release(void *function, int32_t node) {
  (void)node;
  ls_function_release(function);
}

static ls_status node_value(void *function, int32_t node, bool open, ls_value *out) {
  const ls_function *f = function;
  (void)open;
  *out = (ls_value){0};
  ls__fail(LS_ERROR_UNSET, "Accessing Proxy value before it's been set.");
  ls__fail_site(f->owner.nodes.at[node].site, 0);
  return LS_ERROR_UNSET;
}

static const ls__owner_type function_type = {node_retain, node_release, node_value};

bool ls__is_function(const ls__owner *o) { return o->type == &function_type; }

ls_status ls_function_new(ls_module *m, ls_function **out) {
  LS__NEED(out);
  ls_function *f = calloc(1, sizeof *f);
  if (!f) return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
  f->owner.type = &function_type;
  f->owner.references = 1;
  f->owner.open = true;
  f->module = m ? ls__module_retain(m) : NULL;
  ls__live_add(1);
  *out = f;
  return LS_OK;
}

/* Releases the name, the module and the functions that an ls__slot refers to. */
static void slot_clear(ls__slot *slot) {
  ls__text_release(slot->name);
  ls_module_release(slot->module);
  ls_function_release(slot->callee);
  ls_function_release(slot->fused);
}

void ls_function_release(ls_function *f) {
  if (!f || --f->owner.references) return;
  if (current == f) current = NULL;
  ls__eager_put_back(f);
  f->owner.references++; /* this reference keeps the function alive, since a value freed below may hold the last handle to it */
  for (int32_t i = 0; f->values && i < f->owner.nodes.count; i++) ls_value_release(&f->values[i]);
  for (int32_t i = 0; i < f->slot_count; i++) slot_clear(&f->slots[i]);
  ls__nodes_free(&f->owner.nodes);
  if (f->result.kind != LS_NODE) ls_value_release(&f->result);
  ls_value_release(&f->gave);
  ls_module_release(f->module);
  for (int32_t i = 0; i < f->inputs; i++) ls__text_release(f->keywords[i]);
  free(f->keywords);
  free(f->slots);
  free(f->values);
  free(f->ends);
  free(f->dies);
  free(f);
  ls__live_add(-1);
}

/* ---- recording -------------------------------------------------------------------------------------------------- */

uint8_t ls__recorded_autograd;

void ls_record(ls_function *f, int32_t autograd) {
  current = f;
  ls__recorded_autograd = autograd < 0 ? LS__AUTOGRAD_RUN : autograd ? LS__AUTOGRAD_ON : LS__AUTOGRAD_OFF;
}

ls_function *ls__recording(void) { return current && current->owner.open ? current : NULL; }

/* Makes room for the value of each node in a function whose nodes are computed as they are recorded (eager.c); false when out of memory. */
static bool make_room(ls_function *f) {
  int32_t room = f->owner.nodes.room;
  if (!f->values || room <= f->value_room) return true;
  ls_value *values = realloc(f->values, sizeof *values * (size_t)room);
  if (!values) return false;
  f->values = values;
  f->value_room = room;
  return true;
}

ls_status ls__function_record(ls_function *f, const ls__node *like, const ls_value *stream, int32_t n, uint8_t result, int32_t *id) {
  ls_status status = ls__node_add(&f->owner, like, stream, n, result, id);
  if (status) return status;
  ls__node *node = &f->owner.nodes.at[*id];
  if (node->kind == LS__SETITEM) node->edits = node->stream[0].kind == LS_NODE ? node->stream[0].aux : -1;
  if (node->kind == LS__OP) node->edits = ls__call_written(node->call, 0);
  ls__numbers_note(&f->owner.nodes, *id);
  if (node->edits >= 0 && ls__numbers_always(&f->owner.nodes, node->edits)) {
    ls__node_take_back(&f->owner.nodes);
    return ls__fail(LS_ERROR_ARGUMENT, "a size is a number, which cannot be changed in place; compute another: n + 1, not n:add_(1)");
  }
  if (!f->values) return LS_OK;
  if (make_room(f)) {
    f->values[*id] = (ls_value){0};
    status = node->kind == LS__INPUT || node->kind == LS__GUARD ? LS_OK : ls__eager_run(f, *id);
  } else {
    status = ls__fail(LS_ERROR_MEMORY, "out of memory for the values of a function");
  }
  if (status) ls__node_take_back(&f->owner.nodes);
  return status;
}

static ls_status recording(const ls_function *f) {
  return f->owner.open ? LS_OK : ls__fail(LS_ERROR_STATE, "this function is finished, so nothing more can be recorded in it");
}

ls_status ls_function_input(ls_function *f, const char *keyword, ls_value *out) {
  LS__NEED(f && out);
  ls_status status = recording(f);
  if (status) return status;
  if (f->inputs != f->owner.nodes.count)
    return ls__fail(LS_ERROR_STATE, "the inputs of a function must be recorded before its first operator");
  if (!keyword && f->positional != f->inputs)
    return ls__fail(LS_ERROR_STATE, "the positional inputs of a function must be recorded before its keyword inputs");
  const char **bigger = realloc(f->keywords, sizeof *bigger * (size_t)(f->inputs + 1));
  if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
  f->keywords = bigger;
  const char *name = keyword ? ls__intern(keyword) : NULL;
  if (keyword && !name) return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
  ls__node node = ls__node_of(LS__INPUT, 0);
  int32_t id;
  if ((status = ls__function_record(f, &node, NULL, 0, LS_NONE, &id))) {
    ls__text_release(name);
    return status;
  }
  f->keywords[f->inputs++] = name;
  if (!keyword) f->positional++;
  ls__node_handle(&f->owner, id, out);
  return LS_OK;
}

/* Adds a node with an ls__slot: a call, a tap, or a choice between a plain and a fused function. */
static ls_status slotted(ls_function *f, ls__node_kind kind, ls__slot slot, const ls_value *args, int32_t n, int64_t site,
                         uint8_t result, ls_value *out) {
  if (f->slot_count == f->slot_room) {
    int32_t room = f->slot_room ? 2 * f->slot_room : 4;
    ls__slot *bigger = realloc(f->slots, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
    f->slots = bigger;
    f->slot_room = room;
  }
  if (slot.name && !(slot.name = ls__intern(slot.name))) return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
  if (slot.module) ls__module_retain(slot.module);
  if (slot.callee) slot.callee->owner.references++;
  if (slot.fused) slot.fused->owner.references++;
  ls__node node = ls__node_of(kind, site);
  node.slot = f->slot_count;
  f->slots[f->slot_count++] = slot;
  int32_t id;
  ls_status status = ls__function_record(f, &node, args, n, result, &id);
  if (status) slot_clear(&f->slots[--f->slot_count]);
  else ls__node_handle(&f->owner, id, out);
  return status;
}

uint8_t ls__function_kind(const ls_function *f) {
  return f->result.kind == LS_NODE ? f->owner.nodes.kinds[f->result.aux] : (uint8_t)f->result.kind;
}

ls_module *ls__function_module(const ls_function *f) { return f->module; }

int32_t ls__function_positional(const ls_function *f) { return f->positional; }

bool ls__function_has_input(const ls_function *f, const char *keyword) {
  for (int32_t i = f->positional; i < f->inputs; i++)
    if (!strcmp(f->keywords[i], keyword)) return true;
  return false;
}

static ls_status finished(const ls_function *callee) {
  return callee->owner.open ? ls__fail(LS_ERROR_STATE, "a function is called before its recording is finished; call ls_function_finish "
                                                       "first") : LS_OK;
}

ls_status ls_function_call(ls_function *f, ls_module *child, ls_function *callee, const ls_value *args, int32_t n, int64_t site,
                           ls_value *out) {
  LS__NEED(f && callee && out);
  ls_status status = ls__arguments_valid(args, n);
  if (!status) status = finished(callee);
  if (!status) status = recording(f);
  if (status) return status;
  return slotted(f, LS__CALL, (ls__slot){.module = child, .callee = callee}, args, n, site, ls__function_kind(callee), out);
}

ls_status ls_function_tap(ls_function *f, const char *name, const ls_value *value, int64_t site, ls_value *out) {
  LS__NEED(f && name && out);
  ls_status status = ls__value_check(value);
  if (!status) status = recording(f);
  if (status) return status;
  uint8_t kind = value->kind == LS_NODE && value->as.p == f ? f->owner.nodes.kinds[value->aux] : (uint8_t)LS_NONE;
  return slotted(f, LS__TAP, (ls__slot){.name = name}, value, 1, site, kind, out);
}

ls_status ls_function_two_forms(ls_function *f, ls_function *plain, ls_function *fused, const ls_value *args, int32_t n, int64_t site,
                             ls_value *out) {
  LS__NEED(f && plain && fused && out);
  ls_status status = ls__arguments_valid(args, n);
  if (!status) status = finished(plain);
  if (!status) status = finished(fused);
  if (!status && fused->slot_count)
    status = ls__fail(LS_ERROR_ARGUMENT, "the fused form of a computation can have operators only, no calls and no taps");
  if (!status && (plain->inputs != fused->inputs || ls__function_kind(plain) != ls__function_kind(fused)))
    status = ls__fail(LS_ERROR_ARGUMENT, "the plain and the fused form of a computation need the same inputs and the same kind of result");
  if (!status) status = recording(f);
  if (status) return status;
  return slotted(f, LS__TWO_FORMS, (ls__slot){.callee = plain, .fused = fused}, args, n, site, ls__function_kind(plain), out);
}

ls_status ls_function_shape(const ls_value *value, int64_t site, ls_value *out) {
  LS__NEED(out);
  ls_status status = ls__value_check(value);
  if (status) return status;
  ls_function *f = value->kind == LS_NODE ? value->as.p : NULL;
  if (!f || !ls__is_function(&f->owner) || !f->owner.open)
    return ls__fail(LS_ERROR_STATE, "the sizes of a tensor can be recorded as values only while the forward of a module is recorded");
  ls__node node = ls__node_of(LS__SHAPE, site);
  int32_t id;
  status = ls__function_record(f, &node, value, 1, LS_LIST, &id);
  if (!status) ls__node_handle(&f->owner, id, out);
  return status;
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/* Finds for each value the last node that uses it, after which the value can be freed. */
static ls_status find_ends(ls_function *f) {
  int32_t count = f->owner.nodes.count;
  int32_t *last = malloc(sizeof *last * (size_t)(count + 1));
  f->dies = malloc(sizeof *f->dies * (size_t)(count + 1));
  f->ends = calloc((size_t)count + 1, sizeof *f->ends);
  if (!last || !f->dies || !f->ends) {
    free(last);
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a function");
  }
  for (int32_t i = 0; i < count; i++) {
    last[i] = i;
    const ls__node *node = &f->owner.nodes.at[i];
    for (int32_t k = 0; k < node->n; k++)
      if (node->stream[k].kind == LS_NODE) last[node->stream[k].aux] = i;
  }
  if (f->result.kind == LS_NODE) last[f->result.aux] = count;
  for (int32_t i = 0; i < count; i++)
    if (last[i] < count) f->ends[last[i]].n++;
  int32_t at = 0;
  for (int32_t i = 0; i < count; i++) {
    f->ends[i].at = at;
    at += f->ends[i].n;
    f->ends[i].n = 0;
  }
  for (int32_t i = 0; i < count; i++)
    if (last[i] < count) {
      ls__end *end = &f->ends[last[i]];
      f->dies[end->at + end->n++] = i;
    }
  free(last);
  return LS_OK;
}

ls_status ls_function_finish(ls_function *f, const ls_value *result) {
  LS__NEED(f && result);
  ls_status status = recording(f);
  if (!status && result->kind != LS_OPEN) status = ls__value_check(result);
  if (status) return status;
  if (result->kind == LS_NODE && result->as.p != f)
    return ls__fail(LS_ERROR_STATE, "the forward of a module must return a value that it computed itself");
  if (result->kind == LS_OPEN)
    return ls__fail(LS_ERROR_ARGUMENT, "the forward of a module must return one value; return several as a tuple");
  ls_value kept = *result;
  if (result->kind == LS_NODE) kept.as.p = NULL;
  else if ((status = ls__value_keep(&kept))) return status;
  f->result = kept;
  if ((status = find_ends(f))) return status;
  if (f->values) ls__eager_finish(f);
  f->owner.open = false;
  return LS_OK;
}
