/* calls NAME COUNT FOLDER OUT: times one system call COUNT times in FOLDER; run alike inside a sandbox and outside. */
#include "clock.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *folder;
static char file[512], other[512];
static int listener = -1;
static struct sockaddr_in address = {.sin_family = AF_INET};
static char *self;

static void make(const char *path) {
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) die(path);
  close(fd);
}

static uint64_t time_getpid(void) {
  uint64_t start = now_ns();
  syscall(SYS_getpid);
  return now_ns() - start;
}
static uint64_t time_open(void) {
  uint64_t start = now_ns();
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  uint64_t took = now_ns() - start;
  if (fd < 0) die("open");
  close(fd);
  return took;
}
static uint64_t time_creat(void) {
  uint64_t start = now_ns();
  int fd = open(other, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  uint64_t took = now_ns() - start;
  if (fd < 0) die("creat");
  close(fd);
  unlink(other);
  return took;
}
static uint64_t time_mkdir(void) {
  uint64_t start = now_ns();
  int failed = mkdir(other, 0755);
  uint64_t took = now_ns() - start;
  if (failed) die("mkdir");
  rmdir(other);
  return took;
}
static uint64_t time_unlink(void) {
  make(file);
  uint64_t start = now_ns();
  int failed = unlink(file);
  uint64_t took = now_ns() - start;
  if (failed) die("unlink");
  return took;
}
static uint64_t time_rename(void) {
  make(file);
  uint64_t start = now_ns();
  int failed = rename(file, other);
  uint64_t took = now_ns() - start;
  if (failed) die("rename");
  return took;
}
/* Over loopback, to a listener of our own; the kernel finishes the handshake before connect() returns. */
static uint64_t time_connect(void) {
  struct linger reset = {1, 0};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  uint64_t start = now_ns();
  int failed = connect(fd, (struct sockaddr *)&address, sizeof address);
  uint64_t took = now_ns() - start;
  if (failed) die("connect");
  int peer = accept(listener, NULL, NULL);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
  close(peer);
  return took;
}
/* A child that executes this program and ends at once: fork, exec, exit and wait. */
static uint64_t time_exec(void) {
  int status;
  char *argv[] = {self, "nothing", NULL};
  uint64_t start = now_ns();
  pid_t child = vfork();
  if (child == 0) {
    execv(self, argv);
    _exit(126);
  }
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) die("exec");
  return now_ns() - start;
}

int main(int argc, char **argv) {
  if (argc == 2) return 0;
  static const struct {
    const char *name;
    uint64_t (*run)(void);
  } calls[] = {{"getpid", time_getpid}, {"open", time_open}, {"creat", time_creat}, {"mkdir", time_mkdir}, {"unlink", time_unlink}, {"rename", time_rename}, {"connect", time_connect}, {"exec", time_exec}};
  if (argc != 5) return fputs("usage: calls NAME COUNT FOLDER OUT\n", stderr), 2;
  size_t count = (size_t)atol(argv[2]);
  self = argv[0];
  folder = argv[3];
  snprintf(file, sizeof file, "%s/file-%d", folder, getpid());
  snprintf(other, sizeof other, "%s/other-%d", folder, getpid());
  make(file);
  socklen_t size = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (strcmp(argv[1], "connect") == 0) {
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 8) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0) die("listen");
  }
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
    if (strcmp(calls[c].name, argv[1]) != 0) continue;
    uint32_t *samples = malloc(count * sizeof *samples);
    if (samples == NULL) die("memory");
    for (size_t i = 0; i < count / 10 + 1; i++) calls[c].run();
    for (size_t i = 0; i < count; i++) {
      uint64_t took = calls[c].run();
      samples[i] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
    unlink(file);
    unlink(other);
    save(argv[4], samples, count);
    return 0;
  }
  return fprintf(stderr, "calls: no call %s\n", argv[1]), 2;
}
