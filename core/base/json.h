/* Helpers around jansson: finding the parts of a JSON text, and showing foreign text in a one-line error. */
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

/* Returns the index of the first byte, from index `at` on, that is not white space; `length` where all bytes are. */
size_t ls__json_space(const char *text, size_t length, size_t at);

/* Returns the first place from `at` on with a byte that ends a run of plain characters in a JSON string (a quote, a backslash or a control
   character), or the length of the text. Sets bits in `*high` where one of the plain bytes is beyond ASCII. Eight bytes are tested at once:
   the lowest top bit in `stop` marks the first byte that is not plain. */
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

/* Returns the index in `text` at which the JSON value that begins at index `at` ends; 0 where the value does not end within the text, is
   empty, or is nested deeper than `depth` brackets. `*deep` becomes 1 where it is nested too deep, else 0. The function looks at brackets,
   quotes and commas alone; jansson checks the rest. */
size_t ls__json_skip(const char *text, size_t length, size_t at, int depth, int *deep);

/* ls__json_load does what json_loadb of jansson does, except that, where ls__json_watch is set, a lack of memory gives NULL and an empty
   error text. jansson 2.14 by itself may then call a good text wrong, or lose characters of a string without an error. jansson's allocators
   belong to the whole process: they are replaced for the length of the call and then put back. */
extern bool ls__json_watch;
json_t *ls__json_load(const char *text, size_t length, size_t flags, json_error_t *error);

/* Returns the compact JSON text of an object or array, which the caller frees; NULL when out of memory. json_dumps of jansson 2.14 is not
   used, since it loses the name of a key, without an error, when its buffer cannot grow. */
char *ls__json_text(const json_t *value);

/* Copies `length` bytes of a text from outside to `buffer`, with control characters escaped, and shortened to its `size` bytes; returns
   `buffer`. */
const char *ls__printable(const char *text, size_t length, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
