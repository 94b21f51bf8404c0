/* Dynamic modules: the forward of a module that branches on numbers is recorded at each call, and each of its nodes, and of those of the
   functions that call it, is computed as it is recorded. A value that chose a branch is guarded: where an edit in a trace changes that
   value, the run fails instead of taking the wrong branch. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

/* ---- rehearsals -------------------------------------------------------------------------------------------------- */

/* A recording whose function runs later is a rehearsal: its nodes are computed only to know the way that the forward goes. Its end puts
   back what the forward changed, so that the run finds all as it was: the numbers of tensors (running means, counters), and the states of
   the random generators. */
typedef struct ls__rehearsal {
  int32_t references;           /* the functions that are recorded in the rehearsal: the one whose end ends it, and those that it calls */
  const ls_function *of;        /* the function whose end ends the rehearsal; NULL after that */
  ls_value *tensors, *numbers;  /* the tensors that were changed (`aux`: whether they had a history), and copies of them */
  int32_t count, room;
  ls__random *random;
} rehearsal;

static ls_status begin(ls_function *f) {
  rehearsal *r = calloc(1, sizeof *r);
  if (!r) return ls__fail(LS_ERROR_MEMORY, "out of memory for the recording of a dynamic module");
  ls_status status = ls__random_keep(&r->random);
  if (status) {
    free(r);
    return status;
  }
  r->references = 1;
  r->of = f;
  f->rehearsal = r;
  return LS_OK;
}

/* Makes the function part of the rehearsal of the forward around it, if there is one. Another coroutine's rehearsal is no part of this: it
   may be open for long, and would put back what the function changes for good. */
static void join(ls_function *f) {
  const ls_function *around = ls__recording();
  rehearsal *r = around ? around->rehearsal : NULL;
  if (!r) return;
  r->references++;
  f->rehearsal = r;
}

void ls__eager_put_back(ls_function *f) {
  rehearsal *r = f->rehearsal;
  if (!r) return;
  f->rehearsal = NULL;
  if (r->of != f) {
    if (!--r->references) free(r);
    return;
  }
  r->of = NULL;
  static const ls_value everything = {.kind = LS_ELLIPSIS};
  ls__mode saved;
  ls__mode_enter(false, &saved);
  while (r->count) { /* backwards, since a tensor may lie in the memory of one that was kept before it */
    r->count--;
    ls__index_set(&r->tensors[r->count], &everything, 1, &r->numbers[r->count]);
    if (!r->tensors[r->count].aux) ls__tensor_drop_history(r->tensors[r->count].as.p);
    ls_value_release(&r->tensors[r->count]);
    ls_value_release(&r->numbers[r->count]);
  }
  ls__mode_leave(&saved);
  ls__random_restore(r->random);
  free(r->tensors);
  free(r->numbers);
  if (!--r->references) free(r);
}

static ls_status keep_tensor(rehearsal *r, const ls_value *v) {
  for (int32_t i = 0; i < r->count; i++)
    if (r->tensors[i].as.p == v->as.p) return LS_OK;
  if (r->count == r->room) {
    int32_t room = r->room ? 2 * r->room : 4;
    ls_value *tensors = realloc(r->tensors, sizeof *tensors * (size_t)room);
    if (tensors) r->tensors = tensors;
    ls_value *numbers = tensors ? realloc(r->numbers, sizeof *numbers * (size_t)room) : NULL;
    if (!numbers) return ls__fail(LS_ERROR_MEMORY, "out of memory for copies of the tensors that a dynamic module changes");
    r->numbers = numbers;
    r->room = room;
  }
  ls__mode saved;
  ls__mode_enter(false, &saved);
  ls_status status = ls__tensor_clone(v->as.p, &r->numbers[r->count]);
  ls__mode_leave(&saved);
  if (status) return status;
  r->tensors[r->count] = (ls_value){.kind = LS_TENSOR, .aux = ls__tensor_has_history(v->as.p), .as.p = v->as.p};
  ls_value_retain(&r->tensors[r->count++]);
  return LS_OK;
}

/* Keeps the numbers of the tensors in a value that is about to be changed. */
static ls_status keep(rehearsal *r, const ls_value *v) {
  if (!r || !r->of) return LS_OK;
  if (v->kind == LS_TENSOR) return keep_tensor(r, v);
  ls_status status = LS_OK;
  for (int32_t i = 0; ls__is_sequence(v->kind) && i < ls_seq_length(v) && !status; i++) status = keep(r, &ls__seq_items(v)[i]);
  return status;
}

static ls_status keep_all(rehearsal *r, const ls_value *stream, int32_t n) {
  ls_status status = LS_OK;
  for (int32_t i = 0; i < n && !status; i++) status = keep(r, &stream[i]);
  return status;
}

/* Keeps what a node without an ls__slot is about to change. */
static ls_status keep_edited(const ls_function *f, const ls__node *node) {
  bool own = node->kind == LS__SETITEM ? node->stream[0].kind == LS_TENSOR : node->kind == LS__OP && ls__call_changes_own(node->call);
  ls_status status = own ? keep_all(f->rehearsal, node->stream, node->kind == LS__SETITEM ? 1 : node->n) : LS_OK;
  for (int32_t k = 0, of; !status && (of = ls__node_edits(node, k)) >= 0; k++) status = keep(f->rehearsal, &f->values[of]);
  return status;
}

/* ---- recording with values --------------------------------------------------------------------------------------- */

/* Writes to `out` the value that a caller passes for an input, borrowed. Where the caller passes a node, this is the value that was already
   computed for that node. */
static ls_status given_value(const ls_value *given, ls_value *out) {
  *out = *given;
  if (given->kind != LS_NODE) return LS_OK;
  ls__owner *caller = given->as.p;
  if (!ls__is_function(caller) || !caller->open) return caller->type->value(caller, given->aux, true, out);
  const ls_function *f = given->as.p;
  if (!f->values) return ls__fail(LS_ERROR_STATE, "a dynamic module must be a child of the module that calls it");
  *out = f->values[given->aux];
  return LS_OK;
}

ls_status ls_function_eager(ls_function *f, const ls_value *given, int32_t n, int32_t copies) {
  LS__NEED(f);
  ls_status valid = ls__arguments_valid(given, n);
  if (valid) return valid;
  if (f->values) return ls__fail(LS_ERROR_STATE, "the values of a function's inputs can be set only once");
  const ls__nodes *nodes = &f->owner.nodes;
  if (!f->owner.open || f->inputs != nodes->count)
    return ls__fail(LS_ERROR_STATE, "the values of a function's inputs must be set before its first operator is recorded");
  f->value_room = nodes->room ? nodes->room : 1;
  f->values = calloc((size_t)f->value_room, sizeof *f->values);
  if (!f->values) return ls__fail(LS_ERROR_MEMORY, "out of memory for the values of a function");
  for (int32_t i = 0, input = 0; i < n && input < f->inputs; i++) {
    if (given[i].kind == LS_KEY) continue;
    ls_value v;
    ls_status status = given_value(&given[i], &v);
    if (!status) status = ls__own(&v, 1, &f->values[input]);
    if (!status && copies) status = ls__own_memory(&f->values[input]);
    if (status) return status;
    input++;
  }
  if (copies) return begin(f);
  join(f);
  return LS_OK;
}

/* Runs `called`, a function that the function `f` calls. */
static ls_status run_function(const ls_function *f, ls_function *called, const ls_value *args, int32_t n, ls_value *out) {
  ls_program *p;
  ls_status status = ls_program_new(called, &p);
  if (status) return status;
  int32_t changed;
  const ls_value *tensors = ls__program_changed(p, &changed);
  status = keep_all(f->rehearsal, tensors, changed);
  if (!status && ls__program_edits(p)) status = keep_all(f->rehearsal, args, n);
  if (!status) status = ls__program_execute(p, args, n, out);
  ls_program_release(p);
  return status;
}

ls_status ls__eager_run(ls_function *f, int32_t id) {
  const ls__node *node = &f->owner.nodes.at[id];
  ls_value *out = &f->values[id];
  if (node->slot < 0) {
    ls_status status = f->rehearsal ? keep_edited(f, node) : LS_OK;
    return status ? status : ls__node_execute(node, f->values, out);
  }
  const ls__slot *slot = &f->slots[node->slot];
  /* the called function was computed while it was recorded; that result is used, so that nothing is computed twice */
  if (node->kind == LS__CALL && slot->callee->gave.kind) {
    *out = slot->callee->gave;
    slot->callee->gave = (ls_value){0};
    return LS_OK;
  }
  ls_value local[LS__LOCAL], *s = ls__substitute(node->stream, node->n, f->values, local);
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a call");
  ls_status status = node->kind == LS__TAP ? ls__own(s, 1, out)
                                           : run_function(f, node->kind == LS__TWO_FORMS ? slot->fused : slot->callee, s, node->n, out);
  if (s != local) free(s);
  return status;
}

void ls__eager_finish(ls_function *f) {
  ls_value result = f->result.kind == LS_NODE ? f->values[f->result.aux] : f->result;
  ls_value_retain(&result);
  f->gave = result;
  for (int32_t i = 0; i < f->owner.nodes.count; i++) ls_value_release(&f->values[i]);
  free(f->values);
  f->values = NULL;
  ls__eager_put_back(f);
}

ls_status ls_function_result(ls_function *f, ls_value *out) {
  LS__NEED(f && out);
  *out = f->gave;
  f->gave = (ls_value){0};
  return LS_OK;
}

int32_t ls_node_is_eager(const ls_value *node) {
  if (!ls__is_node(node)) return -1;
  const ls__owner *o = node->as.p;
  return ls__is_function(o) && o->open && ((const ls_function *)node->as.p)->values;
}

ls_status ls_function_demand(const ls_value *node, int64_t site, ls_value *out) {
  LS__NEED(out);
  if (ls_node_is_eager(node) != 1)
    return ls__fail(LS_ERROR_ARGUMENT, "this value has no number yet, since the module whose forward made it is not dynamic");
  ls_function *f = node->as.p;
  ls_value stream[2] = {*node, f->values[node->aux]};
  int32_t id;
  ls_status status = LS_OK;
  /* a guard (a check that a later run has the same value) is added for numbers, texts and tensors; a sequence needs none, since its
     elements are guarded when a script asks for them */
  if (stream[1].kind <= LS_STRING || stream[1].kind == LS_TENSOR) {
    ls__node guard = ls__node_of(LS__GUARD, site);
    status = ls__function_record(f, &guard, stream, 2, LS_NONE, &id);
  }
  if (status) return status;
  ls_value_retain(&stream[1]);
  *out = stream[1];
  return LS_OK;
}

ls_status ls__guard(const ls_value *now, const ls_value *then) {
  bool same = now->kind == then->kind;
  if (same && now->kind == LS_TENSOR) same = ls__tensor_equal(now->as.p, then->as.p);
  else if (same && now->kind == LS_FLOAT) same = now->as.f == then->as.f || (isnan(now->as.f) && isnan(then->as.f));
  else if (same && now->kind == LS_STRING) same = !strcmp(now->as.s, then->as.s);
  else if (same && now->kind != LS_NONE) same = now->as.i == then->as.i;
  return same ? LS_OK
              : ls__fail(LS_ERROR_STATE, "an edit changed a value on which this dynamic module branches, but the branch was "
                                         "recorded before the edit");
}
