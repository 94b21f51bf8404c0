/* Interned texts: one copy of each text for the life of the process, so that equal texts have equal pointers. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"

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
