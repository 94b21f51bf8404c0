/* Reads tokenizer.json. A JSON object is cut into its members, of which jansson parses the small ones. The two long members (vocabulary
   and merges) are read item by item, since jansson's tree of a hundred thousand strings costs more time and memory than all the
   rest of reading. */
#include "tokenizer/json.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  DEEPEST = 64,          /* the most levels of JSON brackets inside each other */
  LONGEST_PART = 4194304 /* the most bytes that jansson parses; its tree takes some forty times the memory of the JSON text */
};

/* ---- errors -------------------------------------------------------------------------------------------------------- */

ls_status (ls__part_fail)(const ls__part *part, const char *format, ...) {
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (!part->place[0]) return ls__fail(LS_ERROR_FORMAT, "%s: %s", part->file, text);
  return ls__fail(LS_ERROR_FORMAT, "%s: %s: %s", part->file, part->place, text);
}

ls_status (ls__part_memory)(const ls__part *part) {
  return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the tokenizer", part->file);
}

static ls_status not_object(const ls__part *part) {
  return ls__part_fail(part, "this part of tokenizer.json is not a JSON object");
}

ls_status ls__cursor_fail(ls__cursor *c, size_t item, const char *what) {
  return ls__fail(LS_ERROR_FORMAT, "%s: %s[%zu]: %s (at byte %zu of this part of the file)", c->part->file, c->part->place, item, what,
                  c->at);
}

/* ---- cutting ------------------------------------------------------------------------------------------------------- */

bool ls__part_is_null(const ls__part *part) {
  return !part->text || (part->length == 4 && !memcmp(part->text, "null", 4));
}

static ls_status keep_member(const ls__part *object, const char *const *names, ls__part *out, const char *key, size_t length,
                             const ls__part *value) {
  char shown[80];
  ls__printable(key, length, shown, sizeof shown);
  for (int32_t i = 0; names[i]; i++) {
    if (strlen(names[i]) != length || memcmp(names[i], key, length)) continue;
    if (out[i].text) return ls__part_fail(object, "the JSON member \"%s\" occurs twice", shown);
    out[i].text = value->text;
    out[i].length = value->length;
    return LS_OK;
  }
  return ls__part_fail(object, "the member \"%s\" is unknown to this version of luasight", shown);
}

/* Cuts the JSON object at the beginning of a part into its members; `*stop` is the place behind the object, in bytes of the part. */
static ls_status cut(const ls__part *object, const char *const *names, ls__part *out, const ls__inside *inside, size_t *stop) {
  const char *text = object->text;
  size_t length = object->length, at = ls__json_space(text, length, 0);
  for (int32_t i = 0; names[i]; i++) {
    out[i] = (ls__part){.file = object->file};
    const char *dot = object->place[0] ? "." : "";
    snprintf(out[i].place, sizeof out[i].place, "%.40s%s%.40s", object->place, dot, names[i]);
  }
  if (at == length || text[at] != '{') return not_object(object);
  at = ls__json_space(text, length, at + 1);
  for (bool first = true; at < length && text[at] != '}'; first = false) {
    if (!first) {
      if (text[at] != ',') return ls__part_fail(object, "the file's JSON is not valid at byte %zu: a comma is missing", at);
      at = ls__json_space(text, length, at + 1);
    }
    int deep = 0;
    size_t key = at, end = at < length && text[at] == '"' ? ls__json_skip(text, length, at, 1, &deep) : 0;
    if (!end) return ls__part_fail(object, "the file's JSON is not valid at byte %zu: the name of a member is missing", at);
    size_t name = end - key - 2;
    at = ls__json_space(text, length, end);
    if (at == length || text[at] != ':') return ls__part_fail(object, "the file's JSON is not valid at byte %zu: a colon is missing", at);
    at = ls__json_space(text, length, at + 1);
    ls__part value = {.file = object->file, .text = text + at, .length = length - at};
    if (inside && at < length && text[at] == '{' && name == strlen(inside->name) &&
        !memcmp(text + key + 1, inside->name, name)) {
      snprintf(value.place, sizeof value.place, "%s", inside->name);
      ls_status status = cut(&value, inside->names, inside->out, NULL, &end);
      if (status) return status;
      end += at;
    } else {
      end = ls__json_skip(text, length, at, DEEPEST, &deep);
    }
    if (deep) return ls__part_fail(object, "the tokenizer's JSON nests brackets deeper than %d levels", DEEPEST);
    if (!end) return ls__part_fail(object, "the file's JSON is not valid at byte %zu: a value is missing, or the file is cut short", at);
    value.length = end - at;
    ls_status status = keep_member(object, names, out, text + key + 1, name, &value);
    if (status) return status;
    at = ls__json_space(text, length, end);
  }
  if (at == length) return ls__part_fail(object, "the tokenizer's JSON is not valid: the file is cut short");
  *stop = at + 1;
  return LS_OK;
}

ls_status ls__part_members(const ls__part *object, const char *const *names, ls__part *out, const ls__inside *inside) {
  size_t stop = 0;
  ls_status status = cut(object, names, out, inside, &stop);
  if (status) return status;
  if (ls__json_space(object->text, object->length, stop) != object->length)
    return ls__part_fail(object, "the file goes on behind the end of the tokenizer's JSON object");
  return LS_OK;
}

/* ---- small parts --------------------------------------------------------------------------------------------------- */

ls_status ls__part_parse(const ls__part *part, json_t **out) {
  if (!part->text) return ls__part_fail(part, "the tokenizer lacks this part of its JSON");
  if (part->length > LONGEST_PART) return ls__part_fail(part, "this section has %zu bytes, more than any tokenizer needs", part->length);
  json_error_t error;
  json_t *tree = ls__json_load(part->text, part->length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
  if (!tree) {
    if (!error.text[0]) return ls__part_memory(part);
    char shown[JSON_ERROR_TEXT_LENGTH];
    const char *near = strstr(error.text, " near '");
    ls__printable(error.text, near ? (size_t)(near - error.text) : strlen(error.text), shown, sizeof shown);
    return ls__part_fail(part, "this part of the tokenizer is not valid JSON at its byte %d (%s)", error.position, shown);
  }
  *out = tree;
  return LS_OK;
}

ls_status ls__part_allow(const ls__part *part, const json_t *object, const char *const *allowed) {
  if (!json_is_object(object)) return not_object(part);
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)object, name, value) {
    int32_t i = 0;
    while (allowed[i] && strcmp(allowed[i], name)) i++;
    if (allowed[i]) continue;
    char shown[80];
    return ls__part_fail(part, "the member \"%s\" is unknown to this version of luasight",
                         ls__printable(name, strlen(name), shown, sizeof shown));
  }
  return LS_OK;
}

ls_status ls__part_bool(const ls__part *part, const json_t *object, const char *name, bool absent, bool *out) {
  const json_t *value = json_object_get(object, name);
  if (value && !json_is_boolean(value)) return ls__part_fail(part, "the setting \"%s\" is neither true nor false", name);
  *out = value ? json_is_true(value) : absent;
  return LS_OK;
}

ls_status ls__part_string(const ls__part *part, const json_t *object, const char *name, const char **out, size_t *length) {
  const json_t *value = json_object_get(object, name);
  if (!json_is_string(value)) return ls__part_fail(part, value ? "setting \"%s\" is not a text" : "setting \"%s\" is missing", name);
  *out = json_string_value(value);
  *length = json_string_length(value);
  return LS_OK;
}

ls_status ls__part_integer(const ls__part *part, const json_t *object, const char *name, int64_t absent, int64_t low, int64_t *out) {
  const json_t *value = json_object_get(object, name);
  *out = value ? json_integer_value(value) : absent;
  if (!value || (json_is_integer(value) && *out >= low && *out <= INT32_MAX)) return LS_OK;
  return ls__part_fail(part, "the setting \"%s\" is not a whole number from %lld on", name, (long long)low);
}

ls_status ls__part_choice(const ls__part *part, const json_t *object, const char *name, const char *const *names, int32_t absent,
                          int32_t *out) {
  const json_t *value = json_object_get(object, name);
  *out = absent;
  if (!value && absent >= 0) return LS_OK;
  char shown[80];
  const char *text = json_string_value(value);
  for (*out = 0; text && names[*out]; ++*out)
    if (!strcmp(names[*out], text)) return LS_OK;
  if (!text) return ls__part_fail(part, value ? "setting \"%s\" is not a text" : "setting \"%s\" is missing", name);
  return ls__part_fail(part, "the setting \"%s\" has the value \"%s\", unknown to this version of luasight", name,
                       ls__printable(text, strlen(text), shown, sizeof shown));
}

const char *ls__part_type(const json_t *object) { return json_string_value(json_object_get(object, "type")); }

ls_status ls__part_refuse(const ls__part *part, const json_t *object) {
  const char *type = ls__part_type(object);
  if (!type) return ls__part_fail(part, "a stage of the tokenizer has no \"type\"");
  char shown[80];
  return ls__part_fail(part, "the stage %s is not implemented in this version of luasight",
                       ls__printable(type, strlen(type), shown, sizeof shown));
}

static ls_status read_stages(const ls__part *part, const json_t *section, const char *list, ls__stage_reader *read,
                             void *context) {
  const char *type = ls__part_type(section);
  if (!json_is_object(section)) return not_object(part);
  if (!type || strcmp(type, "Sequence")) return read(context, part, section);
  const char *const names[] = {"type", list, NULL};
  ls_status status = ls__part_allow(part, section, names);
  const json_t *stages = json_object_get(section, list);
  if (!status && !json_is_array(stages)) status = ls__part_fail(part, "the member \"%s\" is not a list", list);
  for (size_t i = 0; !status && i < json_array_size(stages); i++)
    status = read_stages(part, json_array_get(stages, i), list, read, context);
  return status;
}

ls_status ls__part_stages(const ls__part *part, const char *list, ls__stage_reader *read, void *context) {
  if (ls__part_is_null(part)) return LS_OK;
  json_t *section;
  ls_status status = ls__part_parse(part, &section);
  if (status) return status;
  status = read_stages(part, section, list, read, context);
  json_decref(section);
  return status;
}

/* ---- item by item -------------------------------------------------------------------------------------------------- */

char ls__cursor_peek(ls__cursor *c) {
  c->at = ls__json_space(c->part->text, c->part->length, c->at);
  return c->at < c->part->length ? c->part->text[c->at] : 0;
}

static int32_t hex4(const char *text, size_t length) {
  int32_t value = 0;
  if (length < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char d = text[i];
    int32_t digit = d >= '0' && d <= '9' ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

/* Reads the JSON escape at `text`, behind its backslash, and writes the UTF-8 that it means to `out`. Returns the number of bytes read, 0
   where the escape is invalid. */
static size_t read_escape(const char *text, size_t length, char *out, size_t *written) {
  static const char signs[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  *written = 1;
  if (!length) return 0;
  if (text[0] != 'u') {
    const char *sign = text[0] ? strchr(signs, text[0]) : NULL;
    if (!sign) return 0;
    out[0] = values[sign - signs];
    return 1;
  }
  int32_t code = hex4(text + 1, length - 1);
  size_t read = 5;
  if (code >= 0xD800 && code < 0xDC00 && length >= 11 && text[5] == '\\' && text[6] == 'u') {
    int32_t low = hex4(text + 7, length - 7);
    if (low < 0xDC00 || low > 0xDFFF) return 0;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    read = 11;
  }
  if (code <= 0 || (code >= 0xD800 && code <= 0xDFFF)) return 0;
  *written = ls__utf8_put(code, out);
  return read;
}

static ls_status read_escaped(ls__cursor *c, size_t item, size_t end, const char **text, size_t *length) {
  const char *from = c->part->text;
  c->scratch.length = 0;
  if (!ls__text_reserve(&c->scratch, end - c->at)) return ls__part_memory(c->part); /* the UTF-8 of an escape is shorter than the escape */
  while (c->at < end) {
    const char *slash = memchr(from + c->at, '\\', end - c->at);
    size_t plain = (slash ? (size_t)(slash - from) : end) - c->at, written;
    ls__text_add(&c->scratch, from + c->at, plain);
    c->at += plain;
    if (!slash) break;
    size_t read = read_escape(from + c->at + 1, end - c->at - 1, c->scratch.data + c->scratch.length, &written);
    if (!read) return ls__cursor_fail(c, item, "a JSON string has an invalid escape, a lone surrogate, or U+0000");
    c->scratch.length += written;
    c->at += read + 1;
  }
  *text = c->scratch.data;
  *length = c->scratch.length;
  return LS_OK;
}

ls_status ls__cursor_string(ls__cursor *c, size_t item, const char **text, size_t *length) {
  if (!ls__cursor_take(c, '"')) return ls__cursor_fail(c, item, "a JSON string is missing here");
  const char *from = c->part->text;
  size_t end = c->at, stop = c->part->length;
  uint64_t high = 0;
  bool escaped = false;
  while ((end = ls__json_plain(from, stop, end, &high)) < stop && from[end] != '"') {
    if (from[end] != '\\') return ls__cursor_fail(c, item, "a JSON string has a control character");
    if (stop - end < 2) break;
    escaped = true; /* the character behind the backslash, maybe a quote, is skipped; read_escaped checks the escape */
    end += 2;
  }
  if (end >= stop || from[end] != '"') return ls__cursor_fail(c, item, "a JSON string does not end");
  if ((high || escaped) && ls__utf8_valid(from + c->at, end - c->at) != end - c->at)
    return ls__cursor_fail(c, item, "a JSON string is not UTF-8");
  *text = from + c->at;
  *length = end - c->at;
  if (escaped) {
    ls_status status = read_escaped(c, item, end, text, length);
    if (status) return status;
  }
  c->at = end + 1;
  return LS_OK;
}

ls_status ls__cursor_integer(ls__cursor *c, size_t item, int64_t *out) {
  int64_t value = 0;
  size_t digits = 0;
  ls__cursor_peek(c);
  for (; c->at < c->part->length && c->part->text[c->at] >= '0' && c->part->text[c->at] <= '9'; c->at++, digits++) {
    value = value * 10 + (c->part->text[c->at] - '0');
    if (value > INT32_MAX) return ls__cursor_fail(c, item, "a number of the tokenizer is larger than 2147483647");
  }
  char next = c->at < c->part->length ? c->part->text[c->at] : 0;
  if (!digits || next == '.' || next == 'e' || next == 'E')
    return ls__cursor_fail(c, item, "a whole number of at least 0 is expected here");
  *out = value;
  return LS_OK;
}
