/* Fuzzes the tokenizers. The first byte chooses: the rest is a tokenizer.json that is loaded and used, or (`t`) it is a text
   that a small tokenizer must give back, or (`i`) ids that it must decode or refuse. Stands alone, without libtorch and the
   rest of the core, which it replaces by what follows:

     clang -g -O1 -fsanitize=fuzzer,address,undefined -I core spec/fuzz/fuzz_tokenizer.c core/tokenizer*.c \
       core/json_util.c -ljansson -lutf8proc -o build/fuzz_tokenizer
     build/fuzz_tokenizer -dict=spec/fuzz/tokenizer.dict -max_len=8192 -max_total_time=300 build/corpus */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"
#include "tokenizer_text.h"

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

static void try_file(const char *data, size_t size) {
  ls_tokenizer *t;
  if (ls_tokenizer_load(data, size, "fuzz.json", &t)) {
    if (!message[0] || strpbrk(message, "\n\r\033")) abort();
    message[0] = 0;
    return;
  }
  const int64_t *ids;
  int32_t count, length = (int32_t)(size < 4096 ? size : 4096);
  const char *text;
  size_t bytes;
  if (!ls_tokenizer_encode(t, data, (size_t)length, 1, &ids, &count)) ls_tokenizer_decode(t, ids, count, 1, &text, &bytes);
  for (int64_t id = -1; id <= ls_tokenizer_size(t); id++) {
    const char *token = ls_tokenizer_token(t, id);
    if (token && strlen(token) < 4096 && ls_tokenizer_id(t, token) != id) abort();
    if (!ls_tokenizer_decode(t, &id, 1, 0, &text, &bytes) != (token != NULL)) abort();
  }
  ls_tokenizer_release(t);
}

static void try_text(ls_tokenizer *t, const char *data, size_t size) {
  const int64_t *ids;
  int32_t count;
  const char *text;
  size_t length;
  ls__text whole = {0};
  if (!ls__text_add_replaced(&whole, data, size) || ls__utf8_valid(whole.data, whole.length) != whole.length) abort();
  if (ls_tokenizer_encode(t, data, size, 0, &ids, &count)) abort();
  bool stripped = false; /* a token takes the white space around it: the text does not come back as it was */
  for (int32_t i = 0; i < count; i++) stripped |= ids[i] == 260;
  if (ls_tokenizer_decode(t, ids, count, 0, &text, &length)) abort();
  if (!stripped && (length != whole.length || (length && memcmp(text, whole.data, length)))) abort();
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
  static ls_tokenizer *small;
  if (!small) {
    char *json = small_tokenizer();
    if (ls_tokenizer_load(json, strlen(json), "small", &small)) abort();
    free(json);
  }
  if (!size) return 0;
  if (data[0] == 't') try_text(small, (const char *)data + 1, size - 1);
  else if (data[0] == 'i') try_ids(small, data + 1, size - 1);
  else try_file((const char *)data + 1, size - 1);
  if (live != 1) abort(); /* the small one */
  return 0;
}
