/* Ends a process with SIGKILL as soon as one of its threads has done a system call: kill-after PID NUMBER. Prints "ready" when it watches, "killed" when it has. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCH (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)

static int stopped(pid_t tid, long wanted) {
  struct __ptrace_syscall_info info;
  static long at[1 << 16]; /* what each thread entered, by its number's lower half */
  memset(&info, 0, sizeof info);
  if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) < 0) return 0;
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY) at[tid & 0xffff] = (long)info.entry.nr;
  return info.op == PTRACE_SYSCALL_INFO_EXIT && !info.exit.is_error && at[tid & 0xffff] == wanted;
}

int main(int argc, char **argv) {
  char folder[64];
  pid_t pid = argc > 2 ? atoi(argv[1]) : 0;
  long wanted = argc > 2 ? atol(argv[2]) : -1;
  snprintf(folder, sizeof folder, "/proc/%d/task", pid);
  alarm(60); /* a test that has failed leaves nothing behind */
  DIR *tasks = opendir(folder);
  if (!tasks) return 2;
  for (struct dirent *d; (d = readdir(tasks));) {
    pid_t tid = atoi(d->d_name);
    if (tid > 0 && (ptrace(PTRACE_SEIZE, tid, 0, WATCH) < 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0)) return 3;
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    int status, signal = 0;
    pid_t tid = waitpid(-1, &status, __WALL);
    if (tid < 0) return 4;
    if (!WIFSTOPPED(status)) continue;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
      if (stopped(tid, wanted)) break;
    } else if (status >> 16 == 0) {
      signal = WSTOPSIG(status);
    }
    ptrace(PTRACE_SYSCALL, tid, 0, signal);
  }
  kill(pid, SIGKILL);
  puts("killed");
  return 0;
}
