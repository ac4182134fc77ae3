/* Reading and writing files of JSON whole. */
#include "openshelld_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES_MAX (8 << 20)

json_t *json_read_whole(int fd) {
  struct stat file;
  if (fd < 0 || fstat(fd, &file) < 0 || file.st_size <= 0 || file.st_size > BYTES_MAX) return NULL;
  size_t size = (size_t)file.st_size, used = 0;
  char *text = malloc(size);
  ssize_t n = 1;
  while (text && used < size && n != 0) {
    n = pread(fd, text + used, size - used, (off_t)used);
    if (n < 0 && errno != EINTR) break;
    if (n > 0) used += (size_t)n;
  }
  json_t *json = text && used == size ? json_loadb(text, size, 0, NULL) : NULL;
  free(text);
  return json;
}

int json_write_whole(int fd, const json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT);
  size_t size = text ? strlen(text) : 0, sent = 0;
  errno = ENOMEM;
  for (ssize_t n; sent < size; sent += n > 0 ? (size_t)n : 0)
    if ((n = write(fd, text + sent, size - sent)) < 0 && errno != EINTR) break;
  int saved = errno;
  free(text);
  errno = saved;
  return size > 0 && sent == size ? 0 : -1;
}
