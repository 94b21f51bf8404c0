/* Text for the tokenizers: UTF-8 read strictly, and the classes of characters that their patterns name. */
#ifndef LUASIGHT_TOKENIZER_TEXT_H
#define LUASIGHT_TOKENIZER_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ls__class { LS__CLASS_OTHER, LS__CLASS_LETTER, LS__CLASS_NUMBER, LS__CLASS_SPACE } ls__class;

/* Reads the character at `text` (length >= 1) into `*code` and returns its length. Where the bytes are not UTF-8, `*code` is -1 and the
   result is the number of bytes that one U+FFFD replaces, as Unicode recommends and as Python and Rust do. */
size_t ls__utf8_next(const char *text, size_t length, int32_t *code);

/* Writes a character as UTF-8 and returns its length. */
size_t ls__utf8_put(int32_t code, char out[4]);

/* The place at which the text stops being UTF-8; `length` where all of it is. */
size_t ls__utf8_valid(const char *text, size_t length);

/* The class of a character: \p{L}, \p{N}, White_Space or none of these; they do not overlap. */
ls__class ls__text_class(int32_t code);

/* Whether a character is \w: letters, marks, digits, connectors, joiners, and the circled letters that count as alphabetic. */
bool ls__text_is_word(int32_t code);

/* Classes of characters in the Unicode versions with which models were trained; see age.c. */
bool ls__text_is_control(int32_t code);     /* the first three follow the rules of BERT */
bool ls__text_is_punctuation(int32_t code);
bool ls__text_is_mark(int32_t code);
bool ls__text_is_accent(int32_t code);      /* any mark, for StripAccents */
int32_t ls__text_combining_class(int32_t code);
bool ls__text_has_form(int32_t code);       /* whether a normal form may change the character */

/* Makes room for `more` elements of `size` bytes behind `count`; NULL when out of memory, and `data` is then unchanged. */
void *ls__reserve(void *data, size_t *room, size_t count, size_t more, size_t size);

/* A text that grows. */
typedef struct ls__text {
  char *data;
  size_t length, room;
} ls__text;

bool ls__text_reserve(ls__text *t, size_t more); /* false when out of memory, and `t` is then unchanged */
bool ls__text_add(ls__text *t, const char *text, size_t length);

/* Appends a text with U+FFFD in place of bytes that are not UTF-8. */
bool ls__text_add_replaced(ls__text *t, const char *text, size_t length);

#endif
