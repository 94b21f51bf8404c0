/* Argument streams: arrays of values in prefix form (abi.h). */
#include <stdlib.h>
#include "value/value.h"

int32_t ls__stream_value(const ls_value *stream, int32_t i, int32_t n) {
  int64_t open = 1;
  while (open > 0 && i < n) {
    int32_t kind = stream[i].kind;
    if (kind == LS_OPEN) open += stream[i].as.i;
    if (kind == LS_SLICE) open += 3;
    if (kind != LS_KEY) open--;
    i++;
  }
  return i;
}

void ls__stream_free(ls_value *stream, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (stream[i].kind != LS_NODE) ls_value_release(&stream[i]);
  free(stream);
}
