/* Table of the calls whose refusal is told one by one. */
#include "seen_calls.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include "seen_names.h"

static unsigned by_flags(uint64_t flags) {
  unsigned mode = flags & O_ACCMODE;
  return (mode != O_WRONLY ? SEEN_READ : 0) | (mode != O_RDONLY || (flags & O_TRUNC) ? SEEN_WRITE : 0);
}
static unsigned open_wants(const struct seen_event *event) { return by_flags(event->args[1]); }
static unsigned openat_wants(const struct seen_event *event) { return by_flags(event->args[2]); }
static unsigned wants_write(const struct seen_event *event) {
  (void)event;
  return SEEN_WRITE;
}
static unsigned wants_read(const struct seen_event *event) {
  (void)event;
  return SEEN_READ;
}
static unsigned wants_execute(const struct seen_event *event) {
  (void)event;
  return SEEN_EXECUTE;
}

static unsigned wants_nothing(const struct seen_event *event) {
  (void)event;
  return 0;
}

static const struct seen_call calls[] = {
  {SYS_open, "open", SEEN_FILE, 1, false, false, open_wants},
  {SYS_openat, "openat", SEEN_FILE, 2, false, false, openat_wants},
  {SYS_openat2, "openat2", SEEN_FILE, 2, false, false, wants_read},
  {SYS_creat, "creat", SEEN_FILE, 1, false, false, wants_write},
  {SYS_truncate, "truncate", SEEN_FILE, 1, false, false, wants_write},
  {SYS_execve, "execve", SEEN_FILE, 1, false, false, wants_execute},
  {SYS_chdir, "chdir", SEEN_FILE, 1, false, false, wants_execute},
  {SYS_mkdir, "mkdir", SEEN_FILE, 1, true, false, wants_write},
  {SYS_mkdirat, "mkdirat", SEEN_FILE, 2, true, false, wants_write},
  {SYS_rmdir, "rmdir", SEEN_FILE, 1, true, false, wants_write},
  {SYS_unlink, "unlink", SEEN_FILE, 1, true, false, wants_write},
  {SYS_unlinkat, "unlinkat", SEEN_FILE, 2, true, false, wants_write},
  {SYS_rename, "rename", SEEN_FILE, 1, true, false, wants_write},
  {SYS_renameat, "renameat", SEEN_FILE, 2, true, false, wants_write},
  {SYS_renameat2, "renameat2", SEEN_FILE, 2, true, false, wants_write},
  {SYS_link, "link", SEEN_FILE, 2, true, false, wants_write},
  {SYS_linkat, "linkat", SEEN_FILE, 2, true, false, wants_write},
  {SYS_symlink, "symlink", SEEN_FILE, 2, true, false, wants_write},
  {SYS_mknod, "mknod", SEEN_FILE, 1, true, false, wants_write},
  {SYS_mknodat, "mknodat", SEEN_FILE, 2, true, false, wants_write},
  {SYS_chmod, "chmod", SEEN_FILE, 1, false, true, wants_write},
  {SYS_fchmodat, "fchmodat", SEEN_FILE, 2, false, true, wants_write},
  {SYS_chown, "chown", SEEN_FILE, 1, false, true, wants_write},
  {SYS_lchown, "lchown", SEEN_FILE, 1, false, true, wants_write},
  {SYS_fchownat, "fchownat", SEEN_FILE, 2, false, true, wants_write},
  {SYS_utimensat, "utimensat", SEEN_FILE, 2, false, true, wants_write},
  {SYS_setxattr, "setxattr", SEEN_FILE, 1, false, true, wants_write},
  {SYS_stat, "stat", SEEN_LOOK, 1, false, false, wants_nothing},
  {SYS_lstat, "lstat", SEEN_LOOK, 1, false, false, wants_nothing},
  {SYS_newfstatat, "newfstatat", SEEN_LOOK, 2, false, false, wants_nothing},
  {SYS_statx, "statx", SEEN_LOOK, 2, false, false, wants_nothing},
  {SYS_connect, "connect", SEEN_NETWORK, 0, false, false, wants_write},
  {SYS_sendto, "sendto", SEEN_NETWORK, 0, false, false, wants_write},
  {SYS_kill, "kill", SEEN_SIGNAL, 0, false, false, wants_write},
  {SYS_tgkill, "tgkill", SEEN_SIGNAL, 0, false, false, wants_write},
};

const struct seen_call *seen_call(int nr) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    if (calls[i].nr == nr) return &calls[i];
  return NULL;
}

const char *seen_other_name(const struct seen_event *event, const struct seen_call *call) {
  switch (call->nr) {
  case SYS_rename: return event->second;
  case SYS_link:
  case SYS_linkat:
  case SYS_renameat:
  case SYS_renameat2: return event->first;
  default: return "";
  }
}

bool seen_makes(const struct seen_event *event, const struct seen_call *call) {
  switch (call->nr) {
  case SYS_open: return (event->args[1] & O_CREAT) != 0;
  case SYS_openat: return (event->args[2] & O_CREAT) != 0;
  case SYS_creat:
  case SYS_mkdir:
  case SYS_mkdirat:
  case SYS_mknod:
  case SYS_mknodat:
  case SYS_link:
  case SYS_symlink: return true;
  default: return false;
  }
}

const char *seen_name(int nr, char *out, size_t size) {
  if (nr == SEEN_OTHER) return "other";
  if (nr >= 0 && (size_t)nr < sizeof seen_names / sizeof *seen_names && seen_names[nr]) return seen_names[nr];
  (void)snprintf(out, size, "call_%d", nr);
  return out;
}

int seen_number(const char *name) {
  size_t length = name ? strcspn(name, " ") : 0;
  for (size_t nr = 0; length > 0 && nr < sizeof seen_names / sizeof *seen_names; nr++)
    if (seen_names[nr] && strlen(seen_names[nr]) == length && strncmp(seen_names[nr], name, length) == 0) return (int)nr;
  return -1;
}
