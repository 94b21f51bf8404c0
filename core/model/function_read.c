/* Checks the JSON text of a function: its tensors, its modules, its functions. */
#include <stdlib.h>
#include <string.h>
#include "model/graph_check.h"

static ls_status no_memory(const ls_reader *r) {
  return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the function in the file", r->name);
}

static bool is_name(const json_t *value) { return json_is_string(value) && json_string_length(value) > 0; }

/* Checks the tensors of a text: a weight has names, each of which occurs once in the text; any other tensor has its numbers in the text. */
static ls_status check_tensors(ls_reader *r) {
  ls__read_place at = {.reader = r, .graph = -1, .node = -1};
  json_t *seen = json_object();
  ls_status status = seen ? LS_OK : no_memory(r);
  for (int32_t i = 0; i < r->tensor_count && !status; i++) {
    const json_t *o = json_array_get(r->tensors, (size_t)i), *names = json_object_get(o, "names");
    status = ls__read_tensor(&at, o, !names, NULL);
    if (!status && names && (!json_is_array(names) || !json_array_size(names)))
      status = ls__read_fail(&at, LS_ERROR_FORMAT, "the field `names` of tensor %d in the file is not a list of texts", i);
    for (size_t k = 0; k < json_array_size(names) && !status; k++) {
      const json_t *name = json_array_get(names, k);
      if (!is_name(name))
        status = ls__read_fail(&at, LS_ERROR_FORMAT, "name %zu in the field `names` of tensor %d in the file is not a text", k, i);
      else if (json_object_get(seen, json_string_value(name)))
        status = ls__read_fail(&at, LS_ERROR_FORMAT, "tensor %d in the file has a name that another tensor has too", i);
      else if (json_object_set_new(seen, json_string_value(name), json_true())) status = no_memory(r);
    }
  }
  json_decref(seen);
  return status;
}

/* Checks a JSON object whose fields must all be whole numbers from `least` to `most`. */
static ls_status check_numbers(const ls__read_place *at, const json_t *object, int64_t least, int64_t most, int32_t module,
    const char *what) {
  const char *key;
  json_t *value;
  int64_t number;
  if (object && !json_is_object(object))
    return ls__read_fail(at, LS_ERROR_FORMAT, "the field `%s` of module %d in the file is not a JSON object", what, module);
  json_object_foreach((json_t *)object, key, value) {
    char shown[LS__READ_SHOWN];
    if (!*key || (least == 0 && strchr(key, '.')))
      return ls__read_fail(at, LS_ERROR_FORMAT, "a name in the field `%s` of module %d in the file is empty or has a dot in it", what,
                           module);
    if (!ls__read_integer(value, least, most, &number))
      return ls__read_fail(at, LS_ERROR_FORMAT, "\"%s\" in the field `%s` of module %d in the file is not a whole number from %lld to "
                                                "%lld%s",
                           ls__printable(key, strlen(key), shown, sizeof shown), what, module, (long long)least,
                               (long long)most,
                           least == 0 ? ": it must be the number of an earlier entry" : "");
  }
  return LS_OK;
}

/* Checks that each module has only earlier modules as children, and that the tree of modules below each module is neither too large nor too
   deep. */
static ls_status check_modules(ls_reader *r) {
  static const char *const known[] = {"class", "tensors", "axes", "children", NULL};
  ls__read_place at = {.reader = r, .graph = -1, .node = -1};
  int32_t *depths = calloc((size_t)r->module_count + 1, sizeof *depths);
  int64_t *paths = calloc((size_t)r->module_count + 1, sizeof *paths);
  ls_status status = depths && paths ? LS_OK : no_memory(r);
  for (int32_t i = 0; i < r->module_count && !status; i++) {
    const json_t *o = json_array_get(r->modules, (size_t)i), *children = json_object_get(o, "children");
    if (!json_is_object(o)) status = ls__read_fail(&at, LS_ERROR_FORMAT, "module %d in the file is not a JSON object", i);
    if (!status) status = ls__read_known(&at, o, known);
    if (!status && !is_name(json_object_get(o, "class")))
      status = ls__read_fail(&at, LS_ERROR_FORMAT, "module %d in the file has no class: its field `class` is missing or is no text", i);
    if (!status) status = check_numbers(&at, json_object_get(o, "tensors"), 0, r->tensor_count - 1, i, "tensors");
    if (!status) status = check_numbers(&at, json_object_get(o, "axes"), -LS__READ_AXES, LS__READ_AXES - 1, i, "axes");
    if (!status) status = check_numbers(&at, children, 0, i - 1, i, "children");
    if (status) break;
    const char *key;
    json_t *child;
    paths[i] = 1;
    json_object_foreach((json_t *)children, key, child) {
      int64_t k = json_integer_value(child);
      if (depths[k] >= depths[i]) depths[i] = depths[k] + 1;
      paths[i] += paths[k];
      if (paths[i] > LS__READ_CALLS) paths[i] = LS__READ_CALLS + 1;
    }
    if (depths[i] >= LS__READ_CALL_DEPTH || paths[i] > LS__READ_CALLS)
      status = ls__read_fail(&at, LS_ERROR_FORMAT, "module %d in the file has more than %d modules below it, or more than "
                             "%d nested ones", i,
                             LS__READ_CALLS, LS__READ_CALL_DEPTH);
  }
  free(depths);
  free(paths);
  return status;
}

static ls_status check_function(ls_reader *r) {
  static const char *const known[] = {"luasight_function", "tensors", "modules", "functions", NULL};
  static const char *const lists[] = {"tensors", "modules", "functions"};
  static const char *const of_function[] = {"module", "nodes", "result", NULL};
  ls__read_place at = {.reader = r, .graph = -1, .node = -1};
  ls_status status = ls__read_known(&at, r->text, known);
  for (int i = 0; i < 3 && !status; i++)
    if (!json_is_array(json_object_get(r->text, lists[i])))
      status = ls__read_fail(&at, LS_ERROR_FORMAT, "the field `%s` of the file is not a list", lists[i]);
  if (status) return status;
  const json_t *functions = json_object_get(r->text, "functions");
  r->tensors = json_object_get(r->text, "tensors");
  r->modules = json_object_get(r->text, "modules");
  r->tensor_count = (int32_t)json_array_size(r->tensors);
  r->module_count = (int32_t)json_array_size(r->modules);
  r->graph_count = (int32_t)json_array_size(functions);
  if (!r->graph_count) return ls__read_fail(&at, LS_ERROR_FORMAT, "the file has no function: its list `functions` is empty");
  r->graphs = calloc((size_t)r->graph_count, sizeof *r->graphs);
  r->values = calloc((size_t)r->tensor_count + 1, sizeof *r->values);
  if (!r->graphs || !r->values) return no_memory(r);
  status = check_tensors(r);
  if (!status) status = check_modules(r);
  for (int32_t i = 0; i < r->graph_count && !status; i++) {
    const json_t *o = json_array_get(functions, (size_t)i), *module = json_object_get(o, "module");
    ls__read_graph *g = &r->graphs[i];
    int64_t number = -1;
    at.graph = i;
    if (!json_is_object(o)) status = ls__read_fail(&at, LS_ERROR_FORMAT, "the function in the file is not a JSON object");
    if (!status) status = ls__read_known(&at, o, of_function);
    if (!status && module && !ls__read_integer(module, 0, r->module_count - 1, &number))
      status = ls__read_fail(&at, LS_ERROR_FORMAT, "the field `module` of the function is not the number of one of the %d modules in the "
                                                   "file", r->module_count);
    g->module = (int32_t)number;
    g->nodes = json_object_get(o, "nodes");
    g->result = json_object_get(o, "result");
    if (!status) status = ls__read_check(r, i);
  }
  at.graph = r->graph_count - 1;
  if (!status && r->graphs[at.graph].module < 0)
    status = ls__read_fail(&at, LS_ERROR_FORMAT, "the last function in the file belongs to no module, but it must be the forward of a "
                                                 "module");
  return status;
}

ls_status ls_function_read(const char *json, size_t length, const char *name, ls_reader **out) {
  LS__NEED(json && name && out);
  return ls__read_any(json, length, name, true, check_function, out);
}
