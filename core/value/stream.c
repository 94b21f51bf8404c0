/* Argument streams: arrays of values in which LS_OPEN comes before the elements of a sequence (abi.h). */
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

/* Whether a value can be the start, stop or step of a slice. */
static bool bounds(const ls_value *v) {
  return v->kind == LS_NONE || v->kind == LS_INT || v->kind == LS_FLOAT || ((v->kind == LS_TENSOR || v->kind == LS_NODE) && v->as.p);
}

ls_status ls__stream_check(const ls_value *stream, int32_t n) {
  if (n < 0 || (n && !stream)) return ls__fail(LS_ERROR_ARGUMENT, "an argument stream of %d values has a negative length or is NULL", n);
  int64_t wanted = 0; /* the number of elements still to come of the sequences that have begun */
  for (int32_t i = 0; i < n; i++) {
    const ls_value *v = &stream[i];
    if (v->kind < LS_NONE || v->kind > LS_ELLIPSIS || (ls__points(v->kind) && !v->as.p))
      return ls__fail(LS_ERROR_ARGUMENT, "item %d of an argument stream is not a value", i);
    if (v->kind == LS_KEY) {
      if (i + 1 == n || v[1].kind == LS_KEY)
        return ls__fail(LS_ERROR_ARGUMENT, "in an argument stream no value follows the name \"%s\"", v->as.s);
      continue;
    }
    if (wanted) wanted--;
    if (v->kind == LS_OPEN) {
      if (!ls__is_sequence(v->aux) || v->as.i < 0 || v->as.i > n)
        return ls__fail(LS_ERROR_ARGUMENT, "item %d of an argument stream is an LS_OPEN of a kind or a length that no sequence has", i);
      wanted += v->as.i;
    } else if (v->kind == LS_SLICE) {
      for (int32_t end = i + 3; i < end; i++)
        if (i + 1 >= n || !bounds(&stream[i + 1]))
          return ls__fail(LS_ERROR_ARGUMENT, "a slice in an argument stream must be followed by its start, stop and step");
    }
  }
  return wanted ? ls__fail(LS_ERROR_ARGUMENT, "an argument stream ends in the middle of a value") : LS_OK;
}
