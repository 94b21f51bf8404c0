/* Allocations that fail when told to, for the drivers here: the program's own malloc takes the place of the library's. glibc only. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static long countdown = -1; /* allocations until one fails; below 0: none does */
static bool stay;           /* all behind it fail too */
static bool failed;
static long held;           /* allocations not freed */

static bool refused(void) {
  if (countdown < 0 || countdown-- > 0) return false;
  if (stay) countdown = 0;
  failed = true;
  errno = ENOMEM;
  return true;
}

static void *counted(void *memory) {
  held += memory != NULL;
  return memory;
}

void *malloc(size_t size) { return refused() ? NULL : counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return refused() ? NULL : counted(__libc_calloc(count, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return refused() ? NULL : counted(__libc_memalign(alignment, size)); }
void *realloc(void *old, size_t size) {
  if (refused()) return NULL;
  void *new = __libc_realloc(old, size);
  return old ? new : counted(new);
}
void free(void *memory) {
  held -= memory != NULL;
  __libc_free(memory);
}
