/* What is known of a value while a forward is recorded: shape, dtype and device of a tensor that comes from parameters, buffers and
   constants alone. The operators run on shapes, so that no number is computed and none changes. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

typedef struct ls__knowing {
  const ls__nodes *nodes;
  ls_value *values;   /* for each node its value without numbers, LS_NONE before it was computed */
  const char *device; /* the device of the first tensor or the first argument `device` that was met; NULL before */
} knowing;

static ls_status unknown(void) { return ls__fail(LS_ERROR_UNSET, "the value depends on an input of the forward"); }

static void note_device(knowing *k, const char *device) {
  if (!k->device) k->device = device;
}

/* Whether an operator in place may give the tensor that it changes another shape. */
static bool reshapes(const ls__node *node) {
  static const char *const names[] = {"as_strided_", "resize_", "resize_as_", "set_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_", "unsqueeze_"};
  if (node->kind != LS__OP || node->edits < 0) return false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(ls__op_name(node->op), names[i])) return true;
  for (int32_t i = 0; i < node->n; i++)
    if (node->stream[i].kind == LS_KEY && !strcmp(node->stream[i].as.s, "out")) return true;
  return false;
}

/* Returns the node that made the tensor which node `id` gives: operators in place give the tensor that they change. */
static int32_t maker(const ls__nodes *nodes, int32_t id) {
  while (nodes->at[id].kind == LS__OP && nodes->at[id].edits >= 0) id = nodes->at[id].edits;
  return id;
}

enum { NEEDED = 1, MAKES = 2 }; /* whether the value of a node is needed; whether that of a needed node is the tensor which the node made */

static void need(const ls__nodes *nodes, uint8_t *marks, int32_t id) {
  marks[id] |= NEEDED;
  marks[maker(nodes, id)] |= MAKES;
}

/* Marks the nodes that have a part in the shape of the value of node `id`, as it is now. */
static void mark(const ls__nodes *nodes, uint8_t *marks, int32_t id) {
  need(nodes, marks, id);
  for (int32_t i = nodes->count - 1; i >= 0; i--) {
    const ls__node *node = &nodes->at[i];
    if (reshapes(node) && marks[maker(nodes, i)] & MAKES) need(nodes, marks, i);
    for (int32_t k = 0; marks[i] & NEEDED && k < node->n; k++)
      if (node->stream[k].kind == LS_NODE) need(nodes, marks, node->stream[k].aux);
  }
}

static ls_status evaluate(knowing *k, int32_t id) {
  const ls__node *node = &k->nodes->at[id];
  if (node->kind != LS__OP && node->kind != LS__GETITEM && node->kind != LS__SEQ && node->kind != LS__SHAPE) return unknown();
  ls_tensor_info info;
  for (int32_t i = 0; i < node->n; i++) {
    const ls_value *v = &node->stream[i];
    if (v->kind == LS_KEY && i + 1 < node->n && v[1].kind == LS_STRING && !strcmp(v->as.s, "device")) note_device(k, v[1].as.s);
    if (v->kind == LS_TENSOR && !ls_tensor_describe(v, &info)) note_device(k, info.device);
  }
  ls__scan_enter(true);
  ls_status status = ls__node_execute(node, k->values, &k->values[id]);
  ls__scan_enter(false);
  return status;
}

ls_status ls_function_known(const ls_value *node, ls_tensor_info *out) {
  LS__NEED(out && ls__is_node(node) && ls__is_function(node->as.p));
  const ls__nodes *nodes = &((const ls__owner *)node->as.p)->nodes;
  knowing k = {nodes, calloc((size_t)nodes->count, sizeof *k.values), NULL};
  uint8_t *marks = calloc((size_t)nodes->count, 1);
  ls_status status = k.values && marks ? LS_OK : ls__fail(LS_ERROR_MEMORY, "out of memory for what is known of a value");
  if (!status) mark(nodes, marks, node->aux);
  for (int32_t i = 0; i < nodes->count && !status; i++)
    if (marks[i] & NEEDED) status = evaluate(&k, i);
  if (!status) status = k.values[node->aux].kind == LS_TENSOR ? ls_tensor_describe(&k.values[node->aux], out) : unknown();
  if (!status && !(out->device = ls__intern_fixed(k.device ? k.device : "cpu")))
    status = ls__fail(LS_ERROR_MEMORY, "out of memory for the name of a device");
  for (int32_t i = 0; k.values && i < nodes->count; i++) ls_value_release(&k.values[i]);
  free(k.values);
  free(marks);
  return status;
}
