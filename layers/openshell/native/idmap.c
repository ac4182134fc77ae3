/* The workspace as a detached mount in which the owner on disk and the agent are the same person. */
#include "inside.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* The process whose only purpose is to be the first member of a user namespace; it shares our memory and runs no code of its own but this. */
static int be_first_member(void *pipe_end) {
  char c;
  while (read(*(int *)pipe_end, &c, 1) < 0 && errno == EINTR) continue;
  return 0;
}

/* `root`: root stays root, for file systems that work as root in the background. */
static int write_map(pid_t pid, const char *file, unsigned disk, unsigned shown, bool root) {
  char path[48], line[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  int n = snprintf(line, sizeof line, root ? "0 0 1\n%u %u 1" : "%u %u 1", disk, shown), fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int ok = write(fd, line, (size_t)n) == n, e = errno;
  close(fd);
  errno = e;
  return ok ? 0 : -1;
}

/* A descriptor of a user namespace that maps disk ids to the agent's, or -1. `*helper`: killed, but still to be reaped; waiting here would cost a turn of the scheduler. */
static int mapping_namespace(const struct launch_in *in, unsigned uid, unsigned gid, bool root, pid_t *helper) {
  static char stack[16384] __attribute__((aligned(16)));
  int ends[2], result = -1;
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  pid_t pid = clone(be_first_member, stack + sizeof stack, CLONE_NEWUSER | CLONE_VM | SIGCHLD, &ends[0]);
  if (pid > 0) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    if (write_map(pid, "uid_map", uid, in->agent_uid, root) == 0 && write_map(pid, "gid_map", gid, in->agent_gid, root) == 0) result = open(path, O_RDONLY | O_CLOEXEC);
  }
  int e = errno;
  if (pid > 0) {
    kill(pid, SIGKILL);
    *helper = pid;
  }
  close(ends[0]);
  close(ends[1]);
  errno = e;
  return result;
}

void idmap_reap(pid_t helper) {
  while (helper > 0 && waitpid(helper, NULL, 0) < 0 && errno == EINTR) continue;
}

int idmap_clone(const struct launch_in *in, pid_t *helper, struct fault *f) {
  int tree = sys_open_tree(in->workspace_fd, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC);
  if (tree < 0) return fault(f, "host", errno, "workspace: clone mount");
  struct mount_attributes attr = {.set = ATTR_NOSUID | ATTR_NODEV, .propagation = MS_PRIVATE};
  if (in->workspace_uid != in->agent_uid || in->workspace_gid != in->agent_gid) {
    int userns = mapping_namespace(in, in->workspace_uid, in->workspace_gid, false, helper);
    if (userns < 0) {
      int e = errno;
      close(tree);
      return fault(f, "host", e, "workspace: user namespace for the mapping");
    }
    attr.set |= MOUNT_ATTR_IDMAP;
    attr.userns_fd = (uint64_t)userns;
  }
  int failed = sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) != 0 ? errno : 0;
  if (attr.set & MOUNT_ATTR_IDMAP) close((int)attr.userns_fd);
  if (failed) {
    close(tree);
    return fault(f, (attr.set & MOUNT_ATTR_IDMAP) ? "idmap-refused" : "host", failed, "workspace: this file system refuses an idmapped mount");
  }
  return tree;
}

int idmap_layer(const struct launch_in *in, struct fault *f) {
  pid_t helper = 0;
  int tree = in->layer_mounted ? fcntl(in->layer_fd, F_DUPFD_CLOEXEC, 0) : sys_open_tree(in->layer_fd, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC), userns = tree < 0 ? -1 : mapping_namespace(in, LAYER_UID, LAYER_UID, true, &helper), e = errno;
  struct mount_attributes attr = {.set = ATTR_NOSUID | ATTR_NODEV | MOUNT_ATTR_IDMAP, .propagation = MS_PRIVATE, .userns_fd = (uint64_t)userns};
  bool good = userns >= 0 && sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) == 0;
  if (userns >= 0 && !good) e = errno;
  if (userns >= 0) close(userns);
  idmap_reap(helper);
  if (good) return tree;
  if (tree >= 0) close(tree);
  return fault(f, "host", e, "workspace: the layer's mount");
}
