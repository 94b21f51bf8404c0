/* Decoders, which turn tokens into a text. Each stage turns a list of texts into a list of texts; the last list is joined to one text. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/tokenizer.h"

enum { BYTE_LEVEL, REPLACE, WORD_PIECE, BYTE_FALLBACK, FUSE, STRIP, METASPACE, SUFFIX, CTC, KINDS };

static ls_status no_memory(void) { return ls__fail(LS_ERROR_MEMORY, "out of memory while token ids are decoded"); }

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static ls_status read_text(ls__text *out, const ls__part *part, const json_t *section, const char *name) {
  const char *text;
  size_t length;
  ls_status status = ls__part_string(part, section, name, &text, &length);
  if (!status && !ls__text_add(out, text, length)) status = ls__part_memory(part);
  return status;
}

static ls_status read_metaspace(ls__decoder_stage *s, const ls__part *part, const json_t *section) {
  ls__metaspace m;
  ls_status status = ls__metaspace_read(&m, part, section);
  if (status) return status;
  s->clean = m.scheme != LS__NEVER;
  return ls__text_add(&s->text, m.sign, strlen(m.sign)) ? LS_OK : ls__part_memory(part);
}

static ls_status read_settings(ls__decoder_stage *s, const ls__part *part, const json_t *section) {
  ls_status status = LS_OK;
  switch (s->kind) {
  case REPLACE:
    status = ls__pattern_read(&s->pattern, part, json_object_get(section, "pattern"));
    return status ? status : read_text(&s->text, part, section, "content");
  case WORD_PIECE:
    status = read_text(&s->text, part, section, "prefix");
    return status ? status : ls__part_bool(part, section, "cleanup", true, &s->clean);
  case STRIP:
    status = read_text(&s->text, part, section, "content");
    if (!status) status = ls__part_integer(part, section, "start", 0, 0, &s->start);
    return status ? status : ls__part_integer(part, section, "stop", 0, 0, &s->stop);
  case METASPACE: return read_metaspace(s, part, section);
  case SUFFIX: return read_text(&s->text, part, section, "suffix");
  case CTC:
    status = read_text(&s->text, part, section, "pad_token");
    if (!status) status = read_text(&s->other, part, section, "word_delimiter_token");
    return status ? status : ls__part_bool(part, section, "cleanup", true, &s->clean);
  default: return LS_OK;
  }
}

static ls_status read_stage(void *context, const ls__part *part, const json_t *section) {
  static const struct { const char *type, *names[7]; } kinds[KINDS] = {
    [BYTE_LEVEL] = {"ByteLevel", {"type", "add_prefix_space", "trim_offsets", "use_regex"}},
    [REPLACE] = {"Replace", {"type", "pattern", "content"}},
    [WORD_PIECE] = {"WordPiece", {"type", "prefix", "cleanup"}},
    [BYTE_FALLBACK] = {"ByteFallback", {"type"}},
    [FUSE] = {"Fuse", {"type"}},
    [STRIP] = {"Strip", {"type", "content", "start", "stop"}},
    [METASPACE] = {"Metaspace", {"type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split"}},
    [SUFFIX] = {"BPEDecoder", {"type", "suffix"}},
    [CTC] = {"CTC", {"type", "pad_token", "word_delimiter_token", "cleanup"}},
  };
  ls__decoder *d = context;
  const char *type = ls__part_type(section);
  int32_t kind = 0;
  while (kind < KINDS && !(type && !strcmp(type, kinds[kind].type))) kind++;
  if (kind == KINDS) return ls__part_refuse(part, section);
  ls_status status = ls__part_allow(part, section, kinds[kind].names);
  if (status) return status;
  ls__decoder_stage *stage = ls__reserve(d->stage, &d->room, d->count, 1, sizeof *stage);
  if (!stage) return ls__part_memory(part);
  d->stage = stage;
  stage = memset(&stage[d->count++], 0, sizeof *stage);
  stage->kind = kind;
  return read_settings(stage, part, section);
}

ls_status ls__decoder_read(ls__decoder *d, const ls__part *part) { return ls__part_stages(part, "decoders", read_stage, d); }

static void free_texts(ls__texts *t) {
  free(t->text.data);
  free(t->at.data);
}

void ls__decoder_free(ls__decoder *d) {
  for (size_t i = 0; i < d->count; i++) {
    ls__pattern_free(&d->stage[i].pattern);
    free(d->stage[i].text.data);
    free(d->stage[i].other.data);
  }
  free(d->stage);
  free_texts(&d->texts);
  free_texts(&d->work);
}

/* ---- lists of texts ------------------------------------------------------------------------------------------------ */

bool ls__texts_add(ls__texts *t, const char *text, size_t length) {
  size_t from = t->text.length;
  return from + length < UINT32_MAX && ls__text_add(&t->text, text, length) && ls__spans_add(&t->at, from, from + length);
}

/* Adds a text to the list: the bytes of t->text from byte `from` on, which the caller has appended there. */
static bool end_text(ls__texts *t, size_t from) {
  return t->text.length < UINT32_MAX && ls__spans_add(&t->at, from, t->text.length);
}

typedef struct word {
  const char *text;
  size_t length;
} word;

static word word_at(const ls__texts *t, size_t i) {
  return (word){t->text.data + t->at.data[i].from, t->at.data[i].to - t->at.data[i].from};
}

/* ---- one text after the other -------------------------------------------------------------------------------------- */

/* Appends to `out` a copy of a text in which every `what` is replaced by `with`. */
static bool add_replaced(ls__text *out, const char *text, size_t length, const char *what, size_t size, const char *with,
                         size_t with_size) {
  size_t done = 0;
  for (size_t at = 0; size && at + size <= length;) {
    if (memcmp(text + at, what, size)) {
      at++;
      continue;
    }
    if (!ls__text_add(out, text + done, at - done) || !ls__text_add(out, with, with_size)) return false;
    done = at += size;
  }
  return ls__text_add(out, text + done, length - done);
}

/* Removes spaces that English does not write, as in front of a comma, in the same order of replacements as the library transformers. */
static bool clean_up(ls__text *text, size_t from, ls__text *work) {
  static const char *const pairs[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    size_t length = text->length - from, size = strlen(pairs[i][0]);
    if (length < size) continue;
    work->length = 0;
    if (!add_replaced(work, text->data + from, length, pairs[i][0], size, pairs[i][1], strlen(pairs[i][1]))) return false;
    text->length = from;
    if (!ls__text_add(text, work->data, work->length)) return false;
  }
  return true;
}

static ls_status replace(const ls__decoder_stage *s, word w, ls__text *out) {
  ls__matches m = {.pattern = &s->pattern, .text = w.text, .length = w.length, .last = SIZE_MAX};
  size_t done = 0;
  for (;;) {
    ls__span match;
    bool found;
    ls_status status = ls__matches_next(&m, &match, &found);
    if (status) return status;
    if (!found) break;
    if (!ls__text_add(out, w.text + done, match.from - done) || !ls__text_add(out, s->text.data, s->text.length)) return no_memory();
    done = match.to;
  }
  return ls__text_add(out, w.text + done, w.length - done) ? LS_OK : no_memory();
}

static bool strip(const ls__decoder_stage *s, word w, ls__text *out) {
  size_t n = s->text.length;
  for (int64_t i = 0; n && i < s->start && w.length >= n && !memcmp(w.text, s->text.data, n); i++) w.text += n, w.length -= n;
  for (int64_t i = 0; n && i < s->stop && w.length >= n && !memcmp(w.text + w.length - n, s->text.data, n); i++) w.length -= n;
  return ls__text_add(out, w.text, w.length);
}

static bool word_piece(const ls__decoder_stage *s, word w, bool first, ls__text *out, ls__text *work) {
  size_t from = out->length;
  bool inner = !first && w.length >= s->text.length && !memcmp(w.text, s->text.data, s->text.length);
  if (inner) w.text += s->text.length, w.length -= s->text.length;
  if ((!first && !inner && !ls__text_add(out, " ", 1)) || !ls__text_add(out, w.text, w.length)) return false;
  return !s->clean || clean_up(out, from, work);
}

/* Replaces the sign of Metaspace (U+2581) by a space; in the first token a setting may remove the sign instead. */
static bool metaspace(const ls__decoder_stage *s, word w, bool first, ls__text *out) {
  bool drop = first && s->clean;
  return add_replaced(out, w.text, w.length, s->text.data, s->text.length, " ", drop ? 0 : 1);
}

static bool ctc(const ls__decoder_stage *s, word w, ls__text *out, ls__text *work) {
  size_t from = out->length;
  if (!add_replaced(out, w.text, w.length, s->text.data, s->text.length, "", 0)) return false;
  if (!s->clean) return true;
  if (!clean_up(out, from, work)) return false;
  work->length = 0;
  if (!add_replaced(work, out->data + from, out->length - from, s->other.data, s->other.length, " ", 1)) return false;
  out->length = from;
  return ls__text_add(out, work->data, work->length);
}

static ls_status one_by_one(const ls__decoder_stage *s, const ls__texts *in, ls__texts *out) {
  ls__text work = {0};
  ls_status status = LS_OK;
  for (size_t i = 0; !status && i < in->at.count; i++) {
    word w = word_at(in, i), before = i ? word_at(in, i - 1) : w;
    size_t from = out->text.length;
    bool good = true, same = i && before.length == w.length && !memcmp(before.text, w.text, w.length);
    switch (s->kind) {
    case REPLACE: status = replace(s, w, &out->text); break;
    case WORD_PIECE: good = word_piece(s, w, !i, &out->text, &work); break;
    case STRIP: good = strip(s, w, &out->text); break;
    case METASPACE: good = metaspace(s, w, !i, &out->text); break;
    case SUFFIX: good = add_replaced(&out->text, w.text, w.length, s->text.data, s->text.length, " ", i + 1 < in->at.count); break;
    default: if (!same) good = ctc(s, w, &out->text, &work); /* the decoder CTC drops a token that equals the token before it */
    }
    if (!status && (!good || (!(s->kind == CTC && out->text.length == from) && !end_text(out, from)))) status = no_memory();
  }
  free(work.data);
  return status;
}

/* ---- several together ---------------------------------------------------------------------------------------------- */

static int32_t byte_of(word w) {
  static const char digits[] = "0123456789ABCDEF0123456789abcdef";
  if (w.length != 6 || memcmp(w.text, "<0x", 3) || w.text[5] != '>') return -1;
  if (!w.text[3] || !w.text[4]) return -1;
  const char *high = strchr(digits, w.text[3]), *low = strchr(digits, w.text[4]);
  return high && low ? (int32_t)((high - digits) % 16 * 16 + (low - digits) % 16) : -1;
}

/* Appends the collected bytes of neighbouring byte tokens ("<0x0A>") to `out` as one text; if they are not UTF-8, as one U+FFFD each. */
static bool append_bytes(ls__text *bytes, ls__texts *out) {
  bool good = ls__utf8_valid(bytes->data, bytes->length) == bytes->length, added = true;
  if (good && bytes->length) added = ls__texts_add(out, bytes->data, bytes->length);
  for (size_t i = 0; !good && added && i < bytes->length; i++) added = ls__texts_add(out, "\xEF\xBF\xBD", 3);
  bytes->length = 0;
  return added;
}

static ls_status fall_back(const ls__texts *in, ls__texts *out) {
  ls__text bytes = {0};
  bool good = true;
  for (size_t i = 0; good && i < in->at.count; i++) {
    word w = word_at(in, i);
    int32_t byte = byte_of(w);
    char one = (char)byte;
    good = byte >= 0 ? ls__text_add(&bytes, &one, 1) : append_bytes(&bytes, out) && ls__texts_add(out, w.text, w.length);
  }
  good = good && append_bytes(&bytes, out);
  free(bytes.data);
  return good ? LS_OK : no_memory();
}

static ls_status byte_level(const ls__texts *in, ls__texts *out, ls__text *bytes) {
  bytes->length = 0;
  for (size_t i = 0; i < in->at.count; i++) {
    word w = word_at(in, i);
    if (!ls__byte_level_decode(w.text, w.length, bytes)) return no_memory();
  }
  if (!ls__text_add_replaced(&out->text, bytes->data, bytes->length) || !end_text(out, 0)) return no_memory();
  return LS_OK;
}

static ls_status run(const ls__decoder_stage *s, const ls__texts *in, ls__texts *out) {
  if (s->kind == BYTE_FALLBACK) return fall_back(in, out);
  if (s->kind == FUSE) return ls__texts_add(out, in->text.data, in->text.length) ? LS_OK : no_memory();
  if (s->kind != BYTE_LEVEL) return one_by_one(s, in, out);
  ls__text bytes = {0};
  ls_status status = byte_level(in, out, &bytes);
  free(bytes.data);
  return status;
}

ls_status ls__decode(ls__decoder *d, ls__text *out) {
  for (size_t i = 0; i < d->count; i++) {
    d->work.text.length = d->work.at.count = 0;
    ls_status status = run(&d->stage[i], &d->texts, &d->work);
    if (status) return status;
    ls__texts swap = d->texts;
    d->texts = d->work;
    d->work = swap;
  }
  for (size_t i = 0; i < d->texts.at.count; i++) {
    word w = word_at(&d->texts, i);
    if ((i && !d->count && !ls__text_add(out, " ", 1)) || !ls__text_add(out, w.text, w.length)) return no_memory();
  }
  return LS_OK;
}
