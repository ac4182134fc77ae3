/* For tests: opens the image of a layer as the shim does, and says what came of it. Usage: test-layer-image FOLDER BYTES */
#include "layer-image.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

int main(int argc, char **argv) {
  char err[400] = "";
  struct statvfs fs;
  int folder = argc == 3 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  int tree = folder < 0 ? -1 : layer_image_open(folder, strtoull(argv[2], NULL, 10), err, sizeof err);
  if (tree < 0 || fstatvfs(tree, &fs) != 0) {
    printf("refused: %s\n", err);
    return 1;
  }
  printf("mounted: %llu KiB free, flags %lx\n", (unsigned long long)fs.f_bavail * fs.f_frsize / 1024, fs.f_flag & (ST_NOSUID | ST_NODEV | ST_RDONLY));
  return 0;
}
