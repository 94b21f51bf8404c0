/* Reads zip archives whose entries are not compressed, as PyTorch writes them. */
#ifndef LUASIGHT_ZIP_H
#define LUASIGHT_ZIP_H
#include "weights.h"

/* The layout of a zip archive:

     | local header | bytes | local header | bytes | ... | directory | end |

   The directory has the name of each entry and the place of its local header; the bytes follow that header. */
typedef struct ls__zip_entry {
  const char *name;
  uint64_t begin, size; /* the place of the entry's bytes in the archive, and their number */
} ls__zip_entry;

typedef struct ls__zip {
  char *directory; /* the bytes of the directory; the names of the entries point into it */
  int32_t count;
  ls__zip_entry *entries; /* the entries of the archive, sorted by name */
} ls__zip;

/* Reads and checks the directory of the zip archive `fd`, which has `size` bytes. On success the bytes of every entry
   lie in the file, and no two entries have the same name; on failure `out` is empty. A compressed or encrypted entry is an error. */
ls_status ls__zip_read(int fd, const char *file, uint64_t size, ls__zip *out);
const ls__zip_entry *ls__zip_find(const ls__zip *zip, const char *name); /* returns NULL where no entry has the name */
void ls__zip_free(ls__zip *zip);

#endif
