/* The structs and functions that the files of the tokenizer share. How a text becomes ids, and ids a text:

   encode: text -> added tokens cut out -> normalizer -> added tokens of normalized text cut out -> pre-tokenizer -> pieces
           -> model -> ids -> post-processor
   decode: ids -> tokens -> decoder -> text

   Each kind of stage is in a C file of its own. The "type" of a section of tokenizer.json names the kind; the error for an unknown
   kind names it. */
#ifndef LUASIGHT_TOKENIZER_H
#define LUASIGHT_TOKENIZER_H
#include "base/base.h"
#include "tokenizer/line.h"
#include "tokenizer/model.h"

/* ---- added tokens (added.c) ---- */

typedef struct ls__added_token {
  const char *text; /* the text to search for; its memory is that of the vocabulary or of ls__added_tokens.texts */
  size_t length;
  int32_t id;
  bool special, single_word, lstrip, rstrip, normalized;
} ls__added_token;

/* Added tokens sorted by their bytes; those that begin with byte b have the indices from first[b] to before first[b + 1]. */
typedef struct ls__added_set {
  const ls__added_token **token;
  int32_t count;
  int32_t first[257];
} ls__added_set;

typedef struct ls__added_tokens {
  ls__added_token *token;
  int32_t count;
  ls__added_set raw, normalized; /* the tokens to search for before the normalizer runs, and after it */
  ls__text texts;                /* the normalized texts of the tokens in `normalized` */
  bool *special;                 /* for each id whether its token is special, such as an end of text */
} ls__added_tokens;

/* A stretch of a text: an added token or, where id < 0, the text between two added tokens. */
typedef struct ls__stretch {
  size_t from, to;
  int32_t id;
} ls__stretch;

typedef struct ls__added_search {
  const ls__added_set *set;
  const char *text;
  size_t length;
  size_t at, done;       /* the search continues at byte `at`; the last stretch that was found ends at byte `done` */
  ls__stretch token;     /* if `found` is set, the added token that is returned next */
  bool found;
} ls__added_search;

ls_status ls__added_read(ls__added_tokens *a, ls__vocab *v, const ls__normalizers *n, const ls__part *part);
bool ls__added_next(ls__added_search *s, ls__stretch *out); /* finds the next stretch; false at the end of the text */
void ls__added_free(ls__added_tokens *a);

/* ---- post-processor (post.c) ---- */

enum { LS__FIRST_TEXT = -1, LS__SECOND_TEXT = -2 };

typedef struct ls__post_item {
  int32_t id; /* the id of a special token, or LS__FIRST_TEXT or LS__SECOND_TEXT */
  int32_t type;
} ls__post_item;

typedef struct ls__post_items {
  ls__post_item *item;
  size_t count, room;
} ls__post_items;

typedef struct ls__post {
  ls__post_items single, pair; /* the order of special tokens and texts: for one text, and for two */
  bool has_template;
  bool trims;                  /* whether the range of a token in the text leaves out white space at its ends */
  bool keeps_first;            /* where `trims` is set: whether the range of the first token keeps one space */
} ls__post;

ls_status ls__post_read(ls__post *p, const ls__vocab *v, const ls__part *part);
void ls__post_free(ls__post *p);

/* ---- decoder (decode.c) ---- */

typedef struct ls__decoder_stage {
  int32_t kind;
  ls__pattern pattern;   /* for the decoder Replace: the pattern whose matches it replaces */
  ls__text text, other;  /* the prefix, suffix or content of the stage, depending on its kind */
  bool clean;
  int64_t start, stop;   /* for the decoder Strip: the most characters that it removes at the start and the end */
} ls__decoder_stage;

/* A list of texts, one behind the other in `text`; `at` has the range of bytes of each. */
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
/* Decodes the tokens in d->texts to one text, which is appended to `out`. */
ls_status ls__decode(ls__decoder *d, ls__text *out);
bool ls__texts_add(ls__texts *t, const char *text, size_t length);
void ls__decoder_free(ls__decoder *d);

/* ---- the whole (tokenizer.c, encode.c) ---- */

typedef struct ls__found {
  ls_token *token;
  ls__spans trim; /* for each token, how many white-space characters its two ends have; empty unless ls__post.trims */
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
  ls__found text_found[2], found; /* the tokens of the last encode: of each text alone; of the whole, with special tokens */
  ls__text text;                  /* the text of the last decode */
  ls__text replaced;              /* the text of the last decode, with U+FFFD for bytes that are not UTF-8 */
  ls__text clean;                 /* the text to encode, with U+FFFD for bytes that are not UTF-8 */
  ls__text characters;            /* for each byte of the text to encode the index of its character (uint32_t) */
  ls__line line, cut, work;       /* scratch memory */
  ls__spans pieces, spare;        /* scratch memory */
  ls__tokens tokens;              /* scratch memory */
};

/* load.c: fills an empty tokenizer from the text of a tokenizer.json; `file` is the name of the file in error texts. */
ls_status ls__tokenizer_read(ls_tokenizer *t, const char *json, size_t length, const char *file);

#endif
