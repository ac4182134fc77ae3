/* Reading and re-checking the operations. */
#include "perform.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

unsigned operation_does(const struct operation *op) {
  unsigned access = op->is.flags & O_ACCMODE, does = 0;
  switch (op->is.kind) {
    case DO_UNLINK: return ON_DELETE;
    case DO_RENAME: return ON_RENAME;
    case DO_OPEN:
      if (op->is.making) return ON_CREATE;
      if (access != O_RDONLY || op->is.flags & O_TRUNC) does |= ON_WRITE;
      if (access != O_WRONLY) does |= ON_READ;
      return does;
    case DO_MKDIR:
    case DO_MKNOD:
    case DO_SYMLINK:
    case DO_LINK: return ON_CREATE;
    case DO_CONNECT: return ON_CONNECT;
    case DO_EXEC: return ON_START;
    case DO_CALL: return ON_CALL;
    default: return ON_WRITE;
  }
}

/* A descriptor stands for the folder and name that it has now. */
static int place_of_descriptor(struct place *place, const struct view *view, pid_t tid, int number) {
  char path[PATH_BYTES];
  struct stat wanted;
  int fd = caller_descriptor(tid, number);
  if (fd < 0) return errno;
  int error = fstat(fd, &wanted) < 0 ? errno : place_path(fd, path, sizeof path);
  close(fd);
  if (!error) error = place_resolve(place, view, 0, AT_FDCWD, path);
  if (!error && !place->special) error = place_look(place, view);
  if (!error && (place->special || place->dev != wanted.st_dev || place->ino != wanted.st_ino)) error = ENOENT;
  return error;
}

/* The name that a call is about, before anything is known of what is there. */
static int find(struct operation *op, struct place *place, const struct view *view, pid_t tid, const struct operation_paths *p, int which) {
  static _Thread_local char text[PATH_BYTES];
  text[0] = 0;
  int error = p->paths[which] ? read_text(tid, p->paths[which], text) : p->empty_is_dir ? 0 : EFAULT;
  if (error) return error;
  if (!text[0] && p->empty_is_dir) return place_of_descriptor(place, view, tid, p->dirs[which]);
  error = place_resolve(place, view, tid, p->dirs[which], text);
  if (!error && place->special && !operation_removes(op) && strcmp(place->name, ".") == 0) {
    /* The folder itself, by its own name. */
    error = place_path(place->parent, text, sizeof text);
    operation_let_go(place);
    if (!error) error = place_resolve(place, view, 0, AT_FDCWD, text);
  }
  if (error || place->special) return error;
  if (!op->follow || which > 0) return place_look(place, view);
  return place_follow(place, view);
}

static bool is_made(const struct operation *op, const struct place *now) {
  return op->is.kind == DO_OPEN && op->made && op->made[1] && now->exists && now->dev == op->made[0] && now->ino == op->made[1];
}

/* What the agent would be told by the kernel, or that there is nothing to be asked: for all but deletions and renames, which are always done here. */
static int concerns_a_lock(struct operation *op, const struct view *view, const int errors[2], bool always) {
  struct place *last = operation_has_two(op) ? &op->to : &op->from;
  bool makes = op->is.kind == DO_MKDIR || op->is.kind == DO_MKNOD || op->is.kind == DO_SYMLINK || op->is.kind == DO_LINK;
  if (op->from.special || last->special || (errors[0] && (errors[0] != ENOENT || op->from.parent < 0 || op->is.kind == DO_LINK))) return OPERATION_CONTINUE;
  if (op->is.kind == DO_LINK && errors[1] && errors[1] != ENOENT) return OPERATION_CONTINUE;
  if (op->from.parent < 0 || last->parent < 0) return OPERATION_CONTINUE;
  place_find_lock(&op->from, view);
  if (last != &op->from) place_find_lock(last, view);
  if (op->from.lock < 0 && last->lock < 0 && !always) return OPERATION_CONTINUE;
  if (makes) return last->lock < 0 && !always ? OPERATION_CONTINUE : last->exists ? EEXIST : op->is.kind == DO_LINK && op->from.lock != last->lock ? EXDEV : op->is.kind == DO_LINK && op->from.folder ? EPERM : 0;
  if (op->is.kind != DO_OPEN) return op->from.exists ? 0 : ENOENT;
  op->is.making = !op->from.exists || is_made(op, &op->from);
  if (op->is.making) return op->is.flags & O_CREAT ? 0 : ENOENT;
  if ((op->is.flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return EEXIST;
  if (op->from.link) return ELOOP;
  if (op->is.flags & (O_TMPFILE & ~O_DIRECTORY)) return EOPNOTSUPP; /* programs then make a file with a name */
  if (op->from.folder && (operation_does(op) & ON_WRITE || op->is.flags & O_CREAT)) return EISDIR;
  if ((op->is.flags & O_DIRECTORY) && !op->from.folder) return ENOTDIR;
  /* Reading is the kernel's matter where nothing is hidden from it. */
  if (!view->monitor && operation_does(op) == ON_READ && (op->from.lock < 0 || !view->locks[op->from.lock].hidden)) return OPERATION_CONTINUE;
  return 0;
}

/* Into the lock's own mount, where there is one. */
static int unlock(struct operation *op, const struct view *view) {
  bool reading = op->is.kind == DO_OPEN && operation_does(op) == ON_READ;
  place_find_lock(&op->from, view);
  int error = op->from.lock >= 0 ? place_unlock(&op->from, view, reading) : 0;
  if (error || !operation_has_two(op)) return error;
  place_find_lock(&op->to, view);
  return op->to.lock >= 0 ? place_unlock(&op->to, view, false) : 0;
}

static uint64_t mount_of(int fd, const char *name) {
  struct statx found;
  return statx(fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name[0] ? 0 : AT_EMPTY_PATH), STATX_MNT_ID, &found) < 0 ? 0 : found.stx_mnt_id;
}

/* link(2) makes no name in another mount, also of the same file system: nobody is asked in vain. */
static bool in_two_mounts(const struct operation *op) {
  uint64_t object = mount_of(op->from.parent, op->from.name), folder = mount_of(op->to.parent, "");
  return object && folder && object != folder;
}

/* What lies over a denied file: nobody is asked about it. 0: it is another thing. */
static int denied(const struct operation *op) {
  if (op->from.special || !op->from.exists || !op->from.mount || op->from.mode & 0777) return 0;
  return op->is.kind == DO_OPEN ? EACCES : EROFS;
}

static int look(struct operation *op, const struct view *view, int errors[2], bool always) {
  if (!operation_removes(op)) {
    int error = concerns_a_lock(op, view, errors, always);
    return error || op->is.kind == DO_LINK ? error : denied(op);
  }
  if (errors[0]) return errors[0];
  if (op->is.kind == DO_RENAME && errors[1] && (errors[1] != ENOENT || op->to.parent < 0 || op->is.flags & RENAME_EXCHANGE)) return errors[1];
  const struct place *places[2] = {&op->from, op->is.kind == DO_RENAME ? &op->to : NULL};
  for (int i = 0; i < 2 && places[i]; i++)
    for (int k = 0; k < view->lock_count && !places[i]->special; k++)
      if (strcmp(places[i]->path, view->locks[k].path) == 0) return EBUSY;
  /* The kernel would not see that it is a mount point, since it looks in our own mount namespace. */
  if ((!op->from.special && op->from.mount) || (op->is.kind == DO_RENAME && !op->to.special && op->to.exists && op->to.mount)) return EBUSY;
  return 0;
}

/* Most arguments are an int or a flag; the kernel reads only their lower half. */
static bool args_are_ints(uint64_t value) { return value >> 32 == 0 || value >> 31 == (1ULL << 33) - 1; }

static void begin(struct operation *op) {
  op->syscall = "";
  memset(&op->is, 0, sizeof op->is);
  op->rename = op->follow = op->forbidden = false;
  op->value = NULL;
  op->value_length = 0;
  op->text[0] = 0;
  op->result = -1;
  op->made = NULL;
  op->from.parent = op->to.parent = -1;
  op->from.kept = op->to.kept = op->from.special = op->to.special = op->from.exists = op->to.exists = false;
  op->from.path[0] = op->to.path[0] = 0;
  op->from.lock = op->to.lock = -1;
  op->from.prefix = op->to.prefix = 0;
}

void operation_of_call(struct operation *op, const struct seccomp_notif *call, const char *name, int args) {
  size_t used = 0;
  begin(op);
  op->syscall = name;
  op->is.kind = DO_CALL;
  for (int i = 0; i < args && i < 6; i++) {
    text_format(op->from.path + used, sizeof op->from.path - used, "%s%lld", i ? ", " : "", (long long)(int64_t)(args_are_ints(call->data.args[i]) ? (int64_t)(int32_t)call->data.args[i] : (int64_t)call->data.args[i]));
    used += strlen(op->from.path + used);
  }
}

int operation_read(struct operation *op, const struct view *view, const struct seccomp_notif *call, int notify, bool always, uint64_t *made) {
  struct operation_paths p = {.count = 0};
  uint64_t id = call->id;
  int errors[2] = {0, 0};
  pid_t tid = (pid_t)call->pid;
  kept_sweep();
  begin(op);
  op->made = made;
  if (call->data.nr == SYS_connect) {
    int failed = connect_read(op, view, call, notify, always);
    if (failed) operation_close(op);
    return failed;
  }
  int error = operation_decode(op, call, &p);
  op->forbidden = error == EPERM;
  op->rename = op->is.kind == DO_RENAME;
  if (!error) errors[0] = find(op, &op->from, view, tid, &p, 0);
  if (!error && p.count > 1 && (errors[0] == 0 || errors[0] == ENOENT)) errors[1] = find(op, &op->to, view, tid, &p, 1);
  if (errors[0] == ESRCH || errors[1] == ESRCH) error = ESRCH;
  if (!error && ((op->is.kind == DO_OPEN && op->is.flags & O_CREAT) || op->is.kind == DO_MKDIR || op->is.kind == DO_MKNOD) && (view->lock_count > 0 || always) && op->from.parent >= 0) {
    place_find_lock(&op->from, view);
    if (op->from.lock >= 0 || always) op->is.mode &= ~caller_umask(tid);
  }
  /* Only now is it certain that memory, cwd and descriptors were those of the caller and not of a successor with its number. */
  if (error != ESRCH && ioctl(notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0) error = ESRCH;
  if (!error) error = look(op, view, errors, always);
  if (error == OPERATION_CONTINUE && always) error = errors[0] ? errors[0] : errors[1] ? errors[1] : EPERM;
  if (!error && view->lock_count > 0 && !op->from.special && !op->to.special) error = unlock(op, view);
  if (!error && op->is.kind == DO_LINK && in_two_mounts(op)) error = EXDEV;
  if (error == ESTALE) error = EAGAIN; /* moved by someone outside meanwhile */
  if (error) operation_close(op);
  return error;
}

static bool place_same(const struct place *place, const struct view *view) {
  static _Thread_local struct place now;
  char folder[PATH_BYTES];
  const char *path = place->path + place->prefix;
  now.parent = place->parent;
  now.special = place->special;
  memcpy(now.name, place->name, sizeof now.name);
  int error = place_look(&now, view);
  if (place->exists ? error != 0 : error != ENOENT) return false;
  if (place->exists && (now.dev != place->dev || now.ino != place->ino)) return false;
  if (!place->name[0]) return true; /* a mount's own root stays what it is */
  if (place_path(place->parent, folder, sizeof folder) != 0) return false;
  size_t length = strlen(folder);
  return strncmp(folder, path, length) == 0 && path[length > 1 ? length : 0] == '/' && strchr(path + (length > 1 ? length + 1 : 1), '/') == NULL;
}

bool operation_same(const struct operation *op, const struct view *view) {
  if (op->is.kind == DO_CALL || (op->is.kind == DO_CONNECT && op->from.parent < 0)) return true;
  return place_same(&op->from, view) && (!operation_has_two(op) || place_same(&op->to, view));
}

bool operation_made(const struct operation *op, const struct view *view) {
  static _Thread_local struct place now;
  now.parent = op->from.parent;
  memcpy(now.name, op->from.name, sizeof now.name);
  return op->is.making && place_look(&now, view) == 0 && is_made(op, &now);
}

void operation_let_go(struct place *place) {
  if (place->parent >= 0 && !place->kept) close(place->parent);
  place->parent = -1;
  place->kept = false;
}

void operation_close(struct operation *op) {
  operation_let_go(&op->from);
  operation_let_go(&op->to);
  if (op->result >= 0) close(op->result);
  op->result = -1;
  free(op->value);
  op->value = NULL;
}

static bool keep(struct place *place) {
  if (!place->kept) return true;
  int own = fcntl(place->parent, F_DUPFD_CLOEXEC, 3);
  if (own < 0) return false;
  place->parent = own;
  place->kept = false;
  return true;
}

bool operation_keep(struct operation *op) { return keep(&op->from) && keep(&op->to); }
