/* What every folder of the core may use: the contract, errors, near misses, interned texts and JSON. */
#ifndef LUASIGHT_BASE_H
#define LUASIGHT_BASE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/json.h"
#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)
#include "abi.h"
#pragma GCC visibility pop

/* error.c: sets the error of the thread and returns `code`, so that a function can `return ls__fail(...)`. */
ls_status ls__fail(ls_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
#if defined(__clang_analyzer__) && !defined(LS_HEADER_HASH)
#define ls__fail(code, ...) ((ls__fail)(code, __VA_ARGS__), (code)) /* the analyzer cannot see into another file that ls__fail returns
                                                                       `code` */
#endif
void ls__fail_again(void);                      /* notes that the operation which lacked memory changed nothing and may be tried again */
void ls__fail_cause(const char *text);          /* adds the cause to the error just set */
void ls__fail_point(const char *point);         /* adds the model's point to the error just set */
void ls__fail_site(int64_t site, int64_t site2); /* adds script positions to the error just set */
void ls__live_add(int32_t n);                   /* adds `n` to the count of handles alive (ls_live) */
/* Checks the arguments of a public function before the function does anything: `LS__NEED(name && out);`. */
#define LS__NEED(condition) \
  do { \
    if (!(condition)) return ls__fail(LS_ERROR_ARGUMENT, "%s: its arguments must satisfy: %s", __func__, #condition); \
  } while (0)
/* near.c: the near misses of `name` among `count` candidates as ` (did you mean "a" or "b"?)`; "" if no candidate is near. */
const char *ls__near(const char *name, const char *const *candidates, size_t count);
/* dtype.c: a dtype whose numbers files can hold. */
typedef struct ls__dtype {
  const char *code; /* the dtype's name in files: "F32" */
  const char *name; /* the dtype's name in luasight: "float32" */
  int32_t size;     /* the bytes of an element, and its alignment */
} ls__dtype;
enum { LS__DIMS = 64 }; /* the most axes that a tensor has */
const ls__dtype *ls__dtype_coded(const char *code); /* NULL where no dtype has that name in files */
const ls__dtype *ls__dtype_named(const char *name);
/* intern.c */
const char *ls__intern(const char *text, size_t length); /* one copy of each text, which lives as long as the process */

#ifdef __cplusplus
}
#endif
#endif
