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
  const char *text; /* the text that is searched for: in the vocabulary, or in ls__added_tokens.texts */
  size_t length;
  int32_t id;
  bool special, single_word, lstrip, rstrip, normalized;
} ls__added_token;

/* Added tokens sorted by their bytes; first[b] to first[b + 1] are those that begin with byte b. */
typedef struct ls__added_set {
  const ls__added_token **token;
  int32_t count;
  int32_t first[257];
} ls__added_set;

typedef struct ls__added_tokens {
  ls__added_token *token;
  int32_t count;
  ls__added_set raw, normalized; /* the tokens that are matched before the normalizer, and those that are matched behind it */
  ls__text texts;                /* what the normalizer makes of the latter */
  bool *special;                 /* for each id whether its token is special */
} ls__added_tokens;

/* A stretch of a text: an added token, or (id < 0) the text between two. */
typedef struct ls__stretch {
  size_t from, to;
  int32_t id;
} ls__stretch;

typedef struct ls__added_search {
  const ls__added_set *set;
  const char *text;
  size_t length;
  size_t at, done;       /* the bytes searched so far, and the bytes returned so far */
  ls__stretch token;     /* a token that was found and is returned next */
  bool found;
} ls__added_search;

ls_status ls__added_read(ls__added_tokens *a, ls__vocab *v, const ls__normalizers *n, const ls__part *part);
bool ls__added_next(ls__added_search *s, ls__stretch *out); /* false at the end of the text */
void ls__added_free(ls__added_tokens *a);

/* ---- post-processor (post.c) ---- */

enum { LS__FIRST_TEXT = -1, LS__SECOND_TEXT = -2 };

typedef struct ls__post_item {
  int32_t id; /* the id of a special token, or one of the two constants above */
  int32_t type;
} ls__post_item;

typedef struct ls__post_items {
  ls__post_item *item;
  size_t count, room;
} ls__post_items;

typedef struct ls__post {
  ls__post_items single, pair; /* the special tokens and texts for one text, and for two */
  bool has_template;
  bool trims;                  /* places leave out the white space at the ends of tokens */
  bool keeps_first;            /* where `trims` is set: whether a place keeps a space that was added in front of the text */
} ls__post;

ls_status ls__post_read(ls__post *p, const ls__vocab *v, const ls__part *part);
void ls__post_free(ls__post *p);

/* ---- decoder (decode.c) ---- */

typedef struct ls__decoder_stage {
  int32_t kind;
  ls__pattern pattern;   /* used by Replace */
  ls__text text, other;  /* the prefix, suffix or content, depending on the kind */
  bool clean;
  int64_t start, stop;   /* used by Strip */
} ls__decoder_stage;

/* Texts, one behind the other; `at` has the place of each. */
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
/* Decodes the tokens in `texts` to one text, which is appended to `out`. */
ls_status ls__decode(ls__decoder *d, ls__text *out);
bool ls__texts_add(ls__texts *t, const char *text, size_t length);
void ls__decoder_free(ls__decoder *d);

/* ---- the whole (tokenizer.c, encode.c) ---- */

typedef struct ls__found {
  ls_token *token;
  ls__spans trim; /* for each token the white space at both of its ends, where the post-processor trims places */
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
  ls__found text_found[2], found; /* the tokens of the two texts of the last encode, and all tokens with the special ones */
  ls__text text;                  /* the text of the last decode */
  ls__text replaced;              /* that text with U+FFFD where it was not UTF-8 */
  ls__text clean;                 /* the text to encode, with U+FFFD where it was not UTF-8 */
  ls__text characters;            /* for each byte of the text to encode the number of its character */
  ls__line line, cut, work;       /* scratch memory */
  ls__spans pieces, spare;        /* scratch memory */
  ls__tokens tokens;              /* scratch memory */
};

/* Fills an empty tokenizer from the text of tokenizer.json (load.c). */
ls_status ls__tokenizer_read(ls_tokenizer *t, const char *json, size_t length, const char *file);

#endif
