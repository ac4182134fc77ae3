/* Where a caller's relative paths begin, and which folders its paths led to last. */
#include "openshelld_descriptors.h"
#include "openshelld_loop.h"
#include "openshelld_text.h"
#include "perform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define KEPT 64
#define KEEP_MS 1000

/* /proc/TID of the last caller. It stands for that task alone: once it has ended, nothing is found in it, whoever has its number. */
static _Thread_local struct {
  pid_t tid;
  int fd;
} caller = {0, -1};

/* A folder that a path led to. It stays what the path leads to until a folder or a link moves or goes, which only openshelld does, or someone outside. */
static _Thread_local struct kept {
  uid_t uid; /* 0: unused */
  struct folder_id base, in;
  int64_t until;
  int fd;
  char path[200];
} kept[KEPT];
static _Thread_local unsigned moves_known;
/* Forgotten while an operation may still have them: another thread could be given a closed one's number, for another folder. */
static _Thread_local int given_up[KEPT + 8];
static _Thread_local int given_up_count;

static void caller_forget(void) {
  if (caller.fd >= 0) close(caller.fd);
  caller.fd = -1;
  caller.tid = 0;
}

/* Tries again with a fresh /proc/TID if the one at hand stands for a task that has ended. */
static int of_caller(pid_t tid, int dirfd, int (*get)(const char *name, void *out), void *out) {
  char name[24] = "cwd";
  if (dirfd != AT_FDCWD) text_format(name, sizeof name, "fd/%d", dirfd);
  for (int fresh = caller.tid != tid; fresh < 2; fresh++) {
    if (fresh) {
      char link[32];
      text_format(link, sizeof link, "/proc/%d", tid);
      caller_forget();
      caller.fd = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
      if (caller.fd < 0) return ESRCH;
      caller.tid = tid;
      fresh = 1;
    }
    if (get(name, out) == 0) return 0;
    if (errno != ESRCH && errno != ENOENT) return errno;
  }
  return dirfd == AT_FDCWD ? ESRCH : EBADF;
}

static int get_folder(const char *name, void *out) {
  int fd = openat(caller.fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  *(int *)out = fd;
  return fd < 0 ? -1 : 0;
}

int caller_folder(pid_t tid, int dirfd) {
  int fd = -1, error = of_caller(tid, dirfd, get_folder, &fd);
  errno = error;
  return error ? -1 : fd;
}

int folder_id(int fd, const char *name, struct folder_id *id) {
  struct statx found;
  if (statx(fd, name, name[0] ? 0 : AT_EMPTY_PATH, STATX_INO | STATX_TYPE | STATX_MNT_ID, &found) < 0) return errno;
  *id = (struct folder_id){.dev = makedev(found.stx_dev_major, found.stx_dev_minor), .ino = found.stx_ino, .mount = found.stx_mnt_id};
  return S_ISDIR(found.stx_mode) ? 0 : ENOTDIR;
}

static int get_id(const char *name, void *out) {
  int error = folder_id(caller.fd, name, out);
  errno = error;
  return error ? -1 : 0;
}

int caller_folder_id(pid_t tid, int dirfd, struct folder_id *id) { return of_caller(tid, dirfd, get_id, id); }

/* An operation looks up two names at most, so that no more than all of them and a few new ones are forgotten in it. */
static void drop(struct kept *k) {
  if (k->uid == 0 || given_up_count == KEPT + 8) return;
  given_up[given_up_count++] = k->fd;
  k->uid = 0;
}

void kept_sweep(void) {
  while (given_up_count > 0) close(given_up[--given_up_count]);
}

static struct kept *slot(const struct view *view, const struct folder_id *base, const char *path) {
  uint64_t hash = base->ino * 31 + base->mount + view->uid;
  for (const char *p = path; *p; p++) hash = hash * 33 + (unsigned char)*p;
  return &kept[hash % KEPT];
}

bool kept_parent(struct place *place, const struct view *view, const struct folder_id *base, const char *path) {
  unsigned now = folders_moves();
  if (now != moves_known)
    for (int i = 0; i < KEPT; i++) drop(&kept[i]);
  moves_known = now;
  struct kept *k = slot(view, base, path);
  if (k->uid != view->uid || memcmp(&k->base, base, sizeof *base) != 0 || strcmp(k->path, path) != 0 || boottime_ms() >= k->until) return false;
  place->parent = k->fd;
  place->in = k->in;
  return true;
}

/* What is only kept to be quicker never takes the half that sandboxes themselves need. */
void keep_parent(struct place *place, const struct view *view, const struct folder_id *base, const char *path) {
  struct kept *k = slot(view, base, path);
  /* Full until it is old: the other place of this operation may be what is there. */
  if (strlen(path) >= sizeof k->path || place->parent >= descriptors_most() / 2 || (k->uid != 0 && boottime_ms() < k->until)) return;
  drop(k);
  if (k->uid != 0) return;
  *k = (struct kept){.uid = view->uid, .base = *base, .in = place->in, .until = boottime_ms() + KEEP_MS, .fd = place->parent};
  memcpy(k->path, path, strlen(path) + 1);
  place->kept = true;
}

static int get_descriptor(const char *name, void *out) {
  int fd = openat(caller.fd, name, O_PATH | O_CLOEXEC);
  *(int *)out = fd;
  return fd < 0 ? -1 : 0;
}

int caller_descriptor(pid_t tid, int number) {
  int fd = -1, error = number < 0 && number != AT_FDCWD ? EBADF : of_caller(tid, number, get_descriptor, &fd);
  errno = error;
  return error ? -1 : fd;
}

long caller_status(pid_t tid, const char *name, int base) {
  char link[40], text[1024];
  text_format(link, sizeof link, "/proc/%d/status", tid);
  int fd = open(link, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
  const char *line = strstr(text, name);
  return line ? strtol(line + strlen(name), NULL, base) : -1;
}

unsigned caller_umask(pid_t tid) {
  long mask = caller_status(tid, "\nUmask:", 8);
  return mask < 0 ? 077 /* nobody else gets anything */ : (unsigned)mask & 0777;
}

void operation_thread_end(void) {
  caller_forget();
  kept_sweep();
  for (int i = 0; i < KEPT; i++) drop(&kept[i]);
  kept_sweep();
}
