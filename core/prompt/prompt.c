/* A small library that only the interactive shell of luasight loads: it holds the prompt for the line editor libedit. libedit calls a C
   function for the prompt, which must not be a callback into Lua. bindings/luasight/ffi/editline.lua declares the two functions. */
#include <stdio.h>

__attribute__((visibility("default"))) void luasight_prompt_set(const char *text);
__attribute__((visibility("default"))) char *luasight_prompt(void *editor);

static char prompt[256];

void luasight_prompt_set(const char *text) { snprintf(prompt, sizeof prompt, "%s", text); } /* a longer prompt is cut to 255 bytes */

char *luasight_prompt(void *editor) { /* libedit calls this function for the text of the prompt (EL_PROMPT) */
  (void)editor;
  return prompt;
}
