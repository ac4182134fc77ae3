/* Hostile threads against openshelld's file operations: race MODE ROUNDS, in a workspace with ok/ and prod/. Prints how often something in prod/ was deleted, and for `time` percentiles in microseconds. */
#include "race.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void make(int at, const char *name) {
  int fd = openat(at, name, O_CREAT | O_WRONLY, 0600);
  if (fd >= 0) close(fd);
}

static int compare(const void *a, const void *b) {
  unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
  return x < y ? -1 : x > y;
}

static int measure(int rounds, int removing) {
  unsigned *took = calloc((size_t)rounds, sizeof *took);
  struct timespec from, to;
  if (!took) return 1;
  for (int i = 0; i < rounds; i++) {
    make(AT_FDCWD, "ok/t");
    clock_gettime(CLOCK_MONOTONIC, &from);
    int result = removing ? unlink("ok/t") : rename("ok/t", "ok/u");
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (result < 0) return 1;
    took[i] = (unsigned)((to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec);
  }
  qsort(took, (size_t)rounds, sizeof *took, compare);
  printf("p50=%.1f p99=%.1f\n", took[rounds / 2] / 1e3, took[rounds * 99 / 100] / 1e3);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int rounds = atoi(argv[2]), done = 0, refused = 0, other = 0, lost = 0;
  if (strcmp(argv[1], "time") == 0) return measure(rounds, 1);
  if (strcmp(argv[1], "time-rename") == 0) return measure(rounds, 0);
  pthread_t thread;
  int ok = open("ok", O_PATH | O_DIRECTORY);
  const struct way *way = ok < 0 ? NULL : start_way(argv[1], &thread);
  if (!way) return 1;
  while (go_on(rounds, done, refused, other)) {
    make(ok, "f");
    make(AT_FDCWD, "prod/f");
    char space[96];
    int at;
    const char *name = name_by(way, "f", &at, space);
    int result = at == AT_FDCWD ? unlink(name) : unlinkat(at, name, 0);
    if (result == 0) done++;
    else if (errno == EPERM || errno == EACCES) refused++;
    else other++;
    if (access("prod/f", F_OK) != 0) lost++;
  }
  over = 1;
  pthread_join(thread, NULL);
  printf("done=%d refused=%d other=%d lost=%d\n", done, refused, other, lost);
  return 0;
}
