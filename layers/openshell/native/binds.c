/* Opens what comes from the host (bind and concat sources) while the host can still be seen. */
#include "inside.h"
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>

static int open_plainly(int dir, const char *path, int flags, uint64_t more) {
  struct open_rules how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RULE_NO_SYMLINKS | RULE_NO_MAGICLINKS | more};
  return sys_openat2(dir, path, &how);
}

/*
 * No symbolic link anywhere in the source: what was compared with the host's bounds is what is opened.
 * The host named its bind roots itself; below one we go as the agent, since a mount would carry it past a folder that is closed to it.
 */
static int open_source(const char *path, const struct launch_in *in, int flags) {
  size_t length = bind_root_of(path, in);
  const char *rest = path + length;
  char root[4096];
  if (*rest == '\0') return open_plainly(AT_FDCWD, path, flags, 0);
  memcpy(root, path, length);
  root[length] = '\0';
  int at = open_plainly(AT_FDCWD, root, O_PATH | O_DIRECTORY, 0);
  if (at < 0) return -1;
  if (!in->rootless) setfsuid(in->agent_uid), setfsgid(in->agent_gid); /* without root we are the agent already */
  int fd = open_plainly(at, rest + 1, flags, RULE_BENEATH), e = errno;
  if (!in->rootless) setfsuid(geteuid()), setfsgid(getegid());
  close(at);
  errno = e;
  return fd;
}

/* What is copied is read as root and shown to all inside: only a file that everybody may read anyway. */
static int open_public(const char *path, const struct launch_in *in) {
  struct stat found;
  int fd = open_source(path, in, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return -1;
  int error = fstat(fd, &found) != 0 ? errno : S_ISREG(found.st_mode) && (found.st_mode & S_IROTH) ? 0 : EACCES;
  if (error == 0) return fd;
  close(fd);
  errno = error;
  return -1;
}

/*
 * Without its submounts; where a mount below it is locked to it, which is so for a rootless sandbox, the kernel gives both or nothing
 * (EINVAL). Below the bind roots only root could have mounted it, and it is read-only like the rest.
 */
static int clone_readonly(const char *path, bool exec, const struct launch_in *in) {
  int at = open_source(path, in, O_PATH);
  if (at < 0) return -1;
  unsigned flags = AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC;
  int tree = sys_open_tree(at, "", flags), e = errno;
  if (tree < 0 && e == EINVAL && in->rootless) {
    flags |= AT_RECURSIVE;
    tree = sys_open_tree(at, "", flags);
    e = errno;
  }
  close(at);
  errno = e;
  if (tree < 0) return -1;
  struct mount_attributes attr = {.set = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | (exec ? 0 : ATTR_NOEXEC), .propagation = MS_PRIVATE};
  if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | (flags & AT_RECURSIVE), &attr) != 0) {
    e = errno;
    close(tree);
    errno = e;
    return -1;
  }
  return tree;
}

/*
 * The very node that the plan names, a character device that the agent may use by its own rights: as whoever it is, or, where it has a uid of its own, as anybody may.
 * Nothing can be changed at the node itself; what the driver does is the driver's.
 */
static int clone_device(const char *path, const struct launch_in *in) {
  struct stat st;
  int at = open_plainly(AT_FDCWD, path, O_PATH | O_NOFOLLOW, 0);
  if (at < 0) return -1;
  bool known = fstat(at, &st) == 0 && S_ISCHR(st.st_mode);
  bool usable = known && (in->rootless ? syscall(SYS_faccessat2, at, "", R_OK | W_OK, AT_EACCESS | AT_EMPTY_PATH) == 0 : (st.st_mode & 06) == 06);
  int tree = usable ? sys_open_tree(at, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC) : -1, e = usable ? errno : known ? EACCES : ENODEV;
  close(at);
  struct mount_attributes attr = {.set = ATTR_RDONLY | ATTR_NOSUID | ATTR_NOEXEC, .propagation = MS_PRIVATE};
  if (tree >= 0 && sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) == 0) return tree;
  if (tree >= 0) e = errno, close(tree);
  errno = e;
  return -1;
}

int binds_open(const struct plan *plan, const struct launch_in *in, int *fds, struct fault *f) {
  for (size_t i = 0; i < plan->step_count; i++) fds[i] = -1;
  for (size_t i = 0; i < plan->step_count; i++) {
    const struct step *s = &plan->steps[i];
    if (s->kind == STEP_BIND) fds[i] = clone_readonly(s->source, s->exec, in);
    else if (s->kind == STEP_DEVICE) fds[i] = clone_device(s->source, in);
    else if (s->kind == STEP_CONCAT) fds[i] = open_public(s->source, in);
    else continue;
    bool may_miss = s->kind == STEP_CONCAT || (s->kind == STEP_BIND && s->yes);
    if (fds[i] < 0 && !(errno == ENOENT && may_miss)) return fault(f, "view", errno, "view: source %s", s->source);
  }
  return 0;
}
