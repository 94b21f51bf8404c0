/* Reads tokenizer.json section by section; each kind of section is read in the C file that implements it. A kind of stage that luasight
   does not implement is an error that names the kind. */
#include <string.h>
#include "tokenizer/tokenizer.h"

enum { LONGEST_FILE = 268435456 }; /* the size limit in bytes; the largest tokenizer.json in use has some 35 million bytes */

enum { VERSION, TRUNCATION, PADDING, ADDED, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL, SECTIONS };

/* The sections of tokenizer.json. "truncation" and "padding" are ignored: they are defaults for callers that choose nothing, but callers of
   luasight always choose, as in transformers. */
static const char *const sections[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                       "pre_tokenizer", "post_processor", "decoder", "model",        NULL};

static ls_status check_version(const ls__part *part) {
  if (part->text && part->length == 5 && !memcmp(part->text, "\"1.0\"", 5)) return LS_OK;
  return ls__part_fail(part, "the version of the file is not \"1.0\", the only one that luasight reads");
}

ls_status ls__tokenizer_read(ls_tokenizer *t, const char *json, size_t length, const char *file) {
  ls__part whole = {.file = file, .text = json, .length = length}, part[SECTIONS], model[LS__MODEL_PARTS];
  ls__inside inside = {"model", ls__model_parts, model};
  if (length > LONGEST_FILE) return ls__part_fail(&whole, "the file has %zu bytes, more than any tokenizer needs", length);
  ls_status status = ls__part_members(&whole, sections, part, &inside);
  if (!status) status = check_version(&part[VERSION]);
  if (!status) status = ls__normalizers_read(&t->normalizers, &part[NORMALIZER]);
  if (!status) status = ls__pre_read(&t->pre, &part[PRE_TOKENIZER]);
  if (!status) status = ls__decoder_read(&t->decoder, &part[DECODER]);
  if (!status) status = ls__model_read(&t->model, &t->vocab, &part[MODEL], model);
  if (!status) status = ls__added_read(&t->added, &t->vocab, &t->normalizers, &part[ADDED]);
  if (!status) status = ls__post_read(&t->post, &t->vocab, &part[POST_PROCESSOR]);
  if (status) return status;
  const ls__bpe *bpe = &t->model.bpe;
  if (t->model.kind == LS__BPE && !bpe->byte_fallback && !bpe->prefix.length && !bpe->suffix.length)
    t->model.bpe.bytes = ls__pre_leave_bytes(&t->pre);
  int32_t hole = ls__vocab_hole(&t->vocab);
  if (hole < 0) return LS_OK;
  return ls__part_fail(&whole, "model.vocab: no token has the id %d, though there are ids up to %d", hole, t->vocab.size - 1);
}
