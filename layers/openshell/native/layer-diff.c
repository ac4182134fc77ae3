/* What a layer says of the folder below: files, whiteouts (character devices 0:0) and opaque folders, see the kernel's filesystems/overlayfs. */
#include "layer.h"
#include "protect.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEPTH_MAX 500

static void add(struct changes *c, const char *path, enum change_kind kind, mode_t mode) {
  if (c->count >= LAYER_CHANGES_MAX) c->whole = false;
  if (!c->whole) return;
  if (c->count == c->room) {
    struct change *more = realloc(c->all, (c->room * 2 + 256) * sizeof *more);
    if (more == NULL) {
      c->whole = false;
      return;
    }
    c->all = more;
    c->room = c->room * 2 + 256;
  }
  char *copy = strdup(path);
  if (copy == NULL) c->whole = false;
  else c->all[c->count++] = (struct change){copy, kind, mode};
}

void layer_free(struct changes *c) {
  for (size_t i = 0; i < c->count; i++) free(c->all[i].path);
  free(c->all);
  *c = (struct changes){0};
}

static bool same_content(int upper, int lower, const char *name, const struct stat *u, const struct stat *l) {
  char a[4096], b[4096];
  if (u->st_size != l->st_size || (u->st_mode & 07777) != (l->st_mode & 07777)) return false;
  if (S_ISLNK(u->st_mode)) {
    ssize_t n = readlinkat(upper, name, a, sizeof a), m = readlinkat(lower, name, b, sizeof b);
    return n >= 0 && n == m && memcmp(a, b, (size_t)n) == 0;
  }
  if (!S_ISREG(u->st_mode)) return false;
  int x = openat(upper, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), y = openat(lower, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  bool same = x >= 0 && y >= 0 && layer_same_bytes(x, y, u->st_size);
  if (x >= 0) close(x);
  if (y >= 0) close(y);
  return same;
}

static bool opaque(int fd) {
  char value[4];
  return fgetxattr(fd, "trusted.overlay.opaque", value, sizeof value) >= 1 && value[0] == 'y';
}

static void collect(struct changes *c, const char *path, int upper, int lower, int depth);

static void below(struct changes *c, const char *path, int upper, int lower, const char *name, bool merged, int depth) {
  int u = openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), l = merged ? openat(lower, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
  if (u < 0 || (merged && l < 0)) c->whole = false;
  else collect(c, path, u, l, depth + 1);
  if (u >= 0) close(u);
  if (l >= 0) close(l);
}

/* Made by us to be hidden, and still empty. */
static bool placeholder(int upper, const char *name) {
  char value[4];
  int fd = openat(upper, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  struct stat st;
  bool ours = fd >= 0 && fgetxattr(fd, PROTECT_PLACEHOLDER, value, sizeof value) > 0 && fstat(fd, &st) == 0;
  bool empty = ours && S_ISREG(st.st_mode) && st.st_size == 0;
  if (ours && S_ISDIR(st.st_mode)) {
    struct dirent **list = NULL;
    int n = scandirat(upper, name, &list, NULL, NULL);
    empty = n == 2;
    for (int i = 0; i < n; i++) free(list[i]);
    free(list);
  }
  if (fd >= 0) close(fd);
  return empty;
}

static void one(struct changes *c, const char *path, int upper, int lower, const char *name, int depth) {
  struct stat u, l;
  if (fstatat(upper, name, &u, AT_SYMLINK_NOFOLLOW) != 0) {
    c->whole = false;
    return;
  }
  bool there = lower >= 0 && fstatat(lower, name, &l, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && (S_ISDIR(u.st_mode) || S_ISREG(u.st_mode)) && placeholder(upper, name)) return;
  if (S_ISCHR(u.st_mode) && u.st_rdev == makedev(0, 0)) {
    if (there) add(c, path, CHANGE_DELETED, l.st_mode);
  } else if (S_ISDIR(u.st_mode)) {
    int fd = openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool merged = there && S_ISDIR(l.st_mode) && fd >= 0 && !opaque(fd);
    if (fd >= 0) close(fd);
    if (there && !merged) add(c, path, CHANGE_DELETED, l.st_mode);
    if (!merged) add(c, path, CHANGE_ADDED, u.st_mode);
    else if ((u.st_mode & 07777) != (l.st_mode & 07777)) add(c, path, CHANGE_CHANGED, u.st_mode);
    below(c, path, upper, lower, name, merged, depth);
  } else if (there && (u.st_mode & S_IFMT) != (l.st_mode & S_IFMT)) {
    add(c, path, CHANGE_DELETED, l.st_mode);
    add(c, path, CHANGE_ADDED, u.st_mode);
  } else if (!there) add(c, path, CHANGE_ADDED, u.st_mode);
  else if (!same_content(upper, lower, name, &u, &l)) add(c, path, CHANGE_CHANGED, u.st_mode);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void collect(struct changes *c, const char *path, int upper, int lower, int depth) {
  struct dirent **list = NULL;
  int n = depth > DEPTH_MAX || strlen(path) > PROTECT_PATH_MAX ? -1 : scandirat(upper, ".", &list, NULL, by_name);
  if (n < 0) c->whole = false;
  for (int i = 0; i < n; i++) {
    const char *name = list[i]->d_name;
    char *each = NULL;
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && c->whole) {
      if (asprintf(&each, "%s%s%s", path, path[0] != '\0' ? "/" : "", name) < 0) c->whole = false;
      else one(c, each, upper, lower, name, depth);
      free(each);
    }
    free(list[i]);
  }
  free(list);
}

void layer_collect(int upper, int lower, struct changes *out) {
  *out = (struct changes){.whole = true};
  collect(out, "", upper, lower, 0);
}

json_t *layer_diff(int upper, int lower) {
  static const char *const kinds[] = {"added", "changed", "deleted"};
  struct changes c;
  json_t *list = json_array();
  layer_collect(upper, lower, &c);
  for (size_t i = 0; i < c.count && i < LAYER_NAMED_MAX; i++) {
    mode_t mode = c.all[i].mode;
    char *path = protect_escape(c.all[i].path);
    if (path != NULL) json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "path", path, "change", kinds[c.all[i].kind], "type", S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "folder" : S_ISLNK(mode) ? "link" : "other"));
    free(path);
  }
  json_t *out = json_pack("{s:o,s:I,s:b}", "changes", list, "more", (json_int_t)(c.count > LAYER_NAMED_MAX ? c.count - LAYER_NAMED_MAX : 0), "checked", c.whole);
  layer_free(&c);
  return out;
}
