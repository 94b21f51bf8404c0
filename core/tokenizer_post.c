/* The post-processor: the tokens that a tokenizer puts around a text. */
#include <stdlib.h>
#include <string.h>
#include "json_util.h"
#include "tokenizer.h"

/* The ids of a special token of a template. */
static ls_status add_special(ls__ids *out, const ls__vocab *v, const ls__part *part, const json_t *template, const char *name) {
  char shown[80];
  ls__printable(name, strlen(name), shown, sizeof shown);
  const json_t *ids = json_object_get(json_object_get(json_object_get(template, "special_tokens"), name), "ids");
  if (!json_array_size(ids)) return ls__part_fail(part, "\"special_tokens\" gives no ids for \"%s\"", shown);
  for (size_t i = 0; i < json_array_size(ids); i++) {
    const json_t *id = json_array_get(ids, i);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= v->size)
      return ls__part_fail(part, "\"special_tokens\" gives \"%s\" an id that is not in the vocabulary", shown);
    if (!ls__ids_add(out, json_integer_value(id))) return ls__part_memory(part);
  }
  return LS_OK;
}

static ls_status read_template(ls__post *p, const ls__vocab *v, const ls__part *part, const json_t *template) {
  static const char *const names[] = {"type", "single", "pair", "special_tokens", NULL};
  ls_status status = ls__part_allow(part, template, names);
  if (status) return status;
  const json_t *single = json_object_get(template, "single");
  bool seen = false;
  if (p->before.count || p->after.count) return ls__part_fail(part, "has more than one TemplateProcessing");
  if (!json_is_array(single)) return ls__part_fail(part, "\"single\" is not a list");
  for (size_t i = 0; i < json_array_size(single); i++) {
    const json_t *item = json_array_get(single, i);
    const char *sequence = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
    const char *special = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
    if (json_object_size(item) != 1 || (!sequence && !special) || (sequence && (seen || strcmp(sequence, "A"))))
      return ls__part_fail(part, "\"single\"[%zu] is neither a special token nor the one text", i);
    if (sequence) seen = true;
    else status = add_special(seen ? &p->after : &p->before, v, part, template, special);
    if (status) return status;
  }
  return seen ? LS_OK : ls__part_fail(part, "\"single\" has no place for the text");
}

static ls_status read_one(ls__post *p, const ls__vocab *v, const ls__part *part, const json_t *section) {
  const char *type = ls__part_type(section);
  if (type && !strcmp(type, "ByteLevel")) { /* trims offsets only */
    ls__byte_level ignored;
    return ls__byte_level_read(&ignored, part, section);
  }
  if (type && !strcmp(type, "TemplateProcessing")) return read_template(p, v, part, section);
  return ls__part_refuse(part, section);
}

static ls_status read_section(ls__post *p, const ls__vocab *v, const ls__part *part, const json_t *section) {
  const char *type = ls__part_type(section);
  if (!type || strcmp(type, "Sequence")) return read_one(p, v, part, section);
  static const char *const names[] = {"type", "processors", NULL};
  ls_status status = ls__part_allow(part, section, names);
  const json_t *list = json_object_get(section, "processors");
  if (!status && !json_is_array(list)) status = ls__part_fail(part, "\"processors\" is not a list");
  for (size_t i = 0; !status && i < json_array_size(list); i++) status = read_one(p, v, part, json_array_get(list, i));
  return status;
}

ls_status ls__post_read(ls__post *p, const ls__vocab *v, const ls__part *part) {
  if (ls__part_is_null(part)) return LS_OK;
  json_t *section;
  ls_status status = ls__part_parse(part, &section);
  if (status) return status;
  status = read_section(p, v, part, section);
  json_decref(section);
  return status;
}

void ls__post_free(ls__post *p) {
  free(p->before.data);
  free(p->after.data);
}
