/* The process that counts: when to look, and what follows from it. */
#include "inside.h"
#include "meter.h"
#include "openshelld_text.h"

#include <linux/capability.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* A disk seldom takes more in a second. It decides how soon to look at the free space again, nothing else. */
#define BYTES_A_MS ((int64_t)2 << 20)
#define WAIT_LEAST_MS 20
#define WAIT_MOST_MS 500
#define STILL_MS 100  /* for everything to stop */
#define LOOK_LEAST_MS 20
#define FULL_LEAST_MS 1000
#define BEYOND_BYTES ((int64_t)16 << 20) /* or a sixteenth of the limit: so much more than may be there is not waited for */

struct meter {
  int folder, shim;
  bool own;
  dev_t dev;
  const struct cgroup *group;
  int64_t limit, base, used;
  int64_t free_at_start, free_at_look; /* of the file system, bytes */
  int64_t looked, cost;                /* CLOCK_MONOTONIC ms */
  int64_t rest;                        /* ms after which to look again although nothing seems to have become less; 0: never */
  bool full;
};

static int64_t clock_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static void say(const struct meter *m, enum meter_kind kind, const char *why) {
  struct meter_report report = {.kind = kind, .used = m->used};
  (void)text_format(report.why, sizeof report.why, "%s", why ? why : "");
  if (send(m->shim, &report, sizeof report, MSG_NOSIGNAL) != sizeof report) _exit(0);
}

/* Without the shim there is nothing to count. */
static bool wait_ms(const struct meter *m, int64_t ms, short events) {
  struct pollfd polled = {m->shim, events, 0};
  int n = poll(&polled, 1, (int)ms);
  if (n > 0 && polled.revents & (POLLHUP | POLLERR)) _exit(0);
  return n > 0;
}

/* Free blocks, and free inodes as what each counts: no file can be made, and no byte written, that does not make this less. */
static int64_t free_bytes(const struct meter *m) {
  struct statfs at;
  return fstatfs(m->folder, &at) == 0 ? (int64_t)at.f_bfree * at.f_bsize + (int64_t)at.f_ffree * METER_ENTRY_BYTES : 0;
}

static int64_t count(const struct meter *m, bool *hidden, const char **why) {
  struct meter_links links = {0};
  struct meter_count sum = {0};
  meter_walk(m->folder, m->own, &links, &sum);
  *hidden = meter_held(m->group, m->dev, &links, &sum);
  meter_links_free(&links);
  *why = sum.why;
  return sum.bytes;
}

static bool all_stopped(const struct meter *m) {
  for (int i = 0; i < m->group->count; i++) {
    const struct cgroup_place *place = &m->group->place[i];
    char text[256];
    if (!place->v2 && !(place->controllers & CGROUP_FREEZER)) continue;
    int fd = openat(place->dir, place->v2 ? "cgroup.events" : "freezer.state", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (strstr(text, place->v2 ? "frozen 1" : "FROZEN") != NULL) return true;
  }
  return false;
}

/* What waits for a person can never be stopped, and writes nothing: after a moment we count all the same. */
static void stop(struct meter *m) {
  char answer;
  say(m, METER_STOP, NULL);
  while (!wait_ms(m, 60000, POLLIN)) continue;
  if (recv(m->shim, &answer, 1, 0) != 1) _exit(0);
  for (int64_t until = clock_ms() + STILL_MS; !all_stopped(m) && clock_ms() < until;) (void)poll(NULL, 0, 1);
}

static void look(struct meter *m) {
  bool hidden, was_full = m->full;
  const char *why;
  int64_t before = m->used, started = clock_ms();
  stop(m);
  m->free_at_look = free_bytes(m);
  m->used = count(m, &hidden, &why) - m->base;
  /* What cannot be seen is taken for as much as the file system has less. */
  if (hidden) m->used = most(m->used, m->free_at_start - m->free_at_look);
  m->looked = clock_ms();
  m->cost = m->looked - started;
  int64_t limit = was_full ? m->limit - m->limit / 16 : m->limit;
  m->full = m->used > limit || why != NULL;
  if (!m->full) say(m, METER_ROOM, NULL);
  else if (!was_full) say(m, METER_FULL, why);
  else if (m->used > before && !all_stopped(m)) say(m, METER_STUCK, NULL);
}

static bool due(const struct meter *m) {
  int64_t since = clock_ms() - m->looked, beyond = m->free_at_look - free_bytes(m) - (m->limit - m->used);
  if (since < LOOK_LEAST_MS) return false;
  /* It may be others who write, and a tree is counted for a tenth of the time at most; but who makes a tree large must not get that time to write what they like. */
  if (since < 10 * m->cost) return beyond > most(m->limit / 16, BEYOND_BYTES);
  return beyond > 0 || (m->rest > 0 && since >= most(m->rest, 20 * m->cost));
}

static int64_t until_next(const struct meter *m) {
  int64_t left = (m->limit - m->used - (m->free_at_look - free_bytes(m))) / BYTES_A_MS / 2;
  return left < WAIT_LEAST_MS ? WAIT_LEAST_MS : left > WAIT_MOST_MS ? WAIT_MOST_MS : left;
}

static _Noreturn void run(struct meter *m) {
  bool hidden;
  const char *why;
  struct stat st;
  struct statfs at;
  if (fstat(m->folder, &st) != 0 || fstatfs(m->folder, &at) != 0) {
    say(m, METER_LOST, "its file system does not answer");
    _exit(1);
  }
  m->dev = st.st_dev;
  /* Elsewhere free space is told late, or is not what files take. */
  bool prompt = at.f_type == EXT4_SUPER_MAGIC || at.f_type == XFS_SUPER_MAGIC || at.f_type == TMPFS_MAGIC;
  m->rest = prompt ? 30000 : 1000;
  m->free_at_start = free_bytes(m);
  int64_t started = clock_ms();
  m->base = count(m, &hidden, &why);
  m->looked = clock_ms();
  m->cost = m->looked - started;
  m->free_at_look = m->free_at_start;
  if (why != NULL) {
    say(m, METER_LOST, why);
    _exit(1);
  }
  say(m, METER_READY, NULL);
  for (int64_t pause = 0;;) {
    if (m->full) {
      /* The first time soon: whether it is stopped indeed. */
      pause = pause == 0 ? STILL_MS : most(FULL_LEAST_MS, 20 * m->cost);
      (void)wait_ms(m, pause, 0);
      look(m);
      continue;
    }
    pause = 0;
    (void)wait_ms(m, until_next(m), 0);
    if (due(m)) look(m);
  }
}

/* Its own mount of the folder shows what the sandbox has, also below what others mount on it. */
static int own_mount(int folder) {
  int tree = geteuid() == 0 ? sys_open_tree(folder, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC) : -1;
  return tree >= 0 ? tree : geteuid() == 0 ? -1 : fcntl(folder, F_DUPFD_CLOEXEC, 0);
}

static bool confine(pid_t parent) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}};
  data[0].effective = data[0].permitted = 1U << CAP_DAC_READ_SEARCH | 1U << CAP_SYS_PTRACE;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_NAME, "openshell-meter", 0, 0, 0) != 0) return false;
  if (geteuid() == 0 && syscall(SYS_capset, &header, data) != 0) return false;
  return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent;
}

/* Nothing of the shim's but what it needs: who waits for the shim's end must not wait for ours. */
static bool keep_only(struct meter *m, struct cgroup *group) {
  int *kept[CGROUP_MAX + 2] = {&m->folder, &m->shim};
  int count = 2, high = 900;
  struct rlimit files;
  /* One for each folder on the way down. */
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 4096) {
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  for (int i = 0; i < group->count; i++) kept[count++] = &group->place[i].dir;
  for (int i = 0; i < count; i++)
    if (dup3(*kept[i], high + i, O_CLOEXEC) < 0) return false;
  for (int i = 0; i < count; i++) *kept[i] = high + i;
  return syscall(SYS_close_range, 3U, (unsigned)high - 1, 0U) == 0 && syscall(SYS_close_range, (unsigned)(high + count), ~0U, 0U) == 0;
}

int meter_start(int folder, uint64_t limit, const struct cgroup *group, pid_t *child) {
  int ends[2], tree = own_mount(folder);
  if (tree < 0) return -1;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    close(tree);
    return -1;
  }
  pid_t parent = getpid();
  *child = fork();
  if (*child == 0) {
    struct cgroup mine = *group;
    struct meter m = {.folder = tree, .shim = ends[1], .own = geteuid() != 0, .limit = (int64_t)limit, .group = &mine};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!keep_only(&m, &mine) || !confine(parent)) _exit(1);
    run(&m);
  }
  int e = errno;
  close(tree);
  close(ends[1]);
  if (*child > 0) return ends[0];
  close(ends[0]);
  errno = e;
  return -1;
}
