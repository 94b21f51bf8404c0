/* Models, which turn a piece of text into tokens: the vocabulary, the four kinds of model, and a cache of pieces already encoded. */
#ifndef LUASIGHT_TOKENIZER_MODEL_H
#define LUASIGHT_TOKENIZER_MODEL_H
#include "tokenizer/json.h"
#include "tokenizer/text.h"

/* A hash of bytes that the writer of a file cannot foresee, since `seed` differs from process to process. */
uint64_t ls__hash(const char *text, size_t length, uint64_t seed);
uint64_t ls__hash_pair(uint64_t pair, uint64_t seed);
uint64_t ls__hash_seed(void);

/* A token of a piece of text: its id, and the bytes of the piece for which it stands. */
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
  uint32_t at, length; /* the place of the token in `text`; `at` is LS__NO_TOKEN where the id has no token */
} ls__token;

enum { LS__NO_TOKEN = UINT32_MAX };

typedef struct ls__vocab {
  ls__text text;    /* all tokens, each ended by a zero */
  ls__token *token; /* for each id its token */
  int32_t size, room;
  uint64_t *slot;   /* a hash table of (hash of the token << 32 | id + 1) */
  uint32_t mask, used;
  uint64_t seed;
} ls__vocab;

typedef enum ls__added { LS__ADDED, LS__ADDED_TOKEN_TWICE, LS__ADDED_ID_TWICE, LS__ADDED_NO_MEMORY } ls__added;

/* ls__vocab_read reads an object of tokens and their ids. ls__vocab_read_scored reads a list of pairs of a token and its score, where
   the index is the id; `*scores` has the score of each id, and the caller frees it. */
ls_status ls__vocab_read(ls__vocab *v, const ls__part *part);
ls_status ls__vocab_read_scored(ls__vocab *v, const ls__part *part, double **scores);
ls__added ls__vocab_add(ls__vocab *v, const char *text, size_t length, int64_t id);
int32_t ls__vocab_find(const ls__vocab *v, const char *text, size_t length); /* -1 where the vocabulary does not have the token */
int32_t ls__vocab_hole(const ls__vocab *v);                                  /* an id without a token, -1 where every id has one */
const char *ls__vocab_token(const ls__vocab *v, int64_t id, size_t *length); /* NULL where no token has the id */
/* The ids of the tokens "<0x00>" to "<0xFF>", -1 for those that are missing. */
void ls__vocab_byte_tokens(const ls__vocab *v, int32_t out[256]);
void ls__vocab_free(ls__vocab *v);

/* ---- byte pair encoding (bpe.c, bpe_read.c, merge.c) ---- */

typedef struct ls__merge {
  uint64_t pair; /* the left id << 32 | the right id */
  int32_t rank, into;
} ls__merge;

typedef struct ls__merges {
  ls__merge *merge; /* the merges in the order of their ranks */
  int32_t count;
  size_t room;
  uint64_t *slot;   /* a hash table of (upper half of the pair's hash << 32 | rank + 1) */
  uint64_t mask;
  uint64_t seed;
} ls__merges;

/* A part of a piece of text, which merging joins with its neighbours. */
typedef struct ls__symbol {
  int32_t id;
  uint32_t length; /* the number of bytes of the piece */
} ls__symbol;

typedef struct ls__bpe {
  ls__merges merges;
  int32_t stand_in[256]; /* for each byte the token of the character that stands for it, -1 where there is none */
  int32_t byte[256];     /* for each byte its token "<0x..>", for characters without a token; -1 where there is none */
  bool byte_fallback;
  bool bytes;            /* whether pieces are bytes, to be spelled as the characters that stand for them */
  int32_t unknown;       /* the id of the unknown token; -1: text without a token is an error */
  bool fuse_unknown;     /* whether neighbouring unknown characters become one unknown token */
  bool whole_first;      /* "ignore_merges": a piece that is a token as a whole becomes that token */
  bool words_apart;      /* whether no merge joins U+2581 to a character before it, so that a piece can be cut there */
  ls__text prefix, suffix; /* the prefix of symbols that do not begin a piece, and the suffix of the symbol that ends it */
  ls__text spelled, work, symbols; /* scratch memory */
} ls__bpe;

static inline const ls__merge *ls__merge_find(const ls__merges *m, int32_t left, int32_t right) {
  uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  uint64_t hash = ls__hash_pair(pair, m->seed), slot;
  for (uint64_t i = hash & m->mask; (slot = m->slot[i]); i = (i + 1) & m->mask)
    if (slot >> 32 == hash >> 32 && m->merge[(uint32_t)slot - 1].pair == pair) return &m->merge[(uint32_t)slot - 1];
  return NULL;
}

/* Merges symbols in place, lowest rank first and leftmost among equals; returns the number that is left, SIZE_MAX when out of memory. */
size_t ls__merge_symbols(const ls__merges *m, ls__symbol *symbols, size_t count, ls__text *work);

/* ---- the others (wordpiece.c, unigram.c) ---- */

typedef struct ls__wordpiece {
  int32_t unknown;     /* the id of the unknown token; -1: an unknown word is an error */
  ls__text prefix;     /* the prefix of a token that does not begin a word */
  size_t longest_word; /* in characters; a longer word is unknown */
  size_t longest_token;
  ls__text spelled;    /* scratch memory */
} ls__wordpiece;

typedef struct ls__unigram {
  double *score; /* for each id its score */
  double unknown_score;
  int32_t unknown; /* the id of the unknown token; -1: text without a token is an error */
  bool byte_fallback;
  int32_t byte[256];
  uint64_t *edge;  /* the trie as a hash table of ((node << 8 | byte) << 32 | next node); node 0 is the root */
  uint64_t mask;
  int32_t *node_id; /* for each node the token that ends there, -1 where none does */
  uint32_t nodes;
  size_t node_room;
  ls__text path;   /* scratch memory */
  ls__tokens back; /* scratch memory */
} ls__unigram;

/* ---- the model of a file (model.c) ---- */

typedef enum ls__model_kind { LS__BPE, LS__WORDPIECE, LS__WORDLEVEL, LS__UNIGRAM, LS__MODELS } ls__model_kind;

/* The members that a model section can have. */
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

extern const char *const ls__model_parts[]; /* the names of the members, ended by NULL */

typedef struct ls__model {
  ls__model_kind kind;
  ls__vocab *vocab;
  ls__bpe bpe;
  ls__wordpiece wordpiece;
  ls__unigram unigram;
  struct ls__word *seen; /* the cache of pieces already encoded */
  uint64_t seed;
} ls__model;

/* Reads the section `part`, whose LS__MODEL_PARTS members are `parts`. The vocabulary belongs to the caller. */
ls_status ls__model_read(ls__model *m, ls__vocab *v, const ls__part *part, const ls__part *parts);
/* Appends the tokens of a piece of text, which must not be empty. */
ls_status ls__model_encode(ls__model *m, const char *piece, size_t length, ls__tokens *out);
void ls__model_free(ls__model *m);

/* The functions of each kind of model, which model.c calls. */
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

/* Read a setting of a model: true or false (false where absent), a text, or the id of a token (-1 where it is null). */
ls_status ls__model_flag(const ls__part *part, bool *out);
ls_status ls__model_text(const ls__part *part, ls__text *out);
ls_status ls__model_token(const ls__part *part, const ls__vocab *v, int32_t *out);

#endif
