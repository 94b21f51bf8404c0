/* A small library that only the shell loads: the prompt of the line editor libedit. libedit asks a C function for the prompt, and
   calling back into Lua for it is not safe. bindings/luasight/ffi/editline.lua declares the two functions. */
#include <stdio.h>

__attribute__((visibility("default"))) void luasight_prompt_set(const char *text);
__attribute__((visibility("default"))) char *luasight_prompt(void *editor);

static char prompt[256];

void luasight_prompt_set(const char *text) { snprintf(prompt, sizeof prompt, "%s", text); } /* longer texts are cut at 255 bytes */

char *luasight_prompt(void *editor) { /* the function for libedit's EL_PROMPT */
  (void)editor;
  return prompt;
}
