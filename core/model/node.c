/* Nodes, the steps of which the recordings of functions and traces are made, and handles to nodes. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

/* ---- handles ---------------------------------------------------------------------------------------------------- */

void ls__node_handle(ls__owner *o, int32_t id, ls_value *out) {
  o->type->retain(o, id);
  *out = (ls_value){.kind = LS_NODE, .aux = id, .as.p = o};
}

ls_status ls__open_owner(const ls_value *stream, int32_t n, ls__owner **out) {
  ls__owner *found = NULL;
  for (int32_t i = 0; i < n; i++) {
    if (stream[i].kind != LS_NODE) continue;
    ls__owner *o = stream[i].as.p;
    if (!o->open && ls__is_function(o))
      return ls__fail(LS_ERROR_STATE, "a value that a module's forward recorded cannot be used outside of that forward");
    if (!o->open || o == found) continue;
    if (found)
      return ls__fail(LS_ERROR_STATE,
                      found->type == o->type
                          ? "values of two open traces cannot be combined; save the value of the first trace and let that trace end"
                          : "a value of an open trace cannot be used inside a module's forward; pass it as an argument");
    found = o;
  }
  *out = found;
  return LS_OK;
}

static void retain(void *owner, int32_t node) { ((ls__owner *)owner)->type->retain(owner, node); }

static void release(void *owner, int32_t node) { ((ls__owner *)owner)->type->release(owner, node); }

void ls__nodes_start(void) {
  static const ls__value_class its = {retain, release, NULL};
  ls__value_define(LS_NODE, &its);
}

static ls_status value_of(const ls_value *node, ls_value *out) {
  const ls__owner *o = node->as.p;
  return o->type->value(node->as.p, node->aux, false, out);
}

ls_status ls__resolve(const ls_value *stream, int32_t n, ls_value *local, const ls_value **out) {
  int32_t first = 0;
  while (first < n && stream[first].kind != LS_NODE) first++;
  *out = stream;
  if (first == n) return LS_OK;
  ls_value *values = n <= LS__LOCAL ? local : malloc(sizeof *values * (size_t)n);
  if (!values) return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a node");
  for (int32_t i = 0; i < n; i++) {
    ls_value v = stream[i];
    ls_status status = v.kind == LS_NODE ? value_of(&stream[i], &v) : LS_OK;
    if (status) {
      if (values != local) free(values);
      return status;
    }
    values[i] = v;
  }
  *out = values;
  return LS_OK;
}

void ls__resolved_free(const ls_value *resolved, const ls_value *stream, const ls_value *local) {
  if (resolved != stream && resolved != local) free((void *)resolved);
}

bool ls__is_node(const ls_value *v) {
  const ls__owner *o = v && v->kind == LS_NODE ? v->as.p : NULL;
  return o && v->aux >= 0 && v->aux < o->nodes.count;
}

ls_status ls__arguments_valid(const ls_value *stream, int32_t n) {
  /* the number of values at the beginning of the stream that need no further check: numbers and tensors; most streams hold nothing else */
  int32_t plain = 0;
  while (stream && plain < n && ((uint32_t)stream[plain].kind <= LS_FLOAT || (stream[plain].kind == LS_TENSOR && stream[plain].as.p)))
    plain++;
  if (plain == n) return LS_OK;
  ls_status status = ls__stream_check(stream, n);
  for (int32_t i = 0; i < n && !status; i++)
    if (stream[i].kind == LS_NODE && !ls__is_node(&stream[i]))
      status = ls__fail(LS_ERROR_ARGUMENT, "item %d of an argument stream is a handle to a node that does not exist", i);
  return status;
}

ls_status ls__value_check(const ls_value *v) {
  if (!v || v->kind > LS_NODE)
    return ls__fail(LS_ERROR_ARGUMENT, "an argument that must be one value is NULL, or is a part of an argument stream");
  return ls__arguments_valid(v, 1);
}

int32_t ls_node_is_open(const ls_value *node) {
  const ls__owner *o = node && node->kind == LS_NODE ? node->as.p : NULL;
  if (!o) return -1;
  return !o->open ? 0 : ls__is_function(o) ? 1 : 2;
}

int32_t ls_node_kind(const ls_value *node) {
  return ls__is_node(node) ? ((const ls__owner *)node->as.p)->nodes.kinds[node->aux] : -1;
}

int64_t ls_node_site(const ls_value *node) {
  return ls__is_node(node) ? ((const ls__owner *)node->as.p)->nodes.at[node->aux].site : -1;
}

/* ---- recording -------------------------------------------------------------------------------------------------- */

/* Copies a stream of arguments: a tensor's version is noted in `aux`, and nodes of other functions or traces are replaced by their
   values. */
static ls_status stream_copy(const ls__owner *o, const ls_value *stream, int32_t n, ls_value **out) {
  ls_value *copy = malloc(sizeof *copy * (size_t)(n ? n : 1));
  if (!copy) return ls__fail(LS_ERROR_MEMORY, "out of memory for a node");
  for (int32_t i = 0; i < n; i++) {
    ls_value v = stream[i];
    if (v.kind == LS_NODE && v.as.p != o) {
      ls_status status = value_of(&stream[i], &v);
      if (status) {
        ls__stream_free(copy, i);
        return status;
      }
    }
    if (v.kind == LS_NODE) v.as.p = NULL;
    else if (v.kind == LS_TENSOR && o->shapes ? ls__tensor_shape_only(v.as.p, &v) : ls__value_keep(&v)) {
      ls__stream_free(copy, i);
      return LS_ERROR_MEMORY;
    }
    ls__version_note(&v);
    copy[i] = v;
  }
  *out = copy;
  return LS_OK;
}

/* Moves the nodes and their kinds into one block of memory with room for `room` nodes; false when out of memory. */
static bool set_room(ls__nodes *nodes, int32_t room) {
  size_t n = (size_t)room, used = (size_t)nodes->count;
  ls__node *at = malloc(n * (sizeof *at + 1));
  if (!at) return false;
  uint8_t *kinds = (uint8_t *)(at + n);
  if (used) {
    memcpy(at, nodes->at, used * sizeof *at);
    memcpy(kinds, nodes->kinds, used);
  }
  free(nodes->at);
  *nodes = (ls__nodes){nodes->count, room, at, kinds};
  return true;
}

void ls__nodes_trim(ls__nodes *nodes) {
  /* the unused room is freed; where that fails, the nodes keep the larger block */
  if (nodes->count && nodes->count < nodes->room) set_room(nodes, nodes->count);
}

int32_t ls__node_edits(const ls__node *node, int32_t k) {
  if (node->edits < 0) return -1;
  return node->kind == LS__OP ? ls__call_written(node->call, k) : k ? -1 : node->edits;
}

void ls__node_clear(ls__node *node) {
  ls__stream_free(node->stream, node->n);
  node->stream = NULL;
  node->n = 0;
  if (node->call) ls__call_free(node->call);
  node->call = NULL;
  ls_program_release(node->program);
  node->program = NULL;
}

void ls__node_take_back(ls__nodes *nodes) { ls__node_clear(&nodes->at[--nodes->count]); }

void ls__nodes_free(ls__nodes *nodes) {
  for (int32_t i = 0; i < nodes->count; i++) ls__node_clear(&nodes->at[i]);
  free(nodes->at); /* this frees the array `kinds` too, which is in the same block of memory */
}

ls_status ls__node_add(ls__owner *o, const ls__node *like, const ls_value *stream, int32_t n, uint8_t result, int32_t *id) {
  ls__nodes *nodes = &o->nodes;
  if (nodes->count == nodes->room && !set_room(nodes, nodes->room ? 2 * nodes->room : 16))
    return ls__fail(LS_ERROR_MEMORY, "out of memory for the nodes of a recording");
  ls_value *copy;
  ls_status status = stream_copy(o, stream, n, &copy);
  if (status) return status;
  ls__node *node = &nodes->at[nodes->count];
  *node = *like;
  node->stream = copy;
  node->n = n;
  if (node->program) ls__program_retain(node->program);
  nodes->kinds[nodes->count] = result;
  *id = nodes->count++;
  if (!node->op) return LS_OK;
  if ((status = ls__call_prepare(node->op, copy, n, nodes->kinds, &node->call))) {
    node->call = NULL;
    ls__node_take_back(nodes);
    return status;
  }
  int32_t results = ls__call_results(node->call);
  nodes->kinds[*id] = results == 1 ? ls__call_kind(node->call, 0) : results ? LS_TUPLE : LS_NONE;
  return LS_OK;
}
