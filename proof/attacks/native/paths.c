/* Ways to a file that are not its plain path. What was read goes to stdout. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include "../../../layers/openshell/native/tests/passing.h"
#include "attempt.h"

static int show(int fd) {
  char text[400];
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
  return n < 0 || fwrite(text, 1, (size_t)n, stdout) != (size_t)n;
}
static int again(int fd, int flags) {
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return fd < 0 ? -1 : open(path, flags);
}
/* FILE: found without being opened, opened by its descriptor. */
ATTEMPT(by_path_descriptor, 1) { return show(again(open(arg[0], O_PATH), O_RDONLY)); }
/* FILE TOKEN: opened for reading, opened again for writing. */
ATTEMPT(reopen, 2) {
  int fd = again(open(arg[0], O_RDONLY), O_WRONLY | O_APPEND);
  return fd < 0 || write(fd, arg[1], strlen(arg[1])) < 0;
}
/* FILE: openat2, which filters by flags do not understand. */
ATTEMPT(by_openat2, 1) {
  struct open_how h = {.flags = O_RDONLY};
  return show((int)syscall(SYS_openat2, AT_FDCWD, arg[0], &h, sizeof h));
}
/* FILE: from every descriptor that was inherited, up and down again. */
ATTEMPT(by_inherited, 1) {
  char path[400];
  snprintf(path, sizeof path, "../../../../../../..%s", arg[0]);
  for (int fd = 0; fd < 256; fd++) if (show(openat(fd, path, O_RDONLY)) == 0) return 0;
  return show(openat(AT_FDCWD, path, O_RDONLY));
}
/* A B FILE: names exchanged in one step, then read below the other one. */
ATTEMPT(exchange, 3) {
  syscall(SYS_renameat2, AT_FDCWD, arg[0], AT_FDCWD, arg[1], 2);
  return show(open(arg[2], O_RDONLY));
}
/* FOLDER FILE: by a descriptor of the folder above, without its name. */
ATTEMPT(from_folder, 2) { return show(openat(open(arg[0], O_RDONLY | O_DIRECTORY), arg[1], O_RDONLY)); }
/* FOLDER FILE: read through a descriptor that somebody else opened and sent. */
ATTEMPT(sent, 2) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
  int fd = open(arg[0], O_PATH | O_DIRECTORY);
  if (fd < 0 || send_descriptor(pair[0], fd) < 0) return 1;
  return show(openat(take_descriptor(pair[1]), arg[1], O_RDONLY));
}
/* FILE: mapped rather than read. */
ATTEMPT(mapped, 1) {
  struct stat s;
  int fd = open(arg[0], O_RDONLY);
  char *at = fd < 0 || fstat(fd, &s) != 0 || s.st_size == 0 ? MAP_FAILED : mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  return at == MAP_FAILED || fwrite(at, 1, (size_t)s.st_size, stdout) == 0;
}
/* FILE TOKEN: mapped for writing, shared. */
ATTEMPT(map_write, 2) {
  int fd = open(arg[0], O_RDWR);
  char *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED || ftruncate(fd, 100) != 0) return 1;
  memcpy(at, arg[1], strlen(arg[1]));
  return msync(at, 4096, MS_SYNC) != 0;
}
/* FILE: an access list for everybody, as the kernel keeps it. */
ATTEMPT(access_list, 1) {
  unsigned char list[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 7, 0, 255, 255, 255, 255, 32, 0, 7, 0, 255, 255, 255, 255};
  return setxattr(arg[0], "system.posix_acl_access", list, sizeof list, 0) != 0;
}
/* FILE NAME */
ATTEMPT(named_attribute, 2) { return setxattr(arg[0], arg[1], "y", 1, 0) != 0; }
/* FILE KIND NUMBER NUMBER */
ATTEMPT(node, 4) { return mknod(arg[0], (arg[1][0] == 'c' ? S_IFCHR : S_IFBLK) | 0666, makedev((unsigned)atoi(arg[2]), (unsigned)atoi(arg[3]))) != 0; }
/* FILE: nobody can open it while this waits. */
ATTEMPT(lease, 1) {
  int fd = open(arg[0], O_CREAT | O_RDWR, 0644);
  int held = 0;
  for (int i = 0; i < 100 && fd >= 0 && !held; i++) held = fcntl(fd, F_SETLEASE, F_WRLCK) == 0 || usleep(2000) != 0; /* nobody else may have it open */
  if (!held) return 1;
  fcntl(fd, F_SETSIG, 0);
  usleep(400000);
  return 0;
}
static char flip_a[300], flip_b[300];
static volatile int ended;
static volatile unsigned flips;
static void *flip(void *unused) {
  for (; !ended; flips++) syscall(SYS_renameat2, AT_FDCWD, flip_a, AT_FDCWD, flip_b, 2);
  return unused;
}
/* For 0.2 s, or, on a machine that lets neither side do much in that time, until both have: 20 s at most. */
static int race_goes_on(const struct timespec *begun, unsigned tries) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t ms = (now.tv_sec - begun->tv_sec) * 1000 + (now.tv_nsec - begun->tv_nsec) / 1000000;
  return !ended && (ms < 200 || (ms < 20000 && (flips < 10000 || tries < 10000)));
}
/* OWN LINK FILE: a link is exchanged for a file of one's own as fast as can be, while the name is read. */
ATTEMPT(flip_link, 3) {
  char text[100];
  struct timespec begun;
  pthread_t thread;
  snprintf(flip_a, sizeof flip_a, "%s", arg[0]);
  snprintf(flip_b, sizeof flip_b, "%s", arg[1]);
  int fd = open(flip_a, O_CREAT | O_WRONLY, 0644);
  if (fd < 0 || write(fd, "mine", 4) != 4 || symlink(arg[2], flip_b) != 0 || pthread_create(&thread, NULL, flip, NULL) != 0) return 1;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (unsigned tries = 0; race_goes_on(&begun, tries); tries++) {
    int at = open(flip_a, O_RDONLY);
    ssize_t n = at < 0 ? -1 : read(at, text, sizeof text);
    if (n > 4) fwrite(text, 1, (size_t)n, stdout), ended = 1;
    close(at);
  }
  ended = 1;
  return pthread_join(thread, NULL);
}
/* OWN OTHER NAME: two folders exchange places while a file is read by way of the first. */
ATTEMPT(flip_folder, 3) {
  char path[700], text[100];
  struct timespec begun;
  pthread_t thread;
  snprintf(flip_a, sizeof flip_a, "%s", arg[0]);
  snprintf(flip_b, sizeof flip_b, "%s", arg[1]);
  snprintf(path, sizeof path, "%s/%s", arg[0], arg[2]);
  mkdir(flip_a, 0755);
  if (pthread_create(&thread, NULL, flip, NULL) != 0) return 1;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (unsigned tries = 0; race_goes_on(&begun, tries); tries++) {
    int at = open(path, O_RDONLY);
    ssize_t n = at < 0 ? -1 : read(at, text, sizeof text);
    if (n > 0) fwrite(text, 1, (size_t)n, stdout), ended = 1;
    if (at >= 0) close(at);
  }
  ended = 1;
  return pthread_join(thread, NULL);
}
