/* A text on its way from the input to the model: lines, which store for each byte its place in the original text; normalizers and
   pre-tokenizers, which change and cut lines; and the patterns for which normalizers and pre-tokenizers search. */
#ifndef LUASIGHT_TOKENIZER_LINE_H
#define LUASIGHT_TOKENIZER_LINE_H
#include "tokenizer/json.h"
#include "tokenizer/text.h"

/* A range of bytes of a text: from byte `from` to the byte before `to`. */
typedef struct ls__span {
  uint32_t from, to;
} ls__span;

typedef struct ls__spans {
  ls__span *data;
  size_t count, room;
} ls__spans;

bool ls__spans_add(ls__spans *s, size_t from, size_t to); /* adds a range; false when out of memory */

/* ---- lines and their rewriting (line.c) ---- */

typedef struct ls__line {
  ls__text text;
  ls__spans origin; /* if `tracked`: for each byte of the line the range of the original text from which it comes */
  bool tracked;
} ls__line;

/* Appends to a line a stretch of the original text, which begins at byte `from` of the original text; false when out of memory. */
bool ls__line_add(ls__line *line, const char *text, size_t length, size_t from);
void ls__line_clear(ls__line *line, bool tracked);
void ls__line_free(ls__line *line);

/* Writes the line `out` while it reads the line `in`. A character that replaces a character of `in` gets the origin of that character; an
   additional character gets the origin of the character of `in` before it. */
typedef struct ls__rewriter {
  const ls__line *in;
  ls__line *out;
  size_t at, end;   /* the byte up to which `in` is read, and the end of the part of `in` that is rewritten */
  bool any;         /* whether any text was written */
  bool no_memory;
} ls__rewriter;

void ls__rewrite_copy(ls__rewriter *r, size_t to);                     /* copies the bytes of `in` from r->at up to byte `to` */
void ls__rewrite_skip(ls__rewriter *r, size_t to);                     /* leaves out the bytes of `in` from r->at up to byte `to` */
/* Writes a character: in place of the next character of `in` or, if `added` is set, in addition to the characters of `in`. */
void ls__rewrite_put(ls__rewriter *r, int32_t code, bool added);
void ls__rewrite_add(ls__rewriter *r, const char *text, size_t length); /* writes text that replaces no text of `in` */
/* Writes additional text in front of the part of `in` that is rewritten; its origin is that of the first byte of the part. */
void ls__rewrite_front(ls__rewriter *r, const char *text, size_t length);
/* Leaves out the next `characters` characters of `in`, if any text has been written to `out` (r->any). */
void ls__rewrite_lose(ls__rewriter *r, size_t characters);

static inline int32_t ls__rewrite_peek(const ls__rewriter *r, size_t *next) { /* returns the character of `in` at r->at (< r->end) */
  int32_t code;
  *next = r->at + ls__utf8_next(r->in->text.data + r->at, r->end - r->at, &code);
  return code;
}

/* ---- Unicode forms (unicode.c) ---- */

void ls__unicode_form(ls__rewriter *r, bool compatible, bool composed); /* writes `in` in the form NFD, NFKD, NFC or NFKC */
void ls__unicode_lower(ls__rewriter *r);

/* ---- patterns (pattern.c) ---- */

typedef enum ls__pattern_kind {
  LS__PATTERN_TEXT,
  LS__PATTERN_REGEX,
  LS__PATTERN_SPACE,       /* matches one White_Space character */
  LS__PATTERN_PUNCTUATION, /* matches one character of punctuation */
  LS__PATTERN_NUMBER,      /* matches one numeric character */
  LS__PATTERN_WORDS,       /* \w+|[^\w\s]+ */
  LS__PATTERN_SCRIPTS,     /* matches a run of characters of one script, such as Latin */
  LS__PATTERN_GPT2         /* matches the pieces into which GPT-2 cuts a text, without gaps */
} ls__pattern_kind;

typedef struct ls__pattern {
  ls__pattern_kind kind;
  char *text;
  size_t length;
  struct re_pattern_buffer *regex; /* the regular expression, compiled by oniguruma */
  struct re_registers *region;
} ls__pattern;

/* Reads a pattern from its JSON value: {"String": ...}, {"Regex": ...} or a plain text. */
ls_status ls__pattern_read(ls__pattern *p, const ls__part *part, const json_t *value);
ls_status ls__pattern_compile(ls__pattern *p, const ls__part *part, ls__pattern_kind kind, const char *text, size_t length);
void ls__pattern_free(ls__pattern *p);

typedef struct ls__matches {
  const ls__pattern *pattern;
  const char *text;
  size_t length, at, last; /* the search goes on at byte `at`; `last` is the end of the last match, or SIZE_MAX */
} ls__matches;

/* Finds the next match of a pattern in a text; `*found` is false where there is none. Fails where a regular expression takes too many
   steps. */
ls_status ls__matches_next(ls__matches *m, ls__span *match, bool *found);

/* ---- scripts and GPT-2's pieces (script.c, byte_level.c) ---- */

size_t ls__script_begin(const char *text, size_t length);          /* the byte at which the first character with a script begins */
size_t ls__script_end(const char *text, size_t length, size_t at); /* the end of the run of one script that begins at byte `at` */

size_t ls__byte_stand_in(unsigned char byte, char out[2]); /* writes the character that stands for a byte; returns its length */
/* The end of the piece that begins at byte `at` where GPT-2's pattern cuts the text; the text must be UTF-8, and `at` < `length`. */
size_t ls__byte_level_cut(const char *text, size_t length, size_t at);
/* Appends the bytes for which the characters of a token stand, or the token itself where one of its characters stands for no byte. Returns
   false when out of memory. */
bool ls__byte_level_decode(const char *token, size_t length, ls__text *out);

/* ---- normalizers (normalize.c, charsmap.c) ---- */

/* A character map as SentencePiece compiles it: a trie of texts, and the replacement of each of these texts. */
typedef struct ls__charsmap {
  uint32_t *unit; /* the trie, a double array */
  size_t units;
  char *text;     /* the replacements, each ended by a zero */
  size_t length;
  bool plain[128]; /* for each ASCII character whether the map leaves it as it is */
} ls__charsmap;

ls_status ls__charsmap_read(ls__charsmap *m, const ls__part *part, const char *base64, size_t length);
void ls__charsmap_rewrite(const ls__charsmap *m, ls__rewriter *r);
void ls__charsmap_free(ls__charsmap *m);

typedef struct ls__normalizer {
  int32_t kind;
  bool left, right;    /* for the normalizer Strip: the ends at which it removes white space */
  ls__pattern pattern; /* for the normalizer Replace: what it replaces */
  ls__text content;    /* for Replace and Prepend: the text that they write */
  ls__charsmap map;
} ls__normalizer;

typedef struct ls__normalizers {
  ls__normalizer *stage;
  size_t count, room;
} ls__normalizers;

ls_status ls__normalizers_read(ls__normalizers *n, const ls__part *part);
/* Runs all normalizers on `line` in place; `work` is scratch memory. */
ls_status ls__normalize(const ls__normalizers *n, ls__line *line, ls__line *work);
void ls__normalizers_free(ls__normalizers *n);

/* ---- pre-tokenizers (cut.c, pre.c) ---- */

typedef enum ls__behavior {
  LS__ISOLATED,   /* each match of the pattern is a piece of its own */
  LS__REMOVED,    /* matches are left out of the pieces */
  LS__WITH_BEFORE,
  LS__WITH_NEXT,
  LS__CONTIGUOUS  /* matches without text between them are one piece */
} ls__behavior;

/* Cuts a piece of text by a pattern and appends the new pieces to `out`. With `inverted`, the text between matches counts as a match. */
ls_status ls__cut(const ls__pattern *pattern, ls__behavior behavior, bool inverted, const char *text, ls__span piece, ls__spans *out);

/* Where the pre-tokenizer Metaspace writes its sign (U+2581): before every piece, before the first piece alone, or nowhere. */
typedef enum ls__scheme { LS__ALWAYS, LS__FIRST, LS__NEVER } ls__scheme;

typedef struct ls__metaspace {
  char sign[5];
  ls__scheme scheme;
  bool split;
} ls__metaspace;

ls_status ls__metaspace_read(ls__metaspace *m, const ls__part *part, const json_t *section);
ls_status ls__byte_level_read(const ls__part *part, const json_t *section, bool *prefix, bool *regex);

typedef struct ls__pre_stage {
  int32_t kind;
  ls__pattern pattern;
  ls__behavior behavior;
  bool inverted;
  ls__scheme in_front;
  ls__text sign;
} ls__pre_stage;

typedef struct ls__pre {
  ls__pre_stage *stage;
  size_t count, room;
  bool needs_origin;
} ls__pre;

ls_status ls__pre_read(ls__pre *p, const ls__part *part);
/* Removes the last stage if it replaces bytes by printable characters, and returns whether it did. The model can do this replacement
   itself, in less time. */
bool ls__pre_leave_bytes(ls__pre *p);
/* Runs all pre-tokenizers: cuts the pieces of `line` into smaller ones; `line` may be rewritten. `work` and `spare` are scratch memory. */
ls_status ls__pre_run(const ls__pre *p, ls__line *line, ls__line *work, ls__spans *pieces, ls__spans *spare);
void ls__pre_free(ls__pre *p);

#endif
