/* Four threads that move files to and fro, or make and remove folders, and count what is answered. moves|folders ROUNDS */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS 4

static int rounds;
static int answers[256], across[256]; /* by errno: within the folder; to another mount */

static void count(int *counts, long result) { __sync_fetch_and_add(&counts[result < 0 ? errno & 255 : 0], 1); }

static void *make_folders(void *number) {
  char path[64];
  snprintf(path, sizeof path, "/workspace/f%ld", (long)number);
  for (int i = 0; i < rounds; i++) {
    count(answers, mkdir(path, 0755));
    count(answers, rmdir(path));
  }
  return NULL;
}

static void *move_files(void *number) {
  char from[64], to[64], outside[64];
  snprintf(from, sizeof from, "/workspace/a/b/x%ld", (long)number);
  snprintf(to, sizeof to, "/workspace/c/d/y%ld", (long)number);
  snprintf(outside, sizeof outside, "/usr/t%ld", (long)number);
  close(open(from, O_CREAT | O_WRONLY, 0644));
  for (int i = 0; i < rounds; i++) {
    count(answers, rename(from, to));
    count(answers, rename(to, from));
    count(across, rename(from, outside));
  }
  return NULL;
}

static void print(const char *what, const int *counts) {
  for (int i = 0; i < 256; i++)
    if (counts[i]) printf("%s %s %d\n", what, i ? strerrorname_np(i) : "ok", counts[i]);
}

int main(int argc, char **argv) {
  pthread_t thread[THREADS];
  bool files = argc > 2 && strcmp(argv[1], "moves") == 0;
  rounds = argc > 2 ? atoi(argv[2]) : 1;
  const char *const folders[] = {"/workspace/a", "/workspace/a/b", "/workspace/c", "/workspace/c/d"};
  for (size_t i = 0; files && i < sizeof folders / sizeof *folders; i++) mkdir(folders[i], 0755);
  for (long i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, files ? move_files : make_folders, (void *)i);
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  print("inside", answers);
  print("across", across);
  return 0;
}
