/* The sections of tokenizer.json, each given to the file that knows its kind; kinds that none knows are refused by name. */
#include <string.h>
#include "tokenizer.h"

enum { LONGEST_FILE = 268435456 }; /* bytes; the largest in use has some 35 million */

enum { VERSION, TRUNCATION, PADDING, ADDED, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL, SECTIONS };

/* Truncation and padding are defaults for a caller that says nothing; here the caller always says, as in transformers. */
static const char *const sections[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                       "pre_tokenizer", "post_processor", "decoder", "model",        NULL};

/* The members of a model of any type, in the order of ls__model_part. */
static const char *const model_parts[] = {"type", "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix",
                                          "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges",
                                          "max_input_chars_per_word", "unk_id", NULL};

static ls_status read_normalizer(const ls__part *part) {
  json_t *section;
  if (ls__part_is_null(part)) return LS_OK;
  ls_status status = ls__part_parse(part, &section);
  if (status) return status;
  status = ls__part_refuse(part, section);
  json_decref(section);
  return status;
}

/* A section whose only kind is ByteLevel so far. */
static ls_status read_byte_level(ls__byte_level *b, const ls__part *part) {
  json_t *section;
  ls_status status = ls__part_parse(part, &section);
  if (status) return status;
  const char *type = ls__part_type(section);
  if (type && !strcmp(type, "ByteLevel")) status = ls__byte_level_read(b, part, section);
  else if (json_is_null(section)) status = ls__part_fail(part, "null is not implemented in this version of luasight");
  else status = ls__part_refuse(part, section);
  json_decref(section);
  return status;
}

static ls_status read_decoder(ls_tokenizer *t, const ls__part *part) {
  ls__byte_level settings; /* all of them concern encoding */
  t->decodes_bytes = !ls__part_is_null(part);
  return t->decodes_bytes ? read_byte_level(&settings, part) : LS_OK;
}

/* `parts` are the members of the section. */
static ls_status read_model(ls_tokenizer *t, const ls__part *part, const ls__part *parts) {
  if (!part->text) return ls__part_fail(part, "is missing");
  if (part->text[0] != '{') return ls__part_fail(part, "is not a JSON object");
  const ls__part *type = &parts[LS__MODEL_TYPE];
  if (!type->text) return ls__part_fail(part, "has no \"type\"");
  if (type->length == 5 && !memcmp(type->text, "\"BPE\"", 5)) return ls__bpe_read(&t->bpe, &t->vocab, parts);
  json_t *name;
  ls_status status = ls__part_parse(type, &name);
  if (status) return status;
  json_t *section = json_pack("{s:o}", "type", name);
  status = section ? ls__part_refuse(part, section) : ls__part_memory(part);
  json_decref(section);
  return status;
}

static ls_status check_version(const ls__part *part) {
  if (part->text && part->length == 5 && !memcmp(part->text, "\"1.0\"", 5)) return LS_OK;
  return ls__part_fail(part, "is not \"1.0\", the only one that there is");
}

ls_status ls__tokenizer_read(ls_tokenizer *t, const char *json, size_t length, const char *file) {
  ls__part whole = {.file = file, .text = json, .length = length}, part[SECTIONS], model[LS__MODEL_PARTS];
  ls__inside inside = {"model", model_parts, model};
  if (length > LONGEST_FILE) return ls__part_fail(&whole, "has %zu bytes, which is more than any tokenizer needs", length);
  ls_status status = ls__part_members(&whole, sections, part, &inside);
  if (!status) status = check_version(&part[VERSION]);
  if (!status) status = read_normalizer(&part[NORMALIZER]);
  if (!status) status = read_byte_level(&t->byte_level, &part[PRE_TOKENIZER]);
  if (!status) status = read_decoder(t, &part[DECODER]);
  if (!status) status = read_model(t, &part[MODEL], model);
  if (!status) status = ls__added_read(&t->added, &t->vocab, &part[ADDED]);
  if (!status) status = ls__post_read(&t->post, &t->vocab, &part[POST_PROCESSOR]);
  if (status) return status;
  int32_t hole = ls__vocab_hole(&t->vocab);
  if (hole < 0) return LS_OK;
  return ls__part_fail(&whole, "model.vocab: no token has the id %d, though there are ids up to %d", hole, t->vocab.size - 1);
}
