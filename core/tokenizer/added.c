/* Added tokens: texts that are one token wherever they occur. They are cut out before the pre-tokenizer
   cuts the text into pieces. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/tokenizer.h"

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static ls_status enter(ls__vocab *v, const ls__part *part, size_t item, ls__added_token *token) {
  char shown[80];
  size_t length = token->length;
  const char *text = token->text;
  ls__printable(text, length, shown, sizeof shown);
  int32_t known = ls__vocab_find(v, text, length);
  if (known == token->id) return LS_OK;
  if (known >= 0) return ls__part_fail(part, "[%zu]: token \"%s\" has the id %d, but %d in the vocabulary", item, shown, token->id, known);
  ls__added added = ls__vocab_add(v, text, length, token->id);
  if (added == LS__ADDED_ID_TWICE)
    return ls__part_fail(part, "[%zu]: the id %d of the added token \"%s\" belongs to another token", item, token->id, shown);
  return added == LS__ADDED ? LS_OK : ls__part_memory(part);
}

static ls_status read_token(ls__vocab *v, const ls__part *part, size_t item, const json_t *entry, int64_t limit,
                            ls__added_token *token) {
  static const char *const names[] = {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", NULL};
  ls_status status = ls__part_allow(part, entry, names);
  if (status) return status;
  const json_t *id = json_object_get(entry, "id"), *content = json_object_get(entry, "content");
  if (!json_is_string(content) || !json_string_length(content))
    return ls__part_fail(part, "[%zu]: the \"content\" of an added token is not a text", item);
  if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= limit)
    return ls__part_fail(part, "[%zu]: the \"id\" is not a whole number from 0 to %lld, the largest id", item, (long long)limit - 1);
  token->text = json_string_value(content);
  token->length = json_string_length(content);
  token->id = (int32_t)json_integer_value(id);
  status = ls__part_bool(part, entry, "single_word", false, &token->single_word);
  if (!status) status = ls__part_bool(part, entry, "lstrip", false, &token->lstrip);
  if (!status) status = ls__part_bool(part, entry, "rstrip", false, &token->rstrip);
  if (!status) status = ls__part_bool(part, entry, "special", false, &token->special);
  if (!status) status = ls__part_bool(part, entry, "normalized", !token->special, &token->normalized);
  return status ? status : enter(v, part, item, token);
}

static int by_text(const void *a, const void *b) {
  const ls__added_token *x = *(ls__added_token *const *)a, *y = *(ls__added_token *const *)b;
  size_t common = x->length < y->length ? x->length : y->length;
  int order = memcmp(x->text, y->text, common);
  return order ? order : (x->length > y->length) - (x->length < y->length);
}

static bool fill_set(ls__added_set *set, const ls__added_tokens *a, bool normalized) {
  set->token = malloc(((size_t)a->count + 1) * sizeof *set->token);
  if (!set->token) return false;
  for (int32_t i = 0; i < a->count; i++)
    if (a->token[i].normalized == normalized && a->token[i].length) set->token[set->count++] = &a->token[i];
  qsort(set->token, (size_t)set->count, sizeof *set->token, by_text);
  int32_t next = 0;
  for (int32_t byte = 0; byte <= 256; byte++) {
    while (next < set->count && (unsigned char)set->token[next]->text[0] < byte) next++;
    set->first[byte] = next;
  }
  return true;
}

/* Replaces the text of each added token that is searched for in normalized text by its own normalized text. */
static ls_status normalize(ls__added_tokens *a, const ls__normalizers *n, const ls__part *part) {
  ls__line line = {0}, work = {0};
  ls_status status = LS_OK;
  for (int32_t i = 0; !status && i < a->count; i++) {
    ls__added_token *token = &a->token[i];
    if (!token->normalized) continue;
    ls__line_clear(&line, false);
    if (!ls__line_add(&line, token->text, token->length, 0)) status = ls__part_memory(part);
    if (!status) status = ls__normalize(n, &line, &work);
    if (!status && !ls__text_add(&a->texts, line.text.data, line.text.length)) status = ls__part_memory(part);
    token->length = line.text.length;
  }
  size_t at = 0;
  for (int32_t i = 0; !status && i < a->count; i++) {
    if (!a->token[i].normalized) continue;
    a->token[i].text = a->texts.data + at;
    at += a->token[i].length;
  }
  ls__line_free(&line);
  ls__line_free(&work);
  return status;
}

static ls_status read_all(ls__added_tokens *a, ls__vocab *v, const ls__normalizers *n, const ls__part *part, const json_t *list) {
  size_t count = json_array_size(list);
  int64_t limit = (int64_t)v->size + (int64_t)count;
  a->token = calloc(count + 1, sizeof *a->token);
  if (!a->token) return ls__part_memory(part);
  for (size_t i = 0; i < count; i++) {
    ls_status status = read_token(v, part, i, json_array_get(list, i), limit, &a->token[i]);
    if (status) return status;
  }
  a->count = (int32_t)count;
  a->special = calloc((size_t)v->size + 1, sizeof *a->special);
  if (!a->special) return ls__part_memory(part);
  for (int32_t i = 0; i < a->count; i++) {
    ls__added_token *token = &a->token[i];
    token->text = ls__vocab_token(v, token->id, &token->length); /* the vocabulary's copy of the text, which outlives the parsed JSON */
    a->special[token->id] |= token->special;
  }
  ls_status status = n->count ? normalize(a, n, part) : LS_OK;
  if (status) return status;
  return fill_set(&a->raw, a, false) && fill_set(&a->normalized, a, true) ? LS_OK : ls__part_memory(part);
}

ls_status ls__added_read(ls__added_tokens *a, ls__vocab *v, const ls__normalizers *n, const ls__part *part) {
  json_t *list = NULL;
  if (!ls__part_is_null(part)) {
    ls_status status = ls__part_parse(part, &list);
    if (status) return status;
    if (!json_is_array(list)) {
      json_decref(list);
      return ls__part_fail(part, "the added tokens are not a JSON list");
    }
  }
  ls_status status = read_all(a, v, n, part, list);
  json_decref(list);
  return status;
}

void ls__added_free(ls__added_tokens *a) {
  free(a->token);
  free(a->special);
  free(a->texts.data);
  free(a->raw.token);
  free(a->normalized.token);
}

/* ---- searching ----------------------------------------------------------------------------------------------------- */

/* The index of the first of the sorted tokens [low, high) whose byte at index `depth` is at least `byte`; `high` where there is none. The
   tokens have the same bytes before `depth`. */
static int32_t lower(const ls__added_set *set, int32_t low, int32_t high, size_t depth, int32_t byte) {
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    if ((unsigned char)set->token[middle]->text[depth] < byte) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* The longest added token that begins at byte `at` of the text; NULL where none begins there. */
static const ls__added_token *longest(const ls__added_search *s, size_t at) {
  const ls__added_set *set = s->set;
  const unsigned char *text = (const unsigned char *)s->text + at;
  int32_t low = set->first[*text], high = set->first[*text + 1];
  const ls__added_token *best = NULL;
  for (size_t depth = 1; low < high; depth++) {
    if (set->token[low]->length == depth) best = set->token[low++];
    if (at + depth >= s->length) break;
    low = lower(set, low, high, depth, text[depth]);
    high = lower(set, low, high, depth, text[depth] + 1);
  }
  return best;
}

static size_t character_before(const char *text, size_t at, int32_t *code) {
  size_t from = at - 1;
  while (from > 0 && ((unsigned char)text[from] & 0xC0) == 0x80) from--;
  ls__utf8_next(text + from, at - from, code);
  return from;
}

static bool touches_word(const ls__added_search *s, size_t from, size_t to) {
  int32_t code;
  if (from > 0) {
    character_before(s->text, from, &code);
    if (ls__text_is_word(code)) return true;
  }
  if (to == s->length) return false;
  ls__utf8_next(s->text + to, s->length - to, &code);
  return ls__text_is_word(code);
}

/* Extends the range [*from, *to) of an added token found in the text over the white space around it, where the token's settings (lstrip,
   rstrip) ask for that, but not over white space that belongs to the token found before it. That earlier token may
   already have taken the first bytes of this one, if this one is white space; the bytes left then stand for this token, as in Hugging
   Face's tokenizers. */
static void strip(const ls__added_search *s, const ls__added_token *token, size_t *from, size_t *to) {
  int32_t code;
  if (token->lstrip && *from < s->done) *from = s->done;
  while (token->lstrip && *from > s->done) {
    size_t before = character_before(s->text, *from, &code);
    if (ls__text_class(code) != LS__CLASS_SPACE) break;
    *from = before;
  }
  while (token->rstrip && *to < s->length) {
    size_t n = ls__utf8_next(s->text + *to, s->length - *to, &code);
    if (ls__text_class(code) != LS__CLASS_SPACE) break;
    *to += n;
  }
}

bool ls__added_next(ls__added_search *s, ls__stretch *out) {
  if (s->found) {
    s->found = false;
    *out = s->token;
    return true;
  }
  const unsigned char *text = (const unsigned char *)s->text;
  const int32_t *first = s->set->first;
  size_t done = s->done;
  while (s->set->count && s->at < s->length) {
    if (first[text[s->at]] == first[text[s->at] + 1]) {
      s->at++;
      continue;
    }
    const ls__added_token *token = longest(s, s->at);
    if (!token) {
      s->at++;
      continue;
    }
    size_t from = s->at, to = from + token->length;
    s->at = to;
    if (token->single_word && touches_word(s, from, to)) continue;
    strip(s, token, &from, &to);
    if (from >= to) continue; /* the token before has taken all bytes of this token, which are white space */
    s->token = (ls__stretch){from, to, token->id};
    s->done = to;
    s->found = done < from;
    *out = s->found ? (ls__stretch){done, from, -1} : s->token;
    return true;
  }
  if (done >= s->length) return false;
  s->done = s->length;
  *out = (ls__stretch){done, s->length, -1};
  return true;
}
