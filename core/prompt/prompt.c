/* The prompt of a line editor: libedit asks a C function for it, and Lua gives none away. */
#include <stdio.h>
#include "base/base.h"

static char prompt[256];

void ls_prompt_set(const char *text) { snprintf(prompt, sizeof prompt, "%s", text); }

char *ls_prompt(void *editor) {
  (void)editor;
  return prompt;
}
