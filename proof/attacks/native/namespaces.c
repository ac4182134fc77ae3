/* Namespaces: made by every call that makes one, or joined by a process that can be seen. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "attempt.h"

static int child_says(const char *link) {
  char text[100];
  ssize_t n = readlink(link, text, sizeof text - 1);
  _exit(n < 0 || dprintf(1, "%.*s\n", (int)n, text) < 0);
}
/* FLAGS LINK: raw clone(2). */
ATTEMPT(clone_with, 2) {
  long pid = syscall(SYS_clone, strtoul(arg[0], NULL, 0) | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) child_says(arg[1]);
  return pid < 0 || waitpid((pid_t)pid, NULL, 0) < 0;
}
/* FLAGS LINK: clone3(2), whose flags a filter cannot look at. */
ATTEMPT(clone3_with, 2) {
  struct clone_args a = {.flags = strtoull(arg[0], NULL, 0), .exit_signal = SIGCHLD};
  long pid = syscall(SYS_clone3, &a, sizeof a);
  if (pid == 0) child_says(arg[1]);
  return pid < 0 || waitpid((pid_t)pid, NULL, 0) < 0;
}
/* FLAGS LINK */
ATTEMPT(unshare_with, 2) {
  if (syscall(SYS_unshare, strtoul(arg[0], NULL, 0)) != 0) return 1;
  fflush(stdout);
  if (fork() == 0) child_says(arg[1]);
  return wait(NULL) < 0;
}
/* PID KIND: into a namespace of another. */
ATTEMPT(join, 2) {
  char path[60];
  snprintf(path, sizeof path, "/proc/%s/ns/%s", arg[0], arg[1]);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 || setns(fd, 0) != 0 || puts("joined") < 0;
}
/* PID: into all of them at once, by a descriptor of the process. */
ATTEMPT(join_process, 1) {
  int fd = (int)syscall(SYS_pidfd_open, atoi(arg[0]), 0);
  return fd < 0 || setns(fd, CLONE_NEWNS | CLONE_NEWUTS) != 0 || puts("joined") < 0;
}
