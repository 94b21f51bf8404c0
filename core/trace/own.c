/* Memory that is not a run's own: the caller's tensors, the parameters and buffers of the model. A trace never changes them. */
#include <stdlib.h>
#include "trace/trace.h"

bool ls__own_touches(const ls_value *stream, int32_t n, void *tensor) {
  for (int32_t i = 0; i < n; i++) {
    if (stream[i].kind == LS_TENSOR && ls__tensor_shares(stream[i].as.p, tensor)) return true;
    if (stream[i].kind == LS_TUPLE || stream[i].kind == LS_LIST || stream[i].kind == LS_STRUCT) {
      const ls__seq *seq = stream[i].as.p;
      if (ls__own_touches(seq->items, seq->length, tensor)) return true;
    }
  }
  return false;
}

/* The tensor lies in a parameter or buffer, or in a constant that a forward was recorded with. */
static bool in_program(const ls_program *p, void *tensor) {
  for (int32_t i = 0; i < p->instance_count; i++) {
    const ls_module *m = p->instances[i].module;
    if (m && ls__own_touches(m->tensor_values, m->tensors, tensor)) return true;
  }
  return ls__own_touches(p->constants, p->constant_count, tensor);
}

/* The tensor's memory belongs to the caller (inputs, tensors named in the body) or to the model (parameters). */
bool ls__own_foreign(const ls_graph *g, void *tensor) {
  const ls__run *r = g->run;
  if (r && ls__own_touches(r->arguments, r->argument_count, tensor)) return true;
  for (int32_t i = 0; i < g->invoke_count; i++)
    if (ls__own_touches(g->invokes[i].arguments, g->invokes[i].argument_count, tensor)) return true;
  for (int32_t i = 0; i < g->count; i++) {
    if (ls__own_touches(g->nodes[i].stream, g->nodes[i].n, tensor)) return true;
    if (g->nodes[i].program && in_program(g->nodes[i].program, tensor)) return true;
  }
  return r && in_program(r->program, tensor);
}

ls_status ls__own_unchanged(const ls__node *node) {
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_TENSOR && node->stream[k].aux != (int32_t)ls__tensor_version(node->stream[k].as.p))
      return ls__fail(LS_ERROR_CHANGED, "a tensor used here was changed in place before the model ran; clone it where it is used");
  return LS_OK;
}

/* ---- a model that changes things itself ------------------------------------------------------------------------- */

static ls_status keep_tensor(ls_graph *g, const ls_value *v) {
  for (int32_t i = 0; i < g->kept_count; i += 2)
    if (g->kept[i].as.p == v->as.p) return LS_OK;
  if (g->kept_count + 2 > g->kept_room) {
    int32_t room = g->kept_room ? 2 * g->kept_room : 8;
    ls_value *bigger = realloc(g->kept, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for what the model changes");
    g->kept = bigger;
    g->kept_room = room;
  }
  ls_status status = ls__tensor_clone(v->as.p, &g->kept[g->kept_count + 1]);
  if (status) return status;
  ls_value_retain(v);
  g->kept[g->kept_count] = (ls_value){.kind = LS_TENSOR, .as.p = v->as.p};
  g->kept_count += 2;
  return LS_OK;
}

/* Copies what the forward of `p` changes of its own (running means, counters), to be put back when the trace ends: a trace
   changes nothing of the model. */
ls_status ls__own_keep(ls_graph *g, const ls_program *p) {
  for (int32_t i = 0; p->changes_own && i < p->instance_count; i++) {
    const ls_graph *f = p->instances[i].function;
    for (int32_t k = 0; k < f->count; k++) {
      const ls__node *node = &f->nodes[k];
      bool changes = ls__node_changes_own(node);
      for (int32_t at = 0; changes && at < node->n; at++) {
        ls_status status = node->stream[at].kind == LS_TENSOR ? keep_tensor(g, &node->stream[at]) : LS_OK;
        if (status) return status;
      }
    }
  }
  return LS_OK;
}

void ls__own_put_back(ls_graph *g) {
  if (!g->kept) return;
  static const ls_value everything = {.kind = LS_ELLIPSIS};
  ls__mode saved;
  ls__mode_enter(false, &saved);
  for (int32_t i = 0; i < g->count; i++) /* what was saved stays as it was saved */
    for (int32_t k = 0; k < g->kept_count; k += 2)
      if (g->nodes[i].done && g->nodes[i].saved && ls__own_touches(&g->values[i], 1, g->kept[k].as.p)) ls__own_memory(&g->values[i]);
  for (int32_t i = 0; i < g->kept_count; i += 2) {
    ls__index_set(&g->kept[i], &everything, 1, &g->kept[i + 1]);
    ls_value_release(&g->kept[i]);
    ls_value_release(&g->kept[i + 1]);
  }
  ls__mode_leave(&saved);
  free(g->kept);
  g->kept = NULL;
  g->kept_count = g->kept_room = 0;
}

/* A module that a body calls gets copies of what it could change and is not the run's own; they are noted in `own`. */
ls_status ls__own_arguments(ls_graph *g, const ls__node *node, ls_value *s, ls_value *own) {
  for (int32_t k = 0; k < node->n; k++) {
    if (s[k].kind != LS_TENSOR || ls__tensor_requires_grad(s[k].as.p) || !ls__own_foreign(g, s[k].as.p)) continue;
    ls_status status = ls__tensor_clone(s[k].as.p, &own[k]);
    if (status) return status;
    s[k] = own[k];
  }
  return LS_OK;
}

static bool is_input(const ls_graph *g, const ls_value *v) {
  for (int32_t i = 0; i < g->invoke_count; i++) {
    const ls__invoke *invoke = &g->invokes[i];
    for (int32_t k = 0; k < invoke->argument_count; k++)
      if (invoke->arguments[k].kind == LS_TENSOR && ls__tensor_shares(invoke->arguments[k].as.p, v->as.p)) return true;
  }
  return false;
}

/* The model changes values in place, and the caller's tensors stay as they are: it runs on copies of them. */
ls_status ls__own_inputs(ls_graph *g) {
  ls_status status = LS_OK;
  for (int32_t k = 0; k < g->run->argument_count && !status; k++) {
    ls_value *v = &g->run->arguments[k];
    if (v->kind == LS_TENSOR && !ls__tensor_requires_grad(v->as.p) && is_input(g, v)) status = ls__own_memory(v);
  }
  return status;
}

/* ---- a part of a batch ---------------------------------------------------------------------------------------------- */

/* Among several invokes an operator that goes by places in memory could reach from the rows of one to those of another. */
ls_status ls__own_inside(const ls_graph *g, const ls__node *node) {
  bool several = ls__rows_several(g);
  for (int32_t k = 0; several && k < node->n; k++) {
    const ls_value *v = node->stream[k].kind == LS_NODE ? &g->values[node->stream[k].aux] : &node->stream[k];
    if (v->kind == LS_TENSOR && !ls__tensor_fills(v->as.p))
      return ls__fail(LS_ERROR_ARGUMENT, "among several invokes %s could reach the rows of another one in the memory around this "
                                         "value; clone the value first", ls__op_name(node->op));
  }
  return LS_OK;
}
