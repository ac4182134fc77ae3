/* What a protected thing is, so that a change is noticed: content for what is small, else what the kernel says of it. */
#include "inside.h"
#include "protect.h"
#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (1 << 20)
#define ENTRIES_MAX 4096
#define DEPTH_MAX 32

struct state {
  crypto_generichash_state hash;
  unsigned entries;
  bool failed;
};

static void feed(struct state *s, const void *data, size_t n) { crypto_generichash_update(&s->hash, data, n); }
static void feed_text(struct state *s, const char *text) { feed(s, text, strlen(text) + 1); }

/* The change time is the kernel's: no program can set it back. */
static void feed_stat(struct state *s, const struct stat *st) {
  char line[200];
  snprintf(line, sizeof line, "%llu %lld %lld.%09ld %lld.%09ld", (unsigned long long)st->st_ino, (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
  feed_text(s, line);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void feed_thing(struct state *s, int parent, const char *name, int depth);

static void feed_folder(struct state *s, int fd, int depth) {
  struct dirent **list = NULL;
  int n = scandirat(fd, ".", &list, NULL, by_name);
  if (n < 0) s->failed = true;
  for (int i = 0; i < n; i++) {
    if (strcmp(list[i]->d_name, ".") != 0 && strcmp(list[i]->d_name, "..") != 0) feed_thing(s, fd, list[i]->d_name, depth + 1);
    free(list[i]);
  }
  free(list);
}

static void feed_thing(struct state *s, int parent, const char *name, int depth) {
  struct stat st;
  char kind[32];
  int at = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (at < 0 || fstat(at, &st) != 0) {
    s->failed = true;
    if (at >= 0) close(at);
    return;
  }
  feed_text(s, name);
  snprintf(kind, sizeof kind, "%o %o", st.st_mode & S_IFMT, st.st_mode & 0111);
  feed_text(s, kind);
  bool small = ++s->entries <= ENTRIES_MAX && depth < DEPTH_MAX;
  if (S_ISLNK(st.st_mode)) {
    char target[4096];
    ssize_t n = readlinkat(at, "", target, sizeof target);
    if (n < 0) s->failed = true;
    else feed(s, target, (size_t)n);
  } else if (S_ISREG(st.st_mode) && small && st.st_size <= FILE_MAX) {
    size_t length = 0;
    char *text = protect_read(parent, name, FILE_MAX, &length);
    if (text != NULL) feed(s, text, length);
    else feed_stat(s, &st); /* not readable by its owner: then its times must do */
    free(text);
  } else if (S_ISDIR(st.st_mode) && small) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) feed_folder(s, fd, depth);
    else feed_stat(s, &st);
    if (fd >= 0) close(fd);
  } else feed_stat(s, &st);
  feed_text(s, "/");
  close(at);
}

void protect_digest(int root, const char *path, char out[65]) {
  const char *name;
  unsigned char hash[32];
  struct state s = {.entries = 0};
  struct stat st;
  out[0] = '\0';
  int parent = protect_parent(root, path, &name);
  if (parent < 0) return;
  if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    crypto_generichash_init(&s.hash, NULL, 0, sizeof hash);
    /* O_PATH cannot be read; what is below is opened from it again. */
    feed_thing(&s, parent, name, 0);
    crypto_generichash_final(&s.hash, hash, sizeof hash);
    sodium_bin2hex(out, 65, hash, sizeof hash);
    if (s.failed) memcpy(out, "failed", 6);
  }
  close(parent);
}
