/* The post-processor of a tokenizer: which special tokens are put around one or two texts, and whether the places of tokens leave out
   white space. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/tokenizer.h"

static ls_status add(ls__post_items *items, const ls__part *part, int64_t id, int64_t type) {
  ls__post_item *data = ls__reserve(items->item, &items->room, items->count, 1, sizeof *data);
  if (!data) return ls__part_memory(part);
  items->item = data;
  data[items->count++] = (ls__post_item){(int32_t)id, (int32_t)type};
  return LS_OK;
}

static ls_status begin_template(ls__post *p, const ls__part *part) {
  if (p->has_template) return ls__part_fail(part, "the post-processor has more than one stage that puts tokens around a text");
  p->has_template = true;
  return LS_OK;
}

/* ---- TemplateProcessing -------------------------------------------------------------------------------------------- */

/* Appends the token ids that the template declares for the special token `name`. */
static ls_status add_special(ls__post_items *out, const ls__vocab *v, const ls__part *part, const json_t *template, const char *name,
                             int64_t type) {
  char shown[80];
  ls__printable(name, strlen(name), shown, sizeof shown);
  const json_t *ids = json_object_get(json_object_get(json_object_get(template, "special_tokens"), name), "ids");
  if (!json_array_size(ids)) return ls__part_fail(part, "the template's \"special_tokens\" gives no ids for \"%s\"", shown);
  for (size_t i = 0; i < json_array_size(ids); i++) {
    const json_t *id = json_array_get(ids, i);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= v->size)
      return ls__part_fail(part, "the template's \"special_tokens\" gives \"%s\" an id that is not in the vocabulary", shown);
    ls_status status = add(out, part, json_integer_value(id), type);
    if (status) return status;
  }
  return LS_OK;
}

/* Reads the items of the template `name`, which is "single" or "pair". The template is for `texts` texts, 1 or 2, and must name each of
   them once. */
static ls_status read_items(ls__post_items *out, const ls__vocab *v, const ls__part *part, const json_t *template, const char *name,
                            int32_t texts) {
  const json_t *items = json_object_get(template, name);
  int32_t seen = 0;
  if (!json_is_array(items)) return ls__part_fail(part, "the template \"%s\" is not a list", name);
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *item = json_array_get(items, i), *sequence = json_object_get(item, "Sequence"),
                 *special = json_object_get(item, "SpecialToken"), *one = sequence ? sequence : special;
    const char *id = json_string_value(json_object_get(one, "id"));
    int32_t bit = sequence && id ? !strcmp(id, "A") ? 1 : !strcmp(id, "B") && texts > 1 ? 2 : 0 : 0;
    int64_t type;
    if (json_object_size(item) != 1 || !id || (sequence && (!bit || seen & bit)))
      return ls__part_fail(part, "the template \"%s\": item %zu is neither a special token nor a text (A, B) that no item before it is",
                           name, i);
    ls_status status = ls__part_integer(part, one, "type_id", 0, 0, &type);
    if (!status && type > INT16_MAX) status = ls__part_fail(part, "template \"%s\": item %zu has a type_id above %d", name, i, INT16_MAX);
    if (!status && sequence) status = add(out, part, bit == 1 ? LS__FIRST_TEXT : LS__SECOND_TEXT, type);
    else if (!status) status = add_special(out, v, part, template, id, type);
    if (status) return status;
    seen |= bit;
  }
  return seen == (1 << texts) - 1 ? LS_OK : ls__part_fail(part, "the template \"%s\" has no place for a text", name);
}

static ls_status read_template(ls__post *p, const ls__vocab *v, const ls__part *part, const json_t *template) {
  static const char *const names[] = {"type", "single", "pair", "special_tokens", NULL};
  ls_status status = ls__part_allow(part, template, names);
  if (!status) status = begin_template(p, part);
  if (!status) status = read_items(&p->single, v, part, template, "single", 1);
  const json_t *pair = json_object_get(template, "pair");
  /* Without a template "pair", two texts follow each other without special tokens. */
  if (status || !pair || (json_is_array(pair) && !json_array_size(pair))) return status;
  return read_items(&p->pair, v, part, template, "pair", 2);
}

/* ---- BERT and RoBERTa ---------------------------------------------------------------------------------------------- */

/* Reads the member `name`, a list of a token and its id such as ["[SEP]", 102]; `*id` is the id. */
static ls_status read_named(const ls__vocab *v, const ls__part *part, const json_t *section, const char *name, int64_t *id) {
  const json_t *pair = json_object_get(section, name), *number = json_array_get(pair, 1);
  *id = json_integer_value(number);
  if (json_array_size(pair) == 2 && json_is_string(json_array_get(pair, 0)) && json_is_integer(number) && *id >= 0 && *id < v->size)
    return LS_OK;
  return ls__part_fail(part, "the setting \"%s\" is not a list of a token and its id in the vocabulary", name);
}

static ls_status read_bert(ls__post *p, const ls__vocab *v, const ls__part *part, const json_t *section, bool roberta) {
  int64_t sep, cls, second = roberta ? 0 : 1;
  ls_status status = begin_template(p, part);
  if (!status) status = read_named(v, part, section, "sep", &sep);
  if (!status) status = read_named(v, part, section, "cls", &cls);
  if (!status) status = add(&p->single, part, cls, 0);
  if (!status) status = add(&p->single, part, LS__FIRST_TEXT, 0);
  if (!status) status = add(&p->single, part, sep, 0);
  if (!status) status = add(&p->pair, part, cls, 0);
  if (!status) status = add(&p->pair, part, LS__FIRST_TEXT, 0);
  if (!status) status = add(&p->pair, part, sep, 0);
  if (!status && roberta) status = add(&p->pair, part, sep, 0);
  if (!status) status = add(&p->pair, part, LS__SECOND_TEXT, second);
  return status ? status : add(&p->pair, part, sep, second);
}

static ls_status read_trimming(ls__post *p, const ls__part *part, const json_t *section) {
  bool trim, prefix;
  ls_status status = ls__part_bool(part, section, "trim_offsets", true, &trim);
  if (!status) status = ls__part_bool(part, section, "add_prefix_space", true, &prefix);
  if (status || !trim) return status;
  p->trims = true;
  p->keeps_first = prefix;
  return LS_OK;
}

/* ---- the section --------------------------------------------------------------------------------------------------- */

typedef struct reading {
  ls__post *post;
  const ls__vocab *vocab;
} reading;

static ls_status read_stage(void *context, const ls__part *part, const json_t *section) {
  static const char *const byte_level[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
  static const char *const bert[] = {"type", "sep", "cls", NULL};
  static const char *const roberta[] = {"type", "sep", "cls", "trim_offsets", "add_prefix_space", NULL};
  reading *r = context;
  const char *type = ls__part_type(section);
  if (type && !strcmp(type, "TemplateProcessing")) return read_template(r->post, r->vocab, part, section);
  if (type && !strcmp(type, "ByteLevel")) {
    ls_status status = ls__part_allow(part, section, byte_level);
    return status ? status : read_trimming(r->post, part, section);
  }
  bool is_roberta = type && !strcmp(type, "RobertaProcessing");
  if (!is_roberta && !(type && !strcmp(type, "BertProcessing"))) return ls__part_refuse(part, section);
  ls_status status = ls__part_allow(part, section, is_roberta ? roberta : bert);
  if (!status && is_roberta) status = read_trimming(r->post, part, section);
  return status ? status : read_bert(r->post, r->vocab, part, section, is_roberta);
}

ls_status ls__post_read(ls__post *p, const ls__vocab *v, const ls__part *part) {
  reading r = {p, v};
  return ls__part_stages(part, "processors", read_stage, &r);
}

void ls__post_free(ls__post *p) {
  free(p->single.item);
  free(p->pair.item);
}
