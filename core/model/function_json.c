/* A function as JSON, with all that it calls: the format that ls_function_read reads. Tensors, modules and functions are in three
   lists and are named by their number there. A module or a function names only earlier entries; the function itself is the last:

     {"luasight_function": 1,
      "tensors": [{"names": ["lin.weight"], "dtype": "float32", "shape": [2, 3]}, {"dtype": ..., "shape": ..., "data": base64}],
      "modules": [{"class": "Linear", "tensors": {"weight": 0}}, {"class": "Net", "children": {"lin": 0}}],
      "functions": [{"module": 0, "nodes": [...], "result": {"node": 1}}, ...]}

   A tensor with names is a weight: its numbers are in another file, under one of its names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/graph_check.h"
#include "model/private.h"

/* A hash table that numbers pointers in the order in which they are added. */
typedef struct table {
  const void **keys;
  int32_t *numbers;
  int32_t used, room; /* the number of entries in use, and the length of the table, which is a power of two */
} table;

typedef struct ls__json_form {
  table tensors, modules, functions;
  const ls_value **values;    /* for each tensor, by its number, a value with that tensor; borrowed from nodes */
  json_t **names;  /* for each tensor, by its number, the paths at which modules have it, as a JSON list; NULL where no module has it */
  int32_t value_room;
  json_t *module_list, *function_list;
  /* the sorted paths of the tensors that a file of weights has; NULL where that file has every tensor of the modules */
  const char **wanted;
  size_t wanted_count;
} ls__json_form;

static size_t place_of(const table *t, const void *key) {
  size_t at = ((uintptr_t)key >> 4) * 0x9E3779B97F4A7C15u >> 20 & (size_t)(t->room - 1);
  while (t->keys[at] && t->keys[at] != key) at = (at + 1) & (size_t)(t->room - 1);
  return at;
}

static int32_t find(const table *t, const void *key) {
  if (!t->room) return -1;
  size_t at = place_of(t, key);
  return t->keys[at] ? t->numbers[at] : -1;
}

static bool widen(table *t) {
  table bigger = {.room = t->room ? 2 * t->room : 64, .used = t->used};
  bigger.keys = calloc((size_t)bigger.room, sizeof *bigger.keys);
  bigger.numbers = calloc((size_t)bigger.room, sizeof *bigger.numbers);
  if (!bigger.keys || !bigger.numbers) {
    free(bigger.keys);
    free(bigger.numbers);
    return false;
  }
  for (int32_t i = 0; i < t->room; i++)
    if (t->keys[i]) {
      size_t at = place_of(&bigger, t->keys[i]);
      bigger.keys[at] = t->keys[i];
      bigger.numbers[at] = t->numbers[i];
    }
  free(t->keys);
  free(t->numbers);
  *t = bigger;
  return true;
}

/* Adds a pointer to a table in which it is not yet, and returns its number; -1 when out of memory. */
static int32_t add(table *t, const void *key, ls__json *out) {
  if (2 * t->used >= t->room && !widen(t)) {
    ls__json_made(out, NULL);
    return -1;
  }
  size_t at = place_of(t, key);
  t->keys[at] = key;
  return t->numbers[at] = t->used++;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

int32_t ls__json_form_tensor(ls__json_form *form, ls__json *out, const ls_value *tensor) {
  int32_t number = find(&form->tensors, tensor->as.p);
  if (number >= 0) return number;
  if (form->tensors.used == form->value_room) {
    int32_t room = form->value_room ? 2 * form->value_room : 64;
    const ls_value **values = realloc(form->values, sizeof *values * (size_t)room);
    if (values) form->values = values;
    json_t **names = realloc(form->names, sizeof(json_t *) * (size_t)room);
    if (names) form->names = names;
    if (!values || !names) {
      ls__json_made(out, NULL);
      return -1;
    }
    form->value_room = room;
  }
  if ((number = add(&form->tensors, tensor->as.p, out)) < 0) return -1;
  form->values[number] = tensor;
  form->names[number] = NULL;
  return number;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool is_wanted(const ls__json_form *form, const char *path) {
  return !form->wanted || bsearch(&path, form->wanted, form->wanted_count, sizeof path, by_text);
}

enum { PATH_ROOM = 1024 };

/* Notes for each tensor that functions use its paths in the module `m` and in the modules below. `path` holds the path of `m`, which has
   `length` bytes. */
static void name_tensors(ls__json_form *form, ls__json *out, const ls_module *m, char *path, size_t length) {
  for (int32_t i = 0; i < m->tensors; i++) {
    int32_t number = m->tensor_values[i].kind == LS_TENSOR ? find(&form->tensors, m->tensor_values[i].as.p) : -1;
    int n = snprintf(path + length, PATH_ROOM - length, "%s%s", length ? "." : "", m->tensor_names[i]);
    if (number < 0 || n < 0 || (size_t)n >= PATH_ROOM - length || !is_wanted(form, path)) continue;
    if (!form->names[number]) form->names[number] = ls__json_made(out, json_array());
    ls__json_add(out, form->names[number], ls__json_string(out, path));
  }
  for (int32_t i = 0; i < m->children; i++) {
    int n = snprintf(path + length, PATH_ROOM - length, "%s%s", length ? "." : "", m->child_names[i]);
    if (m->child_modules[i] && n >= 0 && (size_t)n < PATH_ROOM - length)
      name_tensors(form, out, m->child_modules[i], path, length + (size_t)n);
  }
}

static json_t *tensors_json(ls__json_form *form, ls__json *out) {
  json_t *list = ls__json_made(out, json_array());
  for (int32_t i = 0; i < form->tensors.used && !out->status; i++) {
    json_t *o = ls__json_tensor(out, form->values[i], !form->names[i]);
    if (form->names[i]) ls__json_put(out, o, "names", json_incref(form->names[i]));
    ls__json_add(out, list, o);
  }
  return list;
}

/* ---- modules ----------------------------------------------------------------------------------------------------- */

/* Returns the number of a module in the list of modules. A module that is not yet in the list is added, after its children. */
static int32_t module_number(ls__json_form *form, ls__json *out, const ls_module *m) {
  int32_t number = find(&form->modules, m);
  if (number >= 0) return number;
  json_t *o = ls__json_made(out, json_object()), *axes = ls__json_made(out, json_object()),
      *children = ls__json_made(out, json_object());
  ls__json_put(out, o, "class", ls__json_string(out, m->class_name));
  for (int32_t i = 0; i < m->axes; i++) /* where a module declares two axes for a point, the first declaration counts */
    if (!json_object_get(axes, m->axis_points[i]))
      ls__json_put(out, axes, m->axis_points[i], ls__json_integer(out, m->axis_numbers[i]));
  for (int32_t i = 0; i < m->children && !out->status; i++)
    if (m->child_modules[i])
      ls__json_put(out, children, m->child_names[i], ls__json_integer(out, module_number(form, out, m->child_modules[i])));
  if (json_object_size(axes)) ls__json_put(out, o, "axes", json_incref(axes));
  if (json_object_size(children)) ls__json_put(out, o, "children", json_incref(children));
  json_decref(axes);
  json_decref(children);
  ls__json_add(out, form->module_list, o);
  return add(&form->modules, m, out);
}

/* Adds the field `tensors` to each module: those of its tensors that functions use, which are known only after all functions are
   written. */
static void put_module_tensors(ls__json_form *form, ls__json *out) {
  for (int32_t k = 0; k < form->modules.room && !out->status; k++) {
    const ls_module *m = form->modules.keys[k];
    json_t *o = m ? json_array_get(form->module_list, (size_t)form->modules.numbers[k]) : NULL;
    json_t *tensors = m ? ls__json_made(out, json_object()) : NULL;
    for (int32_t i = 0; m && i < m->tensors; i++) {
      int32_t number = m->tensor_values[i].kind == LS_TENSOR ? find(&form->tensors, m->tensor_values[i].as.p) : -1;
      if (number >= 0) ls__json_put(out, tensors, m->tensor_names[i], ls__json_integer(out, number));
    }
    if (json_object_size(tensors)) ls__json_put(out, o, "tensors", json_incref(tensors));
    json_decref(tensors);
  }
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

static int32_t function_number(ls__json_form *form, ls__json *out, const ls_function *f);

static json_t *node_json(ls__json_form *form, ls__json *out, const ls_function *f, int32_t i) {
  const ls__node *node = &f->owner.nodes.at[i];
  const ls__slot *slot = node->slot >= 0 ? &f->slots[node->slot] : NULL;
  const char *name = node->kind == LS__OP ? ls__op_name(node->op) : node->kind == LS__INPUT ? f->keywords[i]
                     : node->kind == LS__TAP ? slot->name : NULL;
  json_t *o = ls__json_made(out, json_object());
  ls__json_put(out, o, "node", ls__json_integer(out, i));
  ls__json_put(out, o, "do", ls__json_string(out, ls__node_word(node->kind)));
  if (name) ls__json_put(out, o, "name", ls__json_string(out, name));
  if (slot && slot->callee) {
    const char *role = node->kind == LS__TWO_FORMS ? "plain" : "function";
    ls__json_put(out, o, role, ls__json_integer(out, function_number(form, out, slot->callee)));
  }
  if (slot && slot->fused) ls__json_put(out, o, "fused", ls__json_integer(out, function_number(form, out, slot->fused)));
  if (node->n) ls__json_put(out, o, "arguments", ls__json_arguments(out, node->stream, node->n));
  ls__json_put_autograd(out, o, node);
  return o;
}

/* Returns the number of a function in the list of functions. A function that is not yet in the list is added, after the functions that it
   calls. */
static int32_t function_number(ls__json_form *form, ls__json *out, const ls_function *f) {
  int32_t number = find(&form->functions, f);
  if (number >= 0) return number;
  json_t *o = ls__json_made(out, json_object()), *nodes = ls__json_made(out, json_array());
  if (f->module) ls__json_put(out, o, "module", ls__json_integer(out, module_number(form, out, f->module)));
  for (int32_t i = 0; i < f->owner.nodes.count && !out->status; i++) ls__json_add(out, nodes, node_json(form, out, f, i));
  ls__json_put(out, o, "nodes", nodes);
  int32_t at = 0;
  ls__json_put(out, o, "result", ls__json_value(out, &f->result, 1, &at));
  ls__json_add(out, form->function_list, o);
  return add(&form->functions, f, out);
}

static void free_form(ls__json_form *form) {
  for (int32_t i = 0; i < form->tensors.used; i++) json_decref(form->names[i]);
  table *tables[] = {&form->tensors, &form->modules, &form->functions};
  for (int i = 0; i < 3; i++) {
    free(tables[i]->keys);
    free(tables[i]->numbers);
  }
  free(form->values);
  free(form->names);
  free(form->wanted);
  json_decref(form->module_list);
  json_decref(form->function_list);
}

/* Copies to `form`, sorted, the paths of the tensors that a file of weights has. */
static void take_names(ls__json_form *form, ls__json *out, const char *const *names, int32_t n) {
  if (!names) return;
  form->wanted = malloc(sizeof *form->wanted * ((size_t)n + 1));
  if (!form->wanted) {
    ls__json_made(out, NULL);
    return;
  }
  if (n) memcpy(form->wanted, names, sizeof *form->wanted * (size_t)n);
  form->wanted_count = (size_t)n;
  qsort(form->wanted, form->wanted_count, sizeof *form->wanted, by_text);
}

ls_status ls_function_json(ls_function *f, const char *const *names, int32_t n, const char **out) {
  static _Thread_local char *kept;
  LS__NEED(f && out && n >= 0 && (names || !n));
  for (int32_t i = 0; i < n; i++) LS__NEED(names[i]);
  if (f->owner.open || !f->module)
    return ls__fail(LS_ERROR_STATE, "only the finished function of a module can be written as JSON");
  ls__json json = {0};
  ls__json_form form = {.module_list = ls__json_made(&json, json_array()), .function_list = ls__json_made(&json, json_array())};
  json.form = &form;
  char path[PATH_ROOM] = "";
  take_names(&form, &json, names, n);
  if (!json.status) function_number(&form, &json, f);
  if (!json.status) name_tensors(&form, &json, f->module, path, 0);
  if (!json.status) put_module_tensors(&form, &json);
  json_t *o = ls__json_made(&json, json_object());
  ls__json_put(&json, o, "luasight_function", ls__json_made(&json, json_integer(1)));
  ls__json_put(&json, o, "tensors", tensors_json(&form, &json));
  ls__json_put(&json, o, "modules", json_incref(form.module_list));
  ls__json_put(&json, o, "functions", json_incref(form.function_list));
  ls_status status = ls__json_finish(&json, o, &kept);
  free_form(&form);
  if (!status) *out = kept;
  return status;
}
