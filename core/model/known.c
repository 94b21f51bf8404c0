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

static ls_status evaluate(knowing *k, int32_t id) {
  const ls__node *node = &k->nodes->at[id];
  if (k->values[id].kind) return LS_OK;
  if (node->kind != LS__OP && node->kind != LS__GETITEM && node->kind != LS__SEQ && node->kind != LS__SHAPE) return unknown();
  ls_tensor_info info;
  for (int32_t i = 0; i < node->n; i++) {
    const ls_value *v = &node->stream[i];
    ls_status status = v->kind == LS_NODE ? evaluate(k, v->aux) : LS_OK;
    if (status) return status;
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
  knowing k = {nodes, calloc((size_t)node->aux + 1, sizeof *k.values), NULL};
  if (!k.values) return ls__fail(LS_ERROR_MEMORY, "out of memory for what is known of a value");
  ls_status status = evaluate(&k, node->aux);
  if (!status) status = k.values[node->aux].kind == LS_TENSOR ? ls_tensor_describe(&k.values[node->aux], out) : unknown();
  if (!status && !(out->device = ls__intern_fixed(k.device ? k.device : "cpu")))
    status = ls__fail(LS_ERROR_MEMORY, "out of memory for the name of a device");
  for (int32_t i = 0; i <= node->aux; i++) ls_value_release(&k.values[i]);
  free(k.values);
  return status;
}
