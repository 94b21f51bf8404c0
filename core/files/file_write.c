/* Writing a file: a temporary file beside the target is written, synced, and renamed to the target. A program that has mapped the old
   file keeps the old bytes; a program that opens the path finds the old file or the complete new one, even after a crash. */
#define _DEFAULT_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "weights.h"

/* Writes `size` bytes to the open file `fd`; returns false, with errno set, on failure. */
static bool put(int fd, const void *bytes, size_t size) {
  const char *at = bytes;
  while (size) {
    ssize_t n = write(fd, at, size < (1u << 30) ? size : 1u << 30);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (n == 0) errno = EIO;
      return false;
    }
    at += n;
    size -= (size_t)n;
  }
  return true;
}

static bool put_all(int fd, const ls__file_part *parts, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (!put(fd, parts[i].bytes, parts[i].size)) return false;
  return fsync(fd) == 0;
}

/* Creates and opens a temporary file in the folder of `path` and writes its path to `name`, which has room for 48 bytes more than `path`.
   Returns the file descriptor, -1 on failure. */
static int create_beside(const char *path, char *name, size_t room) {
  for (int32_t i = 0; i < 1000; i++) {
    snprintf(name, room, "%s.%ld-%d.tmp", path, (long)getpid(), i);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

/* Syncs the folder of the file `path` to the disk, so that the rename of the temporary file to `path` survives a crash. A folder that
   cannot be opened or synced is an error only where the disk fails (EIO). */
static ls_status sync_folder(const char *path) {
  char *folder = strdup(path);
  if (!folder) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory while the file is written", path);
  char *slash = strrchr(folder, '/');
  if (slash) slash[slash == folder ? 1 : 0] = 0;
  int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free(folder);
  if (fd < 0) return LS_OK;
  ls_status status = fsync(fd) && errno == EIO ? ls__weights_fail_system(path, "cannot sync the folder of the file to the disk") : LS_OK;
  close(fd);
  return status;
}

ls_status ls__file_write(const char *path, const ls__file_part *parts, int32_t n) {
  size_t room = strlen(path) + 48;
  char *name = malloc(room);
  if (!name) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory while the file is written", path);
  int fd = create_beside(path, name, room);
  if (fd < 0) {
    ls_status status = ls__weights_fail_system(path, "cannot make a temporary file in the folder of this file");
    free(name);
    return status;
  }
  ls_status status = put_all(fd, parts, n) ? LS_OK : ls__weights_fail_system(path, "cannot write the file");
  if (close(fd) && !status) status = ls__weights_fail_system(path, "cannot write the file");
  if (!status && rename(name, path))
    status = ls__weights_fail_system(path, "the file was written under a temporary name, but cannot be given its own name");
  if (status) unlink(name);
  free(name);
  return status ? status : sync_folder(path);
}

ls_status ls_file_write(const char *path, const void *bytes, size_t size) {
  if (!path || (!bytes && size)) return ls__fail(LS_ERROR_ARGUMENT, "ls_file_write needs a path and the bytes to write");
  return ls__file_write(path, &(ls__file_part){bytes, size}, 1);
}
