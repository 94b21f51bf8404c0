/* Helpers around jansson: pieces of a JSON text, and foreign text made fit for a one-line error. */
#ifndef LUASIGHT_JSON_UTIL_H
#define LUASIGHT_JSON_UTIL_H
#include <jansson.h>
#include <stddef.h>

/* Where the white space at `at` ends. */
size_t ls__json_space(const char *text, size_t length, size_t at);

/* Where the value that begins at `at` ends, or 0 when it does not end within the text, is empty, or is nested deeper
   than `depth` brackets (`*deep` is then 1, else 0). Only brackets, quotes and commas are looked at: jansson judges
   the rest. */
size_t ls__json_skip(const char *text, size_t length, size_t at, int depth, int *deep);

/* The compact text of an object or array, to be freed; NULL when out of memory. Use this and not json_dumps, which
   loses the name of a key, and says nothing, when its buffer cannot grow (jansson 2.14). */
char *ls__json_text(const json_t *value);

/* `length` bytes of foreign text without control characters, shortened to fit; gives `buffer`. */
const char *ls__printable(const char *text, size_t length, char *buffer, size_t size);

#endif
