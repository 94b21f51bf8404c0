/* Encodes a text: makes its tokens with their places in the text, and adds the special tokens around them. */
#include <string.h>
#include "tokenizer/tokenizer.h"

enum { LONGEST_TEXT = 268435456 }; /* in bytes; even if each byte becomes U+FFFD (3 bytes), the size fits in 32 bits */

static ls_status no_memory(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory while a text is tokenized"); }

/* The state of a text that is being encoded. */
typedef struct way {
  ls_tokenizer *t;
  ls__found *found;
  const char *text;
  size_t length;
  const uint32_t *character; /* for each byte of the text the index of its character; NULL where each character is one byte */
  int16_t which;
  bool places, tracked, trims;
  int32_t word;
} way;

/* ---- tokens found -------------------------------------------------------------------------------------------------- */

static uint32_t character_at(const way *w, uint32_t byte) { return w->character ? w->character[byte] : byte; }

static bool is_blank(int32_t code) { return code == 0x120 || ls__text_class(code) == LS__CLASS_SPACE; } /* U+0120 stands for a space */

static ls__span blanks(const char *text, size_t length) {
  ls__span n = {0, 0};
  bool leading = true;
  for (size_t at = 0; at < length;) {
    int32_t code;
    at += ls__utf8_next(text + at, length - at, &code);
    bool blank = is_blank(code);
    n.from += leading && blank;
    leading &= blank;
    n.to = blank ? n.to + 1 : 0;
  }
  return n;
}

/* Adds a token. `origin` is the place of the token in bytes of the text, `trim` the number of white-space characters at its beginning and
   at its end. */
static ls_status append(way *w, int32_t id, ls__span origin, ls__span trim) {
  ls__found *f = w->found;
  ls_token *token = ls__reserve(f->token, &f->room, f->count, 1, sizeof *token);
  if (!token) return no_memory();
  f->token = token;
  token[f->count++] = (ls_token){.id = id, .word = w->word, .type = w->which, .text = w->which};
  if (!w->places) return LS_OK;
  token[f->count - 1].from = (int32_t)character_at(w, origin.from);
  token[f->count - 1].to = (int32_t)character_at(w, origin.to);
  return !w->trims || ls__spans_add(&f->trim, trim.from, trim.to) ? LS_OK : no_memory();
}

/* The place in the original text, in bytes, from which the bytes [from, to) of a line come. */
static ls__span origin_of(const ls__line *line, size_t from, size_t to) {
  if (!line->tracked) return (ls__span){0, 0};
  const ls__span *origin = line->origin.data;
  if (from < to) return (ls__span){origin[from].from, origin[to - 1].to};
  return (ls__span){origin[from].from, origin[from].from};
}

/* ---- the stages ---------------------------------------------------------------------------------------------------- */

static ls_status encode_pieces(way *w) {
  ls_tokenizer *t = w->t;
  for (size_t i = 0; i < t->pieces.count; i++, w->word++) {
    ls__span piece = t->pieces.data[i];
    t->tokens.count = 0;
    ls_status status = ls__model_encode(&t->model, t->cut.text.data + piece.from, piece.to - piece.from, &t->tokens);
    for (size_t k = 0; !status && k < t->tokens.count; k++) {
      const ls__piece_token *token = &t->tokens.data[k];
      ls__span origin = {0, 0}, trim = {0, 0};
      if (w->places) origin = origin_of(&t->cut, piece.from + token->from, piece.from + token->to);
      if (w->trims) {
        size_t length;
        const char *text = ls__vocab_token(&t->vocab, token->id, &length);
        trim = blanks(text, length);
      }
      status = append(w, token->id, origin, trim);
    }
    if (status) return status;
  }
  return LS_OK;
}

/* Encodes the bytes [from, to) of the normalized text t->line, a stretch without added tokens. */
static ls_status encode_plain(way *w, size_t from, size_t to) {
  ls_tokenizer *t = w->t;
  ls__line_clear(&t->cut, w->tracked);
  ls__rewriter copy = {.in = &t->line, .out = &t->cut, .at = from, .end = to};
  ls__rewrite_copy(&copy, to);
  t->pieces.count = 0;
  if (copy.no_memory || !ls__spans_add(&t->pieces, 0, to - from)) return no_memory();
  ls_status status = ls__pre_run(&t->pre, &t->cut, &t->work, &t->pieces, &t->spare);
  return status ? status : encode_pieces(w);
}

/* Encodes the bytes [from, to) of the text, which are free of the added tokens that are searched for before the normalizer runs. */
static ls_status encode_stretch(way *w, size_t from, size_t to) {
  ls_tokenizer *t = w->t;
  ls__line_clear(&t->line, w->tracked);
  if (!ls__line_add(&t->line, w->text + from, to - from, from)) return no_memory();
  ls_status status = ls__normalize(&t->normalizers, &t->line, &t->work);
  ls__added_search search = {.set = &t->added.normalized, .text = t->line.text.data, .length = t->line.text.length};
  if (!status && search.length > UINT32_MAX / 2) return no_memory();
  for (ls__stretch s; !status && ls__added_next(&search, &s);) {
    if (s.id < 0) {
      status = encode_plain(w, s.from, s.to);
      continue;
    }
    status = append(w, s.id, origin_of(&t->line, s.from, s.to), blanks(search.text + s.from, s.to - s.from));
    w->word++;
  }
  return status;
}

static ls_status encode_text(way *w) {
  ls__added_search search = {.set = &w->t->added.raw, .text = w->text, .length = w->length};
  ls_status status = LS_OK;
  for (ls__stretch s; !status && ls__added_next(&search, &s);) {
    if (s.id < 0) {
      status = encode_stretch(w, s.from, s.to);
      continue;
    }
    status = append(w, s.id, (ls__span){(uint32_t)s.from, (uint32_t)s.to}, blanks(w->text + s.from, s.to - s.from));
    w->word++;
  }
  return status;
}

/* ---- before and after ---------------------------------------------------------------------------------------------- */

/* Makes w->character: for each byte of the text the index of the character to which the byte belongs. */
static ls_status number(way *w) {
  ls__text *numbers = &w->t->characters;
  bool ascii = true;
  for (size_t i = 0; ascii && i < w->length; i++) ascii = (unsigned char)w->text[i] < 128;
  if (ascii) return LS_OK;
  numbers->length = 0;
  if (!ls__text_reserve(numbers, (w->length + 1) * sizeof(uint32_t))) return no_memory();
  uint32_t *to = (uint32_t *)(void *)numbers->data, n = 0;
  for (size_t i = 0; i < w->length; i++) {
    n += i && ((unsigned char)w->text[i] & 0xC0) != 0x80;
    to[i] = n;
  }
  to[w->length] = n + 1;
  w->character = to;
  return LS_OK;
}

static ls_status encode_one(ls_tokenizer *t, const char *text, size_t length, const ls_encoding *how, int16_t which) {
  if (length > LONGEST_TEXT)
    return ls__fail(LS_ERROR_ARGUMENT, "a text of %zu bytes is too long to tokenize at once: give it in parts", length);
  if (ls__utf8_valid(text, length) != length) {
    t->clean.length = 0;
    if (!ls__text_add_replaced(&t->clean, text, length)) return no_memory();
    text = t->clean.data;
    length = t->clean.length;
  }
  way w = {.t = t, .found = &t->text_found[which], .text = text, .length = length, .which = which, .places = how->places};
  w.tracked = w.places || t->pre.needs_origin;
  w.trims = w.places && t->post.trims;
  w.found->count = w.found->trim.count = 0;
  ls_status status = w.places ? number(&w) : LS_OK;
  return status ? status : encode_text(&w);
}

static void keep(ls__found *f, size_t count, bool cut_left) {
  if (count >= f->count) return;
  size_t from = cut_left ? f->count - count : 0;
  memmove(f->token, f->token + from, count * sizeof *f->token);
  if (f->trim.count == f->count) {
    memmove(f->trim.data, f->trim.data + from, count * sizeof *f->trim.data);
    f->trim.count = count;
  }
  f->count = count;
}

static size_t specials(const ls__post_items *items) {
  size_t n = 0;
  for (size_t i = 0; i < items->count; i++) n += items->item[i].id >= 0;
  return n;
}

/* Drops tokens of the one or two texts, so that these tokens and `around` special tokens are together at most how->limit tokens. With
   LS_CUT_LONGEST the longer text loses tokens until both texts have equally many, then both lose tokens. */
static ls_status cut(ls_tokenizer *t, const ls_encoding *how, size_t around) {
  ls__found *a = &t->text_found[0], *b = how->pair ? &t->text_found[1] : NULL;
  size_t limit = (size_t)how->limit, first = a->count, second = b ? b->count : 0;
  if (around > limit)
    return ls__fail(LS_ERROR_ARGUMENT, "max_length %zu is too short: the special tokens alone are %zu tokens", limit, around);
  limit -= around;
  if (first + second <= limit) return LS_OK;
  if (b && how->cut == LS_CUT_LONGEST) {
    size_t shorter = first < second ? first : second, longer = limit > 2 * shorter ? limit - shorter : shorter;
    if (shorter + longer > limit) {
      shorter = limit / 2;
      longer = shorter + limit % 2;
    }
    bool swap = first > second;
    first = swap ? longer : shorter;
    second = swap ? shorter : longer;
  } else if (b && how->cut == LS_CUT_SECOND) {
    if (first >= limit)
      return ls__fail(LS_ERROR_ARGUMENT, "max_length is too short for the first text's %zu tokens; only the second may be cut", first);
    second = limit - first;
  } else {
    if (second && second >= limit)
      return ls__fail(LS_ERROR_ARGUMENT, "max_length is too short for the second text's %zu tokens; only the first may be cut", second);
    first = limit - second;
  }
  keep(a, first, how->cut_left);
  if (b) keep(b, second, how->cut_left);
  return LS_OK;
}

/* Takes the white space at the ends of tokens out of their places in the text. If `keeps_first`, a token at the beginning of the text
   keeps one character of the white space in front. */
static void trim(ls__found *f, bool keeps_first) {
  for (size_t i = 0; i < f->trim.count; i++) {
    ls_token *token = &f->token[i];
    int32_t before = (int32_t)f->trim.data[i].from, after = (int32_t)f->trim.data[i].to;
    if (before && keeps_first && (!i || !token->from)) before--;
    if (before) token->from = token->from + before < token->to ? token->from + before : token->to;
    if (after && token->to >= after) token->to = token->to - after > token->from ? token->to - after : token->from;
  }
}

static bool add_found(ls__found *out, const ls__found *text, int32_t type) {
  ls_token *token = ls__reserve(out->token, &out->room, out->count, text->count, sizeof *token);
  if (!token) return false;
  out->token = token;
  if (text->count) memcpy(token + out->count, text->token, text->count * sizeof *token);
  for (size_t i = 0; type >= 0 && i < text->count; i++) token[out->count + i].type = (int16_t)type;
  out->count += text->count;
  return true;
}

static bool assemble(ls_tokenizer *t, const ls_encoding *how, const ls__post_items *items) {
  ls__found *out = &t->found;
  out->count = 0;
  if (!items->count) return add_found(out, &t->text_found[0], -1) && (!how->pair || add_found(out, &t->text_found[1], -1));
  for (size_t i = 0; i < items->count; i++) {
    const ls__post_item *item = &items->item[i];
    if (item->id < 0) {
      if (!add_found(out, &t->text_found[item->id == LS__SECOND_TEXT], item->type)) return false;
    } else if (how->special) {
      ls_token special = {.id = item->id, .word = -1, .type = (int16_t)item->type, .text = -1};
      ls__found one = {.token = &special, .count = 1};
      if (!add_found(out, &one, -1)) return false;
    }
  }
  return true;
}

ls_status ls_tokenizer_encode(ls_tokenizer *t, const char *text, size_t length, const ls_encoding *how, const ls_token **tokens,
                              int32_t *count) {
  LS__NEED(t && text && length <= INT32_MAX && how && tokens && count);
  LS__NEED(how->limit >= 0 && how->cut >= LS_CUT_LONGEST && how->cut <= LS_CUT_SECOND && how->pair_length <= INT32_MAX);
  const ls__post_items *items = how->pair ? &t->post.pair : &t->post.single;
  ls_status status = encode_one(t, text, length, how, 0);
  if (!status && how->pair) status = encode_one(t, how->pair, how->pair_length, how, 1);
  if (!status && how->limit > 0) status = cut(t, how, how->special ? specials(items) : 0);
  if (status) return status;
  for (int i = 0; how->places && i <= (how->pair != NULL); i++) trim(&t->text_found[i], t->post.keeps_first);
  if (items->count || how->pair) {
    if (!assemble(t, how, items)) return no_memory();
    *tokens = t->found.token;
    *count = (int32_t)t->found.count;
    return LS_OK;
  }
  *tokens = t->text_found[0].token;
  *count = (int32_t)t->text_found[0].count;
  return LS_OK;
}
