/* Text for the tokenizers: UTF-8 read strictly, and the classes of characters that their patterns name. */
#ifndef LUASIGHT_TOKENIZER_TEXT_H
#define LUASIGHT_TOKENIZER_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ls__class { LS__CLASS_OTHER, LS__CLASS_LETTER, LS__CLASS_NUMBER, LS__CLASS_SPACE } ls__class;

/* The character at `text` (length >= 1) and, as result, its bytes. `*code` is -1 where it is not UTF-8: the result is then
   the bytes that one U+FFFD stands for, as Unicode recommends and as Python and Rust replace them. */
size_t ls__utf8_next(const char *text, size_t length, int32_t *code);

/* Writes a character; gives its bytes. */
size_t ls__utf8_put(int32_t code, char out[4]);

/* Where the text stops being UTF-8; `length` where it never does. */
size_t ls__utf8_valid(const char *text, size_t length);

/* \p{L}, \p{N}, White_Space or none of them; the three do not overlap. */
ls__class ls__text_class(int32_t code);

/* \w: letters, marks, digits, connectors, joiners, and the circled letters that count as alphabetic. */
bool ls__text_is_word(int32_t code);

/* Characters as models have learned them: see age.c. */
bool ls__text_is_control(int32_t code);     /* these three as the rules of BERT have them */
bool ls__text_is_punctuation(int32_t code);
bool ls__text_is_mark(int32_t code);
bool ls__text_is_accent(int32_t code);      /* any mark, for StripAccents */
int32_t ls__text_combining_class(int32_t code);
bool ls__text_has_form(int32_t code);       /* false: no normal form changes it */

/* Room for `more` elements of `size` bytes behind `count`; NULL without memory, `data` is then as before. */
void *ls__reserve(void *data, size_t *room, size_t count, size_t more, size_t size);

/* A text that grows. */
typedef struct ls__text {
  char *data;
  size_t length, room;
} ls__text;

bool ls__text_reserve(ls__text *t, size_t more); /* false without memory, `t` is then as before */
bool ls__text_add(ls__text *t, const char *text, size_t length);

/* Appends the text with U+FFFD for what is not UTF-8. */
bool ls__text_add_replaced(ls__text *t, const char *text, size_t length);

#endif
