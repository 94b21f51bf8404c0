/* The script of a character, for the pre-tokenizer UnicodeScripts; oniguruma has the tables of scripts. */
#include <oniguruma.h>
#include <string.h>
#include "tokenizer/line.h"

static const char *const names[] = {
  "Common", "Latin", "Han", "Cyrillic", "Greek", "Arabic", "Hebrew", "Hangul", "Thai", "Devanagari", "Inherited", "Adlam", "Ahom",
  "Anatolian_Hieroglyphs", "Armenian", "Avestan", "Balinese", "Bamum", "Bassa_Vah", "Batak", "Bengali", "Bhaiksuki",
  "Bopomofo", "Brahmi", "Braille", "Buginese", "Buhid", "Canadian_Aboriginal", "Carian", "Caucasian_Albanian", "Chakma",
  "Cham", "Cherokee", "Coptic", "Cuneiform", "Cypriot", "Deseret", "Duployan", "Egyptian_Hieroglyphs", "Elbasan", "Ethiopic",
  "Georgian", "Glagolitic", "Gothic", "Grantha", "Gujarati", "Gurmukhi", "Hanunoo", "Hatran", "Imperial_Aramaic",
  "Inscriptional_Pahlavi", "Inscriptional_Parthian", "Javanese", "Kaithi", "Kannada", "Kayah_Li", "Kharoshthi", "Khmer",
  "Khojki", "Khudawadi", "Lao", "Lepcha", "Limbu", "Linear_A", "Linear_B", "Lisu", "Lycian", "Lydian", "Mahajani",
  "Malayalam", "Mandaic", "Manichaean", "Marchen", "Meetei_Mayek", "Mende_Kikakui", "Meroitic_Cursive",
  "Meroitic_Hieroglyphs", "Miao", "Modi", "Mongolian", "Mro", "Multani", "Myanmar", "Nabataean", "New_Tai_Lue", "Newa", "Nko",
  "Ogham", "Ol_Chiki", "Old_Hungarian", "Old_Italic", "Old_North_Arabian", "Old_Permic", "Old_Persian", "Old_South_Arabian",
  "Old_Turkic", "Oriya", "Osage", "Osmanya", "Pahawh_Hmong", "Palmyrene", "Pau_Cin_Hau", "Phags_Pa", "Phoenician",
  "Psalter_Pahlavi", "Rejang", "Runic", "Samaritan", "Saurashtra", "Sharada", "Shavian", "Siddham", "SignWriting", "Sinhala",
  "Sora_Sompeng", "Sundanese", "Syloti_Nagri", "Syriac", "Tagalog", "Tagbanwa", "Tai_Le", "Tai_Tham", "Tai_Viet", "Takri",
  "Tamil", "Tangut", "Telugu", "Thaana", "Tibetan", "Tifinagh", "Tirhuta", "Ugaritic", "Vai", "Warang_Citi", "Yi",
};

enum { SCRIPTS = sizeof names / sizeof *names, HAN = 2, ANY = -1 }; /* ANY: the character belongs to the script of its neighbours */

static bool is(int32_t code, const char *name) {
  OnigEncoding utf8 = ONIG_ENCODING_UTF8;
  OnigUChar text[32]; /* a copy, since the function takes no constant text */
  size_t length = strlen(name);
  memcpy(text, name, length + 1);
  int kind = utf8->property_name_to_ctype(utf8, text, text + length);
  return kind >= 0 && utf8->is_code_ctype((OnigCodePoint)code, (OnigCtype)kind);
}

/* The script of a character. The three scripts in which Japanese is written count as one. The script `guess` is tried first. */
static int script_of(int32_t code, int guess) {
  if (code == ' ') return ANY;
  if (code == 0x30FC || is(code, "Hiragana") || is(code, "Katakana")) return HAN;
  if (guess >= 0 && is(code, names[guess])) return guess;
  for (int i = 0; i < SCRIPTS; i++)
    if (is(code, names[i])) return i;
  return ANY;
}

size_t ls__script_begin(const char *text, size_t length) {
  size_t at = 0;
  for (int32_t code; at < length;) {
    size_t n = ls__utf8_next(text + at, length - at, &code);
    if (script_of(code, ANY) != ANY) break;
    at += n;
  }
  return at;
}

size_t ls__script_end(const char *text, size_t length, size_t at) {
  int32_t code;
  size_t n = ls__utf8_next(text + at, length - at, &code);
  int first = script_of(code, ANY);
  for (at += n; at < length; at += n) {
    n = ls__utf8_next(text + at, length - at, &code);
    int script = script_of(code, first);
    if (script != ANY && script != first) break;
  }
  return at;
}
