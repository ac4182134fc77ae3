/* Taking more than is granted: `tries take WHAT COUNT` says how much it had at once. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "attempt.h"

static void *wait_for_ever(void *unused) { return pause(), unused; }
static char block[1 << 20];
static long fill(int fd, long mebi) {
  long made = 0;
  memset(block, 7, sizeof block);
  while (fd >= 0 && made < mebi && write(fd, block, sizeof block) == (ssize_t)sizeof block) made++;
  return made;
}
static long take_many(const char *what, long count) {
  long made = 0;
  if (strcmp(what, "descriptors") == 0) while (made < count && open("/dev/null", O_RDONLY) >= 0) made++;
  if (strcmp(what, "threads") == 0) {
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    while (made < count && pthread_create(&thread, &small, wait_for_ever, NULL) == 0) made++;
  }
  if (strcmp(what, "memfd") == 0) made = fill(memfd_create("x", 0), count);
  if (strcmp(what, "shared") == 0) {
    char *at = mmap(NULL, (size_t)count << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (; at != MAP_FAILED && made < count; made++) memset(at + (made << 20), 7, 1 << 20);
  }
  /* Each has little, together they have much. */
  if (strcmp(what, "family") == 0) {
    int parts = 6, done[2];
    if (pipe(done) != 0) return 0;
    for (int i = 0; i < parts; i++) {
      if (fork() != 0) continue;
      size_t size = (size_t)(count / parts) << 20;
      char *at = malloc(size), ok = at != NULL;
      if (at != NULL) memset(at, 7, size);
      if (write(done[1], &ok, 1) == 1) pause();
      _exit(0);
    }
    close(done[1]);
    alarm(5);
    signal(SIGALRM, SIG_DFL);
    char ok;
    for (int i = 0; i < parts && read(done[0], &ok, 1) == 1; i++) made += ok ? count / parts : 0;
  }
  return made;
}
ATTEMPT(take, 2) {
  signal(SIGTERM, SIG_IGN);
  setpgid(0, 0);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  long made = take_many(arg[0], atol(arg[1]));
  dprintf(1, "took %ld\n", made);
  kill(0, SIGKILL);
  return 0;
}
/* FILE MIB */
ATTEMPT(fill_file, 2) { return printf("took %ld\n", fill(open(arg[0], O_CREAT | O_WRONLY | O_TRUNC, 0600), atol(arg[1]))) < 0 || unlink(arg[0]) != 0; }
/* WHAT: a limit above what was given. */
ATTEMPT(raise_limit, 1) {
  struct rlimit l;
  int which = atoi(arg[0]);
  if (getrlimit(which, &l) != 0 || l.rlim_max == RLIM_INFINITY) return 1;
  l.rlim_max++, l.rlim_cur = l.rlim_max;
  return setrlimit(which, &l) != 0 || puts("raised") < 0;
}
