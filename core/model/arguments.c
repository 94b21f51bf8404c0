/* Arguments of runs: fills the inputs of a function from a stream, makes the pair at an input point, and copies arguments that have to last
   until the run. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

/* Copies one argument with its sequences, so that an edit in a run cannot reach the caller's sequences. Tensors are shared. */
ls_status ls__own(const ls_value *stream, int32_t n, ls_value *out) {
  if (stream->kind == LS_OPEN) return ls_value_build(stream, n, out);
  if (ls__is_sequence(stream->kind)) {
    const ls_value *from = ls__seq_items(stream);
    const char **keys = ls__seq_keys(stream);
    int32_t length = ls_seq_length(stream);
    ls_value made;
    ls_status status = ls__seq_new(stream->kind, length, &made);
    if (status) return status;
    for (int32_t i = 0; i < length && !status; i++) {
      if (keys) ls__seq_keys(&made)[i] = ls__text_retain(keys[i]);
      status = ls__own(&from[i], 1, &ls__seq_items(&made)[i]);
    }
    if (status) ls_value_release(&made);
    else *out = made;
    return status;
  }
  ls_value v = *stream;
  ls_status status = ls__value_keep(&v);
  if (!status) *out = v;
  return status;
}

/* Replaces the tensors and sequences in a value by copies, so that the value shares memory with no other value. */
ls_status ls__own_memory(ls_value *v) {
  ls_value fresh;
  ls_status status = LS_OK;
  if (v->kind == LS_TENSOR) {
    if (!(status = ls__tensor_clone(v->as.p, &fresh))) ls__replace(v, fresh);
  } else if (ls__is_sequence(v->kind)) {
    if ((status = ls__own(v, 1, &fresh))) return status;
    ls_value old = *v; /* an element that stands here twice is one tensor in the copy too */
    ls_value *items = ls__seq_items(&fresh), *before = ls__seq_items(&old);
    for (int32_t i = 0, same; i < ls_seq_length(&fresh) && !status; i++) {
      for (same = 0; same < i && (before[i].kind != LS_TENSOR || before[same].as.p != before[i].as.p);) same++;
      if (same == i) {
        status = ls__own_memory(&items[i]);
      } else {
        ls_value_retain(&items[same]);
        ls__replace(&items[i], items[same]);
      }
    }
    ls__replace(v, fresh);
  }
  return status;
}

bool ls__stream_shares(const ls_value *stream, int32_t n, void *tensor) {
  for (int32_t i = 0; i < n; i++) {
    if (stream[i].kind == LS_TENSOR && ls__tensor_shares(stream[i].as.p, tensor)) return true;
    if (ls__is_sequence(stream[i].kind) && ls__stream_shares(ls__seq_items(&stream[i]), ls_seq_length(&stream[i]), tensor))
      return true;
  }
  return false;
}

/* Fills the cells for the inputs of a called function from the arguments `s`, a stream without nodes. */
ls_status ls__fill_inputs(const ls_function *function, const ls_value *s, int32_t n, ls_value *cells) {
  int32_t position = 0;
  for (int32_t i = 0; i < n;) {
    int32_t input = -1;
    if (s[i].kind == LS_KEY) {
      const char *key = s[i].as.s;
      for (int32_t k = function->positional; k < function->inputs && input < 0; k++)
        if (!strcmp(function->keywords[k], key)) input = k;
      if (input < 0) return ls__fail(LS_ERROR_ARGUMENT, "this recording of the module has no argument \"%s\"", key);
      i++;
    } else if ((input = position++) >= function->positional) {
      return ls__fail(LS_ERROR_ARGUMENT, "this recording of the module takes %d positional arguments, and more were passed",
                      function->positional);
    }
    int32_t end = ls__stream_value(s, i, n);
    ls_status status = ls__own(s + i, end - i, &cells[input]);
    if (status) return status;
    i = end;
  }
  return position == function->positional
             ? LS_OK
             : ls__fail(LS_ERROR_ARGUMENT, "this recording of the module takes %d positional arguments, not %d", function->positional,
                        position);
}

/* Makes the pair ((positional, ...), {keywords}) of a called function's inputs; the values move from the cells into the pair. */
ls_status ls__pair_of(const ls_function *function, ls_value *cells, ls_value *out) {
  ls_value pair, args, options;
  ls_status status = ls__seq_new(LS_TUPLE, 2, &pair);
  if (status) return status;
  if (!(status = ls__seq_new(LS_TUPLE, function->positional, &args))) {
    ls__seq_items(&pair)[0] = args;
    status = ls__seq_new(LS_STRUCT, function->inputs - function->positional, &options);
  }
  if (status) {
    ls_value_release(&pair);
    return status;
  }
  ls__seq_items(&pair)[1] = options;
  for (int32_t i = 0; i < function->inputs; i++) {
    bool keyword = i >= function->positional;
    int32_t k = keyword ? i - function->positional : i;
    if (keyword) ls__seq_keys(&options)[k] = ls__text_retain(function->keywords[i]);
    ls__seq_items(keyword ? &options : &args)[k] = cells[i];
    cells[i] = (ls_value){0};
  }
  *out = pair;
  return LS_OK;
}

void ls__pair_to_cells(const ls_function *function, const ls_value *pair, ls_value *cells) {
  const ls_value *args = ls__seq_items(&ls__seq_items(pair)[0]), *options = ls__seq_items(&ls__seq_items(pair)[1]);
  for (int32_t i = 0; i < function->inputs; i++) {
    cells[i] = i < function->positional ? args[i] : options[i - function->positional];
    ls_value_retain(&cells[i]);
  }
}

/* ---- kept until the run ------------------------------------------------------------------------------------------ */

ls_status ls__arguments_check(const ls_value *args, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    if (args[i].kind != LS_NODE) continue;
    ls__owner *open = NULL;
    ls_status status = ls__open_owner(&args[i], 1, &open);
    if (status) return status;
    if (open)
      return ls__fail(LS_ERROR_STATE,
                      "a value of an open trace cannot be the input of another run; save it and let its trace end");
  }
  return LS_OK;
}

/* Returns a number that grows with each change in place of a tensor, or of one inside a sequence. */
static int32_t version_of(const ls_value *v) {
  if (v->kind == LS_TENSOR) return (int32_t)ls__tensor_version(v->as.p);
  uint32_t sum = 0;
  for (int32_t i = 0; ls__is_sequence(v->kind) && i < ls_seq_length(v); i++) sum += (uint32_t)version_of(&ls__seq_items(v)[i]);
  return (int32_t)sum;
}

void ls__version_note(ls_value *v) {
  if (v->kind == LS_TENSOR || ls__is_sequence(v->kind)) v->aux = version_of(v);
}

ls_status ls__arguments_keep(const ls_value *args, int32_t n, ls_value **out) {
  ls_value *kept = malloc(sizeof *kept * (size_t)(n ? n : 1));
  if (!kept) return ls__fail(LS_ERROR_MEMORY, "out of memory for a copy of the arguments");
  for (int32_t i = 0; i < n; i++) {
    kept[i] = args[i];
    ls_status status = ls__value_keep(&kept[i]);
    if (status) {
      ls__stream_free(kept, i);
      return status;
    }
    ls__version_note(&kept[i]);
  }
  *out = kept;
  return LS_OK;
}

ls_status ls__arguments_unchanged(const ls_value *stream, int32_t n, const char *what) {
  for (int32_t i = 0; i < n; i++)
    if ((stream[i].kind == LS_TENSOR || ls__is_sequence(stream[i].kind)) && stream[i].aux != version_of(&stream[i]))
      return ls__fail(LS_ERROR_CHANGED, "%s", what);
  return LS_OK;
}
