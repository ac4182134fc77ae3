/* A launch without root: a user namespace in which the person is root, and nothing that only the host's root could do. */
#include "inside.h"
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static int write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text), e = errno;
  close(fd);
  errno = e;
  return ok ? 0 : -1;
}

/*
 * One entry each: 0 inside is the person outside, so that what mounts and file systems make for "root" is the person's.
 * Without privilege a group map may only be written after setgroups(2) is given up (user_namespaces(7)).
 */
int rootless_map(const struct host_facts *host, struct fault *f) {
  char uids[40], gids[40];
  snprintf(uids, sizeof uids, "0 %u 1", host->uid);
  snprintf(gids, sizeof gids, "0 %u 1", host->gid);
  /* A process that is not dumpable has its /proc files in root's name; the last step ends this again. */
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return fault(f, "host", errno, "rootless: dumpable");
  if (write_file("/proc/self/setgroups", "deny") != 0 || write_file("/proc/self/uid_map", uids) != 0 || write_file("/proc/self/gid_map", gids) != 0)
    return fault(f, "host", errno, "rootless: map of the user namespace");
  return 0;
}

int rootless_know_workspace(int workspace_fd, struct host_facts *host, struct fault *f) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", workspace_fd);
  ssize_t n = readlink(link, host->workspace, sizeof host->workspace - 1);
  struct stat st;
  if (n <= 0 || host->workspace[0] != '/' || fstat(workspace_fd, &st) != 0) return fault(f, "host", errno, "workspace: where it is");
  host->workspace[n] = '\0';
  host->workspace_dev = st.st_dev;
  host->workspace_inode = st.st_ino;
  return 0;
}

/* The descriptor belongs to the caller's mount namespace, where we may clone nothing: opened again by name in ours, and compared. */
int rootless_workspace(const struct host_facts *host, struct fault *f) {
  struct open_rules how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RULE_NO_SYMLINKS | RULE_NO_MAGICLINKS};
  int at = sys_openat2(AT_FDCWD, host->workspace, &how);
  struct stat st;
  if (at < 0 || fstat(at, &st) != 0) {
    int e = errno;
    if (at >= 0) close(at);
    return fault(f, "host", e, "workspace: open %s", host->workspace);
  }
  if (st.st_dev != host->workspace_dev || st.st_ino != host->workspace_inode) {
    close(at);
    return fault(f, "host", 0, "workspace: %s is another folder now", host->workspace);
  }
  int tree = sys_open_tree(at, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC), e = errno;
  close(at);
  /* The kernel does not let us show what is below somebody else's mount (EINVAL), and showing the mount itself is more than was asked. */
  if (tree < 0) return fault(f, "host", e, e == EINVAL ? "workspace: another file system is mounted below %s" : "workspace: clone %s", host->workspace);
  struct mount_attributes attr = {.set = ATTR_NOSUID | ATTR_NODEV, .propagation = MS_PRIVATE};
  if (sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) != 0) {
    e = errno;
    close(tree);
    return fault(f, "host", e, "workspace: attributes");
  }
  return tree;
}
