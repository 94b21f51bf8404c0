/* The machine that runs the instructions of a pickle (Python's format for objects). The length of the pickle bounds time and memory, since
   each instruction makes at most one value, and takes the values that it uses off the stack. */
#include "pickle.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 1 << 26 };

/* ---- errors and memory --------------------------------------------------------------------------------------------- */

ls_status ls__pickle_fail(const ls__pickle *p, const char *format, ...) {
  char what[600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  return ls__weights_fail(LS_ERROR_FORMAT, p->file, NULL, "at byte %zu of the pickle in this file: %s", p->at, what);
}

ls_status ls__pickle_no_memory(const ls__pickle *p) {
  return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the pickle in the file", p->file);
}

#define BROKEN "; fetch the file again"

ls_status ls__pickle_grow(const ls__pickle *p, void *table, int32_t count, int32_t *room, size_t size) {
  if (count < *room) return LS_OK;
  if (count >= MOST_VALUES) return ls__pickle_fail(p, "the pickle is damaged: it has more than %d values" BROKEN, MOST_VALUES);
  int32_t more = *room ? *room * 2 : 64;
  void *grown = realloc(*(void **)table, size * (size_t)more);
  if (!grown) return ls__pickle_no_memory(p);
  *(void **)table = grown;
  *room = more;
  return LS_OK;
}

ls_status ls__pickle_add(ls__pickle *p, int32_t kind, ls__pickle_value **out, int32_t *number) {
  ls_status status = ls__pickle_grow(p, &p->values, p->count, &p->room, sizeof *p->values);
  if (status) return status;
  *number = p->count++;
  *out = &p->values[*number];
  **out = (ls__pickle_value){.kind = kind};
  return LS_OK;
}

ls_status ls__pickle_append(ls__pickle *p, int32_t container, int32_t item) {
  ls__pickle_value *v = &p->values[container];
  if (!(v->count & (v->count - 1))) { /* the array of items is full where its count is 0 or a power of two */
    int32_t *items = realloc(v->as.items, sizeof *items * (v->count ? (size_t)v->count * 2 : 1));
    if (!items) return ls__pickle_no_memory(p);
    v->as.items = items;
  }
  v->as.items[v->count++] = item;
  return LS_OK;
}

void ls__pickle_free(ls__pickle *p) {
  for (int32_t i = 0; i < p->count; i++) {
    int32_t kind = p->values[i].kind;
    if (kind == LS__PICKLE_TUPLE || kind == LS__PICKLE_LIST || kind == LS__PICKLE_DICT) free(p->values[i].as.items);
  }
  for (int32_t i = 0; i < p->tensor_count; i++) free(p->tensors[i].shape);
  free(p->values);
  free(p->stack);
  free(p->memo);
  free(p->storages);
  free(p->tensors);
  *p = (ls__pickle){0};
}

/* ---- the stack ----------------------------------------------------------------------------------------------------- */

static ls_status push(ls__pickle *p, int32_t value) {
  ls_status status = ls__pickle_grow(p, &p->stack, p->depth, &p->stack_room, sizeof *p->stack);
  if (!status) p->stack[p->depth++] = value;
  return status;
}

static ls_status push_new(ls__pickle *p, int32_t kind, int64_t i) {
  ls__pickle_value *v = NULL;
  int32_t number = 0;
  ls_status status = ls__pickle_add(p, kind, &v, &number);
  if (status) return status;
  v->as.i = i;
  return push(p, number);
}

static ls_status pop(ls__pickle *p, int32_t *out) {
  if (!p->depth || p->stack[p->depth - 1] == LS__PICKLE_MARK)
    return ls__pickle_fail(p, "the pickle is damaged: an instruction takes a value from an empty stack" BROKEN);
  *out = p->stack[--p->depth];
  return LS_OK;
}

/* Finds the value on top of the stack without removing it. */
static ls_status top(ls__pickle *p, int32_t *out) {
  ls_status status = pop(p, out);
  if (!status) p->depth++;
  return status;
}

/* Finds the topmost mark (LS__PICKLE_MARK) on the stack of values; `*out` is the stack index directly above the mark. */
static ls_status find_mark(ls__pickle *p, int32_t *out) {
  for (int32_t i = p->depth; i > 0; i--) {
    if (p->stack[i - 1] == LS__PICKLE_MARK) {
      *out = i;
      return LS_OK;
    }
  }
  return ls__pickle_fail(p, "the pickle is damaged: an instruction looks on the stack for a mark that is not there" BROKEN);
}

/* Replaces the values on the stack from index `from` on by one container of these values. */
static ls_status push_container(ls__pickle *p, int32_t kind, int32_t from) {
  ls__pickle_value *v = NULL;
  int32_t number = 0;
  ls_status status = ls__pickle_add(p, kind, &v, &number);
  for (int32_t i = from; i < p->depth && !status; i++) {
    if (p->stack[i] == LS__PICKLE_MARK) return ls__pickle_fail(p, "the pickle is damaged: a tuple has a stack mark in it" BROKEN);
    status = ls__pickle_append(p, number, p->stack[i]);
  }
  if (status) return status;
  p->depth = from;
  return push(p, number);
}

static ls_status push_marked(ls__pickle *p, int32_t kind) {
  int32_t from = 0;
  ls_status status = find_mark(p, &from);
  if (!status) status = push_container(p, kind, from);
  if (status) return status;
  p->stack[p->depth - 2] = p->stack[p->depth - 1]; /* moves the container to the place of the mark */
  p->depth--;
  return kind == LS__PICKLE_DICT && p->values[p->stack[p->depth - 1]].count % 2
           ? ls__pickle_fail(p, "the pickle is damaged: a dict has a key without a value" BROKEN)
           : LS_OK;
}

static ls_status push_last(ls__pickle *p, int32_t n) {
  for (int32_t i = 1; i <= n; i++)
    if (p->depth < i || p->stack[p->depth - i] == LS__PICKLE_MARK)
      return ls__pickle_fail(p, "the pickle is damaged: an instruction takes a value from an empty stack" BROKEN);
  return push_container(p, LS__PICKLE_TUPLE, p->depth - n);
}

/* Moves the values on the stack from index `from` on into the list or dict below them. `marks`: 1 if a mark lies between, else 0. */
static ls_status extend(ls__pickle *p, int32_t kind, int32_t from, int32_t marks) {
  int32_t n = p->depth - from, at = from - marks - 1;
  if (n < 0 || at < 0 || p->stack[at] == LS__PICKLE_MARK || p->values[p->stack[at]].kind != kind)
    return ls__pickle_fail(p, "the pickle is damaged: it adds to what is not a %s" BROKEN, kind == LS__PICKLE_LIST ? "list" : "dict");
  if (kind == LS__PICKLE_DICT && n % 2) return ls__pickle_fail(p, "the pickle is damaged: a dict has a key without a value" BROKEN);
  for (int32_t i = from; i < p->depth; i++) {
    if (p->stack[i] == LS__PICKLE_MARK) return ls__pickle_fail(p, "the pickle is damaged: a list or dict has a stack mark in it" BROKEN);
    ls_status status = ls__pickle_append(p, p->stack[at], p->stack[i]);
    if (status) return status;
  }
  p->depth = from - marks;
  return LS_OK;
}

static ls_status extend_marked(ls__pickle *p, int32_t kind) {
  int32_t from = 0;
  ls_status status = find_mark(p, &from);
  return status ? status : extend(p, kind, from, 1);
}

/* ---- the memo ------------------------------------------------------------------------------------------------------ */

static ls_status memo_put(ls__pickle *p, uint64_t index) {
  int32_t value = 0;
  ls_status status = top(p, &value);
  if (status) return status;
  if (index > (uint64_t)p->count) return ls__pickle_fail(p, "the pickle is damaged: its memo gets a value under too large an index" BROKEN);
  while (!status && (uint64_t)p->memo_room <= index) {
    int32_t before = p->memo_room;
    status = ls__pickle_grow(p, &p->memo, before, &p->memo_room, sizeof *p->memo);
    if (!status) memset(p->memo + before, 0, sizeof *p->memo * (size_t)(p->memo_room - before));
  }
  if (status) return status;
  p->memo[index] = value + 1;
  return LS_OK;
}

static ls_status memo_get(ls__pickle *p, uint64_t index) {
  if (index >= (uint64_t)p->memo_room || !p->memo[index])
    return ls__pickle_fail(p, "the pickle is damaged: it recalls a value from its memo that was never remembered" BROKEN);
  return push(p, p->memo[index] - 1);
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

/* Takes the next `n` bytes of the pickle; returns NULL where fewer are left. */
static char *take(ls__pickle *p, uint64_t n) {
  if (n > p->length - p->at) return NULL;
  char *bytes = p->text + p->at;
  p->at += (size_t)n;
  return bytes;
}

static ls_status cut_short(const ls__pickle *p) { return ls__pickle_fail(p, "the pickle is damaged: it ends too early" BROKEN); }

/* Takes a little-endian unsigned number of `width` bytes from the pickle. */
static ls_status take_number(ls__pickle *p, size_t width, uint64_t *out) {
  const char *bytes = take(p, width);
  if (!bytes) return cut_short(p);
  *out = 0;
  memcpy(out, bytes, width);
  return LS_OK;
}

static ls_status push_text(ls__pickle *p, size_t width) {
  uint64_t n = 0;
  ls_status status = take_number(p, width, &n);
  if (status) return status;
  char *text = n < INT_MAX ? take(p, n) : NULL;
  if (!text) return cut_short(p);
  if (memchr(text, 0, (size_t)n)) return ls__pickle_fail(p, "a text in the pickle has a zero byte, which is not supported");
  ls__pickle_value *v = NULL;
  int32_t number = 0;
  status = ls__pickle_add(p, LS__PICKLE_TEXT, &v, &number);
  if (status) return status;
  v->count = (int32_t)n;
  v->as.text = text;
  return push(p, number);
}

/* Ends each text in the pickle with a zero byte. The zero overwrites an instruction behind the text, which has been executed by now. */
void ls__pickle_end_texts(ls__pickle *p) {
  for (int32_t i = 0; i < p->count; i++)
    if (p->values[i].kind == LS__PICKLE_TEXT) p->values[i].as.text[p->values[i].count] = 0;
}

static ls_status push_integer(ls__pickle *p, size_t width) {
  uint64_t n = 0;
  ls_status status = take_number(p, width, &n);
  return status ? status : push_new(p, LS__PICKLE_INT, width == 4 ? (int32_t)(uint32_t)n : (int64_t)n);
}

/* Pushes an integer of up to 8 bytes in two's complement. The number of its bytes is in front of it, as a number of `width` bytes. */
static ls_status push_long(ls__pickle *p, size_t width) {
  uint64_t n = 0, bits = 0;
  ls_status status = take_number(p, width, &n);
  if (status) return status;
  if (n > 8) return ls__pickle_fail(p, "the pickle has an integer of more than 64 bits, which is not supported");
  const char *bytes = take(p, n);
  if (!bytes) return cut_short(p);
  if (n && bytes[n - 1] & 0x80) bits = ~(uint64_t)0;
  memcpy(&bits, bytes, (size_t)n);
  return push_new(p, LS__PICKLE_INT, (int64_t)bits);
}

static ls_status push_float(ls__pickle *p) {
  const char *bytes = take(p, 8);
  if (!bytes) return cut_short(p);
  uint64_t bits;
  memcpy(&bits, bytes, sizeof bits);
  bits = __builtin_bswap64(bits); /* a float is big-endian, unlike the other numbers of a pickle */
  return push_new(p, LS__PICKLE_FLOAT, (int64_t)bits);
}

/* ---- names of Python ----------------------------------------------------------------------------------------------- */

/* Takes a line of text from the pickle and skips its line end. Returns NULL where no line end follows. */
static char *take_line(ls__pickle *p, size_t *length) {
  char *start = p->text + p->at, *end = memchr(start, '\n', p->length - p->at);
  if (!end) return NULL;
  *length = (size_t)(end - start);
  p->at += *length + 1;
  return start;
}

static ls_status push_name(ls__pickle *p, const char *module, size_t module_length, const char *name, size_t name_length) {
  int32_t found = 0;
  ls_status status = ls__pickle_find(p, module, module_length, name, name_length, &found);
  return status ? status : push(p, found);
}

static ls_status push_name_of_lines(ls__pickle *p) {
  size_t module_length = 0, name_length = 0;
  const char *module = take_line(p, &module_length), *name = module ? take_line(p, &name_length) : NULL;
  return name ? push_name(p, module, module_length, name, name_length) : cut_short(p);
}

static ls_status push_name_of_stack(ls__pickle *p) {
  int32_t name = 0, module = 0;
  ls_status status = pop(p, &name);
  if (!status) status = pop(p, &module);
  if (status) return status;
  const ls__pickle_value *m = &p->values[module], *n = &p->values[name];
  if (m->kind != LS__PICKLE_TEXT || n->kind != LS__PICKLE_TEXT)
    return ls__pickle_fail(p, "the pickle is damaged: it has a Python name that is not a text" BROKEN);
  return push_name(p, m->as.text, (size_t)m->count, n->as.text, (size_t)n->count);
}

static ls_status call(ls__pickle *p) {
  int32_t callee = 0, arguments = 0, result = 0;
  ls_status status = pop(p, &arguments);
  if (!status) status = pop(p, &callee);
  if (!status) status = ls__pickle_call(p, callee, arguments, &result);
  return status ? status : push(p, result);
}

/* Runs the instruction that sets attributes of an object: ignores those of a dict, which are PyTorch's version numbers; else fails. */
static ls_status build(ls__pickle *p) {
  int32_t state = 0, object = 0;
  ls_status status = pop(p, &state);
  if (!status) status = top(p, &object);
  if (status || p->values[object].kind == LS__PICKLE_DICT) return status;
  return ls__pickle_fail(p, "the pickle sets attributes of something that is not a dict; save a state dictionary with torch.save");
}

static ls_status persistent(ls__pickle *p) {
  int32_t id = 0, result = 0;
  ls_status status = pop(p, &id);
  if (!status) status = ls__pickle_persistent(p, id, &result);
  return status ? status : push(p, result);
}

/* ---- instructions -------------------------------------------------------------------------------------------------- */

static ls_status protocol(ls__pickle *p) {
  uint64_t version = 0;
  ls_status status = take_number(p, 1, &version);
  if (status || (version >= 2 && version <= 5)) return status;
  return ls__pickle_fail(p, "its protocol is %d, but only the pickle protocols 2 to 5 can be read; save the weights again", (int)version);
}

static ls_status indexed(ls__pickle *p, size_t width, ls_status (*f)(ls__pickle *, uint64_t)) {
  uint64_t index = 0;
  ls_status status = take_number(p, width, &index);
  return status ? status : f(p, index);
}

static ls_status pop_one(ls__pickle *p) {
  if (!p->depth) return ls__pickle_fail(p, "the pickle is damaged: an instruction takes a value from an empty stack" BROKEN);
  p->depth--;
  return LS_OK;
}

static ls_status pop_marked(ls__pickle *p) {
  int32_t from = 0;
  ls_status status = find_mark(p, &from);
  if (!status) p->depth = from - 1;
  return status;
}

static ls_status duplicate(ls__pickle *p) {
  int32_t value = 0;
  ls_status status = top(p, &value);
  return status ? status : push(p, value);
}

/* Executes one instruction. The codes of the instructions are those of Python's pickle.py. */
static ls_status step(ls__pickle *p, unsigned char instruction) {
  switch (instruction) {
    case 0x80: return protocol(p);
    case 0x95: return take(p, 8) ? LS_OK : cut_short(p); /* FRAME */
    case '(': return push(p, LS__PICKLE_MARK);
    case '0': return pop_one(p);
    case '1': return pop_marked(p);
    case '2': return duplicate(p);
    case 'N': return push_new(p, LS__PICKLE_NONE, 0);
    case 0x88: return push_new(p, LS__PICKLE_BOOL, 1);
    case 0x89: return push_new(p, LS__PICKLE_BOOL, 0);
    case 'K': return push_integer(p, 1);
    case 'M': return push_integer(p, 2);
    case 'J': return push_integer(p, 4);
    case 0x8a: return push_long(p, 1);
    case 0x8b: return push_long(p, 4);
    case 'G': return push_float(p);
    case 'U': case 0x8c: return push_text(p, 1);
    case 'T': case 'X': return push_text(p, 4);
    case 0x8d: return push_text(p, 8);
    case ']': return push_new(p, LS__PICKLE_LIST, 0);
    case '}': return push_new(p, LS__PICKLE_DICT, 0);
    case ')': return push_new(p, LS__PICKLE_TUPLE, 0);
    case 'l': return push_marked(p, LS__PICKLE_LIST);
    case 'd': return push_marked(p, LS__PICKLE_DICT);
    case 't': return push_marked(p, LS__PICKLE_TUPLE);
    case 0x85: case 0x86: case 0x87: return push_last(p, instruction - 0x84);
    case 'a': return extend(p, LS__PICKLE_LIST, p->depth - 1, 0);
    case 's': return extend(p, LS__PICKLE_DICT, p->depth - 2, 0);
    case 'e': return extend_marked(p, LS__PICKLE_LIST);
    case 'u': return extend_marked(p, LS__PICKLE_DICT);
    case 'q': return indexed(p, 1, memo_put);
    case 'r': return indexed(p, 4, memo_put);
    case 0x94: return memo_put(p, (uint64_t)p->memo_next++);
    case 'h': return indexed(p, 1, memo_get);
    case 'j': return indexed(p, 4, memo_get);
    case 'c': return push_name_of_lines(p);
    case 0x93: return push_name_of_stack(p);
    case 'R': case 0x81: return call(p);
    case 'b': return build(p);
    case 'Q': return persistent(p);
    default: break;
  }
  return ls__pickle_fail(p, "in the pickle the instruction 0x%02X is not supported; save a state dictionary with torch.save", instruction);
}

ls_status ls__pickle_run(ls__pickle *p, int32_t *out) {
  p->depth = p->memo_next = 0;
  if (p->memo_room) memset(p->memo, 0, sizeof *p->memo * (size_t)p->memo_room);
  while (p->at < p->length) {
    unsigned char instruction = (unsigned char)p->text[p->at++];
    if (instruction == '.') return pop(p, out);
    ls_status status = step(p, instruction);
    if (status) return status;
  }
  return cut_short(p);
}
