/* Builds the sandbox's root step by step on a fresh tmpfs and makes it the only thing there is. */
#include "inside.h"
#include "protect.h"
#include "steps.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

int attach(int tree, int target, struct fault *f, const char *what) {
  int failed = sys_move_mount(tree, "", target, "", MOVE_FROM_EMPTY | MOVE_TO_EMPTY) != 0 ? errno : 0;
  return failed ? fault(f, "view", failed, "view: mount %s", what) : 0;
}

/* Opens what a path names inside the new root; never through a symbolic link, never above the root. */
int open_inside(int root, const char *path, int flags) {
  struct open_rules how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RULE_BENEATH | RULE_NO_SYMLINKS | RULE_NO_MAGICLINKS};
  return sys_openat2(root, path, &how);
}

/* The folder that holds the last name of `path`, which is returned in `name`. Belongs to `b`: the same one is asked for many times in a row. */
static int open_parent(struct build *b, const char *path, const char **name) {
  const char *slash = strrchr(path, '/');
  *name = slash != NULL ? slash + 1 : path;
  if (slash == NULL) return b->root;
  size_t n = (size_t)(slash - path);
  if (b->parent >= 0 && strlen(b->parent_path) == n && strncmp(b->parent_path, path, n) == 0) return b->parent;
  if (n >= sizeof b->parent_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  forget_parent(b);
  memcpy(b->parent_path, path, n);
  b->parent_path[n] = '\0';
  return b->parent = open_inside(b->root, b->parent_path, O_PATH | O_DIRECTORY);
}

void forget_parent(struct build *b) {
  if (b->parent >= 0) close(b->parent);
  b->parent = -1;
}

/* Whenever something is mounted at `path`, what was opened before may lie beneath it. */
static void forget_parent_below(struct build *b, const char *path) {
  size_t n = strlen(path);
  if (n == 0 || (strncmp(b->parent_path, path, n) == 0 && (b->parent_path[n] == '\0' || b->parent_path[n] == '/'))) forget_parent(b);
}

/* Replaces %UID% and %GID% while writing. */
static int write_text(int fd, const char *text, unsigned uid, unsigned gid) {
  if (strstr(text, "%UID%") == NULL && strstr(text, "%GID%") == NULL) {
    size_t length = strlen(text);
    return write(fd, text, length) == (ssize_t)length ? 0 : -1;
  }
  char out[16384];
  size_t at = 0;
  for (; *text != '\0'; text++) {
    bool is_uid = strncmp(text, "%UID%", 5) == 0, is_gid = strncmp(text, "%GID%", 5) == 0;
    if (sizeof out - at < 12) {
      errno = EFBIG;
      return -1;
    }
    if (!is_uid && !is_gid) {
      out[at++] = *text;
      continue;
    }
    at += (size_t)snprintf(out + at, sizeof out - at, "%u", is_uid ? uid : gid);
    text += 4;
  }
  return write(fd, out, at) == (ssize_t)at ? 0 : -1;
}

static int copy_all(int from, int to) {
  char block[16384];
  ssize_t n;
  while ((n = read(from, block, sizeof block)) > 0) {
    if (write(to, block, (size_t)n) != n) return -1;
  }
  return n < 0 ? -1 : 0;
}

static int make_file(int parent, const char *name, const struct step *s, int source, const struct build *b) {
  int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, s->mode); /* the umask is 0 */
  if (fd < 0) return -1;
  unsigned uid = b->plan->seen >= 0 ? (unsigned)b->plan->seen : b->in->agent_uid, gid = b->plan->seen >= 0 ? (unsigned)b->plan->seen : b->in->agent_gid;
  int ok = (source < 0 || copy_all(source, fd) == 0) && (s->raw != NULL ? write(fd, s->raw, s->raw_length) == (ssize_t)s->raw_length : write_text(fd, s->text, uid, gid) == 0), e = errno;
  close(fd);
  errno = e;
  return ok ? 0 : -1;
}

/* A place to mount on: made when absent, which is usual, like what will cover it. */
static int place(struct build *b, const char *path, bool folder) {
  const char *name;
  int parent = open_parent(b, path, &name);
  if (parent < 0) return -1;
  int made = folder ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0444, 0);
  return made == 0 || errno == EEXIST ? open_inside(parent, name, O_PATH) : -1;
}

static int mount_tmpfs(struct build *b, const char *path, const struct step *s, unsigned long flags, struct fault *f) {
  char options[128];
  unsigned uid = s->agent ? b->in->agent_uid : 0, gid = s->agent ? b->in->agent_gid : 0;
  snprintf(options, sizeof options, "size=%llu,mode=%o,uid=%u,gid=%u", (unsigned long long)s->bytes, s->mode, uid, gid);
  int at = place(b, path, true);
  if (at < 0) return fault(f, "view", errno, "view: make /%s", path);
  /* The root is built in the working directory, so a relative name is safe: every part of it was just walked without links. */
  int failed = mount("tmpfs", path, "tmpfs", flags, options) != 0 ? errno : 0;
  close(at);
  return failed ? fault(f, "view", failed, "view: tmpfs /%s", path) : 0;
}

static int do_tmpfs(struct build *b, const struct step *s, struct fault *f) {
  return mount_tmpfs(b, s->path, s, MS_NOSUID | MS_NODEV | (s->yes ? 0 : MS_NOEXEC), f);
}

static int do_bind(struct build *b, const struct step *s, int tree, struct fault *f) {
  if (tree < 0) return 0; /* optional and absent */
  struct stat st;
  if (fstat(tree, &st) != 0) return fault(f, "view", errno, "view: stat %s", s->source);
  int at = place(b, s->path, S_ISDIR(st.st_mode));
  if (at < 0) return fault(f, "view", errno, "view: make /%s", s->path);
  int r = attach(tree, at, f, s->path);
  close(at);
  return r;
}

static int do_workspace(struct build *b, const struct step *s, struct fault *f) {
  int at = place(b, s->path, true);
  if (at < 0) return fault(f, "view", errno, "view: make /%s", s->path);
  if (b->plan->overlay) {
    close(at);
    return mount_overlay(b, s, f);
  }
  int r = attach(b->workspace, at, f, s->path);
  close(at);
  if (r == 0 && (s->yes || !s->exec)) {
    struct mount_attributes attr = {.set = (s->yes ? ATTR_RDONLY : 0) | (s->exec ? 0 : ATTR_NOEXEC)};
    if (sys_mount_setattr(b->workspace, "", AT_EMPTY_PATH, &attr) != 0) return fault(f, "view", errno, "view: attributes of /%s", s->path);
  }
  return r;
}

/* In a layer that is kept nobody takes it away again: it is no change that somebody made. Where it cannot be marked it is shown as one. */
static void mark_placeholder(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return;
  (void)fsetxattr(fd, PROTECT_PLACEHOLDER, "y", 1, 0);
  close(fd);
}

/* Makes the placeholder as the agent: on an idmapped workspace root has no id of its own. */
int view_placeholder(struct build *b, const struct step *s) {
  const char *name;
  int parent = open_parent(b, s->path, &name);
  if (parent < 0) return -1;
  int old_uid = setfsuid(b->in->agent_uid), old_gid = setfsgid(b->in->agent_gid);
  int made = s->missing == MISSING_DIR ? mkdirat(parent, name, 0700) : mknodat(parent, name, S_IFREG | 0600, 0), e = errno;
  setfsuid((uid_t)old_uid);
  setfsgid((gid_t)old_gid);
  if (made == 0 && b->layer >= 0) mark_placeholder(parent, name);
  errno = e;
  return made;
}

/* What a step is about, made first where the plan says so and it is not there: fd, -1 with fault, or -2 where nothing is to be done. */
static int open_special(struct build *b, const struct step *s, struct fault *f) {
  int at = open_inside(b->root, s->path, O_PATH);
  if (at < 0 && errno == ENOENT && s->missing != MISSING_SKIP) {
    /* On a read-only tree nobody can make it later either. A missing folder above it could be made by the agent, and the name in it: no. */
    if (view_placeholder(b, s) != 0 && errno != EROFS) return fault(f, "view", errno, "view: placeholder for /%s", s->path);
    at = open_inside(b->root, s->path, O_PATH);
  }
  return at >= 0 ? at : errno == ENOENT ? -2 : fault(f, "view", errno, "view: open /%s", s->path);
}

/* Mounts a thing upon itself, with more attributes. */
static int do_self_bind(struct build *b, const struct step *s, uint64_t set, uint64_t clear, struct fault *f) {
  int at = open_special(b, s, f);
  if (at < 0) return at == -2 ? 0 : -1;
  int tree = sys_open_tree(at, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) {
    int e = errno;
    close(at);
    return fault(f, "view", e, "view: clone /%s", s->path);
  }
  struct mount_attributes attr = {.set = set, .clear = clear, .propagation = MS_PRIVATE};
  int r = sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) != 0 ? fault(f, "view", errno, "view: attributes of /%s", s->path) : attach(tree, at, f, s->path);
  close(tree);
  close(at);
  return r;
}

static int do_mask(struct build *b, const struct step *s, struct fault *f) {
  int at = open_special(b, s, f);
  if (at < 0) return at == -2 ? 0 : -1;
  struct stat st;
  int r = fstat(at, &st) != 0 ? fault(f, "view", errno, "view: stat /%s", s->path) : 0;
  int *first = r == 0 && S_ISDIR(st.st_mode) ? &b->mask_dir : &b->mask_file, tree = -1;
  if (r == 0) tree = *first >= 0 ? sys_open_tree(*first, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC) : sys_open_tree(b->root, first == &b->mask_dir ? MASK_DIR : MASK_FILE, TREE_CLONE | TREE_CLOEXEC);
  if (r == 0 && tree < 0) r = fault(f, "view", errno, "view: clone mask");
  struct mount_attributes attr = {.set = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC, .propagation = MS_PRIVATE};
  /* A clone of one that was mounted before has them. */
  if (r == 0 && *first < 0 && sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) != 0) r = fault(f, "view", errno, "view: mask attributes");
  if (r == 0) r = attach(tree, at, f, s->path);
  close(at);
  if (r == 0 && *first < 0) *first = tree;
  else if (tree >= 0) close(tree);
  return r;
}

static int do_simple(struct build *b, const struct step *s, int source, struct fault *f) {
  const char *name;
  int parent = open_parent(b, s->path, &name);
  if (parent < 0) return fault(f, "view", errno, "view: parent of /%s", s->path);
  int r = s->kind == STEP_DIR ? mkdirat(parent, name, s->mode) : s->kind == STEP_LINK ? symlinkat(s->source, parent, name) : make_file(parent, name, s, source, b);
  if (r != 0 && errno == EEXIST && s->kind == STEP_DIR) return 0;
  return r != 0 ? fault(f, "view", errno, "view: make /%s", s->path) : 0;
}

/*
 * The same files in a mount that nobody inside can reach, for openshelld to work in once this one is locked. Its root is the locked folder itself, so that Landlock,
 * which looks upwards from a file, finds nothing there that it grants: whoever is handed a descriptor has that file, and no way from it to another.
 */
static int keep_twin(struct build *b, const struct step *s, struct fault *f) {
  int at = s->whole ? open_inside(b->root, ".", O_PATH) : open_special(b, s, f);
  if (at == -2) at = open_inside(b->root, MASK_DIR, O_PATH); /* not there, and nobody can make it: a twin in which nothing can be done */
  if (at < 0) return -1;
  if (b->twins->count >= LAUNCH_TWINS_MAX) {
    close(at);
    return fault(f, "plan", 0, "view: more than %d twins", LAUNCH_TWINS_MAX);
  }
  int tree = sys_open_tree(at, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC | AT_RECURSIVE), e = errno;
  close(at);
  if (tree < 0) return fault(f, "view", e, "view: clone /%s", s->path);
  struct mount_attributes attr = {.set = s->yes ? ATTR_RDONLY : 0, .propagation = MS_PRIVATE};
  /* Inside, the root itself is read-only (finish_root); where the agent's uid is its owner, nothing else says so. */
  struct mount_attributes locked = {.set = ATTR_RDONLY};
  if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) != 0 || (s->whole && sys_mount_setattr(tree, "", AT_EMPTY_PATH, &locked) != 0)) {
    e = errno;
    close(tree);
    return fault(f, "view", e, "view: attributes of /%s", s->path);
  }
  b->twins->fds[b->twins->count++] = tree;
  return 0;
}

int view_step(struct build *b, const struct step *s, int source, struct fault *f) {
  if (s->kind != STEP_DIR && s->kind != STEP_LINK && s->kind != STEP_FILE && s->kind != STEP_CONCAT) forget_parent_below(b, s->path);
  switch (s->kind) {
  case STEP_DIR:
  case STEP_LINK:
  case STEP_FILE:
  case STEP_CONCAT: return do_simple(b, s, source, f);
  case STEP_TMPFS: return do_tmpfs(b, s, f);
  case STEP_DEVICE:
  case STEP_BIND: return do_bind(b, s, source, f);
  case STEP_DEV: return mount_devices(b, s, f);
  case STEP_PROC: return mount_proc(b, s, f);
  case STEP_WORKSPACE: return do_workspace(b, s, f);
  case STEP_PIN: return do_self_bind(b, s, 0, 0, f);
  case STEP_FREEZE: return do_self_bind(b, s, ATTR_RDONLY, 0, f);
  case STEP_THAW: return do_self_bind(b, s, 0, ATTR_RDONLY, f);
  case STEP_RUN: return do_self_bind(b, s, 0, ATTR_NOEXEC, f);
  case STEP_MASK: return do_mask(b, s, f);
  case STEP_TWIN: return keep_twin(b, s, f);
  }
  return fault(f, "plan", 0, "view: unknown step");
}

static int enter_root(struct build *b, struct fault *f) {
  char options[64];
  snprintf(options, sizeof options, "size=%llu,mode=755,nr_inodes=4096", (unsigned long long)b->plan->root_bytes);
  if (mount("tmpfs", BASE, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) return fault(f, "view", errno, "view: root tmpfs");
  if (chdir(BASE) != 0 || (b->root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) return fault(f, "view", errno, "view: enter root");
  if (mkdir(MASK_DIR, 0) != 0 || mknod(MASK_FILE, S_IFREG, 0) != 0) return fault(f, "view", errno, "view: masks");
  return 0;
}

/* What the steps needed and nobody should see; then read-only, then the only root. */
static int finish_root(struct build *b, struct fault *f) {
  struct mount_attributes attr = {.set = ATTR_RDONLY};
  if (rmdir(MASK_DIR) != 0 || unlink(MASK_FILE) != 0) return fault(f, "view", errno, "view: remove masks");
  if (sys_mount_setattr(b->root, "", AT_EMPTY_PATH, &attr) != 0) return fault(f, "view", errno, "view: read-only root");
  if (syscall(SYS_pivot_root, ".", ".") != 0) return fault(f, "view", errno, "view: pivot_root");
  if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return fault(f, "view", errno, "view: let go of the host");
  return 0;
}

int view_build(const struct plan *plan, const struct launch_in *in, int workspace_mount, int layer_mount, int *pts_fd, int *proc_fd, struct launch_twins *twins, struct fault *f) {
  int sources[PLAN_STEPS_MAX];
  const char *workspace = NULL;
  struct build b = {.plan = plan, .in = in, .workspace = workspace_mount, .layer = layer_mount, .root = -1, .pts_fd = -1, .proc_fd = -1, .twins = twins, .mask_dir = -1, .mask_file = -1, .parent = -1};
  umask(0);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return fault(f, "view", errno, "view: private mounts");
  if (binds_open(plan, in, sources, f) != 0) return -1;
  bool open_view = (plan->off & OFF_VIEW) != 0;
  if (open_view && view_show_host(&b, f) != 0) return -1;
  if (enter_root(&b, f) != 0 || (open_view && view_attach_host(&b, f) != 0)) return -1;
  for (size_t i = 0; i < plan->step_count; i++) {
    if (open_view && view_covers(&b, plan->steps[i].path)) continue;
    /* A twin has what is protected protected; what is locked after it is not locked in it. */
    if (plan->steps[i].kind == STEP_TWIN && workspace != NULL) {
      if (protect_lock(&b, workspace, f) != 0) return -1;
      workspace = NULL;
    }
    if (view_step(&b, &plan->steps[i], sources[i], f) != 0) return -1;
    if (plan->steps[i].kind == STEP_WORKSPACE) workspace = plan->steps[i].path;
  }
  if (workspace != NULL && protect_lock(&b, workspace, f) != 0) return -1;
  forget_parent(&b);
  if (finish_root(&b, f) != 0) return -1;
  for (size_t i = 0; i < plan->step_count; i++) {
    if (sources[i] >= 0) close(sources[i]);
  }
  if (b.mask_dir >= 0) close(b.mask_dir);
  if (b.mask_file >= 0) close(b.mask_file);
  close(b.root);
  umask(022);
  *pts_fd = b.pts_fd;
  *proc_fd = b.proc_fd;
  return 0;
}
