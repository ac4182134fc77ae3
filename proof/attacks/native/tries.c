/* One small program for the attempts that a shell cannot make: `tries NAME ARGUMENTS`; what was got goes to stdout. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_alg.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "attempt.h"

static char **arg; /* arg[0] is the first argument after the name */

static int say_link(const char *link) {
  char text[200];
  ssize_t n = readlink(link, text, sizeof text - 1);
  return n < 0 ? 1 : printf("%.*s\n", (int)n, text) < 0;
}
static int say_fd(int fd) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return fd < 0 || say_link(link);
}
static int send_token(int sock, const char *token) { return sock < 0 || write(sock, token, strlen(token)) < 0; }
static struct sockaddr_in loopback(const char *port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* FILE: a root-owned program on the host, if the workspace is root's. */
static int set_uid(void) {
  int fd = open(arg[0], O_CREAT | O_WRONLY, 0755);
  return fd < 0 || chmod(arg[0], 04755) != 0;
}
static int user_namespace(void) { return unshare(CLONE_NEWUSER) != 0 || say_link("/proc/self/ns/user"); }
static int ring(void) {
  char parameters[256] = {0};
  return say_fd((int)syscall(SYS_io_uring_setup, 8, parameters));
}
/* TOKEN: put into the kernel's keys and read back. */
static int keys(void) {
  char text[100] = "";
  long key = syscall(SYS_add_key, "user", "nemoclaw-attack", arg[0], strlen(arg[0]), -3 /* session */);
  return key < 0 || syscall(SYS_keyctl, 11 /* read */, key, text, sizeof text - 1) < 0 || puts(text) < 0;
}
static int bpf_map(void) {
  unsigned attributes[32] = {2 /* array */, 4, 4, 1};
  return say_fd((int)syscall(SYS_bpf, 0, attributes, 72));
}
static int perf(void) {
  unsigned attributes[32] = {1 /* software */, 128};
  return say_fd((int)syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0));
}
static int kernel_crypto(void) {
  struct sockaddr_alg a = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
  int sock = socket(AF_ALG, SOCK_SEQPACKET, 0);
  return bind(sock, (void *)&a, sizeof a) != 0 || say_fd(accept(sock, NULL, NULL));
}
static int vsock(void) { return say_fd(socket(AF_VSOCK, SOCK_STREAM, 0)); }
/* Addresses of programs started from here on can be guessed. */
static int not_random(void) {
  return syscall(SYS_personality, 0x0040000) < 0 || printf("personality %lx\n", syscall(SYS_personality, 0xffffffff)) < 0;
}
/* NAME TOKEN */
static int abstract_socket(void) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  size_t n = strlen(arg[0]);
  memcpy(a.sun_path + 1, arg[0], n);
  int sock = socket(AF_UNIX, SOCK_STREAM, 0);
  return connect(sock, (void *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) != 0 || send_token(sock, arg[1]);
}
/* stream|datagram PATH TOKEN */
static int unix_socket(void) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  strncpy(a.sun_path, arg[1], sizeof a.sun_path - 1);
  int sock = socket(AF_UNIX, strcmp(arg[0], "stream") == 0 ? SOCK_STREAM : SOCK_DGRAM, 0);
  return connect(sock, (void *)&a, sizeof a) != 0 || send_token(sock, arg[2]);
}
/* plain|multipath|fastopen|datagram PORT TOKEN */
static int internet(void) {
  struct sockaddr_in a = loopback(arg[1]);
  int datagram = strcmp(arg[0], "datagram") == 0;
  int sock = socket(AF_INET, datagram ? SOCK_DGRAM : SOCK_STREAM, strcmp(arg[0], "multipath") == 0 ? 262 : 0);
  if (strcmp(arg[0], "fastopen") == 0) return sendto(sock, arg[2], strlen(arg[2]), MSG_FASTOPEN, (void *)&a, sizeof a) < 0;
  return connect(sock, (void *)&a, sizeof a) != 0 || send_token(sock, arg[2]);
}
/* PORT TOKEN: offers the token to whoever comes within a second. */
static int offer(void) {
  struct sockaddr_in a = loopback(arg[0]);
  int sock = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(sock, (void *)&a, sizeof a) != 0 || listen(sock, 1) != 0) return 1;
  alarm(1);
  int guest = accept(sock, NULL, NULL);
  if (send_token(guest, arg[1])) return 1;
  shutdown(guest, SHUT_WR);
  return read(guest, &one, 1) < 0; /* until it has gone */
}
static int kill_it(void) { return kill(atoi(arg[0]), SIGKILL) != 0; }
static int trace_it(void) {
  int pid = atoi(arg[0]), status;
  return ptrace(PTRACE_ATTACH, pid, 0, 0) != 0 || waitpid(pid, &status, 0) != pid || ptrace(PTRACE_KILL, pid, 0, 0) != 0;
}
/* FILE TOKEN: a daemon that writes when the sandbox should be gone. */
static int outlive(void) {
  if (fork() != 0) return 0;
  setsid();
  if (fork() != 0) _exit(0);
  for (int fd = 0; fd < 3; fd++) close(fd);
  int file = open(arg[0], O_CREAT | O_WRONLY, 0644);
  usleep(250000);
  _exit(send_token(file, arg[1]));
}
/* FILE: its handle, for `by_handle`; needs no privilege. */
static int handle_of(void) {
  struct { unsigned bytes; int type; unsigned char data[128]; } h = {.bytes = 128};
  int mount;
  if (syscall(SYS_name_to_handle_at, AT_FDCWD, arg[0], &h, &mount, 0) != 0) return 1;
  printf("%d ", h.type);
  for (unsigned i = 0; i < h.bytes; i++) printf("%02x", h.data[i]);
  return 0;
}
/* MOUNT TYPE HEX: opens a file that no path leads to. */
static int by_handle(void) {
  struct { unsigned bytes; int type; unsigned char data[128]; } h = {.type = atoi(arg[1])};
  char text[200];
  for (const char *at = arg[2]; at[0] && at[1] && h.bytes < 128; at += 2) h.data[h.bytes++] = (unsigned char)strtoul((char[]){at[0], at[1], 0}, NULL, 16);
  int folder = open(arg[0], O_RDONLY | O_DIRECTORY);
  int fd = (int)syscall(SYS_open_by_handle_at, folder, &h, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
  return n < 0 || printf("%.*s", (int)n, text) < 0;
}
/* FILE MODE */
static int change_mode(void) { return chmod(arg[0], (mode_t)strtoul(arg[1], NULL, 8)) != 0; }
/* FOLDER: gone from a mount namespace of its own, so that what it hides can be read: FILE. */
static int unmount(void) {
  char text[200];
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) umount2(arg[0], MNT_DETACH);
  int fd = open(arg[1], O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
  return n < 0 || printf("%.*s", (int)n, text) < 0;
}
/* FOLDER NAME TOKEN: a file without a name, linked into place when it is whole. */
static int nameless(void) {
  char from[40], to[300];
  int fd = open(arg[0], O_TMPFILE | O_WRONLY, 0644);
  if (send_token(fd, arg[2])) return 1;
  snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
  snprintf(to, sizeof to, "%s/%s", arg[0], arg[1]);
  return linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) != 0;
}
/* FILE: a device that is the machine's memory or a disk, by number. */
static int device(void) { return mknod(arg[0], S_IFBLK | 0666, makedev(254, 0)) != 0; }
/* FILE TOKEN: an attribute beside the contents. */
static int attribute(void) { return setxattr(arg[0], "user.nemoclaw", arg[1], strlen(arg[1]), 0) != 0; }
/* FILE: its times, by its name. */
static int stamp(void) { return utimensat(AT_FDCWD, arg[0], NULL, 0) != 0; }
/* MIB: taken and used. */
static int memory(void) {
  size_t size = (size_t)atoi(arg[0]) << 20;
  char *all = malloc(size);
  for (size_t at = 0; all != NULL && at < size; at += 4096) all[at] = 1;
  return all == NULL || printf("took %c", all[size - 4096] ? 'M' : 'x') < 0;
}
/* PROGRAM ARGUMENT: run from a file in memory, by the descriptor. */
static int from_memory(void) {
  char data[65536];
  int from = open(arg[0], O_RDONLY), to = memfd_create("x", MFD_CLOEXEC);
  ssize_t n = -1;
  while (from >= 0 && to >= 0 && (n = read(from, data, sizeof data)) > 0 && write(to, data, (size_t)n) == n) continue;
  char *const words[] = {arg[0], arg[1], NULL}, *const none[] = {NULL};
  return n != 0 || syscall(SYS_execveat, to, "", words, none, AT_EMPTY_PATH) != 0;
}
/* COUNT: alive at once. */
static int processes(void) {
  int made = 0, wanted = atoi(arg[0]);
  pid_t all[1000];
  while (made < wanted && made < 1000 && (all[made] = fork()) >= 0) {
    if (all[made] == 0) pause();
    made++;
  }
  for (int i = 0; i < made; i++) kill(all[i], SIGKILL);
  for (int i = 0; i < made; i++) waitpid(all[i], NULL, 0);
  return printf("made %d\n", made) < 0;
}
/* FILE: by its name, without opening it. */
static int cut(void) { return truncate(arg[0], 0) != 0; }

static const struct { const char *name; int (*run)(void); int arguments; } all[] = {
  {"set_uid", set_uid, 1}, {"user_namespace", user_namespace, 0}, {"ring", ring, 0}, {"keys", keys, 1}, {"bpf_map", bpf_map, 0}, {"perf", perf, 0}, {"kernel_crypto", kernel_crypto, 0},
  {"vsock", vsock, 0}, {"not_random", not_random, 0}, {"abstract_socket", abstract_socket, 2}, {"unix_socket", unix_socket, 3}, {"internet", internet, 3}, {"offer", offer, 2},
  {"kill_it", kill_it, 1}, {"trace_it", trace_it, 1}, {"outlive", outlive, 2}, {"handle_of", handle_of, 1}, {"by_handle", by_handle, 3}, {"change_mode", change_mode, 2}, {"cut", cut, 1},
  {"unmount", unmount, 2}, {"nameless", nameless, 3}, {"device", device, 1}, {"attribute", attribute, 2}, {"stamp", stamp, 1}, {"memory", memory, 1}, {"processes", processes, 1},
  {"from_memory", from_memory, 2},
};

int main(int argc, char **argv) {
  for (size_t i = 0; argc > 1 && i < sizeof all / sizeof *all; i++) {
    if (strcmp(argv[1], all[i].name) != 0 || argc != 2 + all[i].arguments) continue;
    arg = argv + 2;
    int failed = all[i].run();
    if (failed) fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
    return failed != 0;
  }
  for (const struct attempt *one = __start_attempts; argc > 1 && one < __stop_attempts; one++) {
    if (strcmp(argv[1], one->name) != 0 || argc < 2 + one->arguments) continue;
    int failed = one->run(argv + 2);
    fflush(stdout);
    if (failed) fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
    return failed != 0;
  }
  return 2;
}
