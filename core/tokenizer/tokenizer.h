/* What the files of the tokenizer share.

   encode: text -> added tokens cut out -> normalizer -> added tokens of normalized text cut out -> pre-tokenizer -> pieces
           -> model -> ids -> post-processor
   decode: ids -> tokens -> decoder -> text

   A kind of stage lives in a file of its own; load.c knows them by the "type" of the file's sections and refuses
   every other by name. */
#ifndef LUASIGHT_TOKENIZER_H
#define LUASIGHT_TOKENIZER_H
#include "base/base.h"
#include "tokenizer/line.h"
#include "tokenizer/model.h"

/* ---- added tokens (added.c) ---- */

typedef struct ls__added_token {
  const char *text; /* what is looked for: in the vocabulary, or among the texts below */
  size_t length;
  int32_t id;
  bool special, single_word, lstrip, rstrip, normalized;
} ls__added_token;

/* Tokens sorted by their bytes, with the range of those that begin with each byte. */
typedef struct ls__added_set {
  const ls__added_token **token;
  int32_t count;
  int32_t first[257];
} ls__added_set;

typedef struct ls__added_tokens {
  ls__added_token *token;
  int32_t count;
  ls__added_set raw, normalized; /* matched before the normalizer, and behind it */
  ls__text texts;                /* what the normalizer makes of those that are matched behind it */
  bool *special;                 /* by id */
} ls__added_tokens;

/* A stretch of a text: an added token, or (id < 0) what lies between. */
typedef struct ls__stretch {
  size_t from, to;
  int32_t id;
} ls__stretch;

typedef struct ls__added_search {
  const ls__added_set *set;
  const char *text;
  size_t length;
  size_t at, done;       /* looked through, handed out */
  ls__stretch token;     /* found, to be handed out next */
  bool found;
} ls__added_search;

ls_status ls__added_read(ls__added_tokens *a, ls__vocab *v, const ls__normalizers *n, const ls__part *part);
bool ls__added_next(ls__added_search *s, ls__stretch *out); /* false at the end */
void ls__added_free(ls__added_tokens *a);

/* ---- post-processor (post.c) ---- */

enum { LS__FIRST_TEXT = -1, LS__SECOND_TEXT = -2 };

typedef struct ls__post_item {
  int32_t id; /* of a special token, or one of the two above */
  int32_t type;
} ls__post_item;

typedef struct ls__post_items {
  ls__post_item *item;
  size_t count, room;
} ls__post_items;

typedef struct ls__post {
  ls__post_items single, pair; /* what stands around one text and around two */
  bool has_template;
  bool trims;                  /* places leave out the white space of tokens, */
  bool keeps_first;            /* but not a space that was put in front */
} ls__post;

ls_status ls__post_read(ls__post *p, const ls__vocab *v, const ls__part *part);
void ls__post_free(ls__post *p);

/* ---- decoder (decode.c) ---- */

typedef struct ls__decoder_stage {
  int32_t kind;
  ls__pattern pattern;   /* of Replace */
  ls__text text, other;  /* prefix, suffix, content, ... */
  bool clean;
  int64_t start, stop;   /* of Strip */
} ls__decoder_stage;

/* Texts, one behind the other; `at` says where. */
typedef struct ls__texts {
  ls__text text;
  ls__spans at;
} ls__texts;

typedef struct ls__decoder {
  ls__decoder_stage *stage;
  size_t count, room;
  ls__texts texts, work;
} ls__decoder;

ls_status ls__decoder_read(ls__decoder *d, const ls__part *part);
/* From the tokens in `texts` to one text, which is appended. */
ls_status ls__decode(ls__decoder *d, ls__text *out);
bool ls__texts_add(ls__texts *t, const char *text, size_t length);
void ls__decoder_free(ls__decoder *d);

/* ---- the whole (tokenizer.c, encode.c) ---- */

typedef struct ls__found {
  ls_token *token;
  ls__spans trim; /* white space at both ends of each token, where the post-processor wants to know */
  size_t count, room;
} ls__found;

struct ls_tokenizer {
  ls__vocab vocab;
  ls__added_tokens added;
  ls__normalizers normalizers;
  ls__pre pre;
  ls__model model;
  ls__post post;
  ls__decoder decoder;
  ls__found text_found[2], found; /* of the two texts of the last encode, and with what stands around them */
  ls__text text;                  /* of the last decode */
  ls__text replaced;              /* the same made UTF-8 */
  ls__text clean;                 /* a text to encode made UTF-8 */
  ls__text characters;            /* the number of the character at each byte of it */
  ls__line line, cut, work;       /* scratch */
  ls__spans pieces, spare;        /* scratch */
  ls__tokens tokens;              /* scratch */
};

/* Fills an empty tokenizer from the text of tokenizer.json (load.c). */
ls_status ls__tokenizer_read(ls_tokenizer *t, const char *json, size_t length, const char *file);

#endif
