/* The structure of the values that functions return: names of fields, numbers of elements, and which values may replace others. */
#include <string.h>
#include "model/private.h"

/* Writes the field names of a struct to `names`. The struct is the first item of `stream`: a constant, or a node of the function `f`.
   Returns false where the names are not known. */
static bool fields_of(const ls_function *f, const ls_value *stream, const char **names, size_t *n) {
  const ls__node *node = stream->kind == LS_NODE ? &f->owner.nodes.at[stream->aux] : NULL;
  if (node && node->kind == LS__CALL) return ls__function_fields(f->slots[node->slot].callee, names, n);
  if (node && node->kind == LS__TAP) return fields_of(f, node->stream, names, n);
  if (!node || node->kind != LS__SEQ || node->stream[0].aux != LS_STRUCT || node->stream[0].as.i > LS__LOCAL) return false;
  *n = 0;
  for (int32_t i = 1; i < node->n; i = ls__stream_value(node->stream, i, node->n))
    if (node->stream[i].kind == LS_KEY) names[(*n)++] = node->stream[i++].as.s;
  return true;
}

bool ls__function_fields(const ls_function *f, const char **names, size_t *n) { return fields_of(f, &f->result, names, n); }

/* ---- replacing a value -------------------------------------------------------------------------------------------- */

static ls_status wrong_length(int32_t old, int32_t fresh) {
  return ls__fail(LS_ERROR_SHAPE, "the new value at this point must have the %d elements of the old one, not %d", old, fresh);
}

static ls_status wrong_field(const char *key) {
  return ls__fail(LS_ERROR_SHAPE, "the new value at this point must have the field \"%s\" of the old one", key);
}

static ls_status wrong_kind(const ls_value *old, const ls_value *fresh) {
  static const char *names[] = {"nothing", "a boolean", "a whole number", "a number", "a text", "a tensor",
                                "a tuple", "a list", "a struct"};
  return ls__fail(LS_ERROR_SHAPE, "the value at this point is %s; it cannot be replaced by %s%s", names[old->kind], names[fresh->kind],
                  old->kind == LS_TUPLE ? "; set its element [0], or give ls.tuple(x)" : "");
}

ls_status ls__same_structure(const ls_value *old, const ls_value *fresh) {
  if (old->kind != LS_NONE && old->kind != fresh->kind) return wrong_kind(old, fresh);
  if (old->kind != LS_TUPLE && old->kind != LS_STRUCT) return LS_OK;
  int32_t length = ls_seq_length(old);
  if (length != ls_seq_length(fresh)) return wrong_length(length, ls_seq_length(fresh));
  const char **a = ls__seq_keys(old), **b = ls__seq_keys(fresh);
  for (int32_t i = 0; i < length; i++) {
    if (a && strcmp(a[i], b[i])) return wrong_field(a[i]);
    ls_status status = ls__same_structure(&ls__seq_items(old)[i], &ls__seq_items(fresh)[i]);
    if (status) return status;
  }
  return LS_OK;
}

/* Fails where `given` cannot take the place of a value that `f` returns: the first item of `stream`, which is a constant or a node.
   Compares the kind, the length and the field names, each where the recording has it. */
static ls_status may_return(const ls_function *f, const ls_value *stream, const ls_value *given) {
  const ls__nodes *nodes = &f->owner.nodes;
  const ls__node *node = stream->kind == LS_NODE ? &nodes->at[stream->aux] : NULL;
  if (node && node->kind == LS__CALL) return ls__function_may_return(f->slots[node->slot].callee, given);
  if (node && node->kind == LS__TAP) return may_return(f, node->stream, given);
  ls_value old = {.kind = stream->kind == LS_NODE ? nodes->kinds[stream->aux] : stream->kind};
  if (old.kind == LS_NONE || old.kind >= LS_NODE) return LS_OK;
  if (old.kind != given->kind) return wrong_kind(&old, given);
  if (!node || node->kind != LS__SEQ || (old.kind != LS_TUPLE && old.kind != LS_STRUCT)) return LS_OK;
  int64_t length = node->stream[0].as.i;
  if (length != ls_seq_length(given)) return wrong_length((int32_t)length, ls_seq_length(given));
  const char **keys = ls__seq_keys(given);
  ls_status status = LS_OK;
  for (int32_t i = 1, k = 0; k < length && !status; k++) {
    if (node->stream[i].kind == LS_KEY) {
      const char *key = node->stream[i++].as.s;
      if (!keys || strcmp(key, keys[k])) return wrong_field(key);
    }
    if (node->stream[i].kind == LS_NODE) status = may_return(f, &node->stream[i], &ls__seq_items(given)[k]);
    i = ls__stream_value(node->stream, i, node->n);
  }
  return status;
}

ls_status ls__function_may_return(const ls_function *f, const ls_value *given) { return may_return(f, &f->result, given); }
