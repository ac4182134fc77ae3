/* Joining control groups without waiting for the whole machine. */
#include "inside.h"
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#define CGROUP2_MAGIC 0x63677270

/*
 * Writing to cgroup.procs takes a lock that waits for an RCU grace period (5 to 15 ms measured here). Two ways around it: a v2 group is
 * entered by clone3() itself, and a v1 group by a process that writes "0" to `tasks` to move its own only thread.
 */
static int sibling(int procs_fd, const char *name, int flags) {
  char link[40], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", procs_fd);
  ssize_t n = readlink(link, path, sizeof path - 16);
  if (n <= 0) return -1;
  path[n] = '\0';
  char *slash = strrchr(path, '/');
  if (slash == NULL) return -1;
  strcpy(slash, name);
  return open(path, flags | O_CLOEXEC);
}

static bool is_v2(int fd) {
  struct statfs fs;
  return fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_MAGIC;
}

int join_open_v2(const struct launch_in *in) {
  for (size_t i = 0; i < in->procs_count; i++) {
    if (is_v2(in->procs_fds[i])) return sibling(in->procs_fds[i], "", O_PATH | O_DIRECTORY);
  }
  return -1;
}

int join_groups(const struct launch_in *in, bool v2_entered, struct fault *f) {
  for (size_t i = 0; i < in->procs_count; i++) {
    bool v2 = is_v2(in->procs_fds[i]);
    if (v2 && v2_entered) continue;
    int tasks = v2 ? -1 : sibling(in->procs_fds[i], "/tasks", O_WRONLY);
    ssize_t n = write(tasks >= 0 ? tasks : in->procs_fds[i], "0", 1);
    int e = errno;
    if (tasks >= 0) close(tasks);
    if (n != 1) return fault(f, "host", e, "cgroup: join");
  }
  return 0;
}
