/* Finds functions that compute each position of their result from the same position of their input alone, so that they may run at some
   positions only. The recorded operators prove this, since a table says along which axes an operator's result depends on several elements;
   the name of a module's class proves nothing. */
#include <string.h>
#include "model/private.h"

/* Conditions on an operator's second argument. What the table `operators` says of an operator holds only where the condition does. */
typedef enum condition {
  A_MATRIX,   /* the second argument is a constant tensor with two axes */
  ONE_SIZE,   /* the second argument is a list of one number, the size of the last axis */
  A_ROW       /* the second argument is a constant tensor with one axis, and no argument follows */
} condition;

/* The operators that are known to work on each element of their first argument alone, as add does, or along its last axis alone, as linear
   does. Nothing is known of an operator that is not in the table. */
static const struct {
  const char *name;
  int mixed; /* how many of the last axes the operator works along: 1, as linear, or 0 where it works on each element alone */
  condition second;
} operators[] = {
    {"linear", 1, A_MATRIX}, {"matmul", 1, A_MATRIX}, {"layer_norm", 1, ONE_SIZE},
    {"rms_norm", 1, ONE_SIZE}, {"add", 0, A_ROW}, {"add_", 0, A_ROW},
};

static int32_t dims_of(const ls_value *v) {
  ls_tensor_info info;
  return v->kind == LS_TENSOR && !ls_tensor_describe(v, &info) ? info.dims : -1;
}

static bool holds(condition second, const ls__node *node) {
  const ls_value *v = &node->stream[1];
  switch (second) {
    case A_MATRIX: return dims_of(v) == 2;
    case ONE_SIZE: return v->kind == LS_OPEN && v->as.i == 1;
    default: return node->n == 2 && dims_of(v) == 1;
  }
}

/* Returns how many of the last axes `node` mixes in its first argument, the value of node `before`; -1 where the number is not known, or
   where another argument is no constant. An operator mixes an axis if an element of its result depends on several elements along it. */
static int mixed_axes(const ls__node *node, int32_t before) {
  if (node->kind != LS__OP || node->n < 2 || node->stream[0].kind != LS_NODE || node->stream[0].aux != before) return -1;
  for (int32_t i = 1; i < node->n; i++)
    if (node->stream[i].kind == LS_NODE) return -1;
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (!strcmp(ls__op_name(node->op), operators[i].name)) return holds(operators[i].second, node) ? operators[i].mixed : -1;
  return -1;
}

bool ls__function_is_positionwise(const ls_function *f) {
  const ls__nodes *nodes = &f->owner.nodes;
  if (f->inputs != 1 || f->positional != 1 || nodes->count < 2) return false;
  if (f->result.kind != LS_NODE || f->result.aux != nodes->count - 1) return false;
  for (int32_t i = 1; i < nodes->count; i++) {
    int mixed = mixed_axes(&nodes->at[i], i - 1);
    if (mixed < 0 || mixed > 1) return false;
  }
  return true;
}
