/* A tracer against a held kill(2) (it uses tkill itself): trace-call, starts a child that calls kill(CHILD2, SIGTERM) and tries to make it kill(VICTIM, SIGKILL) while it waits. Prints who is alive at the end. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void end(pid_t pid) { syscall(SYS_tkill, pid, SIGKILL); }

static pid_t sleeper(void) {
  pid_t pid = fork();
  if (pid == 0)
    for (;;) pause();
  return pid;
}

int main(void) {
  pid_t shown = sleeper(), victim = sleeper(), caller = fork();
  int status, rewritten = 0, stopped = 0;
  if (caller == 0) {
    usleep(200000);
    _exit(syscall(SYS_kill, shown, SIGTERM) == 0 ? 0 : errno);
  }
  if (ptrace(PTRACE_SEIZE, caller, 0, PTRACE_O_TRACESYSGOOD) != 0) {
    printf("no ptrace\n");
    end(caller);
    end(shown);
    end(victim);
    return 1;
  }
  usleep(400000); /* it waits for a person now */
  for (int i = 0; i < 300; i++) {
    ptrace(PTRACE_INTERRUPT, caller, 0, 0);
    syscall(SYS_tkill, caller, SIGSTOP);
    pid_t got = waitpid(caller, &status, WNOHANG | __WALL);
    if (got == caller && (WIFEXITED(status) || WIFSIGNALED(status))) break;
    if (got == caller && WIFSTOPPED(status)) {
      struct user_regs_struct regs;
      stopped++;
      if (ptrace(PTRACE_GETREGS, caller, 0, &regs) == 0 && regs.orig_rax == SYS_kill && regs.rax == (unsigned long long)-ENOSYS) {
        regs.rdi = (unsigned)victim;
        regs.rsi = SIGKILL;
        if (ptrace(PTRACE_SETREGS, caller, 0, &regs) == 0) rewritten++;
      }
      ptrace(PTRACE_CONT, caller, 0, 0);
      syscall(SYS_tkill, caller, SIGCONT);
    }
    if (ptrace(PTRACE_POKEUSER, caller, offsetof(struct user_regs_struct, rdi), victim) == 0) rewritten++;
    usleep(1000);
  }
  usleep(1500000); /* approved meanwhile */
  ptrace(PTRACE_CONT, caller, 0, 0);
  usleep(200000);
  int shown_ended = waitpid(shown, &status, WNOHANG) == shown, victim_ended = waitpid(victim, &status, WNOHANG) == victim;
  printf("shown=%s victim=%s rewritten=%d\n", shown_ended ? "ended" : "alive", victim_ended ? "ended" : "alive", rewritten);
  end(caller);
  end(shown);
  end(victim);
  return stopped < 0;
}
