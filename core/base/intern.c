/* Interned texts: one copy of each text, so that equal texts have equal pointers. A copy is freed with the last reference to it. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"

typedef struct entry {
  int64_t references;
  uint64_t hash;
  bool fixed; /* whether the text stays for the life of the process */
  char text[];
} entry;

enum { LEAST = 1024 };

static entry **table; /* an entry is at the place of its hash, or behind it where other entries are in between */
static size_t table_size, table_used;

static uint64_t hash_of(const char *text) {
  uint64_t h = 14695981039346656037u;
  for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
  return h;
}

static size_t behind(size_t at) { return (at + 1) & (table_size - 1); }

static bool resize(size_t size) {
  entry **fresh = calloc(size, sizeof *fresh);
  if (!fresh) return false;
  for (size_t i = 0; i < table_size; i++)
    if (table[i]) {
      size_t at = table[i]->hash & (size - 1);
      while (fresh[at]) at = (at + 1) & (size - 1);
      fresh[at] = table[i];
    }
  free(table);
  table = fresh;
  table_size = size;
  return true;
}

/* Returns the entry of a text, which is made where there is none; NULL when out of memory. */
static entry *entry_of(const char *text) {
  if (table_used * 2 >= table_size && !resize(table_size ? table_size * 2 : LEAST)) return NULL;
  uint64_t hash = hash_of(text);
  size_t at = hash & (table_size - 1);
  for (; table[at]; at = behind(at))
    if (table[at]->hash == hash && !strcmp(table[at]->text, text)) return table[at];
  size_t room = strlen(text) + 1;
  entry *e = malloc(sizeof *e + room);
  if (!e) return NULL;
  *e = (entry){.hash = hash};
  memcpy(e->text, text, room);
  table_used++;
  return table[at] = e;
}

/* Returns the place of the interned text with this address; `table_size` where the address is not that of an interned text. */
static size_t place_of(const char *text) {
  if (!table_used) return table_size;
  size_t at = hash_of(text) & (table_size - 1);
  for (; table[at]; at = behind(at))
    if (table[at]->text == text) return at;
  return table_size;
}

static void take_out(size_t at) {
  free(table[at]);
  table[at] = NULL;
  table_used--;
  if (table_size > LEAST && table_used * 8 < table_size && resize(table_size / 2)) return;
  /* an entry behind the gap that belongs at the gap or before it moves into the gap, which is then where this entry was */
  for (size_t i = behind(at); table[i]; i = behind(i))
    if (((i - table[i]->hash) & (table_size - 1)) >= ((i - at) & (table_size - 1))) {
      table[at] = table[i];
      table[i] = NULL;
      at = i;
    }
}

const char *ls__intern(const char *text) {
  entry *e = entry_of(text);
  if (!e) return NULL;
  e->references++;
  ls__live_add(1);
  return e->text;
}

const char *ls__intern_fixed(const char *text) {
  entry *e = entry_of(text);
  if (!e) return NULL;
  e->fixed = true;
  return e->text;
}

const char *ls__text_retain(const char *text) {
  size_t at = text ? place_of(text) : table_size;
  if (at == table_size) return text;
  table[at]->references++;
  ls__live_add(1);
  return text;
}

void ls__text_release(const char *text) {
  size_t at = text ? place_of(text) : table_size;
  if (at == table_size || !table[at]->references) return;
  ls__live_add(-1);
  if (!--table[at]->references && !table[at]->fixed) take_out(at);
}
