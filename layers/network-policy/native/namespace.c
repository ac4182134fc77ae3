/* The namespaces that a command runs in: its own network, and its own view of a few files. */
#include "capture.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  int saved = errno;
  close(fd);
  errno = saved;
  return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* A plain user is the same user inside, and nobody else. */
static int own_user(struct fault *f) {
  char map[64];
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER) != 0) return fault(f, "network", errno, "a user namespace cannot be made");
  snprintf(map, sizeof map, "%u %u 1", uid, uid);
  if (write_file("/proc/self/setgroups", "deny") != 0 || write_file("/proc/self/uid_map", map) != 0) return fault(f, "network", errno, "the user cannot be mapped");
  snprintf(map, sizeof map, "%u %u 1", gid, gid);
  return write_file("/proc/self/gid_map", map) != 0 ? fault(f, "network", errno, "the group cannot be mapped") : 0;
}

int namespace_new(struct fault *f) {
  if (geteuid() != 0 && own_user(f) != 0) return -1;
  return unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ? fault(f, "network", errno, "a network namespace cannot be made") : 0;
}

int namespace_enter(const char *path, struct fault *f) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fault(f, "network", errno, "%s", path);
  int failed = setns(fd, CLONE_NEWNET) != 0 ? errno : 0;
  close(fd);
  return failed ? fault(f, "network", failed, "%s cannot be entered", path) : 0;
}

int namespace_binds(const struct options *o, struct fault *f) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return fault(f, "network", errno, "mounts cannot be made private");
  for (size_t i = 0; i < o->binds; i++) {
    if (access(o->over[i], F_OK) != 0) continue; /* nothing there to be replaced */
    if (mount(o->from[i], o->over[i], NULL, MS_BIND, NULL) != 0) return fault(f, "network", errno, "%s cannot be put over %s", o->from[i], o->over[i]);
  }
  return 0;
}
