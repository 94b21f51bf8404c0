/* Normalizers: changes to a text before it is cut into pieces. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/line.h"

/* In the first four kinds, bit 1 means compatibility and bit 2 composition. The kinds from CLEAN on are parts of BertNormalizer. */
enum { NFD, NFKD, NFC, NFKC, LOWERCASE, STRIP_ACCENTS, STRIP, REPLACE, PREPEND, NMT, CHARSMAP, CLEAN, IDEOGRAPHS, MARKS };

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static ls_status add(ls__normalizers *n, const ls__part *part, int32_t kind, ls__normalizer **out) {
  ls__normalizer *stage = ls__reserve(n->stage, &n->room, n->count, 1, sizeof *stage);
  if (!stage) return ls__part_memory(part);
  n->stage = stage;
  *out = memset(&stage[n->count++], 0, sizeof *stage);
  (*out)->kind = kind;
  return LS_OK;
}

static ls_status read_bert(ls__normalizers *n, const ls__part *part, const json_t *stage) {
  static const char *const names[] = {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase", NULL};
  bool clean, ideographs, strip, lower;
  ls__normalizer *added;
  ls_status status = ls__part_allow(part, stage, names);
  if (!status) status = ls__part_bool(part, stage, "clean_text", true, &clean);
  if (!status) status = ls__part_bool(part, stage, "handle_chinese_chars", true, &ideographs);
  if (!status) status = ls__part_bool(part, stage, "lowercase", true, &lower);
  if (status) return status;
  strip = lower;
  if (!json_is_null(json_object_get(stage, "strip_accents"))) status = ls__part_bool(part, stage, "strip_accents", lower, &strip);
  if (!status && clean) status = add(n, part, CLEAN, &added);
  if (!status && ideographs) status = add(n, part, IDEOGRAPHS, &added);
  if (!status && strip) status = add(n, part, NFD, &added);
  if (!status && strip) status = add(n, part, MARKS, &added);
  if (!status && lower) status = add(n, part, LOWERCASE, &added);
  return status;
}

static ls_status read_text(ls__text *out, const ls__part *part, const json_t *stage, const char *name) {
  const char *text;
  size_t length;
  ls_status status = ls__part_string(part, stage, name, &text, &length);
  if (!status && !ls__text_add(out, text, length)) status = ls__part_memory(part);
  return status;
}

static ls_status read_settings(ls__normalizer *s, const ls__part *part, const json_t *stage) {
  if (s->kind == STRIP) {
    static const char *const names[] = {"type", "strip_left", "strip_right", NULL};
    ls_status status = ls__part_allow(part, stage, names);
    if (!status) status = ls__part_bool(part, stage, "strip_left", true, &s->left);
    return status ? status : ls__part_bool(part, stage, "strip_right", true, &s->right);
  }
  if (s->kind == REPLACE) {
    static const char *const names[] = {"type", "pattern", "content", NULL};
    ls_status status = ls__part_allow(part, stage, names);
    if (!status) status = ls__pattern_read(&s->pattern, part, json_object_get(stage, "pattern"));
    return status ? status : read_text(&s->content, part, stage, "content");
  }
  if (s->kind == PREPEND) {
    static const char *const names[] = {"type", "prepend", NULL};
    ls_status status = ls__part_allow(part, stage, names);
    return status ? status : read_text(&s->content, part, stage, "prepend");
  }
  if (s->kind == CHARSMAP) {
    static const char *const names[] = {"type", "precompiled_charsmap", NULL};
    const json_t *map = json_object_get(stage, "precompiled_charsmap");
    ls_status status = ls__part_allow(part, stage, names);
    if (!status && !json_is_string(map) && !json_is_null(map)) status = ls__part_fail(part, "\"precompiled_charsmap\" is not a text");
    return status ? status : ls__charsmap_read(&s->map, part, json_string_value(map), json_string_length(map));
  }
  static const char *const names[] = {"type", NULL};
  return ls__part_allow(part, stage, names);
}

static ls_status read_stage(void *context, const ls__part *part, const json_t *stage) {
  static const char *const kinds[] = {"NFD", "NFKD", "NFC", "NFKC", "Lowercase", "StripAccents", "Strip", "Replace", "Prepend", "Nmt",
                                      "Precompiled"};
  const char *type = ls__part_type(stage);
  if (type && !strcmp(type, "BertNormalizer")) return read_bert(context, part, stage);
  for (int32_t kind = 0; type && kind <= CHARSMAP; kind++) {
    if (strcmp(type, kinds[kind])) continue;
    ls__normalizer *added;
    ls_status status = add(context, part, kind, &added);
    return status ? status : read_settings(added, part, stage);
  }
  return ls__part_refuse(part, stage);
}

ls_status ls__normalizers_read(ls__normalizers *n, const ls__part *part) {
  return ls__part_stages(part, "normalizers", read_stage, n);
}

void ls__normalizers_free(ls__normalizers *n) {
  for (size_t i = 0; i < n->count; i++) {
    ls__pattern_free(&n->stage[i].pattern);
    ls__charsmap_free(&n->stage[i].map);
    free(n->stage[i].content.data);
  }
  free(n->stage);
}

/* ---- character by character ---------------------------------------------------------------------------------------- */

enum { KEEP = -1, DROP = -2, AROUND = -3 }; /* a character stays, is dropped, or gets spaces around it; any other value is the character
                                               that replaces it */

static int32_t clean(int32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return ' ';
  if (!c || c == 0xFFFD || ls__text_is_control(c)) return DROP;
  return ls__text_class(c) == LS__CLASS_SPACE ? ' ' : KEEP;
}

static int32_t nmt(int32_t c) {
  if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F) return DROP;
  if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
      c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
    return ' ';
  return KEEP;
}

static int32_t ideograph(int32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F) ? AROUND : KEEP;
}

static int32_t without_marks(int32_t kind, int32_t c) {
  if (c < 0x300) return KEEP;
  return (kind == MARKS ? ls__text_is_mark(c) : ls__text_is_accent(c)) ? DROP : KEEP;
}

static void rewrite_each(int32_t kind, ls__rewriter *r) {
  while (r->at < r->end) {
    size_t next;
    int32_t c = ls__rewrite_peek(r, &next);
    int32_t to = kind == CLEAN ? clean(c) : kind == NMT ? nmt(c) : kind == IDEOGRAPHS ? ideograph(c) : without_marks(kind, c);
    if (to == KEEP) {
      ls__rewrite_copy(r, next);
    } else if (to == DROP) {
      ls__rewrite_skip(r, next);
    } else if (to == AROUND) {
      ls__rewrite_put(r, ' ', false);
      ls__rewrite_put(r, c, true);
      ls__rewrite_put(r, ' ', true);
    } else {
      ls__rewrite_put(r, to, false);
    }
  }
}

/* ---- stretches ----------------------------------------------------------------------------------------------------- */

static void strip(const ls__normalizer *s, ls__rewriter *r) {
  const char *text = r->in->text.data;
  size_t from = r->at, to = r->end;
  for (int32_t code; s->left && from < to;) {
    size_t n = ls__utf8_next(text + from, to - from, &code);
    if (ls__text_class(code) != LS__CLASS_SPACE) break;
    from += n;
  }
  for (int32_t code; s->right && to > from;) {
    size_t last = to - 1;
    while (last > from && ((unsigned char)text[last] & 0xC0) == 0x80) last--;
    ls__utf8_next(text + last, to - last, &code);
    if (ls__text_class(code) != LS__CLASS_SPACE) break;
    to = last;
  }
  ls__rewrite_skip(r, from);
  ls__rewrite_copy(r, to);
}

static ls_status replace(const ls__normalizer *s, ls__rewriter *r) {
  ls__matches m = {.pattern = &s->pattern, .text = r->in->text.data, .length = r->end, .last = SIZE_MAX};
  for (;;) {
    ls__span match;
    bool found;
    ls_status status = ls__matches_next(&m, &match, &found);
    if (status) return status;
    if (!found) break;
    ls__rewrite_copy(r, match.from);
    ls__rewrite_skip(r, match.to);
    ls__rewrite_add(r, s->content.data, s->content.length);
  }
  ls__rewrite_copy(r, r->end);
  return LS_OK;
}

static ls_status run(const ls__normalizer *s, ls__rewriter *r) {
  switch (s->kind) {
  case NFD: case NFKD: case NFC: case NFKC: ls__unicode_form(r, s->kind & 1, s->kind & 2); break;
  case LOWERCASE: ls__unicode_lower(r); break;
  case STRIP: strip(s, r); break;
  case REPLACE: return replace(s, r);
  case PREPEND:
    ls__rewrite_front(r, s->content.data, s->content.length);
    ls__rewrite_copy(r, r->end);
    break;
  case CHARSMAP: ls__charsmap_rewrite(&s->map, r); break;
  default: rewrite_each(s->kind, r);
  }
  return LS_OK;
}

ls_status ls__normalize(const ls__normalizers *n, ls__line *line, ls__line *work) {
  for (size_t i = 0; i < n->count && line->text.length; i++) {
    ls__line_clear(work, line->tracked);
    ls__rewriter r = {.in = line, .out = work, .end = line->text.length};
    ls_status status = run(&n->stage[i], &r);
    if (!status && r.no_memory) status = ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized");
    if (status) return status;
    ls__line swap = *line;
    *line = *work;
    *work = swap;
  }
  return LS_OK;
}
