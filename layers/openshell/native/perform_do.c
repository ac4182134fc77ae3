/* Doing an operation, as the agent, on exactly what was looked up. Nothing here may wait: no lease, no pipe's other end. */
#include "perform.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OPEN_KEEPS (O_ACCMODE | O_APPEND | O_DIRECT | O_DSYNC | O_SYNC | O_NOATIME | O_TRUNC | O_DIRECTORY)

/* The object by its descriptor: whatever its name leads to by now. */
static void by_descriptor(char out[40], int fd) { text_format(out, 40, "/proc/self/fd/%d", fd); }

/* O_NONBLOCK until it is open: a file may have a lease, which the agent can hold, and a pipe no reader. */
static int open_it(struct operation *op, int object) {
  char path[40];
  by_descriptor(path, object);
  int wanted = (int)op->is.flags & O_NONBLOCK, fd = open(path, ((int)op->is.flags & OPEN_KEEPS) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return errno;
  if (!wanted && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0) {
    int e = errno;
    close(fd);
    return e;
  }
  op->result = fd;
  return 0;
}

/* Its owner may open it until it is handed over, whatever its mode is to be. */
#define OWNER 0600

/*
 * A file that must be new: made without a name, written down, then named, so that whoever goes on after us knows it by its inode.
 * OPERATION_CONTINUE: this file system makes no files without a name.
 */
static int make_new(const struct operation *op) {
  struct stat made;
  char path[40];
  int fd = openat(op->from.parent, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, (op->is.mode & 0777) | OWNER);
  if (fd < 0) return errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL ? OPERATION_CONTINUE : errno;
  int error = fstat(fd, &made) < 0 ? errno : 0;
  if (!error) {
    op->made[0] = made.st_dev;
    __atomic_store_n(&op->made[1], made.st_ino, __ATOMIC_RELEASE);
    by_descriptor(path, fd);
    if (linkat(AT_FDCWD, path, op->from.parent, op->from.name, AT_SYMLINK_FOLLOW) < 0) error = errno;
  }
  close(fd);
  return error;
}

/* What make_new made, by us or before us. */
static int take_new(struct operation *op) {
  struct stat found;
  int fd = openat(op->from.parent, op->from.name, ((int)op->is.flags & OPEN_KEEPS & ~O_TRUNC) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  int error = fd < 0 ? errno : fstat(fd, &found) < 0 ? errno : found.st_dev != op->made[0] || found.st_ino != op->made[1] ? EEXIST : 0;
  if (!error && (op->is.mode & OWNER) != OWNER && fchmod(fd, found.st_mode & 0777 & ~(OWNER & ~op->is.mode)) < 0) error = errno;
  if (!error && !(op->is.flags & O_NONBLOCK) && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0) error = errno;
  if (error) {
    if (fd >= 0) close(fd);
    return error;
  }
  op->result = fd;
  return 0;
}

static int make_file(struct operation *op, bool again) {
  if (op->is.flags & O_EXCL && !(op->is.flags & O_DIRECTORY) && !strchr(op->from.name, '/') && op->made) {
    int error = again && op->made[1] ? take_new(op) : ENOENT;
    if (error != ENOENT) return error;
    error = make_new(op);
    if (error != OPERATION_CONTINUE) return error ? error : take_new(op);
  }
  int flags = ((int)op->is.flags & OPEN_KEEPS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  int fd = openat(op->from.parent, op->from.name, flags, op->is.mode & 0777);
  if (fd < 0 && errno == EEXIST && again) fd = openat(op->from.parent, op->from.name, flags & ~(O_CREAT | O_EXCL), 0);
  if (fd < 0) return errno;
  if (!(op->is.flags & O_NONBLOCK)) (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  op->result = fd;
  return 0;
}

static int truncate_it(const struct operation *op, int object) {
  char path[40];
  by_descriptor(path, object);
  int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return errno == ENXIO ? EINVAL : errno;
  int result = ftruncate(fd, op->is.length), e = errno;
  close(fd);
  return result < 0 ? e : 0;
}

static int change(struct operation *op) {
  char path[40];
  int result = -1, object = place_object(&op->from);
  if (object < 0) return errno == ESTALE ? EPERM : errno;
  by_descriptor(path, object);
  switch (op->is.kind) {
    case DO_OPEN:
      result = open_it(op, object);
      break;
    case DO_TRUNCATE:
      result = op->from.folder ? EISDIR : truncate_it(op, object);
      break;
    case DO_CHMOD:
      result = op->from.link ? EOPNOTSUPP : chmod(path, op->is.mode) < 0 ? errno : 0;
      break;
    case DO_CHOWN:
      result = fchownat(object, "", op->is.owner, op->is.group, AT_EMPTY_PATH) < 0 ? errno : 0;
      break;
    case DO_UTIMES:
      result = syscall(SYS_utimensat, object, "", op->is.times_now ? NULL : op->is.times, AT_EMPTY_PATH) < 0 ? errno : 0;
      break;
    case DO_SETXATTR:
      result = setxattr(path, op->text, op->value, op->value_length, (int)op->is.flags) < 0 ? errno : 0;
      break;
    case DO_REMOVEXATTR:
      result = removexattr(path, op->text) < 0 ? errno : 0;
      break;
    case DO_LINK:
      result = linkat(AT_FDCWD, path, op->to.parent, op->to.name, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
      break;
    default:
      result = EPERM;
  }
  close(object);
  return result;
}

int operation_do(struct operation *op, const struct view *view, bool again) {
  const struct operation_numbers *is = &op->is;
  const struct place *from = &op->from;
  int result;
  if (is->kind == DO_CONNECT) return EPERM; /* never here: the other side would see openshelld (holds.c has a thread that is the agent) */
  become_agent(view);
  switch (is->kind) {
    case DO_UNLINK:
      result = unlinkat(from->parent, from->name, (int)is->flags);
      break;
    case DO_RENAME:
      result = (int)syscall(SYS_renameat2, from->parent, from->name, op->to.parent, op->to.name, is->flags);
      break;
    case DO_MKDIR:
      result = mkdirat(from->parent, from->name, is->mode);
      break;
    case DO_MKNOD:
      result = mknodat(from->parent, from->name, is->mode, 0);
      break;
    case DO_SYMLINK:
      result = symlinkat(op->text, from->parent, from->name);
      break;
    case DO_OPEN:
      return is->making ? make_file(op, again) : change(op);
    default: {
      int error = change(op);
      return error == EEXIST && again ? 0 : error;
    }
  }
  int error = result < 0 ? errno : 0;
  if (again && error == EEXIST && !operation_removes(op)) return 0;
  /* A folder that moves or goes takes with it what was known about those below, and its number may come back; a link leads elsewhere. */
  bool lead = from->folder || from->link || (op->rename && op->to.exists && (op->to.folder || op->to.link));
  if (!error && operation_removes(op) && (lead || (is->flags & AT_REMOVEDIR && !op->rename))) folders_forget();
  return error;
}
