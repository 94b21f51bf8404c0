/* The arguments of a run: streams as the inputs of a function, the pair at an input point, and copies that are kept until the run. */
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
      if (keys) ls__seq_keys(&made)[i] = keys[i];
      status = ls__own(&from[i], 1, &ls__seq_items(&made)[i]);
    }
    if (status) ls_value_release(&made);
    else *out = made;
    return status;
  }
  *out = *stream;
  ls_value_retain(out);
  return LS_OK;
}

/* Copies the tensors and sequences in a value, so that it shares no memory. */
ls_status ls__own_memory(ls_value *v) {
  ls_value fresh;
  ls_status status = LS_OK;
  if (v->kind == LS_TENSOR) {
    if (!(status = ls__tensor_clone(v->as.p, &fresh))) ls__replace(v, fresh);
  } else if (ls__is_sequence(v->kind)) {
    if ((status = ls__own(v, 1, &fresh))) return status;
    ls__replace(v, fresh);
    for (int32_t i = 0; i < ls_seq_length(v) && !status; i++) status = ls__own_memory(&ls__seq_items(v)[i]);
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

/* Fills the input cells of a frame from the arguments `s`, which hold no nodes. */
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
      return ls__fail(LS_ERROR_ARGUMENT, "this recording of the module takes %d arguments", function->positional);
    }
    int32_t end = ls__stream_value(s, i, n);
    ls_status status = ls__own(s + i, end - i, &cells[input]);
    if (status) return status;
    i = end;
  }
  return position == function->positional
             ? LS_OK
             : ls__fail(LS_ERROR_ARGUMENT, "this recording of the module takes %d arguments, not %d", function->positional,
                        position);
}

/* Makes the pair ((positional, ...), {keywords}) of a frame's inputs; the values move from the cells into the pair. */
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
    if (keyword) ls__seq_keys(&options)[k] = function->keywords[i];
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

ls_status ls__arguments_keep(const ls_value *args, int32_t n, ls_value **out) {
  ls_value *kept = malloc(sizeof *kept * (size_t)(n ? n : 1));
  if (!kept) return ls__fail(LS_ERROR_MEMORY, "out of memory for arguments");
  for (int32_t i = 0; i < n; i++) {
    kept[i] = args[i];
    if (kept[i].kind == LS_KEY || kept[i].kind == LS_STRING) kept[i].as.s = ls__intern(kept[i].as.s, strlen(kept[i].as.s));
    else ls_value_retain(&kept[i]);
    if (kept[i].kind == LS_TENSOR) kept[i].aux = (int32_t)ls__tensor_version(kept[i].as.p);
  }
  *out = kept;
  return LS_OK;
}

ls_status ls__arguments_unchanged(const ls_value *stream, int32_t n, const char *what) {
  for (int32_t i = 0; i < n; i++)
    if (stream[i].kind == LS_TENSOR && stream[i].aux != (int32_t)ls__tensor_version(stream[i].as.p))
      return ls__fail(LS_ERROR_CHANGED, "%s", what);
  return LS_OK;
}
