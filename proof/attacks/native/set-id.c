/* `tries set_id HOW FILE`: a program that runs as its owner, by every call that gives a file a mode. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "attempt.h"

static int link_in(int fd, const char *to) {
  char from[40];
  snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
  return fd < 0 || linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) != 0;
}

ATTEMPT(set_id, 2) {
  const char *how = arg[0], *file = arg[1];
  umask(0);
  if (strcmp(how, "open") == 0) return open(file, O_CREAT | O_WRONLY, 06755) < 0;
  if (strcmp(how, "old-open") == 0) return syscall(SYS_open, file, O_CREAT | O_WRONLY, 06755) < 0;
  if (strcmp(how, "creat") == 0) return syscall(SYS_creat, file, 06755) < 0;
  if (strcmp(how, "tmpfile") == 0) {
    char folder[300];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(file, '/') - file), file);
    return link_in(open(folder, O_TMPFILE | O_WRONLY, 06755), file);
  }
  if (strcmp(how, "mknod") == 0) return mknod(file, S_IFREG | 06755, 0) != 0;
  if (strcmp(how, "openat2") == 0) {
    struct open_how h = {.flags = O_CREAT | O_WRONLY, .mode = 06755};
    return syscall(SYS_openat2, AT_FDCWD, file, &h, sizeof h) < 0;
  }
  int fd = open(file, O_CREAT | O_WRONLY, 0755);
  if (strcmp(how, "fchmod") == 0) return fchmod(fd, 06755) != 0;
  if (strcmp(how, "fchmod-wide") == 0) return syscall(SYS_fchmod, fd, 0xdead00000d00L | 06755) != 0; /* bits above those that count */
  if (strcmp(how, "fchmodat") == 0) return syscall(SYS_fchmodat, AT_FDCWD, file, 06755) != 0;
  if (strcmp(how, "fchmodat2") == 0) return syscall(452 /* fchmodat2 */, AT_FDCWD, file, 06755, 0) != 0;
  if (strcmp(how, "by-proc") == 0) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(file, O_PATH));
    return chmod(path, 06755) != 0;
  }
  if (strcmp(how, "capability") == 0) {
    unsigned data[5] = {0x02000001, 0xffffffff, 0, 0xff, 0};
    return setxattr(file, "security.capability", data, sizeof data, 0) != 0;
  }
  return 2;
}
