/* From the agent's path to a folder descriptor and a last name, in the agent's view and with the agent's rights. */
#include "openshelld_loop.h"
#include "openshelld_text.h"
#include "perform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define REMEMBERED 128
#define REMEMBER_MS 1000

struct folder {
  uid_t uid; /* 0: unused */
  dev_t dev;
  ino_t ino;
  uint64_t mount;
  int64_t until;
  bool rules_known;
  uint64_t rules_inside;
  char path[512];
};

static _Thread_local struct folder folders[REMEMBERED];
static _Atomic unsigned moves; /* of folders, by anybody */
static _Thread_local unsigned moves_known;
static struct view root_view; /* root's, or the user's without root */
static _Thread_local uid_t now_uid;

/* Of this thread only; the kernel takes away and gives back the capabilities over files with it. */
static void become(const struct view *view) {
  if (now_uid == view->uid) return;
  syscall(SYS_setfsgid, view->gid);
  syscall(SYS_setfsuid, view->uid);
  /* setfsuid reports nothing: asking again with an impossible id tells what is in force. */
  if ((uid_t)syscall(SYS_setfsuid, -1) != view->uid || (gid_t)syscall(SYS_setfsgid, -1) != view->gid) abort();
  now_uid = view->uid;
}

void become_agent(const struct view *view) { become(view); }
void become_root(void) { become(&root_view); }

void become_prepare(void) {
  root_view.uid = now_uid = geteuid();
  root_view.gid = getegid();
}

static struct folder *slot(const struct view *view, const struct place *place) {
  return &folders[(place->in.ino * 31 + place->in.dev * 7 + place->in.mount * 3 + view->uid) % REMEMBERED];
}

static struct folder *remembered(const struct view *view, const struct place *place) {
  unsigned now = atomic_load(&moves);
  if (now != moves_known)
    for (int i = 0; i < REMEMBERED; i++) folders[i].uid = 0;
  moves_known = now;
  struct folder *f = slot(view, place);
  return f->uid == view->uid && f->dev == place->in.dev && f->ino == place->in.ino && f->mount == place->in.mount && boottime_ms() < f->until ? f : NULL;
}

void folder_remember(const struct place *place, const struct view *view, uint64_t rules_inside) {
  struct folder *f = remembered(view, place);
  if (!f) return;
  f->rules_known = true;
  f->rules_inside = rules_inside;
}

void folders_forget(void) { atomic_fetch_add(&moves, 1); }
unsigned folders_moves(void) { return atomic_load(&moves); }

/* The folder's own path, and what is known about it. */
static int know_folder(struct place *place, const struct view *view) {
  place->rules_known = false;
  const struct folder *known = remembered(view, place);
  if (known) {
    place->rules_known = known->rules_known;
    place->rules_inside = known->rules_inside;
    memcpy(place->path, known->path, strlen(known->path) + 1);
    return 0;
  }
  int error = place_path(place->parent, place->path, PATH_BYTES);
  size_t length = error ? 0 : strlen(place->path);
  if (error || length >= sizeof folders[0].path) return error;
  struct folder *f = slot(view, place);
  *f = (struct folder){.uid = view->uid, .dev = place->in.dev, .ino = place->in.ino, .mount = place->in.mount, .until = boottime_ms() + REMEMBER_MS};
  memcpy(f->path, place->path, length + 1);
  return 0;
}

int place_path(int fd, char *out, size_t size) {
  char link[40];
  text_format(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, out, size - 1);
  if (n <= 0 || (size_t)n >= size - 1 || out[0] != '/') return n < 0 ? errno : ENAMETOOLONG;
  out[n] = 0;
  return 0;
}

static int open_below(int base, const char *path, uint64_t resolve) {
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
  int fd = -1;
  /* EAGAIN: something was renamed meanwhile and `..` could not be proven; by someone outside, so it passes. */
  for (int i = 0; i < 64; i++) {
    fd = (int)syscall(SYS_openat2, base, path, &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN) break;
  }
  return fd;
}

static int same_folder(int a, int b) {
  struct stat one, other;
  return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static int root_of(const struct view *view) { return view->whole >= 0 ? view->whole : view->root; }

static bool covers(int folder, const char *shown, const char *path) {
  struct statx found;
  size_t n = strlen(path);
  return strncmp(shown, path, n) == 0 && strcmp(shown + n, " (deleted)") == 0 && statx(folder, "", AT_EMPTY_PATH, STATX_MODE, &found) == 0 && found.stx_attributes & STATX_ATTR_MOUNT_ROOT && (found.stx_mode & 0777) == 0;
}

/* Where a folder is in the agent's view; a folder in a lock's own mount is in the lock. `hidden`: inside, something lies over it. */
static bool where_is(const struct view *view, int folder, char *out, size_t size, bool *hidden) {
  struct folder_id id, mount;
  char rest[PATH_BYTES];
  *hidden = false;
  if (place_path(folder, rest, sizeof rest) != 0 || folder_id(folder, "", &id) != 0) return false;
  for (int i = 0; i < view->lock_count; i++) {
    const struct lock *lock = &view->locks[i];
    /* What lies over it has no name any more. */
    if (lock->hidden && covers(folder, rest, lock->path)) {
      *hidden = true;
      return text_format(out, size, "%s", lock->path);
    }
    for (int k = 0; k < 2; k++) {
      int fd = k == 0 ? lock->work : lock->show;
      if (fd >= 0 && folder_id(fd, "", &mount) == 0 && mount.mount == id.mount) return text_format(out, size, "%s%s", lock->path, strcmp(rest, "/") == 0 ? "" : rest);
    }
  }
  return text_format(out, size, "%s", rest);
}

/* A relative path that leaves its base by `..` or an absolute link, or begins where something is hidden: from the base's place in the agent's root. */
static int open_around(const struct view *view, int base, const char *path) {
  static _Thread_local char whole[2 * PATH_BYTES];
  char start[PATH_BYTES];
  bool hidden;
  if (!where_is(view, base, start, sizeof start, &hidden) || !text_format(whole, PATH_BYTES, "%s/%s", start, path)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  become_agent(view);
  int check = open_below(root_of(view), start, RESOLVE_IN_ROOT), fd = -1;
  if (check >= 0) fd = open_below(root_of(view), whole, RESOLVE_IN_ROOT);
  int saved = errno;
  if (check >= 0 && !hidden && !same_folder(check, base)) {
    if (fd >= 0) close(fd);
    fd = -1;
    saved = ENOENT;
  }
  if (check >= 0) close(check);
  errno = saved;
  return fd;
}

/* tid 0: `dirfd` is our own. */
static int open_parent(const struct view *view, pid_t tid, int dirfd, const char *folder, bool absolute) {
  if (absolute) {
    become_agent(view);
    return open_below(root_of(view), folder[0] ? folder : "/", RESOLVE_IN_ROOT);
  }
  int base = tid == 0 ? fcntl(dirfd, F_DUPFD_CLOEXEC, 3) : caller_folder(tid, dirfd);
  if (base < 0) return base;
  become_agent(view);
  if (view->whole >= 0) {
    int fd = open_around(view, base, folder), saved = errno;
    close(base);
    errno = saved;
    return fd;
  }
  if (!folder[0]) return base;
  int fd = open_below(base, folder, RESOLVE_BENEATH), saved = errno;
  if (fd < 0 && saved == EXDEV) {
    fd = open_around(view, base, folder);
    saved = errno;
  }
  close(base);
  errno = saved;
  return fd;
}

int place_resolve(struct place *place, const struct view *view, pid_t tid, int dirfd, const char *path) {
  char folder[PATH_BYTES];
  size_t end = strlen(path);
  while (end > 0 && path[end - 1] == '/') end--;
  if (path[0] == 0) return ENOENT;
  if (end == 0) return EBUSY; /* the root itself */
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  if (end - start > 255) return ENAMETOOLONG;
  memcpy(folder, path, start);
  folder[start] = 0;
  memcpy(place->name, path + start, end - start);
  place->name[end - start] = 0;
  place->special = strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0;
  struct folder_id base = {0};
  place->lock = -1;
  place->prefix = 0;
  bool absolute = path[0] == '/', keeps = tid != 0 && view->whole < 0 && start > 0 && (absolute || caller_folder_id(tid, dirfd, &base) == 0);
  place->kept = keeps && kept_parent(place, view, &base, folder);
  if (!place->kept) {
    place->parent = open_parent(view, tid, dirfd, folder, absolute);
    if (place->parent < 0) return errno;
    int unknown = folder_id(place->parent, "", &place->in);
    if (unknown) {
      operation_let_go(place);
      return unknown;
    }
    if (keeps) keep_parent(place, view, &base, folder);
  }
  int error = know_folder(place, view);
  if (error) {
    operation_let_go(place);
    return error;
  }
  size_t used = strlen(place->path);
  text_format(place->path + used, sizeof place->path - used, "%s%s", used > 1 ? "/" : "", place->name);
  if (path[end] == '/') strcat(place->name, "/");
  return 0;
}

int place_look(struct place *place, const struct view *view) {
  struct statx found;
  char bare[258];
  size_t length = strlen(place->name);
  memcpy(bare, place->name, length + 1);
  if (length > 1 && bare[length - 1] == '/') bare[length - 1] = 0;
  become_agent(view);
  int result = statx(place->parent, bare, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (bare[0] ? 0 : AT_EMPTY_PATH), STATX_TYPE | STATX_MODE | STATX_INO, &found);
  int error = result < 0 ? errno : 0;
  place->exists = error == 0;
  place->mount = place->folder = place->link = false;
  if (error) return error;
  place->mount = (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  place->dev = makedev(found.stx_dev_major, found.stx_dev_minor);
  place->ino = found.stx_ino;
  place->mode = found.stx_mode;
  place->folder = S_ISDIR(found.stx_mode);
  place->link = S_ISLNK(found.stx_mode);
  return 0;
}

int place_follow(struct place *place, const struct view *view) {
  static _Thread_local char target[PATH_BYTES];
  for (int i = 0; i < 40; i++) {
    int error = place_look(place, view);
    if (error || !place->link) return error;
    ssize_t n = readlinkat(place->parent, place->name, target, sizeof target - 1);
    if (n <= 0) return n < 0 ? errno : ENOENT;
    target[n] = 0;
    int base = fcntl(place->parent, F_DUPFD_CLOEXEC, 3);
    if (base < 0) return errno;
    operation_let_go(place);
    error = place_resolve(place, view, 0, base, target);
    close(base);
    if (error) return error;
    if (place->special) return EISDIR;
  }
  return ELOOP;
}
