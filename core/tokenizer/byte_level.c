/* The byte level of a vocabulary: each of the 256 bytes has a printable character that stands for it, so that any text can be spelled in
   characters of the vocabulary. Also the pattern by which GPT-2 cuts a text into pieces. */
#include <string.h>
#include "tokenizer/line.h"

ls_status ls__byte_level_read(const ls__part *part, const json_t *section, bool *prefix, bool *regex) {
  static const char *const names[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
  ls_status status = ls__part_allow(part, section, names);
  if (!status) status = ls__part_bool(part, section, "add_prefix_space", true, prefix);
  return status ? status : ls__part_bool(part, section, "use_regex", true, regex);
}

/* ---- stand-ins ----------------------------------------------------------------------------------------------------- */

/* The character that stands for a byte. A byte that is printable in Latin-1 stands for itself; the other 68 (0x00-0x20, 0x7F-0xA0, 0xAD)
   take the characters from U+0100 on, in order. */
static int32_t stand_in(unsigned char byte) {
  if (byte <= 0x20) return 0x100 + byte;
  if (byte >= 0x7F && byte <= 0xA0) return 0x121 + (byte - 0x7F);
  return byte == 0xAD ? 0x143 : byte;
}

static int32_t stood_for(int32_t code) {
  if (code >= 0x100 && code <= 0x120) return code - 0x100;
  if (code >= 0x121 && code <= 0x142) return code - 0x121 + 0x7F;
  if (code == 0x143) return 0xAD;
  return code <= 0xFF && stand_in((unsigned char)code) == code ? code : -1;
}

size_t ls__byte_stand_in(unsigned char byte, char out[2]) {
  int32_t code = stand_in(byte);
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  out[0] = (char)(0xC0 | code >> 6);
  out[1] = (char)(0x80 | (code & 0x3F));
  return 2;
}

bool ls__byte_level_decode(const char *token, size_t length, ls__text *out) {
  if (!ls__text_reserve(out, length)) return false;
  size_t start = out->length;
  for (size_t at = 0; at < length;) {
    int32_t code, byte;
    at += ls__utf8_next(token + at, length - at, &code);
    byte = code < 0 ? -1 : stood_for(code);
    if (byte < 0) {
      out->length = start;
      return ls__text_add(out, token, length);
    }
    out->data[out->length++] = (char)byte;
  }
  return true;
}

/* ---- GPT-2's pattern ----------------------------------------------------------------------------------------------- */

/* The length of the contraction ('s 't 're 've 'm 'll 'd) whose apostrophe is at byte `at`; 0 where there is none. */
static size_t contraction(const char *text, size_t length, size_t at) {
  if (at + 1 >= length) return 0;
  char a = text[at + 1], b = at + 2 < length ? text[at + 2] : 0;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

static size_t run_end(const char *text, size_t length, size_t at, ls__class kind) {
  while (at < length) {
    int32_t code;
    size_t n = ls__utf8_next(text + at, length - at, &code);
    if (ls__text_class(code) != kind) break;
    at += n;
  }
  return at;
}

/* The end of the piece that begins at `at`, by GPT-2's pattern:
   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
size_t ls__byte_level_cut(const char *text, size_t length, size_t at) {
  int32_t code;
  size_t n = ls__utf8_next(text + at, length - at, &code);
  ls__class kind = ls__text_class(code);
  if (code == '\'') {
    size_t found = contraction(text, length, at);
    if (found) return at + found;
  }
  if (kind != LS__CLASS_SPACE) return run_end(text, length, at + n, kind);
  if (code == ' ' && at + 1 < length) {
    n = ls__utf8_next(text + at + 1, length - at - 1, &code);
    kind = ls__text_class(code);
    if (kind != LS__CLASS_SPACE) return run_end(text, length, at + 1 + n, kind);
  }
  /* A run of white space before other text leaves its last character to the next piece, unless the run is only one character. */
  size_t end = run_end(text, length, at, LS__CLASS_SPACE), last = end - 1;
  if (end == length) return end;
  while (((unsigned char)text[last] & 0xC0) == 0x80) last--;
  return last > at ? last : end;
}
