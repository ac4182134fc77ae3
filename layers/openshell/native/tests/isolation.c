/*
 * For the tests of isolation, static, in two processes that should not reach each other.
 *   isolation offer FOLDER        puts out everything that another could find, writes FOLDER/offered, ends when FOLDER/stop is there
 *   isolation seek PID            looks for it: one line each, "NAME absent" or "NAME REACHED"; PID: the other's, as the host counts
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <linux/netlink.h>
#include <time.h>
#include <unistd.h>

#define KEY 0x6e656d6f
#define PORT 47011
#define NAME "openshell-isolation"
#define MARK "openshell-isolation-mark-2718281828"

static volatile char mark[] = MARK; /* what another would look for in our memory */

static struct sockaddr_un local_address(const char *path, socklen_t *length) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  strncpy(a.sun_path + (path ? 0 : 1), path ? path : NAME, sizeof a.sun_path - 2);
  *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(path ? path : NAME));
  return a;
}

static int listen_unix(const char *path) {
  socklen_t length;
  struct sockaddr_un a = local_address(path, &length);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  if (path) unlink(path);
  return s >= 0 && bind(s, (void *)&a, length) == 0 && listen(s, 4) == 0;
}

static int connect_unix(const char *path) {
  socklen_t length;
  struct sockaddr_un a = local_address(path, &length);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  return s >= 0 && connect(s, (void *)&a, length) == 0;
}

static int inet(int type, int listening) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int s = socket(AF_INET, type, 0);
  char c = 'x';
  if (s < 0) return 0;
  if (listening) return bind(s, (void *)&a, sizeof a) == 0 && (type != SOCK_STREAM || listen(s, 4) == 0);
  if (connect(s, (void *)&a, sizeof a) != 0) return 0;
  if (type == SOCK_STREAM) return 1;
  if (send(s, &c, 1, 0) != 1) return 0;
  struct timespec short_while = {.tv_nsec = 20000000};
  nanosleep(&short_while, NULL);
  return send(s, &c, 1, 0) == 1; /* nobody there: the second send brings ECONNREFUSED of the first */
}

static long keyctl(long command, long a, long b, long c, long d) { return syscall(SYS_keyctl, command, a, b, c, d); }
enum { THREAD = -1, PROCESS = -2, SESSION = -3, USER = -4, USER_SESSION = -5 };

static void offer(const char *folder) {
  char path[4096];
#define PUT(what, expression) printf("%s %s\n", what, (expression) ? "offered" : "refused")
  PUT("abstract", listen_unix(NULL));
  PUT("path", listen_unix("/tmp/" NAME));
  PUT("tcp", inet(SOCK_STREAM, 1));
  PUT("udp", inet(SOCK_DGRAM, 1));
  PUT("sysv-shm", shmget(KEY, 4096, IPC_CREAT | 0666) >= 0);
  PUT("sysv-sem", semget(KEY, 1, IPC_CREAT | 0666) >= 0);
  PUT("sysv-msg", msgget(KEY, IPC_CREAT | 0666) >= 0);
  PUT("posix-shm", shm_open("/" NAME, O_CREAT | O_RDWR, 0666) >= 0);
  PUT("mqueue", mq_open("/" NAME, O_CREAT | O_RDWR, 0666, NULL) >= 0);
  int file = open("/tmp/" NAME ".file", O_CREAT | O_RDWR, 0666);
  PUT("tmp-file", file >= 0);
  PUT("locks", file >= 0 && flock(file, LOCK_EX) == 0);
  PUT("session-key", syscall(SYS_add_key, "user", NAME, "x", 1, SESSION) >= 0);
  PUT("user-key", syscall(SYS_add_key, "user", NAME ".user", "x", 1, USER) >= 0);
  fflush(stdout);
  snprintf(path, sizeof path, "%s/offered", folder);
  close(open(path, O_CREAT | O_WRONLY, 0666));
  snprintf(path, sizeof path, "%s/stop", folder);
  while (access(path, F_OK) != 0 && mark[0] == MARK[0]) {
    struct timespec turn = {.tv_nsec = 5000000};
    nanosleep(&turn, NULL);
  }
  shmctl(shmget(KEY, 0, 0), IPC_RMID, NULL);
  semctl(semget(KEY, 0, 0), 0, IPC_RMID);
  msgctl(msgget(KEY, 0), IPC_RMID, NULL);
  shm_unlink("/" NAME);
  mq_unlink("/" NAME);
  unlink("/tmp/" NAME);
  unlink("/tmp/" NAME ".file");
}

/* Any process of /proc, but us, whose command line or memory is the other's. */
static int in_proc(void) {
  DIR *dir = opendir("/proc");
  int found = 0;
  for (struct dirent *e; dir && (e = readdir(dir));) {
    char path[300], line[512] = "";
    int pid = atoi(e->d_name);
    if (pid <= 0 || pid == getpid()) continue;
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof line - 1) : 0;
    for (ssize_t i = 0; i < n - 5; i++) found |= memcmp(line + i, "offer", 5) == 0;
    if (fd >= 0) close(fd);
  }
  return found;
}

static int reads_memory(int pid) {
  char got[sizeof mark] = "", path[64];
  struct iovec mine = {got, sizeof got}, theirs = {(void *)mark, sizeof got};
  if (process_vm_readv(pid, &mine, 1, &theirs, 1, 0) > 0) return 1;
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  int fd = open(path, O_RDONLY);
  return fd >= 0 && pread(fd, got, sizeof got, (off_t)(uintptr_t)mark) > 0;
}

static int opens(const char *format, int pid) {
  char path[80];
  snprintf(path, sizeof path, format, pid);
  return open(path, O_RDONLY) >= 0;
}

static int enters(int pid) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  return fd >= 0 && (setns(fd, CLONE_NEWNET) == 0 || syscall(SYS_pidfd_getfd, fd, 0, 0) >= 0 || syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0);
}

static int vsock(void) {
  int s = socket(AF_VSOCK, SOCK_STREAM, 0);
  return s >= 0;
}

static int time_changed(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  int offsets = open("/proc/self/timens_offsets", O_WRONLY);
  return unshare(CLONE_NEWTIME) == 0 || (offsets >= 0 && write(offsets, "monotonic 1000 0", 16) > 0) || clock_settime(CLOCK_REALTIME, &now) == 0;
}

/* The kernel's device events and other people's: a netlink socket that hears of more than its own network. */
static int uevents(void) {
  struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_groups = 1};
  int s = socket(AF_NETLINK, SOCK_RAW, 15 /* NETLINK_KOBJECT_UEVENT */);
  return s >= 0 && bind(s, (void *)&a, sizeof a) == 0;
}

static int reads(const char *path) {
  char c;
  int fd = open(path, O_RDONLY), got = fd >= 0 && read(fd, &c, 1) > 0;
  if (fd >= 0) close(fd);
  return got;
}

/* /proc/locks names the holder and the file of each lock. */
static int sees_lock(void) { return reads("/proc/locks"); }

static void seek(int pid) {
#define LOOK(what, expression) printf("%s %s\n", what, (expression) ? "REACHED" : "absent"), fflush(stdout)
  LOOK("abstract", connect_unix(NULL));
  LOOK("path", connect_unix("/tmp/" NAME));
  LOOK("tcp", inet(SOCK_STREAM, 0));
  LOOK("udp", inet(SOCK_DGRAM, 0));
  LOOK("sysv-shm", shmget(KEY, 0, 0) >= 0);
  LOOK("sysv-sem", semget(KEY, 0, 0) >= 0);
  LOOK("sysv-msg", msgget(KEY, 0) >= 0);
  LOOK("posix-shm", shm_open("/" NAME, O_RDWR, 0) >= 0);
  LOOK("mqueue", mq_open("/" NAME, O_RDWR) != (mqd_t)-1);
  LOOK("tmp-file", open("/tmp/" NAME ".file", O_RDWR) >= 0);
  LOOK("session-key", keyctl(10 /* SEARCH */, SESSION, (long)"user", (long)NAME, 0) >= 0);
  LOOK("user-key", keyctl(10, USER, (long)"user", (long)NAME ".user", 0) >= 0 || keyctl(10, USER_SESSION, (long)"user", (long)NAME ".user", 0) >= 0);
  LOOK("seen-in-proc", in_proc());
  LOOK("proc-entry", opens("/proc/%d/status", pid) || opens("/proc/%d/root/tmp", pid) || opens("/proc/%d/environ", pid));
  LOOK("signal", kill(pid, 0) == 0 || syscall(SYS_tkill, pid, 0) == 0);
  LOOK("ptrace", ptrace(PTRACE_SEIZE, pid, 0, 0) == 0);
  LOOK("memory", reads_memory(pid));
  LOOK("pidfd", enters(pid));
  LOOK("limits", syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, NULL, &(struct rlimit){0}) == 0 || syscall(SYS_sched_setaffinity, pid, 8, &(unsigned long){1}) == 0);
  LOOK("vsock", vsock());
  LOOK("time", time_changed());
  LOOK("uevents", uevents());
  LOOK("sysfs", access("/sys/kernel", F_OK) == 0 || access("/sys/class", F_OK) == 0);
  LOOK("keys-list", reads("/proc/keys") || reads("/proc/key-users"));
  LOOK("locks", sees_lock());
  (void)setpriority(PRIO_USER, 0, 11); /* the test looks whether the other became slower */
  (void)syscall(SYS_ioprio_set, 3 /* WHO_USER */, 0, 3 << 13);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "offer") == 0) return offer(argv[2]), 0;
  if (argc == 3 && strcmp(argv[1], "seek") == 0) return seek(atoi(argv[2])), 0;
  return 2;
}
