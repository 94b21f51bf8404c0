/* Zip archives whose entries are stored without compression, as PyTorch writes them. */
#ifndef LUASIGHT_ZIP_H
#define LUASIGHT_ZIP_H
#include "weights.h"

/* The layout of a zip archive:

     | local header | bytes | local header | bytes | ... | directory | end |

   The directory has the name of each entry and the place of its local header; the bytes follow that header. */
typedef struct ls__zip_entry {
  const char *name;
  uint64_t begin, size; /* the place and the size of its bytes in the file */
} ls__zip_entry;

typedef struct ls__zip {
  char *directory; /* the bytes of the directory, into which the names point */
  int32_t count;
  ls__zip_entry *entries; /* sorted by name */
} ls__zip;

/* Reads and checks the directory of a file of `size` bytes. On success the bytes of every entry lie in the file, and no two entries have
   the same name; on failure `out` is empty. A compressed or encrypted entry is an error. */
ls_status ls__zip_read(int fd, const char *file, uint64_t size, ls__zip *out);
const ls__zip_entry *ls__zip_find(const ls__zip *zip, const char *name); /* NULL where there is no such entry */
void ls__zip_free(ls__zip *zip);

#endif
