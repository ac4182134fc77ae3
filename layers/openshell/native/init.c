/* PID 1 of a sandbox: starts what it is asked to start, reaps everything, ends with its socket. */
#include "init.h"
#include "inside.h"
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define RUNNING_MAX 1024

static struct {
  pid_t pid;
  uint32_t id;
  bool last;
  int report; /* -1 once it runs; before, a person may be asked whether it may, and others do not wait for that */
} running[RUNNING_MAX];
static size_t running_count;

static void tell(int sock, uint32_t kind, uint32_t id, int pid, int code, int signal, int error) {
  struct init_event event = {kind, id, pid, code, signal, error};
  if (send_packet(sock, &event, sizeof event, NULL, 0) != 0 && errno != EAGAIN) _exit(0); /* the shim is gone */
}

/* Splits `count` strings off `*at`; false when the packet ends early. */
static bool strings(char **at, char *end, char **list, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    char *stop = *at < end ? memchr(*at, '\0', (size_t)(end - *at)) : NULL;
    if (stop == NULL) return false;
    list[i] = *at;
    *at = stop + 1;
  }
  list[count] = NULL;
  return true;
}

/* In the new process. Every other descriptor is close-on-exec; the error goes through `report`, which closes at exec. */
static _Noreturn void become(const struct init_request *r, const char *cwd, char **argv, char **envp, int *fds, int report) {
  sigset_t none;
  sigemptyset(&none);
  /* Away from 0..2 first, so that no dup2 overwrites one that is still needed. */
  for (int i = 0; i < 3; i++) fds[i] = fcntl(fds[i], F_DUPFD, 10);
  int ok = fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0 && setsid() >= 0;
  ok = ok && (!(r->flags & INIT_TTY) || ioctl(fds[0], TIOCSCTTY, 0) == 0);
  for (int i = 0; ok && i < 3; i++) ok = dup2(fds[i], i) == i;
  if (ok && report != 3) ok = (report = dup3(report, 3, O_CLOEXEC)) == 3;
  ok = ok && syscall(436, 4, ~0U, 0) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0 && signal(SIGPIPE, SIG_DFL) != SIG_ERR && chdir(cwd) == 0;
  if (ok) {
    environ = envp;
    execvp(argv[0], argv);
  }
  int e = errno;
  (void)!write(report, &e, sizeof e);
  _exit(127);
}

static void start(int sock, char *packet, size_t length, int *fds) {
  struct init_request r;
  memcpy(&r, packet, sizeof r);
  char *at = packet + sizeof r, *end = packet + length, *cwd[2];
  char **argv = NULL, **envp = NULL;
  int pipe_ends[2] = {-1, -1}, error = 0;
  uint32_t most = INIT_PACKET_MAX / 2;
  if (r.argc == 0 || r.argc > most || r.envc > most || running_count == RUNNING_MAX) error = running_count == RUNNING_MAX ? EAGAIN : EINVAL;
  if (error == 0) {
    argv = malloc((r.argc + 1) * sizeof *argv);
    envp = malloc((r.envc + 1) * sizeof *envp);
    if (argv == NULL || envp == NULL) error = ENOMEM;
    else if (!strings(&at, end, cwd, 1) || !strings(&at, end, argv, r.argc) || !strings(&at, end, envp, r.envc)) error = EINVAL;
    else if (pipe2(pipe_ends, O_CLOEXEC) != 0) error = errno;
  }
  pid_t pid = error == 0 ? fork() : -1;
  if (pid == 0) become(&r, cwd[0], argv, envp, fds, pipe_ends[1]);
  if (error == 0 && pid < 0) error = errno;
  if (pipe_ends[1] >= 0) close(pipe_ends[1]);
  free(argv);
  free(envp);
  if (error != 0) {
    if (pipe_ends[0] >= 0) close(pipe_ends[0]);
    tell(sock, INIT_FAILED, r.id, 0, 0, 0, error);
    return;
  }
  running[running_count].pid = pid;
  running[running_count].id = r.id;
  running[running_count].last = (r.flags & INIT_LAST) != 0;
  running[running_count++].report = pipe_ends[0];
}

/* Its report has come, or it ended before: the pipe is closed by a successful exec. */
static void settle(int sock, size_t i) {
  int error = 0;
  ssize_t n;
  while ((n = read(running[i].report, &error, sizeof error)) < 0 && errno == EINTR) continue;
  close(running[i].report);
  running[i].report = -1;
  if (n == (ssize_t)sizeof error && error != 0) {
    tell(sock, INIT_FAILED, running[i].id, 0, 0, 0, error);
    running[i] = running[--running_count]; /* reaped like any other child */
  } else if (!running[i].last) tell(sock, INIT_STARTED, running[i].id, running[i].pid, 0, 0, 0);
}

static void pass_signal(const struct init_request *r) {
  for (size_t i = 0; i < running_count; i++) {
    if (running[i].id == r->id && r->signal > 0) kill(-running[i].pid, r->signal);
  }
}

/* True: what has ended was the last. */
static bool reap(int sock) {
  int status;
  pid_t pid;
  bool last = false;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (size_t i = 0; i < running_count; i++) {
      if (running[i].pid != pid) continue;
      if (running[i].report >= 0) {
        size_t before = running_count;
        settle(sock, i);
        if (running_count < before) break;
      }
      int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      tell(sock, INIT_EXITED, running[i].id, pid, signal ? 128 + signal : WEXITSTATUS(status), signal, 0);
      last |= running[i].last;
      running[i] = running[--running_count];
      break;
    }
  }
  if (pid < 0 && errno == ECHILD) tell(sock, INIT_QUIET, 0, 0, 0, 0, 0);
  return last;
}

/* Everybody in the sandbox but us. With the pid namespace switched off for a test the uid is still the sandbox's own; with that off too it is everybody's, and nobody is killed. */
static void kill_all(void) {
  if (getpid() == 1 || geteuid() != 0) kill(-1, SIGKILL);
}

_Noreturn void init_run(int sock) {
  static _Alignas(8) char packet[INIT_PACKET_MAX];
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &child, NULL) != 0) _exit(1);
  int children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (children < 0) _exit(1);
  while (waitpid(-1, NULL, WNOHANG) > 0) continue; /* the probe's */
  for (;;) {
    static struct pollfd wait[2 + RUNNING_MAX];
    nfds_t polled = 2;
    wait[0] = (struct pollfd){sock, POLLIN, 0};
    wait[1] = (struct pollfd){children, POLLIN, 0};
    for (size_t i = 0; i < running_count; i++)
      if (running[i].report >= 0) wait[polled++] = (struct pollfd){running[i].report, POLLIN, 0};
    if (poll(wait, polled, -1) < 0) {
      if (errno != EINTR) _exit(1);
      continue;
    }
    for (nfds_t k = 2; k < polled; k++)
      for (size_t i = 0; wait[k].revents && i < running_count; i++)
        if (running[i].report == wait[k].fd) {
          settle(sock, i);
          break;
        }
    if (wait[1].revents & POLLIN) {
      struct signalfd_siginfo ignored;
      while (read(children, &ignored, sizeof ignored) > 0) continue;
      if (reap(sock) && getpid() == 1) _exit(0); /* with us goes all that runs in the sandbox */
    }
    if (wait[0].revents == 0) continue;
    int fds[3] = {-1, -1, -1};
    size_t count = 3;
    ssize_t n = receive_packet(sock, packet, sizeof packet, fds, &count);
    if (n == 0 || (n < 0 && errno != EMSGSIZE && errno != EAGAIN)) break;
    const struct init_request *r = (const void *)packet;
    if (n >= (ssize_t)sizeof *r && r->kind == INIT_EXEC && count == 3) start(sock, packet, (size_t)n, fds);
    else if (n >= (ssize_t)sizeof *r && r->kind == INIT_EXEC) tell(sock, INIT_FAILED, r->id, 0, 0, 0, EBADF);
    else if (n == (ssize_t)sizeof *r && r->kind == INIT_SIGNAL) pass_signal(r);
    else if (n == (ssize_t)sizeof *r && r->kind == INIT_END) kill_all();
    for (size_t i = 0; i < count; i++) close(fds[i]);
  }
  if (getpid() != 1) kill_all();
  _exit(0);
}
