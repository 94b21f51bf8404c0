/* Finds the names that a wrong name in an error may have been meant to be. */
#include <stdio.h>
#include <string.h>
#include "base/base.h"

enum { LONGEST_NAME = 63, NEAREST = 3 };

static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

/* Returns how many letters have to be changed, added or removed to make one name of another, where swapping two neighbouring letters counts
   as one change; where more than `limit` changes are needed, some number above `limit`. */
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
