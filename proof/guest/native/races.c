/*
 * Hostile processes against questions of the kernel: races KIND ROUNDS, in a folder with prod/may and prod/keep, where what is done to files is asked about, yes for `may` and no for `keep`.
 * While one process asks for the object that it may have, the other, which goes on running, puts the other object in its place. Prints how often something in prod/keep was lost.
 */
#include "../../../layers/openshell/native/tests/passing.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

/* Shared with the other process, as are the descriptors. */
static volatile int over;
static char path[16] = "prod/may//f";
static int may, keep, spot, ends[2];

static void to_link(const char *target) {
  (void)symlink(target, "next");
  (void)rename("next", "link");
}
static int flip(void *unused) {
  while (!over) {
    to_link("prod/keep");
    to_link("prod/may");
  }
  return unused != NULL;
}
static int swap(void *unused) {
  while (!over) {
    to_link("prod/keep/f");
    to_link("prod/may/f");
  }
  return unused != NULL;
}
/* Two folders' names exchanged, whole, in one step. */
static int storm(void *unused) {
  while (!over) (void)syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", RENAME_EXCHANGE);
  return unused != NULL;
}
static int redirect(void *unused) {
  while (!over) {
    (void)dup2(keep, spot);
    (void)dup2(may, spot);
  }
  return unused != NULL;
}
/* The bytes of the name itself, and a little of nothing, so that a whole name stands there now and then. */
static int rewrite(void *unused) {
  volatile char *name = path;
  for (unsigned n = 0; !over; n++) {
    const char *now = n & 1 ? "keep/" : "may//";
    for (int i = 0; i < 5; i++) name[5 + i] = now[i];
    for (volatile int wait = 0; wait < 50; wait++) continue;
  }
  return unused != NULL;
}
/* Descriptors by a socket, one of each, so that nobody knows which comes next. */
static int pass(void *unused) {
  for (unsigned n = 0; !over; n++)
    if (send_descriptor(ends[0], n * 2654435761u >> 31 ? keep : may) < 0 && errno != EAGAIN) break;
  return unused != NULL;
}

static void make(const char *name) {
  int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
  if (fd >= 0 && write(fd, "x", 1) != 1) _exit(4);
  if (fd >= 0) close(fd);
}

static long act(const char *kind) {
  if (strcmp(kind, "flip") == 0) return unlink("link/f");
  if (strcmp(kind, "swap") == 0) {
    int fd = open("link", O_WRONLY | O_TRUNC);
    return fd < 0 ? -1 : close(fd);
  }
  if (strcmp(kind, "storm") == 0) return rename("one/f", "out");
  if (strcmp(kind, "redirect") == 0) return unlinkat(spot, "f", 0);
  if (strcmp(kind, "rewrite") == 0) return unlink(path);
  int fd = take_descriptor(ends[1]), error;
  long result = unlinkat(fd, "f", 0);
  error = errno;
  close(fd);
  errno = error;
  return result;
}

int main(int argc, char **argv) {
  static const struct { const char *name; int (*run)(void *); } kinds[] = {{"flip", flip}, {"swap", swap}, {"storm", storm}, {"redirect", redirect}, {"rewrite", rewrite}, {"pass", pass}};
  int (*other)(void *) = NULL, rounds = argc == 3 ? atoi(argv[2]) : 0, done = 0, refused = 0, failed = 0, lost = 0, status;
  struct stat st;
  for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kinds[i].name, argv[1]) == 0) other = kinds[i].run;
  may = open("prod/may", O_PATH | O_DIRECTORY);
  keep = open("prod/keep", O_PATH | O_DIRECTORY);
  spot = dup(may);
  (void)symlink("prod/may", "one");
  (void)symlink("prod/keep", "two");
  to_link(other == swap ? "prod/may/f" : "prod/may");
  if (!other || spot < 0 || keep < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0) return 2;
  make("prod/keep/f");
  make("prod/may/f");
  /* Not a thread: a question stops the process that asks, not this one. */
  pid_t pid = clone(other, (char *)malloc(65536) + 65536, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL);
  if (pid < 0) return 3;
  for (int i = 0; i < rounds; i++) {
    make("prod/may/f");
    long result = act(argv[1]);
    if (result == 0) done++;
    else if (errno == EPERM) refused++;
    else failed++;
    if (stat("prod/keep/f", &st) < 0 || st.st_size != 1) {
      lost++;
      make("prod/keep/f");
    }
  }
  over = 1;
  shutdown(ends[0], SHUT_RDWR);
  close(ends[1]);
  (void)waitpid(pid, &status, 0);
  printf("%s rounds=%d done=%d refused=%d other=%d lost=%d\n", argv[1], rounds, done, refused, failed, lost);
  return 0;
}
