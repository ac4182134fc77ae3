/* Hostile threads against what openshelld does in locked folders: race-locks CALL HOW ROUNDS, in a workspace with ok/ (free) and prod/ (writing and creating are asked about, and denied). Prints how often prod/ was changed. */
#include "race.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* 0: it was done. */
static int act(const char *call, int at, const char *name) {
  int fd = -1;
  if (strcmp(call, "write") == 0) fd = openat(at, name, O_WRONLY | O_TRUNC);
  else if (strcmp(call, "create") == 0) {
    fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
  } else if (strcmp(call, "mkdir") == 0) {
    return mkdirat(at, name, 0700);
  } else if (strcmp(call, "truncate") == 0) {
    char whole[128];
    if (at == AT_FDCWD) return truncate(name, 0);
    snprintf(whole, sizeof whole, "/proc/self/fd/%d/%s", at, name);
    return truncate(whole, 0);
  } else if (strcmp(call, "chmod") == 0) {
    return fchmodat(at, name, 0600, 0);
  } else if (strcmp(call, "utimes") == 0) {
    struct timespec times[2] = {{1, 0}, {1, 0}};
    return utimensat(at, name, times, 0);
  } else if (strcmp(call, "symlink") == 0) {
    return symlinkat("x", at, name);
  } else if (strcmp(call, "link") == 0) {
    return linkat(AT_FDCWD, "ok/f", at, name, 0);
  } else {
    exit(2);
  }
  if (fd < 0) return -1;
  if (write(fd, "bad", 3) != 3) errno = 0;
  close(fd);
  return 0;
}

static void make(const char *name) {
  int fd = open(name, O_CREAT | O_WRONLY, 0644);
  if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const char *call = argv[1], *how = argv[2];
  int rounds = atoi(argv[3]), done = 0, refused = 0, other = 0, lost = 0;
  int makes = strcmp(call, "create") == 0 || strcmp(call, "mkdir") == 0 || strcmp(call, "symlink") == 0 || strcmp(call, "link") == 0;
  pthread_t thread;
  struct stat before, after;
  make("ok/f");
  if (stat("prod/f", &before) < 0) return 1;
  const struct way *way = start_way(how, &thread);
  if (!way || (makes && way->naming == BY_PATH)) return 2;
  for (int i = 0; go_on(rounds, done, refused, other); i++) {
    char name[64], space[96], through[160];
    int at;
    if (makes) snprintf(name, sizeof name, "n%d", i);
    else snprintf(name, sizeof name, "f");
    const char *named = name_by(way, name, &at, space);
    int result = act(call, at, named);
    if (result == 0) done++;
    else if (errno == EPERM || errno == EACCES || errno == EROFS) refused++;
    else other++;
    snprintf(through, sizeof through, "prod/%s", name);
    struct stat st;
    if (makes && lstat(through, &st) == 0) lost++;
  }
  over = 1;
  pthread_join(thread, NULL);
  if (stat("prod/f", &after) < 0 || after.st_size != before.st_size || after.st_mode != before.st_mode || after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec) lost++;
  printf("done=%d refused=%d other=%d lost=%d\n", done, refused, other, lost);
  return 0;
}
