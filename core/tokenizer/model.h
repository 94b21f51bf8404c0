/* Models of tokenizers, which turn a piece of text into tokens: the vocabulary, the four kinds of model, and a cache of encoded pieces. */
#ifndef LUASIGHT_TOKENIZER_MODEL_H
#define LUASIGHT_TOKENIZER_MODEL_H
#include "tokenizer/json.h"
#include "tokenizer/text.h"

/* A hash of bytes. The writer of a file cannot foresee the hash, since `seed` (ls__hash_seed) differs from process to process. */
uint64_t ls__hash(const char *text, size_t length, uint64_t seed);
uint64_t ls__hash_pair(uint64_t pair, uint64_t seed);
uint64_t ls__hash_seed(void);

/* A token of a piece of text: its id, and the range of bytes of the piece for which it stands. */
typedef struct ls__piece_token {
  int32_t id;
  uint32_t from, to;
} ls__piece_token;

typedef struct ls__tokens {
  ls__piece_token *data;
  size_t count, room;
} ls__tokens;

bool ls__tokens_reserve(ls__tokens *t, size_t more);
ls_status ls__tokens_add(ls__tokens *t, int32_t id, size_t from, size_t to);

/* ---- vocabulary (vocab.c) ---- */

typedef struct ls__token {
  uint32_t at, length; /* the bytes of a token in ls__vocab.text; `at` is LS__NO_TOKEN where an id has no token */
} ls__token;

enum { LS__NO_TOKEN = UINT32_MAX };

typedef struct ls__vocab {
  ls__text text;    /* the texts of all tokens, each ended by a zero */
  ls__token *token; /* the token of each id */
  int32_t size, room;
  uint64_t *slot;   /* a hash table: each entry is 0 or (hash of a token << 32 | id + 1) */
  uint32_t mask, used;
  uint64_t seed;
} ls__vocab;

typedef enum ls__added { LS__ADDED, LS__ADDED_TOKEN_TWICE, LS__ADDED_ID_TWICE, LS__ADDED_NO_MEMORY } ls__added;

/* ls__vocab_read reads a JSON object of tokens and their ids. ls__vocab_read_scored reads a JSON list of pairs of a token and its score,
   where the index of a pair is the id; `*scores` gets the score of each id, and the caller frees it. */
ls_status ls__vocab_read(ls__vocab *v, const ls__part *part);
ls_status ls__vocab_read_scored(ls__vocab *v, const ls__part *part, double **scores);
ls__added ls__vocab_add(ls__vocab *v, const char *text, size_t length, int64_t id);
int32_t ls__vocab_find(const ls__vocab *v, const char *text, size_t length); /* the id of a token, -1 where there is none */
int32_t ls__vocab_hole(const ls__vocab *v);                                  /* the lowest id without a token, -1 where there is none */
const char *ls__vocab_token(const ls__vocab *v, int64_t id, size_t *length); /* the token of an id, NULL where it has none */
/* Writes the ids of the tokens "<0x00>" to "<0xFF>" to `out`, -1 for each that the vocabulary does not have. */
void ls__vocab_byte_tokens(const ls__vocab *v, int32_t out[256]);
void ls__vocab_free(ls__vocab *v);

/* ---- byte pair encoding (bpe.c, bpe_read.c, merge.c) ---- */

typedef struct ls__merge {
  uint64_t pair; /* the ids of the two tokens that are joined: left << 32 | right */
  int32_t rank, into;
} ls__merge;

typedef struct ls__merges {
  ls__merge *merge; /* the merges in the order of their ranks, which count from 0 */
  int32_t count;
  size_t room;
  uint64_t *slot;   /* a hash table: each entry is 0 or (upper half of the pair's hash << 32 | rank + 1) */
  uint64_t mask;
  uint64_t seed;
} ls__merges;

/* A token of a piece of text while the piece is encoded by merges, which join neighbouring symbols. */
typedef struct ls__symbol {
  int32_t id;
  uint32_t length; /* the number of bytes of the piece for which the symbol stands */
} ls__symbol;

typedef struct ls__bpe {
  ls__merges merges;
  int32_t stand_in[256]; /* for each byte the id of the token of the printable character that stands for it; -1 if none */
  int32_t byte[256];     /* for each byte the id of the token "<0x..>", -1 if none; these tokens spell unknown characters */
  bool byte_fallback;
  bool bytes;            /* whether a piece is encoded byte by byte, where each byte begins as its token in `stand_in` */
  int32_t unknown;       /* the id of the unknown token; -1 where text without a token is an error */
  bool fuse_unknown;     /* whether neighbouring unknown characters become one unknown token */
  bool whole_first;      /* "ignore_merges": whether a piece that is a token as a whole becomes that token */
  bool words_apart;      /* whether a piece can be cut before U+2581, since no merge joins U+2581 to a character before it */
  ls__text prefix, suffix; /* a token's text: `prefix` precedes each character but the first of a piece; `suffix` follows the last */
  ls__text spelled, work, symbols; /* scratch memory */
} ls__bpe;

static inline const ls__merge *ls__merge_find(const ls__merges *m, int32_t left, int32_t right) {
  uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  uint64_t hash = ls__hash_pair(pair, m->seed), slot;
  for (uint64_t i = hash & m->mask; (slot = m->slot[i]); i = (i + 1) & m->mask)
    if (slot >> 32 == hash >> 32 && m->merge[(uint32_t)slot - 1].pair == pair) return &m->merge[(uint32_t)slot - 1];
  return NULL;
}

/* Merges symbols in place, the lowest rank first and the leftmost among equal ranks. Returns the number of symbols that are left, SIZE_MAX
   when out of memory. */
size_t ls__merge_symbols(const ls__merges *m, ls__symbol *symbols, size_t count, ls__text *work);

/* ---- the others (wordpiece.c, unigram.c) ---- */

typedef struct ls__wordpiece {
  int32_t unknown;     /* the id of the unknown token; -1 where an unknown word is an error */
  ls__text prefix;     /* the prefix of a token that does not begin a word */
  size_t longest_word; /* the most characters of a word; a longer one is unknown */
  size_t longest_token;
  ls__text spelled;    /* scratch memory */
} ls__wordpiece;

typedef struct ls__unigram {
  double *score; /* the score of each id */
  double unknown_score;
  int32_t unknown; /* the id of the unknown token; -1 where text without a token is an error */
  bool byte_fallback;
  int32_t byte[256];
  uint64_t *edge;  /* a trie of all tokens, as a hash table of ((node << 8 | byte) << 32 | next node); node 0 is the root */
  uint64_t mask;
  int32_t *node_id; /* for each node of the trie the id of the token that ends there, -1 where none does */
  uint32_t nodes;
  size_t node_room;
  ls__text path;   /* scratch memory */
  ls__tokens back; /* scratch memory */
} ls__unigram;

/* ---- the model of a file (model.c) ---- */

typedef enum ls__model_kind { LS__BPE, LS__WORDPIECE, LS__WORDLEVEL, LS__UNIGRAM, LS__MODELS } ls__model_kind;

/* The members that the section "model" of tokenizer.json can have. */
typedef enum ls__model_part {
  LS__MODEL_TYPE,
  LS__MODEL_VOCAB,
  LS__MODEL_UNKNOWN,
  LS__MODEL_MERGES,
  LS__MODEL_DROPOUT,
  LS__MODEL_PREFIX,
  LS__MODEL_SUFFIX,
  LS__MODEL_FUSE_UNKNOWN,
  LS__MODEL_BYTE_FALLBACK,
  LS__MODEL_IGNORE_MERGES,
  LS__MODEL_LONGEST_WORD, /* a member of WordPiece models only */
  LS__MODEL_UNKNOWN_ID,   /* a member of Unigram models only */
  LS__MODEL_PARTS
} ls__model_part;

extern const char *const ls__model_parts[]; /* the member names in tokenizer.json of the constants of ls__model_part; then NULL */

typedef struct ls__model {
  ls__model_kind kind;
  ls__vocab *vocab;
  ls__bpe bpe;
  ls__wordpiece wordpiece;
  ls__unigram unigram;
  struct ls__word *seen; /* the cache of encoded pieces of text */
  uint64_t seed;
} ls__model;

/* Reads the section "model" of tokenizer.json from `part`; `parts` has its members in the order of ls__model_part. The vocabulary
   `v` is filled and belongs to the caller. */
ls_status ls__model_read(ls__model *m, ls__vocab *v, const ls__part *part, const ls__part *parts);
/* Appends the tokens of a piece of text, which must not be empty. */
ls_status ls__model_encode(ls__model *m, const char *piece, size_t length, ls__tokens *out);
void ls__model_free(ls__model *m);

/* The functions of each kind of model; only model.c calls them. */
ls_status ls__bpe_read(ls__bpe *b, ls__vocab *v, const ls__part *parts);
ls_status ls__bpe_encode(ls__bpe *b, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out);
void ls__bpe_free(ls__bpe *b);
ls_status ls__wordpiece_read(ls__wordpiece *w, ls__vocab *v, const ls__part *parts);
ls_status ls__wordpiece_encode(ls__wordpiece *w, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out);
ls_status ls__wordlevel_encode(const ls__wordpiece *w, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out);
void ls__wordpiece_free(ls__wordpiece *w);
ls_status ls__unigram_read(ls__unigram *u, ls__vocab *v, const ls__part *parts);
ls_status ls__unigram_encode(ls__unigram *u, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out);
void ls__unigram_free(ls__unigram *u);

/* These functions read a setting of a model: true or false (false where absent), a text, or a token, of which `*out` is the id (-1 where
   the setting is null or absent). */
ls_status ls__model_flag(const ls__part *part, bool *out);
ls_status ls__model_text(const ls__part *part, ls__text *out);
ls_status ls__model_token(const ls__part *part, const ls__vocab *v, int32_t *out);

#endif
