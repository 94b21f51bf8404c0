/* Modules: named places in the model that own parameters and children. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

ls_status ls_module_new(const char *class_name, ls_module **out) {
  LS__NEED(class_name && out);
  ls_module *m = calloc(1, sizeof *m);
  if (!m) return ls__fail(LS_ERROR_MEMORY, "out of memory for a module");
  m->references = 1;
  m->class_name = ls__intern(class_name, strlen(class_name));
  ls__live_add(1);
  *out = m;
  return LS_OK;
}

void ls_module_release(ls_module *m) {
  if (!m || --m->references) return;
  for (int32_t i = 0; i < m->tensors; i++) ls_value_release(&m->tensor_values[i]);
  for (int32_t i = 0; i < m->children; i++) ls_module_release(m->child_modules[i]);
  free(m->tensor_names);
  free(m->tensor_values);
  free(m->child_names);
  free(m->child_modules);
  free(m->axis_points);
  free(m->axis_numbers);
  free(m);
  ls__live_add(-1);
}

ls_module *ls__module_retain(ls_module *m) {
  m->references++;
  return m;
}

static int32_t find(const char **names, int32_t count, const char *name) {
  for (int32_t i = 0; i < count; i++)
    if (names[i] == name) return i;
  return -1;
}

/* Makes room for one more name and its value of `size` bytes; false when out of memory. */
static bool grow(const char ***names, void **values, int32_t count, size_t size) {
  const char **n = realloc(*names, sizeof *n * (size_t)(count + 1));
  if (!n) return false;
  *names = n;
  void *v = realloc(*values, size * (size_t)(count + 1));
  if (!v) return false;
  *values = v;
  return true;
}

ls_status ls_module_set_tensor(ls_module *m, const char *name, const ls_value *tensor) {
  LS__NEED(m && name && tensor && (tensor->kind != LS_TENSOR || tensor->as.p));
  if (tensor->kind != LS_TENSOR && tensor->kind != LS_NONE)
    return ls__fail(LS_ERROR_ARGUMENT, "\"%s\" of %s must be a tensor", name, m->class_name);
  name = ls__intern(name, strlen(name));
  int32_t i = find(m->tensor_names, m->tensors, name);
  if (i < 0) {
    if (tensor->kind == LS_NONE) return LS_OK;
    if (!grow(&m->tensor_names, (void **)&m->tensor_values, m->tensors, sizeof(ls_value)))
      return ls__fail(LS_ERROR_MEMORY, "out of memory for a parameter");
    i = m->tensors++;
    m->tensor_names[i] = name;
    m->tensor_values[i] = (ls_value){0};
  }
  ls_value_retain(tensor);
  ls_value_release(&m->tensor_values[i]);
  m->tensor_values[i] = *tensor;
  return LS_OK;
}

ls_status ls_module_set_child(ls_module *m, const char *name, ls_module *child) {
  LS__NEED(m && name && child != m);
  name = ls__intern(name, strlen(name));
  int32_t i = find(m->child_names, m->children, name);
  if (i < 0) {
    if (!child) return LS_OK;
    if (!grow(&m->child_names, (void **)&m->child_modules, m->children, sizeof(ls_module *)))
      return ls__fail(LS_ERROR_MEMORY, "out of memory for a module");
    i = m->children++;
    m->child_names[i] = name;
    m->child_modules[i] = NULL;
  }
  if (child) ls__module_retain(child);
  ls_module_release(m->child_modules[i]);
  m->child_modules[i] = child;
  return LS_OK;
}

ls_status ls_module_set_axis(ls_module *m, const char *point, int32_t axis) {
  LS__NEED(m && point);
  if (!grow(&m->axis_points, (void **)&m->axis_numbers, m->axes, sizeof(int32_t)))
    return ls__fail(LS_ERROR_MEMORY, "out of memory for a module");
  m->axis_points[m->axes] = ls__intern(point, strlen(point));
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
