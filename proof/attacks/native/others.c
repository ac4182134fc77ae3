/* Other processes: signals by every way there is, their memory, descriptors, priorities. Each takes the PID first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "attempt.h"

ATTEMPT(thread_kill, 1) { return syscall(SYS_tkill, atoi(arg[0]), SIGKILL) != 0; }
ATTEMPT(group_thread_kill, 1) { return syscall(SYS_tgkill, atoi(arg[0]), atoi(arg[0]), SIGKILL) != 0; }
ATTEMPT(queue_signal, 1) {
  siginfo_t info = {.si_signo = SIGKILL, .si_code = SI_QUEUE, .si_pid = getpid(), .si_uid = getuid()};
  return syscall(SYS_rt_sigqueueinfo, atoi(arg[0]), SIGKILL, &info) != 0;
}
ATTEMPT(descriptor_kill, 1) {
  int fd = (int)syscall(SYS_pidfd_open, atoi(arg[0]), 0);
  return fd < 0 || syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) != 0;
}
/* Everybody who may be signalled, but not those that began this. */
ATTEMPT(kill_all, 1) { return kill(-1, SIGKILL) != 0; }
/* By the kernel itself, when a socket becomes readable. */
ATTEMPT(socket_signal, 1) {
  int pair[2];
  char byte = 'x';
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || fcntl(pair[0], F_SETOWN, atoi(arg[0])) != 0 || fcntl(pair[0], F_SETSIG, SIGKILL) != 0) return 1;
  if (fcntl(pair[0], F_SETFL, O_ASYNC) != 0 || write(pair[1], &byte, 1) != 1) return 1;
  usleep(20000);
  return 0;
}
ATTEMPT(freeze_it, 1) { return kill(atoi(arg[0]), SIGSTOP) != 0; }
/* Attached, without stopping it, and let go again. */
ATTEMPT(seize, 1) { return ptrace(PTRACE_SEIZE, atoi(arg[0]), 0, 0) != 0 || puts("seized") < 0; }
ATTEMPT(lower, 1) { return setpriority(PRIO_PROCESS, (id_t)atoi(arg[0]), 19) != 0; }
/* PID UID */
ATTEMPT(lower_all, 2) { return setpriority(PRIO_USER, (id_t)atoi(arg[1]), 19) != 0; }
ATTEMPT(pin, 1) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  return sched_setaffinity(atoi(arg[0]), sizeof set, &set) != 0;
}
ATTEMPT(limit_it, 1) {
  struct rlimit few = {7, 7};
  return prlimit(atoi(arg[0]), RLIMIT_NOFILE, &few, NULL) != 0;
}
/* PID: the end of its stack, where its environment lies. */
ATTEMPT(read_memory, 1) {
  char path[40], line[300], data[8192];
  unsigned long from = 0, to = 0;
  snprintf(path, sizeof path, "/proc/%s/maps", arg[0]);
  FILE *maps = fopen(path, "r");
  while (maps != NULL && fgets(line, sizeof line, maps)) if (strstr(line, "[stack]")) sscanf(line, "%lx-%lx", &from, &to);
  for (unsigned long at = to > from ? to - sizeof data : 1; at < to && at >= from; at += sizeof data) {
    struct iovec here = {data, sizeof data}, there = {(void *)at, sizeof data};
    ssize_t n = process_vm_readv(atoi(arg[0]), &here, 1, &there, 1, 0);
    if (n <= 0) return 1;
    fwrite(data, 1, (size_t)n, stdout);
  }
  return to == 0;
}
/* PID: the same by /proc/PID/mem. */
ATTEMPT(read_mem_file, 1) {
  char path[40], line[300], data[8192];
  unsigned long to = 0;
  snprintf(path, sizeof path, "/proc/%s/maps", arg[0]);
  FILE *maps = fopen(path, "r");
  while (maps != NULL && fgets(line, sizeof line, maps)) if (strstr(line, "[stack]")) sscanf(line, "%*x-%lx", &to);
  snprintf(path, sizeof path, "/proc/%s/mem", arg[0]);
  int fd = open(path, O_RDONLY);
  ssize_t n = fd < 0 || to == 0 ? -1 : pread(fd, data, sizeof data, (off_t)(to - sizeof data));
  return n < 0 || fwrite(data, 1, (size_t)n, stdout) == 0;
}
/* PID FD */
ATTEMPT(take_descriptor, 2) {
  int process = (int)syscall(SYS_pidfd_open, atoi(arg[0]), 0);
  int fd = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, atoi(arg[1]), 0);
  return fd < 0 || printf("taken %d\n", fd) < 0;
}
/* PID: does it share a file table with us? The order of kernel pointers is told. */
ATTEMPT(compare, 1) { return syscall(SYS_kcmp, getpid(), atoi(arg[0]), 2, 0, 0) < 0 || puts("compared") < 0; }
/* FILE TOKEN HOW: a process that stays, or hides from being ended. */
ATTEMPT(stay, 3) {
  if (strcmp(arg[2], "reaper") == 0) prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (fork() != 0) return 0;
  setsid();
  for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
  if (strcmp(arg[2], "vfork") == 0 ? vfork() != 0 : fork() != 0) {
    if (strcmp(arg[2], "reaper") == 0) wait(NULL);
    _exit(0);
  }
  if (strcmp(arg[2], "storm") == 0) for (int i = 0; i < 40; i++) if (fork() == 0) break; /* many at once */
  for (int fd = 0; fd < 3; fd++) close(fd);
  int file = open(arg[0], O_CREAT | O_WRONLY, 0644);
  usleep(250000);
  _exit(write(file, arg[1], strlen(arg[1])) < 0);
}
/* Every signal to the first process: is it still there, and what did it say? */
ATTEMPT(all_signals, 1) {
  for (int s = 1; s < 65; s++) if (s != SIGCHLD) kill(atoi(arg[0]), s);
  return 0;
}
