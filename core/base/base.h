/* What every folder of the core may use: the interface (abi.h), errors, proposals for wrong names, interned texts and JSON. */
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

/* Sets the error of the calling thread and returns `code`, so that a function can `return ls__fail(...)` (error.c). */
ls_status ls__fail(ls_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
#if defined(__clang_analyzer__) && !defined(LS_HEADER_HASH)
/* tells clang's static analyzer that ls__fail, which is in another file, returns `code` */
#define ls__fail(code, ...) ((ls__fail)(code, __VA_ARGS__), (code))
#endif
void ls__fail_again(void); /* notes in the error just set that the operator, which lacked memory, changed nothing and may be called again */
void ls__fail_cause(const char *text);          /* adds to the error just set its cause: an error text of libtorch or of the system */
void ls__fail_point(const char *point);         /* adds to the error just set the point of the model at which it happened */
void ls__fail_site(int64_t site, int64_t site2); /* adds one or two script positions (file and line) to the error just set */
void ls__live_add(int32_t n);                   /* adds `n` to the count of handles that are alive, which ls_live returns */
/* Checks the arguments of a public function: `LS__NEED(name && out);`. Where the condition is false, the function returns
   LS_ERROR_ARGUMENT. */
#define LS__NEED(condition) \
  do { \
    if (!(condition)) return ls__fail(LS_ERROR_ARGUMENT, "%s: the arguments of this function must satisfy: %s", __func__, #condition); \
  } while (0)
/* Returns those candidates that the wrong name `name` may have been meant to be, as ` (did you mean "a" or "b"?)`; "" if no candidate is
   near (near.c). */
const char *ls__near(const char *name, const char *const *candidates, size_t count);
/* A dtype whose numbers files can hold (dtype.c). */
typedef struct ls__dtype {
  const char *code; /* the dtype's name in files: "F32" */
  const char *name; /* the dtype's name in luasight: "float32" */
  int32_t size;     /* the bytes that one element takes, which are also its alignment */
} ls__dtype;
enum { LS__DIMS = 64 }; /* the most axes that a tensor can have */
const ls__dtype *ls__dtype_coded(const char *code); /* the dtype that files name by `code`, such as "F32"; NULL where there is none */
const ls__dtype *ls__dtype_named(const char *name);
/* intern.c */
/* Returns a new reference to the one copy of a text that all equal texts share; NULL when out of memory. ls_live counts these references. */
const char *ls__intern(const char *text);
const char *ls__intern_fixed(const char *text);  /* the copy of a text of a small vocabulary; it lives as long as the process */
/* The two functions below count a reference to an interned text. They do nothing with a text that is not interned, such as a borrowed one. */
const char *ls__text_retain(const char *text);   /* returns `text` */
void ls__text_release(const char *text);

#ifdef __cplusplus
}
#endif
#endif
