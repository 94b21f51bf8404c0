/* Checks the arguments of nodes from JSON: values, references to earlier nodes, indices, keywords. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "model/graph_check.h"

/* ---- arguments --------------------------------------------------------------------------------------------------- */

ls_status (ls__check_wrong)(const ls__check *c, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return ls__read_fail(&c->at, LS_ERROR_FORMAT, "%s", text);
}

static ls_status check_reference(ls__check *c, const json_t *v) {
  int64_t number;
  if (!ls__read_integer(v, 0, INT32_MAX, &number)) return ls__check_wrong(c, "a reference to a node is not a whole number from 0 on");
  if (number >= c->at.node)
    return ls__check_wrong(c, "the node uses node %lld, but it can use earlier nodes only", (long long)number);
  if (!c->gives[number]) return ls__check_wrong(c, "the node uses node %lld, which has no value", (long long)number);
  c->has_node = true;
  return LS_OK;
}

static ls_status check_items(ls__check *c, const json_t *list, int depth, bool index) {
  if (!ls__read_is_list(list)) return ls__check_wrong(c, "a sequence among the arguments is not a list");
  ls_status status = LS_OK;
  for (size_t i = 0; i < json_array_size(list) && !status; i++)
    status = ls__check_value(c, json_array_get(list, i), depth + 1, index);
  return status;
}

/* Checks one {"name": ..., "value": ...}: the name must be a text that no earlier entry of the list has. */
ls_status ls__check_named(ls__check *c, const json_t *list, size_t i) {
  static const char *const known[] = {"name", "value", NULL};
  const json_t *o = json_array_get(list, i), *name = json_object_get(o, "name");
  ls_status status = ls__read_known(&c->at, o, known);
  if (status) return status;
  char shown[LS__READ_SHOWN];
  if (!json_is_string(name) || !json_string_length(name))
    return ls__check_wrong(c, "a named value among the arguments has no name");
  if (!json_object_get(o, "value"))
    return ls__check_wrong(c, "\"%s\" among the arguments has no value", ls__read_shown(name, shown));
  for (size_t k = 0; k < i; k++)
    if (json_equal(json_object_get(json_array_get(list, k), "name"), name))
      return ls__check_wrong(c, "\"%s\" is twice among the arguments", ls__read_shown(name, shown));
  return LS_OK;
}

enum { MOST_FIELDS = 256 }; /* the limit is low because each field's name is compared with all earlier ones */

static ls_status check_struct(ls__check *c, const json_t *list, int depth) {
  if (!ls__read_is_list(list)) return ls__check_wrong(c, "a struct among the arguments is not a list");
  if (json_array_size(list) > MOST_FIELDS)
    return ls__check_wrong(c, "a struct among the arguments has more than %d fields", MOST_FIELDS);
  ls_status status = LS_OK;
  for (size_t i = 0; i < json_array_size(list) && !status; i++) {
    status = ls__check_named(c, list, i);
    if (!status) status = ls__check_value(c, json_object_get(json_array_get(list, i), "value"), depth + 1, false);
  }
  return status;
}

static ls_status check_slice(ls__check *c, const json_t *parts) {
  if (!json_is_array(parts) || json_array_size(parts) != 3)
    return ls__check_wrong(c, "a slice must have three parts: start, stop, step");
  ls_status status = LS_OK;
  for (size_t i = 0; i < 3 && !status; i++) {
    const json_t *part = json_array_get(parts, i);
    bool number = json_is_null(part) || json_is_integer(part) || json_object_get(part, "node") || json_object_get(part,
        "tensor");
    status = number ? ls__check_value(c, part, LS__READ_ARGUMENT_DEPTH, false) : ls__check_wrong(c,
        "a part of a slice must be a whole number, a node or null");
  }
  return status;
}

static ls_status check_tensor(ls__check *c, const json_t *v) {
  int64_t number;
  if (!c->at.reader->is_function) return ls__read_tensor(&c->at, v, true, NULL);
  return ls__read_integer(v, 0, c->at.reader->tensor_count - 1, &number)
             ? LS_OK
             : ls__check_wrong(c, "a tensor must be the number of one of the %d tensors", c->at.reader->tensor_count);
}

static bool is_text(const json_t *v, const char *text) { return json_is_string(v) && !strcmp(json_string_value(v), text); }

static ls_status check_object(ls__check *c, const json_t *v, int depth, bool index) {
  const char *key;
  json_t *inside;
  if (json_object_size(v) != 1) return ls__check_wrong(c, "an object among the arguments must have exactly one field");
  json_object_foreach((json_t *)v, key, inside) {
    if (!strcmp(key, "node")) return check_reference(c, inside);
    if (!strcmp(key, "tensor")) return check_tensor(c, inside);
    if (!strcmp(key, "tuple")) return check_items(c, inside, depth, false);
    if (!strcmp(key, "struct")) return check_struct(c, inside, depth);
    if (!strcmp(key, "slice") && index) return check_slice(c, inside);
    if (!strcmp(key, "index") && index && is_text(inside, "...")) return LS_OK;
    if (!strcmp(key, "float") && (is_text(inside, "nan") || is_text(inside, "inf") || is_text(inside, "-inf"))) return LS_OK;
    if (!strcmp(key, "parameter") && !c->at.reader->is_function && json_is_string(inside)) return LS_OK;
    char shown[LS__READ_SHOWN];
    return ls__check_wrong(c, "an object among the arguments has the unknown field \"%s\"",
                         ls__printable(key, strlen(key), shown, sizeof shown));
  }
  return LS_OK;
}

/* Checks one value of an argument; with `index`, slices and "..." are allowed. */
ls_status ls__check_value(ls__check *c, const json_t *v, int depth, bool index) {
  if (depth > LS__READ_ARGUMENT_DEPTH)
    return ls__check_wrong(c, "the arguments nest lists deeper than %d", LS__READ_ARGUMENT_DEPTH);
  if (ls__read_is_list(v)) return check_items(c, v, depth, false);
  if (json_is_object(v)) return check_object(c, v, depth, index);
  return v ? LS_OK : ls__check_wrong(c, "a value is missing among the arguments");
}

/* Checks a keyword of an operator: some overload must have an argument of that name, and not one for results (out =). */
ls_status ls__check_keyword(ls__check *c, const ls_op *op, const json_t *name) {
  char shown[LS__READ_SHOWN];
  int32_t kind = ls__op_argument(op, json_string_value(name));
  if (kind == LS__ARGUMENT_NONE)
    return ls__read_fail(&c->at, LS_ERROR_NAME, "the operator has no argument \"%s\"", ls__read_shown(name, shown));
  if (kind == LS__ARGUMENT_WRITTEN)
    return ls__check_wrong(c, "the operator would write into its argument \"%s\", which it may not do in a file",
                         ls__read_shown(name, shown));
  return LS_OK;
}
