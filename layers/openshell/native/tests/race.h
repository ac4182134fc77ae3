/* What the hostile threads of race.c and race-locks.c do beside a call: they change the path, the link or the descriptor that it names, in a workspace with ok/ and prod/. */
#pragma once
#include <fcntl.h>
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
