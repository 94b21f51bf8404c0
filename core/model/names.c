/* Names of points, such as "h.3.attn.output (call 1)": which call of a module, and which of its points, a name means in a program.

   A name is a path of modules. It means the calls of its last module that the calls of the modules on the path contain: a module that two
   others share has calls on both paths, and a name means those on its own path. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

enum { DEEPEST = 128, NAME_ROOM = 1024 };

/* The modules on a path, from the program's own module to the named one, each with the number of the call that is meant; -1: any call. */
typedef struct way {
  int32_t n;
  const ls_module *modules[DEEPEST];
  int32_t calls[DEEPEST];
} way;

static bool holds(const ls_module *m, const ls_module *sought) {
  for (int32_t i = 0; i < m->children; i++)
    if (m->child_modules[i] == sought) return true;
  for (int32_t i = 0; i < m->children; i++)
    if (holds(m->child_modules[i], sought)) return true;
  return false;
}

/* Returns the nearest call around the call `instance` of a module that has the called module somewhere below it; -1 where there is none. */
static int32_t holder_of(const ls_program *p, int32_t instance) {
  int32_t around = p->instances[instance].parent;
  while (around >= 0 && !(p->instances[around].module && holds(p->instances[around].module, p->instances[instance].module)))
    around = p->instances[around].parent;
  return around;
}

static int32_t number_on(const ls_program *p, int32_t instance, const way *w, int32_t n);

/* Whether the call `instance` of the last of the first `n` modules of the way is on the way: all calls around it that hold the called module
   are calls of modules of the way, with the numbers that the way asks for. */
static bool is_on(const ls_program *p, int32_t instance, const way *w, int32_t n) {
  for (int32_t at = n - 1; at > 0;) {
    int32_t around = holder_of(p, instance), next = at - 1;
    while (next >= 0 && (around < 0 || w->modules[next] != p->instances[around].module)) {
      if (w->calls[next] >= 0) return false;
      next--;
    }
    if (next < 0) return around < 0;
    if (w->calls[next] >= 0 && number_on(p, around, w, next + 1) != w->calls[next]) return false;
    instance = around;
    at = next;
  }
  return true;
}

/* Returns how many calls of the last of the first `n` modules of the way come before the call `instance` and are on the way. */
static int32_t number_on(const ls_program *p, int32_t instance, const way *w, int32_t n) {
  int32_t number = 0;
  for (int32_t i = 0; i < instance; i++) number += p->instances[i].module == w->modules[n - 1] && is_on(p, i, w, n);
  return number;
}

/* Returns the call number `k` that the way names, or -1; `count` becomes the number of all calls that it names. A module that is called on
   other paths only (such as an embedding that an encoder has under a name of its own) is meant wherever it is called. */
static int32_t find_call(const ls_program *p, const way *w, int32_t k, int32_t *count) {
  const ls_module *m = w->modules[w->n - 1];
  int32_t found = -1, anywhere = -1, all = 0;
  bool asks = false;
  for (int32_t i = 0; i < w->n - 1; i++) asks = asks || w->calls[i] >= 0;
  *count = 0;
  for (int32_t i = 0; i < p->instance_count; i++) {
    if (p->instances[i].module != m) continue;
    if (all++ == k) anywhere = i;
    if (is_on(p, i, w, w->n) && (*count)++ == k) found = i;
  }
  if (*count || asks) return found;
  *count = all;
  return anywhere;
}

/* Reads the number of the call in a part of a name, "attn (call 1)". Returns the length of the part without it, -1 where it is malformed. */
static int32_t split(const char *part, int32_t length, int32_t *call) {
  static const char open[] = " (call ";
  *call = -1;
  for (int32_t i = 0; i + (int32_t)sizeof open <= length; i++) {
    if (memcmp(part + i, open, sizeof open - 1) != 0) continue;
    char *end;
    long number = strtol(part + i + sizeof open - 1, &end, 10);
    if (end != part + length - 1 || *end != ')' || number < 0 || number > INT32_MAX) return -1;
    *call = (int32_t)number;
    return i;
  }
  return length;
}

static const ls_module *child_of(const ls_module *m, const char *name, int32_t length) {
  for (int32_t i = 0; i < m->children; i++)
    if (strlen(m->child_names[i]) == (size_t)length && !memcmp(m->child_names[i], name, (size_t)length)) return m->child_modules[i];
  return NULL;
}

/* Reads the path of a module; false where the program's module has no module at this path. */
static bool read_way(const ls_program *p, const char *path, int32_t length, way *w) {
  *w = (way){.n = 1, .modules = {p->function->module}, .calls = {-1}};
  for (int32_t from = 0; from < length;) {
    const char *dot = memchr(path + from, '.', (size_t)(length - from));
    int32_t to = dot ? (int32_t)(dot - path) : length, call, n = split(path + from, to - from, &call);
    const ls_module *above = w->modules[w->n - 1];
    if (!above || n < 0 || w->n == DEEPEST || !(w->modules[w->n] = child_of(above, path + from, n))) return false;
    w->calls[w->n++] = call;
    from = to + 1;
  }
  return w->modules[w->n - 1] != NULL;
}

int32_t ls_program_calls(ls_program *p, const char *path) {
  way w;
  int32_t count;
  if (!p || !path || strlen(path) > INT32_MAX || !read_way(p, path, (int32_t)strlen(path), &w)) return -1;
  find_call(p, &w, 0, &count);
  return count;
}

/* Returns the point of a tap in a call, or in the plain form of an attention inside that call; -1 where there is none. */
static int32_t tap_point(const ls_program *p, int32_t instance, const char *tap, size_t length) {
  const ls__instance *in = &p->instances[instance];
  for (int32_t i = 0; i < in->function->owner.nodes.count; i++) {
    const ls__node *node = &in->function->owner.nodes.at[i];
    if (node->slot < 0) continue;
    int32_t to = p->slots[in->slots + node->slot];
    const char *name = in->function->slots[node->slot].name;
    if (node->kind == LS__TAP && !strncmp(name, tap, length) && !name[length]) return to;
    if (node->kind == LS__TWO_FORMS && (to = tap_point(p, to, tap, length)) >= 0) return to;
  }
  return -1;
}

int32_t ls_program_find(ls_program *p, const char *name) {
  way w;
  size_t length = name ? strlen(name) : 0;
  if (!p || !name || length > INT32_MAX) return -1;
  int32_t last = (int32_t)length, call, count, n;
  while (last > 0 && name[last - 1] != '.') last--;
  if ((n = split(name + last, (int32_t)length - last, &call)) < 0 || !read_way(p, name, last ? last - 1 : 0, &w)) return -1;
  if (call < 0) call = w.calls[w.n - 1] < 0 ? 0 : w.calls[w.n - 1];
  int32_t found = find_call(p, &w, call, &count);
  if (found < 0) return -1;
  if (n == 5 && !memcmp(name + last, "input", 5)) return p->instances[found].input;
  if (n == 6 && !memcmp(name + last, "output", 6)) return p->instances[found].output;
  return tap_point(p, found, name + last, (size_t)n);
}

/* ---- the name of a point ------------------------------------------------------------------------------------------------ */

/* Writes the path on which the call `instance` runs to `out`, which has NAME_ROOM bytes. */
static void write_path(const ls_program *p, int32_t instance, char *out) {
  const ls_module *m = p->instances[instance].module;
  int32_t around = m == p->function->module ? -1 : holder_of(p, instance);
  out[0] = 0;
  if (around >= 0) write_path(p, around, out);
  size_t used = strlen(out);
  if (used && used < NAME_ROOM - 1) out[used++] = '.';
  ls__module_path(around >= 0 ? p->instances[around].module : p->function->module, m, out + used, NAME_ROOM - used);
}

const char *ls_program_point_name(ls_program *p, int32_t point) {
  if (!p || point < 0 || point >= p->point_count) return "";
  if (!p->name && !(p->name = malloc(NAME_ROOM))) return "";
  const ls__point *at = &p->points[point];
  int32_t owner = ls__program_owner(p, point), count = 0;
  const ls__instance *in = &p->instances[owner];
  way w;
  p->name[0] = 0;
  if (in->module) {
    write_path(p, owner, p->name);
    if (read_way(p, p->name, (int32_t)strlen(p->name), &w)) find_call(p, &w, 0, &count);
  }
  static const char *kinds[] = {"input", "output", "tap"};
  size_t used = strlen(p->name);
  used += (size_t)snprintf(p->name + used, NAME_ROOM - used, "%s%s", used ? "." : "",
                           at->kind == LS_POINT_TAP ? at->tap : kinds[at->kind]);
  if (used < NAME_ROOM && count > 1) snprintf(p->name + used, NAME_ROOM - used, " (call %d)", number_on(p, owner, &w, w.n));
  return p->name;
}
