/* From the agent's path to a folder descriptor and a last name, in the agent's view and with the agent's rights. */
#include "openshelld_text.h"
#include "perform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Of this thread only; the kernel takes away and gives back the capabilities over files with it. */
void become_agent(const struct view *view) {
  syscall(SYS_setfsgid, view->gid);
  syscall(SYS_setfsuid, view->uid);
  /* setfsuid reports nothing: asking again with an impossible id tells what is in force. */
  if ((uid_t)syscall(SYS_setfsuid, -1) != view->uid || (gid_t)syscall(SYS_setfsgid, -1) != view->gid) abort();
}

void become_root(void) {
  syscall(SYS_setfsuid, 0);
  syscall(SYS_setfsgid, 0);
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

/* A relative path that leaves its base by `..` or an absolute link: from the base's place in the agent's root. */
static int open_around(const struct view *view, int base, const char *path) {
  static char whole[2 * PATH_BYTES];
  char start[PATH_BYTES];
  if (place_path(base, start, sizeof start) != 0 || !text_format(whole, PATH_BYTES, "%s/%s", start, path)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  become_agent(view);
  int check = open_below(view->root, start, RESOLVE_IN_ROOT), fd = -1;
  if (check >= 0) fd = open_below(view->root, whole, RESOLVE_IN_ROOT);
  int saved = errno;
  become_root();
  if (check >= 0 && !same_folder(check, base)) {
    if (fd >= 0) close(fd);
    fd = -1;
    saved = ENOENT;
  }
  if (check >= 0) close(check);
  errno = saved;
  return fd;
}

static int open_base(pid_t tid, int dirfd) {
  char link[48];
  if (dirfd == AT_FDCWD) text_format(link, sizeof link, "/proc/%d/cwd", tid);
  else text_format(link, sizeof link, "/proc/%d/fd/%d", tid, dirfd);
  int fd = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) errno = dirfd == AT_FDCWD ? ESRCH : EBADF;
  return fd;
}

static int open_parent(const struct view *view, pid_t tid, int dirfd, const char *folder, bool absolute) {
  if (absolute) {
    become_agent(view);
    int fd = open_below(view->root, folder[0] ? folder : "/", RESOLVE_IN_ROOT), saved = errno;
    become_root();
    errno = saved;
    return fd;
  }
  int base = open_base(tid, dirfd);
  if (base < 0 || !folder[0]) return base;
  become_agent(view);
  int fd = open_below(base, folder, RESOLVE_BENEATH), saved = errno;
  become_root();
  errno = saved;
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
  if (end == 0) return EBUSY; /* the root itself */
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  if (end - start > 255) return ENAMETOOLONG;
  memcpy(folder, path, start);
  folder[start] = 0;
  memcpy(place->name, path + start, end - start);
  place->name[end - start] = 0;
  place->special = strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0;
  place->parent = open_parent(view, tid, dirfd, folder, path[0] == '/');
  if (place->parent < 0) return errno;
  int error = place_path(place->parent, place->path, PATH_BYTES);
  if (error) {
    close(place->parent);
    place->parent = -1;
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
  int result = statx(place->parent, bare, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &found);
  int error = result < 0 ? errno : 0;
  become_root();
  place->exists = error == 0;
  if (error) return error;
  /* The kernel would not see that it is a mount point, since it looks in our own mount namespace. */
  if (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) return EBUSY;
  place->dev = makedev(found.stx_dev_major, found.stx_dev_minor);
  place->ino = found.stx_ino;
  place->folder = S_ISDIR(found.stx_mode);
  return 0;
}
