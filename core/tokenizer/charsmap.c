/* The normalizer "Precompiled": the character map of a SentencePiece model. The map is a trie, stored as a double array of 32-bit units,
   and the replacement texts to which the leaves of the trie point. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "tokenizer/line.h"

/* ---- the trie ------------------------------------------------------------------------------------------------------ */

static size_t offset_of(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & 0x200) >> 6); }

/* The replacement of the shortest beginning of a text that is in the trie of the map; NULL where no beginning is in the trie. */
static const char *find(const ls__charsmap *m, const char *text, size_t length) {
  size_t at = 0;
  if (!m->units) return NULL;
  at ^= offset_of(m->unit[0]);
  for (size_t i = 0; i < length && text[i]; i++) {
    unsigned char byte = (unsigned char)text[i];
    at ^= byte;
    if (at >= m->units || (m->unit[at] & 0x800000FFu) != byte) return NULL;
    uint32_t unit = m->unit[at];
    at ^= offset_of(unit);
    if (!(unit & 0x100)) continue;
    uint32_t value = at < m->units ? m->unit[at] & 0x7FFFFFFF : UINT32_MAX;
    return value < m->length ? m->text + value : NULL;
  }
  return NULL;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static int32_t digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes a base64 text into `out` and returns the number of bytes; SIZE_MAX where the text is not base64. */
static size_t decode(const char *text, size_t length, unsigned char *out) {
  size_t n = 0;
  uint32_t bits = 0;
  int have = 0;
  while (length && text[length - 1] == '=') length--;
  for (size_t i = 0; i < length; i++) {
    int32_t d = digit(text[i]);
    if (d < 0) return SIZE_MAX;
    bits = bits << 6 | (uint32_t)d;
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out[n++] = (unsigned char)(bits >> have);
  }
  return n;
}

static uint32_t little_endian(const unsigned char *b) {
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static ls_status fill(ls__charsmap *m, const ls__part *part, const unsigned char *bytes, size_t length) {
  size_t trie = length >= 4 ? little_endian(bytes) : SIZE_MAX;
  if (trie == SIZE_MAX || trie > length - 4 || trie % 4) return ls__part_fail(part, "the text \"precompiled_charsmap\" is cut short");
  m->unit = malloc(trie + 4);
  m->length = length - 4 - trie;
  m->text = malloc(m->length + 1);
  if (!m->unit || !m->text) return ls__part_memory(part);
  m->units = trie / 4;
  for (size_t i = 0; i < m->units; i++) m->unit[i] = little_endian(bytes + 4 + 4 * i);
  memcpy(m->text, bytes + 4 + trie, m->length);
  m->text[m->length] = 0;
  if (ls__utf8_valid(m->text, m->length) != m->length) return ls__part_fail(part, "\"precompiled_charsmap\" has texts that are not UTF-8");
  for (int c = 0; c < 128; c++) {
    char one = (char)c;
    m->plain[c] = c != '\r' && !find(m, &one, 1); /* '\r' is not plain, since "\r\n" is looked up as one text */
  }
  return LS_OK;
}

ls_status ls__charsmap_read(ls__charsmap *m, const ls__part *part, const char *base64, size_t length) {
  if (!length) { /* an empty character map changes no text */
    memset(m->plain, 1, sizeof m->plain);
    return LS_OK;
  }
  unsigned char *bytes = malloc(length);
  if (!bytes) return ls__part_memory(part);
  size_t n = decode(base64, length, bytes);
  ls_status status = n == SIZE_MAX ? ls__part_fail(part, "the text \"precompiled_charsmap\" is not base64") : fill(m, part, bytes, n);
  free(bytes);
  return status;
}

void ls__charsmap_free(ls__charsmap *m) {
  free(m->unit);
  free(m->text);
}

/* ---- rewriting ----------------------------------------------------------------------------------------------------- */

static size_t characters(const char *text, size_t length) {
  size_t n = 0;
  for (size_t i = 0; i < length; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
  return n;
}

/* Writes the normalized text. The writer holds each character back until the next one is put. If the map deletes the characters of the
   input in between, the held character counts as the replacement of these too. */
typedef struct writer {
  ls__rewriter *r;
  int32_t code, change; /* the held character, or -1; 1 minus the number of input characters that it replaces */
} writer;

static void flush(writer *w) {
  if (w->code < 0) return;
  ls__rewrite_put(w->r, w->code, w->change > 0);
  if (w->change < 0) ls__rewrite_lose(w->r, (size_t)-w->change);
  w->code = -1;
}

static void put(writer *w, int32_t code, int32_t change) {
  flush(w);
  w->code = code;
  w->change = change;
}

/* Writes `with` in place of the `size` bytes at `text`: each character of `with` replaces one character of `text`. If `with` is longer, its
   last characters are additional; if `text` is longer, its last characters are left out. If the map deletes the first characters of the
   input, the text that follows gets their place in the original text as its origin, as in Hugging Face's tokenizers. */
static void replace(writer *w, const char *text, size_t size, const char *with) {
  size_t length = strlen(with), old = characters(text, size), new = characters(with, length), i = 0;
  for (size_t at = 0; at < length; i++) {
    int32_t code;
    at += ls__utf8_next(with + at, length - at, &code);
    put(w, code, i >= old);
  }
  if (old <= new) return;
  if (w->code >= 0) w->change -= (int32_t)(old - new);
  else ls__rewrite_lose(w->r, old - new);
}

static size_t cluster_end(const char *text, size_t length, size_t at) {
  utf8proc_int32_t state = 0, code, next;
  size_t n = ls__utf8_next(text + at, length - at, &code);
  for (at += n; at < length; at += n, code = next) {
    n = ls__utf8_next(text + at, length - at, &next);
    if (utf8proc_grapheme_break_stateful(code, next, &state)) break;
  }
  return at;
}

/* Normalizes a text by the character map. Clusters of characters (graphemes) of up to 5 bytes are looked up as a whole, as SentencePiece
   does. The input is read up to byte `read`, and the written text replaces the input up to byte r->at. With no character held back, the two
   are equal, unless the map has deleted the first characters of the input. */
void ls__charsmap_rewrite(const ls__charsmap *m, ls__rewriter *r) {
  const char *text = r->in->text.data;
  size_t read = r->at, end = r->end;
  writer w = {r, -1, 0};
  while (read < end) {
    size_t run = read;
    while (run < end && (unsigned char)text[run] < 128 && m->plain[(unsigned char)text[run]]) run++;
    /* The last ASCII character of the run may form a cluster with the character that follows, so the two are looked up together. */
    if (run < end && run > read && (unsigned char)text[run] >= 128) run--;
    if (run > read) flush(&w);
    if (run > read && r->at == read) {
      ls__rewrite_copy(r, run);
      read = run;
      continue;
    }
    size_t to = cluster_end(text, end, read);
    const char *with = to - read < 6 ? find(m, text + read, to - read) : NULL;
    if (with) {
      replace(&w, text + read, to - read, with);
      read = to;
      continue;
    }
    while (read < to) {
      int32_t code;
      size_t n = ls__utf8_next(text + read, to - read, &code);
      with = find(m, text + read, n);
      if (with) replace(&w, text + read, n, with);
      else put(&w, code, 0);
      read += n;
    }
  }
  flush(&w);
}
