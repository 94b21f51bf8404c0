/* A small library of its own, which only the shell loads: the prompt of a line editor. libedit asks a C function for it, and a
   function of Lua cannot be given away safely. bindings/luasight/ffi/editline.lua declares the two functions. */
#include <stdio.h>

__attribute__((visibility("default"))) void luasight_prompt_set(const char *text);
__attribute__((visibility("default"))) char *luasight_prompt(void *editor);

static char prompt[256];

void luasight_prompt_set(const char *text) { snprintf(prompt, sizeof prompt, "%s", text); } /* cut at 255 bytes */

char *luasight_prompt(void *editor) { /* what libedit takes as EL_PROMPT */
  (void)editor;
  return prompt;
}
