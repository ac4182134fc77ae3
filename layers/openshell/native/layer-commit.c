/* From the layer into the folder: as the owner, through descriptors, never through a link, never over what the owner has changed. */
#include "inside.h"
#include "layer.h"
#include "protect.h"
#include <dirent.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define TEMPORARY ".nemoclaw-commit"

struct commit {
  int upper, lower;
  uid_t uid;
  gid_t gid;
  long long since;
  json_t *refused; /* protected paths that are new or changed */
  json_t *left;
  long long committed, more;
  void *names; /* of files that have others too, by inode: tsearch(3) */
};

/* A file of the layer and where it is in the folder now. */
struct linked {
  ino_t inode;
  const char *path;
};

static void as_owner(const struct commit *c) {
  setfsgid(c->gid);
  setfsuid(c->uid);
}
static void as_root(void) {
  setfsuid(0);
  setfsgid(0);
}

static void leave(struct commit *c, const char *path, const char *why) {
  char *text = json_array_size(c->left) < LAYER_NAMED_MAX ? protect_escape(path) : NULL;
  if (text != NULL) json_array_append_new(c->left, json_pack("{s:s,s:s}", "path", text, "why", why));
  else c->more++;
  free(text);
}

static bool newer(const struct commit *c, const struct stat *st) { return (long long)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000 > c->since; }

/* Did the owner change it, or anything in it? */
static bool touched(const struct commit *c, int parent, const char *name, int depth) {
  struct stat st;
  if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return errno != ENOENT;
  if (newer(c, &st) || depth > 500) return true;
  if (!S_ISDIR(st.st_mode)) return false;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  bool found = dir == NULL;
  for (struct dirent *one; !found && (one = readdir(dir)) != NULL;)
    found = strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0 && touched(c, dirfd(dir), one->d_name, depth + 1);
  if (dir != NULL) closedir(dir);
  return found;
}

static bool remove_tree(int parent, const char *name, int depth) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR || depth > 500) return false;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  bool good = dir != NULL;
  for (struct dirent *one; good && (one = readdir(dir)) != NULL;)
    if (strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0) good = remove_tree(dirfd(dir), one->d_name, depth + 1);
  if (dir != NULL) closedir(dir);
  return good && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

static int by_inode(const void *a, const void *b) {
  ino_t x = ((const struct linked *)a)->inode, y = ((const struct linked *)b)->inode;
  return x < y ? -1 : x > y;
}

/* It becomes one more name of what was carried out under another: as many copies of one file would be more than the layer ever took. */
static bool link_file(const struct commit *c, const struct stat *st, int parent, const char *name) {
  struct linked **first = tfind(&(struct linked){.inode = st->st_ino}, &c->names, by_inode);
  const char *there;
  struct stat now;
  int from = first != NULL ? protect_parent(c->lower, (*first)->path, &there) : -1;
  if (from < 0) return false;
  as_owner(c);
  (void)unlinkat(parent, TEMPORARY, 0);
  /* Still what we wrote, and not what its owner has put there since. */
  bool good = fstatat(from, there, &now, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(now.st_mode) && now.st_size == st->st_size && now.st_mtim.tv_sec == st->st_mtim.tv_sec && now.st_mtim.tv_nsec == st->st_mtim.tv_nsec &&
              linkat(from, there, parent, TEMPORARY, 0) == 0;
  if (good && renameat(parent, TEMPORARY, parent, name) != 0) good = false, (void)unlinkat(parent, TEMPORARY, 0);
  as_root();
  close(from);
  return good;
}

static void remember_name(struct commit *c, const struct stat *st, const char *path) {
  struct linked *one = st->st_nlink > 1 ? malloc(sizeof *one) : NULL, **kept;
  if (one == NULL) return;
  *one = (struct linked){st->st_ino, path};
  kept = tsearch(one, &c->names, by_inode);
  if (kept == NULL || *kept != one) free(one);
}

static bool copy_file(const struct commit *c, int from, const char *name, int parent, const struct stat *st) {
  int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (in < 0) return false;
  as_owner(c);
  (void)unlinkat(parent, TEMPORARY, 0);
  int out = openat(parent, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  const struct timespec times[2] = {st->st_atim, st->st_mtim};
  bool good = out >= 0 && layer_copy_bytes(in, out, st->st_size) && fchmod(out, st->st_mode & 0777) == 0 && futimens(out, times) == 0 && fsync(out) == 0 && renameat(parent, TEMPORARY, parent, name) == 0;
  if (out >= 0 && !good) (void)unlinkat(parent, TEMPORARY, 0);
  as_root();
  if (out >= 0) close(out);
  close(in);
  return good;
}

static bool copy_link(const struct commit *c, int from, const char *name, int parent) {
  char target[4097];
  ssize_t n = readlinkat(from, name, target, sizeof target - 1);
  if (n < 0) return false;
  target[n] = '\0';
  as_owner(c);
  (void)unlinkat(parent, TEMPORARY, 0);
  bool good = symlinkat(target, parent, TEMPORARY) == 0 && renameat(parent, TEMPORARY, parent, name) == 0;
  as_root();
  return good;
}

static bool make_folder(const struct commit *c, int parent, const char *name, mode_t mode, bool new) {
  as_owner(c);
  bool good = !new || mkdirat(parent, name, 0700) == 0;
  int fd = good ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
  good = fd >= 0 && fchmod(fd, mode & 0777) == 0;
  as_root();
  if (fd >= 0) close(fd);
  return good;
}

/* It was in the folder when the layer began, and is not there any more. */
static bool origin_gone(int from, const char *name) {
  char value[256];
  int fd = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  bool had = fd >= 0 && fgetxattr(fd, "trusted.overlay.origin", value, sizeof value) > 0;
  if (fd >= 0) close(fd);
  return had;
}

static const char *carry_out(struct commit *c, const struct change *change, int from, int parent, const char *name) {
  struct stat st;
  if (change->kind == CHANGE_DELETED) {
    if (touched(c, parent, name, 0)) return "conflict";
    as_owner(c);
    bool good = remove_tree(parent, name, 0);
    as_root();
    return good ? NULL : "failed";
  }
  if (from < 0 || fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return "failed";
  if (change->kind == CHANGE_CHANGED && !S_ISDIR(st.st_mode) && touched(c, parent, name, 0)) return "conflict";
  if (change->kind == CHANGE_ADDED && (faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || (S_ISREG(st.st_mode) && origin_gone(from, name)))) return "conflict";
  bool good = S_ISREG(st.st_mode) ? link_file(c, &st, parent, name) || copy_file(c, from, name, parent, &st) : S_ISLNK(st.st_mode) ? copy_link(c, from, name, parent) : S_ISDIR(st.st_mode) && make_folder(c, parent, name, st.st_mode, change->kind == CHANGE_ADDED);
  if (good && S_ISREG(st.st_mode)) remember_name(c, &st, change->path);
  return good ? NULL : S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode) ? "failed" : "refused";
}

static bool is_refused(const struct commit *c, const char *path) {
  size_t index;
  json_t *one;
  json_array_foreach(c->refused, index, one) {
    char *text = protect_unescape(json_string_value(json_object_get(one, "path")) ?: "");
    size_t n = text != NULL ? strlen(text) : 0;
    bool hit = text == NULL || (strncmp(path, text, n) == 0 && (path[n] == '\0' || path[n] == '/'));
    free(text);
    if (hit) return true;
  }
  return false;
}

/* One change; what is done leaves the layer, but folders stay until all is done. */
static void apply(struct commit *c, const struct change *change) {
  const char *name;
  if (is_refused(c, change->path)) {
    leave(c, change->path, "protected");
    return;
  }
  int parent = protect_parent(c->lower, change->path, &name), from = protect_parent(c->upper, change->path, &name);
  const char *why = parent < 0 ? "conflict" : carry_out(c, change, from, parent, name);
  struct stat st;
  if (why != NULL) leave(c, change->path, why);
  else {
    c->committed++;
    if (from >= 0 && fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode)) (void)unlinkat(from, name, 0);
  }
  if (parent >= 0) close(parent);
  if (from >= 0) close(from);
}

/* Both layers as one folder, read-only, mounted nowhere. -1 with errno. */
static int merge(int upper, int lower) {
  char layers[80];
  snprintf(layers, sizeof layers, "/proc/self/fd/%d:/proc/self/fd/%d", upper, lower);
  int fs = (int)syscall(430 /* fsopen */, "overlay", 1 /* CLOEXEC */), mounted = -1;
  if (fs < 0) return -1;
  if (syscall(431 /* fsconfig */, fs, 1 /* SET_STRING */, "lowerdir", layers, 0) == 0 && syscall(431, fs, 6 /* CMD_CREATE */, NULL, NULL, 0) == 0)
    mounted = (int)syscall(432 /* fsmount */, fs, 1, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
  int e = errno;
  close(fs);
  errno = e;
  return mounted;
}

/* What is protected and would be new or changed, seen in both layers together; NULL: cannot be said. */
static json_t *look(int upper, int lower, json_t *protect) {
  char err[200];
  struct found_list list = {0};
  if (!json_is_object(protect)) return json_array();
  json_t *manifest = json_object(), *found = NULL;
  json_t *plan = json_pack("{s:[{s:s,s:s,s:b}],s:O,s:{s:s}}", "view", "do", "workspace", "path", "/workspace", "readOnly", 0, "protect", protect, "workspace", "kind", "direct");
  int merged = plan != NULL && protect_take(lower, plan, manifest, &list, err, sizeof err) == 0 ? merge(upper, lower) : -1;
  if (merged >= 0) found = protect_look(merged, manifest);
  if (merged >= 0) close(merged);
  found_free(&list);
  json_decref(manifest);
  json_decref(plan);
  return found;
}

json_t *layer_commit(int upper, int lower, uid_t uid, gid_t gid, long long since, json_t *protect) {
  struct commit c = {.upper = upper, .lower = lower, .uid = uid, .gid = gid, .since = since, .left = json_array(), .refused = look(upper, lower, protect)};
  struct changes changes;
  layer_collect(upper, lower, &changes);
  bool whole = changes.whole && c.refused != NULL && c.left != NULL;
  umask(0);
  for (size_t i = 0; whole && i < changes.count; i++) apply(&c, &changes.all[i]);
  /* Folders of the layer in which nothing is left, inner ones first. */
  for (size_t i = changes.count; whole && i > 0; i--) {
    const char *name;
    int from = S_ISDIR(changes.all[i - 1].mode) && changes.all[i - 1].kind != CHANGE_DELETED ? protect_parent(upper, changes.all[i - 1].path, &name) : -1;
    if (from >= 0) (void)unlinkat(from, name, AT_REMOVEDIR);
    if (from >= 0) close(from);
  }
  tdestroy(c.names, free);
  layer_free(&changes);
  json_decref(c.refused);
  return json_pack("{s:I,s:o,s:I,s:b}", "committed", (json_int_t)c.committed, "left", c.left, "more", (json_int_t)c.more, "checked", whole);
}
