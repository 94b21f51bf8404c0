/* A text between input and model: lines, which store where their bytes come from; normalizers and pre-tokenizers, which change lines;
   and the patterns that both look for. */
#ifndef LUASIGHT_TOKENIZER_LINE_H
#define LUASIGHT_TOKENIZER_LINE_H
#include "tokenizer/json.h"
#include "tokenizer/text.h"

/* The bytes from `from` to before `to`. */
typedef struct ls__span {
  uint32_t from, to;
} ls__span;

typedef struct ls__spans {
  ls__span *data;
  size_t count, room;
} ls__spans;

bool ls__spans_add(ls__spans *s, size_t from, size_t to); /* false when out of memory */

/* ---- lines and their rewriting (line.c) ---- */

typedef struct ls__line {
  ls__text text;
  ls__spans origin; /* in a tracked line, for each byte the bytes of the original text that it comes from */
  bool tracked;
} ls__line;

/* Appends a stretch of the original text that begins there at byte `from`. */
bool ls__line_add(ls__line *line, const char *text, size_t length, size_t from);
void ls__line_clear(ls__line *line, bool tracked);
void ls__line_free(ls__line *line);

/* Writes a new line while an old one is read. A character that replaces another gets the other's origin; an additional character gets
   the origin of the character before it. */
typedef struct ls__rewriter {
  const ls__line *in;
  ls__line *out;
  size_t at, end;   /* the place up to which `in` is read, and the end of the part of `in` that is rewritten */
  bool any;         /* whether anything was written */
  bool no_memory;
} ls__rewriter;

void ls__rewrite_copy(ls__rewriter *r, size_t to);                     /* copies the bytes of `in` up to `to` */
void ls__rewrite_skip(ls__rewriter *r, size_t to);                     /* leaves out the bytes of `in` up to `to` */
void ls__rewrite_put(ls__rewriter *r, int32_t code, bool added);       /* writes a character that replaces the next one, or is additional */
void ls__rewrite_add(ls__rewriter *r, const char *text, size_t length); /* writes additional text */
/* Writes text in front of a part; the text's origin is that of the part's first byte. */
void ls__rewrite_front(ls__rewriter *r, const char *text, size_t length);
void ls__rewrite_lose(ls__rewriter *r, size_t characters);             /* leaves out characters that follow the last one written */

static inline int32_t ls__rewrite_peek(const ls__rewriter *r, size_t *next) { /* the next character of `in`; only where at < end */
  int32_t code;
  *next = r->at + ls__utf8_next(r->in->text.data + r->at, r->end - r->at, &code);
  return code;
}

/* ---- Unicode forms (unicode.c) ---- */

void ls__unicode_form(ls__rewriter *r, bool compatible, bool composed); /* NFD, NFKD, NFC or NFKC */
void ls__unicode_lower(ls__rewriter *r);

/* ---- patterns (pattern.c) ---- */

typedef enum ls__pattern_kind {
  LS__PATTERN_TEXT,
  LS__PATTERN_REGEX,
  LS__PATTERN_SPACE,       /* one White_Space character */
  LS__PATTERN_PUNCTUATION, /* one character of punctuation */
  LS__PATTERN_NUMBER,      /* one numeric character */
  LS__PATTERN_WORDS,       /* \w+|[^\w\s]+ */
  LS__PATTERN_SCRIPTS,     /* a run of characters of one script */
  LS__PATTERN_GPT2         /* the pieces of GPT-2; the whole text matches */
} ls__pattern_kind;

typedef struct ls__pattern {
  ls__pattern_kind kind;
  char *text;
  size_t length;
  struct re_pattern_buffer *regex; /* a compiled expression of oniguruma */
  struct re_registers *region;
} ls__pattern;

/* Reads a pattern from {"String": ...}, {"Regex": ...} or a plain text. */
ls_status ls__pattern_read(ls__pattern *p, const ls__part *part, const json_t *value);
ls_status ls__pattern_compile(ls__pattern *p, const ls__part *part, ls__pattern_kind kind, const char *text, size_t length);
void ls__pattern_free(ls__pattern *p);

typedef struct ls__matches {
  const ls__pattern *pattern;
  const char *text;
  size_t length, at, last; /* `last` is the end of the last match, SIZE_MAX before the first */
} ls__matches;

/* Finds the next match; `*found` is false where there is none. Fails where a regular expression takes too many steps. */
ls_status ls__matches_next(ls__matches *m, ls__span *match, bool *found);

/* ---- scripts and GPT-2's pieces (script.c, byte_level.c) ---- */

size_t ls__script_begin(const char *text, size_t length);          /* the place of the first character that has a script */
size_t ls__script_end(const char *text, size_t length, size_t at); /* the end of the run of one script that begins at `at` */

size_t ls__byte_stand_in(unsigned char byte, char out[2]); /* writes the printable character that stands for a byte; returns its length */
/* The end of the piece that begins at `at`, as GPT-2's pattern cuts; the text is UTF-8 and `at` < `length`. */
size_t ls__byte_level_cut(const char *text, size_t length, size_t at);
/* Appends the bytes for which the characters of a token stand; the token itself where one of its characters stands for no byte. */
bool ls__byte_level_decode(const char *token, size_t length, ls__text *out);

/* ---- normalizers (normalize.c, charsmap.c) ---- */

/* A character map as SentencePiece compiles it: a trie of texts, and the replacement of each. */
typedef struct ls__charsmap {
  uint32_t *unit; /* the trie */
  size_t units;
  char *text;     /* zero-terminated replacements */
  size_t length;
  bool plain[128]; /* the ASCII characters that the map does not change */
} ls__charsmap;

ls_status ls__charsmap_read(ls__charsmap *m, const ls__part *part, const char *base64, size_t length);
void ls__charsmap_rewrite(const ls__charsmap *m, ls__rewriter *r);
void ls__charsmap_free(ls__charsmap *m);

typedef struct ls__normalizer {
  int32_t kind;
  bool left, right;    /* used by Strip */
  ls__pattern pattern; /* used by Replace */
  ls__text content;    /* used by Replace and Prepend */
  ls__charsmap map;
} ls__normalizer;

typedef struct ls__normalizers {
  ls__normalizer *stage;
  size_t count, room;
} ls__normalizers;

ls_status ls__normalizers_read(ls__normalizers *n, const ls__part *part);
/* Normalizes `line` in place; `work` is scratch memory. */
ls_status ls__normalize(const ls__normalizers *n, ls__line *line, ls__line *work);
void ls__normalizers_free(ls__normalizers *n);

/* ---- pre-tokenizers (cut.c, pre.c) ---- */

typedef enum ls__behavior {
  LS__ISOLATED,   /* each match is a piece */
  LS__REMOVED,    /* matches are left out */
  LS__WITH_BEFORE,
  LS__WITH_NEXT,
  LS__CONTIGUOUS  /* neighbouring matches are one piece */
} ls__behavior;

/* Cuts a piece of text by a pattern and appends the new pieces to `out`. With `inverted`, what does not match counts as the match. */
ls_status ls__cut(const ls__pattern *pattern, ls__behavior behavior, bool inverted, const char *text, ls__span piece, ls__spans *out);

/* Where the stage Metaspace writes its sign in front of a text: before every piece, before the first alone, or nowhere. */
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
/* Removes a last stage that replaces bytes by printable characters, and returns whether there was one. The model can do the same faster. */
bool ls__pre_leave_bytes(ls__pre *p);
/* Cuts the pieces of `line` into smaller ones; `line` may be rewritten. `work` and `spare` are scratch memory. */
ls_status ls__pre_run(const ls__pre *p, ls__line *line, ls__line *work, ls__spans *pieces, ls__spans *spare);
void ls__pre_free(ls__pre *p);

#endif
