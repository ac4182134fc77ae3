/* The arguments of a call that openshelld may do for an agent. */
#include "perform.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SET_ID_BITS 06000
#define VALUE_MAX 65536 /* XATTR_SIZE_MAX */
#define NAME_OF_ATTRIBUTE 256
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static int read_bytes(pid_t tid, uint64_t address, void *out, size_t length) {
  struct iovec mine = {out, length}, theirs = {(void *)address, length};
  return process_vm_readv(tid, &mine, 1, &theirs, 1, 0) == (ssize_t)length ? 0 : EFAULT;
}

#define SHORT_TEXT 256 /* what a path usually is: one page, few bytes */

/* Two parts, since a transfer is all or nothing for each and the second page may not exist. */
int read_text(pid_t tid, uint64_t address, char *out) {
  size_t first = 4096 - (address & 4095);
  if (first > PATH_BYTES) first = PATH_BYTES;
  size_t little = first < SHORT_TEXT ? first : SHORT_TEXT;
  if (read_bytes(tid, address, out, little) == 0 && memchr(out, 0, little)) return 0;
  struct iovec mine = {out, PATH_BYTES}, theirs[2] = {{(void *)address, first}, {(void *)(address + first), PATH_BYTES - first}};
  ssize_t n = process_vm_readv(tid, &mine, 1, theirs, first < PATH_BYTES ? 2 : 1, 0);
  if (n <= 0) return EFAULT;
  if (!memchr(out, 0, (size_t)n)) return n == PATH_BYTES ? ENAMETOOLONG : EFAULT;
  return 0;
}

static void one(struct operation_paths *p, int dir, uint64_t path) {
  p->dirs[p->count] = dir;
  p->paths[p->count++] = path;
}

static int decode_open(struct operation *op, uint64_t flags, uint64_t mode, const char *name) {
  op->syscall = name;
  op->is.kind = DO_OPEN;
  op->is.flags = (unsigned)flags;
  op->follow = !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {
    if (mode & SET_ID_BITS) return EPERM; /* a file with such a bit keeps it on the host, where the workspace's owner may be root */
    op->is.mode = (unsigned)mode & 01777;
  }
  return flags & O_PATH ? OPERATION_CONTINUE : 0;
}

static int decode_times(struct operation *op, pid_t tid, int nr, uint64_t address) {
  op->is.kind = DO_UTIMES;
  op->follow = true;
  op->is.times_now = address == 0;
  if (address == 0) return 0;
#ifdef SYS_utime
  if (nr == SYS_utime) {
    int64_t seconds[2];
    int error = read_bytes(tid, address, seconds, sizeof seconds);
    for (int i = 0; i < 2; i++) op->is.times[i] = (struct timespec){.tv_sec = seconds[i]};
    return error;
  }
  if (nr == SYS_utimes || nr == SYS_futimesat) {
    int64_t pairs[4];
    int error = read_bytes(tid, address, pairs, sizeof pairs);
    for (int i = 0; i < 2; i++) {
      if (pairs[2 * i + 1] < 0 || pairs[2 * i + 1] >= 1000000) return error ? error : EINVAL;
      op->is.times[i] = (struct timespec){.tv_sec = pairs[2 * i], .tv_nsec = pairs[2 * i + 1] * 1000};
    }
    return error;
  }
#endif
  (void)nr;
  return read_bytes(tid, address, op->is.times, sizeof op->is.times);
}

static int decode_attribute(struct operation *op, pid_t tid, const __u64 *a, bool set, bool follow) {
  char name[PATH_BYTES];
  op->is.kind = set ? DO_SETXATTR : DO_REMOVEXATTR;
  op->follow = follow;
  int error = read_text(tid, a[1], name);
  if (error) return error == ENAMETOOLONG ? ERANGE : error;
  if (strlen(name) >= NAME_OF_ATTRIBUTE) return ERANGE;
  /* With openshelld's capabilities the other kinds could be more than the agent may set. */
  if (strncmp(name, "user.", 5) != 0) return OPERATION_CONTINUE;
  memcpy(op->text, name, strlen(name) + 1);
  if (!set) return 0;
  op->is.flags = (unsigned)a[4];
  if (a[3] > VALUE_MAX) return E2BIG;
  op->value_length = a[3];
  op->value = malloc(a[3] + 1);
  if (!op->value) return ENOMEM;
  return a[3] == 0 ? 0 : read_bytes(tid, a[2], op->value, a[3]);
}

static int decode_mode(struct operation *op, const char *name, uint64_t mode) {
  op->syscall = name;
  op->is.kind = DO_CHMOD;
  op->is.mode = (unsigned)mode & 07777;
  op->follow = true;
  return mode & SET_ID_BITS ? EPERM : 0;
}

static void decode_owner(struct operation *op, const char *name, uint64_t owner, uint64_t group, bool follow) {
  op->syscall = name;
  op->is.kind = DO_CHOWN;
  op->is.owner = (uid_t)owner;
  op->is.group = (gid_t)group;
  op->follow = follow;
}

static void decode_make(struct operation *op, const char *name, enum operation_kind kind, uint64_t mode) {
  op->syscall = name;
  op->is.kind = kind;
  op->is.mode = (unsigned)mode & (kind == DO_MKNOD ? S_IFMT | 0777 : 01777);
}

static int decode_symlink(struct operation *op, pid_t tid, uint64_t target) {
  op->is.kind = DO_SYMLINK;
  int error = read_text(tid, target, op->text);
  return error ? error : op->text[0] ? 0 : ENOENT;
}

static bool makes_plain(uint64_t mode) {
  unsigned type = mode & S_IFMT;
  return (type == 0 || type == S_IFREG || type == S_IFIFO || type == S_IFSOCK) && !(mode & SET_ID_BITS);
}

#define AT_FLAGS_KNOWN (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)

int operation_decode(struct operation *op, const struct seccomp_notif *notice, struct operation_paths *p) {
  const struct seccomp_data *call = &notice->data;
  const __u64 *a = call->args;
  pid_t tid = (pid_t)notice->pid;
  int error = 0;
  switch (call->nr) {
#ifdef SYS_unlink
    case SYS_unlink:
    case SYS_rmdir:
      op->syscall = call->nr == SYS_rmdir ? "rmdir" : "unlink";
      op->is.flags = call->nr == SYS_rmdir ? AT_REMOVEDIR : 0;
      one(p, AT_FDCWD, a[0]);
      return 0;
    case SYS_rename:
      op->syscall = "rename";
      op->is.kind = DO_RENAME;
      one(p, AT_FDCWD, a[0]);
      one(p, AT_FDCWD, a[1]);
      return 0;
    case SYS_open:
      one(p, AT_FDCWD, a[0]);
      return decode_open(op, a[1], a[2], "open");
    case SYS_creat:
      one(p, AT_FDCWD, a[0]);
      return decode_open(op, O_CREAT | O_WRONLY | O_TRUNC, a[1], "creat");
    case SYS_mkdir:
      one(p, AT_FDCWD, a[0]);
      decode_make(op, "mkdir", DO_MKDIR, a[1]);
      return 0;
    case SYS_mknod:
      one(p, AT_FDCWD, a[0]);
      decode_make(op, "mknod", DO_MKNOD, a[1]);
      return makes_plain(a[1]) ? 0 : EPERM;
    case SYS_symlink:
      op->syscall = "symlink";
      one(p, AT_FDCWD, a[1]);
      return decode_symlink(op, tid, a[0]);
    case SYS_link:
      op->syscall = "link";
      op->is.kind = DO_LINK;
      one(p, AT_FDCWD, a[0]);
      one(p, AT_FDCWD, a[1]);
      return 0;
    case SYS_chmod:
      one(p, AT_FDCWD, a[0]);
      return decode_mode(op, "chmod", a[1]);
    case SYS_chown:
    case SYS_lchown:
      one(p, AT_FDCWD, a[0]);
      decode_owner(op, call->nr == SYS_chown ? "chown" : "lchown", a[1], a[2], call->nr == SYS_chown);
      return 0;
    case SYS_utime:
    case SYS_utimes:
      op->syscall = call->nr == SYS_utime ? "utime" : "utimes";
      one(p, AT_FDCWD, a[0]);
      return decode_times(op, tid, call->nr, a[1]);
    case SYS_futimesat:
      op->syscall = "futimesat";
      one(p, (int)a[0], a[1]);
      p->empty_is_dir = a[1] == 0;
      return decode_times(op, tid, call->nr, a[2]);
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2:
      op->syscall = call->nr == SYS_renameat2 ? "renameat2" : "renameat";
      op->is.kind = DO_RENAME;
      op->is.flags = call->nr == SYS_renameat2 ? (unsigned)a[4] : 0;
      one(p, (int)a[0], a[1]);
      one(p, (int)a[2], a[3]);
      /* A whiteout makes a device node; no agent has a use for it. */
      return op->is.flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) ? EINVAL : 0;
    case SYS_execve:
    case SYS_execveat:
      /* Only seen (monitor mode), never done here. */
      op->syscall = call->nr == SYS_execve ? "execve" : "execveat";
      op->is.kind = DO_EXEC;
      one(p, call->nr == SYS_execve ? AT_FDCWD : (int)a[0], a[call->nr == SYS_execve ? 0 : 1]);
      p->empty_is_dir = call->nr == SYS_execveat && a[4] & AT_EMPTY_PATH;
      op->follow = call->nr == SYS_execve || !(a[4] & AT_SYMLINK_NOFOLLOW);
      return 0;
    case SYS_unlinkat:
      op->syscall = "unlinkat";
      op->is.flags = (unsigned)a[2];
      one(p, (int)a[0], a[1]);
      return op->is.flags & ~(unsigned)AT_REMOVEDIR ? EINVAL : 0;
    case SYS_openat:
      one(p, (int)a[0], a[1]);
      return decode_open(op, a[2], a[3], "openat");
    case SYS_mkdirat:
      one(p, (int)a[0], a[1]);
      decode_make(op, "mkdirat", DO_MKDIR, a[2]);
      return 0;
    case SYS_mknodat:
      one(p, (int)a[0], a[1]);
      decode_make(op, "mknodat", DO_MKNOD, a[2]);
      return makes_plain(a[2]) ? 0 : EPERM;
    case SYS_symlinkat:
      op->syscall = "symlinkat";
      one(p, (int)a[1], a[2]);
      return decode_symlink(op, tid, a[0]);
    case SYS_linkat:
      op->syscall = "linkat";
      op->is.kind = DO_LINK;
      one(p, (int)a[0], a[1]);
      one(p, (int)a[2], a[3]);
      op->follow = (a[4] & AT_SYMLINK_FOLLOW) != 0;
      return a[4] & ~(unsigned)AT_SYMLINK_FOLLOW ? OPERATION_CONTINUE : 0;
    case SYS_truncate:
      op->syscall = "truncate";
      op->is.kind = DO_TRUNCATE;
      op->is.length = (int64_t)a[1];
      op->follow = true;
      one(p, AT_FDCWD, a[0]);
      return op->is.length < 0 ? EINVAL : 0;
    case SYS_fchmod:
    case SYS_fchmodat:
      one(p, (int)a[0], call->nr == SYS_fchmod ? 0 : a[1]);
      p->empty_is_dir = call->nr == SYS_fchmod;
      return decode_mode(op, call->nr == SYS_fchmod ? "fchmod" : "fchmodat", a[call->nr == SYS_fchmod ? 1 : 2]);
    case SYS_fchmodat2:
      if (a[3] & ~(unsigned)AT_FLAGS_KNOWN) return EINVAL;
      one(p, (int)a[0], a[1]);
      p->empty_is_dir = (a[3] & AT_EMPTY_PATH) != 0;
      error = decode_mode(op, "fchmodat2", a[2]);
      op->follow = !(a[3] & AT_SYMLINK_NOFOLLOW);
      return error;
    case SYS_fchown:
      one(p, (int)a[0], 0);
      p->empty_is_dir = true;
      decode_owner(op, "fchown", a[1], a[2], false);
      return 0;
    case SYS_fchownat:
      if (a[4] & ~(unsigned)AT_FLAGS_KNOWN) return EINVAL;
      one(p, (int)a[0], a[1]);
      p->empty_is_dir = (a[4] & AT_EMPTY_PATH) != 0;
      decode_owner(op, "fchownat", a[2], a[3], !(a[4] & AT_SYMLINK_NOFOLLOW));
      return 0;
    case SYS_utimensat:
      if (a[3] & ~(unsigned)AT_FLAGS_KNOWN) return EINVAL;
      op->syscall = "utimensat";
      one(p, (int)a[0], a[1]);
      p->empty_is_dir = a[1] == 0 || (a[3] & AT_EMPTY_PATH) != 0;
      error = decode_times(op, tid, call->nr, a[2]);
      op->follow = !(a[3] & AT_SYMLINK_NOFOLLOW);
      return error;
    case SYS_setxattr:
    case SYS_lsetxattr:
    case SYS_fsetxattr:
      op->syscall = call->nr == SYS_setxattr ? "setxattr" : call->nr == SYS_lsetxattr ? "lsetxattr" : "fsetxattr";
      p->empty_is_dir = call->nr == SYS_fsetxattr;
      one(p, call->nr == SYS_fsetxattr ? (int)a[0] : AT_FDCWD, call->nr == SYS_fsetxattr ? 0 : a[0]);
      return decode_attribute(op, tid, a, true, call->nr == SYS_setxattr);
    case SYS_removexattr:
    case SYS_lremovexattr:
    case SYS_fremovexattr:
      op->syscall = call->nr == SYS_removexattr ? "removexattr" : call->nr == SYS_lremovexattr ? "lremovexattr" : "fremovexattr";
      p->empty_is_dir = call->nr == SYS_fremovexattr;
      one(p, call->nr == SYS_fremovexattr ? (int)a[0] : AT_FDCWD, call->nr == SYS_fremovexattr ? 0 : a[0]);
      return decode_attribute(op, tid, a, false, call->nr == SYS_removexattr);
    default:
      return EPERM;
  }
}

bool operation_known(int nr) {
  static const int known[] = {
#ifdef SYS_unlink
      SYS_unlink, SYS_rmdir, SYS_rename, SYS_open, SYS_creat, SYS_mkdir, SYS_mknod, SYS_symlink, SYS_link, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
#endif
#ifdef SYS_renameat
      SYS_renameat,
#endif
      SYS_renameat2, SYS_unlinkat, SYS_openat, SYS_mkdirat, SYS_mknodat, SYS_symlinkat, SYS_linkat, SYS_truncate, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr,
      SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_connect, SYS_execve, SYS_execveat,
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i] == nr) return true;
  return false;
}
