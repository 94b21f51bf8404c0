/* Helpers around jansson: pieces of a JSON text, and foreign text made fit for a one-line error. */
#ifndef LUASIGHT_BASE_JSON_H
#define LUASIGHT_BASE_JSON_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __cplusplus
extern "C" {
#endif

/* Where the white space at `at` ends. */
size_t ls__json_space(const char *text, size_t length, size_t at);

/* Where the plain bytes of a string that begin at `at` end: at a quote, a backslash, a control character or the end of the
   text. `*high` gets a bit for a byte beyond ASCII; it is never cleared. Eight bytes are looked at together: subtracting
   sets the high bit of a byte that was too small, and the lowest such bit is never a carry from below. */
static inline size_t ls__json_plain(const char *text, size_t length, size_t at, uint64_t *high) {
  const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  while (length - at >= 8) {
    uint64_t word;
    memcpy(&word, text + at, 8);
    uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
    uint64_t stop = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word)) & tops;
    if (stop) {
      int before = __builtin_ctzll(stop) / 8;
      *high |= word & tops & (((uint64_t)1 << 8 * before) - 1);
      return at + (size_t)before;
    }
    *high |= word & tops;
    at += 8;
  }
  for (; at < length; at++) {
    unsigned char c = (unsigned char)text[at];
    if (c == '"' || c == '\\' || c < 0x20) break;
    *high |= c & 0x80;
  }
  return at;
}

/* Where the value that begins at `at` ends, or 0 when it does not end within the text, is empty, or is nested deeper
   than `depth` brackets (`*deep` is then 1, else 0). Only brackets, quotes and commas are looked at: jansson judges
   the rest. */
size_t ls__json_skip(const char *text, size_t length, size_t at, int depth, int *deep);

/* json_loadb, but that out of memory gives NULL and an empty error text where ls__json_watch is set. jansson 2.14 itself may
   call a good text wrong then, or lose characters of a string and say nothing. Jansson's allocators are those of the whole
   process: they are changed for the length of the call, and its memory is the same before and after. */
extern bool ls__json_watch;
json_t *ls__json_load(const char *text, size_t length, size_t flags, json_error_t *error);

/* The compact text of an object or array, to be freed; NULL when out of memory. Use this and not json_dumps, which
   loses the name of a key, and says nothing, when its buffer cannot grow (jansson 2.14). */
char *ls__json_text(const json_t *value);

/* `length` bytes of foreign text without control characters, shortened to fit; gives `buffer`. */
const char *ls__printable(const char *text, size_t length, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
