/* What the files of the tokenizer share.

   encode: text -> added tokens cut out -> normalizer -> added tokens of normalized text cut out -> pre-tokenizer -> pieces
           -> model -> ids -> post-processor
   decode: ids -> tokens -> decoder -> text

   A kind of stage lives in a file of its own; tokenizer_load.c knows them by the "type" of the file's sections and refuses
   every other by name. */
#ifndef LUASIGHT_TOKENIZER_H
#define LUASIGHT_TOKENIZER_H
#include "internal.h"
#include "tokenizer_json.h"
#include "tokenizer_text.h"

/* Token ids that grow. */
typedef struct ls__ids {
  int64_t *data;
  size_t count, room;
} ls__ids;

bool ls__ids_reserve(ls__ids *ids, size_t more);
bool ls__ids_add(ls__ids *ids, int64_t id);

/* A hash of bytes that a file cannot foresee: `seed` differs from process to process. */
uint64_t ls__hash(const char *text, size_t length, uint64_t seed);
uint64_t ls__hash_pair(uint64_t pair, uint64_t seed);
uint64_t ls__hash_seed(void);

/* ---- vocabulary (tokenizer_vocab.c) ---- */

typedef struct ls__token {
  uint32_t at, length; /* in the text; `at` is LS__NO_TOKEN where the id has no token */
} ls__token;

enum { LS__NO_TOKEN = UINT32_MAX };

typedef struct ls__vocab {
  ls__text text;    /* every token, each ended by a zero */
  ls__token *token; /* by id */
  int32_t size, room;
  uint64_t *slot;   /* hash table: the hash of the token << 32 | id + 1 */
  uint32_t mask, used;
  uint64_t seed;
} ls__vocab;

typedef enum ls__added { LS__ADDED, LS__ADDED_TOKEN_TWICE, LS__ADDED_ID_TWICE, LS__ADDED_NO_MEMORY } ls__added;

/* Reads the object of tokens and their ids; every id from 0 to the last must have a token by the time of `check`. */
ls_status ls__vocab_read(ls__vocab *v, const ls__part *part);
ls__added ls__vocab_add(ls__vocab *v, const char *text, size_t length, int64_t id);
int32_t ls__vocab_find(const ls__vocab *v, const char *text, size_t length); /* -1 where there is none */
int32_t ls__vocab_hole(const ls__vocab *v);                                  /* an id without token, -1 where none is */
const char *ls__vocab_token(const ls__vocab *v, int64_t id, size_t *length); /* NULL where there is none */
void ls__vocab_free(ls__vocab *v);

/* ---- added tokens (tokenizer_added.c) ---- */

typedef struct ls__added_token {
  const char *text; /* in the vocabulary */
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

ls_status ls__added_read(ls__added_tokens *a, ls__vocab *v, const ls__part *part);
bool ls__added_next(ls__added_search *s, ls__stretch *out); /* false at the end */
void ls__added_free(ls__added_tokens *a);

/* ---- byte level (tokenizer_byte_level.c) ---- */

typedef struct ls__byte_level {
  bool add_prefix_space, use_regex;
} ls__byte_level;

ls_status ls__byte_level_read(ls__byte_level *b, const ls__part *part, const json_t *section);
size_t ls__byte_stand_in(unsigned char byte, char out[2]); /* the printable character that stands for a byte */
/* Where the piece that begins at `at` ends, as GPT-2's pattern cuts; the text is UTF-8 and `at` < `length`. */
size_t ls__byte_level_cut(const char *text, size_t length, size_t at);
/* Appends the bytes that a token stands for; its own bytes where a character of it stands for none. */
bool ls__byte_level_decode(const char *token, size_t length, ls__text *out);

/* ---- byte pair encoding (tokenizer_bpe.c, tokenizer_merge.c) ---- */

typedef struct ls__merge {
  uint64_t pair; /* left id << 32 | right id */
  int32_t rank, into;
} ls__merge;

typedef struct ls__merges {
  ls__merge *merge; /* by rank */
  int32_t count, room;
  uint64_t *slot;   /* hash table: the upper half of the hash of the pair << 32 | rank + 1 */
  uint64_t mask;
  uint64_t seed;
} ls__merges;

typedef struct ls__bpe {
  ls__merges merges;
  int32_t byte_id[256]; /* the token of each byte's stand-in, -1 where there is none */
  int32_t unknown;      /* -1 where bytes without token are an error */
  bool fuse_unknown;    /* neighbouring unknown bytes become one token */
  bool whole_first;     /* "ignore_merges": a piece that is a token is that token */
  struct ls__word *cache;
  ls__text spelled;     /* scratch */
  ls__text work;        /* scratch */
} ls__bpe;

/* The members that a model section can have. */
typedef enum ls__model_part {
  LS__MODEL_TYPE,
  LS__MODEL_VOCAB,
  LS__MODEL_MERGES,
  LS__MODEL_DROPOUT,
  LS__MODEL_UNKNOWN,
  LS__MODEL_PREFIX,
  LS__MODEL_SUFFIX,
  LS__MODEL_FUSE_UNKNOWN,
  LS__MODEL_BYTE_FALLBACK,
  LS__MODEL_IGNORE_MERGES,
  LS__MODEL_LONGEST_WORD, /* of WordPiece */
  LS__MODEL_UNKNOWN_ID,   /* of Unigram */
  LS__MODEL_PARTS
} ls__model_part;

/* Reads the section and its vocabulary; `model` has LS__MODEL_PARTS parts. */
ls_status ls__bpe_read(ls__bpe *b, ls__vocab *v, const ls__part *model);
/* Appends the ids of a piece of text given as bytes. */
ls_status ls__bpe_encode(ls__bpe *b, const ls__vocab *v, const char *piece, size_t length, ls__ids *out);
void ls__bpe_free(ls__bpe *b);

static inline const ls__merge *ls__merge_find(const ls__merges *m, int32_t left, int32_t right) {
  uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  uint64_t hash = ls__hash_pair(pair, m->seed), slot;
  for (uint64_t i = hash & m->mask; (slot = m->slot[i]); i = (i + 1) & m->mask)
    if (slot >> 32 == hash >> 32 && m->merge[(uint32_t)slot - 1].pair == pair) return &m->merge[(uint32_t)slot - 1];
  return NULL;
}

/* Merges `ids` in place, lowest rank first and leftmost among equals; gives the number left, SIZE_MAX without memory. */
size_t ls__merge_ids(const ls__merges *m, int32_t *ids, size_t count, ls__text *work);

/* ---- post-processor (tokenizer_post.c) ---- */

typedef struct ls__post {
  ls__ids before, after; /* around a single text */
} ls__post;

ls_status ls__post_read(ls__post *p, const ls__vocab *v, const ls__part *part);
void ls__post_free(ls__post *p);

/* ---- the whole ---- */

struct ls_tokenizer {
  ls__vocab vocab;
  ls__added_tokens added;
  ls__byte_level byte_level;
  ls__bpe bpe;
  ls__post post;
  bool decodes_bytes; /* the decoder is ByteLevel; else tokens are joined by spaces */
  ls__ids ids;        /* of the last encode */
  ls__text text;      /* of the last decode */
  ls__text replaced;  /* the same made UTF-8 */
  ls__text clean;     /* a text to encode made UTF-8 */
  ls__text spaced;    /* the same with a space in front */
};

/* Fills an empty tokenizer from the text of tokenizer.json (tokenizer_load.c). */
ls_status ls__tokenizer_read(ls_tokenizer *t, const char *json, size_t length, const char *file);

#endif
