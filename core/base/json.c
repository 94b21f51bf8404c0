/* Helpers around jansson: finding the parts of a JSON text, and showing foreign text in a one-line error. */
#include "base/json.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

size_t ls__json_space(const char *text, size_t length, size_t at) {
  while (at < length && is_space(text[at])) at++;
  return at;
}

/* Returns the index behind the closing quote of the string whose opening quote is at index `at`; 0 where the string has no end. */
static size_t string_end(const char *text, size_t length, size_t at) {
  uint64_t high = 0;
  for (at++; (at = ls__json_plain(text, length, at, &high)) < length; at++) {
    if (text[at] == '"') return at + 1;
    if (text[at] == '\\' && ++at == length) break;
  }
  return 0;
}

size_t ls__json_skip(const char *text, size_t length, size_t at, int depth, int *deep) {
  size_t start = at;
  int open = 0;
  *deep = 0;
  while (at < length) {
    char c = text[at];
    if (c == '"') {
      at = string_end(text, length, at);
      if (!at || !open) return at;
      continue;
    }
    if (c == '{' || c == '[') {
      if (++open > depth) {
        *deep = 1;
        return 0;
      }
    } else if (c == '}' || c == ']') {
      if (!open) break; /* this bracket ends the array or object around the value, so the value has ended before it */
      if (!--open) return at + 1;
    } else if (!open && (c == ',' || c == ':' || is_space(c))) {
      break;
    }
    at++;
  }
  return !open && at > start ? at : 0;
}

bool ls__json_watch = true;

/* While a JSON text is read, jansson allocates through watched_malloc, so that a failed allocation is noticed even where jansson reports
   another error or none. */
static json_malloc_t outer_malloc;
static bool starved;

static void *watched_malloc(size_t size) {
  void *memory = outer_malloc(size);
  if (!memory) starved = true;
  return memory;
}

json_t *ls__json_load(const char *text, size_t length, size_t flags, json_error_t *error) {
  if (!ls__json_watch) return json_loadb(text, length, flags, error);
  json_free_t outer_free;
  json_get_alloc_funcs(&outer_malloc, &outer_free);
  json_set_alloc_funcs(watched_malloc, outer_free);
  starved = false;
  json_t *value = json_loadb(text, length, flags, error);
  json_set_alloc_funcs(outer_malloc, outer_free);
  if (!starved) return value;
  json_decref(value);
  error->text[0] = 0;
  return NULL;
}

char *ls__json_text(const json_t *value) {
  size_t length = json_dumpb(value, NULL, 0, JSON_COMPACT);
  char *text = length ? malloc(length + 1) : NULL;
  if (!text) return NULL;
  if (json_dumpb(value, text, length, JSON_COMPACT) != length) {
    free(text);
    return NULL;
  }
  text[length] = 0;
  return text;
}

/* Returns the number of bytes of the UTF-8 character at `text`; 0 where the bytes are no character, or one that an error text must not
   show, such as a control character. */
static size_t shown(const unsigned char *text, size_t length) {
  unsigned char c = text[0];
  size_t n = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
  if (n == 0 || n > length || c < 0x20 || c == 0x7F) return 0;
  for (size_t i = 1; i < n; i++)
    if ((text[i] & 0xC0) != 0x80) return 0;
  /* the control characters from U+0080 to U+009F cannot be shown, since terminals obey some of them */
  if (c == 0xC2 && text[1] < 0xA0) return 0;
  if (c == 0xE2 && text[1] == 0x80 && (text[2] == 0xA8 || text[2] == 0xA9)) return 0; /* line separators */
  return n;
}

const char *ls__printable(const char *text, size_t length, char *buffer, size_t size) {
  size_t used = 0;
  for (size_t at = 0; at < length;) {
    size_t n = shown((const unsigned char *)text + at, length - at);
    char escape[5];
    if (!n) snprintf(escape, sizeof escape, "\\x%02X", (unsigned char)text[at]);
    size_t width = n ? n : 4;
    bool last = at + (n ? n : 1) == length;
    /* where more characters follow, three bytes are left for the dots that end a shortened text */
    if (used + width + (last ? 0 : 3) >= size) {
      snprintf(buffer + used, size - used, "...");
      return buffer;
    }
    memcpy(buffer + used, n ? text + at : escape, width);
    used += width;
    at += n ? n : 1;
  }
  buffer[used] = 0;
  return buffer;
}
