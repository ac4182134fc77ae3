/* Reading, re-checking and doing the operations. */
#include "perform.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RENAME_WHITEOUT
#define RENAME_WHITEOUT 4
#endif

/* A NUL-terminated string of the agent; two parts, since a transfer is all or nothing for each and the second page may not exist. */
static int read_path(pid_t tid, uint64_t address, char *out) {
  size_t first = 4096 - (address & 4095);
  if (first > PATH_BYTES) first = PATH_BYTES;
  struct iovec mine = {out, PATH_BYTES}, theirs[2] = {{(void *)address, first}, {(void *)(address + first), PATH_BYTES - first}};
  ssize_t n = process_vm_readv(tid, &mine, 1, theirs, first < PATH_BYTES ? 2 : 1, 0);
  if (n <= 0) return EFAULT;
  if (!memchr(out, 0, (size_t)n)) return n == PATH_BYTES ? ENAMETOOLONG : EFAULT;
  return out[0] ? 0 : ENOENT;
}

static int decode(struct operation *op, const struct seccomp_data *call, int dirs[2], uint64_t paths[2]) {
  const __u64 *a = call->args;
  dirs[0] = dirs[1] = AT_FDCWD;
  switch (call->nr) {
#ifdef SYS_unlink
    case SYS_unlink:
      op->syscall = "unlink";
      paths[0] = a[0];
      return 0;
    case SYS_rmdir:
      op->syscall = "rmdir";
      op->flags = AT_REMOVEDIR;
      paths[0] = a[0];
      return 0;
    case SYS_rename:
      op->syscall = "rename";
      op->rename = true;
      paths[0] = a[0];
      paths[1] = a[1];
      return 0;
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2:
      op->syscall = call->nr == SYS_renameat2 ? "renameat2" : "renameat";
      op->rename = true;
      op->flags = call->nr == SYS_renameat2 ? (unsigned)a[4] : 0;
      dirs[0] = (int)a[0];
      paths[0] = a[1];
      dirs[1] = (int)a[2];
      paths[1] = a[3];
      /* A whiteout makes a device node; no agent has a use for it. */
      return op->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) ? EINVAL : 0;
    case SYS_unlinkat:
      op->syscall = "unlinkat";
      dirs[0] = (int)a[0];
      paths[0] = a[1];
      op->flags = (unsigned)a[2];
      return op->flags & ~(unsigned)AT_REMOVEDIR ? EINVAL : 0;
    default:
      return EPERM;
  }
}

bool operation_known(int nr) {
  switch (nr) {
#ifdef SYS_unlink
    case SYS_unlink:
    case SYS_rmdir:
    case SYS_rename:
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_unlinkat:
    case SYS_renameat2:
      return true;
    default:
      return false;
  }
}

int operation_read(struct operation *op, const struct view *view, const struct seccomp_notif *call, int notify) {
  static _Thread_local char text[2][PATH_BYTES];
  int dirs[2];
  uint64_t paths[2], id = call->id;
  op->syscall = "";
  op->rename = false;
  op->flags = 0;
  op->from.parent = op->to.parent = -1;
  op->from.kept = op->to.kept = false;
  int error = decode(op, &call->data, dirs, paths);
  for (int i = 0; !error && i < (op->rename ? 2 : 1); i++) error = read_path((pid_t)call->pid, paths[i], text[i]);
  if (!error) error = place_resolve(&op->from, view, (pid_t)call->pid, dirs[0], text[0]);
  if (!error && op->rename) error = place_resolve(&op->to, view, (pid_t)call->pid, dirs[1], text[1]);
  /* Only now is it certain that memory, cwd and descriptors were those of the caller and not of a successor with its number. */
  if (!error && ioctl(notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0) error = ESRCH;
  if (!error && !op->from.special) error = place_look(&op->from, view);
  if (!error && op->rename && !op->to.special) {
    error = place_look(&op->to, view);
    if (error == ENOENT && !(op->flags & RENAME_EXCHANGE)) error = 0;
  }
  if (error) operation_close(op);
  return error;
}

static bool place_same(const struct place *place, const struct view *view) {
  static _Thread_local struct place now;
  char folder[PATH_BYTES];
  now.parent = place->parent;
  now.special = place->special;
  memcpy(now.name, place->name, sizeof now.name);
  int error = place_look(&now, view);
  if (place->exists ? error != 0 : error != ENOENT) return false;
  if (place->exists && (now.dev != place->dev || now.ino != place->ino)) return false;
  if (place_path(place->parent, folder, sizeof folder) != 0) return false;
  size_t length = strlen(folder);
  return strncmp(folder, place->path, length) == 0 && place->path[length > 1 ? length : 0] == '/' && strchr(place->path + (length > 1 ? length + 1 : 1), '/') == NULL;
}

bool operation_same(const struct operation *op, const struct view *view) { return place_same(&op->from, view) && (!op->rename || place_same(&op->to, view)); }

int operation_do(const struct operation *op, const struct view *view) {
  become_agent(view);
  int result = op->rename ? (int)syscall(SYS_renameat2, op->from.parent, op->from.name, op->to.parent, op->to.name, op->flags) : unlinkat(op->from.parent, op->from.name, (int)op->flags);
  int error = result < 0 ? errno : 0;
  /* A folder that moves or goes takes with it what was known about those below, and its number may come back; a link leads elsewhere. */
  bool lead = op->from.folder || op->from.link || (op->rename && op->to.exists && (op->to.folder || op->to.link));
  if (!error && (lead || (op->flags & AT_REMOVEDIR && !op->rename))) folders_forget();
  return error;
}

void operation_let_go(struct place *place) {
  if (place->parent >= 0 && !place->kept) close(place->parent);
  place->parent = -1;
  place->kept = false;
}

void operation_close(struct operation *op) {
  operation_let_go(&op->from);
  operation_let_go(&op->to);
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
