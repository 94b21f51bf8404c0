/* Text for the tokenizers: a strict reader of UTF-8, and the classes of characters that the patterns of tokenizers name. */
#ifndef LUASIGHT_TOKENIZER_TEXT_H
#define LUASIGHT_TOKENIZER_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ls__class { LS__CLASS_OTHER, LS__CLASS_LETTER, LS__CLASS_NUMBER, LS__CLASS_SPACE } ls__class;

/* Reads the UTF-8 character at `text` (length >= 1) into `*code` and returns its number of bytes. Where the bytes are not UTF-8,
   `*code` is -1 and the result is the number of bytes that one U+FFFD replaces, as Unicode recommends and as Python and Rust do. */
size_t ls__utf8_next(const char *text, size_t length, int32_t *code);

/* Writes a character as UTF-8 and returns the number of bytes. */
size_t ls__utf8_put(int32_t code, char out[4]);

/* Returns the byte at which the text stops being valid UTF-8, `length` where the whole text is valid. */
size_t ls__utf8_valid(const char *text, size_t length);

/* The class of a character: a letter (\p{L}), a number (\p{N}), white space (White_Space) or other. */
ls__class ls__text_class(int32_t code);

/* Whether a character matches \w: letters, marks, digits, connectors, joiners, and the circled letters that count as alphabetic. */
bool ls__text_is_word(int32_t code);

/* The next six functions classify a character by the version of Unicode with which models were trained; see age.c. */
bool ls__text_is_control(int32_t code);     /* this function and the next two follow the rules of BERT */
bool ls__text_is_punctuation(int32_t code);
bool ls__text_is_mark(int32_t code);
bool ls__text_is_accent(int32_t code);      /* a mark of any kind, as the normalizer StripAccents removes them */
int32_t ls__text_combining_class(int32_t code);
bool ls__text_has_form(int32_t code);       /* whether a normal form of Unicode may change the character */

/* Makes room in the array `data` for `more` elements of `size` bytes behind its first `count` elements. Returns the array, which may have
   moved; or NULL when out of memory, and then `data` is unchanged. */
void *ls__reserve(void *data, size_t *room, size_t count, size_t more, size_t size);

/* A text that can grow: `length` bytes in memory of `room` bytes. */
typedef struct ls__text {
  char *data;
  size_t length, room;
} ls__text;

bool ls__text_reserve(ls__text *t, size_t more); /* makes room for `more` bytes; false when out of memory, with `t` unchanged */
bool ls__text_add(ls__text *t, const char *text, size_t length);

/* Appends a text, with U+FFFD in place of bytes that are not UTF-8; false when out of memory. */
bool ls__text_add_replaced(ls__text *t, const char *text, size_t length);

#endif
