/* The operators that a function or a stored edit read from a file may call: the list in operators_safe.txt as a sorted table. */
#include <stdlib.h>
#include <string.h>
#include "torch/torch.h"
#include "operators_safe.h" // CMake makes this header, with the sorted table operators_safe

static int by_name(const void *name, const void *row) { return strcmp(name, *(const char *const *)row); }

bool ls__operator_is_safe(const char *name) {
  return bsearch(name, operators_safe, sizeof operators_safe / sizeof *operators_safe, sizeof *operators_safe, by_name) != NULL;
}
