/* Modules: the named places of a model, which have parameters and child modules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

ls_status ls_module_new(const char *class_name, ls_module **out) {
  LS__NEED(class_name && out);
  ls_module *m = calloc(1, sizeof *m);
  if (!m || !(m->class_name = ls__intern(class_name))) {
    free(m);
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a module");
  }
  m->references = 1;
  ls__live_add(1);
  *out = m;
  return LS_OK;
}

static void free_names(const char **names, int32_t count) {
  for (int32_t i = 0; i < count; i++) ls__text_release(names[i]);
  free(names);
}

void ls_module_release(ls_module *m) {
  if (!m || --m->references) return;
  for (int32_t i = 0; i < m->tensors; i++) ls_value_release(&m->tensor_values[i]);
  for (int32_t i = 0; i < m->children; i++) ls_module_release(m->child_modules[i]);
  ls__text_release(m->class_name);
  free_names(m->tensor_names, m->tensors);
  free(m->tensor_values);
  free_names(m->child_names, m->children);
  free(m->child_modules);
  free_names(m->axis_points, m->axes);
  free(m->axis_numbers);
  free(m);
  ls__live_add(-1);
}

ls_module *ls__module_retain(ls_module *m) {
  m->references++;
  return m;
}

/* Returns the place of a name in an array of `count` names; `count` where the name is not among them, -1 when out of memory. */
static int32_t find(const char **names, int32_t count, const char *name) {
  const char *kept = ls__intern(name);
  if (!kept) return -1;
  int32_t i = 0;
  while (i < count && names[i] != kept) i++;
  ls__text_release(kept);
  return i;
}

/* Adds a name to an array of `count` names, and to the array beside it an empty value of `size` bytes; false when out of memory. */
static bool add(const char ***names, void **values, int32_t count, const char *name, size_t size) {
  const char **n = realloc(*names, sizeof *n * (size_t)(count + 1));
  if (!n) return false;
  *names = n;
  void *v = realloc(*values, size * (size_t)(count + 1));
  if (!v) return false;
  *values = v;
  memset((char *)v + size * (size_t)count, 0, size);
  return (n[count] = ls__intern(name)) != NULL;
}

/* Takes the name at place `i` out of an array of `count` names, and its value of `size` bytes out of the array beside it. */
static void take_out(const char **names, void *values, int32_t count, int32_t i, size_t size) {
  ls__text_release(names[i]);
  memmove(&names[i], &names[i + 1], sizeof *names * (size_t)(count - i - 1));
  memmove((char *)values + size * (size_t)i, (char *)values + size * (size_t)(i + 1), size * (size_t)(count - i - 1));
}

ls_status ls_module_set_tensor(ls_module *m, const char *name, const ls_value *tensor) {
  LS__NEED(m && name && tensor && (tensor->kind != LS_TENSOR || tensor->as.p));
  if (tensor->kind != LS_TENSOR && tensor->kind != LS_NONE)
    return ls__fail(LS_ERROR_ARGUMENT, "the parameter or buffer \"%s\" of a module of class %s must be a tensor", name, m->class_name);
  int32_t i = find(m->tensor_names, m->tensors, name);
  bool known = i >= 0 && i < m->tensors;
  if (tensor->kind == LS_NONE && i == m->tensors) return LS_OK;
  if (i < 0 || (!known && !add(&m->tensor_names, (void **)&m->tensor_values, m->tensors, name, sizeof(ls_value))))
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a parameter");
  if (!known) m->tensors++;
  ls_value_retain(tensor);
  ls__replace(&m->tensor_values[i], *tensor);
  if (tensor->kind == LS_NONE) take_out(m->tensor_names, m->tensor_values, m->tensors--, i, sizeof(ls_value));
  return LS_OK;
}

ls_status ls_module_set_child(ls_module *m, const char *name, ls_module *child) {
  LS__NEED(m && name && child != m);
  int32_t i = find(m->child_names, m->children, name);
  bool known = i >= 0 && i < m->children;
  if (!child && i == m->children) return LS_OK;
  if (i < 0 || (!known && !add(&m->child_names, (void **)&m->child_modules, m->children, name, sizeof(ls_module *))))
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a module");
  if (!known) m->children++;
  ls_module *old = m->child_modules[i];
  m->child_modules[i] = child ? ls__module_retain(child) : NULL;
  if (!child) take_out(m->child_names, m->child_modules, m->children--, i, sizeof(ls_module *));
  ls_module_release(old);
  return LS_OK;
}

ls_status ls_module_set_axis(ls_module *m, const char *point, int32_t axis) {
  LS__NEED(m && point);
  if (!add(&m->axis_points, (void **)&m->axis_numbers, m->axes, point, sizeof(int32_t)))
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a module");
  m->axis_numbers[m->axes++] = axis;
  return LS_OK;
}

/* ---- questions -------------------------------------------------------------------------------------------------- */

int32_t ls__module_axis(const ls_module *m, const char *point, int32_t otherwise) {
  for (int32_t i = 0; m && i < m->axes; i++)
    if (!strcmp(m->axis_points[i], point)) return m->axis_numbers[i];
  return otherwise;
}

const char *ls__module_class(const ls_module *m) { return m->class_name; }

const char *ls__module_tensor_name(const ls_module *m, const void *tensor) {
  for (int32_t i = 0; i < m->tensors; i++)
    if (m->tensor_values[i].kind == LS_TENSOR && m->tensor_values[i].as.p == tensor) return m->tensor_names[i];
  return NULL;
}

const ls_value *ls__module_tensor(const ls_module *m, const char *name) {
  for (int32_t i = 0; m && i < m->tensors; i++)
    if (m->tensor_values[i].kind == LS_TENSOR && !strcmp(m->tensor_names[i], name)) return &m->tensor_values[i];
  return NULL;
}

ls_module *ls__module_find(ls_module *root, const char *path, size_t length) {
  const char *end = path + length;
  while (root && path < end) {
    const char *dot = memchr(path, '.', (size_t)(end - path));
    size_t n = (size_t)((dot ? dot : end) - path);
    ls_module *below = NULL;
    for (int32_t i = 0; i < root->children && !below; i++)
      if (!strncmp(root->child_names[i], path, n) && !root->child_names[i][n]) below = root->child_modules[i];
    root = below;
    path += dot ? n + 1 : n;
  }
  return root;
}

/* Appends the path from `m` down to `wanted`; false where `wanted` is not below `m`. */
static bool find_path(const ls_module *m, const ls_module *wanted, char *path, size_t room) {
  if (m == wanted) return true;
  size_t used = strlen(path);
  for (int32_t i = 0; i < m->children; i++) {
    if (!m->child_modules[i]) continue;
    snprintf(path + used, room - used, "%s%s", used ? "." : "", m->child_names[i]);
    if (find_path(m->child_modules[i], wanted, path, room)) return true;
    path[used] = 0;
  }
  return false;
}

bool ls__module_path(const ls_module *root, const ls_module *m, char *path, size_t room) {
  path[0] = 0;
  return root && find_path(root, m, path, room);
}
