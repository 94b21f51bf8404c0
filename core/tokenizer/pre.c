/* Pre-tokenizers, which cut a text into pieces. A token lies within one piece. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/line.h"

enum {
  CUT,
  PREFIX,   /* writes a space in front of a piece that begins without a space */
  STAND_INS, /* replaces each byte by the printable character that stands for the byte */
  METASPACE /* replaces spaces by a sign (mostly U+2581), and writes the sign in front of a text */
};

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static ls_status add(ls__pre *p, const ls__part *part, int32_t kind, ls__pre_stage **out) {
  ls__pre_stage *stage = ls__reserve(p->stage, &p->room, p->count, 1, sizeof *stage);
  if (!stage) return ls__part_memory(part);
  p->stage = stage;
  *out = memset(&stage[p->count++], 0, sizeof *stage);
  (*out)->kind = kind;
  return LS_OK;
}

static ls_status add_cut(ls__pre *p, const ls__part *part, ls__pattern_kind kind, const char *text, ls__behavior behavior, bool inverted) {
  ls__pre_stage *stage;
  ls_status status = add(p, part, CUT, &stage);
  if (status) return status;
  stage->behavior = behavior;
  stage->inverted = inverted;
  return ls__pattern_compile(&stage->pattern, part, kind, text, strlen(text));
}

static const char *const behaviors[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous", NULL};

static ls_status read_split(ls__pre *p, const ls__part *part, const json_t *section) {
  static const char *const names[] = {"type", "pattern", "behavior", "invert", NULL};
  ls__pre_stage *stage;
  int32_t behavior;
  ls_status status = ls__part_allow(part, section, names);
  if (!status) status = ls__part_choice(part, section, "behavior", behaviors, -1, &behavior);
  if (!status) status = add(p, part, CUT, &stage);
  if (!status) status = ls__part_bool(part, section, "invert", false, &stage->inverted);
  if (status) return status;
  stage->behavior = (ls__behavior)behavior;
  return ls__pattern_read(&stage->pattern, part, json_object_get(section, "pattern"));
}

static ls_status read_byte_level(ls__pre *p, const ls__part *part, const json_t *section) {
  bool prefix, regex;
  ls__pre_stage *stage;
  ls_status status = ls__byte_level_read(part, section, &prefix, &regex);
  if (!status && prefix) status = add(p, part, PREFIX, &stage);
  if (!status && prefix && !ls__text_add(&stage->sign, " ", 1)) status = ls__part_memory(part);
  if (!status && regex) status = add_cut(p, part, LS__PATTERN_GPT2, "", LS__ISOLATED, false);
  return status ? status : add(p, part, STAND_INS, &stage);
}

/* Reads the settings of the stage Metaspace. Older tokenizer.json files have "add_prefix_space" instead of "prepend_scheme". */
ls_status ls__metaspace_read(ls__metaspace *m, const ls__part *part, const json_t *section) {
  static const char *const names[] = {"type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split", NULL};
  static const char *const schemes[] = {"always", "first", "never", NULL};
  const char *sign;
  size_t length;
  int32_t scheme, code = -1;
  bool prefix;
  ls_status status = ls__part_allow(part, section, names);
  if (!status) status = ls__part_string(part, section, "replacement", &sign, &length);
  if (!status && (!length || ls__utf8_next(sign, length, &code) != length || code < 0))
    status = ls__part_fail(part, "Metaspace's \"replacement\" is not one character");
  if (!status) status = ls__part_choice(part, section, "prepend_scheme", schemes, LS__ALWAYS, &scheme);
  if (!status) status = ls__part_bool(part, section, "add_prefix_space", true, &prefix);
  if (!status) status = ls__part_bool(part, section, "split", true, &m->split);
  if (status) return status;
  if (!prefix && scheme != LS__NEVER && json_object_get(section, "prepend_scheme"))
    return ls__part_fail(part, "Metaspace's \"add_prefix_space\" is false, but its \"prepend_scheme\" is not \"never\"");
  m->scheme = prefix ? (ls__scheme)scheme : LS__NEVER;
  memcpy(m->sign, sign, length);
  m->sign[length] = 0;
  return LS_OK;
}

static ls_status read_metaspace(ls__pre *p, const ls__part *part, const json_t *section) {
  ls__metaspace m;
  ls__pre_stage *stage;
  ls_status status = ls__metaspace_read(&m, part, section);
  if (!status) status = add(p, part, METASPACE, &stage);
  if (status) return status;
  if (!ls__text_add(&stage->sign, m.sign, strlen(m.sign))) return ls__part_memory(part);
  stage->in_front = m.scheme;
  p->needs_origin |= m.scheme == LS__FIRST;
  return m.split ? add_cut(p, part, LS__PATTERN_TEXT, m.sign, LS__WITH_NEXT, false) : LS_OK;
}

static ls_status read_punctuation(ls__pre *p, const ls__part *part, const json_t *section) {
  static const char *const names[] = {"type", "behavior", NULL};
  int32_t behavior;
  ls_status status = ls__part_allow(part, section, names);
  if (!status) status = ls__part_choice(part, section, "behavior", behaviors, LS__ISOLATED, &behavior);
  return status ? status : add_cut(p, part, LS__PATTERN_PUNCTUATION, "", (ls__behavior)behavior, false);
}

static ls_status read_digits(ls__pre *p, const ls__part *part, const json_t *section) {
  static const char *const names[] = {"type", "individual_digits", NULL};
  bool each;
  ls_status status = ls__part_allow(part, section, names);
  if (!status) status = ls__part_bool(part, section, "individual_digits", false, &each);
  return status ? status : add_cut(p, part, LS__PATTERN_NUMBER, "", each ? LS__ISOLATED : LS__CONTIGUOUS, false);
}

static ls_status read_delimiter(ls__pre *p, const ls__part *part, const json_t *section) {
  static const char *const names[] = {"type", "delimiter", NULL};
  const char *text;
  size_t length;
  ls_status status = ls__part_allow(part, section, names);
  if (!status) status = ls__part_string(part, section, "delimiter", &text, &length);
  return status ? status : add_cut(p, part, LS__PATTERN_TEXT, text, LS__REMOVED, false);
}

static ls_status read_plain(ls__pre *p, const ls__part *part, const json_t *section, ls__pattern_kind kind, bool inverted) {
  static const char *const names[] = {"type", NULL};
  ls_status status = ls__part_allow(part, section, names);
  return status ? status : add_cut(p, part, kind, "", LS__REMOVED, inverted);
}

static ls_status read_stage(void *context, const ls__part *part, const json_t *section) {
  const char *type = ls__part_type(section);
  ls__pre *p = context;
  if (!type) return ls__part_refuse(part, section);
  if (!strcmp(type, "ByteLevel")) return read_byte_level(p, part, section);
  if (!strcmp(type, "Split")) return read_split(p, part, section);
  if (!strcmp(type, "Metaspace")) return read_metaspace(p, part, section);
  if (!strcmp(type, "Punctuation")) return read_punctuation(p, part, section);
  if (!strcmp(type, "Digits")) return read_digits(p, part, section);
  if (!strcmp(type, "CharDelimiterSplit")) return read_delimiter(p, part, section);
  if (!strcmp(type, "Whitespace")) return read_plain(p, part, section, LS__PATTERN_WORDS, true);
  if (!strcmp(type, "WhitespaceSplit")) return read_plain(p, part, section, LS__PATTERN_SPACE, false);
  if (!strcmp(type, "UnicodeScripts")) return read_plain(p, part, section, LS__PATTERN_SCRIPTS, true);
  if (strcmp(type, "BertPreTokenizer")) return ls__part_refuse(part, section);
  ls_status status = read_plain(p, part, section, LS__PATTERN_SPACE, false);
  return status ? status : add_cut(p, part, LS__PATTERN_PUNCTUATION, "", LS__ISOLATED, false);
}

ls_status ls__pre_read(ls__pre *p, const ls__part *part) {
  ls_status status = ls__part_stages(part, "pretokenizers", read_stage, p);
  return status;
}

void ls__pre_free(ls__pre *p) {
  for (size_t i = 0; i < p->count; i++) {
    ls__pattern_free(&p->stage[i].pattern);
    free(p->stage[i].sign.data);
  }
  free(p->stage);
}

bool ls__pre_leave_bytes(ls__pre *p) {
  bool left = p->count && p->stage[p->count - 1].kind == STAND_INS;
  p->count -= left;
  return left;
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

static bool begins_with(const ls__line *line, ls__span piece, const ls__text *sign) {
  return piece.to - piece.from >= sign->length && !memcmp(line->text.data + piece.from, sign->data, sign->length);
}

static void write_stand_ins(ls__rewriter *r) {
  while (r->at < r->end) {
    size_t from = r->at, next;
    (void)ls__rewrite_peek(r, &next);
    for (size_t i = from; i < next; i++) {
      char text[4];
      int32_t code;
      ls__utf8_next(text, ls__byte_stand_in((unsigned char)r->in->text.data[i], text), &code);
      ls__rewrite_put(r, code, i > from);
    }
  }
}

static void write_metaspace(const ls__pre_stage *s, ls__span piece, ls__rewriter *r) {
  const ls__line *in = r->in;
  bool first = s->in_front == LS__ALWAYS || (s->in_front == LS__FIRST && in->origin.data[piece.from].from == 0);
  if (first && in->text.data[piece.from] != ' ' && !begins_with(in, piece, &s->sign))
    ls__rewrite_front(r, s->sign.data, s->sign.length);
  while (r->at < r->end) {
    const char *text = in->text.data, *space = memchr(text + r->at, ' ', r->end - r->at);
    ls__rewrite_copy(r, space ? (size_t)(space - text) : r->end);
    if (!space) break;
    ls__rewrite_skip(r, r->at + 1);
    ls__rewrite_add(r, s->sign.data, s->sign.length);
  }
}

/* Runs a stage that changes the text of pieces: writes the new pieces to `work`, one behind the other, and swaps `work` with `line`. */
static ls_status rewrite(const ls__pre_stage *s, ls__line *line, ls__line *work, ls__spans *pieces) {
  ls__line_clear(work, line->tracked);
  for (size_t i = 0; i < pieces->count; i++) {
    ls__span piece = pieces->data[i];
    ls__rewriter r = {.in = line, .out = work, .at = piece.from, .end = piece.to};
    size_t from = work->text.length;
    if (s->kind == STAND_INS) {
      write_stand_ins(&r);
    } else if (s->kind == METASPACE) {
      write_metaspace(s, piece, &r);
    } else {
      if (!begins_with(line, piece, &s->sign)) ls__rewrite_front(&r, s->sign.data, s->sign.length);
      ls__rewrite_copy(&r, piece.to);
    }
    if (r.no_memory || work->text.length > UINT32_MAX / 2) return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized");
    pieces->data[i] = (ls__span){(uint32_t)from, (uint32_t)work->text.length};
  }
  ls__line swap = *line;
  *line = *work;
  *work = swap;
  return LS_OK;
}

ls_status ls__pre_run(const ls__pre *p, ls__line *line, ls__line *work, ls__spans *pieces, ls__spans *spare) {
  for (size_t i = 0; i < p->count; i++) {
    const ls__pre_stage *s = &p->stage[i];
    ls_status status = LS_OK;
    if (s->kind != CUT) {
      status = rewrite(s, line, work, pieces);
      if (status) return status;
      continue;
    }
    spare->count = 0;
    for (size_t k = 0; !status && k < pieces->count; k++)
      status = ls__cut(&s->pattern, s->behavior, s->inverted, line->text.data, pieces->data[k], spare);
    if (status) return status;
    ls__spans swap = *pieces;
    *pieces = *spare;
    *spare = swap;
  }
  return LS_OK;
}
