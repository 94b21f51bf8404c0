/* Errors, which are a status and texts in a buffer of the calling thread, and the count of the handles that are alive. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/base.h"

static _Thread_local struct {
  char message[2048], cause[1024], point[512];
  int64_t site, site2;
  int32_t again;
} last;

ls_status (ls__fail)(ls_status code, const char *format, ...) {
  /* the new text is made in a buffer of its own, since the arguments may be texts of the last error, which it replaces */
  char text[sizeof last.message];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(last.message, text, sizeof text);
  last.cause[0] = last.point[0] = 0;
  last.site = last.site2 = 0;
  last.again = 0;
  return code;
}

void ls__fail_cause(const char *text) { snprintf(last.cause, sizeof last.cause, "%s", text); }
void ls__fail_point(const char *point) { snprintf(last.point, sizeof last.point, "%s", point); }

void ls__fail_again(void) { last.again = 1; }

void ls__fail_site(int64_t site, int64_t site2) {
  last.site = site;
  last.site2 = site2;
}

const char *ls_error_message(void) { return last.message; }
const char *ls_error_cause(void) { return last.cause; }
const char *ls_error_point(void) { return last.point; }
int64_t ls_error_site(void) { return last.site; }
int64_t ls_error_site2(void) { return last.site2; }
int32_t ls_error_again(void) { return last.again; }
const char *ls_header_hash(void) { return LS_HEADER_HASH; }
int32_t ls_abi_version(void) { return LS_ABI_VERSION; }

static int64_t alive;

void ls__live_add(int32_t n) { alive += n; }
int64_t ls_live(void) { return alive; }
