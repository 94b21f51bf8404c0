/* Text for the tokenizers: a strict reader of UTF-8, and the classes of characters that the patterns of tokenizers name. */
#include "tokenizer/text.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- UTF-8 --------------------------------------------------------------------------------------------------------- */

size_t ls__utf8_next(const char *text, size_t length, int32_t *code) {
  const unsigned char *s = (const unsigned char *)text;
  unsigned char c = s[0];
  *code = -1;
  if (c < 0x80) {
    *code = c;
    return 1;
  }
  if (c < 0xC2 || c > 0xF4) return 1;
  size_t need = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
  /* Bounds of the second byte. They refuse UTF-8 that is longer than needed, surrogates, and characters beyond U+10FFFF. */
  unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
  int32_t value = c & (0x7F >> need);
  for (size_t i = 1; i < need; i++) {
    if (i >= length || s[i] < low || s[i] > high) return i;
    value = value << 6 | (s[i] & 0x3F);
    low = 0x80, high = 0xBF;
  }
  *code = value;
  return need;
}

size_t ls__utf8_put(int32_t code, char out[4]) {
  if (code < 0x80) return (void)(out[0] = (char)code), 1;
  size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3F));
  out[0] = (char)((0xF00 >> n & 0xFF) | code);
  return n;
}

size_t ls__utf8_valid(const char *text, size_t length) {
  size_t at = 0;
  while (at < length) {
    if (length - at >= 8) {
      uint64_t eight;
      memcpy(&eight, text + at, 8);
      if (!(eight & 0x8080808080808080u)) {
        at += 8;
        continue;
      }
    }
    unsigned char c = (unsigned char)text[at];
    if (c < 0x80) {
      at++;
      continue;
    }
    if (c >= 0xC2 && c < 0xE0 && length - at >= 2 && ((unsigned char)text[at + 1] & 0xC0) == 0x80) {
      at += 2;
      continue;
    }
    int32_t code;
    size_t n = ls__utf8_next(text + at, length - at, &code);
    if (code < 0) return at;
    at += n;
  }
  return at;
}

/* ---- classes ------------------------------------------------------------------------------------------------------- */

static bool is_space(int32_t c) {
  if (c < 0x1680) return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0;
  return c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

/* Letters and numbers that came with Unicode 15.1 and 16, which versions of utf8proc before 2.10 do not know. With this table a text has
   the same tokens with every version of utf8proc. */
static const struct { int32_t from, to; ls__class kind; } newer[] = {
  {0x1C89, 0x1C8A, LS__CLASS_LETTER}, {0xA7CB, 0xA7CD, LS__CLASS_LETTER}, {0xA7DA, 0xA7DC, LS__CLASS_LETTER},
  {0x105C0, 0x105F3, LS__CLASS_LETTER}, {0x10D40, 0x10D49, LS__CLASS_NUMBER}, {0x10D4A, 0x10D65, LS__CLASS_LETTER},
  {0x10D6F, 0x10D85, LS__CLASS_LETTER}, {0x10EC2, 0x10EC4, LS__CLASS_LETTER}, {0x11380, 0x11389, LS__CLASS_LETTER},
  {0x1138B, 0x1138B, LS__CLASS_LETTER}, {0x1138E, 0x1138E, LS__CLASS_LETTER}, {0x11390, 0x113B5, LS__CLASS_LETTER},
  {0x113B7, 0x113B7, LS__CLASS_LETTER}, {0x113D1, 0x113D1, LS__CLASS_LETTER}, {0x113D3, 0x113D3, LS__CLASS_LETTER},
  {0x116D0, 0x116E3, LS__CLASS_NUMBER}, {0x11BC0, 0x11BE0, LS__CLASS_LETTER}, {0x11BF0, 0x11BF9, LS__CLASS_NUMBER},
  {0x13460, 0x143FA, LS__CLASS_LETTER}, {0x16100, 0x1611D, LS__CLASS_LETTER}, {0x16130, 0x16139, LS__CLASS_NUMBER},
  {0x16D40, 0x16D6C, LS__CLASS_LETTER}, {0x16D70, 0x16D79, LS__CLASS_NUMBER}, {0x18CFF, 0x18CFF, LS__CLASS_LETTER},
  {0x1CCF0, 0x1CCF9, LS__CLASS_NUMBER}, {0x1E5D0, 0x1E5ED, LS__CLASS_LETTER}, {0x1E5F0, 0x1E5F0, LS__CLASS_LETTER},
  {0x1E5F1, 0x1E5FA, LS__CLASS_NUMBER}, {0x2EBF0, 0x2EE5D, LS__CLASS_LETTER},
};

static ls__class newer_class(int32_t code) {
  size_t low = 0, high = sizeof newer / sizeof *newer;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (newer[middle].to < code) low = middle + 1;
    else high = middle;
  }
  return low < sizeof newer / sizeof *newer && newer[low].from <= code ? newer[low].kind : LS__CLASS_OTHER;
}

ls__class ls__text_class(int32_t code) {
  if (code < 0x80) {
    if ((code | 0x20) >= 'a' && (code | 0x20) <= 'z') return LS__CLASS_LETTER;
    if (code >= '0' && code <= '9') return LS__CLASS_NUMBER;
    return is_space(code) ? LS__CLASS_SPACE : LS__CLASS_OTHER;
  }
  utf8proc_category_t category = utf8proc_category(code);
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return LS__CLASS_LETTER;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return LS__CLASS_NUMBER;
  if (category == UTF8PROC_CATEGORY_CN) return newer_class(code);
  return is_space(code) ? LS__CLASS_SPACE : LS__CLASS_OTHER;
}

bool ls__text_is_word(int32_t code) {
  utf8proc_category_t category = utf8proc_category(code);
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) return true; /* LU to NL: letters, marks, digits, numerals */
  if (category == UTF8PROC_CATEGORY_CN) return newer_class(code) != LS__CLASS_OTHER;
  return category == UTF8PROC_CATEGORY_PC || code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
         (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
         (code >= 0x1F170 && code <= 0x1F189);
}

/* ---- a text that grows --------------------------------------------------------------------------------------------- */

void *ls__reserve(void *data, size_t *room, size_t count, size_t more, size_t size) {
  if (data && more <= *room - count) return data;
  if (more > SIZE_MAX / 64 || count > SIZE_MAX / 64) return NULL;
  size_t wanted = *room * 2 > count + more ? *room * 2 : count + more + 64 / size;
  void *larger = wanted > SIZE_MAX / 64 ? NULL : realloc(data, (wanted ? wanted : 1) * size);
  if (larger) *room = wanted;
  return larger;
}

bool ls__text_reserve(ls__text *t, size_t more) {
  char *data = ls__reserve(t->data, &t->room, t->length, more, 1);
  if (data) t->data = data;
  return data;
}

bool ls__text_add(ls__text *t, const char *text, size_t length) {
  if (!ls__text_reserve(t, length)) return false;
  if (length) memcpy(t->data + t->length, text, length);
  t->length += length;
  return true;
}

bool ls__text_add_replaced(ls__text *t, const char *text, size_t length) {
  for (size_t at = 0; at < length;) {
    size_t good = ls__utf8_valid(text + at, length - at);
    if (!ls__text_add(t, text + at, good)) return false;
    at += good;
    if (at == length) break;
    int32_t code;
    at += ls__utf8_next(text + at, length - at, &code);
    if (!ls__text_add(t, "\xEF\xBF\xBD", 3)) return false;
  }
  return true;
}
