/* Errors: a status, and texts in a per-thread buffer. Also what every file needs: near misses, interned texts, the count
   of what is alive. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/internal.h"

static _Thread_local struct {
  char message[2048], cause[1024], point[512];
  int64_t site, site2;
  int32_t again;
} last;

ls_status (ls__fail)(ls_status code, const char *format, ...) {
  char text[sizeof last.message]; /* the arguments may be texts of the last error */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(last.message, text, sizeof text);
  last.cause[0] = last.point[0] = 0;
  last.site = last.site2 = 0;
  last.again = 0;
  return code;
}

void ls__fail_cause(const char *text) { snprintf(last.cause, sizeof last.cause, "%s", text); }
void ls__fail_point(const char *point) { snprintf(last.point, sizeof last.point, "%s", point); }

void ls__fail_again(void) { last.again = 1; }

void ls__fail_site(int64_t site, int64_t site2) {
  last.site = site;
  last.site2 = site2;
}

const char *ls_error_message(void) { return last.message; }
const char *ls_error_cause(void) { return last.cause; }
const char *ls_error_point(void) { return last.point; }
int64_t ls_error_site(void) { return last.site; }
int64_t ls_error_site2(void) { return last.site2; }
int32_t ls_error_again(void) { return last.again; }
const char *ls_header_hash(void) { return LS_HEADER_HASH; }

static int64_t alive;

void ls__live_add(int32_t n) { alive += n; }
int64_t ls_live(void) { return alive; }

/* ---- near misses ------------------------------------------------------------------------------------------------ */

enum { LONGEST_NAME = 63, NEAREST = 3 };

static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

/* Edit distance with swaps of neighbours; above `limit` where it is more. */
static size_t distance(const char *a, size_t n, const char *b, size_t m, size_t limit) {
  if (n > m + limit || m > n + limit || n > LONGEST_NAME || m > LONGEST_NAME) return limit + 1;
  size_t rows[3][LONGEST_NAME + 1], *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= m; j++) above[j] = before[j] = j;
  for (size_t i = 1; i <= n; i++) {
    row[0] = i;
    for (size_t j = 1; j <= m; j++) {
      size_t best = above[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
      if (above[j] + 1 < best) best = above[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]) && before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      row[j] = best;
    }
    size_t *free_row = before;
    before = above;
    above = row;
    row = free_row;
  }
  return above[m];
}

const char *ls__near(const char *name, const char *const *candidates, size_t count) {
  static _Thread_local char text[4 * LONGEST_NAME + 64];
  const char *found[NEAREST];
  size_t far[NEAREST], n = 0, length = strlen(name), limit = length / 3 ? length / 3 : 1;
  for (size_t i = 0; i < count; i++) {
    size_t d = distance(name, length, candidates[i], strlen(candidates[i]), limit);
    if (d > limit || (n == NEAREST && d >= far[n - 1])) continue;
    size_t at = n < NEAREST ? n++ : NEAREST - 1;
    for (; at > 0 && far[at - 1] > d; at--) {
      far[at] = far[at - 1];
      found[at] = found[at - 1];
    }
    far[at] = d;
    found[at] = candidates[i];
  }
  text[0] = 0;
  if (!n) return text;
  size_t used = (size_t)snprintf(text, sizeof text, " (did you mean ");
  for (size_t i = 0; i < n; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s\"%s\"", i ? " or " : "", found[i]);
  snprintf(text + used, sizeof text - used, "?)");
  return text;
}

/* ---- interned texts --------------------------------------------------------------------------------------------- */

typedef struct entry {
  size_t length;
  uint64_t hash;
  char text[];
} entry;

static entry **table;
static size_t table_size, table_used;

static uint64_t hash_of(const char *text, size_t length) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < length; i++) h = (h ^ (unsigned char)text[i]) * 1099511628211u;
  return h;
}

static bool grow_table(void) {
  size_t size = table_size ? table_size * 2 : 1024;
  entry **bigger = calloc(size, sizeof *bigger);
  if (!bigger) return false;
  for (size_t i = 0; i < table_size; i++)
    if (table[i]) {
      size_t at = table[i]->hash & (size - 1);
      while (bigger[at]) at = (at + 1) & (size - 1);
      bigger[at] = table[i];
    }
  free(table);
  table = bigger;
  table_size = size;
  return true;
}

const char *ls__intern(const char *text, size_t length) {
  if (table_used * 2 >= table_size && !grow_table()) return "";
  uint64_t hash = hash_of(text, length);
  size_t at = hash & (table_size - 1);
  for (; table[at]; at = (at + 1) & (table_size - 1))
    if (table[at]->hash == hash && table[at]->length == length && !memcmp(table[at]->text, text, length)) return table[at]->text;
  entry *e = malloc(sizeof *e + length + 1);
  if (!e) return "";
  e->length = length;
  e->hash = hash;
  memcpy(e->text, text, length);
  e->text[length] = 0;
  table[at] = e;
  table_used++;
  return e->text;
}
