/* What the hostile threads of race.c and race-locks.c do beside a call: they change the path, the link, the folder or the descriptor that it names, in a workspace with ok/ and prod/. */
#pragma once
#include "passing.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64] = "ok///f";
static volatile int over;
static int folder;

static void pause_a_little(void) {
  for (volatile int i = 0; i < (rand() & 2047); i++) continue;
}

static void *flip(void *unused) {
  while (!over) {
    memcpy(path, "prod/f", 7);
    pause_a_little();
    memcpy(path, "ok///f", 7);
    pause_a_little();
  }
  return unused;
}

static void *swap(void *unused) {
  while (!over) {
    if (symlink("prod", "next") == 0 && rename("next", "link") < 0) unlink("next");
    if (symlink("ok", "next") == 0 && rename("next", "link") < 0) unlink("next");
  }
  return unused;
}

/* The folder ok itself and a link to prod, exchanged in one step. */
static void *storm(void *unused) {
  char target[8];
  while (!over) renameat2(AT_FDCWD, "ok", AT_FDCWD, "other", RENAME_EXCHANGE);
  if (readlink("ok", target, sizeof target) >= 0) renameat2(AT_FDCWD, "ok", AT_FDCWD, "other", RENAME_EXCHANGE);
  return unused;
}

/* The descriptor `folder` is now one folder, now the other. */
static void *redirect(void *unused) {
  int ok = open("ok", O_RDONLY | O_DIRECTORY), prod = open("prod", O_RDONLY | O_DIRECTORY);
  while (!over) {
    dup2(prod, folder);
    pause_a_little();
    dup2(ok, folder);
    pause_a_little();
  }
  return unused;
}

/* The same, with descriptors that came over a socket. */
static void *pass(void *unused) {
  int ends[2], folders[] = {open("prod", O_RDONLY | O_DIRECTORY), open("ok", O_RDONLY | O_DIRECTORY)};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) exit(3);
  for (unsigned i = 0; !over; i++) {
    int fd = send_descriptor(ends[0], folders[i % 2]) < 0 ? -1 : take_descriptor(ends[1]);
    if (fd < 0 || dup2(fd, folder) < 0) exit(3);
    close(fd);
    pause_a_little();
  }
  return unused;
}

/* How the object of a call is named, so that the thread beside it can change what that means. */
enum naming { BY_PATH, BY_LINK, BY_FOLDER, BY_DESCRIPTOR };

static const struct way {
  const char *name;
  void *(*thread)(void *);
  enum naming naming;
} ways[] = {{"flip", flip, BY_PATH}, {"swap", swap, BY_LINK}, {"storm", storm, BY_FOLDER}, {"fd", redirect, BY_DESCRIPTOR}, {"pass", pass, BY_DESCRIPTOR}};

/* NULL: no such way, or what it needs could not be made. */
static const struct way *start_way(const char *name, pthread_t *thread) {
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    if (strcmp(ways[i].name, name) != 0) continue;
    unlink("link");
    unlink("other");
    folder = open("ok", O_RDONLY | O_DIRECTORY);
    if (folder < 0 || symlink("ok", "link") < 0 || symlink("prod", "other") < 0 || pthread_create(thread, NULL, ways[i].thread, NULL) != 0) return NULL;
    return &ways[i];
  }
  return NULL;
}

/* Whether there is another call after `done` + `refused` + `other`. How often the two threads meet is luck: it may take more rounds until both places were met. */
static int go_on(int rounds, int done, int refused, int other) {
  int calls = done + refused + other;
  return calls < rounds || ((done == 0 || refused == 0) && calls < 20 * rounds);
}

/* The name of NAME in ok/ for a call by that way, beneath the descriptor `*at`. */
static const char *name_by(const struct way *way, const char *name, int *at, char out[96]) {
  *at = way->naming == BY_DESCRIPTOR ? folder : AT_FDCWD;
  if (way->naming == BY_PATH) return path;
  snprintf(out, 96, "%s%s", way->naming == BY_LINK ? "link/" : way->naming == BY_FOLDER ? "ok/" : "", name);
  return out;
}
