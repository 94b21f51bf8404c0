/* Zip archives whose entries are stored as they are, the way PyTorch writes them. */
#ifndef LUASIGHT_ZIP_H
#define LUASIGHT_ZIP_H
#include "weights.h"

/*   | local header | bytes | local header | bytes | ... | directory | end |

   The directory names each entry and says where its local header is; the bytes lie behind that. */
typedef struct ls__zip_entry {
  const char *name;
  uint64_t begin, size; /* of its bytes in the file */
} ls__zip_entry;

typedef struct ls__zip {
  char *directory; /* the names are in it */
  int32_t count;
  ls__zip_entry *entries; /* by name */
} ls__zip;

/* Reads and checks the directory of a file of `size` bytes. On success the bytes of every entry lie in the file, and no two
   have a name; on failure `out` is empty. An entry that is compressed or encrypted is refused. */
ls_status ls__zip_read(int fd, const char *file, uint64_t size, ls__zip *out);
const ls__zip_entry *ls__zip_find(const ls__zip *zip, const char *name); /* NULL where there is none */
void ls__zip_free(ls__zip *zip);

#endif
