/* Reading bytes of a file, and the errors of all code that reads and writes files, which name the file. */
#define _DEFAULT_SOURCE 1
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "weights.h"

/* ---- errors ------------------------------------------------------------------------------------------------------ */

ls_status ls__weights_fail(ls_status code, const char *file, const char *name, const char *format, ...) {
  char what[600], shown[LS__NAME_SHOWN];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  if (!name) return ls__fail(code, "%s: %s", file, what);
  return ls__fail(code, "%s: tensor \"%s\": %s", file, ls__printable(name, strlen(name), shown, sizeof shown), what);
}

ls_status ls__weights_fail_system(const char *file, const char *what) {
  const char *reason = strerror(errno);
  ls_status status = ls__fail(LS_ERROR_IO, "%s: %s: %s", file, what, reason);
  ls__fail_cause(reason);
  return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

ls_status ls__weights_read(int fd, const char *path, void *buffer, size_t size, uint64_t at) {
  char *to = buffer;
  while (size) {
    ssize_t n = pread(fd, to, size, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ls__weights_fail_system(path, "cannot read");
    if (n == 0) return ls__fail(LS_ERROR_IO, "%s: the file became shorter while it was read; wait until it is complete", path);
    to += n;
    size -= (size_t)n;
    at += (uint64_t)n;
  }
  return LS_OK;
}
