/* Reading tokenizer.json. An object is cut into its members; jansson parses the small ones, and the two long ones (vocabulary and
   merges) are read item by item. Every error names the file and the place in it. */
#ifndef LUASIGHT_TOKENIZER_JSON_H
#define LUASIGHT_TOKENIZER_JSON_H
#include <jansson.h>
#include "base/base.h"
#include "tokenizer/text.h"

/* A value of the file that is not parsed yet. */
typedef struct ls__part {
  const char *file;
  char place[96];     /* where the value is in the file, such as "model.merges" */
  const char *text;   /* NULL where the file does not have the member */
  size_t length;
} ls__part;

/* Fails with LS_ERROR_FORMAT and the text `<file>: <place>: ...`. */
ls_status ls__part_fail(const ls__part *part, const char *format, ...) __attribute__((format(printf, 2, 3)));
ls_status ls__part_memory(const ls__part *part); /* fails with LS_ERROR_MEMORY */
#ifdef __clang_analyzer__ /* the analyzer cannot see into another file that these functions never return LS_OK */
#define ls__part_fail(...) ((ls__part_fail)(__VA_ARGS__), LS_ERROR_FORMAT)
#define ls__part_memory(part) ((ls__part_memory)(part), LS_ERROR_MEMORY)
#endif
bool ls__part_is_null(const ls__part *part);     /* whether the value is absent or null */

/* A member of an object that is an object itself and is cut in the same pass, so that a long text is not read twice. */
typedef struct ls__inside {
  const char *name;
  const char *const *names;
  ls__part *out;
} ls__inside;

/* Cuts an object into its members. `names` are the known members, ended by NULL; `out` has a part for each. An unknown or repeated
   member is an error. `inside` may be NULL. */
ls_status ls__part_members(const ls__part *object, const char *const *names, ls__part *out, const ls__inside *inside);

/* Parses a small value to a tree, which the caller releases (json_decref). */
ls_status ls__part_parse(const ls__part *part, json_t **out);

/* The functions below read members of a parsed object. ls__part_allow fails for any name that is not in `allowed`, which ends with NULL. */
ls_status ls__part_allow(const ls__part *part, const json_t *object, const char *const *allowed);
ls_status ls__part_bool(const ls__part *part, const json_t *object, const char *name, bool absent, bool *out);
const char *ls__part_type(const json_t *object); /* the "type" of a stage, NULL where it is not a text */

/* Reads a text; fails where the member is absent. */
ls_status ls__part_string(const ls__part *part, const json_t *object, const char *name, const char **out, size_t *length);
ls_status ls__part_integer(const ls__part *part, const json_t *object, const char *name, int64_t absent, int64_t low, int64_t *out);
/* The index in `names` (ended by NULL) of a text; `absent` where the member is absent, which is an error where `absent` is -1. */
ls_status ls__part_choice(const ls__part *part, const json_t *object, const char *name, const char *const *names, int32_t absent,
                          int32_t *out);

/* Calls `read` for each stage of a section: for the section itself or, where it is a Sequence, for the items of its list, down through
   nested Sequences. A section that is null has no stages. */
typedef ls_status ls__stage_reader(void *context, const ls__part *part, const json_t *stage);
ls_status ls__part_stages(const ls__part *part, const char *list, ls__stage_reader *read, void *context);

/* Fails because luasight does not have a stage of that type. */
ls_status ls__part_refuse(const ls__part *part, const json_t *object);

/* Reads the items of a part one after the other. */
typedef struct ls__cursor {
  const ls__part *part;
  size_t at;
  ls__text scratch; /* holds strings with escapes; the caller frees its data */
} ls__cursor;

char ls__cursor_peek(ls__cursor *c);            /* the next character behind white space, 0 at the end */
static inline bool ls__cursor_take(ls__cursor *c, char sign) { /* skips white space and takes the next character if it is `sign` */
  bool next = c->at < c->part->length && c->part->text[c->at] == sign;
  if (!next && ls__cursor_peek(c) != sign) return false;
  c->at++;
  return true;
}
/* Reads a string, which is valid until the next one is read: UTF-8 without U+0000. `item` is the number of the item, for errors. */
ls_status ls__cursor_string(ls__cursor *c, size_t item, const char **text, size_t *length);
ls_status ls__cursor_integer(ls__cursor *c, size_t item, int64_t *out); /* a whole number from 0 to 2^31 - 1 */
ls_status ls__cursor_fail(ls__cursor *c, size_t item, const char *what); /* fails with the text `<file>: <place>[item]: <what>` */

#endif
