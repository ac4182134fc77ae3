/* /dev and /proc of the sandbox. */
#include "inside.h"
#include "steps.h"
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Without root no node can be made: the host's own is mounted, after a look that it is the one that is meant. */
static int bind_node(int dev, const char *name, unsigned major, unsigned minor) {
  char path[32];
  struct stat st;
  snprintf(path, sizeof path, "/dev/%s", name);
  int tree = sys_open_tree(AT_FDCWD, path, TREE_CLONE | TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW), at = -1, e = EINVAL;
  if (tree < 0) return -1;
  struct mount_attributes attr = {.set = ATTR_NOSUID | ATTR_NOEXEC, .propagation = MS_PRIVATE};
  bool right = fstat(tree, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(major, minor);
  bool ok = right && sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) == 0 && mknodat(dev, name, S_IFREG | 0444, 0) == 0 && (at = open_inside(dev, name, O_PATH)) >= 0 &&
            sys_move_mount(tree, "", at, "", MOVE_FROM_EMPTY | MOVE_TO_EMPTY) == 0;
  if (right) e = errno;
  close(tree);
  if (at >= 0) close(at);
  errno = e;
  return ok ? 0 : -1;
}

static int make_node(const struct build *b, int dev, const char *name, unsigned major, unsigned minor) {
  return b->in->rootless ? bind_node(dev, name, major, minor) : mknodat(dev, name, S_IFCHR | 0666, makedev(major, minor));
}

/* For the probe: what DAC would allow and only Landlock refuses, and what only the uid refuses. */
static int make_canaries(struct build *b) {
  int dir = open_inside(b->root, "dev/" CANARY_DIR, O_PATH | O_DIRECTORY);
  if (dir < 0) return -1;
  int ok = mknodat(dir, CANARY_OPEN, S_IFREG | 0666, 0) == 0 && mknodat(dir, CANARY_ROOT, S_IFREG | 0600, 0) == 0, e = errno;
  close(dir);
  errno = e;
  return ok ? 0 : -1;
}

int mount_devices(struct build *b, const struct step *s, struct fault *f) {
  static const struct {
    const char *name;
    unsigned minor, major;
  } nodes[] = {{"null", 3, 1}, {"zero", 5, 1}, {"full", 7, 1}, {"random", 8, 1}, {"urandom", 9, 1}, {"tty", 0, 5}};
  static const char *const links[][2] = {{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}};
  char options[96];
  if (strcmp(s->path, "dev") != 0) return fault(f, "plan", 0, "view: dev must be /dev");
  if (mkdirat(b->root, "dev", 0755) != 0 && errno != EEXIST) return fault(f, "view", errno, "view: make /dev");
  if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755,nr_inodes=256") != 0) return fault(f, "view", errno, "view: tmpfs /dev");
  int dev = open_inside(b->root, "dev", O_PATH | O_DIRECTORY), ok = dev >= 0;
  for (size_t i = 0; ok && i < sizeof nodes / sizeof *nodes; i++) ok = make_node(b, dev, nodes[i].name, nodes[i].major, nodes[i].minor) == 0;
  for (size_t i = 0; ok && i < sizeof links / sizeof *links; i++) ok = symlinkat(links[i][0], dev, links[i][1]) == 0;
  ok = ok && mkdirat(dev, "pts", 0755) == 0 && mkdirat(dev, "shm", 0755) == 0 && mkdirat(dev, CANARY_DIR, 0777) == 0 && make_canaries(b) == 0;
  if (!ok) {
    int e = errno;
    if (dev >= 0) close(dev);
    return fault(f, "view", e, "view: fill /dev");
  }
  close(dev);
  /* `uid`: terminals belong to the agent although the shim, which is root, opens them. */
  snprintf(options, sizeof options, "newinstance,ptmxmode=0666,mode=0600,max=128,uid=%u,gid=%u", b->in->agent_uid, b->in->agent_gid);
  if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, options) != 0) return fault(f, "view", errno, "view: devpts");
  snprintf(options, sizeof options, "size=%llu,mode=1777", (unsigned long long)s->bytes);
  if (mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) != 0) return fault(f, "view", errno, "view: /dev/shm");
  if ((b->pts_fd = open("dev/pts", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) return fault(f, "view", errno, "view: open /dev/pts");
  return 0;
}

int mount_proc(struct build *b, const struct step *s, struct fault *f) {
  if (strcmp(s->path, "proc") != 0) return fault(f, "plan", 0, "view: proc must be /proc");
  if (mkdirat(b->root, "proc", 0555) != 0 && errno != EEXIST) return fault(f, "view", errno, "view: make /proc");
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=invisible") != 0) return fault(f, "view", errno, "view: proc");
  struct mount_attributes attr = {.set = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC};
  int at = open_inside(b->root, "proc", O_PATH), r = at < 0 ? fault(f, "view", errno, "view: open /proc") : 0;
  if (b->plan->seen < 0) {
    if (r == 0 && sys_mount_setattr(at, "", AT_EMPTY_PATH, &attr) != 0) r = fault(f, "view", errno, "view: read-only /proc");
    if (at >= 0) close(at);
    return r;
  }
  /* The writable one below stays a way to self/uid_map for the user namespace that is entered last; closed before the agent exists. */
  int tree = r == 0 ? sys_open_tree(at, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC) : -1;
  if (r == 0 && tree < 0) r = fault(f, "view", errno, "view: clone /proc");
  if (r == 0 && sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) != 0) r = fault(f, "view", errno, "view: read-only /proc");
  if (r == 0) r = attach(tree, at, f, "proc");
  if (tree >= 0) close(tree);
  if (r == 0) b->proc_fd = at;
  else if (at >= 0) close(at);
  return r;
}
