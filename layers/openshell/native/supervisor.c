/* The supervisor: starts openshelld, restarts it when it dies, and keeps its named descriptors meanwhile. Usage: openshell-supervisor --config FILE */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME_MAX_BYTES 120
#define ENTRY_FDS 4

/* Packets: openshelld says "+name" with descriptors, or "-name"; a new openshelld is told "+name" for each, then ".". */
struct entry {
  struct entry *next;
  char name[NAME_MAX_BYTES];
  int fds[ENTRY_FDS];
  int count;
};
static struct entry *entries;

static void forget(const char *name) {
  for (struct entry **link = &entries; *link; link = &(*link)->next)
    if (strcmp((*link)->name, name) == 0) {
      struct entry *old = *link;
      *link = old->next;
      for (int i = 0; i < old->count; i++) close(old->fds[i]);
      free(old);
      return;
    }
}

static bool receive(int socket) {
  char text[NAME_MAX_BYTES + 2], control[CMSG_SPACE(sizeof(int) * ENTRY_FDS)];
  struct iovec part = {text, sizeof text - 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
  text[n] = 0;
  struct entry *entry = calloc(1, sizeof *entry);
  if (!entry) return false;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
      entry->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      memcpy(entry->fds, CMSG_DATA(c), (size_t)entry->count * sizeof(int));
    }
  forget(text + 1);
  if (text[0] == '+' && entry->count > 0) {
    memcpy(entry->name, text + 1, strlen(text + 1) + 1 > sizeof entry->name ? sizeof entry->name - 1 : strlen(text + 1) + 1);
    entry->next = entries;
    entries = entry;
  } else {
    for (int i = 0; i < entry->count; i++) close(entry->fds[i]);
    free(entry);
  }
  return true;
}

static bool send_entry(int socket, const char *text, const int *fds, int count) {
  char control[CMSG_SPACE(sizeof(int) * ENTRY_FDS)] = {0};
  struct iovec part = {(void *)text, strlen(text)};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)count);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) >= 0;
}

/* Starts openshelld with its end of the store; returns our end, or -1. */
static int start(const char *program, const char *config, pid_t *pid) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -1;
  *pid = fork();
  if (*pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int store = fcntl(ends[1], F_DUPFD, 10);
    char number[12];
    snprintf(number, sizeof number, "%d", store);
    execl(program, "openshelld", "--config", config, "--store", number, (char *)NULL);
    fprintf(stderr, "supervisor: %s: %s\n", program, strerror(errno));
    _exit(127);
  }
  close(ends[1]);
  if (*pid < 0) {
    close(ends[0]);
    return -1;
  }
  char text[NAME_MAX_BYTES + 2];
  bool ok = true;
  for (struct entry *e = entries; e && ok; e = e->next) {
    snprintf(text, sizeof text, "+%s", e->name);
    ok = send_entry(ends[0], text, e->fds, e->count);
  }
  if (ok) (void)send_entry(ends[0], ".", NULL, 0);
  return ends[0];
}

/* All that is left below us; we are the subreaper, so each round finds the orphans of the last one. */
static void kill_descendants(void) {
  for (int round = 0; round < 200; round++) {
    FILE *list = fopen("/proc/thread-self/children", "re");
    if (!list) return;
    int pid, seen = 0;
    while (fscanf(list, "%d", &pid) == 1) {
      kill(pid, SIGKILL);
      seen++;
    }
    fclose(list);
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    if (seen == 0) return;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
}

int main(int argc, char **argv) {
  static char program[4096];
  if (argc != 3 || strcmp(argv[1], "--config") != 0) {
    fprintf(stderr, "usage: %s --config FILE\n", argv[0]);
    return 2;
  }
  /* What the shell that started us had open is no business of root daemons that live on. */
  if (syscall(SYS_close_range, 3U, ~0U, 0U) < 0) return 1;
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 16);
  char *slash = length > 0 ? strrchr(program, '/') : NULL;
  if (!slash || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return 1;
  memcpy(slash + 1, "openshelld", sizeof "openshelld");
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigaddset(&mask, SIGHUP);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return 1;

  int backoff = 20, code = 0;
  for (bool stopping = false; !stopping;) {
    pid_t pid = -1;
    time_t began = time(NULL);
    int store = start(program, argv[2], &pid);
    if (store < 0) return 1;
    struct pollfd polled[2] = {{signals, POLLIN, 0}, {store, POLLIN, 0}};
    bool alive = true;
    while (alive) {
      struct signalfd_siginfo info;
      int ready = poll(polled, 2, stopping ? 12000 : -1);
      if (ready < 0 && errno != EINTR) break;
      if (ready == 0) kill(pid, SIGKILL); /* it was told to stop and hangs */
      if (polled[1].revents && !receive(store)) polled[1].fd = -1;
      while (read(signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD) {
          stopping = true;
          kill(pid, SIGTERM);
        }
      int status;
      for (pid_t dead; (dead = waitpid(-1, &status, WNOHANG)) > 0;)
        if (dead == pid) {
          alive = false;
          code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
          /* 0: told to stop; 2: the configuration is wrong, and will be again. */
          if (WIFEXITED(status) && (code == 0 || code == 2)) stopping = true;
        }
    }
    while (polled[1].fd >= 0 && receive(store) && poll(&polled[1], 1, 0) > 0) continue;
    close(store);
    if (stopping) break;
    fprintf(stderr, "supervisor: openshelld ended (%d); starting it again\n", code);
    backoff = time(NULL) - began > 5 ? 20 : backoff * 2 > 2000 ? 2000 : backoff * 2;
    nanosleep(&(struct timespec){.tv_sec = backoff / 1000, .tv_nsec = (backoff % 1000) * 1000000L}, NULL);
  }
  kill_descendants();
  return code;
}
