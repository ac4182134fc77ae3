/* What is in files, holes left as holes: an agent can make a file that is said to be larger than any disk, and takes nothing. */
#include "layer.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 65536

/* Where data begins at or after `at`; `size` where there is none. -1: cannot be said. */
static off_t data_from(int fd, off_t at, off_t size) {
  off_t found = lseek(fd, at, SEEK_DATA);
  return found >= 0 ? found : errno == ENXIO ? size : -1;
}

static size_t step(off_t at, off_t end) { return end - at < BLOCK ? (size_t)(end - at) : BLOCK; }

bool layer_copy_bytes(int in, int out, off_t size) {
  char block[BLOCK];
  off_t at = 0;
  while (at < size && (at = data_from(in, at, size)) >= 0 && at < size) {
    off_t end = lseek(in, at, SEEK_HOLE);
    if (end <= at) return false;
    for (ssize_t n; at < end && at < size; at += n)
      if ((n = pread(in, block, step(at, end), at)) <= 0 || pwrite(out, block, (size_t)n, at) != n) return false;
  }
  return at >= 0 && ftruncate(out, size) == 0;
}

bool layer_same_bytes(int x, int y, off_t size) {
  char a[BLOCK / 4], b[BLOCK / 4];
  for (off_t at = 0; at < size;) {
    off_t one = data_from(x, at, size), other = data_from(y, at, size);
    if (one < 0 || other < 0) return false;
    at = one < other ? one : other;
    if (at >= size) return true;
    size_t want = size - at < (off_t)sizeof a ? (size_t)(size - at) : sizeof a;
    ssize_t n = pread(x, a, want, at);
    if (n <= 0 || pread(y, b, (size_t)n, at) != n || memcmp(a, b, (size_t)n) != 0) return false;
    at += n;
  }
  return true;
}
