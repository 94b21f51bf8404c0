/* Reads the directory of a zip archive as if an attacker had written it. The numbers in a zip archive are
   little-endian, like those of the supported machines. */
#include <stdlib.h>
#include <string.h>
#include "zip.h"

enum {
  END = 22,           /* the size in bytes of zip's end-of-central-directory record; a comment may follow the record */
  END_WIDE = 56,      /* the size in bytes of zip64's end-of-central-directory record; a record of LOCATOR bytes says where it is */
  LOCATOR = 20,
  LONGEST_COMMENT = 65535,
  ENTRY = 46,         /* the size in bytes of a directory entry without its name, extra fields and comment */
  LOCAL = 30,
  LONGEST_DIRECTORY = 100000000
};

static uint16_t u16(const char *at) {
  uint16_t n;
  memcpy(&n, at, sizeof n);
  return n;
}

static uint32_t u32(const char *at) {
  uint32_t n;
  memcpy(&n, at, sizeof n);
  return n;
}

static uint64_t u64(const char *at) {
  uint64_t n;
  memcpy(&n, at, sizeof n);
  return n;
}

typedef struct reader {
  int fd;
  const char *file;
  uint64_t size;             /* the number of bytes of the archive */
  uint64_t at, length, count; /* the directory: its place and its length in bytes, and the number of its entries */
  ls__zip *out;
} reader;

static ls_status bad(const reader *r, const char *what) {
  return ls__weights_fail(LS_ERROR_FORMAT, r->file, NULL, "%s; " LS__DAMAGED, what);
}

static ls_status bad_entry(const reader *r, const char *name, const char *what) {
  char shown[LS__NAME_SHOWN];
  return ls__weights_fail(LS_ERROR_FORMAT, r->file, NULL, "the entry \"%s\" of the zip archive %s",
                          ls__printable(name, strlen(name), shown, sizeof shown), what);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

/* Reads zip64's end-of-central-directory record. An archive with many or large entries has that record in front of zip's usual one, which
   begins at byte `end`. */
static ls_status read_wide_end(reader *r, uint64_t end) {
  char locator[LOCATOR], wide[END_WIDE];
  if (end < LOCATOR) return LS_OK;
  ls_status status = ls__weights_read(r->fd, r->file, locator, LOCATOR, end - LOCATOR);
  if (status || memcmp(locator, "PK\006\007", 4)) return status;
  uint64_t at = u64(locator + 8);
  if (at > end - LOCATOR || end - LOCATOR - at < END_WIDE) return bad(r, "its zip directory is out of place");
  status = ls__weights_read(r->fd, r->file, wide, END_WIDE, at);
  if (status) return status;
  if (memcmp(wide, "PK\006\006", 4)) return bad(r, "its zip directory is out of place");
  r->count = u64(wide + 32);
  r->length = u64(wide + 40);
  r->at = u64(wide + 48);
  return LS_OK;
}

static ls_status find_end(reader *r) {
  if (r->size < END) return bad(r, "the file is too short for a zip archive");
  size_t n = r->size < END + LONGEST_COMMENT ? (size_t)r->size : END + LONGEST_COMMENT;
  char *tail = malloc(n);
  if (!tail) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the directory of the zip archive", r->file);
  ls_status status = ls__weights_read(r->fd, r->file, tail, n, r->size - n);
  size_t i = n - END;
  while (!status && (memcmp(tail + i, "PK\005\006", 4) || u16(tail + i + 20) != n - END - i)) {
    if (i-- == 0) status = bad(r, "the directory of the zip archive is not at its end");
  }
  if (!status) {
    r->count = u16(tail + i + 10);
    r->length = u32(tail + i + 12);
    r->at = u32(tail + i + 16);
    status = read_wide_end(r, r->size - n + i);
  }
  free(tail);
  if (status) return status;
  if (r->at > r->size || r->length > r->size - r->at) return bad(r, "its zip directory reaches beyond the file");
  if (r->length > LONGEST_DIRECTORY || r->count > r->length / ENTRY) return bad(r, "its zip directory has a wrong size");
  return LS_OK;
}

/* ---- entries ------------------------------------------------------------------------------------------------------- */

/* Reads from the zip64 extra field of an entry the numbers in `wanted` (ended by NULL) that did not fit 32 bits; the field has only these,
   in the order of `wanted`. Returns false where the field is broken. */
static bool read_extra(const char *extra, size_t n, uint64_t *const *wanted) {
  while (n >= 4) {
    size_t length = u16(extra + 2);
    if (length > n - 4) return false;
    if (u16(extra) == 1) {
      const char *at = extra + 4;
      for (; *wanted; wanted++) {
        if (**wanted != UINT32_MAX) continue;
        if (length < 8) return false;
        **wanted = u64(at);
        at += 8;
        length -= 8;
      }
      return true;
    }
    extra += 4 + length;
    n -= 4 + length;
  }
  return true;
}

static ls_status read_local(const reader *r, ls__zip_entry *entry, uint64_t at) {
  char local[LOCAL];
  if (at > r->size || r->size - at < LOCAL) return bad_entry(r, entry->name, "is beyond the end of the file; " LS__DAMAGED);
  ls_status status = ls__weights_read(r->fd, r->file, local, LOCAL, at);
  if (status) return status;
  if (memcmp(local, "PK\003\004", 4)) return bad_entry(r, entry->name, "is not where the directory says; " LS__DAMAGED);
  entry->begin = at + LOCAL + u16(local + 26) + u16(local + 28);
  if (entry->begin > r->size || entry->size > r->size - entry->begin)
    return bad_entry(r, entry->name, "reaches beyond the end of the file; " LS__DAMAGED);
  return LS_OK;
}

/* Reads the directory entry at `at`; `*used` is its number of bytes. Moves the name of the entry one byte to the front, over bytes already
   read, to make room for a zero behind the name. */
static ls_status read_entry(const reader *r, char *at, size_t left, ls__zip_entry *entry, size_t *used) {
  if (left < ENTRY || memcmp(at, "PK\001\002", 4)) return bad(r, "its zip directory ends too early");
  size_t name = u16(at + 28), extra = u16(at + 30), all = ENTRY + name + extra + u16(at + 32);
  if (all > left) return bad(r, "its zip directory ends too early");
  uint16_t flags = u16(at + 8), method = u16(at + 10);
  uint64_t packed = u32(at + 20), place = u32(at + 42);
  entry->size = u32(at + 24);
  memmove(at + ENTRY - 1, at + ENTRY, name);
  at[ENTRY - 1 + name] = 0;
  entry->name = at + ENTRY - 1;
  *used = all;
  if (strlen(entry->name) != name) return bad(r, "its zip directory has a name with a zero byte");
  if (!read_extra(at + ENTRY + name, extra, (uint64_t *const[]){&entry->size, &packed, &place, NULL}))
    return bad_entry(r, entry->name, "has a broken extra field; " LS__DAMAGED);
  if (flags & 1) return bad_entry(r, entry->name, "is encrypted; torch.save does not encrypt, so this is not a file of weights");
  if (method != 0 || packed != entry->size)
    return bad_entry(r, entry->name, "is compressed; torch.save does not compress entries, save the weights again with torch.save");
  return read_local(r, entry, place);
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const ls__zip_entry *)a)->name, ((const ls__zip_entry *)b)->name);
}

static ls_status read_entries(const reader *r) {
  ls__zip *zip = r->out;
  size_t at = 0, used = 0;
  for (; zip->count < (int32_t)r->count; zip->count++, at += used) {
    ls_status status = read_entry(r, zip->directory + at, (size_t)r->length - at, &zip->entries[zip->count], &used);
    if (status) return status;
  }
  if (zip->count) qsort(zip->entries, (size_t)zip->count, sizeof *zip->entries, by_name);
  for (int32_t i = 1; i < zip->count; i++)
    if (!by_name(&zip->entries[i - 1], &zip->entries[i]))
      return bad_entry(r, zip->entries[i].name, "occurs twice; " LS__DAMAGED);
  return LS_OK;
}

ls_status ls__zip_read(int fd, const char *file, uint64_t size, ls__zip *out) {
  *out = (ls__zip){0};
  reader r = {.fd = fd, .file = file, .size = size, .out = out};
  ls_status status = find_end(&r);
  if (status) return status;
  out->directory = malloc((size_t)r.length + 1);
  out->entries = calloc((size_t)r.count + 1, sizeof *out->entries);
  if (!out->directory || !out->entries) status = ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the directory of the zip archive", file);
  if (!status) status = ls__weights_read(fd, file, out->directory, (size_t)r.length, r.at);
  if (!status) status = read_entries(&r);
  if (status) ls__zip_free(out);
  return status;
}

const ls__zip_entry *ls__zip_find(const ls__zip *zip, const char *name) {
  if (!zip->count) return NULL;
  ls__zip_entry wanted = {.name = name};
  return bsearch(&wanted, zip->entries, (size_t)zip->count, sizeof wanted, by_name);
}

void ls__zip_free(ls__zip *zip) {
  free(zip->directory);
  free(zip->entries);
  *zip = (ls__zip){0};
}
