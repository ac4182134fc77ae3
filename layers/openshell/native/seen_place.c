/* Looks at names below the root of a sandbox's first process. */
#include "seen_place.h"
#include "openshelld_text.h"
#include "seen_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000
#endif

bool place_name(const struct seen_event *event, const char *path, char out[HIDDEN_PATH]) {
  char text[2 * SEEN_PATH + 2];
  size_t length = strnlen(path, SEEN_PATH), at = sizeof text - 1 - length; /* one of SEEN_PATH - 1 may be cut */
  out[0] = 0;
  if (length == 0 || length >= SEEN_PATH - 1 || (path[0] != '/' && event->folder_parts == 0)) return false;
  if (path[0] == '/') return plain_path(path, out);
  memcpy(text + at, path, length);
  text[sizeof text - 1] = 0;
  text[--at] = '/';
  const char *part = event->folder;
  for (uint32_t i = 1; i < event->folder_parts; i++) {
    size_t n = strnlen(part, (size_t)(event->folder + sizeof event->folder - part));
    if (part + n >= event->folder + sizeof event->folder || n + 1 > at) return false;
    at -= n;
    memcpy(text + at, part, n);
    text[--at] = '/';
    part += n + 1;
  }
  return plain_path(text + at, out);
}

/* O_PATH; -1 with errno. */
static int open_in_view(const struct seen_watch *watch, const char *name, uint64_t flags) {
  char root[64];
  struct open_how how = {.flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int root_fd = text_format(root, sizeof root, "/proc/%d/root", watch->init) ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  int fd = root_fd < 0 ? -1 : (int)syscall(SYS_openat2, root_fd, name, &how, sizeof how), saved = errno;
  if (root_fd >= 0) close(root_fd);
  errno = saved;
  return fd;
}

static bool permits(const struct stat *st, uid_t uid, unsigned wanted) {
  unsigned bits = st->st_uid == uid ? st->st_mode >> 6 : st->st_gid == uid ? st->st_mode >> 3 : st->st_mode;
  return (bits & wanted) == wanted;
}

static bool mounted(int fd) {
  struct statx st;
  return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) == 0 && (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/* What do_mask in mounts.c puts over a name: nobody else can make a closed thing of root's without a name of its own, at the top of a mount. */
static bool is_mask(int fd, const struct stat *st) {
  return st->st_uid == 0 && (st->st_mode & 0777) == 0 && mounted(fd);
}

static void name_of(int fd, char name[HIDDEN_PATH]) {
  static const char gone[] = " (deleted)"; /* a mask has no name where it was made */
  char link[64], text[HIDDEN_PATH];
  ssize_t n = text_format(link, sizeof link, "/proc/self/fd/%d", fd) ? readlink(link, text, sizeof text - 1) : -1;
  if (n <= 0) return;
  text[n] = 0;
  size_t length = (size_t)n, tail = sizeof gone - 1;
  if (length > tail && strcmp(text + length - tail, gone) == 0) text[length - tail] = 0;
  memcpy(name, text, sizeof text);
}

static enum seen_place look(const struct seen_watch *watch, char name[HIDDEN_PATH], const char *at, uint64_t flags, unsigned wanted) {
  struct stat st;
  int fd = open_in_view(watch, at, flags);
  if (fd < 0) return PLACE_UNKNOWN;
  enum seen_place found = fstat(fd, &st) != 0 ? PLACE_UNKNOWN : is_mask(fd, &st) ? PLACE_MASK : S_ISLNK(st.st_mode) || permits(&st, watch->kernel.uid, wanted) ? PLACE_OPEN : PLACE_MODE;
  if (found == PLACE_MASK) name_of(fd, name);
  close(fd);
  return found;
}

enum seen_place place_refuses(const struct seen_watch *watch, char name[HIDDEN_PATH], unsigned wanted, bool entry) {
  char folder[HIDDEN_PATH] = "/";
  enum seen_place found = look(watch, name, folder, O_DIRECTORY, SEEN_EXECUTE);
  for (const char *slash = strchr(name + 1, '/'); found == PLACE_OPEN && slash; slash = strchr(slash + 1, '/')) {
    memcpy(folder, name, (size_t)(slash - name));
    folder[slash - name] = 0;
    found = look(watch, name, folder, O_DIRECTORY, SEEN_EXECUTE);
  }
  if (found != PLACE_OPEN) return found;
  if (entry) return look(watch, name, folder, O_DIRECTORY, SEEN_WRITE | SEEN_EXECUTE);
  found = look(watch, name, name, 0, wanted);
  if (found != PLACE_UNKNOWN || errno != ENOENT) return found;
  /* A link that leads to nothing: what refused lies behind it. Else it was to be made. */
  int link = open_in_view(watch, name, O_NOFOLLOW);
  if (link >= 0) close(link);
  return link >= 0 ? PLACE_UNKNOWN : look(watch, name, folder, O_DIRECTORY, SEEN_WRITE | SEEN_EXECUTE);
}

bool place_is_mount(const struct seen_watch *watch, const char *name) {
  int fd = open_in_view(watch, name, O_NOFOLLOW);
  bool there = fd >= 0 && mounted(fd);
  if (fd >= 0) close(fd);
  return there;
}

bool place_starts_nothing(const struct seen_watch *watch, const char *name) {
  struct statvfs mount;
  int fd = open_in_view(watch, name, 0);
  bool noexec = fd >= 0 && fstatvfs(fd, &mount) == 0 && (mount.f_flag & ST_NOEXEC) != 0;
  if (fd >= 0) close(fd);
  return noexec;
}
