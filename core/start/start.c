/* Starting and stopping the library: what it sets up for itself, and what it may change in its process. */
#include "model/model.h"

static int32_t allowed;
static bool started;

ls_status ls_start(int32_t may) {
  if (started) return LS_OK;
  if (may & ~LS_START_ALL) return ls__fail(LS_ERROR_ARGUMENT, "ls_start does not know one of the given flags");
  if (may & LS_START_CUDA) ls__torch_load_cuda(); /* before any other use of libtorch */
  ls__tensors_start();
  ls__nodes_start();
  if (may & LS_START_QUIET_ERRORS) ls__torch_backtraces(false);
  if (may & LS_START_THREADS) ls__torch_use_cores(true);
  ls__torch_warnings(may & LS_START_WARNINGS);
  ls__interrupt_handled = may & LS_START_INTERRUPT;
  ls__json_watch = may & LS_START_JSON;
  allowed = may;
  started = true;
  return LS_OK;
}

void ls_stop(void) {
  if (!started) return;
  if (allowed & LS_START_QUIET_ERRORS) ls__torch_backtraces(true);
  if (allowed & LS_START_THREADS) ls__torch_use_cores(false);
  ls__torch_stop();
  started = false;
}
