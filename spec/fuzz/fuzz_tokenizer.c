/* Fuzzes the tokenizers. The first byte chooses: the rest is a tokenizer.json that is loaded and used, or (`t`) it is a text
   that a small tokenizer must give back, or (`1`, `2`, ...) a text for one with every kind of stage, or (`i`) ids that a
   tokenizer must decode or refuse. Stands alone, without libtorch and the rest of the core, which it replaces by what follows.
   `tools/fuzz 300 tokenizer` builds it and runs it for five minutes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "tokenizer/text.h"

/* ---- in place of the rest of the core ---------------------------------------------------------------------------- */

static char message[4096];
static int32_t live;

ls_status ls__fail(ls_status code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return code;
}
void ls__live_add(int32_t n) { live += n; }

/* ---- the target -------------------------------------------------------------------------------------------------- */

static const char settings[] =
  ",\"normalizer\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
  "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
  "\"special_tokens\":{\"</s>\":{\"id\":\"</s>\",\"ids\":[259],\"tokens\":[\"</s>\"]}}},";

/* All 256 bytes, three merges, and added tokens with every flag: the text of a tokenizer.json. */
static char *small_tokenizer(void) {
  char *json = malloc(16384), *at = json;
  at += sprintf(at, "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":259,\"content\":\"</s>\",\"special\":true},"
                    "{\"id\":260,\"content\":\"</s>a\",\"lstrip\":true,\"rstrip\":true},"
                    "{\"id\":261,\"content\":\"word\",\"single_word\":true,\"normalized\":true}]%s"
                    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\",\"vocab\":{",
                settings);
  int free_code = 256;
  for (int byte = 0; byte < 256; byte++) {
    bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    at += sprintf(at, "\"\\u%04x\":%d,", shown ? byte : free_code, byte);
    if (!shown) free_code++;
  }
  sprintf(at, "\"ab\":256,\"abab\":257,\"\\u0120ab\":258},\"merges\":[\"a b\",\"ab ab\",[\"\\u0120\",\"ab\"]]}}");
  return json;
}

/* Tokenizers that have all stages between them. */
static const char *const kinds[] = {
  "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":7,\"content\":\"Ab\",\"normalized\":true,\"lstrip\":true}],\"normalizer\":"
  "{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":\"BertProcessing\","
  "\"cls\":[\"c\",3],\"sep\":[\"d\",4]},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\"},\"model\":{\"type\":\"WordPiece\","
  "\"unk_token\":\"u\",\"continuing_subword_prefix\":\"##\",\"vocab\":{\"u\":0,\"a\":1,\"##a\":2,\"c\":3,\"d\":4,\"ab\":5,\"e\":6}}}",
  "{\"version\":\"1.0\",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"},{\"type\":\"NFKC\"},{\"type\":\"Strip\"},"
  "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"},{\"type\":\"Prepend\",\"prepend\":\"a\"}]},\"pre_tokenizer\":"
  "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
  "\"prepend_scheme\":\"first\"},{\"type\":\"UnicodeScripts\"}]},\"decoder\":{\"type\":\"Metaspace\","
  "\"replacement\":\"\xE2\x96\x81\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,\"vocab\":"
  "[[\"u\",0],[\"a\",-1],[\"ab\",-1.5],[\"\xE2\x96\x81\",-2],[\"<0xC3>\",-9]]}}",
  "{\"version\":\"1.0\",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":\"StripAccents\"},"
  "{\"type\":\"Lowercase\"},{\"type\":\"NFC\"}]},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\","
  "\"behavior\":\"MergedWithPrevious\"},{\"type\":\"Digits\"},{\"type\":\"ByteLevel\"},{\"type\":\"Split\",\"pattern\":{\"Regex\":"
  "\"(?i:a|b)|[^\\\\r\\\\n\\\\p{L}]?\\\\p{L}+|\\\\b\"},\"behavior\":\"MergedWithNext\"},{\"type\":\"Whitespace\"}]},\"post_processor\":"
  "{\"type\":\"RobertaProcessing\",\"sep\":[\"s\",1],\"cls\":[\"u\",0]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
  "\"ByteFallback\"},{\"type\":\"CTC\",\"pad_token\":\"u\",\"word_delimiter_token\":\"s\",\"cleanup\":true},"
  "{\"type\":\"BPEDecoder\",\"suffix\":\"s\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"a\",\"start\":1,\"stop\":1}]},"
  "\"model\":{\"type\":\"BPE\",\"unk_token\":\"u\",\"fuse_unk\":true,"
  "\"continuing_subword_prefix\":\"s\",\"end_of_word_suffix\":\"t\",\"byte_fallback\":true,"
  "\"vocab\":{\"u\":0,\"s\":1,\"a\":2,\"b\":3,\"sb\":4,\"ab\":5,\"<0xC4>\":6},\"merges\":[\"a sb\"]}}",
  "{\"version\":\"1.0\",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"},"
  "\"pre_tokenizer\":null,\"decoder\":null,"
  "\"model\":{\"type\":\"BPE\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"\xE2\x96\x81\":1,\"a\":2,\"\xE2\x96\x81\x61\":3,"
  "\"\xE2\x96\x81\xE2\x96\x81\":4},\"merges\":[\"\xE2\x96\x81 a\",\"\xE2\x96\x81 \xE2\x96\x81\"]}}",
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* Text to tokens in every way, tokens to text. */
static void use(ls_tokenizer *t, const char *data, size_t size) {
  const ls_token *tokens;
  int32_t count, limit = size ? (uint8_t)data[0] % 9 : 0;
  int64_t ids[256];
  const char *text;
  size_t length;
  ls_encoding hows[] = {{.special = 1}, {.places = 1}, {.special = 1, .places = 1, .pair = data, .pair_length = size / 2, .limit = limit}};
  for (size_t i = 0; i < 3; i++) {
    if (ls_tokenizer_encode(t, data, size, &hows[i], &tokens, &count)) continue;
    if (hows[i].limit && count > hows[i].limit) abort();
    for (int32_t k = 0; k < count; k++) {
      if (tokens[k].id < 0 || tokens[k].id >= ls_tokenizer_size(t) || tokens[k].from < 0 || tokens[k].to < 0) abort();
      if ((size_t)tokens[k].from > size || (size_t)tokens[k].to > size) abort();
      if (k < 256) ids[k] = tokens[k].id;
    }
    if (ls_tokenizer_decode(t, ids, count < 256 ? count : 256, i & 1, &text, &length)) continue;
    if (ls__utf8_valid(text, length) != length || text[length]) abort();
  }
}

static void try_file(const char *data, size_t size) {
  ls_tokenizer *t;
  if (ls_tokenizer_load(data, size, "fuzz.json", &t)) {
    if (!message[0] || strpbrk(message, "\n\r\033")) abort();
    message[0] = 0;
    return;
  }
  const char *text;
  size_t bytes;
  use(t, data, size < 4096 ? size : 4096);
  for (int64_t id = -1; id <= ls_tokenizer_size(t); id++) {
    const char *token = ls_tokenizer_token(t, id);
    if (token && strlen(token) < 4096 && ls_tokenizer_id(t, token) != id) abort();
    if (!token && !ls_tokenizer_decode(t, &id, 1, 0, &text, &bytes)) abort();
  }
  ls_tokenizer_release(t);
}

static void try_text(ls_tokenizer *t, const char *data, size_t size) {
  const ls_token *tokens;
  int32_t count;
  const char *text;
  size_t length;
  ls__text whole = {0};
  ls_encoding how = {0};
  if (!ls__text_add_replaced(&whole, data, size) || ls__utf8_valid(whole.data, whole.length) != whole.length) abort();
  if (ls_tokenizer_encode(t, data, size, &how, &tokens, &count)) abort();
  int64_t *ids = malloc(((size_t)count + 1) * sizeof *ids);
  bool stripped = false; /* a token takes the white space around it: the text does not come back as it was */
  for (int32_t i = 0; i < count; i++) stripped |= (ids[i] = tokens[i].id) == 260;
  if (ls_tokenizer_decode(t, ids, count, 0, &text, &length)) abort();
  if (!stripped && (length != whole.length || (length && memcmp(text, whole.data, length)))) abort();
  free(ids);
  free(whole.data);
}

static void try_ids(ls_tokenizer *t, const uint8_t *data, size_t size) {
  int64_t ids[256];
  int32_t count = 0;
  for (; size >= 2 && count < 256; data += 2, size -= 2) ids[count++] = (data[0] | data[1] << 8) % 300 - 10;
  const char *text;
  size_t length;
  if (!ls_tokenizer_decode(t, ids, count, 1, &text, &length) && ls__utf8_valid(text, length) != length) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static ls_tokenizer *small, *kind[KINDS];
  if (!small) {
    char *json = small_tokenizer();
    if (ls_tokenizer_load(json, strlen(json), "small", &small)) abort();
    free(json);
    for (size_t i = 0; i < KINDS; i++)
      if (ls_tokenizer_load(kinds[i], strlen(kinds[i]), "kind", &kind[i])) {
        fprintf(stderr, "%s\n", message);
        abort();
      }
  }
  if (!size) return 0;
  if (data[0] == 't') try_text(small, (const char *)data + 1, size - 1);
  else if (data[0] == 'i') try_ids(size > 1 && data[1] % 8 < KINDS ? kind[data[1] % 8] : small, data + 1, size - 1);
  else if (data[0] > '0' && data[0] <= '0' + KINDS) use(kind[data[0] - '1'], (const char *)data + 1, size - 1);
  else try_file((const char *)data + 1, size - 1);
  if (live != 1 + KINDS) abort();
  return 0;
}
