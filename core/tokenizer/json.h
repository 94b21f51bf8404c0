/* Reads tokenizer.json. A JSON object is cut into its members; jansson parses the small members, and the two long ones (vocabulary and
   merges) are read item by item. Every error names the file and the place in the file. */
#ifndef LUASIGHT_TOKENIZER_JSON_H
#define LUASIGHT_TOKENIZER_JSON_H
#include <jansson.h>
#include "base/base.h"
#include "tokenizer/text.h"

/* A JSON value of tokenizer.json that is not parsed yet. */
typedef struct ls__part {
  const char *file;
  char place[96];     /* where the value is in the file, such as "model.merges" */
  const char *text;   /* the JSON text of the value; NULL where the file does not have the value */
  size_t length;
} ls__part;

/* Fails with LS_ERROR_FORMAT and the error text `<file>: <place>: ...`. */
ls_status ls__part_fail(const ls__part *part, const char *format, ...) __attribute__((format(printf, 2, 3)));
ls_status ls__part_memory(const ls__part *part); /* fails with LS_ERROR_MEMORY and the name of the file */
#ifdef __clang_analyzer__ /* tells the analyzer that these functions of another file never return LS_OK */
#define ls__part_fail(...) ((ls__part_fail)(__VA_ARGS__), LS_ERROR_FORMAT)
#define ls__part_memory(part) ((ls__part_memory)(part), LS_ERROR_MEMORY)
#endif
bool ls__part_is_null(const ls__part *part);     /* whether the JSON value is absent or null */

/* Asks ls__part_members to cut the member `name`, itself a JSON object, into its own members in the same pass, so that a long text is not
   read twice. `names` and `out` are as in ls__part_members. */
typedef struct ls__inside {
  const char *name;
  const char *const *names;
  ls__part *out;
} ls__inside;

/* Cuts a JSON object into its members. `names` are the names of the known members, ended by NULL; `out` has room for a part for each name.
   An unknown or repeated member is an error. `inside` may be NULL. */
ls_status ls__part_members(const ls__part *object, const char *const *names, ls__part *out, const ls__inside *inside);

/* Parses a small JSON value to a tree of jansson, which the caller releases (json_decref). */
ls_status ls__part_parse(const ls__part *part, json_t **out);

/* The functions below read members of a parsed JSON object; `part` is for error texts, and `absent` is the value to use where the
   object lacks the member. ls__part_allow fails for a member whose name is not in `allowed`, which ends with NULL. */
ls_status ls__part_allow(const ls__part *part, const json_t *object, const char *const *allowed);
ls_status ls__part_bool(const ls__part *part, const json_t *object, const char *name, bool absent, bool *out);
const char *ls__part_type(const json_t *object); /* the member "type" of a stage; NULL where that is not a text */

/* Reads the member `name`, which must be a text; fails where the member is absent. */
ls_status ls__part_string(const ls__part *part, const json_t *object, const char *name, const char **out, size_t *length);
ls_status ls__part_integer(const ls__part *part, const json_t *object, const char *name, int64_t absent, int64_t low, int64_t *out);
/* Reads the member `name`, a text that must be one of `names` (ended by NULL): `*out` is its index. Where the member is absent, `*out` is
   `absent`, or the function fails if `absent` is -1. */
ls_status ls__part_choice(const ls__part *part, const json_t *object, const char *name, const char *const *names, int32_t absent,
                          int32_t *out);

/* Calls `read` for each stage of a section of tokenizer.json: for the section itself or, where the section is a Sequence, for the items of
   its list, down through nested Sequences. A section that is null has no stages. */
typedef ls_status ls__stage_reader(void *context, const ls__part *part, const json_t *stage);
ls_status ls__part_stages(const ls__part *part, const char *list, ls__stage_reader *read, void *context);

/* Fails because luasight does not implement the "type" of the stage `object`. */
ls_status ls__part_refuse(const ls__part *part, const json_t *object);

/* Reads the items of a JSON list or object one after the other, without making a tree of them. */
typedef struct ls__cursor {
  const ls__part *part;
  size_t at;
  ls__text scratch; /* memory for a string with escapes; the caller frees scratch.data */
} ls__cursor;

char ls__cursor_peek(ls__cursor *c);            /* skips white space and returns the next byte, 0 at the end */
static inline bool ls__cursor_take(ls__cursor *c, char sign) { /* skips white space; takes the next byte if it is `sign` */
  bool next = c->at < c->part->length && c->part->text[c->at] == sign;
  if (!next && ls__cursor_peek(c) != sign) return false;
  c->at++;
  return true;
}
/* Reads a JSON string, which is UTF-8 without U+0000 and valid until the next string is read. `item` is the index of the item in its list
   or object, for error texts. */
ls_status ls__cursor_string(ls__cursor *c, size_t item, const char **text, size_t *length);
ls_status ls__cursor_integer(ls__cursor *c, size_t item, int64_t *out); /* reads a number from 0 to 2^31 - 1 */
ls_status ls__cursor_fail(ls__cursor *c, size_t item, const char *what); /* fails with the text `<file>: <place>[item]: <what>` */

#endif
