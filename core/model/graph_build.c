/* Records the nodes of a checked JSON text. Where a node cannot be recorded, such as an operator that does not take its arguments, the
   error names the node. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/graph_check.h"

/* ---- arguments as a stream --------------------------------------------------------------------------------------- */

static ls_status no_memory(const ls__build *b) {
  return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the nodes in the file", b->at.reader->name);
}

static bool grow(ls_value **array, int32_t count, int32_t *room) {
  if (count < *room) return true;
  int32_t more = *room ? 2 * *room : 32;
  ls_value *bigger = realloc(*array, sizeof *bigger * (size_t)more);
  if (!bigger) return false;
  *array = bigger;
  *room = more;
  return true;
}

static ls_status put(ls__build *b, ls_value v) {
  if (!grow(&b->stream, b->n, &b->room)) return no_memory(b);
  b->stream[b->n++] = v;
  return LS_OK;
}

/* Adds the tensor `v`, which was made for this node, to the node's arguments. Takes over the reference to `v`: it is kept in `owned`, and
   released once the recorded node has a reference of its own. */
static ls_status put_owned(ls__build *b, ls_value v) {
  if (!grow(&b->owned, b->owned_count, &b->owned_room)) {
    ls_value_release(&v);
    return no_memory(b);
  }
  b->owned[b->owned_count++] = v;
  return put(b, v);
}

static ls_status put_text(ls__build *b, int32_t kind, const json_t *text) {
  return put(b, (ls_value){.kind = kind, .as.s = json_string_value(text)});
}

static ls_status put_named(ls__build *b, const json_t *v) {
  ls_status status = put_text(b, LS_KEY, json_object_get(v, "name"));
  return status ? status : ls__build_value(b, json_object_get(v, "value"));
}

static ls_status put_sequence(ls__build *b, int32_t kind, const json_t *list) {
  ls_status status = put(b, (ls_value){.kind = LS_OPEN, .aux = kind, .as.i = (int64_t)json_array_size(list)});
  for (size_t i = 0; i < json_array_size(list) && !status; i++)
    status = kind == LS_STRUCT ? put_named(b, json_array_get(list, i)) : ls__build_value(b, json_array_get(list, i));
  return status;
}

static ls_status put_tensor(ls__build *b, const json_t *v) {
  if (b->at.reader->is_function) return put(b, b->at.reader->values[json_integer_value(v)]);
  ls_value made;
  ls_status status = ls__read_tensor(&b->at, v, true, &made);
  return status ? status : put_owned(b, made);
}

/* Adds to a node's arguments a parameter or buffer of the model that the trace runs. */
static ls_status put_parameter(ls__build *b, const json_t *v) {
  const ls_value *tensor = ls__module_tensor(b->module, json_string_value(v));
  if (tensor) return put(b, *tensor);
  char shown[LS__READ_SHOWN];
  return ls__read_fail(&b->at, LS_ERROR_NAME, "the edit names the parameter \"%s\", which this model does not have",
                       ls__read_shown(v, shown));
}

static double number_of(const char *word) { return !strcmp(word, "nan") ? NAN : *word == '-' ? -INFINITY : INFINITY; }

static ls_status put_object(ls__build *b, const json_t *v) {
  const json_t *o;
  ls_status status;
  if ((o = json_object_get(v, "node")))
    return put(b, (ls_value){.kind = LS_NODE, .aux = b->ids[json_integer_value(o)], .as.p = b->owner});
  if ((o = json_object_get(v, "tensor"))) return put_tensor(b, o);
  if ((o = json_object_get(v, "parameter"))) return put_parameter(b, o);
  if ((o = json_object_get(v, "tuple"))) return put_sequence(b, LS_TUPLE, o);
  if ((o = json_object_get(v, "struct"))) return put_sequence(b, LS_STRUCT, o);
  if ((o = json_object_get(v, "float"))) return put(b, (ls_value){.kind = LS_FLOAT, .as.f = ls__number(number_of(json_string_value(o)))});
  if (json_object_get(v, "index")) return put(b, (ls_value){.kind = LS_ELLIPSIS});
  o = json_object_get(v, "slice");
  status = put(b, (ls_value){.kind = LS_SLICE});
  for (size_t i = 0; i < 3 && !status; i++) status = ls__build_value(b, json_array_get(o, i));
  return status;
}

ls_status ls__build_value(ls__build *b, const json_t *v) {
  if (ls__read_is_list(v)) return put_sequence(b, LS_LIST, v);
  switch (json_typeof(v)) {
    case JSON_OBJECT: return put_object(b, v);
    case JSON_STRING: return put_text(b, LS_STRING, v);
    case JSON_INTEGER: return put(b, (ls_value){.kind = LS_INT, .as.i = json_integer_value(v)});
    case JSON_REAL: return put(b, (ls_value){.kind = LS_FLOAT, .as.f = json_real_value(v)});
    case JSON_TRUE: return put(b, (ls_value){.kind = LS_BOOL, .as.i = 1});
    case JSON_FALSE: return put(b, (ls_value){.kind = LS_BOOL});
    default: return put(b, (ls_value){0});
  }
}

static ls_status put_arguments(ls__build *b) {
  const json_t *list = json_object_get(b->node, "arguments");
  ls_status status = LS_OK;
  for (size_t i = 0; i < json_array_size(list) && !status; i++) {
    const json_t *v = json_array_get(list, i);
    status = json_object_get(v, "name") ? put_named(b, v) : ls__build_value(b, v);
  }
  return status;
}

void ls__build_drop(ls__build *b) {
  while (b->owned_count) ls_value_release(&b->owned[--b->owned_count]);
  b->n = 0;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static ls_status make_operator(ls__build *b, int32_t *id) {
  ls__node node = ls__node_of(LS__OP, 0);
  ls_status status = ls_op_find(b->at.name, &node.op);
  if (!status) status = b->record(b->owner, &node, b->stream, b->n, LS_TENSOR, id);
  if (status || !ls__call_writes_others(b->owner->nodes.at[*id].call)) return status;
  return ls__read_fail(&b->at, LS_ERROR_FORMAT, "the operator would write into an argument other than its first, "
                                                "which is not allowed in a file");
}

/* Returns the kind of the value self[index] as far as it is known. Where self is an operator with several results, its schema tells the
   kind. */
static uint8_t kind_of_item(const ls__build *b) {
  const ls_value *self = &b->stream[0], *index = &b->stream[1];
  const ls__nodes *nodes = &b->owner->nodes;
  uint8_t of = self->kind == LS_NODE ? nodes->kinds[self->aux] : (uint8_t)self->kind;
  const ls__call *call = self->kind == LS_NODE ? nodes->at[self->aux].call : NULL;
  int32_t results = call ? ls__call_results(call) : 0;
  if (results > 1 && b->n == 2 && index->kind == LS_INT && index->as.i >= 0 && index->as.i < results)
    return ls__call_kind(call, (int32_t)index->as.i);
  return of == LS_TENSOR ? LS_TENSOR : of == LS_LIST ? LS_INT : LS_NONE;
}

static ls_status make_node(ls__build *b, int32_t *id) {
  ls__node node = ls__node_of((ls__node_kind)b->kind, 0);
  int32_t unused;
  switch (b->kind) {
    case LS__OP: return make_operator(b, id);
    case LS__GETITEM: return b->record(b->owner, &node, b->stream, b->n, kind_of_item(b), id);
    case LS__SETITEM: return b->record(b->owner, &node, b->stream, b->n, LS_NONE, &unused);
    case LS__SEQ: return b->record(b->owner, &node, b->stream, b->n, (uint8_t)b->stream[0].aux, id);
    default: return b->make(b, id);
  }
}

/* Whether the error that was just set begins with the name of the file, so that the place in the file need not be added. */
static bool says_where(const ls__build *b) {
  size_t n = strlen(b->at.reader->name);
  return !strncmp(ls_error_message(), b->at.reader->name, n) && !strncmp(ls_error_message() + n, ": ", 2);
}

ls_status ls__build_nodes(ls__build *b) {
  const json_t *nodes = b->at.reader->graphs[b->at.graph].nodes;
  size_t count = json_array_size(nodes);
  b->ids = malloc(sizeof *b->ids * (count + 1));
  if (!b->ids) return no_memory(b);
  ls_status status = LS_OK;
  uint8_t around = ls__recorded_autograd;
  for (size_t i = 0; i < count && !status; i++) {
    b->ids[i] = -1;
    b->node = json_array_get(nodes, i);
    b->kind = ls__node_kind_of(json_string_value(json_object_get(b->node, "do")));
    b->at.node = (int32_t)i;
    b->at.kind = ls__node_word(b->kind);
    b->at.name = json_string_value(json_object_get(b->node, "name"));
    const json_t *autograd = json_object_get(b->node, "autograd");
    ls__recorded_autograd = !autograd ? LS__AUTOGRAD_RUN : json_is_true(autograd) ? LS__AUTOGRAD_ON : LS__AUTOGRAD_OFF;
    status = put_arguments(b);
    if (!status) status = make_node(b, &b->ids[i]);
    ls__build_drop(b);
    if (status && !says_where(b)) ls__read_failed(&b->at, status);
  }
  ls__recorded_autograd = around;
  return status;
}

void ls__build_free(ls__build *b) {
  ls__build_drop(b);
  free(b->ids);
  free(b->stream);
  free(b->owned);
}
