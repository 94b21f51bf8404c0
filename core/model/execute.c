/* Executes a node that needs no run of a model: an operator, an index, a sequence, sizes or a guard. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

/* Copies a stream and replaces the nodes in it by their values, borrowed. The copy is in `local` or in new memory; NULL when out of
   memory. */
ls_value *ls__substitute(const ls_value *stream, int32_t n, const ls_value *values, ls_value *local) {
  ls_value *s = n <= LS__LOCAL ? local : malloc(sizeof *s * (size_t)n);
  if (!s) return NULL;
  for (int32_t i = 0; i < n; i++) s[i] = stream[i].kind == LS_NODE ? values[stream[i].aux] : stream[i];
  return s;
}

static ls_status execute(const ls__node *node, const ls_value *values, ls_value *out) {
  if (node->kind == LS__OP) {
    if (node->flag && ls__numbers_compute(node, values, out)) return LS_OK;
    return ls__call_run(node->call, values, out);
  }
  ls_value local[LS__LOCAL] = {{0}}, *s = ls__substitute(node->stream, node->n, values, local);
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a call");
  ls_status status;
  switch (node->kind) {
    case LS__GETITEM:
      status = ls__index_get(&s[0], s + 1, node->n - 1, out);
      break;
    case LS__SETITEM:
      status = ls__index_set(&s[0], s + 2, node->n - 2, &s[1]);
      *out = (ls_value){0};
      break;
    case LS__SEQ:
      status = ls_value_build(s, node->n, out);
      break;
    case LS__GUARD:
      status = ls__guard(&s[0], &s[1]);
      break;
    case LS__SHAPE:
      status = node->n && s[0].kind == LS_TENSOR ? ls__tensor_sizes(s[0].as.p, out)
                                                     : ls__fail(LS_ERROR_ARGUMENT, "only a tensor has a shape");
      break;
    default:
      status = ls__fail(LS_ERROR_STATE, "a node of this kind cannot be executed without a run of the model");
  }
  if (s != local) free(s);
  return status;
}

ls_status ls__node_execute(const ls__node *node, const ls_value *values, ls_value *out) {
  if (!node->autograd) return execute(node, values, out);
  int32_t before = ls_grad_enabled();
  ls_grad_enable(node->autograd == LS__AUTOGRAD_ON);
  ls_status status = execute(node, values, out);
  ls_grad_enable(before);
  return status;
}
