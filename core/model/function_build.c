/* Builds a function, with all that it calls, of a checked text and the weights that the caller sets. */
#include <stdlib.h>
#include <string.h>
#include "model/graph_check.h"
#include "model/private.h"

/* ---- weights ----------------------------------------------------------------------------------------------------- */

int32_t ls_reader_tensors(ls_reader *r) { return r ? r->tensor_count : -1; }

const char *ls_reader_tensor_name(ls_reader *r, int32_t i, int32_t k) {
  if (!r || i < 0 || i >= r->tensor_count || k < 0) return NULL;
  return json_string_value(json_array_get(json_object_get(json_array_get(r->tensors, (size_t)i), "names"), (size_t)k));
}

ls_status ls_reader_tensor(ls_reader *r, int32_t i, ls_weights_entry *out) {
  LS__NEED(r && i >= 0 && i < r->tensor_count && out);
  const json_t *o = json_array_get(r->tensors, (size_t)i), *shape = json_object_get(o, "shape");
  const ls__dtype *dtype = ls__dtype_named(json_string_value(json_object_get(o, "dtype")));
  const char *name = ls_reader_tensor_name(r, i, 0);
  ls_weights_entry entry = {.name = name ? name : "", .dtype = dtype->name, .dims = (int32_t)json_array_size(shape),
      .bytes = dtype->size};
  for (int32_t d = 0; d < entry.dims; d++) {
    entry.shape[d] = json_integer_value(json_array_get(shape, (size_t)d));
    entry.bytes *= entry.shape[d];
  }
  *out = entry;
  return LS_OK;
}

static ls_status check_fits(const ls_reader *r, const ls_weights_entry *want, const char *name, const ls_value *tensor) {
  ls_tensor_info have;
  char shown[LS__READ_SHOWN];
  ls_status status = ls_tensor_describe(tensor, &have);
  if (status) return status;
  bool same = have.dims == want->dims && !strcmp(have.dtype, want->dtype);
  for (int32_t d = 0; d < want->dims && same; d++) same = have.shape[d] == want->shape[d];
  if (same) return LS_OK;
  return ls__fail(LS_ERROR_SHAPE, "%s: the weight \"%s\" has another shape or dtype (%s) than the function was recorded with (%s)",
                  r->name, ls__printable(name, strlen(name), shown, sizeof shown), have.dtype, want->dtype);
}

static ls_status set_tensor(ls_reader *r, int32_t i, const char *name, const ls_value *tensor) {
  ls_weights_entry want;
  ls_status status = ls_reader_tensor(r, i, &want);
  if (!status) status = check_fits(r, &want, name, tensor);
  if (status) return status;
  ls_value_retain(tensor);
  ls_value_release(&r->values[i]);
  r->values[i] = *tensor;
  return LS_OK;
}

ls_status ls_reader_set_tensor(ls_reader *r, const char *name, const ls_value *tensor) {
  LS__NEED(r && name && tensor && tensor->kind == LS_TENSOR && tensor->as.p);
  for (int32_t i = 0; i < r->tensor_count; i++) {
    const char *known;
    for (int32_t k = 0; (known = ls_reader_tensor_name(r, i, k)); k++)
      if (!strcmp(known, name)) return set_tensor(r, i, name, tensor);
  }
  char shown[LS__READ_SHOWN];
  return ls__fail(LS_ERROR_NAME, "%s: the function has no weight \"%s\"", r->name, ls__printable(name, strlen(name), shown,
      sizeof shown));
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

typedef struct parts {
  ls_module **modules;
  ls_function **functions;
} parts;

static ls_function *callee_of(const ls__build *b, const parts *p, const char *field) {
  return p->functions[json_integer_value(json_object_get(b->node, field))];
}

static ls_status make_node(ls__build *b, int32_t *id) {
  const parts *p = b->context;
  ls_function *f = (ls_function *)b->owner, *callee;
  ls_value made = {.aux = -1};
  ls_status status;
  switch (b->kind) {
    case LS__INPUT: status = ls_function_input(f, b->at.name, &made); break;
    case LS__SHAPE: status = ls_function_shape(&b->stream[0], 0, &made); break;
    case LS__TAP: status = ls_function_tap(f, b->at.name, &b->stream[0], 0, &made); break;
    case LS__CALL:
      callee = callee_of(b, p, "function");
      status = ls_function_call(f, callee->module, callee, b->stream, b->n, 0, &made);
      break;
    case LS__EITHER:
      status = ls_function_either(f, callee_of(b, p, "plain"), callee_of(b, p, "fused"), b->stream, b->n, 0, &made);
      break;
    default: { /* LS__GUARD */
      ls__node node = ls__node_of((ls__node_kind)b->kind, 0);
      int32_t unused;
      status = ls__function_record(f, &node, b->stream, b->n, LS_NONE, &unused);
    }
  }
  *id = made.aux;
  ls_value_release(&made);
  return status;
}

static ls_status record(void *f, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id) {
  return ls__function_record(f, node, stream, n, result, id);
}

/* ---- a function and all that it calls ---------------------------------------------------------------------------- */

static ls_status make_module(ls_reader *r, int32_t i, parts *p) {
  const json_t *o = json_array_get(r->modules, (size_t)i);
  const char *key;
  json_t *value;
  ls_status status = ls_module_new(json_string_value(json_object_get(o, "class")), &p->modules[i]);
  if (status) return status;
  json_object_foreach(json_object_get(o, "tensors"), key, value)
    if (!status) status = ls_module_set_tensor(p->modules[i], key, &r->values[json_integer_value(value)]);
  json_object_foreach(json_object_get(o, "axes"), key, value)
    if (!status) status = ls_module_set_axis(p->modules[i], key, (int32_t)json_integer_value(value));
  json_object_foreach(json_object_get(o, "children"), key, value)
    if (!status) status = ls_module_set_child(p->modules[i], key, p->modules[json_integer_value(value)]);
  return status;
}

static ls_status make_function(ls_reader *r, int32_t i, parts *p) {
  ls_status status = ls_function_new(r->graphs[i].module < 0 ? NULL : p->modules[r->graphs[i].module], &p->functions[i]);
  if (status) return status;
  ls_function *f = p->functions[i];
  ls__build b = {.at = {.reader = r, .graph = i, .node = -1}, .owner = &f->owner, .record = record, .make = make_node, .context = p};
  status = ls__build_nodes(&b);
  if (!status) status = ls__build_value(&b, r->graphs[i].result);
  ls_value result = {0};
  if (!status && b.stream[0].kind == LS_OPEN) {
    if (!(status = ls_value_build(b.stream, b.n, &result))) status = ls_function_finish(f, &result);
    ls_value_release(&result);
  } else if (!status) {
    status = ls_function_finish(f, &b.stream[0]);
  }
  ls__build_free(&b);
  if (!status) ls__nodes_trim(&f->owner.nodes);
  return status;
}

/* Makes the tensors whose numbers are in the text, and fails where the caller has not set a weight. */
static ls_status complete_tensors(ls_reader *r) {
  ls__read_place at = {.reader = r, .graph = -1, .node = -1};
  ls_status status = LS_OK;
  for (int32_t i = 0; i < r->tensor_count && !status; i++) {
    const json_t *o = json_array_get(r->tensors, (size_t)i), *names = json_object_get(o, "names");
    if (r->values[i].kind == LS_TENSOR) continue;
    char shown[LS__READ_SHOWN];
    const char *name = json_string_value(json_array_get(names, 0));
    status = names ? ls__read_fail(&at, LS_ERROR_NAME, "the weight \"%s\" was not given",
                                   ls__printable(name, strlen(name), shown, sizeof shown))
                   : ls__read_tensor(&at, o, true, &r->values[i]);
  }
  return status;
}

ls_status ls_reader_function(ls_reader *r, ls_function **out) {
  LS__NEED(r && r->is_function && out);
  ls_status status = complete_tensors(r);
  parts p = {calloc((size_t)r->module_count + 1, sizeof *p.modules), calloc((size_t)r->graph_count, sizeof *p.functions)};
  if (!status && (!p.modules || !p.functions)) status = ls__fail(LS_ERROR_MEMORY, "%s: out of memory", r->name);
  for (int32_t i = 0; i < r->module_count && !status; i++) status = make_module(r, i, &p);
  for (int32_t i = 0; i < r->graph_count && !status; i++) status = make_function(r, i, &p);
  if (!status) {
    *out = p.functions[r->graph_count - 1];
    p.functions[r->graph_count - 1] = NULL;
  }
  for (int32_t i = 0; p.functions && i < r->graph_count; i++) ls_function_release(p.functions[i]);
  for (int32_t i = 0; p.modules && i < r->module_count; i++) ls_module_release(p.modules[i]);
  free(p.modules);
  free(p.functions);
  return status;
}
