/* Reading tokenizer.json: an object cut into its members, small members through jansson, the two long ones (vocabulary and
   merges) item by item. Every error names the file and the place in it. */
#ifndef LUASIGHT_TOKENIZER_JSON_H
#define LUASIGHT_TOKENIZER_JSON_H
#include <jansson.h>
#include "base/base.h"
#include "tokenizer/text.h"

/* A value of the file that is not parsed yet. */
typedef struct ls__part {
  const char *file;
  char place[96];     /* "model.merges" */
  const char *text;   /* NULL where the member is absent */
  size_t length;
} ls__part;

/* LS_ERROR_FORMAT `<file>: <place>: ...`. */
ls_status ls__part_fail(const ls__part *part, const char *format, ...) __attribute__((format(printf, 2, 3)));
ls_status ls__part_memory(const ls__part *part); /* LS_ERROR_MEMORY */
#ifdef __clang_analyzer__ /* it cannot see into another file that these are never LS_OK */
#define ls__part_fail(...) ((ls__part_fail)(__VA_ARGS__), LS_ERROR_FORMAT)
#define ls__part_memory(part) ((ls__part_memory)(part), LS_ERROR_MEMORY)
#endif
bool ls__part_is_null(const ls__part *part);     /* absent or null */

/* A member that is cut in the same pass, where it is an object: the long one would be walked through twice otherwise. */
typedef struct ls__inside {
  const char *name;
  const char *const *names;
  ls__part *out;
} ls__inside;

/* Cuts an object: `names` ends with NULL, `out` has a part for each. An unknown or repeated member is an error. `inside`
   may be NULL. */
ls_status ls__part_members(const ls__part *object, const char *const *names, ls__part *out, const ls__inside *inside);

/* A small value as a tree that the caller releases (json_decref). */
ls_status ls__part_parse(const ls__part *part, json_t **out);

/* Members of a parsed object; `allowed` ends with NULL and any other name is an error. */
ls_status ls__part_allow(const ls__part *part, const json_t *object, const char *const *allowed);
ls_status ls__part_bool(const ls__part *part, const json_t *object, const char *name, bool absent, bool *out);
const char *ls__part_type(const json_t *object); /* its "type", NULL where that is no text */

/* A text that has to be there. */
ls_status ls__part_string(const ls__part *part, const json_t *object, const char *name, const char **out, size_t *length);
ls_status ls__part_integer(const ls__part *part, const json_t *object, const char *name, int64_t absent, int64_t low, int64_t *out);
/* Which of `names` (ended by NULL) a text is; `absent` where there is none, which -1 makes an error. */
ls_status ls__part_choice(const ls__part *part, const json_t *object, const char *name, const char *const *names, int32_t absent,
                          int32_t *out);

/* Gives each stage of a section to `read`: the section itself, or the items of its list where it is a Sequence; those of
   Sequences in a Sequence too. Nothing where the section is null. */
typedef ls_status ls__stage_reader(void *context, const ls__part *part, const json_t *stage);
ls_status ls__part_stages(const ls__part *part, const char *list, ls__stage_reader *read, void *context);

/* A stage that luasight does not have: says so with its type. */
ls_status ls__part_refuse(const ls__part *part, const json_t *object);

/* Reads the items of a part one after the other. */
typedef struct ls__cursor {
  const ls__part *part;
  size_t at;
  ls__text scratch; /* strings with escapes; the caller frees its data */
} ls__cursor;

char ls__cursor_peek(ls__cursor *c);            /* the next sign behind white space, 0 at the end */
static inline bool ls__cursor_take(ls__cursor *c, char sign) { /* takes it, behind white space, if it is next */
  bool next = c->at < c->part->length && c->part->text[c->at] == sign;
  if (!next && ls__cursor_peek(c) != sign) return false;
  c->at++;
  return true;
}
/* A string, valid until the next one is read; UTF-8 without U+0000. `item` counts items for the error. */
ls_status ls__cursor_string(ls__cursor *c, size_t item, const char **text, size_t *length);
ls_status ls__cursor_integer(ls__cursor *c, size_t item, int64_t *out); /* 0 to 2^31 - 1 */
ls_status ls__cursor_fail(ls__cursor *c, size_t item, const char *what); /* `<file>: <place>[item]: <what>` */

#endif
