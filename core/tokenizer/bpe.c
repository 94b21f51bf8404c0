/* Byte pair encoding of a piece of text: the piece begins as one symbol for each character (or for each byte, where the vocabulary
   spells bytes as printable characters), and then neighbouring symbols are merged. */
#include <string.h>
#include "tokenizer/line.h"
#include "tokenizer/model.h"

static ls_status no_memory(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized"); }

/* ---- first symbols ------------------------------------------------------------------------------------------------- */

typedef struct speller {
  const ls__bpe *b;
  ls__symbol *out;
  size_t count;
  uint32_t unknown; /* the number of bytes of unknown text for which no unknown token is written yet */
} speller;

static void append_symbol(speller *s, int32_t id, size_t length) { s->out[s->count++] = (ls__symbol){id, (uint32_t)length}; }

static void append_unknown(speller *s) {
  if (s->unknown) append_symbol(s, s->b->unknown, s->unknown);
  s->unknown = 0;
}

static void add_unknown(speller *s, size_t length) {
  if (!s->b->fuse_unknown) append_unknown(s);
  s->unknown += (uint32_t)length;
}

static ls_status spell_bytes(speller *s, const char *piece, size_t length) {
  const ls__bpe *b = s->b;
  for (size_t i = 0; i < length; i++) {
    int32_t id = b->stand_in[(unsigned char)piece[i]];
    if (id < 0 && b->unknown < 0)
      return ls__fail(LS_ERROR_ARGUMENT, "the vocabulary has no token for the byte 0x%02X of this text, and it has no unknown token",
                      (unsigned char)piece[i]);
    if (id < 0) {
      add_unknown(s, 1);
      continue;
    }
    append_unknown(s);
    append_symbol(s, id, 1);
  }
  return LS_OK;
}

/* Finds the id of the token of a character, with the prefix or suffix that its place in the piece requires; -1 where there is none. */
static int32_t find(ls__bpe *b, const ls__vocab *v, const char *text, size_t length, bool first, bool last) {
  if ((first || !b->prefix.length) && (!last || !b->suffix.length)) return ls__vocab_find(v, text, length);
  b->spelled.length = 0; /* ls__bpe_encode has reserved enough room in b->spelled */
  if (!first) ls__text_add(&b->spelled, b->prefix.data, b->prefix.length);
  ls__text_add(&b->spelled, text, length);
  if (last) ls__text_add(&b->spelled, b->suffix.data, b->suffix.length);
  return ls__vocab_find(v, b->spelled.data, b->spelled.length);
}

static bool fall_back(speller *s, const char *text, size_t length) {
  const int32_t *byte = s->b->byte;
  for (size_t i = 0; i < length; i++)
    if (byte[(unsigned char)text[i]] < 0) return false;
  for (size_t i = 0; i < length; i++) append_symbol(s, byte[(unsigned char)text[i]], 1);
  return true;
}

static ls_status spell_characters(speller *s, ls__bpe *b, const ls__vocab *v, const char *piece, size_t length) {
  for (size_t at = 0, n; at < length; at += n) {
    int32_t code;
    n = ls__utf8_next(piece + at, length - at, &code);
    int32_t id = find(b, v, piece + at, n, !at, at + n == length);
    if (id >= 0) {
      append_unknown(s);
      append_symbol(s, id, n);
    } else if (!b->byte_fallback || !fall_back(s, piece + at, n)) {
      char shown[16];
      if (b->unknown < 0)
        return ls__fail(LS_ERROR_ARGUMENT, "the vocabulary has no token for the character \"%s\" of this text, and it has no unknown token",
                        ls__printable(piece + at, n, shown, sizeof shown));
      add_unknown(s, n);
    }
  }
  return LS_OK;
}

/* ---- the whole piece ----------------------------------------------------------------------------------------------- */

/* The id of the token that is the whole piece of text, -1 where there is none. */
static int32_t whole(ls__bpe *b, const ls__vocab *v, const char *piece, size_t length) {
  if (!b->bytes) return ls__vocab_find(v, piece, length);
  b->spelled.length = 0;
  if (!ls__text_reserve(&b->spelled, 2 * length)) return -1; /* out of memory: the caller then merges symbols, or fails too */
  for (size_t i = 0; i < length; i++)
    b->spelled.length += ls__byte_stand_in((unsigned char)piece[i], b->spelled.data + b->spelled.length);
  return ls__vocab_find(v, b->spelled.data, b->spelled.length);
}

ls_status ls__bpe_encode(ls__bpe *b, const ls__vocab *v, const char *piece, size_t length, ls__tokens *out) {
  int32_t one = b->whole_first ? whole(b, v, piece, length) : -1;
  if (one >= 0) return ls__tokens_add(out, one, 0, length);
  ls__symbol few[64];
  speller s = {.b = b, .out = few};
  b->spelled.length = b->symbols.length = 0;
  if (!ls__text_reserve(&b->spelled, b->prefix.length + b->suffix.length + 4)) return no_memory();
  if (length > sizeof few / sizeof *few) {
    if (!ls__text_reserve(&b->symbols, length * sizeof *few)) return no_memory();
    s.out = (ls__symbol *)(void *)b->symbols.data;
  }
  ls_status status = b->bytes ? spell_bytes(&s, piece, length) : spell_characters(&s, b, v, piece, length);
  if (status) return status;
  append_unknown(&s);
  size_t count = ls__merge_symbols(&b->merges, s.out, s.count, &b->work);
  if (count == SIZE_MAX || !ls__tokens_reserve(out, count)) return no_memory();
  uint32_t at = 0;
  for (size_t i = 0; i < count; i++) {
    out->data[out->count++] = (ls__piece_token){s.out[i].id, at, at + s.out[i].length};
    at += s.out[i].length;
  }
  return LS_OK;
}
