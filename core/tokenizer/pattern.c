/* Patterns that normalizers and pre-tokenizers look for: texts, classes of characters, and regular expressions in the syntax of
   oniguruma, for which tokenizer.json is written. */
#define _GNU_SOURCE 1
#include <oniguruma.h>
#include <stdlib.h>
#include <string.h>
#include "tokenizer/line.h"

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static ls_status compile_regex(ls__pattern *p, const ls__part *part) {
  static bool ready; /* initializing oniguruma twice does no harm */
  if (!ready) {
    OnigEncoding use[] = {ONIG_ENCODING_UTF8};
    if (onig_initialize(use, 1) != ONIG_NORMAL) return ls__part_memory(part);
    ready = true;
  }
  OnigErrorInfo info;
  const OnigUChar *text = (const OnigUChar *)p->text;
  int code = onig_new(&p->regex, text, text + p->length, ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (code == ONIGERR_MEMORY) return ls__part_memory(part);
  if (code != ONIG_NORMAL) {
    OnigUChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
    char shown[120], said[ONIG_MAX_ERROR_MESSAGE_LEN];
    int length = onig_error_code_to_str(why, code, &info);
    ls__printable((const char *)why, (size_t)(length < 0 ? 0 : length), said, sizeof said);
    return ls__part_fail(part, "\"%s\" is not a valid regular expression: %s", ls__printable(p->text, p->length, shown, sizeof shown),
                         said);
  }
  p->region = onig_region_new();
  return p->region ? LS_OK : ls__part_memory(part);
}

ls_status ls__pattern_compile(ls__pattern *p, const ls__part *part, ls__pattern_kind kind, const char *text, size_t length) {
  p->kind = kind;
  p->length = length;
  p->text = malloc(length + 1);
  if (!p->text) return ls__part_memory(part);
  memcpy(p->text, text, length);
  p->text[length] = 0;
  return kind == LS__PATTERN_REGEX ? compile_regex(p, part) : LS_OK;
}

ls_status ls__pattern_read(ls__pattern *p, const ls__part *part, const json_t *value) {
  const json_t *text = json_is_string(value) ? value : json_object_get(value, "String");
  const json_t *regex = json_object_get(value, "Regex"), *one = regex ? regex : text;
  if (!json_is_string(one) || (json_is_object(value) && json_object_size(value) != 1))
    return ls__part_fail(part, "a \"pattern\" is neither {\"String\": ...} nor {\"Regex\": ...}");
  return ls__pattern_compile(p, part, regex ? LS__PATTERN_REGEX : LS__PATTERN_TEXT, json_string_value(one), json_string_length(one));
}

void ls__pattern_free(ls__pattern *p) {
  free(p->text);
  if (p->regex) onig_free(p->regex);
  if (p->region) onig_region_free(p->region, 1);
}

/* ---- matching ------------------------------------------------------------------------------------------------------ */

static ls_status next_regex(ls__matches *m, ls__span *match, bool *found) {
  const OnigUChar *text = (const OnigUChar *)m->text, *end = text + m->length;
  *found = false;
  while (m->at <= m->length) {
    OnigRegion *region = m->pattern->region;
    int at = onig_search(m->pattern->regex, text, end, text + m->at, end, region, ONIG_OPTION_NONE);
    if (at == ONIG_MISMATCH) return LS_OK;
    if (at == ONIGERR_MEMORY) return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized");
    if (at < 0) {
      char shown[120];
      ls__printable(m->pattern->text, m->pattern->length, shown, sizeof shown);
      return ls__fail(LS_ERROR_ARGUMENT, "the tokenizer's regular expression \"%s\" takes too many steps on this text", shown);
    }
    size_t from = (size_t)region->beg[0], to = (size_t)region->end[0];
    if (from == to && m->last == to) { /* an empty match directly behind another match does not count */
      int32_t code;
      m->at += m->at < m->length ? ls__utf8_next(m->text + m->at, m->length - m->at, &code) : 1;
      continue;
    }
    m->at = m->last = to;
    *match = (ls__span){(uint32_t)from, (uint32_t)to};
    *found = true;
    return LS_OK;
  }
  return LS_OK;
}

static bool next_text(ls__matches *m, ls__span *match) {
  const ls__pattern *p = m->pattern;
  const char *at = p->length && m->at < m->length ? memmem(m->text + m->at, m->length - m->at, p->text, p->length) : NULL;
  if (!at) return false;
  size_t from = (size_t)(at - m->text);
  m->at = from + p->length;
  *match = (ls__span){(uint32_t)from, (uint32_t)m->at};
  return true;
}

static bool is_one(ls__pattern_kind kind, int32_t code) {
  if (kind == LS__PATTERN_PUNCTUATION) return ls__text_is_punctuation(code);
  return ls__text_class(code) == (kind == LS__PATTERN_SPACE ? LS__CLASS_SPACE : LS__CLASS_NUMBER);
}

/* The kind of a character: 0 for white space, 1 for a word, 2 for anything else. */
static int word_kind(int32_t code) {
  return ls__text_is_word(code) ? 1 : ls__text_class(code) == LS__CLASS_SPACE ? 0 : 2;
}

static bool next_character(ls__matches *m, ls__span *match) {
  ls__pattern_kind kind = m->pattern->kind;
  for (int32_t code; m->at < m->length;) {
    size_t from = m->at;
    m->at += ls__utf8_next(m->text + from, m->length - from, &code);
    if (kind == LS__PATTERN_WORDS) {
      int word = word_kind(code);
      if (!word) continue;
      while (m->at < m->length) {
        size_t n = ls__utf8_next(m->text + m->at, m->length - m->at, &code);
        if (word_kind(code) != word) break;
        m->at += n;
      }
    } else if (!is_one(kind, code)) {
      continue;
    }
    *match = (ls__span){(uint32_t)from, (uint32_t)m->at};
    return true;
  }
  return false;
}

static bool next_piece(ls__matches *m, ls__span *match) {
  bool scripts = m->pattern->kind == LS__PATTERN_SCRIPTS;
  if (scripts && !m->at) m->at = ls__script_begin(m->text, m->length);
  size_t from = m->at;
  if (from >= m->length) return false;
  m->at = scripts ? ls__script_end(m->text, m->length, from) : ls__byte_level_cut(m->text, m->length, from);
  *match = (ls__span){(uint32_t)from, (uint32_t)m->at};
  return true;
}

ls_status ls__matches_next(ls__matches *m, ls__span *match, bool *found) {
  switch (m->pattern->kind) {
  case LS__PATTERN_REGEX: return next_regex(m, match, found);
  case LS__PATTERN_TEXT: *found = next_text(m, match); return LS_OK;
  case LS__PATTERN_GPT2:
  case LS__PATTERN_SCRIPTS: *found = next_piece(m, match); return LS_OK;
  default: *found = next_character(m, match); return LS_OK;
  }
}
